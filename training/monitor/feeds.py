"""Events and leads that do not arrive as they did: stopped trackers, imports, campaigns."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from training.monitor.finding import LIMIT, NEAR_WEEKS, RECENT_WEEKS, Finding
from training.monitor.weekly import Weekly

Floats = npt.NDArray[np.float64]
FACTOR = 2.0
"Volumes: twice as many, or half."
FACTOR_WEEK = 2.75
"In a single week: that many times as many."
DEAD_SHARE = 0.1
FEWEST_EVENTS = 20.0
"Fewer tell nothing; a type with fewer a week is a rare one."


def event_findings(weekly: Weekly, reference: int) -> Iterator[Finding]:
    """Yield types of events whose volume is not what the other types would let one expect."""
    counts = weekly.events.to_numpy(float)
    if not counts.size:
        return
    near = slice(max(reference - NEAR_WEEKS, 0), reference)
    everything = counts.sum(axis=1)
    for place, name in enumerate(weekly.events.columns):
        observed = counts[:, place]
        others = everything - observed
        usual_others = np.median(others[near])
        level = others / usual_others if usual_others > 0 else np.ones(len(counts))
        expected = float(np.median(observed[near])) * np.clip(level, 0.2, 5.0)
        restless = _dispersion(observed[near], expected[near])
        for weeks in (1, RECENT_WEEKS):
            # Late by no more than the newest weeks: all of them lie after the reference.
            if len(counts) - weeks < reference:
                continue
            finding = _of_type(str(name), observed, expected, weeks, restless)
            if finding is not None:
                yield finding
                break


def _of_type(
    name: str, observed: Floats, expected: Floats, weeks: int, restless: float
) -> Finding | None:
    """Return what is off in the newest `weeks` weeks of a type, given its counts by week."""
    found, hoped = float(observed[-weeks:].sum()), float(expected[-weeks:].sum())
    if max(hoped, found) < FEWEST_EVENTS or abs(found - hoped) <= LIMIT * np.sqrt(hoped * restless):
        return None
    # One busy week is no news: it takes more, or a month. (A stopped type is off, too.)
    if hoped / FACTOR < found < hoped * (FACTOR_WEEK if weeks == 1 else FACTOR):
        return None
    is_dead = hoped >= FEWEST_EVENTS and found <= DEAD_SHARE * hoped
    word = "stopped" if is_dead else "fell" if found < hoped else "rose"
    # Of a rare type one webinar makes such a week: it must go on.
    is_rare = hoped < FEWEST_EVENTS * weeks
    is_lasting = bool((observed[-2:] > FACTOR * expected[-2:]).all())
    return Finding(
        "event_volume", name, word != "rose" or is_lasting or not is_rare,
        _log_ratio(found, hoped),
        f"{name} events {word}: {found:,.0f} in {_since(weeks)}, {hoped:,.0f} expected",
        "A campaign, or events sent twice? If it is to stay, retrain: closedwon retrain"
        if word == "rose"
        else "Mend the tracker or the import",
    )  # fmt: skip


def _since(weeks: int) -> str:
    return "the last week" if weeks == 1 else f"the last {weeks} weeks"


def _log_ratio(observed: float, expected: float) -> float:
    """Return how far the first is from the second, up or down alike."""
    return round(float(abs(np.log((observed + 1) / (expected + 1)))), 3)


def _dispersion(counts: Floats, expected: Floats) -> float:
    """Return the variance of counts over what is expected, 1 at least."""
    if len(counts) < 3 or not expected.sum():
        return 1.0
    return float(max(1.0, ((counts - expected) ** 2).sum() / expected.sum()))


def arrival_findings(weekly: Weekly, reference: int) -> Iterator[Finding]:
    """Yield a change in how many leads arrive."""
    weeks = min(RECENT_WEEKS, len(weekly.arrivals) - reference)
    before = weekly.arrivals[max(reference - 2 * NEAR_WEEKS, 0) : reference]
    usual = float(before.mean()) if len(before) else 0.0
    restless = _dispersion(before, np.full(len(before), usual))
    for recent in dict.fromkeys((1, weeks)):
        observed, hoped = weekly.arrivals[-recent:].sum(), usual * recent
        most = hoped * (FACTOR_WEEK if recent == 1 else FACTOR)
        if max(observed, hoped) < FEWEST_EVENTS or hoped / FACTOR < observed < most:
            continue
        if abs(observed - hoped) > LIMIT * np.sqrt(max(hoped, 1.0) * restless):
            yield Finding(
                "arrivals", "leads", True,
                _log_ratio(observed, hoped),
                f"{observed:,.0f} new leads in {_since(recent)}, {hoped:,.0f} expected",
                "Is the import complete? A campaign needs no one",
            )  # fmt: skip
            return
