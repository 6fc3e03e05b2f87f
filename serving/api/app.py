"""The app: routes, error answers, and the outermost layer."""

from __future__ import annotations

import gc
import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.concurrency import run_in_threadpool

from serving.api import health, leads, model, scores
from serving.api.auth import SCHEMES
from serving.api.batches import Batches
from serving.api.edge import Edge
from serving.api.errors import install_handlers
from serving.api.service import Service
from serving.pages.pages import pages_router

OPENAPI_PATH = "/v1/openapi.json"
COLLECTOR_THRESHOLDS = (10_000, 20, 50)
"New objects before Python looks for cycles among them, and how often it looks further back."
_DESCRIPTION = """\
Which open leads will close, and why: calibrated probabilities with signed reasons, and a ledger of
every score. Make a key with `closedwon keys create --name crm --scope score`, and send it as
`Authorization: Bearer cw_...`. Errors are `{"error": {"code", "message", "problems"}}`; 429 and 503
say in Retry-After when to try again."""


def create_app(service: Service) -> FastAPI:
    """Return the app of `service`, which it starts and stops with itself."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(service.start)
        # What is loaded now stays: the collector need not walk through it again and again.
        gc.freeze()
        gc.enable()
        # Requests leave few cycles; looking for them 20 times a second took 1-2% of their time.
        usual = gc.get_threshold()
        gc.set_threshold(*COLLECTOR_THRESHOLDS)
        try:
            yield
        finally:
            gc.set_threshold(*usual)
            await run_in_threadpool(service.stop)

    app = FastAPI(
        title="closedwon",
        version=importlib.metadata.version("closedwon"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        openapi_url=OPENAPI_PATH,
        docs_url=None,  # both load scripts from a CDN
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    app.state.batches = Batches(partial(scores.score_together, service))
    install_handlers(app)
    # The routes are tried in turn: the busiest first.
    for part in (scores, leads, model, health):
        app.include_router(part.router)
    app.include_router(pages_router())
    app.add_middleware(Edge, service=service)
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]
    return app


def _described(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, made once."""
    if app.openapi_schema is None:
        described = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        described.setdefault("components", {})["securitySchemes"] = SCHEMES
        app.openapi_schema = described
    return app.openapi_schema
