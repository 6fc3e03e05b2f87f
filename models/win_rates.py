"""What points have been worth: the win rate of the rows that had them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.calibration import Floats, sigmoid

MOST_GROUPS = 20
_LEAST_WINS = 5
"Wins for each group there may be: the fewer, the coarser the map."
_PRIOR_ROWS = 2.0
_PRIOR_DISQUALIFIED = 20.0
"Rows with the rate of the fewest points that are added to the disqualified."
_TAIL_SLOPE = 0.001
"Log-odds per point beyond the outer knots: nothing was seen there, but more points rank higher."


@dataclass(frozen=True)
class WinRates:
    """A strictly increasing map from points to a win rate, and the rate of the disqualified.

    Log-odds are linear between the knots.
    """

    points: tuple[float, ...]
    log_odds: tuple[float, ...]
    disqualified: float
    "Not below the others by force: a disqualifier that shuts out winners shows here."

    def __post_init__(self) -> None:
        """Raise ValueError unless the map is finite and strictly increasing."""
        if not self.points or len(self.points) != len(self.log_odds):
            raise ValueError("win rates need one value for each knot of points")
        if not np.isfinite([*self.points, *self.log_odds]).all():
            raise ValueError("win rates must be finite")
        if (np.diff(self.points) <= 0).any() or (np.diff(self.log_odds) <= 0).any():
            raise ValueError("win rates must be strictly increasing")
        if not 0 <= self.disqualified <= 1:
            raise ValueError("the rate of the disqualified must be a probability")

    def probability(self, points: Floats) -> Floats:
        """Return the win rate of each number of points; -inf is disqualified.

        >>> WinRates((0, 60), (-3, 0), disqualified=0.01).probability(np.array([60, -np.inf]))
        array([0.5 , 0.01])
        """
        is_out = np.isneginf(points)
        known = np.where(is_out, self.points[0], points)
        inside = np.interp(known, self.points, self.log_odds)
        beyond = known - np.clip(known, self.points[0], self.points[-1])
        return np.where(is_out, self.disqualified, sigmoid(inside + _TAIL_SLOPE * beyond))


def fit_win_rates(points: Floats, won: Floats, weight: Floats) -> WinRates:
    """Return the win rates of rows with these points, outcomes (0 or 1) and weights.

    Rows are grouped by their points, and neighbouring groups whose rates do not rise are pooled
    (isotonic regression, Barlow et al. 1972).

    >>> points, won = np.repeat([0.0, 50.0], 100), np.r_[np.arange(100) < 10, np.arange(100) < 40]
    >>> fit_win_rates(points, won, np.ones(200)).probability(np.array([0.0, 25, 50])).round(2)
    array([0.1 , 0.22, 0.4 ])
    """
    if not len(points) == len(won) == len(weight):
        raise ValueError("points, won and weight must be of one length")
    if not (len(points) and np.sum(weight) > 0):
        raise ValueError("win rates need at least one row with a weight")
    is_in = np.isfinite(points)
    base = (np.sum(weight * won) + 0.5) / (np.sum(weight) + 1)
    blocks = _pooled(_groups(points[is_in], won[is_in], weight[is_in], base))
    if not blocks:  # everybody is disqualified
        blocks = [(0.0, base, 1.0)]
    rates = np.array([rate for _, rate, _ in blocks])
    lost_wins = np.sum((weight * won)[~is_in]) + _PRIOR_DISQUALIFIED * rates[0]
    return WinRates(
        points=tuple(float(at) for at, _, _ in blocks),
        log_odds=tuple(float(value) for value in np.log(rates / (1 - rates))),
        disqualified=float(lost_wins / (np.sum(weight[~is_in]) + _PRIOR_DISQUALIFIED)),
    )


def _groups(
    points: Floats, won: Floats, weight: Floats, base: float
) -> list[tuple[float, float, float]]:
    """Return (mean points, win rate, weight) of groups in order; equal points stay together.

    Each group has about the same sum of its share of the rows and its share of the wins: by rows
    alone the few with many points would be one group, by wins alone the many with few.
    """
    distinct, place = np.unique(points, return_inverse=True)
    rows = np.bincount(place, weight, len(distinct))
    wins = np.bincount(place, weight * won, len(distinct))
    count = int(np.clip(wins.sum() / _LEAST_WINS, 1, MOST_GROUPS))
    share = rows / max(rows.sum(), 1e-9) + wins / max(wins.sum(), 1e-9)
    middle = (np.cumsum(share) - share / 2) / max(share.sum(), 1e-9)
    group = np.minimum(middle * count, count - 1).astype(int)
    groups = []
    for number in np.unique(group):
        mine = (group == number) & (rows > 0)
        if not mine.any():
            continue
        total = rows[mine].sum()
        # so that no rate is 0 or 1
        rate = (wins[mine].sum() + _PRIOR_ROWS * base) / (total + _PRIOR_ROWS)
        groups.append((float(np.average(distinct[mine], weights=rows[mine])), rate, total))
    return groups


def _pooled(groups: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """Return the groups, neighbours pooled until the rates rise strictly."""
    blocks: list[tuple[float, float, float]] = []
    for block in groups:
        while blocks and blocks[-1][1] >= block[1]:
            last, total = blocks.pop(), block[2]
            weight = last[2] + total
            block = (
                (last[0] * last[2] + block[0] * total) / weight,
                (last[1] * last[2] + block[1] * total) / weight,
                weight,
            )
        blocks.append(block)
    return blocks
