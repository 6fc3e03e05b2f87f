"""Wins and MQLs that part from what the champion promised."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from training.monitor.evidence import Parting, parting
from training.monitor.expectations import Expectations
from training.monitor.finding import RECENT_WEEKS, RESTLESS, Finding
from training.monitor.weekly import Weekly

FEWEST_MQLS = 10.0
TOGETHER = 1.5
"Variance of a count of MQLs over its mean: leads of an account cross the cutoff together."
NOTE_LIMIT, ALARM_LIMIT = 2.0, 4.0
"Standard deviations beyond the forecast's own interval, of all weeks since training."
WORTH_A_NOTE = 100.0
"Weeks for one false alarm: with fewer a difference is not told."


def mql_findings(weekly: Weekly, expected: Expectations) -> Iterator[Finding]:
    """Yield a volume of MQLs far from its forecast: for a month, or a little less far for good."""
    promised, passed = expected.mqls_per_week, len(weekly.mondays) - expected.reference
    if promised is None or passed < RECENT_WEEKS:
        return
    # A month may be restless; all weeks since training together should keep to the forecast.
    windows = {RECENT_WEEKS: (RESTLESS, 3.0, 3.0)}
    if passed >= 2 * RECENT_WEEKS:
        windows[passed] = (1.0, NOTE_LIMIT, ALARM_LIMIT)
    found = []
    for weeks, (restless, note, alarm) in windows.items():
        observed = float(expected.mqls[: len(weekly.mondays)][-weeks:].sum())
        low = (promised.low if promised.low is not None else promised.value) * weeks / restless
        high = (promised.high if promised.high is not None else promised.value) * weeks * restless
        bound = low if observed < low else high
        if low <= observed <= high or max(observed, bound) < FEWEST_MQLS:
            continue
        surprise = abs(observed - bound) / np.sqrt(max(bound, 1.0) * TOGETHER)
        if surprise > note:
            found.append((surprise > alarm, weeks, observed))
    if found:
        is_alarm, weeks, observed = max(found, key=lambda each: each[0])
        yield Finding(
            "mql_rate", "MQLs", bool(is_alarm),
            round(float(abs(np.log((observed + 1) / (promised.value * weeks + 1)))), 3),
            f"{observed / weeks:.1f} MQLs a week in the last {weeks} weeks, forecast "
            f"{promised.value:.1f}",
            "Does the volume still suit sales? Look at the cutoff: closedwon train chooses it anew",
        )  # fmt: skip


def win_findings(weekly: Weekly, expected: Expectations) -> Iterator[Finding]:
    """Yield wins that part from the promise: of all leads, and of the MQLs."""
    over = slice(expected.reference, len(weekly.mondays) - 1)  # weeks that have ended
    for subject, part in partings(expected, len(weekly.mondays)):
        if part.e_value < WORTH_A_NOTE or part.expected <= 0:
            continue
        ratio = part.observed / part.expected
        what, kind = ("Leads", "observed_expected") if subject == "wins" else ("MQLs", "precision")
        wins = expected.wins if subject == "wins" else expected.mql_wins
        assert wins is not None  # it has parted
        # The weeks that part most are picked: beside them what all of them say.
        won, hoped = float(np.nansum(wins.observed[over])), float(np.nansum(wins.expected[over]))
        begun = str(weekly.mondays[part.since])[:10]
        picked = f", most since {begun}: {part.observed:.0f} of {part.expected:.0f} ({ratio:.0%})"
        is_all = part.since <= expected.reference
        yield Finding(
            kind, f"{subject}_{part.direction}", part.is_alarm,
            round(float(abs(np.log(max(ratio, 0.01)))), 3),
            f"{what} win {part.direction} than promised: {won:.0f} wins since training, "
            f"{hoped:.0f} expected ({won / hoped:.0%}){'' if is_all else picked}; by luck "
            f"{_once_in(part.e_value)}",
            "Retrain or recalibrate: closedwon retrain"
            if subject == "wins"
            else "Look at the cutoff: closedwon retrain chooses it anew",
            week=weekly.mondays[part.since],
            evidence={
                **part.as_dict(),
                "observed_since_training": round(won, 1),
                "expected_since_training": round(hoped, 1),
            },
        )  # fmt: skip


def _once_in(weeks: float) -> str:
    """Return how often a watch that calls at this level does so without change."""
    most = 10_000.0
    if weeks > most:
        return f"less than once in {most:,.0f} weeks"
    return f"about one false alarm in {weeks:,.0f} weeks"


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
