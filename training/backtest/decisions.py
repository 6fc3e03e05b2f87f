"""What would have been handed to sales: by the model in use, or by the rules, one lead once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.draws import draws
from models.cutoff import Cutoff
from training.backtest.months import WEEK, Months
from training.backtest.rows import ScoredRows
from training.replay import Replay, build_replay
from training.scored_weeks import WARM_UP_WEEKS


@dataclass(frozen=True)
class Schedule:
    """Which model is in use in each month, from month `first` on."""

    name: str
    models: tuple[int, ...]
    "The number of the model in use in month `first`, in the next one, and so on."
    first: int = 0


def retrained_every(months: int, count: int | None, name: str) -> Schedule:
    """Return the schedule over all `months` of a model made anew every `count` months; None: never.

    >>> retrained_every(5, 2, "every 2 months").models
    (0, 0, 2, 2, 4)
    >>> retrained_every(3, None, "never").models
    (0, 0, 0)
    """
    return Schedule(name, tuple(0 if count is None else k // count * count for k in range(months)))


def always_aged(months: int, age: int) -> Schedule:
    """Return the schedule in which the model in use is always `age` months old.

    >>> always_aged(4, 2)
    Schedule(name='2 months old', models=(0, 1), first=2)
    """
    return Schedule(f"{age} months old", tuple(range(months - age)), age)


@dataclass(frozen=True)
class Looked:
    """The rows that a schedule decides on, its warm-up included, in order of time."""

    lines: np.ndarray
    "Line numbers of `ScoredRows.rows`."
    model: np.ndarray
    "The model in use, one entry a line."
    start: pd.Timestamp
    is_cold: bool
    "Whether there is no warm-up that tells who was above the cutoff before."


def looked_at(scored: ScoredRows, months: Months, schedule: Schedule, warm_up_weeks: int) -> Looked:
    """Return the rows of the months of `schedule`, and of the weeks that warm its replay up.

    In those the model of the first month decides, which was not fitted on them.
    """
    start = months.starts[schedule.first]
    as_of = scored.rows["as_of"].to_numpy()
    weeks = warm_up_weeks if scored.is_weekly else 0
    lines = np.flatnonzero((as_of >= start - weeks * WEEK) & (as_of < months.end))
    place = np.maximum(scored.rows["month"].to_numpy()[lines] - schedule.first, 0)
    model = np.array(schedule.models)[place]
    return Looked(lines, model, pd.Timestamp(start), scored.is_weekly and weeks == 0)


def warm_up_weeks(gap_days: int) -> int:
    """Return how many weeks before a month its model may decide on: it has not seen them."""
    return min(WARM_UP_WEEKS, gap_days // 7)


def crossings(scored: ScoredRows, looked: Looked, cutoffs: Sequence[Cutoff]) -> np.ndarray:
    """Return which of the rows looked at reach the cutoff of the model in use then."""
    own = scored.probability[looked.lines, looked.model]
    needed = np.empty(len(own))
    for number in np.unique(looked.model):
        rows, cutoff = looked.model == number, cutoffs[number]
        needed[rows] = np.inf if cutoff.value is None else cutoff.value
        if cutoff.segment_by is not None:
            segments = scored.rows[cutoff.segment_by].to_numpy()[looked.lines[rows]]
            needed[rows] = cutoff.values(segments)
    return np.asarray(own >= needed)


def rules_crossings(scored: ScoredRows, looked: Looked, threshold: float) -> np.ndarray:
    """Return which of the rows looked at reach the rules' threshold."""
    return np.asarray(scored.rows["points"].to_numpy()[looked.lines] >= threshold)


def best_each_week(
    scored: ScoredRows, looked: Looked, number: np.ndarray, count: int, seed: int
) -> np.ndarray:
    """Return which rows are the `count` best of their week among leads not taken before.

    `number`: probability or points, one a row looked at; equal ones are told apart by chance, the
    same for everybody. So whoever decides hands over as many leads, without any cutoff.
    """
    rows = scored.rows.iloc[looked.lines]
    as_of = rows["as_of"].to_numpy()
    lead, _ = pd.factorize(rows["lead_id"])
    week = (as_of - looked.start.to_datetime64()) // WEEK
    chance = draws(rows["lead_id"], np.zeros(len(rows), dtype=np.int64), seed)
    is_taken = np.zeros(lead.max(initial=-1) + 1, dtype=bool)
    is_picked = np.zeros(len(rows), dtype=bool)
    for one in np.unique(week):
        open_rows = np.flatnonzero((week == one) & ~is_taken[lead] & (number > -np.inf))
        best = open_rows[np.lexsort((chance[open_rows], -number[open_rows]))]
        # a lead may lie twice in a week that is not of Mondays
        _, once = np.unique(lead[best], return_index=True)
        taken = best[np.sort(once)[:count]]
        is_taken[lead[taken]] = True
        is_picked[taken] = True
    return is_picked


def replayed(scored: ScoredRows, months: Months, looked: Looked, is_mql: np.ndarray) -> Replay:
    """Return the replay of decisions: `mqls(0.0)` are the first of each lead, warm-up left out.

    `is_mql`: one entry a row looked at. Only the first row and the first decision of a lead can
    tell a replay anything, so the others are not handed on.
    """
    rows = scored.rows.iloc[looked.lines].assign(probability=np.where(is_mql, 1.0, -1.0))
    lead = rows["lead_id"]
    is_first_mql = is_mql & ~lead.where(is_mql).duplicated().to_numpy()
    kept = rows[is_first_mql | ~lead.duplicated().to_numpy()]
    return build_replay(
        kept, scored.wins, looked.start, pd.Timestamp(months.end), looked.is_cold, True
    )
