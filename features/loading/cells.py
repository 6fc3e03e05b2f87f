"""Turns a source's cells, text or typed, into the contract's kinds, as SQL expressions.

A cell that is filled but cannot be read becomes a missing value and a flag, so that a rule can
set its row aside by name; nothing here stops at a bad value.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from features.tables import Kind

SIGNED = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
INTEGERS = frozenset([*SIGNED, *(f"U{name}" for name in SIGNED)])
FLOATS = ("DOUBLE", "FLOAT", "DECIMAL")
INSTANTS = ("DATE", "TIMESTAMP")
NESTED = ("STRUCT", "MAP", "UNION", "BLOB", "BIT", "INTERVAL", "TIME")


@dataclass(frozen=True)
class TypedColumn:
    """SQL of one column of the contract."""

    value: str
    is_bad: str = "false"
    "True where a cell is filled but cannot be read."
    is_day: str = "false"
    "Instants: true where the cell has no time of day."


def quoted(name: str) -> str:
    """Return `name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return `text` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


# Text starts with a year of four digits, as in 2024-05-31 or 2024/5/31.
HAS_YEAR = "coalesce(substr({c}, 5, 1) in ('-', '/'), false)"


# DuckDB reads `14:00 Europe/Berlin`, and then each later cell without a zone as Berlin's time.
NAMES_ZONE = (
    "(regexp_matches(substr({c}, 12), '[A-Za-z]')"
    " and not regexp_full_match(substr({c}, 12), '[^A-Za-z]*(Z|UTC|GMT)', 'i'))"
)


def trimmed(cell: str) -> str:
    """Return the SQL of a cell as text without blanks around it; missing if nothing is left."""
    return f"nullif(trim({cell}::varchar, ' \t\r\n\u00a0'), '')"


def is_nested(column_type: str) -> bool:
    """Return whether a DuckDB type holds something else than one plain value."""
    is_instant = column_type.startswith(INSTANTS)
    return column_type.endswith("]") or (column_type.startswith(NESTED) and not is_instant)


def typed_column(name: str, column_type: str, kind: Kind) -> TypedColumn:
    """Return the SQL that reads column `name` of a DuckDB type as one of the contract's kinds."""
    cell = quoted(name)
    if kind == "instant":
        return _instant(cell, column_type)
    if kind == "number":
        return _number(cell, column_type)
    return TypedColumn(_text(cell, column_type, is_id=kind == "id"))


def category(name: str, column_type: str) -> str:
    """Return the SQL of a category: text, with `true` and `false` written one way."""
    value = _text(quoted(name), column_type, is_id=False)
    return f"case when lower({value}) in ('true', 'false') then lower({value}) else {value} end"


def _text(cell: str, column_type: str, is_id: bool) -> str:
    if column_type.startswith(FLOATS):
        # 10803.0 is how a column of whole numbers with gaps is exported.
        return (
            f"case when isnan({cell}::double) then null when {cell} = trunc({cell})"
            f" and abs({cell}) < 9007199254740992 then {cell}::bigint::varchar"
            f" else {cell}::varchar end"
        )
    text = trimmed(cell)
    if is_id and column_type not in INTEGERS:
        return (
            f"case when suffix({text}, '.0') then"
            f" regexp_replace({text}, '^(-?\\d+)\\.0$', '\\1') else {text} end"
        )
    return text


def _number(cell: str, column_type: str) -> TypedColumn:
    if column_type in INTEGERS or column_type.startswith(FLOATS) or column_type == "BOOLEAN":
        value, is_filled = f"{cell}::double", f"{cell} is not null"
    else:
        value = f"try_cast({trimmed(cell)} as double)"
        is_filled = f"{trimmed(cell)} is not null"
    finite = f"(case when isfinite({value}) then {value} end)"
    # NaN is how some exports write a missing number.
    is_nan = f"coalesce(isnan({value}), false)"
    return TypedColumn(finite, is_bad=f"({is_filled} and {finite} is null and not {is_nan})")


def _instant(cell: str, column_type: str) -> TypedColumn:
    if column_type == "TIMESTAMP WITH TIME ZONE":
        return _finite(cell, f"{cell} at time zone 'UTC'")
    if column_type.startswith(INSTANTS):
        return _finite(cell, f"{cell}::timestamp", "true" if column_type == "DATE" else "false")
    text = trimmed(cell)
    # Only the cast with zone honours an offset; the plain one is four times as fast.
    # Both would take 15/07/16 for a day in the year 15.
    has_year = HAS_YEAR.format(c=text)
    value = (
        f"(case when not {has_year} or {NAMES_ZONE.format(c=text)} then null"
        f" when length({text}) > 19 then try_cast({text} as timestamptz) at time zone 'UTC'"
        f" else try_cast({text} as timestamp) end)"
    )
    finite = f"(case when isfinite({value}) then {value} end)"
    return TypedColumn(
        finite,
        is_bad=f"({text} is not null and {finite} is null)",
        is_day=f"coalesce(length({text}) <= 10, false)",
    )


def _finite(cell: str, value: str, is_day: str = "false") -> TypedColumn:
    finite = f"(case when isfinite({cell}) then {value} end)"
    return TypedColumn(finite, f"({cell} is not null and not isfinite({cell}))", is_day)


# Type -> what a filled cell `{c}` must pass, in the order in which they are tried.
FITS = {
    "BIGINT": "regexp_full_match({c}, '[+-]?\\d+')",
    "DOUBLE": "coalesce(isfinite(try_cast({c} as double)), false)",
    "BOOLEAN": "lower({c}) in ('true', 'false')",
    "DATE": HAS_YEAR + " and length({c}) <= 10"
    " and coalesce(isfinite(try_cast({c} as date)), false)",
    "TIMESTAMP": HAS_YEAR + " and coalesce(isfinite(try_cast({c} as timestamp)), false)"
    " and (length({c}) <= 10 or not regexp_matches({c}, '[+-]\\d\\d(:?\\d\\d)?$|[A-Za-z]$'))",
    "TIMESTAMPTZ": HAS_YEAR + f" and case when {NAMES_ZONE} then false"
    " else coalesce(isfinite(try_cast({c} as timestamptz)), false) end",
}
# A number with a leading zero, or longer than a float can hold, is a code.
IS_CODE = "regexp_matches({c}, '^[+-]?0\\d|^[+-]?\\d{{16,}}$')"


def infer_types(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    """Return column -> type that every filled cell of it can be cast to.

    Text columns: BIGINT, DOUBLE, BOOLEAN, DATE, TIMESTAMP, TIMESTAMPTZ or VARCHAR (also for a
    column without any filled cell, and for numbers that are codes). Columns that are not text keep
    their type.
    """
    types = {row[0]: row[1] for row in connection.execute(f"describe {relation}").fetchall()}
    texts = [name for name, kind in types.items() if kind == "VARCHAR"]
    # A column that fits nothing at the start of the file fits nothing at all: not read again.
    at_start = _fitting(connection, f"(from {relation} limit 2000)", texts)
    undecided = [name for name in texts if at_start[name] != "VARCHAR"]
    fitting = at_start | _fitting(connection, relation, undecided)
    return types | {name: kind or "VARCHAR" for name, kind in fitting.items()}


def _fitting(
    connection: duckdb.DuckDBPyConnection, relation: str, columns: list[str]
) -> dict[str, str]:
    """Return column -> first type that fits, VARCHAR if none does, "" if no cell is filled."""
    if not columns:
        return {}
    parts = []
    for name in columns:
        cell = trimmed(quoted(name))
        tested = ", ".join(
            f'"{kind}" := bool_and({test.format(c=cell)}) filter (where {cell} is not null)'
            for kind, test in FITS.items()
        )
        parts.append(f"struct_pack(code := bool_or({IS_CODE.format(c=cell)}), {tested})")
    row = connection.execute(f"select {', '.join(parts)} from {relation}").fetchone()
    assert row is not None
    return {name: _first_fitting(found) for name, found in zip(columns, row, strict=True)}


def _first_fitting(found: dict[str, bool | None]) -> str:
    if found["DOUBLE"] is None:
        return ""
    numbers = ("BIGINT", "DOUBLE")
    fits = (kind for kind in FITS if found[kind] and not (found["code"] and kind in numbers))
    return next(fits, "VARCHAR")
