"""What a load found: rows read, kept and set aside by rule. Counts and names, no one's data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd

from features.errors import InputError
from features.outputs import formula_safe, written_aside

MOST_REJECTS_KEPT = 10_000
"Rows of one rule in a rejects file; the count is of all of them."


@dataclass(frozen=True)
class Note:
    """Something a user should know that stops nothing."""

    name: str
    count: int
    text: str


@dataclass(frozen=True)
class TableReport:
    """What became of one table."""

    name: str
    source: str
    "File name, or `sql`."
    rows_read: int
    rows_kept: int
    rejected: dict[str, int]
    "Rule -> rows it set aside."
    notes: tuple[Note, ...] = ()
    attributes: tuple[str, ...] = ()
    is_current_state: bool = False
    first: pd.Timestamp | None = None
    last: pd.Timestamp | None = None
    "Span of the table's own time, UTC; None where it has no time or no row."

    def lines(self) -> list[str]:
        """Return the report of this table as text."""
        span = f", {self.first:%Y-%m-%d} to {self.last:%Y-%m-%d}" if self.first else ""
        state = ", current state (cannot be dated)" if self.is_current_state else ""
        head = f"{self.name} ({self.source}): {self.rows_kept:,} of {self.rows_read:,} rows"
        return [
            head + span + state,
            *(f"  set aside: {rule} {count:,}" for rule, count in self.rejected.items()),
            *(f"  note: {note.name} {note.count:,}: {note.text}" for note in self.notes),
        ]


@dataclass(frozen=True)
class LoadReport:
    """What became of all tables. `rejects` holds the rows set aside: people's data."""

    tables: tuple[TableReport, ...]
    data_until: pd.Timestamp | None
    rejects: dict[str, pd.DataFrame]
    "Table -> `rule`, `row` (counted from 1) and the row's own cells."
    notes: tuple[Note, ...] = ()
    "About the load as a whole."

    def with_notes(self, notes: Iterable[Note]) -> LoadReport:
        """Return the report with `notes` about the load as a whole added."""
        return replace(self, notes=(*self.notes, *notes))

    def lines(self) -> list[str]:
        """Return the report as text, without a single cell of the data."""
        lines = [line for table in self.tables for line in table.lines()]
        lines += [f"note: {note.name} {note.count:,}: {note.text}" for note in self.notes]
        if self.data_until is not None:
            lines.append(f"data until {self.data_until:%Y-%m-%d %H:%M} UTC")
        return lines

    def rejects_files(self, folder: Path) -> list[Path]:
        """Return the files that `write_rejects` writes into `folder`."""
        return [folder / f"{name}.csv" for name, rows in self.rejects.items() if len(rows)]

    def as_dict(self) -> dict[str, object]:
        """Return the report for JSON, without a single cell of the data."""
        return {
            "data_until": _iso(self.data_until),
            "notes": [asdict(note) for note in self.notes],
            "tables": {
                table.name: asdict(table) | {"first": _iso(table.first), "last": _iso(table.last)}
                for table in self.tables
            },
        }


def _iso(instant: pd.Timestamp | None) -> str | None:
    return None if instant is None else instant.isoformat()


def write_rejects(report: LoadReport, folder: Path) -> list[Path]:
    """Write `TABLE.csv` for every table with rejects into `folder`, and return the files.

    The file of an earlier load is replaced, or removed when a table has no rejects any more.
    The rows are the user's own, cells that a spreadsheet would run as formulas are prefixed
    with `'`, and only their owner may read the files.
    """
    written = report.rejects_files(folder)
    for table in report.tables:
        path = folder / f"{table.name}.csv"
        if path not in written:
            path.unlink(missing_ok=True)
            continue
        folder.mkdir(parents=True, exist_ok=True)
        with written_aside(path) as aside:
            aside.touch(mode=0o600)
            formula_safe(report.rejects[table.name]).to_csv(aside, index=False)
    return written


@contextmanager
def naming_rejects(files: Sequence[Path]) -> Iterator[None]:
    """Let an InputError of the block end with where the rows are that were set aside."""
    try:
        yield
    except InputError as error:
        if not files:
            raise
        listed = ", ".join(str(path) for path in files)
        raise InputError(f"{error} Rows set aside are in {listed}.") from None
