"""The body of `POST /v1/scores`: JSON in, checked rows out, and never an echo of what came in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from features.config import ServingConfig
from serving.live.cells import CellError, read_id, read_instant
from serving.live.rows import SKEW, TABLES
from serving.live.slices import RequestError as RequestError
from serving.live.slices import Slice, is_flat_slice, read_slice

MOST_REASONS = 50
MOST_CROSSINGS = 20
"Leads of a request that asks what would carry them over the cutoff: each is scored 300 times."
_SWITCHES = ("require_complete", "durable", "crossing")
_KEYS = ("as_of", "lead_ids", "reasons", *_SWITCHES, "tables")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one request may hold."""

    max_leads: int = 1_000
    "To be scored."
    max_rows: int = 50_000
    "All tables together."

    @classmethod
    def of(cls, config: ServingConfig) -> Limits:
        """Return the limits that are configured."""
        return cls(config.max_leads, config.max_rows)


@dataclass(slots=True)
class ScoreRequest:
    """A request that can be answered, at least for its good leads."""

    slice: Slice
    lead_ids: list[str]
    "To be scored, in the order of `leads`; some of them may turn out to have errors."
    as_of: int
    is_backfill: bool
    "Asked for an instant of the past."
    is_flat: bool
    reasons: int | None
    "How many are told of each lead; None for all."
    require_complete: bool
    durable: bool
    crossing: bool

    @property
    def n_rows(self) -> int:
        """How many rows it holds, all tables together."""
        return sum([len(table.rows) for table in self.slice.tables.values()])


def parse_request(body: bytes, now: int, limits: Limits = Limits()) -> ScoreRequest:
    """Return the request in `body`; `now` is microseconds since 1970.

    Errors of single leads are in `slice.errors`. Raises RequestError for anything else that is
    wrong: no JSON, unknown keys, too many leads or rows, an `as_of` in the future, a bad row that
    names nobody. Instants may be up to five minutes ahead of `now`.
    """
    asked = _read_json(body)
    if not isinstance(asked, dict):
        raise RequestError.at("body", "is no JSON object")
    if any(key not in _KEYS for key in asked):
        raise RequestError.at("body", f"has an unknown key; known are {', '.join(_KEYS)}")
    given = _as_of(asked.get("as_of"), now)
    reasons = _reasons(asked.get("reasons"))
    switches = {name: _switch(asked, name) for name in _SWITCHES}
    tables = _tables(asked.get("tables"), limits)
    is_flat = is_flat_slice(tables)
    found = read_slice(tables, now)
    lead_ids = _chosen(asked.get("lead_ids"), found)
    if len(lead_ids) > limits.max_leads:
        raise RequestError.at("tables.leads", f"has more than {limits.max_leads:,} leads to score")
    if switches["crossing"] and len(lead_ids) > MOST_CROSSINGS:
        raise RequestError.at("crossing", f"is for requests of at most {MOST_CROSSINGS} leads")
    return ScoreRequest(
        slice=found,
        lead_ids=lead_ids,
        # just after the newest row, so that what triggered the request counts
        as_of=max(now, found.newest + 1) if given is None else given,
        is_backfill=given is not None and given < now - SKEW,
        is_flat=is_flat,
        reasons=reasons,
        **switches,
    )


def _read_json(body: bytes) -> Any:
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        place = re.search(r"at (line \d+ column \d+)$", str(error))
        at = f" ({place[1]})" if place else ""
        raise RequestError.at(
            "body", f"is no readable JSON{at}: UTF-8, no NaN, no lone surrogates, at most 200 deep"
        ) from None


def _as_of(cell: Any, now: int) -> int | None:
    try:
        instant = None if cell is None else read_instant(cell)
    except CellError as error:
        raise RequestError.at("as_of", str(error)) from None
    if instant is not None and instant > now + SKEW:
        raise RequestError.at("as_of", "lies in the future; leave it out to score as of now")
    return instant


def _reasons(cell: Any) -> int | None:
    if cell is None:
        return 5
    if cell == "all":
        return None
    if cell.__class__ is not int or not 0 <= cell <= MOST_REASONS:
        raise RequestError.at("reasons", f'is neither a number from 0 to {MOST_REASONS} nor "all"')
    return int(cell)


def _switch(asked: dict[str, Any], name: str) -> bool:
    cell = asked.get(name)
    if cell is not None and cell.__class__ is not bool:
        raise RequestError.at(name, "is neither true nor false")
    return bool(cell)


def _tables(cell: Any, limits: Limits) -> dict[str, list[Any]]:
    if not isinstance(cell, dict):
        raise RequestError.at("tables", "is missing: an object of tables, each a list of rows")
    if any(name not in TABLES for name in cell):
        raise RequestError.at("tables", f"has an unknown table; known are {', '.join(TABLES)}")
    # null is no table: it is unknown, where [] is empty
    tables = {name: rows for name, rows in cell.items() if rows is not None}
    for name, rows in tables.items():
        if not isinstance(rows, list):
            raise RequestError.at(f"tables.{name}", "is no list of rows")
    if not tables.get("leads"):
        raise RequestError.at("tables.leads", "is missing or empty: the leads to score")
    if sum(map(len, tables.values())) > limits.max_rows:
        raise RequestError.at("tables", f"has more than {limits.max_rows:,} rows")
    return tables


def _chosen(cell: Any, found: Slice) -> list[str]:
    """Return the leads to score: those named, else all; never one that has an error already."""
    if cell is None:
        return [*found.places]
    if not isinstance(cell, list) or not cell:
        raise RequestError.at("lead_ids", "is no list of lead ids; leave it out to score all")
    wanted: set[str | None] = set()
    for place, one in enumerate(cell):
        try:
            wanted.add(None if one is None else read_id(one))
        except CellError as error:
            raise RequestError.at(f"lead_ids[{place}]", str(error)) from None
    if not wanted <= found.sent:
        raise RequestError.at("lead_ids", "names a lead that is not in tables.leads")
    return [lead for lead in found.places if lead in wanted]
