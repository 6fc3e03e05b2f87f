"""What is different from the champion's training window: the decision, on what was known by then.

Everything here is a function of `Weekly` tables that end at some Monday, the newest. Two things
make a finding an alarm, one that needs a person: its size matters, and luck is out of the question,
on as many features and weeks as are looked at. Accounts are the independent rows, not leads; a
share that moved about as much among the reference's own weeks is no finding.
"""

from __future__ import annotations

from training.monitor.expectations import Expectations
from training.monitor.feature_drift import drift_findings
from training.monitor.feeds import arrival_findings, event_findings
from training.monitor.finding import Finding
from training.monitor.gaps import gap_findings
from training.monitor.promises import mql_findings, win_findings
from training.monitor.verdict_mix import verdict_findings
from training.monitor.weekly import Weekly


def findings(weekly: Weekly, expected: Expectations) -> list[Finding]:
    """Return what is odd at the newest Monday of `weekly`, alarms first."""
    if len(weekly.mondays) <= expected.reference:
        return []
    found = [
        *win_findings(weekly, expected),
        *mql_findings(weekly, expected),
        *arrival_findings(weekly, expected.reference),
        *event_findings(weekly, expected.reference),
        *gap_findings(weekly, expected.reference),
        *verdict_findings(weekly),
        *drift_findings(weekly, expected.reference),
    ]
    # What matters first, and of a kind what is largest.
    kinds = list(dict.fromkeys(finding.kind for finding in found))
    return sorted(
        found,
        key=lambda finding: (not finding.needs_person, kinds.index(finding.kind), -finding.size),
    )
