"""Changes of a type's volume, and what they are called in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from features.quality.findings import Finding, Severity

Kind = Literal["silent", "silent_since", "fell", "rose", "introduced"]

ALL = "all event types"


@dataclass(frozen=True)
class VolumeChange:
    """A day from which a type's volume is not what it was."""

    event_type: str
    kind: Kind
    severity: Severity
    since: np.datetime64
    "First day."
    until: np.datetime64 | None
    "First day that is as before again; None: to the end."
    expected: float
    "Events expected in that time; for `fell` and `rose`, in the four weeks from `since`."
    observed: float

    def as_dict(self) -> dict[str, Any]:
        """Return the change for JSON."""
        return {
            "event_type": self.event_type,
            "kind": self.kind,
            "severity": self.severity,
            "since": str(self.since),
            "until": None if self.until is None else str(self.until),
            "expected": round(self.expected, 1),
            "observed": self.observed,
        }


def change_findings(changes: tuple[VolumeChange, ...]) -> list[Finding]:
    """Return the changes as findings; types that fell silent together are one, with one cause."""
    groups: dict[object, list[VolumeChange]] = {}
    for number, change in enumerate(changes):
        is_silence = change.kind in ("silent", "silent_since")
        key = (change.kind, change.severity, change.since, change.until) if is_silence else number
        groups.setdefault(key, []).append(change)
    return [_finding(same) for same in groups.values()]


def _finding(changes: list[VolumeChange]) -> Finding:
    """Return changes of one kind and time as one finding: `event_volume_KIND`."""
    first = changes[0]
    names = [change.event_type for change in changes[:3]]
    more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
    expected = sum(change.expected for change in changes)
    observed = sum(change.observed for change in changes)
    return Finding(
        f"event_volume_{first.kind}",
        first.severity,
        ", ".join(names) + more,
        round(abs(expected - observed)),
        _words(first, expected, observed),
    )


def _words(change: VolumeChange, expected: float, observed: float) -> str:
    """Return what happened in words, and what to do where that is clear."""
    missing = f"{observed:,.0f} events where about {expected:,.0f} were to be expected"
    is_all = change.event_type == ALL
    match change.kind:
        case "introduced":
            return f"recorded from {change.until} on only; before that day nobody can have any"
        case "silent":
            last = change.until - np.timedelta64(1, "D") if change.until is not None else None
            holiday = "; a holiday?" if change.severity == "note" else ""
            return f"silent from {change.since} to {last}: {missing}{holiday}"
        case "silent_since":
            advice = (
                "Were events exported earlier than the rest? Set data.data_until to that day"
                if is_all
                else "Is it still tracked? A model reads its absence as lost interest"
            )
            return f"silent since {change.since}: {missing}. {advice}"
        case "fell":
            cause = "an export that lacks some" if is_all else "a tracker that lost some"
        case "rose":
            cause = "more leads, or events sent twice" if is_all else "a tag that fires twice"
    times = observed / max(expected, 1.0)
    level = f"{times:.1f} times" if times > 1 else f"{times:.0%} of"
    return (
        f"{change.kind} on {change.since} to {level} the four weeks before, and stayed there:"
        f" {cause}?"
    )
