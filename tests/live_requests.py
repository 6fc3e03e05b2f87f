"""A small model of the small CRM, and requests as its CRM would have sent them."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
from small_crm import small_config, small_tables

from features.catalogue.catalogue import build_catalogue
from features.facts.histories import micros
from features.snapshots import build_snapshots, lead_weeks
from models.calibration import Calibration
from models.cutoff import Cutoff, Estimate
from models.encoding import fit_encoder
from models.forest import Forest
from models.scorer import Scorer
from serving.live.live_scores import LiveScorer
from serving.past_requests import request_body
from serving.past_rows import PastRows

POPULATION = small_config().population
MONDAYS = pd.to_datetime(["2025-03-03", "2025-06-02", "2025-09-01"]).to_numpy("datetime64[us]")
DAY = 86_400_000_000


@cache
def snapshots() -> pd.DataFrame:
    """The population at three Mondays."""
    tables = small_tables()
    index = lead_weeks(tables, POPULATION, MONDAYS)
    config = small_config().features.model_copy(update={"windows_days": (7, 30)})
    catalogue = build_catalogue(tables, config, tables.data_until, POPULATION)
    found = build_snapshots(tables, catalogue, index)
    found.attrs["catalogue"] = catalogue
    return found


def scorer(seed: int = 0) -> Scorer:
    """A model that reads many features; another seed is another model."""
    return _scorer(seed)


@cache
def _scorer(seed: int) -> Scorer:
    catalogue = snapshots().attrs["catalogue"]
    encoder = fit_encoder(snapshots(), catalogue, min_count=5)
    matrix = encoder.transform(snapshots())
    generator = np.random.default_rng(seed)
    seen = np.nan_to_num(matrix)
    spread = seen.std(axis=0)
    weights = generator.normal(size=matrix.shape[1]) / np.where(spread > 0, spread, 1)
    asked = snapshots()["explicit_interest_count_30d"].to_numpy(np.float64)
    came = (snapshots()["source"] == "website").to_numpy(np.float64)
    log_odds = seen @ weights * 0.1 + asked + 2 * came
    won = log_odds + generator.logistic(size=len(matrix)) > np.quantile(log_odds, 0.8)
    parameters = {"objective": "binary", "num_leaves": 7, "num_threads": 1, "verbose": -1,
                  "deterministic": True, "force_col_wise": True, "seed": 0}  # fmt: skip
    booster = lgb.train(parameters, lgb.Dataset(matrix, won.astype(float)), 30)
    forest = Forest.of_text(booster.model_to_string())
    return Scorer(
        forest=forest,
        encoder=encoder,
        catalogue=catalogue,
        calibration=Calibration((-4.0, -1.0), (-5.0, -1.5), slope_below=0.7, slope_above=1.2),
        cutoff=Cutoff(
            "capacity", {"mqls_per_week": 10}, 0.4, evidence={"precision": Estimate(0.3)}
        ),
        base_rate=0.2,
        horizon_days=91,
        base_raw_score=forest.base_raw_score,
    )


def live(seed: int = 0, version: str = "1") -> LiveScorer:
    return _live(seed, version)


@cache
def _live(seed: int, version: str) -> LiveScorer:
    return LiveScorer.of(scorer(seed), version, "digest", POPULATION)


@cache
def _past() -> PastRows:
    return PastRows(small_tables(), "account_id", snapshots()["lead_id"].unique().tolist())


def rows_at(lead_id: str, as_of: int) -> dict[str, Any]:
    return _past().at(lead_id, as_of)


def body_at(lead_id: str, as_of: int, **asked: Any) -> dict[str, Any]:
    """What the CRM would have sent of a lead and its account."""
    return json.loads(request_body(rows_at(lead_id, as_of), lead_id, as_of, **asked))


def drawn(count: int, seed: int = 0) -> list[tuple[str, int]]:
    """Leads and instants of `snapshots`, those of one instant side by side."""
    rows = np.sort(np.random.default_rng(seed).permutation(len(snapshots()))[:count])
    chosen = snapshots().iloc[rows]
    return [*zip(chosen["lead_id"], micros(chosen["as_of"]).tolist(), strict=True)]


def another_kind() -> Scorer:
    """The model, made for leads of two weeks of age only."""
    return replace(scorer(), facts={"lead_age_days": 14})
