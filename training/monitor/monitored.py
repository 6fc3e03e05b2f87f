"""One look at a model at work: what is told of it, as text and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from training.monitor.course import finite
from training.monitor.finding import Finding
from training.monitor.performance import Cohort, Estimated

NOTES_TOLD = 3


@dataclass(frozen=True)
class Alarm:
    """A finding that needs a person, and since when it has been told."""

    finding: Finding
    since: str
    is_new: bool
    "Told neither in the run before, on older data, nor in another on the same."

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            **finding_dict(self.finding),
            "key": self.finding.key,
            "since": self.since,
            "is_new": self.is_new,
        }


@dataclass(frozen=True)
class Monitored:
    """One look at a model at work."""

    model: str
    data_until: str
    "The newest Monday that was looked at."
    trained_until: str
    weeks: int
    "That passed since the champion's data ended."
    is_again: bool
    "The same data were looked at before."
    alarms: tuple[Alarm, ...]
    notes: tuple[Finding, ...]
    estimate: Estimated | None
    months: tuple[Cohort, ...]
    course: dict[str, Any]
    "Figures by week, for pictures."
    age_days: float | None = None
    "Days since the newest record; None where the settings say where the data end."
    age_text: str | None = None
    in_use: bool = True
    "Whether it is the champion's."

    @property
    def needs_person(self) -> bool:
        """Whether anything does."""
        return bool(self.alarms)

    def as_dict(self) -> dict[str, Any]:
        """Return what `closedwon monitor --json` prints; NaN is null."""
        found: dict[str, Any] = {
            "model_version": self.model,
            "in_use": self.in_use,
            "data_until": self.data_until,
            "data_age_days": None if self.age_days is None else round(self.age_days, 1),
            "data_age": self.age_text,
            "trained_until": self.trained_until,
            "weeks": self.weeks,
            "seen_before": self.is_again,
            "needs_person": self.needs_person,
            "alarms": [alarm.as_dict() for alarm in self.alarms],
            "notes": [finding_dict(note) for note in self.notes],
            "estimated": None if self.estimate is None else self.estimate.as_dict(),
            "months": [month.as_dict() for month in self.months],
            "course": self.course,
        }
        plain: dict[str, Any] = finite(found)
        return plain

    def lines(self) -> list[str]:
        """Return the result for people, shortest first."""
        aged = f"; {self.age_text}" * (self.age_text is not None)
        of = f"the data of version {self.model} ended"
        passed = f"{self.weeks} week{'s' * (self.weeks != 1)} after {of}"
        told = [f"Up to {self.data_until}{aged}, {passed} ({self.trained_until}):"]
        if not self.weeks:
            told = [f"Up to {self.data_until}{aged}. No week has passed since {of} "
                    f"({self.trained_until}): there is nothing to compare yet."]  # fmt: skip
        elif not self.alarms:
            told.append("Calm: nothing needs a person.")
        if not self.in_use:
            told.insert(0, f"Version {self.model} is not in use.")
        advised = set[str]()
        for alarm in self.alarms:
            since = "new" if alarm.is_new else f"since {alarm.since}"
            advice = alarm.finding.advice
            told.append(
                f"- {alarm.finding.text} ({since})." + f" {advice}." * (advice not in advised)
            )
            advised.add(advice)
        if self.notes:
            noted = "; ".join(note.text for note in self.notes[:NOTES_TOLD])
            left = len(self.notes) - NOTES_TOLD
            told.append(f"Worth a look, no more: {noted}{f'; and {left} more' * (left > 0)}.")
        if self.estimate is not None:
            told.append(self.estimate.text())
        return told


def finding_dict(finding: Finding) -> dict[str, Any]:
    """Return a finding for JSON."""
    return {
        "kind": finding.kind,
        "subject": finding.subject,
        "size": finding.size,
        "text": finding.text,
        "advice": finding.advice,
        "week": None if finding.week is None else str(finding.week)[:10],
        "evidence": finding.evidence,
    }
