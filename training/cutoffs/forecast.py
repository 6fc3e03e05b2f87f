"""How many MQLs a week the coming weeks will bring: a prediction, not a count.

Volume needs no outcomes, so it is counted on the newest weeks there are, scored by the model that
will be served, although nobody knows yet which of those leads will close. Out-of-fold weeks are
older by a horizon, and were scored by boosters that saw less.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from models.cutoff import Estimate
from training.metrics import LEVEL
from training.replay import Replay

WEEKS_AHEAD = 13
MONTH = 4
"Weeks. Months are compared for how much the times differ."
SEASON = 0.05
"""At least this much, in log volume, one quarter differs from the next for reasons that the few
weeks at hand cannot show."""
LARGEST_GROWTH = 0.3
"Log growth beyond which a trend is not drawn on."
FREEDOM = 8
"Degrees of freedom of Student's quantile: about as many months tell how much they differ."


@dataclass(frozen=True)
class Trend:
    """How the arrivals of leads changed over the weeks known. All figures are of log volume."""

    slope: float
    "A week."
    error: float
    "Standard error of the slope."
    months: float
    "Variance of a month around the line, beyond chance."

    @classmethod
    def of(cls, arrivals: np.ndarray) -> Trend:
        """Return the trend of weekly arrivals, oldest first; flat where they are too few."""
        months = len(arrivals) // MONTH
        if months < 3 or arrivals.sum() < len(arrivals):
            return cls(0.0, 0.0, 0.0)
        counted = arrivals[-months * MONTH :].reshape(months, MONTH).sum(axis=1)
        time = MONTH * (np.arange(months) - (months - 1) / 2)
        relative = counted / counted.mean() - 1
        slope = float(time @ relative / (time @ time))
        variance = float(((relative - slope * time) ** 2).sum() / (months - 2))
        error = np.sqrt(variance / (time @ time))
        return cls(slope, float(error), max(0.0, variance - 1 / float(counted.mean())))


@dataclass(frozen=True)
class Outlook:
    """What the newest weeks say about the ones to come."""

    newest: Replay
    "Where MQLs are counted."
    trend: Trend

    @classmethod
    def of(cls, past: Replay, recent: Replay | None) -> Outlook:
        """Return the outlook from the newest weeks: `recent` ones, or those that have outcomes."""
        if recent is None:
            return cls(past, Trend.of(past.arrivals))
        return cls(recent, Trend.of(np.concatenate([past.arrivals, recent.arrivals])))

    @property
    def distance(self) -> float:
        """Weeks from the middle of the newest weeks to the middle of the coming ones."""
        return (self.newest.weeks + WEEKS_AHEAD) / 2

    @cached_property
    def growth(self) -> float:
        """What to multiply the volume of the newest weeks by: the arrivals' trend, drawn on.

        The trend is shrunk by its own uncertainty (positive part of James & Stein 1961), so that
        chance does not pass for growth.
        """
        slope, error = self.trend.slope, self.trend.error
        kept = max(0.0, 1 - error**2 / slope**2) if slope else 0.0
        drawn_on = kept * slope * self.distance
        return float(np.exp(np.clip(drawn_on, -LARGEST_GROWTH, LARGEST_GROWTH)))

    def arrivals_a_week(self) -> float:
        """Return the leads to arrive in a coming week."""
        return self.newest.arrivals_a_week * self.growth

    def mqls_a_week(self, mqls: np.ndarray) -> np.ndarray:
        """Return the MQLs to expect in a coming week, given how many the newest weeks brought."""
        return np.asarray(mqls * self.growth / self.newest.weeks)

    def forecast(self, cutoff: float) -> Estimate:
        """Return the mean MQLs a week of the next 13 weeks, and where it lies 90 times in 100.

        The interval knows of chance in the weeks counted and in those to come, of how sure the
        trend is, and of how much months differ.
        """
        from scipy.stats import t as student

        of_account = self.newest.mqls(cutoff).groupby("account").size().to_numpy(float)
        mqls = max(float(of_account.sum()), 1.0)
        dispersion = float((of_account**2).sum() / mqls) if len(of_account) else 1.0
        ahead = mqls * self.growth * WEEKS_AHEAD / self.newest.weeks
        variance = dispersion * (1 / mqls + 1 / ahead)
        variance += (self.trend.error * self.distance) ** 2 + SEASON**2
        variance += self.trend.months * (MONTH / self.newest.weeks + MONTH / WEEKS_AHEAD)
        ratio = float(np.exp(student.ppf((1 + LEVEL) / 2, FREEDOM) * np.sqrt(variance)))
        expected = float(self.mqls_a_week(of_account.sum()))
        highest = float(self.mqls_a_week(np.array(mqls))) * ratio
        return Estimate(expected, expected / ratio, highest)
