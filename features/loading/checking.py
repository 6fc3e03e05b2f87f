"""One raw table of the contract, typed, timed and checked: DuckDB's `kept_TABLE`."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

import duckdb
import pandas as pd

from features.errors import InputError
from features.loading.cells import (
    FLOATS,
    INSTANTS,
    INTEGERS,
    category,
    infer_types,
    is_nested,
    quoted,
    typed_column,
)
from features.loading.emails import without_addresses
from features.loading.files import section
from features.loading.load_report import MOST_REJECTS_KEPT, Note
from features.loading.reading import RawTable
from features.loading.rules import Rule, apply_rules, bad, day, rules_of
from features.tables import Kind, TableSpec

# More than a handful of instants that are all at 00:00:00 are dates in a timestamp's clothes.
FEWEST_MIDNIGHTS = 20

# Accounts without `recorded_at` were always known.
ALWAYS = "timestamp '1900-01-01'"
SQL_TYPES: dict[Kind, str] = {
    "id": "varchar",
    "text": "varchar",
    "instant": "timestamp",
    "number": "double",
}
# Columns whose values are words of the contract: `Closed Won` is `closed_won`.
VOCABULARY = {("opportunities", "stage"), ("stage_changes", "stage"), ("verdicts", "verdict")}


@dataclass(frozen=True)
class CheckedTable:
    """What `check_table` made of a raw table; the rows are in DuckDB's `kept_TABLE`."""

    spec: TableSpec
    raw: RawTable
    rules: list[Rule]
    rejected: dict[str, int]
    notes: list[Note]
    attributes: list[str]
    has_recorded_at: bool

    @property
    def is_current_state(self) -> bool:
        """Whether attributes cannot be dated: one row per id and no `recorded_at`."""
        return self.spec.has_attributes and not self.has_recorded_at


def check_table(
    connection: duckdb.DuckDBPyConnection, spec: TableSpec, raw: RawTable, now: pd.Timestamp
) -> CheckedTable:
    """Make `kept_TABLE` from a raw table and return what was found on the way."""
    given = _match_columns(spec, raw)
    attributes, notes = attribute_columns(connection, raw, set(given.values()))
    if not spec.has_attributes:
        notes = [_unused(list(attributes))] if attributes else []
        attributes = {}
    _make_typed(connection, spec, raw, given, attributes)
    notes += _make_timed(connection, spec, "recorded_at" in given)
    kinds: dict[str, Kind] = {**spec.required, **spec.optional}
    texts = [name for name, kind in kinds.items() if kind in ("id", "text") and name in given]
    texts += [name for name, (_, dtype) in attributes.items() if dtype == "category"]
    columns = [*kinds, *attributes, "recorded_at"]
    moment = f"timestamp '{now.isoformat(sep=' ')}'"
    rules = rules_of(spec, columns, texts, "recorded_at" in given, moment)
    rejected = {"malformed_line": raw.malformed_count} if raw.malformed_count else {}
    rejected |= apply_rules(connection, spec.name, rules if raw.row_count else [])
    notes += _make_kept(connection, spec, columns)
    has_recorded_at = "recorded_at" in given
    return CheckedTable(spec, raw, rules, rejected, notes, list(attributes), has_recorded_at)


def _match_columns(spec: TableSpec, raw: RawTable) -> dict[str, str]:
    """Return contract column -> source column; upper and lower case do not matter."""
    folded = {name.casefold(): name for name in raw.columns}
    wanted = [*spec.required, *spec.optional, "recorded_at"]
    given = {name: folded[name] for name in wanted if name in folded}
    missing = [name for name in spec.required if name not in given]
    if missing:
        raise InputError(
            f"{spec.name} ({raw.source}) lacks the column{'s' * (len(missing) > 1)}"
            f" {', '.join(missing)}. {describe_columns(list(raw.columns), missing)}"
            f' Name them in SQL: {section(spec.name)} sql = "select Id as {missing[0]}, ..."'
        )
    return given


def describe_columns(columns: list[str], missing: list[str]) -> str:
    """Return the columns found, unless the first line of the file looks like a row of data."""
    if not all(re.fullmatch(r"[^\W\d][\w ./()%#-]{0,60}", name) for name in columns):
        return "The first line of the file does not look like column names."
    folded = {name.casefold(): name for name in columns}
    close = [
        folded[match]
        for name in missing
        for match in difflib.get_close_matches(name, folded, n=1, cutoff=0.5)
    ]
    shown = list(dict.fromkeys([*close, *columns]))[:8]
    more = f" and {len(columns) - len(shown)} more" if len(columns) > len(shown) else ""
    return f"Found: {', '.join(shown)}{more}."


def attribute_columns(
    connection: duckdb.DuckDBPyConnection, raw: RawTable, used: set[str], since: str = "created_at"
) -> tuple[dict[str, tuple[str, str]], list[Note]]:
    """Return attribute -> (SQL, "number" or "category") for the columns not in `used`, and notes.

    A text column is a number when every filled cell is one and none looks like a code. Dates
    and nested values are no features as they are: left out by name, with the way out. Of e-mail
    addresses only the domain and a hash stay.
    """
    rest = [name for name in raw.columns if name not in used]
    if not rest:
        return {}, []
    listed = ", ".join(quoted(name) for name in rest)
    inferred = infer_types(connection, f"(select {listed} from {raw.relation})")
    attributes: dict[str, tuple[str, str]] = {}
    dates, nested = [], []
    for name in rest:
        kind = inferred[name]
        if is_nested(raw.columns[name]):
            nested.append(name)
        elif kind.startswith(INSTANTS):
            dates.append(name)
        elif kind in INTEGERS or kind.startswith(FLOATS):
            attributes[name] = (typed_column(name, raw.columns[name], "number").value, "number")
        else:
            attributes[name] = (category(name, raw.columns[name]), "category")
    attributes, notes = without_addresses(connection, raw, attributes)
    if dates:
        text = f"no feature as it is; for its age: date_diff('day', column, {since}) in SQL"
        notes.append(Note("date_column_not_used", len(dates), f"{', '.join(dates)}: {text}"))
    if nested:
        notes.append(Note("nested_column_not_used", len(nested), ", ".join(nested)))
    return attributes, notes


def _unused(columns: list[str]) -> Note:
    return Note("column_not_used", len(columns), ", ".join(columns))


def _make_typed(
    connection: duckdb.DuckDBPyConnection,
    spec: TableSpec,
    raw: RawTable,
    given: dict[str, str],
    attributes: dict[str, tuple[str, str]],
) -> None:
    """Make `typed_TABLE`: row, the contract's columns, flags for bad cells, the attributes."""
    kinds: dict[str, Kind] = {**spec.required, **spec.optional, "recorded_at": "instant"}
    cells = ["rowid as row"]
    for name, kind in kinds.items():
        if name not in given:
            cells.append(f"null::{SQL_TYPES[kind]} as {name}")
            typed = None
        else:
            typed = typed_column(given[name], raw.columns[given[name]], kind)
            value = typed.value
            if (spec.name, name) in VOCABULARY:
                cells.append(f'{value} as "said:{name}"')  # for messages: the user's own spelling
                value = f"regexp_replace(lower({value}), '[ -]+', '_', 'g')"
            cells.append(f"{value} as {name}")
        if kind in ("instant", "number"):
            cells.append(f"{typed.is_bad if typed else 'false'} as {bad(name)}")
        if kind == "instant":
            cells.append(f"{typed.is_day if typed else 'false'} as {day(name)}")
    cells += [f"{sql} as {quoted(name)}" for name, (sql, _) in attributes.items()]
    connection.execute(
        f"create table typed_{spec.name} as select {', '.join(cells)} from {raw.relation}"
    )


def _make_timed(
    connection: duckdb.DuckDBPyConnection, spec: TableSpec, has_recorded_at: bool
) -> list[Note]:
    """Make the view `timed_TABLE`: `recorded_at` filled, and day flags for columns of dates."""
    notes = []
    days = {}
    for name in [spec.own_time, "closed_at" if spec.name == "opportunities" else None]:
        if name is not None:
            found = connection.execute(
                f"select count({name}) filter (where {day(name)}), count({name}),"
                f" bool_and({name} = date_trunc('day', {name})) from typed_{spec.name}"
            ).fetchone()
            assert found is not None
            is_dates = found[1] >= FEWEST_MIDNIGHTS and found[2]
            days[name] = "true" if is_dates else day(name)
            if found[0] or is_dates:
                text = f"{name} without time of day is known from the next 00:00 on"
                notes.append(Note("no_time_of_day", found[1] if is_dates else found[0], text))
    own = spec.own_time
    given = _known("recorded_at", day("recorded_at"))
    if own is not None:
        # Known before it happened is a clock ahead, or a plan: it counts from when it happened.
        recorded = f"greatest(coalesce({given}, {_known(own, days[own])}), {own})"
        source = f"typed_{spec.name}"
    elif spec.name == "opportunity_leads":
        recorded = f"coalesce({given}, created_recorded_at)"
        source = (
            "(select rows.*, created_recorded_at from typed_opportunity_leads rows"
            " left join kept_opportunities using (opportunity_id))"
        )
    else:
        recorded, source = f"coalesce({given}, {ALWAYS})", f"typed_{spec.name}"
    replaced = [f"{recorded} as recorded_at"]
    replaced += [f"{flag} as {day(name)}" for name, flag in days.items()]
    connection.execute(
        f"create view timed_{spec.name} as select * replace ({', '.join(replaced)}),"
        f' recorded_at as "given:recorded_at" from {source}'
    )
    if own is not None and has_recorded_at:
        early = connection.execute(
            f"select count(*) from typed_{spec.name} where {given} < {own}"
        ).fetchone()
        if early and early[0]:
            text = f"recorded_at lies before {own}; counted as known from {own} on"
            notes.append(Note("recorded_before_occurred", early[0], text))
    return notes


def _known(column: str, is_day: str) -> str:
    """Return SQL for the instant from which a value of `column` is known."""
    return f"case when {is_day} then {column} + interval 1 day else {column} end"


def _make_kept(
    connection: duckdb.DuckDBPyConnection, spec: TableSpec, columns: list[str]
) -> list[Note]:
    """Make `kept_TABLE`: the rows that break no rule, with the columns that are handed on."""
    cells = ["row", *(quoted(name) for name in columns)]
    notes = []
    if spec.name == "leads":
        changed = connection.execute(
            "select count(*) from (from remaining_leads select lead_id group by lead_id"
            " having min(created_at) <> max(created_at))"
        ).fetchone()
        if changed and changed[0]:
            text = "leads whose history has several created_at; the earliest counts"
            notes.append(Note("created_at_changes", changed[0], text))
            cells[cells.index('"created_at"')] = (
                "min(created_at) over (partition by lead_id) as created_at"
            )
    if spec.name == "opportunities":
        closed = f'greatest({_known("closed_at", day("closed_at"))}, "given:recorded_at")'
        cells[cells.index('"closed_at"')] = "case when stage <> 'open' then closed_at end closed_at"
        created = f'greatest({_known("created_at", day("created_at"))}, "given:recorded_at")'
        cells.append(f"{created} as created_recorded_at")
        cells.append(f"case when stage <> 'open' then {closed} end as closed_recorded_at")
    order = f"order by {spec.key}, recorded_at" if spec.key else ""
    connection.execute(
        f"create table kept_{spec.name} as select {', '.join(cells)}"
        f" from remaining_{spec.name} {order}"
    )
    return notes


def rejected_rows(connection: duckdb.DuckDBPyConnection, table: str, raw: RawTable) -> pd.DataFrame:
    """Return the rows set aside as they were read, with the rule and the row counted from 1."""
    rows = connection.execute(
        f"select rule, rejected.row + 1 as row, raw.* from rejected_{table} as rejected"
        f" join {raw.relation} as raw on raw.rowid = rejected.row"
        " qualify row_number() over (partition by rule order by rejected.row)"
        f" <= {MOST_REJECTS_KEPT} order by rejected.row"
    ).to_arrow_table()
    frame: pd.DataFrame = rows.to_pandas()
    if raw.malformed:
        lines = pd.DataFrame(raw.malformed, columns=["row", "line"])
        frame = pd.concat([frame, lines.assign(rule="malformed_line")], ignore_index=True)
    return frame
