"""Wins and MQLs that part from what the champion promised."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from training.monitor.evidence import Parting, parting
from training.monitor.expectations import Expectations
from training.monitor.finding import RECENT_WEEKS, RESTLESS, Finding
from training.monitor.weekly import Weekly

FEWEST_MQLS = 10.0


def mql_findings(weekly: Weekly, expected: Expectations) -> Iterator[Finding]:
    """Yield a volume of MQLs far from its forecast."""
    promised, weeks = expected.mqls_per_week, RECENT_WEEKS
    if promised is None or len(weekly.mondays) - expected.reference < weeks:
        return
    observed = float(expected.mqls[: len(weekly.mondays)][-weeks:].sum())
    low = (promised.low if promised.low is not None else promised.value) * weeks / RESTLESS
    high = (promised.high if promised.high is not None else promised.value) * weeks * RESTLESS
    restless = 1.5  # leads of an account cross the cutoff together
    bound = low if observed < low else high
    if low <= observed <= high or max(observed, bound) < FEWEST_MQLS:
        return
    if abs(observed - bound) > 3 * np.sqrt(max(bound, 1.0) * restless):
        yield Finding(
            "mql_rate", "MQLs", True,
            round(float(abs(np.log((observed + 1) / (promised.value * weeks + 1)))), 3),
            f"{observed / weeks:.1f} MQLs a week in the last {weeks} weeks, forecast "
            f"{promised.value:.1f}",
            "Does the volume still suit sales? Look at the cutoff: closedwon train chooses it anew",
        )  # fmt: skip


def win_findings(weekly: Weekly, expected: Expectations) -> Iterator[Finding]:
    """Yield wins that part from the promise: of all leads, and of the MQLs."""
    for subject, part in partings(expected, len(weekly.mondays)):
        if part.e_value < 20 or part.expected <= 0:
            continue
        ratio = part.observed / part.expected
        what = "Leads" if subject == "wins" else "MQLs"
        kind = "observed_expected" if subject == "wins" else "precision"
        yield Finding(
            kind, f"{subject}_{part.direction}", part.is_alarm,
            round(float(abs(np.log(max(ratio, 0.01)))), 3),
            f"{what} win {part.direction} than promised since "
            f"{str(weekly.mondays[part.since])[:10]}: {part.observed:.0f} wins, "
            f"{part.expected:.0f} expected ({ratio:.0%}); evidence {part.e_value:,.0f} to 1",
            "Retrain or recalibrate: closedwon retrain"
            if subject == "wins"
            else "Look at the cutoff: closedwon retrain chooses it anew",
            week=weekly.mondays[part.since],
            evidence=part.as_dict(),
        )  # fmt: skip


def partings(expected: Expectations, mondays: int) -> list[tuple[str, Parting]]:
    """Return how far wins have parted at the last of so many Mondays, both ways."""
    over = mondays - 1  # weeks that have ended
    first = expected.reference
    found = [
        ("wins", parting(expected.wins.until(over), first, "fewer", expected.tolerated)),
        ("wins", parting(expected.wins.until(over), first, "more", expected.tolerated)),
    ]
    if expected.mql_wins is not None and expected.precision is not None:
        promise = expected.precision
        mqls = expected.mql_wins.until(over)
        if promise.value > 0:
            low = promise.value if promise.low is None else promise.low
            high = promise.value if promise.high is None else promise.high
            # What the promise's own interval allows is no broken promise.
            fewer = max(1 - low / promise.value, expected.tolerated)
            more = max(high / promise.value - 1, expected.tolerated)
            found.append(("mqls", parting(mqls, first, "fewer", fewer)))
            found.append(("mqls", parting(mqls, first, "more", more)))
    return found
