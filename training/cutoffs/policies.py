"""The policies: which cutoff capacity, precision, capture, money or the rules ask for.

Each reads a replay of the past, by first crossing, and returns what it was given, the cutoff or
None, and one sentence on why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.config import CutoffConfig
from features.errors import InputError
from training.clustered import exceeds_p_value
from training.cutoffs.forecast import Outlook
from training.replay import Replay

CANDIDATES = 500
TESTED = 40
"""Cutoffs whose precision or capture is tested: neighbours tell the same story."""
PROVEN = ("precision", "capture")
"Policies whose promise comes with a stated confidence."
LEAST_MQLS = 20
"""A precision promised on fewer replayed MQLs would be luck."""
DEFAULT_SHARE = 0.10
"""Capacity unless set: this share of the leads that arrive in a week."""

Rules = tuple[Replay, float]
"""The rules' replay over the same weeks, and their threshold."""


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


def cutoff_curve(replay: Replay, candidates: int | None = CANDIDATES) -> Curve:
    """Return the curve over at most 500 candidates, equally spread over the leads' best scores.

    `candidates`: how many; None for every score there is.
    """
    moments = replay.moments[~replay.moments["is_warm_up"]]
    probability = moments["probability"].to_numpy()
    previous = moments["previous_best"].to_numpy()
    won = moments["won_in_horizon"].to_numpy()
    if len(probability) == 0:
        return Curve(np.empty(0), np.empty(0), np.empty(0))
    if candidates is None:
        cutoff = np.unique(probability)
    else:
        shares = np.linspace(0, 1, candidates)
        cutoff = np.unique(np.quantile(probability, shares, method="lower"))
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


@dataclass(frozen=True)
class Evidence:
    """What a policy decides on."""

    past: Replay
    "Weeks whose outcomes are known."
    outlook: Outlook | None
    "Of the weeks to come; None without dates."
    rules: Rules | None = None


Choice = tuple[dict[str, float], float | None, str]
"""What the policy was given, the cutoff, and the reason."""


def by_capacity(evidence: Evidence, policy: CutoffConfig) -> Choice:
    """Return the lowest cutoff that brings no more MQLs than can be worked in the coming weeks."""
    outlook, past = evidence.outlook, evidence.past
    asked, share = policy.mqls_per_week, policy.share or DEFAULT_SHARE
    if outlook is None:
        curve, arrivals = cutoff_curve(past), past.arrivals_a_week
        expected = curve.mqls / past.weeks
    else:
        curve, arrivals = cutoff_curve(outlook.newest), outlook.arrivals_a_week()
        expected = outlook.mqls_a_week(curve.mqls)
    capacity = share * arrivals if asked is None else asked
    fits = expected <= capacity
    # From the top down: the first cutoff that would overflow ends the search, since a lower one
    # may only look quiet because its leads had crossed before the replay began.
    top_down = np.flatnonzero(np.logical_and.accumulate(fits[::-1])[::-1])
    name = "MQLs" if outlook is None else "MQLs a week"
    parameter = {"mqls" if outlook is None else "mqls_per_week": float(capacity)}
    if len(top_down) == 0:
        return parameter, None, (
            f"Every cutoff would bring more than {capacity:.1f} {name}. Raise the capacity in "
            "[cutoff]."
        )  # fmt: skip
    source = "asked for" if asked is not None else f"{share:.0%} of the leads that arrive"
    reason = f"The lowest cutoff with at most {capacity:.1f} {name} to expect, {source}."
    return parameter, float(curve.cutoff[top_down[0]]), reason


def by_precision(evidence: Evidence, policy: CutoffConfig) -> Choice:
    """Return the lowest cutoff proven to reach the target precision, with the stated confidence.

    Learn then test (Angelopoulos et al. 2021) by fixed sequence: cutoffs are tested from the top
    down, each at the full level, and the first without proof ends it. The test is that of
    `exceeds_p_value`, since leads of one account win together. Where the sequence starts is
    chosen from the scores alone, so that no outcome is looked at twice: where they promise the
    clearest proof. The very top is too few leads to prove anything, and would end it at once.
    """
    past, target = evidence.past, policy.target_precision
    parameter = {"target_precision": target, "confidence": policy.confidence}
    reached = [(float(value), *_reached(past, value)) for value in _tested(past)]
    reached = [found for found in reached if len(found[1]) >= LEAST_MQLS]
    promised = [_promised_p_value(account, chance, target) for _, account, _, chance in reached]
    first = int(np.argmin(promised)) if promised else 0
    chosen, best = None, 0.0
    for value, account, won, _ in reached[first:]:
        best = max(best, float(won.mean()))
        if exceeds_p_value(account, won > 0, target) > 1 - policy.confidence:
            break
        chosen = value
    if chosen is not None:
        return parameter, chosen, (
            f"The lowest cutoff at which at least {target:.0%} of the MQLs close, with "
            f"{policy.confidence:.0%} confidence."
        )  # fmt: skip
    if not reached:
        found = f"the replayed weeks hold fewer than {LEAST_MQLS} MQLs at any"
    else:
        few = ", on too few MQLs to be sure" * (best >= target)
        found = f"{best:.0%} closed where proof was likeliest{few}"
    return parameter, None, (
        f"No cutoff is proven to reach {target:.0%} with {policy.confidence:.0%} confidence: "
        f"{found}. Lower target_precision, or load a longer history."
    )  # fmt: skip


def _tested(replay: Replay) -> np.ndarray:
    """Return the cutoffs to test, falling: MQLs grow by about the same factor at each step."""
    curve = cutoff_curve(replay, None)
    most = curve.mqls.max(initial=0)
    if most < 1:
        return np.empty(0)
    asked = np.round(np.geomspace(min(LEAST_MQLS, most), most, TESTED))
    rising = np.maximum.accumulate(curve.mqls[::-1])
    places = np.unique(np.searchsorted(rising, asked))
    return np.asarray(curve.cutoff[::-1][places])


def _reached(replay: Replay, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return account, label and probability of the MQLs of `cutoff`, without copying columns."""
    moments = replay.moments
    chance = moments["probability"].to_numpy()
    is_mql = (moments["previous_best"].to_numpy() < cutoff) & (cutoff <= chance)
    rows = np.flatnonzero(is_mql & ~moments["is_warm_up"].to_numpy(bool))
    won = moments["won_in_horizon"].to_numpy()
    return moments["account"].to_numpy()[rows], won[rows], chance[rows]


def _promised_p_value(account: np.ndarray, chance: np.ndarray, target: float) -> float:
    """Return the p-value to expect if the probabilities hold; it looks at no outcome."""
    from scipy.stats import beta

    of_account = np.unique(account, return_counts=True)[1]
    worth = len(account) / float((of_account**2).sum())
    hits = float(chance.sum())
    return float(beta.cdf(target, hits * worth, (len(account) - hits) * worth + 1))


def by_capture(evidence: Evidence, policy: CutoffConfig) -> Choice:
    """Return the highest cutoff proven to capture enough of the wins, with stated confidence.

    Tested from the bottom up, by fixed sequence as in `by_precision`; capture only falls.
    """
    past, least = evidence.past, policy.min_capture
    parameter = {"min_capture": least, "confidence": policy.confidence}
    scored = past.wins[past.wins["best_before"].notna()]
    account, best = scored["account"].to_numpy(), scored["best_before"].to_numpy()
    chosen, reached = None, 0.0
    rising = np.unique(np.quantile(best, np.linspace(0, 1, CANDIDATES))) if len(best) else best
    for value in np.maximum(rising, 0.0):
        flagged = best >= value
        if exceeds_p_value(account, flagged, least) > 1 - policy.confidence:
            break
        chosen, reached = float(value), float(flagged.mean())
    if chosen is not None:
        return parameter, chosen, (
            f"The highest cutoff that captures at least {least:.0%} of the wins, with "
            f"{policy.confidence:.0%} confidence ({reached:.0%} of {len(best)} on the past weeks)."
        )  # fmt: skip
    return parameter, None, (
        f"{len(best)} wins on the past weeks are too few to prove a capture of {least:.0%} with "
        f"{policy.confidence:.0%} confidence at any cutoff. Lower min_capture or confidence, or "
        "load a longer history."
    )  # fmt: skip


def won_opportunities_at(replay: Replay, cutoff: np.ndarray) -> np.ndarray:
    """Return how many opportunities the MQLs of each cutoff won, each counted once."""
    moments = replay.moments
    won = moments[~moments["is_warm_up"] & (moments["won_in_horizon"] > 0)]
    chance, previous = won["probability"].to_numpy(), won["previous_best"].to_numpy()
    deal = pd.factorize(won["opportunity_id"])[0]
    is_mql = [(previous < value) & (value <= chance) for value in cutoff]
    return np.array([len(np.unique(deal[mqls])) for mqls in is_mql], dtype=float)


def by_money(evidence: Evidence, policy: CutoffConfig) -> Choice:
    """Return the cutoff that earned most after contact costs; each won deal counts once."""
    past = evidence.past
    assert policy.win_value is not None  # the configuration asks for both
    assert policy.contact_cost is not None
    parameter = {"win_value": policy.win_value, "contact_cost": policy.contact_cost}
    # Few cutoffs to choose from: the best of hundreds of neighbours is the luckiest of them.
    falling = _tested(past)
    mqls = np.array([len(_reached(past, value)[0]) for value in falling])
    profit = won_opportunities_at(past, falling) * policy.win_value - mqls * policy.contact_cost
    if len(profit) == 0 or profit.max() <= 0:
        return parameter, None, (
            "No cutoff would have earned its contact costs: a win would have to bring more, or a "
            "contact to cost less."
        )  # fmt: skip
    best = int(np.argmax(profit))
    a_week = profit[best] / past.weeks
    reason = f"The cutoff that earned most: {a_week:,.0f} a week after contact costs."
    return parameter, float(falling[best]), reason


def by_rules_volume(evidence: Evidence, policy: CutoffConfig) -> Choice:
    """Return the cutoff with as many MQLs as the rules bring in the same weeks."""
    if evidence.rules is None:
        raise InputError(
            f'[cutoff] policy = "{policy.policy}" needs rules to compare with. Write rules.toml '
            "beside the configuration (closedwon init drafts one), or choose another policy."
        )
    rules, threshold = evidence.rules
    asked = len(rules.mqls(threshold))
    name = "MQLs a week" if rules.is_dated else "MQLs"
    parameter = {"rules_threshold": float(threshold), "rules_mqls": asked / rules.weeks}
    curve = cutoff_curve(evidence.past, None)
    if asked == 0 or len(curve.cutoff) == 0:
        return parameter, None, (
            "The rules bring no MQL in the past weeks, so no volume to match. Lower their "
            "threshold, or choose another policy."
        )  # fmt: skip
    gap = np.abs(curve.mqls - asked)
    value = float(curve.cutoff[np.flatnonzero(gap == gap.min())[-1]])
    return parameter, value, f"As many as the rules bring: {asked / rules.weeks:.1f} {name}."


def as_set(_: Evidence, policy: CutoffConfig) -> Choice:
    """Return the value a person set."""
    return {}, policy.value, "Set by hand."


POLICIES: dict[str, Callable[[Evidence, CutoffConfig], Choice]] = {
    "capacity": by_capacity,
    "precision": by_precision,
    "capture": by_capture,
    "money": by_money,
    "rules_volume": by_rules_volume,
    "fixed": as_set,
}
