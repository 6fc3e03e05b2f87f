"""Scored rows for the replay: every eligible lead on every Monday, or each lead once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from features.catalogue import Catalogue
from features.components import account_components
from features.config import Config
from features.identity import know_people
from features.snapshots import build_snapshots, lead_weeks
from features.tables import Tables
from training.examples import Examples, attributed
from training.labels import SECONDS_A_DAY, label_snapshots

WEEKS_AT_ONCE = 8
"""Bounds the memory: features of this many weeks are held at a time."""

COLUMNS = [
    "lead_id",
    "account",
    "as_of",
    "probability",
    "won_in_horizon",
    "days_to_win",
    "opportunity_id",
]


def score_weeks(
    tables: Tables,
    config: Config,
    catalogue: Catalogue,
    instants: np.ndarray,
    probability_of: Callable[[pd.DataFrame, np.ndarray], np.ndarray],
) -> pd.DataFrame:
    """Return the eligible leads of every instant with probability and label, as a replay reads.

    `probability_of` scores a snapshots frame, given each row's account component. `instants` must
    have known labels.
    """
    weeks = lead_weeks(tables, config.population, instants)
    weeks = weeks[weeks["is_eligible"]]
    component = account_components(know_people(tables, config.population.account_from))
    attribution = attributed(tables, config)
    parts = []
    for start in range(0, len(instants), WEEKS_AT_ONCE):
        chunk = instants[start : start + WEEKS_AT_ONCE]
        index = weeks[weeks["as_of"].isin(chunk)]
        if index.empty:
            continue
        snapshots = build_snapshots(tables, catalogue, index)
        labelled = label_snapshots(
            snapshots[["lead_id", "as_of"]],
            attribution,
            config.training.horizon_days,
            tables.data_until,
        )
        labelled["account"] = component.loc[labelled["lead_id"]].to_numpy()
        labelled["probability"] = probability_of(snapshots, labelled["account"].to_numpy())
        parts.append(labelled.loc[labelled["won_in_horizon"].notna(), COLUMNS])
    return pd.concat(parts or [weeks[:0].reindex(columns=COLUMNS)], ignore_index=True)


def won_opportunities(tables: Tables, config: Config) -> pd.DataFrame:
    """Return opportunity_id, lead_id, account, created_at of every closed-won opportunity."""
    attribution = attributed(tables, config)
    won = attribution[attribution["stage"] == "closed_won"]
    component = account_components(know_people(tables, config.population.account_from))
    account = component.loc[won["lead_id"]].to_numpy()
    return won[["opportunity_id", "lead_id", "created_at"]].assign(account=account)


def scored_examples(examples: Examples, rows: np.ndarray, probability: np.ndarray) -> pd.DataFrame:
    """Return the examples where the mask `rows` is true as a replay reads them, each lead once.

    Without dates all rows lie at one instant.
    """
    taken = examples.snapshots[rows]
    as_of = taken["as_of"].to_numpy() if examples.is_dated else np.datetime64(0, "us")
    scored = pd.DataFrame(
        {
            "lead_id": taken["lead_id"],
            "account": examples.account[rows],
            "as_of": as_of,
            "probability": probability,
            "won_in_horizon": examples.won[rows],
            "days_to_win": examples.days_to_win[rows],
            "opportunity_id": pd.array(examples.opportunity[rows], dtype="str"),
        }
    )
    return scored[taken["is_eligible"]].reset_index(drop=True)


def won_examples(examples: Examples) -> pd.DataFrame:
    """Return a row like that of `won_opportunities` for every won example of a flat export.

    A flat export names no opportunity: it counts as created when the lead was won, or right after
    `as_of` where that is not known.
    """
    won = examples.won > 0
    taken = examples.snapshots[won]
    microseconds = np.nan_to_num(examples.days_to_win[won]) * SECONDS_A_DAY * 1e6
    as_of = taken["as_of"].to_numpy() if examples.is_dated else np.datetime64(0, "us")
    return pd.DataFrame(
        {
            "opportunity_id": taken["lead_id"].to_numpy(),
            "lead_id": taken["lead_id"].to_numpy(),
            "created_at": (as_of + microseconds.astype("timedelta64[us]")).astype("datetime64[us]"),
            "account": examples.account[won],
        }
    )
