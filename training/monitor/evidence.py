"""Expected and observed wins week by week, and when they part: a test valid at any time.

**Expected**: a snapshot with probability p expects p (F(end) - F(start)) / (1 - p F(start)) wins in
a week of its horizon while it is not won, F being the share of wins by that day (as in
`training.fitting.recalibrate`). Snapshots of every week of the last horizon count, averaged, so
that early wins count as soon as they come and the sum does not hang on F.

**The test**: for each week that a change may have begun in, the e-value of a Gaussian mixture over
sizes of change (Robbins 1970; Howard, Ramdas, McAuliffe and Sekhon 2021), whose mean under no
change never exceeds 1; their sum over the weeks is the e-detector of Shiryaev and Roberts (Shin,
Ramdas and Rinaldo 2023). Without change it takes at least `THRESHOLD` weeks on average until the
sum exceeds `THRESHOLD`, however often one looks. The variance is that of the accounts' residuals,
times how much more weeks vary together than accounts say, both measured before the model's data
ended: leads of an account win together, and so do the weeks of a quarter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.fitting.time_to_win import TimeToWin

Floats = npt.NDArray[np.float64]
THRESHOLD = 250.0
"Weeks between two false alarms, at least, of one direction of one comparison."
CHANGE = 0.35
"Size of change the test looks for, as a share of the wins: one that is worth a person's time."
BLOCK_WEEKS = 6
WEEK_DAYS = 7.0
Direction = Literal["fewer", "more"]


@dataclass(frozen=True)
class WeeklyWins:
    """Wins in the week after each Monday, observed and expected; NaN where no snapshot is known."""

    observed: Floats
    expected: Floats
    dispersion: float
    "Variance of observed - expected, over expected."

    def until(self, weeks: int) -> WeeklyWins:
        """Return the first `weeks` weeks."""
        return WeeklyWins(self.observed[:weeks], self.expected[:weeks], self.dispersion)


@dataclass(frozen=True)
class Parting:
    """How far observed and expected wins have parted, in one direction, at the end."""

    direction: Direction
    e_value: float
    since: int
    "Week in which the change most likely began."
    observed: float
    expected: float
    "Both since then."
    is_alarm: bool
    e_values: Floats
    "Of every week tested."

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON, without the course of the weeks."""
        return {
            "direction": self.direction,
            "e_value": round(self.e_value, 3),
            "observed": round(self.observed, 1),
            "expected": round(self.expected, 1),
        }


def weekly_wins(
    rows: pd.DataFrame,
    weeks: int,
    reference_weeks: int,
    horizon_days: float,
    timing: TimeToWin,
    by_snapshot: bool = True,
) -> WeeklyWins:
    """Return the wins of each of `weeks` weeks, those of `reference_weeks` for the variance.

    `rows` as in `Weekly.rows`, known up to the end of the weeks; a win counts in the week in which
    it was recorded. With `by_snapshot` a lead has a row each Monday and the horizon's rows are
    averaged; without it a row each lead, and its own wins add up.
    """
    ages = int(np.ceil(horizon_days / WEEK_DAYS))
    share = 1.0 / ages if by_snapshot else 1.0
    observed, expected = np.zeros(weeks), np.zeros(weeks)
    monday = rows["monday"].to_numpy()
    probability = rows["probability"].to_numpy()
    known_after = rows["known_after"].fillna(np.inf).to_numpy()
    gone_after = (
        rows["gone_after"].fillna(np.inf).to_numpy()
        if "gone_after" in rows
        else np.full(len(rows), np.inf)
    )
    # A win inside the horizon may be recorded after it: it counts then, as any other does.
    is_late = (known_after >= ages * WEEK_DAYS) & np.isfinite(known_after)
    told = np.where(is_late, monday + np.where(is_late, known_after, 0) // WEEK_DAYS, -1)
    account = pd.factorize(rows["account"])[0]
    residuals = np.zeros(account.max() + 1 if len(account) else 0)
    own = np.zeros(weeks)
    of_week = {number: np.flatnonzero(monday == number) for number in range(weeks)}
    for week in range(weeks):
        residuals[:] = 0.0
        for age in range(ages if week >= ages - 1 or not by_snapshot else 0):
            at = of_week.get(week - age, np.empty(0, np.int64))
            start, end = age * WEEK_DAYS, min((age + 1) * WEEK_DAYS, horizon_days)
            # Who is known by the week's end to have won before the snapshot is no open lead.
            latest = (age + 1) * WEEK_DAYS
            at = at[(known_after[at] >= start) & (gone_after[at] >= latest)]
            by = timing.share_by(np.full(len(at), end))
            before = timing.share_by(np.full(len(at), start))
            p = probability[at]
            chance = share * p * (by - before) / (1 - p * before)
            won = share * (known_after[at] < latest)
            observed[week] += won.sum()
            expected[week] += chance.sum()
            np.add.at(residuals, account[at], won - chance)
        late = np.flatnonzero(told == week)
        observed[week] += share * len(late)
        np.add.at(residuals, account[late], share)
        own[week] = (residuals**2).sum()
    if by_snapshot:
        observed[: ages - 1] = expected[: ages - 1] = np.nan
    return WeeklyWins(observed, expected, _dispersion(observed, expected, own, reference_weeks))


def _dispersion(observed: Floats, expected: Floats, own: Floats, reference: int) -> float:
    """Return the variance of the weeks' sums over what is expected, from the reference's weeks.

    That of accounts, unless blocks of weeks vary more: then half-way between, as the blocks are
    few. A mean difference is no variance: it is the model's to begin with.
    """
    known = np.isfinite(observed[:reference]) & (expected[:reference] > 0)
    difference, wins = (observed - expected)[:reference][known], expected[:reference][known]
    if wins.sum() == 0:
        return 1.0
    of_accounts = float(own[:reference][known].sum() / wins.sum())
    blocks = len(wins) // BLOCK_WEEKS
    if blocks < 4:
        return max(of_accounts * 1.5, 0.5)
    last = blocks * BLOCK_WEEKS
    difference = difference - wins * difference.sum() / wins.sum()
    sums = difference[-last:].reshape(blocks, BLOCK_WEEKS).sum(axis=1)
    of_blocks = float((sums**2).sum() / wins[-last:].sum() * blocks / (blocks - 1))
    return max(of_accounts, (of_accounts + of_blocks) / 2, 0.3)


def parting(wins: WeeklyWins, first: int, direction: Direction, tolerated: float) -> Parting:
    """Return whether wins from week `first` on are fewer, or more, than promised.

    A difference of the share `tolerated` is none: the null hypothesis is that expected wins are
    that much fewer (or more).
    """
    sign = 1.0 if direction == "more" else -1.0
    observed, expected = wins.observed[first:], wins.expected[first:]
    known = np.isfinite(observed) & np.isfinite(expected)
    observed = np.where(known, observed, 0.0)
    bound = np.where(known, expected, 0.0) * (1 + sign * tolerated)
    weeks = len(observed)
    e_values = np.zeros(weeks)
    best = (0.0, 0)
    for week in range(weeks):
        # Sums of the weeks from each possible beginning up to this one.
        surplus = sign * np.cumsum((observed - bound)[week::-1])[::-1]
        variance = wins.dispersion * np.cumsum(bound[week::-1])[::-1]
        mixed = _mixture(surplus, variance, CHANGE / wins.dispersion)
        e_values[week] = mixed.sum()
        best = (float(mixed.max(initial=0.0)), int(np.argmax(mixed))) if weeks else best
    since = best[1]
    e_value = float(e_values[-1]) if weeks else 0.0
    return Parting(
        direction, e_value, first + since, float(observed[since:].sum()),
        float(np.where(known, expected, 0.0)[since:].sum()), e_value >= THRESHOLD, e_values,
    )  # fmt: skip


def _mixture(surplus: Floats, variance: Floats, scale: float) -> Floats:
    """Return the e-values of a rise: mean of exp(t S - t^2 V / 2), t half-normal with `scale`."""
    from scipy.stats import norm

    spread = 1 + scale**2 * variance
    exponent = np.minimum(scale**2 * surplus**2 / (2 * spread), 500.0)
    above = norm.cdf(scale * surplus / np.sqrt(spread))
    return np.asarray(2 * above / np.sqrt(spread) * np.exp(exponent), dtype=np.float64)
