"""A small catalogue with snapshots, and points tables over it, for the tests of rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from tables_builder import tables_of

from features.catalogue.catalogue import build_catalogue
from features.config import FeatureConfig
from models.rules import RulesScorer
from models.rules_table import RulesTable

SOFTWARE = {"name": "Software", "feature": "leads.industry", "in": ["Software"], "points": 30}
_EVENTS = [("pricing_view", 5), ("any", 4), ("visit", 3), ("fax", 1)]
CATALOGUE = build_catalogue(
    tables_of(
        leads=[{"lead_id": "l", "created_at": 0, "account_id": "a", "industry": "Software"}],
        accounts=[{"account_id": "a", "employees": 50.0}],
        engagement_events=[
            {"lead_id": "l", "event_type": name, "occurred_at": number}
            for name, count in _EVENTS
            for number in range(count)
        ],
    ),
    FeatureConfig(
        windows_days=(7, 30),
        half_lives_days=(30,),
        max_event_types=3,
        groups={"buying_signals": ("pricing_view", "visit"), "visit": ("pricing_view", "visit")},
    ),
    pd.Timestamp("2025-01-01"),
)


def snapshots_of(rows: int = 60, seed: int = 0, **columns: Any) -> pd.DataFrame:
    """Snapshots of CATALOGUE with random values where `columns` don't say."""
    generator = np.random.default_rng(seed)
    industries = np.array(["Software", "Retail", "Health", None], dtype=object)
    frame = pd.DataFrame(
        {
            "lead_id": pd.array([f"lead-{row}" for row in range(rows)], dtype="str"),
            "account_id": pd.array([f"account-{row // 2}" for row in range(rows)], dtype="str"),
            "as_of": np.full(rows, np.datetime64("2024-05-06", "us")),
            "is_eligible": generator.random(rows) < 0.8,
        }
    )
    values = {}
    for feature in CATALOGUE.features:
        if feature.name in columns:
            values[feature.name] = columns[feature.name]
        elif feature.dtype == "category":
            values[feature.name] = pd.array(generator.choice(industries, rows), dtype="str")
        else:
            numbers = generator.poisson(2.0, rows) * (1.37 if feature.half_life_days else 1.0)
            is_count = feature.aggregation == "count" or feature.half_life_days
            is_missing = generator.random(rows) < (0.0 if is_count else 0.2)
            values[feature.name] = np.where(is_missing, np.nan, numbers).astype(np.float32)
    return pd.concat([frame, pd.DataFrame(values)], axis=1)


def table_of(mql_threshold: float = 20, **sections: Any) -> RulesTable:
    """A table of these sections, as `read_rules` would give it."""
    return RulesTable.model_validate({"mql_threshold": mql_threshold, **sections})


def scorer_of(mql_threshold: float = 20, **sections: Any) -> RulesScorer:
    return RulesScorer.of(table_of(mql_threshold, **sections), CATALOGUE)


def rated(scorer: RulesScorer, snapshots: pd.DataFrame) -> RulesScorer:
    """The same rules, every third snapshot won."""
    won = np.arange(len(snapshots)) % 3 == 0
    return scorer.with_win_rates(scorer.points(snapshots), won, np.ones(len(snapshots)))
