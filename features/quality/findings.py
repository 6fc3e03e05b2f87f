"""One thing that is odd about the data, by name and in numbers. Never anyone's data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["warn", "note"]


@dataclass(frozen=True)
class Finding:
    """What was found, where, how often, and a sentence for people.

    A `warn` is likely broken data, or would mislead a model; a `note` may well be honest.
    """

    name: str
    severity: Severity
    subject: str
    "A table, a column as `table.column`, or an event type."
    count: int
    text: str
    share: float | None = None
    "Of the rows it is about, 0 to 1."

    def line(self) -> str:
        """Return the finding as one line of text.

        >>> Finding("constant", "note", "leads.country", 90, "one value in all 90 rows").line()
        'note: leads.country: one value in all 90 rows'
        """
        return f"{self.severity}: {self.subject}: {self.text}"

    def as_dict(self) -> dict[str, Any]:
        """Return the finding for JSON."""
        return asdict(self)


def worst_first(findings: list[Finding]) -> tuple[Finding, ...]:
    """Return the findings, warnings before notes, otherwise in the order in which they came."""
    return tuple(sorted(findings, key=lambda finding: finding.severity != "warn"))
