"""Choosing the cutoff from capacity, precision or money, by first crossing of replayed weeks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.config import CutoffConfig
from models.cutoff import Cutoff
from training.replay import Replay

CANDIDATES = 500
LEAST_MQLS = 20
"""A precision promised on fewer replayed MQLs would be luck."""
DEFAULT_SHARE = 0.10
"""Capacity unless set: this share of the leads that arrive in a week."""


@dataclass(frozen=True)
class Curve:
    """What each candidate cutoff, rising, would have done: MQLs and the won among them."""

    cutoff: np.ndarray
    mqls: np.ndarray
    won: np.ndarray

    @property
    def precision(self) -> np.ndarray:
        """Share of MQLs won; NaN without MQLs."""
        unknown = np.full(len(self.mqls), np.nan)
        return np.asarray(np.divide(self.won, self.mqls, out=unknown, where=self.mqls > 0))


def cutoff_curve(replay: Replay) -> Curve:
    """Return the curve over at most 500 candidates, equally spread over the leads' best scores."""
    moments = replay.moments[~replay.moments["is_warm_up"]]
    probability = moments["probability"].to_numpy()
    previous = moments["previous_best"].to_numpy()
    won = moments["won_in_horizon"].to_numpy()
    if len(probability) == 0:
        return Curve(np.empty(0), np.empty(0), np.empty(0))
    cutoff = np.unique(np.quantile(probability, np.linspace(0, 1, CANDIDATES), method="lower"))
    # MQLs at c: moments that reach c, less those that had reached it before.
    reached = [_sums_from(values, won, cutoff) for values in (probability, previous)]
    return Curve(cutoff, reached[0][0] - reached[1][0], reached[0][1] - reached[1][1])


def _sums_from(
    values: np.ndarray, won: np.ndarray, cutoff: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return how many `values` are at least each cutoff, and the sum of `won` over them."""
    order = np.argsort(values)
    below = np.searchsorted(values[order], cutoff, side="left")
    sums = np.append(0.0, np.cumsum(won[order]))
    return (len(values) - below).astype(float), sums[-1] - sums[below]


def choose_cutoff(replay: Replay, policy: CutoffConfig, bootstraps: int, seed: int) -> Cutoff:
    """Return the cutoff the policy asks for, with its evidence, or one that qualifies nobody."""
    curve = cutoff_curve(replay)
    chosen = {"capacity": _capacity, "precision": _precision, "money": _money}[policy.policy]
    parameter, value, reason = chosen(curve, replay, policy)
    evidence = {} if value is None else replay.figures(value, bootstraps, seed)
    return Cutoff(policy.policy, parameter, value, reason, evidence)


Choice = tuple[dict[str, float], float | None, str]


def _capacity(curve: Curve, replay: Replay, policy: CutoffConfig) -> Choice:
    asked = policy.mqls_per_week
    capacity = DEFAULT_SHARE * replay.arrivals_a_week if asked is None else asked
    fits = curve.mqls / replay.weeks <= capacity
    # From the top down: the first cutoff that would overflow ends the search, since a lower one
    # may only look quiet because its leads had crossed before the replay began.
    top_down = np.flatnonzero(np.logical_and.accumulate(fits[::-1])[::-1])
    name = "MQLs a week" if replay.is_dated else "MQLs"
    parameter = {"mqls_per_week" if replay.is_dated else "mqls": float(capacity)}
    if len(top_down) == 0:
        return parameter, None, f"Every cutoff would bring more than {capacity:.1f} {name}."
    value = float(curve.cutoff[top_down[0]])
    source = "asked for" if asked is not None else "a tenth of the leads that arrive"
    return parameter, value, f"The lowest cutoff with at most {capacity:.1f} {name}, {source}."


def _precision(curve: Curve, replay: Replay, policy: CutoffConfig) -> Choice:
    target = policy.target_precision
    meets = (curve.mqls >= LEAST_MQLS) & (curve.precision >= target)
    parameter = {"target_precision": target}
    if not meets.any():
        return parameter, None, f"No cutoff with {LEAST_MQLS} or more MQLs reached {target:.0%}."
    value = float(curve.cutoff[np.flatnonzero(meets)[0]])
    return parameter, value, f"The lowest cutoff at which {target:.0%} of the MQLs closed."


def won_opportunities_at(replay: Replay, cutoff: np.ndarray) -> np.ndarray:
    """Return how many opportunities the MQLs of each cutoff won, each counted once."""
    moments = replay.moments
    won = moments[~moments["is_warm_up"] & (moments["won_in_horizon"] > 0)]
    return np.array(
        [
            won.loc[
                (won["previous_best"] < value) & (value <= won["probability"]), "opportunity_id"
            ].nunique()
            for value in cutoff
        ],
        dtype=float,
    )


def _money(curve: Curve, replay: Replay, policy: CutoffConfig) -> Choice:
    assert policy.win_value is not None  # the configuration asks for both
    assert policy.contact_cost is not None
    parameter = {"win_value": policy.win_value, "contact_cost": policy.contact_cost}
    deals = won_opportunities_at(replay, curve.cutoff)
    profit = deals * policy.win_value - curve.mqls * policy.contact_cost
    if len(profit) == 0 or profit.max() <= 0:
        return parameter, None, "No cutoff would have earned its contact costs."
    best = int(np.argmax(profit))
    a_week = profit[best] / replay.weeks
    reason = f"The cutoff that earned most: {a_week:,.0f} a week after contact costs."
    return parameter, float(curve.cutoff[best]), reason
