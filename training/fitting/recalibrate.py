"""A new calibration of a frozen forest, from outcomes of which the newest are known in part.

Waiting for labels to mature means learning of a change a whole horizon late; counting what has
not been won yet as lost makes the newest weeks look worse than they are. So a snapshot with the
probability p of a win in the horizon is taken to be won by its day d with probability p F(d),
where F is the share of the horizon's wins that come within d days (delayed feedback: Chapelle
2014). Every week of every snapshot's horizon is one observation: not won before it began, won in
it or not, with probability p (F(end) - F(start)) / (1 - p F(start)).

What counts is how long ago that week was, not the age of the snapshot. With
snapshots of all ages in it, each calendar week's expected wins then add up to p whatever the shape
of F: deals that take longer, within the horizon, shift wins between ages and leave their sum. That
keeps the correction from depending on F, which under drift is the least certain part. Give the
snapshots of two horizons or more; those of the newest weeks alone lean on F.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit

from models.calibration import Calibration
from training.fitting.calibrate import PRIOR_WINS
from training.fitting.time_to_win import WEEK_DAYS, TimeToWin

Floats = npt.NDArray[np.float64]
MEMORY_DAYS = 364.0
"What came of scores longer ago than this tells nothing of today's."
CHANGED_DAYS = (28.0, 49.0, 70.0, 91.0, 119.0, 147.0, 182.0)
"How long ago the newest change may have been."
LEAST_GAIN = 4.0
"""Gain in log posterior that one correction before and another after a change must bring: in calm
data the best of so many days, two parameters each, exceeds it about one time in twenty."""
LEAST_GAIN_AT_ALL = 3.0
"""Gain that any correction must bring: without a change, half of a chi-squared with two degrees of
freedom, which exceeds it one time in twenty. What is told then is noise, and better left alone."""
_TOLD_LOG_ODDS = 12.0
_STEP = 0.1
"Log-odds are told apart as finely as this: rows that agree are counted together."


@dataclass(frozen=True)
class Outcomes:
    """What is known so far of scored snapshots; arrays hold one entry a row, matured or not."""

    raw_score: Floats
    won: Floats
    "1.0 if won within `exposure_days`, else 0.0."
    days_to_win: Floats
    "NaN where not won."
    exposure_days: Floats
    "How much of the horizon is known, at most the horizon."
    weight: Floats
    account: npt.NDArray[np.generic]
    age_days: Floats | None = None
    "From the snapshot to the end of what is known; None: as if each horizon ended just now."
    segment: npt.NDArray[np.generic] | None = None
    "The calibration's `segment_by` of each row; None: its map of all leads is meant."


def recalibrate(
    calibration: Calibration, outcomes: Outcomes, horizon_days: float, timing: TimeToWin
) -> Calibration:
    """Return `calibration` corrected by what came of the scores; little evidence changes little.

    The correction is affine in the calibrated log-odds: an intercept and a positive slope, at the
    mode of the likelihood above and of a prior around no change that is worth PRIOR_WINS wins.
    Only the newest stretch counts in which one correction holds: the year is cut where one
    correction before and another after explain it clearly better than one for all, so that after
    a drift the weeks before it are forgotten, and in calm times none is. Where no correction is
    clearly better than none, `calibration` itself comes back. Rows of an account are
    no independent evidence: the likelihood is divided by how much more the accounts' residuals
    vary than those of lone rows (see `calibrate.with_shifts`). The result is the exact
    composition, so the order of leads stays, and segments keep their shifts (times the slope).
    """
    at_risk = _AtRisk(calibration, outcomes, horizon_days, timing)
    if not (outcomes.weight * outcomes.exposure_days).any():
        return calibration
    cells = at_risk.cells()
    # Around the mean of those expected to win, intercept and slope hardly depend on one another.
    expected = cells.weight * cells.chance(cells.log_odds)[0]
    centre = float(np.average(cells.log_odds, weights=expected)) if expected.any() else 0.0
    dispersion = at_risk.dispersion(_mode(cells, centre)[0])
    cells = replace(cells, weight=cells.weight / dispersion, won=cells.won / dispersion)
    correction = _newest_correction(cells, centre)
    return calibration if correction is None else _composed(calibration, correction)


@dataclass(frozen=True)
class _Affine:
    """The correction `centre + intercept + slope * (log_odds - centre)`."""

    centre: float
    intercept: float
    slope: float

    def apply(self, log_odds: Floats) -> Floats:
        return self.centre + self.intercept + self.slope * (log_odds - self.centre)


@dataclass(frozen=True)
class _Cells:
    """Weeks of horizons that are over, while not won; rows that agree counted together."""

    log_odds: Floats
    "As calibrated so far."
    before: Floats
    by: Floats
    "Share of the horizon's wins before the week, and by its end."
    ago: Floats
    "Days since the week's end."
    weight: Floats
    won: Floats
    "The weight of those won in this very week."

    def where(self, rows: npt.NDArray[np.bool_]) -> _Cells:
        return _Cells(*(column[rows] for column in vars(self).values()))

    def chance(self, log_odds: Floats) -> tuple[Floats, Floats]:
        """Return the chance of a win in the week, and its derivative by the log-odds."""
        p = expit(log_odds)
        width, left = self.by - self.before, 1 - p * self.before
        return np.clip(p * width / left, 1e-12, 1 - 1e-12), p * (1 - p) * width / left**2


class _AtRisk:
    """Week by week, which rows were not won yet, and which were won then.

    Weeks are counted back from the end of what is known, so that all rows share calendar weeks;
    the first of a row may be shorter. A row is at risk from its snapshot until it is won, or until
    its exposure ends.
    """

    def __init__(
        self, calibration: Calibration, outcomes: Outcomes, horizon_days: float, timing: TimeToWin
    ) -> None:
        exposure = np.minimum(np.asarray(outcomes.exposure_days, float), horizon_days)
        age = exposure if outcomes.age_days is None else np.maximum(outcomes.age_days, exposure)
        log_odds = calibration.apply(outcomes.raw_score, outcomes.segment)
        log_odds = np.clip(log_odds, -_TOLD_LOG_ODDS, _TOLD_LOG_ODDS)
        self._exposure, self._age = exposure, np.asarray(age, float)
        self._log_odds = np.round(log_odds / _STEP) * _STEP
        self._raw_score = np.asarray(outcomes.raw_score, float)
        self._won_on = np.where(np.asarray(outcomes.won) > 0, outcomes.days_to_win, np.inf)
        self._weight = np.asarray(outcomes.weight, float)
        self._account = pd.factorize(np.asarray(outcomes.account))[0]
        self._timing = timing

    def _weeks(self) -> Iterator[tuple[npt.NDArray[np.intp], _Cells]]:
        """Yield, a calendar week, the rows at risk in it, and a cell for each."""
        furthest = min(float(self._age.max()), MEMORY_DAYS)
        for ago in np.arange(0.0, furthest, WEEK_DAYS):
            start = np.maximum(self._age - ago - WEEK_DAYS, 0.0)
            end = np.minimum(self._age - ago, self._exposure)
            rows = np.flatnonzero((end > start) & (self._won_on >= start))
            start, end, won_on = start[rows], end[rows], self._won_on[rows]
            # The exposure includes its last instant, each week before only its first.
            is_won = (won_on < end) | ((won_on == end) & (end == self._exposure[rows]))
            score, weight = self._raw_score[rows], self._weight[rows]
            before, by = (self._timing.share_by(days, score) for days in (start, end))
            cell = _Cells(
                self._log_odds[rows], before, by, np.full(len(rows), ago), weight, weight * is_won
            )
            yield rows, cell

    def cells(self) -> _Cells:
        """Return all weeks of all rows, those that agree counted together."""
        keys = ["log_odds", "before", "by", "ago"]
        found = [
            pd.DataFrame(vars(cell)).groupby(keys, as_index=False, sort=True).sum()
            for _, cell in self._weeks()
        ]
        columns = pd.concat(found, ignore_index=True)
        return _Cells(*(columns[name].to_numpy(float) for name in columns))

    def dispersion(self, correction: _Affine) -> float:
        """Return how much more the accounts' sums of residuals vary than those of lone rows."""
        sums = np.zeros(int(self._account.max()) + 1)
        alone = 0.0
        for rows, cell in self._weeks():
            chance = cell.chance(correction.apply(cell.log_odds))[0]
            np.add.at(sums, self._account[rows], cell.won - cell.weight * chance)
            alone += float(cell.weight @ (chance * (1 - chance)))
        return max(float((sums**2).sum()) / alone, 1e-9) if alone > 0 else 1.0


def _newest_correction(cells: _Cells, centre: float) -> _Affine | None:
    """Return the correction of the weeks since the newest clear change; of all without one.

    None where that explains the weeks no better than the calibration as it is.
    """
    newest, everything = _mode(cells, centre)
    to_beat = LEAST_GAIN_AT_ALL - _penalised_loss(np.zeros(2), cells, centre)[0]
    is_told = everything > to_beat
    best = max(everything, to_beat) + LEAST_GAIN
    for days in CHANGED_DAYS:
        is_after = cells.ago < days
        if is_after.all() or not cells.won[is_after].any():
            continue
        after, of_after = _mode(cells.where(is_after), centre)
        _, of_before = _mode(cells.where(~is_after), centre)
        if of_after + of_before > best:
            newest, best, is_told = after, of_after + of_before, True
    return newest if is_told else None


def _mode(cells: _Cells, centre: float) -> tuple[_Affine, float]:
    """Return the likeliest correction under its prior, and its log posterior up to a constant."""
    found = minimize(
        _penalised_loss, np.zeros(2), args=(cells, centre), jac=True, method="L-BFGS-B"
    )
    intercept, log_slope = found.x
    return _Affine(centre, float(intercept), float(np.exp(log_slope))), -float(found.fun)


def _penalised_loss(parameters: Floats, cells: _Cells, centre: float) -> tuple[float, Floats]:
    """Return minus the log posterior of (intercept, log of the slope), and its gradient."""
    intercept, log_slope = parameters
    relative, slope = cells.log_odds - centre, np.exp(log_slope)
    chance, bend = cells.chance(centre + intercept + slope * relative)
    loss = -(cells.won @ np.log(chance) + (cells.weight - cells.won) @ np.log1p(-chance))
    residual = (cells.weight * chance - cells.won) / (chance * (1 - chance)) * bend
    # Half a squared change of the log rate, a win: what PRIOR_WINS wins as expected would say.
    loss += PRIOR_WINS * (intercept**2 / 2 + log_slope**2)
    gradient = [
        residual.sum() + PRIOR_WINS * intercept,
        (residual @ relative) * slope + 2 * PRIOR_WINS * log_slope,
    ]
    return float(loss), np.array(gradient)


def _composed(calibration: Calibration, correction: _Affine) -> Calibration:
    values = correction.apply(np.array(calibration.calibrated, dtype=float))
    return replace(
        calibration,
        calibrated=tuple(map(float, values)),
        slope_below=float(calibration.slope_below * correction.slope),
        slope_above=float(calibration.slope_above * correction.slope),
        shifts={value: shift * correction.slope for value, shift in calibration.shifts.items()},
    )
