"""The tables of a request, column by column, and those of several requests as one.

To prepare and walk the rows of one request takes mostly calls, which many requests can share. Their
people know nothing of one another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

Rows = Mapping[str, Sequence[Any]]
"One table: column -> values. Instants are microseconds since 1970; None is missing."
Parts = Sequence[Mapping[str, Rows]]
"The tables of each request."

IDS = {
    "leads": ("lead_id", "account_id", "merged_into"),
    "accounts": ("account_id",),
    "engagement_events": ("lead_id",),
    "opportunities": ("opportunity_id", "lead_id", "account_id"),
    "opportunity_leads": ("opportunity_id", "lead_id"),
    "stage_changes": ("lead_id",),
}
"Ids that link the rows of a table to others; the first one stands for the row."
_DIGITS = 4


def own_id(part: int, one: str) -> str:
    """Return an id of one part as `together` has it.

    >>> own_id(3, "a"), plain_id(own_id(3, "a"))
    ('0003a', 'a')
    """
    return f"{part:0{_DIGITS}}{one}"


def plain_id(one: str) -> str:
    """Return the reverse of `own_id`."""
    return one[_DIGITS:]


def likeness(tables: Mapping[str, Rows]) -> tuple[frozenset[str], bool]:
    """Return what tables must share to be put together: what is unknown of all their leads.

    A table that is not there is unknown, an empty one empty; and leads whose rows are not dated
    are known always, those with a missing date since they were created.
    """
    return frozenset(tables), "recorded_at" in tables["leads"]


def together(parts: Parts) -> dict[str, Rows]:
    """Return the tables of parts as one, every id made one of its part only.

    The parts must be alike (`likeness`), and the account of each lead be in its `account_id`.
    """
    if len({likeness(part) for part in parts}) > 1 or len(parts) >= 10**_DIGITS:
        raise ValueError("parts of different tables, or too many of them, are not put together")
    found: dict[str, Rows] = {}
    for name in parts[0]:
        tables = [part[name] for part in parts]
        columns = _columns(name, tables)
        for column in IDS[name]:
            if column in columns:
                columns[column] = _joined(
                    _own_ids(part, rows.get(column) or _nothing(name, rows))
                    for part, rows in enumerate(tables)
                )
        found[name] = columns
    return found


def _columns(name: str, tables: Sequence[Rows]) -> dict[str, Sequence[Any]]:
    first = tables[0].keys()
    if all([rows.keys() == first for rows in tables]):  # noqa: C419  # twice as fast
        return {column: _joined([rows[column] for rows in tables]) for column in first}
    return {
        column: _joined([rows.get(column) or _nothing(name, rows) for rows in tables])
        for column in dict.fromkeys(chain.from_iterable(tables))
    }


def _own_ids(part: int, ids: Sequence[str | None]) -> Iterable[str | None]:
    own: dict[str | None, str | None] = {
        one: None if one is None else own_id(part, one) for one in {*ids}
    }
    return map(own.__getitem__, ids)


def _joined(columns: Iterable[Iterable[Any]]) -> list[Any]:
    return [*chain.from_iterable(columns)]


def _nothing(name: str, rows: Rows) -> list[None]:
    return [None] * len(rows[IDS[name][0]])
