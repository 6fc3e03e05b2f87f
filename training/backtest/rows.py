"""The rows of a backtest: each built once, and scored by every model that is old enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from features.config import Config
from features.parts.partitions import Partitions
from features.snapshots import at_lead_age, lead_weeks
from features.tables import Tables
from models.encoding import Encoder
from training.backtest.month_models import MonthModel
from training.backtest.months import WEEK, Months
from training.examples import Examples, attributed, matured_mondays
from training.scored_weeks import PAST_WEEKS, WARM_UP_WEEKS, cutoff_policy
from training.weekly import (
    score_index,
    scored_examples,
    won_examples,
    won_opportunities,
)

if TYPE_CHECKING:
    from models.rules import RulesScorer

LONG_AGO = np.datetime64("1900-01-01", "us")


@dataclass(frozen=True)
class ScoredRows:
    """Every eligible lead on every Monday (or each lead once) with every model's probability."""

    rows: pd.DataFrame
    """As `ScoredWeeks.scored`, without `probability`, and `month`: the number of its month, -1
    before the first. Sorted by as_of."""
    probability: np.ndarray
    """(rows, models): out of fold where the model was fitted on that week, as in use afterwards,
    NaN where it does not look."""
    wins: pd.DataFrame
    """opportunity_id, lead_id, account, created_at, amount, known_at: when the win was recorded.
    A row per lead of every won opportunity."""
    is_weekly: bool
    segments: tuple[str, ...]
    "The column that cutoffs go by, if they do."

    def only(self, rows: np.ndarray, model: int) -> pd.DataFrame:
        """Return the rows where the mask is true, with the probability of one model."""
        return self.rows[rows].assign(probability=self.probability[rows, model])


class _EveryModel:
    """Scores snapshots by all models. What it gives a row is the line in `probability`."""

    def __init__(self, models: Sequence[MonthModel], weeks_of_past: int | None) -> None:
        self.models = models
        self.weeks_of_past = weeks_of_past
        self.blocks: list[np.ndarray] = []
        self.lines = 0

    def oldest(self, model: MonthModel) -> np.datetime64:
        """Return from when on a model is asked; None weeks: from the start."""
        if self.weeks_of_past is None:
            return LONG_AGO
        return model.newest - (self.weeks_of_past - 1) * WEEK

    def __call__(self, snapshots: pd.DataFrame, account: np.ndarray) -> np.ndarray:
        read = ["as_of", *self._segments()]
        # The numbers are the same to every encoder, so only the categories are encoded anew.
        matrix = self.models[0].fitted.encoder.transform(snapshots)
        by_model = []
        for model in self.models:
            encoder = model.fitted.encoder
            places = [encoder.columns.index(name) for name in encoder.category_columns]
            categories = Encoder(encoder.category_columns, encoder.vocabularies)
            matrix[:, places] = categories.transform(snapshots)
            by_model.append(
                model.probabilities(snapshots[read], account, matrix, self.oldest(model))
            )
        self.blocks.append(np.column_stack(by_model))
        first, self.lines = self.lines, self.lines + len(snapshots)
        return np.arange(first, self.lines, dtype=float)

    def _segments(self) -> list[str]:
        by = self.models[0].fitted.calibration.segment_by
        return [] if by is None else [by]


def score_rows(
    models: Sequence[MonthModel],
    months: Months,
    examples: Examples,
    partitions: Partitions | None,
    config: Config,
    rules: RulesScorer | None,
) -> ScoredRows:
    """Return the rows of all months and of what came before, as far as a cutoff needs it.

    Snapshots are built once, however many models score them. `partitions` is None for a flat
    export.
    """
    by = cutoff_policy(examples, config).segment_by
    segments = () if by is None else (by,)
    is_weekly = partitions is not None and examples.is_weekly
    every = _EveryModel(models, PAST_WEEKS + WARM_UP_WEEKS if is_weekly else None)
    if partitions is None:
        before = examples.as_of < months.end
        scored = scored_examples(
            examples,
            before,
            every(examples.snapshots[before], examples.account[before]),
            rules,
            segments,
        )
        wins = won_examples(examples)
    else:
        first = every.oldest(models[0]) if is_weekly else examples.as_of.min()
        index_of = _index_between(partitions, first, months.end, is_weekly, config)
        scored = score_index(
            partitions, config, examples.catalogue, index_of, every, rules, segments
        )
        wins = won_opportunities(partitions, config)
    lines = scored["probability"].to_numpy().astype(int)
    rows = scored.drop(columns="probability")
    rows["month"] = months.of(rows["as_of"].to_numpy())
    wins = _with_known_at(wins, partitions, config)
    if not is_weekly:
        wins = _of_the_leads(wins, rows)
    return ScoredRows(rows, np.concatenate(every.blocks)[lines], wins, is_weekly, segments)


def _index_between(
    partitions: Partitions,
    first: np.datetime64,
    end: np.datetime64,
    is_weekly: bool,
    config: Config,
) -> Callable[[Tables], pd.DataFrame]:
    """Return what gives the index of a part's snapshots in `[first, end)`.

    Every Monday whose labels are known, or each lead once at its age.
    """
    population = config.population
    mondays = matured_mondays(partitions, config.training.horizon_days)
    mondays = mondays[(mondays >= first) & (mondays < end)]

    def index_of(part: Tables) -> pd.DataFrame:
        if is_weekly:
            return lead_weeks(part, population, mondays)
        index = at_lead_age(part, population, config.snapshots.age_days)
        as_of = index["as_of"].to_numpy()
        return index[(as_of >= first) & (as_of < end)].reset_index(drop=True)

    return index_of


def _with_known_at(
    wins: pd.DataFrame, partitions: Partitions | None, config: Config
) -> pd.DataFrame:
    if partitions is None:
        return wins.assign(known_at=wins["created_at"])
    closings = pd.concat([attributed(part.tables, config) for part in partitions])
    known_at = closings.groupby("opportunity_id")["closed_recorded_at"].min()
    return wins.assign(known_at=known_at.reindex(wins["opportunity_id"]).to_numpy())


def _of_the_leads(wins: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the wins within the horizon of leads that are looked at once, as if opened then.

    So a win belongs to the month in which its lead was looked at, and all months are given the
    same time to win.
    """
    won = rows.loc[rows["won_in_horizon"] > 0, ["lead_id", "opportunity_id", "as_of"]]
    own = wins.merge(won, on=["lead_id", "opportunity_id"])
    own["created_at"] = own["as_of"] + pd.Timedelta(1, "us")
    return own.drop(columns="as_of")
