"""The tables of a request, row by row as JSON has them, turned into typed columns.

What breaks a rule of the contract is a Problem with the place and never the value. Rows keep their
numbers until `serving/live/slices.py` has decided which leads a problem is of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

from features.facts.histories import ALWAYS, DAY
from features.loading.addresses import EMAIL_DOMAIN, MOSTLY, domain_of, usual_place
from features.tables import CONTRACT, TableSpec
from serving.live.cells import (
    LONGEST_TEXT,
    READERS,
    CellError,
    read_category,
    read_instants,
    read_word,
)

TABLES = (
    *("leads", "accounts", "engagement_events", "opportunities", "opportunity_leads"),
    "stage_changes",
)
"What a request may hold: the tables that features are made of."
SKEW = 300_000_000
"Five minutes: so far a clock may be ahead of ours."
OPPORTUNITY_STAGES = ("open", "closed_won", "closed_lost")
_TEXTS = {str, type(None)}
_WORDS = {("opportunities", "stage"), ("stage_changes", "stage")}
_KNOWN = {
    name: frozenset((*CONTRACT[name].required, *CONTRACT[name].optional, "recorded_at"))
    for name in TABLES
}


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a row: its table, its number, and the column unless it is an attribute."""

    table: str
    row: int
    column: str | None
    text: str

    @property
    def where(self) -> str:
        """The place in the request, as a path below `tables`."""
        return f"{self.table}[{self.row}]" + (f".{self.column}" if self.column else "")


@dataclass(slots=True)
class TypedTable:
    """One table: contract columns of one length, None where missing."""

    name: str
    columns: dict[str, list[Any]]
    rows: list[dict[str, Any]]
    """As sent, with the contract's spelling of its columns; of leads and accounts without e-mail
    addresses, so that attributes can be read."""
    numbers: list[int] = field(default_factory=list)
    "Place of each row in the request."

    def keep(self, is_kept: Sequence[bool]) -> None:
        """Keep the rows of which `is_kept` says so."""
        if not all(is_kept):
            self.columns = {name: [*compress(v, is_kept)] for name, v in self.columns.items()}
            self.rows = [*compress(self.rows, is_kept)]
            self.numbers = [*compress(self.numbers, is_kept)]


class RowReader:
    """Reads tables and collects their problems; `now` is microseconds since 1970."""

    def __init__(self, now: int) -> None:
        self.latest = now + SKEW
        self.newest = 0
        "The newest instant of any row."
        self.problems: list[Problem] = []

    def read(self, name: str, rows: list[Any], needs_dates: bool = True) -> TypedTable:
        """Return the rows of table `name` as columns; `needs_dates` of leads: when created."""
        spec = CONTRACT[name]
        if not rows:
            return TypedTable(name, {column: [] for column in spec.required}, [])
        if not all([row.__class__ is dict for row in rows]):  # noqa: C419  # twice as fast
            for number, row in enumerate(rows):
                if not isinstance(row, dict):
                    self._say(name, number, None, "is no object with columns")
            rows = [row if isinstance(row, dict) else {} for row in rows]
        given = _spelled(name, rows)
        columns: dict[str, list[Any]] = {}
        for column, kind in {**spec.required, **spec.optional}.items():
            if column in spec.required or (column in given and column != "closed_at"):
                columns[column] = self._column(name, rows, column, kind)
        if not needs_dates:
            columns.pop("created_at", None)
        for column in spec.required:
            if column in columns and None in columns[column]:
                self._missing(name, column, columns[column])
        if name == "opportunities":
            self._close(rows, columns)
        self._record(spec, rows, columns, given)
        if spec.has_attributes:
            self._clean_attributes(spec.name, rows, given)
        return TypedTable(name, columns, rows, list(range(len(rows))))

    def _say(self, table: str, row: int, column: str | None, text: str) -> None:
        self.problems.append(Problem(table, row, column, text))

    def _missing(self, table: str, column: str, values: list[Any]) -> None:
        said = {(p.row, p.column) for p in self.problems if p.table == table}
        for number, value in enumerate(values):
            if value is None and not {(number, column), (number, None)} & said:
                self._say(table, number, column, "is missing")

    def _column(self, table: str, rows: list[dict[str, Any]], column: str, kind: str) -> list[Any]:
        read = read_word if (table, column) in _WORDS else READERS[kind]
        cells = [row.get(column) for row in rows]
        values: list[Any]
        try:
            if kind == "instant":
                values = read_instants(cells)
            elif {*map(type, cells)} <= _TEXTS:  # few, and often the same
                distinct = {cell: None if cell is None else read(cell) for cell in {*cells}}
                values = [distinct[cell] for cell in cells]
            else:
                values = [None if cell is None else read(cell) for cell in cells]
        except CellError:
            values = [self._cell(table, number, column, cell, read) for number, cell in
                      enumerate(cells)]  # fmt: skip
        if kind == "instant":
            self._refuse_future(table, column, values)
        return values

    def _cell(
        self, table: str, row: int, column: str, cell: Any, read: Callable[[Any], Any]
    ) -> Any:
        try:
            return None if cell is None else read(cell)
        except CellError as error:
            self._say(table, row, column, str(error))
            return None

    def _refuse_future(self, table: str, column: str, values: list[int | None]) -> None:
        latest = max((value for value in values if value is not None), default=0)
        if latest > self.latest:
            for number, value in enumerate(values):
                if value is not None and value > self.latest:
                    self._say(table, number, column, "lies in the future; plans are not events")
                    values[number] = None
            latest = max((value for value in values if value is not None), default=0)
        self.newest = max(self.newest, latest)

    def _close(self, rows: list[dict[str, Any]], columns: dict[str, list[Any]]) -> None:
        """Check stages, and read `closed_at` of closed opportunities: of open ones it is a plan."""
        name, stages = "opportunities", columns["stage"]
        closing = [{} if stage == "open" else row for stage, row in zip(stages, rows, strict=True)]
        closed = columns["closed_at"] = self._column(name, closing, "closed_at", "instant")
        said = {p.row for p in self.problems if p.table == name}
        for number, stage in enumerate(stages):
            if number in said:
                continue
            created, at = columns["created_at"][number], closed[number]
            if stage not in OPPORTUNITY_STAGES:
                known = ", ".join(OPPORTUNITY_STAGES)
                self._say(name, number, "stage", f"is none of {known}")
            elif stage != "open" and at is None:
                self._say(name, number, "closed_at", "is missing: the opportunity is closed")
            elif at is not None and at < (
                created // DAY * DAY if _is_day(rows[number], "closed_at") else created
            ):
                self._say(name, number, "closed_at", "lies before created_at")

    def _record(
        self,
        spec: TableSpec,
        rows: list[dict[str, Any]],
        columns: dict[str, list[Any]],
        given: set[str],
    ) -> None:
        """Fill `recorded_at` where it says more than the row's own time.

        A day without time of day is over, and known, at the next 00:00.
        """
        own = columns.get(spec.own_time or "")
        days = [] if own is None else _days(rows, str(spec.own_time))
        recorded: list[int | None] = [None] * len(rows)
        is_given = "recorded_at" in given
        if is_given:
            recorded = self._column(spec.name, rows, "recorded_at", "instant")
        if spec.name == "opportunities":
            return _record_opportunities(rows, columns, recorded, days)
        for number in _days(rows, "recorded_at") if is_given else ():
            if (at := recorded[number]) is not None:
                recorded[number] = at + DAY
        for number in days:
            if recorded[number] is None and own is not None and own[number] is not None:
                recorded[number] = own[number] + DAY
        if is_given or days:
            columns["recorded_at"] = recorded
        if spec.name == "opportunity_leads":  # as old as its opportunity
            columns["recorded_at"] = [ALWAYS if at is None else at for at in recorded]

    def _clean_attributes(self, name: str, rows: list[dict[str, Any]], given: set[str]) -> None:
        """Refuse what no attribute can hold, and put domains in the place of addresses."""
        known = _KNOWN[name] - {"source"}
        addresses: dict[str, list[dict[str, Any]]] = {}
        for number, row in enumerate(rows):
            for column, cell in row.items():
                if cell.__class__ is str:
                    if len(cell) > LONGEST_TEXT or "\0" in cell:
                        if column not in known:
                            self._attribute(name, number, cell)
                    elif "@" in cell and column not in known and domain_of(cell):
                        addresses.setdefault(column, []).append(row)
                elif column not in known and cell is not None and cell.__class__ is not bool:
                    self._attribute(name, number, cell)
        named = [one for one in given if "mail" in one.lower() and one != EMAIL_DOMAIN]
        if addresses or named:
            _keep_domains(rows, addresses, named)

    def _attribute(self, table: str, row: int, cell: Any) -> None:
        if cell.__class__ is int and -(10**30) < cell < 10**30:
            return
        try:
            read_category(cell)
        except CellError as error:
            self._say(table, row, None, f"an attribute {error}")


def _record_opportunities(
    rows: list[dict[str, Any]],
    columns: dict[str, list[Any]],
    recorded: list[int | None],
    days: Sequence[int],
) -> None:
    """Fill when the creation and the closing were known: never before either was recorded."""
    created_on, closed_on, on = (set(days), set(_days(rows, "closed_at")),
                                 set(_days(rows, "recorded_at")))  # fmt: skip

    def known(values: list[int | None], on: set[int]) -> list[int | None]:
        return [
            None if at is None else max(at + DAY * (number in on), recorded[number] or ALWAYS)
            for number, at in enumerate(values)
        ]

    # of repeated ones the newest counts, by this
    columns["recorded_at"] = [
        at if at is None
        else at + DAY * (number in created_on) if given is None
        else max(at, given + DAY * (number in on))
        for number, (at, given) in enumerate(zip(columns["created_at"], recorded, strict=True))
    ]  # fmt: skip
    columns["created_recorded_at"] = known(columns["created_at"], created_on)
    columns["closed_recorded_at"] = known(columns["closed_at"], closed_on)


def _spelled(name: str, rows: list[dict[str, Any]]) -> set[str]:
    """Return the columns of any row; those of the contract get its upper and lower case."""
    given, known = set().union(*rows), _KNOWN[name]
    for column in given - known:
        if (folded := column.casefold()) in known:
            given.add(folded)
            for row in rows:
                if column in row:
                    row.setdefault(folded, row.pop(column))
    return given


def _is_day(row: dict[str, Any], column: str) -> bool:
    """Return whether a readable instant has no time of day."""
    cell = row.get(column)
    return isinstance(cell, str) and ":" not in cell


def _days(rows: Iterable[dict[str, Any]], column: str) -> list[int]:
    """Return the rows whose instant is a day."""
    cells = [row.get(column) for row in rows]
    try:
        if all([":" in cell for cell in cells]):  # type: ignore[operator]  # noqa: C419
            return []
    except TypeError:  # some are missing
        pass
    return [n for n, cell in enumerate(cells) if isinstance(cell, str) and ":" not in cell]


def _keep_domains(
    rows: list[dict[str, Any]], addresses: dict[str, list[dict[str, Any]]], named: list[str]
) -> None:
    """Drop addresses, leaving the domain of the column that the loader would take.

    The likeliest by its name that is not filled with something else, else one that holds mostly
    addresses. A row's own domain stands.
    """

    def filled(column: str) -> int:
        return sum(row.get(column) not in (None, "") for row in rows)

    usual = [(place, name) for name in named if (place := usual_place(name)) is not None]
    likely = [name for _, name in sorted(usual) if name in addresses or not filled(name)]
    likely += [name for name, held in addresses.items() if len(held) > MOSTLY * filled(name)]
    for row in rows if likely else ():
        if likely[0] in row:
            cell = row[likely[0]]
            row.setdefault(EMAIL_DOMAIN, domain_of(cell) if isinstance(cell, str) else None)
    for column, held in addresses.items():
        for row in held:
            del row[column]
