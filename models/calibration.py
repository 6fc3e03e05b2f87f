"""From the booster's raw score to a probability that holds."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]

# Beyond this, in log-odds, a probability is 0 or 1 in floating point anyway. The limit keeps the
# map finite for scores of +-infinity.
_LARGEST_RAW = 1e6
_LEAST_LOG_ODDS = -709.0
"Below this `exp(-x)` is no number, and the probability 0 to 300 places."


@dataclass(frozen=True)
class Calibration:
    """A strictly increasing, finite map from raw to calibrated log-odds.

    Piecewise linear through the knots (`raw[i]`, `calibrated[i]`), straight on with
    `slope_below` and `slope_above` outside them. One knot and one slope is the affine map. With
    `segment_by` a segment's leads get its shift on top: their order among one another stays.
    """

    raw: tuple[float, ...] = (0.0,)
    calibrated: tuple[float, ...] = (0.0,)
    slope_below: float = 1.0
    slope_above: float = 1.0
    segment_by: str | None = None
    "Category feature whose values have shifts; None: one map for all."
    shifts: dict[str, float] = field(default_factory=dict)
    "Log-odds to add, by value of `segment_by`; 0 for a missing value and for any other."

    def __post_init__(self) -> None:
        """Raise ValueError unless the map is strictly increasing and finite."""
        if not self.raw or len(self.raw) != len(self.calibrated):
            raise ValueError("a calibration needs one calibrated value for each of its raw knots")
        slopes = (self.slope_below, self.slope_above)
        if not np.isfinite([*self.raw, *self.calibrated, *slopes]).all():
            raise ValueError("a calibration must be finite")
        steps = np.concatenate([np.diff(self.raw), np.diff(self.calibrated), slopes])
        if (steps <= 0).any():
            raise ValueError("a calibration must be strictly increasing")
        if self.shifts and self.segment_by is None:
            raise ValueError("a calibration with shifts must say by which feature")
        if not np.isfinite(list(self.shifts.values())).all():
            raise ValueError("a calibration must have finite shifts")

    @classmethod
    def identity(cls) -> Calibration:
        """Return the map that changes nothing."""
        return cls()

    @classmethod
    def affine(cls, slope: float, intercept: float) -> Calibration:
        """Return `intercept + slope * raw`, as in Platt (1999); `slope` must be positive.

        >>> Calibration.affine(slope=0.5, intercept=-1).apply(np.array([0.0, 2.0]))
        array([-1.,  0.])
        """
        return cls((0.0,), (float(intercept),), float(slope), float(slope))

    def segments_of(self, snapshots: pd.DataFrame) -> pd.Series | None:
        """Return the value of `segment_by` in each snapshot; None without segments."""
        return None if self.segment_by is None else snapshots[self.segment_by]

    def shift(self, segments: Iterable[Any]) -> Floats:
        """Return what is added to the log-odds of each of these segments, shape (segments,)."""
        return np.array([self.shifts.get(value, 0.0) for value in segments], dtype=np.float64)

    def apply(self, raw_score: npt.ArrayLike, segments: Iterable[Any] | None = None) -> Floats:
        """Return calibrated log-odds in the shape of `raw_score`; NaN stays NaN.

        `segments` holds the segment of each score; without it the map of all leads is meant.

        >>> bent = Calibration((-1, 1), (-2, 1), slope_below=1, slope_above=0.5)
        >>> bent.apply([-2, -1, 0, 1, 3])
        array([-3. , -2. , -0.5,  1. ,  2. ])
        >>> shifted = Calibration(segment_by="region", shifts={"EMEA": -0.5})
        >>> shifted.apply([1, 1, 1], segments=["EMEA", "APAC", np.nan])
        array([0.5, 1. , 1. ])
        """
        raw = np.clip(np.asarray(raw_score, dtype=np.float64), -_LARGEST_RAW, _LARGEST_RAW)
        knots, values = np.array(self.raw, dtype=float), np.array(self.calibrated, dtype=float)
        slopes = np.concatenate([np.diff(values) / np.diff(knots), [self.slope_above]])
        segment = np.clip(np.searchsorted(knots, raw, side="right") - 1, 0, len(knots) - 1)
        inside = values[segment] + slopes[segment] * (raw - knots[segment])
        # Rounding must not lift the end of a segment above the start of the next.
        inside = np.minimum(inside, np.append(values[1:], np.inf)[segment])
        below = values[0] + self.slope_below * (raw - knots[0])
        calibrated = np.asarray(np.where(raw < knots[0], below, inside), dtype=np.float64)
        return calibrated if segments is None else calibrated + self.shift(segments)

    def of_one(self) -> Callable[[float], float]:
        """Return `apply` for one raw score, without a segment: the same bits in a microsecond."""
        knots, values = [float(x) for x in self.raw], [float(x) for x in self.calibrated]
        slopes: list[float] = (np.diff(values) / np.diff(knots)).tolist()
        slopes.append(float(self.slope_above))
        ends = [*values[1:], np.inf]

        def apply(raw_score: float) -> float:
            raw = min(max(raw_score, -_LARGEST_RAW), _LARGEST_RAW)
            if raw < knots[0]:
                return values[0] + self.slope_below * (raw - knots[0])
            at = bisect_right(knots, raw) - 1
            return min(values[at] + slopes[at] * (raw - knots[at]), ends[at])

        return apply

    def probability(
        self, raw_score: npt.ArrayLike, segments: Iterable[Any] | None = None
    ) -> Floats:
        """Return the calibrated probability of a raw score, in its shape; see `apply`.

        >>> Calibration.identity().probability([-np.inf, 0.0, 800.0])
        array([0. , 0.5, 1. ])
        """
        return sigmoid(self.apply(raw_score, segments))


def sigmoid_of_one(log_odds: float) -> float:
    """Return `sigmoid` of one number: the same bits in a fraction of the time.

    >>> sigmoid_of_one(0.0), sigmoid_of_one(-800.0), sigmoid_of_one(800.0)
    (0.5, 0.0, 1.0)
    """
    return 1.0 / (1.0 + math.exp(-log_odds)) if log_odds > _LEAST_LOG_ODDS else 0.0


def sigmoid(log_odds: npt.ArrayLike) -> Floats:
    """Return the probability of log-odds, without overflow at either end."""
    from scipy.special import expit  # here, since it takes 0.1 s to import

    return np.asarray(expit(np.asarray(log_odds, dtype=np.float64)), dtype=np.float64)
