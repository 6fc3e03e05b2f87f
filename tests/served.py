"""A small champion behind the real API: bundles made in memory, a ledger in a folder of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import uvicorn
from fastapi.testclient import TestClient
from tables_builder import day, tables_of

from features.catalogue.catalogue import Catalogue, build_catalogue
from features.config import Config, FeatureConfig, PopulationConfig
from models.bundle import write_bundle
from models.calibration import Calibration
from models.cutoff import Cutoff, Estimate
from models.encoding import Encoder, fit_encoder
from models.forest import Forest
from models.golden import synthesise_rows
from models.scorer import Scorer
from serving.api.app import create_app
from serving.api.run import settings_of
from serving.api.service import Service
from serving.ledger.keys import Keys
from serving.ledger.ledger import Ledger

NOW = 1_777_900_000_000_000  # 2026-05-04T13:06:40Z
CURVE = [{"cutoff": at / 10, "mqls_per_week": 40.0 - 4 * at} for at in range(1, 10)]
COMPARISON: dict[str, Any] = {
    "curves": {"model": CURVE, "rules": CURVE},
    "sentences": {"verdict": "The model beats the rules."},
}


@cache
def catalogue() -> Catalogue:
    """Attributes of leads and accounts, two event types, opportunities and stage changes."""
    tables = tables_of(
        leads=[
            {"lead_id": "a", "created_at": 0, "account_id": "X", "source": "web", "seats": 3.0},
            {"lead_id": "b", "created_at": 0, "account_id": "X", "source": "ad", "seats": 5.0},
        ],
        accounts=[{"account_id": "X", "industry": "software"}],
        engagement_events=[
            {"lead_id": "a", "event_type": "pricing_view", "occurred_at": 1},
            {"lead_id": "b", "event_type": "demo_request", "occurred_at": 2},
        ],
        opportunities=[
            {"opportunity_id": "o", "lead_id": "a", "created_at": 2, "stage": "open"},
        ],
        stage_changes=[{"lead_id": "a", "stage": "mql", "changed_at": 2}],
    )
    config = FeatureConfig(windows_days=(30,), half_lives_days=(30,))
    return build_catalogue(tables, config, day(100), PopulationConfig())


@cache
def _snapshots(rows: int = 600) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    drawn: dict[str, Any] = {
        "lead_id": pd.array([f"lead-{row}" for row in range(rows)], dtype="str"),
        "account_id": pd.array([None] * rows, dtype="str"),
        "as_of": np.full(rows, np.datetime64("2026-01-05", "us")),
        "is_eligible": np.ones(rows, bool),
    }
    for feature in catalogue().features:
        if feature.dtype == "category":
            drawn[feature.name] = pd.array(
                generator.choice(["web", "ad", "software", "sales"], rows), dtype="str"
            )
        else:
            drawn[feature.name] = generator.poisson(1.0, rows).astype(np.float32)
    return pd.DataFrame(drawn)


@cache
def _fitted(seed: int) -> tuple[Encoder, str]:
    encoder = fit_encoder(_snapshots(), catalogue())
    matrix = encoder.transform(_snapshots())
    score = np.random.default_rng(seed).normal(size=matrix.shape[1])
    won = np.nan_to_num(matrix) @ score > np.median(np.nan_to_num(matrix) @ score)
    parameters = {"objective": "binary", "num_leaves": 7, "num_threads": 1, "verbose": -1,
                  "deterministic": True, "seed": 0}  # fmt: skip
    booster = lgb.train(parameters, lgb.Dataset(matrix, won.astype(float)), 20)
    return encoder, booster.model_to_string()


def scorer(seed: int = 0, cutoff: float | None = 0.3) -> Scorer:
    """A small model; what it learnt is no matter, but another seed is another model."""
    encoder, text = _fitted(seed)
    forest = Forest.of_text(text)
    return Scorer(
        forest=forest,
        encoder=encoder,
        catalogue=catalogue(),
        calibration=Calibration((-4.0, -1.0), (-5.0, -1.5), slope_below=0.7, slope_above=1.2),
        cutoff=Cutoff(
            "capacity", {"mqls_per_week": 10}, cutoff, evidence={"precision": Estimate(0.3)}
        ),
        base_rate=0.1,
        horizon_days=91,
        base_raw_score=forest.base_raw_score,
        facts={"wins": {"all": 200}},
    )


def bundle(folder: Path, seed: int = 0, has_comparison: bool = True) -> dict[str, str]:
    """Write a bundle and return what the fetching child would report of it."""
    served = scorer(seed)
    digest = write_bundle(
        served,
        synthesise_rows(_snapshots(), served.encoder),
        {"window": {"from": "2024-01-15", "until": "2026-04-06"}},
        folder,
        {"comparison.json": COMPARISON} if has_comparison else None,
    )
    return {"version": folder.name, "digest": digest, "folder": str(folder)}


def service_in(root: Path, **serving: Any) -> Service:
    """A service with an empty ledger and no champion; the clock stands still at NOW."""
    config = Config.model_validate({"serving": serving})
    ledger = Ledger.open(config.serving.ledger, root, clock=lambda: NOW)
    return Service(config, root, ledger, Keys(ledger.engine), now=lambda: NOW)


@contextmanager
def served(root: Path, **serving: Any) -> Iterator[tuple[Service, TestClient]]:
    """A service with champion 1 and a client of it; no child looks for another."""
    service = service_in(root, **serving)
    service.watch.offer(bundle(root / "bundles" / "1"))
    client = TestClient(create_app(service), raise_server_exceptions=False)
    try:
        yield service, client
    finally:
        service.stop()


@contextmanager
def on_a_port(service: Service) -> Iterator[int]:
    """A real server on a free port, in a thread; the service is stopped with it."""
    app = create_app(service)
    settings = settings_of(app, service.config.serving)
    settings.port, settings.lifespan = 0, "off"
    server = uvicorn.Server(settings)
    running = threading.Thread(target=server.run)
    running.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        running.join()
        service.stop()


def key_for(service: Service, *scopes: str) -> dict[str, str]:
    """The header of a new key with these scopes."""
    _, secret = service.keys.create(scopes, "test", None)
    return {"Authorization": f"Bearer {secret}"}


def lead_rows(lead_id: str = "L-1", **attributes: Any) -> dict[str, Any]:
    return {"lead_id": lead_id, "created_at": "2026-05-01T09:00:00Z", "account_id": "A-1",
            "source": "web", "seats": 4, **attributes}  # fmt: skip


def event_row(lead_id: str = "L-1", **changed: Any) -> dict[str, Any]:
    return {"lead_id": lead_id, "event_type": "pricing_view",
            "occurred_at": "2026-05-03T10:00:00Z", **changed}  # fmt: skip


def score_body(**changed: Any) -> dict[str, Any]:
    """A request for one lead with all tables."""
    tables = {
        "leads": [lead_rows()],
        "accounts": [{"account_id": "A-1", "industry": "software"}],
        "engagement_events": [event_row(), event_row(event_type="demo_request")],
        "opportunities": [],
        "opportunity_leads": [],
        "stage_changes": [],
    }
    return {"tables": {**tables, **changed.pop("tables", {})}, **changed}
