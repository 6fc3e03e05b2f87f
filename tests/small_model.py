"""A small model on generated leads, for the tests of everything that reads a scorer."""

from __future__ import annotations

from functools import cache

import lightgbm as lgb
import numpy as np
import pandas as pd

from features.catalogue.catalogue import Catalogue, Feature
from models.calibration import Calibration
from models.cutoff import Cutoff, Estimate
from models.encoding import Encoder, fit_encoder
from models.forest import Forest
from models.reasons import CALIBRATION, why_text
from models.scorer import Scorer

BENT = Calibration((-4.0, -1.0), (-5.0, -1.5), slope_below=0.7, slope_above=1.2)


def _pricing(days: int) -> Feature:
    return Feature(
        name=f"pricing_view_count_{days}d",
        family="engagement",
        concept="pricing_view",
        aggregation="count",
        window_days=days,
        wording=f"Viewed the pricing page {{value}} times in the last {days} days",
        one_wording=f"Viewed the pricing page once in the last {days} days",
        zero_wording=f"No pricing page view in the last {days} days",
    )


CATALOGUE = Catalogue(
    (
        Feature("industry", "fit", "industry", "attribute", dtype="category",
                wording="Industry: {value}", missing_wording="Industry is not known"),
        _pricing(7),
        _pricing(30),
        _pricing(90),
        Feature("visit_recency", "engagement", "visit", "days_since_last",
                wording="Last visit {value} days ago", missing_wording="No visit so far"),
        Feature("employees", "fit", "employees", "attribute",
                wording="Employees: {value}", missing_wording="Employees are not known"),
        Feature("colleagues_active", "account", "colleagues", "active_colleagues",
                wording="{value} colleagues active", zero_wording="No colleague active"),
    )
)  # fmt: skip


def small_snapshots(rows: int = 2_000, seed: int = 0) -> pd.DataFrame:
    """Leads of four industries; the fifth, seen three times, names a person."""
    generator = np.random.default_rng(seed)
    week = generator.poisson(0.4, rows)
    month = week + generator.poisson(0.6, rows)
    industries = generator.choice(["Software", "Retail", "Health", "Energy"], rows,
                                  p=[0.4, 0.3, 0.2, 0.1]).astype(object)  # fmt: skip
    industries[generator.random(rows) < 0.1] = None
    industries[:3] = "Jane Miller Consulting"
    recency = generator.exponential(20, rows)
    employees = np.round(np.exp(generator.normal(4, 1.5, rows)))
    frame = pd.DataFrame(
        {
            "lead_id": pd.array([f"lead-{row}" for row in range(rows)], dtype="str"),
            "account_id": pd.array(
                [None if row % 5 == 0 else f"account-{row % 97}" for row in range(rows)],
                dtype="str",
            ),
            "as_of": np.full(rows, np.datetime64("2024-05-06", "us")),
            "is_eligible": generator.random(rows) < 0.8,
            "industry": pd.array(industries, dtype="str"),
            "pricing_view_count_7d": week,
            "pricing_view_count_30d": month,
            "pricing_view_count_90d": month + generator.poisson(1.0, rows),
            "visit_recency": np.where(generator.random(rows) < 0.3, np.nan, recency),
            "employees": np.where(generator.random(rows) < 0.2, np.nan, employees),
            "colleagues_active": generator.poisson(0.3, rows),
        }
    )
    numbers = [feature.name for feature in CATALOGUE.features if feature.dtype == "number"]
    return frame.astype(dict.fromkeys(numbers, np.float32))


@cache
def _fitted() -> tuple[Encoder, str, float]:
    snapshots = small_snapshots()
    encoder = fit_encoder(snapshots, CATALOGUE)
    generator = np.random.default_rng(1)
    log_odds = (
        -2.5
        + 0.5 * snapshots["pricing_view_count_30d"]
        + 0.8 * (snapshots["industry"] == "Software")
        - 0.03 * snapshots["visit_recency"].fillna(60)
        + 0.5 * snapshots["colleagues_active"]
    )
    won = generator.random(len(snapshots)) < 1 / (1 + np.exp(-log_odds))
    parameters = {"objective": "binary", "num_leaves": 7, "learning_rate": 0.1, "seed": 0,
                  "deterministic": True, "force_col_wise": True, "num_threads": 1,
                  "verbose": -1}  # fmt: skip
    data_set = lgb.Dataset(encoder.transform(snapshots), won.to_numpy().astype(float))
    booster = lgb.train(parameters, data_set, num_boost_round=60)
    return encoder, booster.model_to_string(), float(won.mean())


def small_scorer(calibration: Calibration = BENT, cutoff: float | None = 0.25) -> Scorer:
    """The small model with this calibration and cutoff."""
    encoder, text, base_rate = _fitted()
    forest = Forest.of_text(text)
    return Scorer(
        forest=forest,
        encoder=encoder,
        catalogue=CATALOGUE,
        calibration=calibration,
        cutoff=Cutoff(
            "capacity",
            {"mqls_per_week": 10},
            cutoff,
            evidence={"precision": Estimate(0.3, 0.2, 0.4)},
        ),
        base_rate=base_rate,
        horizon_days=91,
        base_raw_score=forest.base_raw_score,
        facts={"wins": 200},
    )


def booster_of(scorer: Scorer) -> lgb.Booster:
    """LightGBM's own reading of a scorer's forest: the oracle of ours."""
    return lgb.Booster(model_str=scorer.forest.text)


def why(lead_reasons: pd.DataFrame) -> str:
    """The text for a CRM field, from the complete reasons of one lead."""
    told = lead_reasons[lead_reasons["family"] != CALIBRATION]
    return why_text(told["text"].tolist(), told["points"].tolist())
