"""What a champion promised, week by week: expected wins, MQLs, precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.cutoff import Cutoff, Estimate
from training.fitting.time_to_win import TimeToWin
from training.monitor.evidence import WeeklyWins, weekly_wins
from training.monitor.weekly import Weekly

Floats = npt.NDArray[np.float64]
WARM_UP_WEEKS = 8


@dataclass(frozen=True)
class Expectations:
    """What the weeks are held against."""

    reference: int
    "The first so many Mondays are the champion's training window."
    wins: WeeklyWins
    mql_wins: WeeklyWins | None
    "Of the MQLs, at the promised precision; None without a cutoff."
    precision: Estimate | None
    mqls_per_week: Estimate | None
    mqls: Floats
    "First crossings of the cutoff, by Monday."
    tolerated: float


def first_crossings(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the first row at which each lead qualified, from the eighth Monday on.

    A lead above the cutoff on the first Mondays may have crossed it before they began.
    """
    qualified = rows[rows["qualified"].to_numpy(bool)].sort_values(["monday", "lead"])
    first = qualified.drop_duplicates("lead")
    return first[first["monday"] >= WARM_UP_WEEKS]


def time_to_win(
    rows: pd.DataFrame, reference: int, horizon_days: float, rows_a_win: float
) -> TimeToWin:
    """Return when wins come, from the snapshots whose horizon ended within the reference.

    `rows_a_win`: how many snapshots tell of the same win.
    """
    ended = rows["monday"] + int(np.ceil(horizon_days / 7)) < reference
    won = rows[ended & rows["days_to_win"].notna()]
    weight = np.full(len(won), 1.0 / rows_a_win)
    return TimeToWin.of(won["days_to_win"], weight, horizon_days, won["raw_score"])


def expectations(
    weekly: Weekly,
    reference: int,
    horizon_days: float,
    cutoff: Cutoff,
    tolerated: float,
) -> Expectations:
    """Return what to hold the weeks after the first `reference` Mondays against.

    The weekly wins of a week never change afterwards, so one call serves every later Monday.
    """
    rows, weeks = weekly.rows, len(weekly.mondays) - 1
    timing = time_to_win(rows, reference, horizon_days, np.ceil(horizon_days / 7))
    wins = weekly_wins(rows, weeks, reference, horizon_days, timing)
    crossings = first_crossings(rows)
    mqls = np.bincount(crossings["monday"], minlength=len(weekly.mondays)).astype(float)
    precision = None if cutoff.qualifies_nobody else cutoff.evidence.get("precision")
    mql_wins = None
    if precision is not None and (crossings["monday"] >= reference).sum() > 0:
        own = time_to_win(crossings, reference, horizon_days, 1.0)
        promised = crossings.assign(probability=precision.value)
        # The promise is about first crossings; the reference's were chosen by, so only newer ones.
        mql_wins = weekly_wins(promised, weeks, reference, horizon_days, own, by_snapshot=False)
    return Expectations(reference, wins, mql_wins, precision, _volume(cutoff), mqls, tolerated)


def _volume(cutoff: Cutoff) -> Estimate | None:
    return cutoff.forecast or cutoff.evidence.get("mqls_per_week")
