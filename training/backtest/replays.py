"""Replays of the same past under different schedules, and under the rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.config import Config
from models.cutoff import Cutoff
from training.backtest.decisions import (
    Looked,
    Schedule,
    best_each_week,
    crossings,
    looked_at,
    replayed,
    rules_crossings,
    warm_up_weeks,
)
from training.backtest.intervals import Accounts
from training.backtest.months import Months
from training.backtest.outcomes import Outcome, weeks_looked_at
from training.backtest.rows import ScoredRows
from training.cutoffs.policies import DEFAULT_SHARE


@dataclass(frozen=True)
class Replays:
    """The scored past with every model's cutoff; asks it what any schedule would have brought."""

    scored: ScoredRows
    months: Months
    cutoffs: Sequence[Cutoff]
    threshold: float | None
    "Points from which the rules hand a lead over; None without rules."
    config: Config
    accounts: Accounts

    @property
    def weeks(self) -> np.ndarray:
        """Weeks of decisions in each month."""
        return weeks_looked_at(self.scored, self.months)

    def as_set(self, schedule: Schedule) -> Outcome:
        """Return what the schedule brings with each model's own cutoff."""
        looked = self._looked(schedule)
        return self._outcome(looked, crossings(self.scored, looked, self.cutoffs))

    def rules_as_set(self) -> Outcome:
        """Return what the rules bring at their own threshold, over all months."""
        looked = self._looked(self._everything())
        assert self.threshold is not None  # asked for with rules only
        return self._outcome(looked, rules_crossings(self.scored, looked, self.threshold))

    def best(self, schedule: Schedule, count: int) -> Outcome:
        """Return what handing over the `count` best leads of each week brings."""
        looked = self._looked(schedule)
        number = self.scored.probability[looked.lines, looked.model]
        return self._best(looked, number, count)

    def rules_best(self, count: int) -> Outcome:
        """Return what handing over the `count` leads with most points each week brings."""
        looked = self._looked(self._everything())
        return self._best(looked, self.scored.rows["points"].to_numpy()[looked.lines], count)

    def volume(self, outcome: Outcome) -> int:
        """Return how many leads a week to compare at: what sales can work.

        `cutoff.mqls_per_week` if set, else what the models retrained every month bring (`outcome`),
        else a tenth of the leads that arrive.
        """
        weeks, asked = float(self.weeks.sum()), self.config.cutoff.mqls_per_week
        if asked is not None:
            return max(1, round(asked))
        if len(outcome.mql_won) >= weeks:
            return round(len(outcome.mql_won) / weeks)
        rows = self.scored.rows
        arrived = rows["month"].to_numpy()[~rows["lead_id"].duplicated().to_numpy()]
        return max(1, round(DEFAULT_SHARE * float((arrived >= 0).sum()) / weeks))

    def _everything(self) -> Schedule:
        return Schedule("rules", (0,) * len(self.months))

    def _looked(self, schedule: Schedule) -> Looked:
        weeks = warm_up_weeks(self.config.gap_days)
        return looked_at(self.scored, self.months, schedule, weeks)

    def _best(self, looked: Looked, number: np.ndarray, count: int) -> Outcome:
        seed = self.config.training.seed
        return self._outcome(looked, best_each_week(self.scored, looked, number, count, seed))

    def _outcome(self, looked: Looked, is_mql: np.ndarray) -> Outcome:
        replay = replayed(self.scored, self.months, looked, is_mql)
        return Outcome.of(replay, self.scored, self.months, self.config.cutoff)
