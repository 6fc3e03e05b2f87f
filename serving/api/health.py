"""Whether the server lives, whether it can answer, and its metrics."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from serving.api.auth import SECURITY, needs
from serving.api.errors import json_response
from serving.api.metrics import CONTENT_TYPE
from serving.api.schemas import REFUSALS
from serving.api.service import Service

router = APIRouter()


class Health(BaseModel):
    """The process answers."""

    status: str


class Readiness(BaseModel):
    """Whether scores are given, and what is amiss."""

    status: str
    "`ready`; `degraded`: scores are given, but something is amiss; `unavailable`: no scores."
    model_version: str | None
    since: str | None
    "When what is amiss began, or was first seen."
    reasons: list[str]


@router.get("/healthz", response_model=Health, tags=["health"])
async def healthz() -> Response:
    """Answer always, whatever the model and the ledger do."""
    return json_response({"status": "ok"})


@router.get(
    "/readyz", response_model=Readiness, responses={503: {"model": Readiness}}, tags=["health"]
)
async def readyz(request: Request) -> Response:
    """Tell whether scores are given: 200 also where degraded, 503 without any champion."""
    body = readiness(request.app.state.service)
    return json_response(body, 503 if body["status"] == "unavailable" else 200)


def readiness(service: Service) -> dict[str, Any]:
    """Return the body of /readyz. Details are in the log: this route needs no key."""
    champion, degraded = service.champion, service.watch.degraded()
    ledger_since = service.ledger_amiss_since()
    reasons = [] if degraded is None else [degraded.reason]
    if champion is None:
        reasons = reasons or ["the champion is being fetched"]
    if ledger_since is not None:
        reasons.append("the ledger cannot be written")
    is_amiss = "degraded" if reasons else "ready"
    began = [degraded.since] if degraded is not None else []
    began += [ledger_since] if ledger_since is not None else []
    since = datetime.fromtimestamp(min(began), UTC) if began else None
    return {
        "status": "unavailable" if champion is None else is_amiss,
        "model_version": None if champion is None else champion.version,
        "since": None if since is None else f"{since:%Y-%m-%dT%H:%M:%SZ}",
        "reasons": reasons,
    }


@router.get(
    "/metrics",
    dependencies=[needs("read")],
    openapi_extra={"security": SECURITY},
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **REFUSALS},
    response_class=Response,
    tags=["health"],
)
async def metrics(request: Request) -> Response:
    """Return the counters in Prometheus' text format."""
    service: Service = request.app.state.service
    return Response(service.metrics.text(), media_type=CONTENT_TYPE)
