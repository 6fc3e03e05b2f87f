"""Events, leads and verdicts that do not arrive as they did: stopped trackers, imports."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from training.monitor.finding import NEAR_WEEKS, RECENT_WEEKS, Finding, is_luck
from training.monitor.weekly import ALL, Weekly

Floats = npt.NDArray[np.float64]
FACTOR = 2.0
"Volumes: twice as many, or half."
FACTOR_WEEK = 2.75
"In a single week: that many times as many."
FACTOR_ALL = 1.6
"Of all events together, which vary less: sent twice they are twice as many."
DEAD_SHARE = 0.1
FEWEST_EVENTS = 20.0
"Fewer tell nothing; a type with fewer a week is a rare one."
FEWEST_A_WEEK = 5.0
"From so many on the middle week tells what is usual, below it the mean."
WINDOWS = (1, RECENT_WEEKS, 8, 13, 26)
"Newest weeks that are looked at; those of more than a month for what stopped only."
EVERYTHING = "all events"


def event_findings(weekly: Weekly, reference: int) -> Iterator[Finding]:
    """Yield types of events whose volume is not what the other types would let one expect."""
    counts = weekly.events.to_numpy(float)
    if not counts.size:
        return
    near = slice(max(reference - NEAR_WEEKS, 0), reference)
    usual = np.array([_usual(counts[near, place]) for place in range(counts.shape[1])])
    found = []
    for place, name in enumerate(weekly.events.columns):
        level = _level_of_others(counts, usual, place)
        finding = _first_off(
            f"{name} events", str(name), counts[:, place], usual[place], level, reference
        )
        if finding is not None:
            found.append(finding)
    yield from found
    if len(found) < counts.shape[1]:  # or each type has told it already
        yield from _of_all(weekly, counts, usual, reference)


def _usual(counts: Floats) -> float:
    """Return the events of a usual week: one campaign does not change it."""
    if not len(counts):
        return 0.0
    middle = float(np.median(counts))
    return middle if middle >= FEWEST_A_WEEK else float(counts.mean())


def _level_of_others(counts: Floats, usual: Floats, place: int) -> Floats:
    """Return by week how busy the other types are: the middle of them, so that no one decides."""
    others = np.flatnonzero((usual >= FEWEST_EVENTS) & (np.arange(len(usual)) != place))
    if not len(others):
        return np.ones(len(counts))
    level = np.median(counts[:, others] / usual[others], axis=1)
    return np.asarray(np.clip(level, 0.2, 5.0), dtype=np.float64)


def _first_off(
    what: str, subject: str, observed: Floats, usual: float, level: Floats, reference: int
) -> Finding | None:
    """Return what is off in the newest weeks, told of the shortest of `WINDOWS` that shows it."""
    near = slice(max(reference - NEAR_WEEKS, 0), reference)
    expected = usual * level
    restless = _dispersion(observed[near], expected[near])
    for weeks in WINDOWS:
        # Late by no more than the newest weeks: all of them lie after the reference.
        if len(observed) - weeks < reference:
            break
        finding = _of_type(what, subject, observed, expected, usual, weeks, restless)
        if finding is not None:
            return finding
    return None


def _of_type(
    what: str, subject: str, observed: Floats, expected: Floats, usual: float, weeks: int,
    restless: float,
) -> Finding | None:  # fmt: skip
    """Return what is off in the newest `weeks` weeks of a type, given its counts by week."""
    found, hoped = float(observed[-weeks:].sum()), float(expected[-weeks:].sum())
    if max(hoped, found) < FEWEST_EVENTS or is_luck(found, hoped, restless):
        return None
    is_dead = hoped >= FEWEST_EVENTS and found <= DEAD_SHARE * min(hoped, usual * weeks)
    # One busy week is no news: it takes more, or a month. What the others' level alone makes odd,
    # while the type is as usual, is none either. (A stopped type is off, too.)
    most = FACTOR_WEEK if weeks == 1 else FACTOR
    low, high = min(hoped, usual * weeks) / FACTOR, max(hoped, usual * weeks) * most
    if low < found < high or (weeks > RECENT_WEEKS and not is_dead):
        return None
    word = "stopped" if is_dead else "fell" if found < hoped else "rose"
    # Of a rare type one webinar makes such a week: it must go on.
    is_rare = hoped < FEWEST_EVENTS * weeks
    is_lasting = bool((observed[-2:] > FACTOR * expected[-2:]).all())
    return Finding(
        "event_volume", subject, word != "rose" or is_lasting or not is_rare,
        _log_ratio(found, hoped),
        f"{what} {word}: {found:,.0f} in {_since(weeks)}, {hoped:,.0f} expected",
        "A campaign, or events sent twice? If it is to stay, retrain: closedwon retrain"
        if word == "rose"
        else "Mend the tracker or the import",
        evidence={"change": word},
    )  # fmt: skip


def _of_all(weekly: Weekly, counts: Floats, usual: Floats, reference: int) -> Iterator[Finding]:
    """Yield a volume of all events, a lead, that is off together with the middle type's."""
    near = slice(max(reference - NEAR_WEEKS, 0), reference)
    leads = np.maximum(weekly.counts[ALL, :, -1].sum(axis=1), 1.0)
    observed = counts.sum(axis=1)
    expected = _usual(observed[near] / leads[near] * 1e6) / 1e6 * leads
    restless = _dispersion(observed[near], expected[near])
    # As for one type: the middle one must be off as well, or it is the largest's own story.
    level = _level_of_others(counts, usual, -1) / (leads / np.median(leads[near]))
    for weeks in (1, RECENT_WEEKS):
        if len(counts) - weeks < reference:
            return
        found, hoped = float(observed[-weeks:].sum()), float(expected[-weeks:].sum())
        middle = float(np.mean(level[-weeks:]))
        least = DEAD_SHARE * 3 if weeks == 1 else 1 / FACTOR  # holidays are quiet weeks
        is_more = found >= FACTOR_ALL * hoped and middle >= FACTOR_ALL
        is_less = found <= least * hoped and middle <= least
        if not (is_more or is_less) or max(found, hoped) < FEWEST_EVENTS:
            continue
        if not is_luck(found, hoped, restless):
            yield Finding(
                "event_volume", EVERYTHING, True, _log_ratio(found, hoped),
                f"events of all types {'rose' if is_more else 'fell'}: {found:,.0f} in "
                f"{_since(weeks)}, {hoped:,.0f} expected of so many leads",
                "Are events sent twice?" if is_more else "Mend the tracker or the import",
                evidence={"change": "rose" if is_more else "fell"},
            )  # fmt: skip
            return


def verdict_feed_findings(weekly: Weekly, reference: int) -> Iterator[Finding]:
    """Yield verdicts of sales that stopped coming."""
    if weekly.verdicts.empty:
        return
    mondays = len(weekly.mondays)
    counts = np.bincount(weekly.verdicts["monday"], minlength=mondays).astype(np.float64)
    usual = _usual(counts[max(reference - NEAR_WEEKS, 0) : reference])
    finding = _first_off("verdicts", "verdicts", counts, usual, np.ones(mondays), reference)
    if finding is not None and finding.evidence["change"] == "stopped":
        yield Finding(
            "verdict_volume", "verdicts", True, finding.size, f"sales' {finding.text}",
            "Ask whether sales still gives verdicts, and mend their import",
        )  # fmt: skip


def arrival_findings(weekly: Weekly, reference: int) -> Iterator[Finding]:
    """Yield a change in how many leads arrive."""
    before = weekly.arrivals[max(reference - 2 * NEAR_WEEKS, 0) : reference]
    usual = float(before.mean()) if len(before) else 0.0
    restless = _dispersion(before, np.full(len(before), usual))
    for recent in WINDOWS:
        if len(weekly.arrivals) - recent < reference:
            return
        observed, hoped = float(weekly.arrivals[-recent:].sum()), usual * recent
        most = hoped * (FACTOR_WEEK if recent == 1 else FACTOR)
        least = hoped * DEAD_SHARE if recent > RECENT_WEEKS else hoped / FACTOR
        if max(observed, hoped) < FEWEST_EVENTS or least < observed < most:
            continue
        if recent > RECENT_WEEKS and observed > hoped:  # of growth the month tells
            continue
        if not is_luck(observed, hoped, restless):
            yield Finding(
                "arrivals", "leads", True,
                _log_ratio(observed, hoped),
                f"{observed:,.0f} new leads in {_since(recent)}, {hoped:,.0f} expected",
                "Is the import complete? A campaign needs no one",
            )  # fmt: skip
            return


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
