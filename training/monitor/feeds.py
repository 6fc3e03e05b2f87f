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
DEAD_SHARE, FEWEST_EVENTS = 0.1, 20.0


def event_findings(weekly: Weekly, reference: int) -> Iterator[Finding]:
    """Yield types of events whose volume is not what the other types would let one expect."""
    events = weekly.events
    if events.empty or not len(events.columns):
        return
    counts = events.to_numpy(float)
    near = slice(max(reference - NEAR_WEEKS, 0), reference)
    for place, name in enumerate(events.columns):
        others = counts.sum(axis=1) - counts[:, place]
        usual_others = np.median(others[near])
        level = others / usual_others if usual_others > 0 else np.ones(len(counts))
        usual = float(np.median(counts[near, place]))
        expected = usual * np.clip(level, 0.2, 5.0)
        restless = _dispersion(counts[near, place], expected[near])
        for weeks in (1, RECENT_WEEKS):
            # Late by no more than the newest weeks: all of them lie after the reference.
            if len(counts) - weeks < reference:
                continue
            observed, hoped = counts[-weeks:, place].sum(), expected[-weeks:].sum()
            error = np.sqrt(hoped * restless)
            is_dead = hoped >= FEWEST_EVENTS and observed <= DEAD_SHARE * hoped
            # One busy week is no news: it takes more, or a month.
            is_off = not hoped / FACTOR < observed < hoped * (FACTOR_WEEK if weeks == 1 else FACTOR)
            if max(hoped, observed) < FEWEST_EVENTS or abs(observed - hoped) <= LIMIT * error:
                continue
            if is_dead or is_off:
                word = "stopped" if is_dead else "fell" if observed < hoped else "rose"
                since = "last week" if weeks == 1 else f"the last {weeks} weeks"
                yield Finding(
                    "event_volume", str(name), True,
                    round(float(abs(np.log((observed + 1) / (hoped + 1)))), 3),
                    f"{name} events {word}: {observed:,.0f} in {since}, {hoped:,.0f} expected",
                    "Mend the tracker or the import" if word != "rose" else
                    "A campaign, or events sent twice? If it is to stay, retrain",
                )  # fmt: skip
                break


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
                round(float(abs(np.log((observed + 1) / (hoped + 1)))), 3),
                f"{observed:,.0f} new leads in {recent} week(s), {hoped:,.0f} expected",
                "Is the import complete? A campaign needs no one",
            )  # fmt: skip
            return
