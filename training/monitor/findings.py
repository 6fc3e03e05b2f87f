"""What is different from the champion's training window: the decision, on what was known by then.

Everything here is a function of `Weekly` tables that end at some Monday, the newest. Two things
make a finding an alarm, one that needs a person: its size matters, and luck is out of the question,
on as many features and weeks as are looked at. Accounts are the independent rows, not leads; a
share that moved about as much among the reference's own weeks is no finding.
"""

from __future__ import annotations

from dataclasses import replace

from features.catalogue.feature import ALL_EVENTS, JOURNEY
from training.monitor.absent import EVENTS, absent_findings, source_of
from training.monitor.bands import SCORE
from training.monitor.expectations import Expectations
from training.monitor.feature_drift import drift_findings
from training.monitor.feeds import (
    EVERYTHING,
    arrival_findings,
    event_findings,
    verdict_feed_findings,
)
from training.monitor.finding import Finding
from training.monitor.gaps import gap_findings, unlearnt_findings
from training.monitor.promises import mql_findings, win_findings
from training.monitor.verdict_mix import verdict_findings
from training.monitor.weekly import Weekly


def findings(weekly: Weekly, expected: Expectations) -> list[Finding]:
    """Return what is odd at the newest Monday of `weekly`, alarms first."""
    if len(weekly.mondays) <= expected.reference:
        return []
    found = [
        *absent_findings(weekly.absent),
        *unlearnt_findings(weekly, expected.reference),
        *win_findings(weekly, expected),
        *mql_findings(weekly, expected),
        *arrival_findings(weekly, expected.reference),
        *event_findings(weekly, expected.reference),
        *gap_findings(weekly, expected.reference),
        *verdict_feed_findings(weekly, expected.reference),
        *verdict_findings(weekly),
        *drift_findings(weekly, expected.reference),
    ]
    found = _told_under_their_feed(_once(found), weekly, expected.reference)
    # What matters first, and of a kind what is largest.
    kinds = list(dict.fromkeys(finding.kind for finding in found))
    return sorted(
        found,
        key=lambda finding: (not finding.needs_person, kinds.index(finding.kind), -finding.size),
    )


def _once(found: list[Finding]) -> list[Finding]:
    """Return the findings, each key once: the first tells it."""
    told: dict[str, Finding] = {}
    for finding in found:
        told.setdefault(finding.key, finding)
    return list(told.values())


def _told_under_their_feed(found: list[Finding], weekly: Weekly, reference: int) -> list[Finding]:
    """Return the findings without those that follow from a broken feed, which are told under it.

    A model retrained on a tracker that stopped would learn that nobody looks any more.
    """
    feeds = [
        finding
        for finding in found
        if finding.needs_person and finding.kind in (*_LOST, "event_volume")
    ]
    follows: dict[str, list[Finding]] = {finding.key: [] for finding in feeds}
    left = []
    for finding in found:
        feed = None
        if finding.kind in _FOLLOWING:
            feed = next((f for f in feeds if _is_fed(finding, f, weekly, reference)), None)
        if feed is None:
            left.append(finding)
        else:
            follows[feed.key].append(finding)
    return [_with_followers(finding, follows.get(finding.key, [])) for finding in left]


_LOST = ("missing_table", "missing_column", "missing_event_type")
_FOLLOWING = ("feature_drift", "score_drift", "null_spike", "unknown_category")
_LARGE_SHARE = 0.2
"A type with so many of all events moves what is counted of all."


def _is_fed(finding: Finding, feed: Finding, weekly: Weekly, reference: int) -> bool:
    """Return whether what `finding` is about is made from what `feed` says is broken."""
    if finding.subject == SCORE:
        return True
    catalogue = weekly.bands.catalogue
    features = [each for each in catalogue.features if each.concept == finding.subject]
    if feed.kind in _LOST:
        return any(source_of(feature, (feed.subject,)) for feature in features)
    if feed.subject == EVERYTHING:
        return any(source_of(feature, (EVENTS,)) for feature in features)
    streams = set(catalogue.streams_of(feed.subject))
    events = weekly.events.iloc[:reference].sum()
    is_large = events.get(feed.subject, 0.0) >= _LARGE_SHARE * events.sum()
    streams = streams | {JOURNEY} if is_large else streams - {ALL_EVENTS}
    return any(feature.stream in streams for feature in features)


def _with_followers(finding: Finding, followers: list[Finding]) -> Finding:
    if not followers:
        return finding
    names = ", ".join(each.subject for each in followers[:3])
    text = f"{finding.text}; {len(followers)} more follow{'s' * (len(followers) == 1)} from it"
    told = {each.key: each.text for each in followers}
    more = ", ..." * (len(followers) > 3)
    return replace(
        finding,
        text=f"{text}: {names}{more}",
        evidence={**finding.evidence, "follows": told},
    )
