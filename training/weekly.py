"""Scored rows for the replay: every eligible lead on every Monday, or each lead once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

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
from training.replay import Replay, build_replay
from training.verdicts.work import work_of_sales, worked_within

if TYPE_CHECKING:
    from models.rules import RulesScorer

SCORED_COLUMNS = ("lead_id", "account", "as_of", "probability", "won_in_horizon", "days_to_win",
                  "opportunity_id", "worked", "account_worked", "points",
                  "model_probability")  # fmt: skip
ProbabilityOf = Callable[[pd.DataFrame, np.ndarray], np.ndarray]
"Scores snapshots, given the account component of each row."


@dataclass(frozen=True)
class ScoredWeeks:
    """Scored rows and wins, ready to be replayed with the model's or the rules' numbers."""

    scored: pd.DataFrame
    """lead_id, account, as_of, probability, won_in_horizon, days_to_win, opportunity_id, worked
    and account_worked (1 or 0: whether sales worked the lead, or anybody of its account, see
    `worked_within`; NaN: unknown), points (only with rules), and one column per segment. A row per
    eligible lead and week."""
    wins: pd.DataFrame
    "opportunity_id, lead_id, account, created_at, amount; a row per lead of every won opportunity"
    start: pd.Timestamp
    until: pd.Timestamp
    first_week_is_backlog: bool
    is_dated: bool
    segments: tuple[str, ...] = ()
    "Columns of `scored`."

    def replay(self) -> Replay:
        """Return the replay of the model's probabilities."""
        return self._replayed(self.scored)

    def rules_replay(self) -> Replay:
        """Return the replay of the rules: its `probability` holds points, a cutoff a threshold.

        The model's is in `model_probability`.
        """
        by_points = self.scored.rename(columns={"probability": "model_probability"})
        return self._replayed(by_points.assign(probability=by_points["points"]))

    def with_points(self, points: np.ndarray) -> ScoredWeeks:
        """Return the same leads in the same weeks with the points of other rules, one a row."""
        return replace(self, scored=self.scored.assign(points=points))

    def _replayed(self, scored: pd.DataFrame) -> Replay:
        return build_replay(
            scored, self.wins, self.start, self.until, self.first_week_is_backlog, self.is_dated
        )


def score_weeks(
    tables: Tables | Partitions,
    config: Config,
    catalogue: Catalogue,
    instants: np.ndarray,
    probability_of: ProbabilityOf,
    rules: RulesScorer | None = None,
    segments: Sequence[str] = (),
) -> pd.DataFrame:
    """Return the eligible leads of every instant with probability and label, as a replay reads.

    `probability_of` scores a snapshots frame, given each row's account component. `instants` must
    have known labels. `segments` are category features. Columns as in `ScoredWeeks.scored`; rows
    are sorted by as_of then lead_id.
    """

    def index_of(part: Tables) -> pd.DataFrame:
        return lead_weeks(part, config.population, instants)

    return score_index(tables, config, catalogue, index_of, probability_of, rules, segments)


def score_index(
    tables: Tables | Partitions,
    config: Config,
    catalogue: Catalogue,
    index_of: Callable[[Tables], pd.DataFrame],
    probability_of: ProbabilityOf,
    rules: RulesScorer | None = None,
    segments: Sequence[str] = (),
) -> pd.DataFrame:
    """Return what `score_weeks` returns, of the index of snapshots of each part's tables."""
    partitions = Partitions.of(tables)
    parts = [
        _score_part(part, config, catalogue, index_of, probability_of, rules, segments)
        for part in partitions
    ]
    scored = pd.concat(parts, ignore_index=True)
    if len(parts) > 1:
        scored = scored.sort_values(["as_of", "lead_id"], ignore_index=True)
    if not scored["worked"].any():
        scored[["worked", "account_worked"]] = np.nan  # nobody wrote it down
    return scored


def _score_part(
    part: Part,
    config: Config,
    catalogue: Catalogue,
    index_of: Callable[[Tables], pd.DataFrame],
    probability_of: ProbabilityOf,
    rules: RulesScorer | None,
    segments: Sequence[str],
) -> pd.DataFrame:
    index = index_of(part.tables)
    labelled = label_part(part, index[index["is_eligible"]], config)
    labelled = labelled[labelled[WON].notna()].reset_index(drop=True)
    past = Past.of(part.tables, catalogue)
    probability, points = np.empty(len(labelled)), np.empty(len(labelled))
    columns = []
    for first in range(0, max(len(labelled), 1), ROWS_AT_ONCE):
        rows = slice(first, first + ROWS_AT_ONCE)
        snapshots = past.snapshots(labelled.loc[:, list(INDEX_COLUMNS)][rows])
        if len(snapshots):
            probability[rows] = probability_of(snapshots, labelled[ACCOUNT].to_numpy()[rows])
            if rules is not None:
                points[rows] = rules.points(snapshots)
        columns.append(snapshots[list(segments)])
    component = part.account_components(config.population.account_from)
    work, horizon = work_of_sales(part.tables, component), config.training.horizon_days
    scored = pd.DataFrame(
        {
            "lead_id": labelled["lead_id"],
            "account": labelled[ACCOUNT],
            "as_of": labelled["as_of"],
            "probability": probability,
            "won_in_horizon": labelled[WON],
            "days_to_win": labelled[DAYS],
            "opportunity_id": labelled[OPPORTUNITY],
            "worked": worked_within(work, labelled, horizon, "lead_id"),
            "account_worked": worked_within(work, labelled, horizon, ACCOUNT),
        }
    )
    if rules is not None:
        scored["points"] = points
    return pd.concat([scored, pd.concat(columns, ignore_index=True)], axis=1)


def won_opportunities(tables: Tables | Partitions, config: Config) -> pd.DataFrame:
    """Return opportunity_id, lead_id, account, created_at, amount of closed-won opportunities.

    A row per lead, sorted by opportunity_id then lead_id.
    """
    parts = [_won_in(part, config) for part in Partitions.of(tables)]
    return pd.concat(parts).sort_values(["opportunity_id", "lead_id"], ignore_index=True)


def _won_in(part: Part, config: Config) -> pd.DataFrame:
    attribution = attributed(part.tables, config)
    won = attribution[attribution["stage"] == "closed_won"]
    component = part.account_components(config.population.account_from)
    account = component.loc[won["lead_id"]].to_numpy()
    return won[["opportunity_id", "lead_id", "created_at", "amount"]].assign(account=account)


def scored_examples(
    examples: Examples,
    rows: np.ndarray,
    probability: np.ndarray,
    rules: RulesScorer | None = None,
    segments: Sequence[str] = (),
) -> pd.DataFrame:
    """Return the examples where the mask `rows` is true as a replay reads them, each lead once.

    Columns as in `ScoredWeeks.scored`; nothing tells whether sales worked a lead. Without dates
    all rows lie at one instant.
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
            "worked": np.nan,
            "account_worked": np.nan,
        }
    )
    if rules is not None:
        scored["points"] = rules.points(taken)
    scored = pd.concat([scored, taken[list(segments)]], axis=1)
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
            "amount": np.nan,
        }
    )
