"""How fast a model ages, and what retraining less often costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from training.backtest.decisions import Schedule, always_aged, retrained_every
from training.backtest.outcomes import Figures, Outcome, differences, value_of
from training.backtest.replays import Replays
from training.backtest.scores import MonthScores, gaps

CADENCES = (1, 2, 3, 6, None)
"""Months between two trainings; None: never again."""
MONTHLY, NEVER = "every month", "never"


@dataclass(frozen=True)
class Ageing:
    """A model of one age against a fresh one, over the same rows and months."""

    age_months: int
    months: int
    "How many months there were to see it in."
    scores: Figures
    "log_loss, calibration_error and auc, less those of the fresh model."
    decisions: Figures
    "mqls_per_week, precision and capture with each model's own cutoff, likewise."

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "age_months": self.age_months,
            "months": self.months,
            **{name: asdict(found) for name, found in {**self.scores, **self.decisions}.items()},
        }


@dataclass(frozen=True)
class Cadence:
    """Retraining every so many months, against every month, over the same rows."""

    every_months: int | None
    name: str
    models: int
    "How many models it takes."
    totals: Figures
    "mqls_per_week, precision, capture and value_per_week, with each model's own cutoff."
    scores: Figures
    "log_loss, calibration_error and auc, less those of retraining every month."
    as_set: Figures
    "What decisions bring with each model's own cutoff, less the same of every month."
    equal_volume: Figures
    "Likewise where everybody hands over as many leads a week."

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        parts = ("totals", "scores", "as_set", "equal_volume")
        told = {part: {n: asdict(e) for n, e in getattr(self, part).items()} for part in parts}
        return {"every_months": self.every_months, "models": self.models, **told}


def cadence_name(every_months: int | None) -> str:
    """Return how often, in words.

    >>> [cadence_name(count) for count in (1, 3, None)]
    ['every month', 'every 3 months', 'never']
    """
    if every_months is None:
        return NEVER
    return MONTHLY if every_months == 1 else f"every {every_months} months"


def ageing_of(replays: Replays, scores: Sequence[MonthScores]) -> list[Ageing]:
    """Return how models of each age compare with a fresh one, from one month old on."""
    count = len(replays.months)
    found = []
    for age in range(1, count):
        weeks = float(replays.weeks[age:].sum())
        old = replays.as_set(always_aged(count, age))
        fresh = replays.as_set(Schedule("fresh", tuple(range(age, count)), age))
        pairs = [(month, month - age, month) for month in range(age, count)]
        decided = differences(old, fresh, replays.accounts, weeks, replays.config.cutoff)
        scored = gaps(scores, pairs, replays.accounts)
        found.append(Ageing(age, count - age, scored, decided))
    return found


def cadences_of(
    replays: Replays, scores: Sequence[MonthScores], monthly: Outcome, volume: int
) -> list[Cadence]:
    """Return what each of `CADENCES` brings; `monthly` is the outcome of the first."""
    count, policy, accounts = len(replays.months), replays.config.cutoff, replays.accounts
    weeks = float(replays.weeks.sum())
    best = replays.best(retrained_every(count, 1, MONTHLY), volume)
    found = []
    for every in CADENCES:
        if every is not None and every >= count:
            continue  # never again, by another name
        schedule = retrained_every(count, every, cadence_name(every))
        outcome = monthly if every == 1 else replays.as_set(schedule)
        totals = outcome.figures(weeks) | value_of(outcome, weeks, policy)
        scored: Figures = {}
        as_set: Figures = {}
        equal: Figures = {}
        if every != 1:
            pairs = [(month, schedule.models[month], month) for month in range(count)]
            scored = gaps(scores, pairs, accounts)
            as_set = differences(outcome, monthly, accounts, weeks, policy)
            equal = differences(replays.best(schedule, volume), best, accounts, weeks, policy)
        models = len(set(schedule.models))
        found.append(Cadence(every, schedule.name, models, totals, scored, as_set, equal))
    return found
