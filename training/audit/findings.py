"""What the leakage audit found: evidence by column, duplicate people, notes. No one's data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["block", "undated", "flag"]
LEVELS: tuple[Level, ...] = ("block", "undated", "flag")
"""Worst first."""


@dataclass(frozen=True)
class Evidence:
    """One reason to suspect a column."""

    name: str
    "Kind of evidence, e.g. `filled_only_for_winners`."
    level: Level
    "How much it says by itself; a finding has the worst level of its evidence."
    figures: Mapping[str, float]
    "The numbers it rests on: shares and rates from 0 to 1, counts of independent leads."
    text: str
    "One sentence with the numbers."


@dataclass(frozen=True)
class Finding:
    """A suspect column and all evidence against it."""

    column: str
    "`leads.column` or `accounts.column`; columns of a flat export are `leads.column`."
    level: Level
    evidence: tuple[Evidence, ...]
    "Worst first, never empty."
    group: int | None = None
    "Columns that go missing together share a number, from 1; None: it goes missing alone."

    def lines(self) -> list[str]:
        """Return the finding as text: the column, then its evidence."""
        where = f" (goes missing with group {self.group})" if self.group else ""
        return [
            f"{self.level}: {self.column}{where}",
            *(f"  {found.name}: {found.text}" for found in self.evidence),
        ]


@dataclass(frozen=True)
class Duplicates:
    """Lead ids that look like one person, though no account links them."""

    kind: Literal["same_identifier", "identical_row"]
    columns: tuple[str, ...]
    "What the rows share; empty for the whole row."
    leads: int
    "Lead ids that have such a twin."
    people: int
    "How many people they would be."
    across: int | None
    "People with rows in the fit part and in the test part; None where nothing can be split."

    def line(self) -> str:
        """Return the duplicates as one line of text."""
        what = f"the same {', '.join(self.columns)}" if self.columns else "identical attributes"
        split = "" if self.across is None else f"; {self.across:,} lie in both fit and test rows"
        return f"duplicates: {self.leads:,} leads look like {self.people:,} people: {what}{split}"


@dataclass(frozen=True)
class Audit:
    """All that the audit found, worst first."""

    findings: tuple[Finding, ...]
    duplicates: tuple[Duplicates, ...] = ()
    notes: tuple[str, ...] = ()
    columns: int = 0
    "How many were looked at."

    def blocked(self) -> list[str]:
        """Return the columns that must not be used."""
        return [finding.column for finding in self.findings if finding.level == "block"]

    def lines(self) -> list[str]:
        """Return the audit as text, with what to do about each level that occurs."""
        levels = {finding.level for finding in self.findings}
        lines = [line for finding in self.findings for line in finding.lines()]
        lines += [f"what to do: {ADVICE[level]}" for level in LEVELS if level in levels]
        lines += [found.line() for found in self.duplicates]
        lines += [f"note: {note}" for note in self.notes]
        return lines or [f"no column of {self.columns} shows signs of leakage"]

    def as_dict(self) -> dict[str, Any]:
        """Return the audit as plain JSON values."""
        return {
            "columns": self.columns,
            "findings": [
                {**asdict(finding), "evidence": [_plain(found) for found in finding.evidence]}
                for finding in self.findings
            ],
            "duplicates": [
                {**asdict(found), "columns": list(found.columns)} for found in self.duplicates
            ],
            "notes": list(self.notes),
        }


ADVICE: dict[Level, str] = {
    "block": (
        "blocked columns are left out; if one was known before the outcome, name it in "
        "[features] known_at_creation"
    ),
    "undated": (
        "nobody can tell since when these are filled: list those known when the lead was created "
        "in [features] known_at_creation, the others in [features] drop"
    ),
    "flag": "flagged columns are used; look at them before you trust the figures",
}


def _plain(found: Evidence) -> dict[str, Any]:
    return {
        "name": found.name,
        "level": found.level,
        "figures": dict(found.figures),
        "text": found.text,
    }
