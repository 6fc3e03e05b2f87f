"""Scored rows for the replay: every eligible lead on every Monday, or each lead once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from features.catalogue.catalogue import INDEX_COLUMNS, Catalogue
from features.config import Config
from features.parts.partitions import Part, Partitions
from features.snapshots import Past, lead_weeks
from features.tables import Tables
from training.examples import Examples
from training.labels import SECONDS_A_DAY
from training.part_examples import (
    ACCOUNT,
    DAYS,
    OPPORTUNITY,
    ROWS_AT_ONCE,
    WON,
    attributed,
    label_part,
)


def score_weeks(
    tables: Tables | Partitions,
    config: Config,
    catalogue: Catalogue,
    instants: np.ndarray,
    probability_of: Callable[[pd.DataFrame, np.ndarray], np.ndarray],
) -> pd.DataFrame:
    """Return the eligible leads of every instant with probability and label, as a replay reads.

    `probability_of` scores a snapshots frame, given each row's account component. `instants` must
    have known labels. Rows are sorted by as_of then lead_id.
    """
    partitions = Partitions.of(tables)
    parts = [_score_part(part, config, catalogue, instants, probability_of) for part in partitions]
    scored = pd.concat(parts, ignore_index=True)
    if len(parts) > 1:
        scored = scored.sort_values(["as_of", "lead_id"], ignore_index=True)
    return scored


def _score_part(
    part: Part,
    config: Config,
    catalogue: Catalogue,
    instants: np.ndarray,
    probability_of: Callable[[pd.DataFrame, np.ndarray], np.ndarray],
) -> pd.DataFrame:
    weeks = lead_weeks(part.tables, config.population, instants)
    labelled = label_part(part, weeks[weeks["is_eligible"]], config)
    labelled = labelled[labelled[WON].notna()].reset_index(drop=True)
    past = Past.of(part.tables, catalogue)
    probability = np.empty(len(labelled))
    for first in range(0, len(labelled), ROWS_AT_ONCE):
        rows = slice(first, first + ROWS_AT_ONCE)
        snapshots = past.snapshots(labelled.loc[:, list(INDEX_COLUMNS)][rows])
        probability[rows] = probability_of(snapshots, labelled[ACCOUNT].to_numpy()[rows])
    return pd.DataFrame(
        {
            "lead_id": labelled["lead_id"],
            "account": labelled[ACCOUNT],
            "as_of": labelled["as_of"],
            "probability": probability,
            "won_in_horizon": labelled[WON],
            "days_to_win": labelled[DAYS],
            "opportunity_id": labelled[OPPORTUNITY],
        }
    )


def won_opportunities(tables: Tables | Partitions, config: Config) -> pd.DataFrame:
    """Return opportunity_id, lead_id, account, created_at of every closed-won opportunity.

    Sorted by opportunity_id then lead_id.
    """
    parts = [_won_in(part, config) for part in Partitions.of(tables)]
    return pd.concat(parts).sort_values(["opportunity_id", "lead_id"], ignore_index=True)


def _won_in(part: Part, config: Config) -> pd.DataFrame:
    attribution = attributed(part.tables, config)
    won = attribution[attribution["stage"] == "closed_won"]
    component = part.account_components(config.population.account_from)
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
