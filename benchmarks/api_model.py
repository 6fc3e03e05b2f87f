"""The CRM, the model and the server that `benchmarks/api.py` measures: `api_model.py PORT`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from starlette.requests import Request
from starlette.responses import Response

LEADS, EVENTS, ATTRIBUTES = 2_000, 30, 20
NULL_PATH = "/null"
DAY = 86_400_000_000
_TYPES = ("page_view", "email_open", "email_click", "pricing_view", "webinar", "demo_request")
_CHANNELS = ("organic", "email", "paid")


def write_folder(folder: Path) -> tuple[list[bytes], list[bytes]]:
    """Write tables, settings, a champion and a plain LightGBM model for MLflow's server.

    Returns request bodies: one lead with its rows each, and the same leads' features for MLflow.
    """
    leads, events = _leads_and_events(np.random.default_rng(0))
    (folder / "crm").mkdir()
    leads.to_parquet(folder / "crm" / "leads.parquet")
    events.to_parquet(folder / "crm" / "engagement_events.parquet")
    features = _register(folder)
    columns = [str(name) for name in features.columns]
    lines = []
    # Its server makes objects of JSON's null, and LightGBM refuses those: missing is 0 here.
    for row in np.nan_to_num(features.to_numpy(np.float64)).tolist():
        split = {"dataframe_split": {"columns": columns, "data": [row]}}
        lines.append(json.dumps(split).encode())
    return _bodies(leads, events), lines


def _leads_and_events(rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    now = np.datetime64("now", "us").astype(np.int64) - DAY
    ids = np.array([f"00Q{number:012}" for number in range(LEADS)])
    columns: dict[str, Any] = {"lead_id": ids}
    columns["created_at"] = pd.to_datetime(now - rng.integers(120, 400, LEADS) * DAY, unit="us")
    for place in range(ATTRIBUTES):
        if place % 2:
            columns[f"number_{place}"] = rng.lognormal(3, 1, LEADS).round(1)
        else:
            columns[f"category_{place}"] = rng.choice([f"value {k}" for k in range(12)], LEADS)
    count = LEADS * EVENTS
    # The product takes texts as its users have them: instants as ISO 8601, ids as strings.
    occurred = now - (rng.exponential(20, count) * DAY).astype(np.int64).clip(0, 119 * DAY)
    events = pd.DataFrame(
        {
            "lead_id": np.repeat(ids, EVENTS),
            "event_type": rng.choice(_TYPES, count, p=(0.5, 0.2, 0.12, 0.1, 0.05, 0.03)),
            "occurred_at": pd.to_datetime(occurred, unit="us"),
            "channel": rng.choice(_CHANNELS, count),
            "campaign": rng.choice([f"campaign {k}" for k in range(30)], count),
        }
    )
    return pd.DataFrame(columns), events


def _bodies(leads: pd.DataFrame, events: pd.DataFrame) -> list[bytes]:
    def rows(table: pd.DataFrame) -> list[dict[str, Any]]:
        texts = table.copy()
        for name in table.columns:
            if pd.api.types.is_datetime64_dtype(table[name]):
                texts[name] = table[name].dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        found: list[dict[str, Any]] = texts.to_dict("records")
        return found

    of_lead = events.groupby("lead_id", sort=False)
    return [
        json.dumps(
            {
                "reasons": 5,
                "tables": {
                    "leads": [lead],
                    "engagement_events": rows(of_lead.get_group(name)),
                    "opportunities": [],
                    "stage_changes": [],
                },
            }
        ).encode()
        for name, lead in zip(leads["lead_id"], rows(leads), strict=True)
    ]


def _register(folder: Path) -> pd.DataFrame:
    """Train the booster, make it the champion, write it for MLflow; return the leads' matrix."""
    import lightgbm
    import mlflow

    from features.catalogue.catalogue import build_catalogue
    from features.config import Config, read_config
    from features.loading.sources import load_tables
    from features.snapshots import build_snapshots, lead_weeks
    from models.bundle import write_bundle
    from models.calibration import Calibration
    from models.cutoff import Cutoff
    from models.encoding import fit_encoder
    from models.forest import Forest
    from models.golden import synthesise_rows
    from models.scorer import Scorer
    from training.tracking import log_training

    (folder / "closedwon.toml").write_text("")
    config: Config = read_config(folder / "closedwon.toml")
    tables = load_tables(config, folder / "crm", required=("leads", "engagement_events")).tables
    catalogue = build_catalogue(tables, config.features, tables.data_until, config.population)
    now = np.array([tables.data_until + pd.Timedelta(1, "us")], dtype="datetime64[us]")
    snapshots = build_snapshots(tables, catalogue, lead_weeks(tables, config.population, now))
    encoder = fit_encoder(snapshots, catalogue)
    matrix = encoder.transform(snapshots)
    filled = np.nan_to_num(matrix)
    order = np.argsort(np.argsort(filled, axis=0), axis=0) / len(filled)
    rng = np.random.default_rng(1)
    signal = order @ rng.normal(0, 0.5, order.shape[1])
    won = rng.random(len(signal)) < 1 / (1 + np.exp(2 - (signal - signal.mean())))
    parameters = {
        "objective": "binary", "num_leaves": 15, "max_depth": 5, "min_data_in_leaf": 20,
        "learning_rate": 0.03, "seed": 0, "deterministic": True, "force_col_wise": True,
        "num_threads": 1, "verbose": -1,
    }  # fmt: skip
    booster = lightgbm.train(parameters, lightgbm.Dataset(matrix, won.astype(float)), 300)
    forest = Forest.of_text(booster.model_to_string())
    base_rate = float(won.mean())
    scorer = Scorer(
        forest=forest, encoder=encoder, catalogue=catalogue, calibration=Calibration.identity(),
        cutoff=Cutoff("fixed", {}, 2 * base_rate), base_rate=base_rate,
        horizon_days=config.training.horizon_days, base_raw_score=forest.base_raw_score,
    )  # fmt: skip
    bundle = folder / "run" / "bundle"
    write_bundle(scorer, synthesise_rows(snapshots, encoder), {}, bundle)
    log_training(config.tracking, folder, "benchmark", {}, {}, {}, [], bundle, True)
    mlflow.lightgbm.save_model(booster, str(folder / "plain-model"))
    return pd.DataFrame(matrix, columns=list(encoder.columns))


def make_key(folder: Path) -> str:
    """Return the secret of a new key of the folder's ledger."""
    from features.config import read_config
    from serving.ledger.keys import Keys
    from serving.ledger.ledger import Ledger

    ledger = Ledger.open(read_config(folder / "closedwon.toml").serving.ledger, folder)
    try:
        _, secret = Keys(ledger.engine).create(("score",), "benchmark", None)
        return secret
    finally:
        ledger.close()


def serve(port: int) -> None:
    """Run the app of `closedwon serve` here, with an endpoint that does nothing."""
    import serving.api.run as run
    from features.config import read_config
    from serving.api.auth import needs
    from serving.live.requests import parse_request

    make = run.create_app

    def with_null(service: Any) -> Any:
        app = make(service)

        @app.post(NULL_PATH, dependencies=[needs("score")], include_in_schema=False)
        async def null(request: Request) -> Response:
            parse_request(await request.body(), service.now(), service.limits)
            return Response(b"{}", media_type="application/json")

        return app

    run.create_app = with_null
    run.serve(read_config(Path("closedwon.toml")), Path(), "127.0.0.1", port)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
