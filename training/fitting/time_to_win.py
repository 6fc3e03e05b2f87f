"""When, within the horizon, the wins of the horizon come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.fitting.calibrate import PRIOR_WINS

Floats = npt.NDArray[np.float64]
WEEK_DAYS = 7.0
LEAST_WINS = 30.0
"A band of the score with its own times to win holds this many wins."
_BANDS = 4


@dataclass(frozen=True)
class TimeToWin:
    """When, within the horizon, the wins of the horizon come; perhaps sooner for high scores."""

    horizon_days: float
    days: Floats
    "Where the shares are known, rising from 0 to the horizon; shape (days,)."
    shares: Floats
    "Share of wins by then, shape (bands of the score, days); each row rises from 0 to 1."
    bounds: Floats
    "Raw scores between the bands, shape (bands - 1,)."
    overall: Floats
    "Share of all wins by then, shape (days,)."

    @classmethod
    def of(
        cls,
        days_to_win: npt.ArrayLike,
        weight: npt.ArrayLike,
        horizon_days: float,
        raw_score: npt.ArrayLike | None = None,
    ) -> TimeToWin:
        """Return the times of these wins, one entry a win (entries of NaN are no wins).

        Give wins of matured snapshots only: of others the late wins are missing. With `raw_score`
        wins of high and low scores have their own times, as long as a band holds LEAST_WINS wins;
        each is drawn to the overall times by as many wins as the prior is worth.

        >>> times = TimeToWin.of([7.0, 14.0, 21.0, 28.0], np.ones(4), horizon_days=28)
        >>> times.share_by(np.array([0.0, 14.0, 28.0, 90.0])).round(2)
        array([0. , 0.5, 1. , 1. ])
        """
        waited, weights = np.asarray(days_to_win, float), np.asarray(weight, float)
        is_win = ~np.isnan(waited) & (waited < horizon_days + 1e-9)
        score = np.zeros(len(waited)) if raw_score is None else np.asarray(raw_score, float)
        waited, weights, score = waited[is_win], weights[is_win], score[is_win]
        days = np.unique(np.append(np.arange(0.0, horizon_days, WEEK_DAYS), horizon_days))
        # One win, spread evenly: without any a win may come on any day of the horizon.
        overall = _shares(waited, weights, days, days / horizon_days, prior=1.0)
        bands = 1 if raw_score is None else int(np.clip(weights.sum() // LEAST_WINS, 1, _BANDS))
        inner = np.linspace(0, 1, bands + 1)[1:-1]
        bounds = np.unique(np.quantile(score, inner)) if bands > 1 else np.empty(0)
        band = np.searchsorted(bounds, score, side="right")
        shares = np.stack(
            [
                _shares(waited[band == b], weights[band == b], days, overall, PRIOR_WINS)
                for b in range(len(bounds) + 1)
            ]
        )
        return cls(float(horizon_days), days, shares, bounds, overall)

    def share_by(self, days: npt.ArrayLike, raw_score: npt.ArrayLike | None = None) -> Floats:
        """Return the share of wins within the horizon that come within `days`, in its shape.

        With `raw_score` (same shape) that of wins with such scores.
        """
        by = np.asarray(days, float)
        if raw_score is None or len(self.bounds) == 0:
            return np.asarray(np.interp(by, self.days, self.overall), dtype=np.float64)
        band = np.searchsorted(self.bounds, np.asarray(raw_score, float), side="right")
        found = np.empty(np.shape(by))
        for number, shares in enumerate(self.shares):
            rows = band == number
            found[rows] = np.interp(by[rows], self.days, shares)
        return found


def _shares(waited: Floats, weight: Floats, days: Floats, expected: Floats, prior: float) -> Floats:
    """Return the weighted share of wins by each of `days`, with `prior` wins as `expected`."""
    order = np.argsort(waited, kind="stable")
    weights = np.append(0.0, np.cumsum(weight[order]))
    by = weights[np.searchsorted(waited[order], days, side="right")]
    return np.asarray((by + prior * expected) / (weights[-1] + prior), dtype=np.float64)
