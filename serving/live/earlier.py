"""What of a request was known before an earlier instant: rows recorded later are taken away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any

from features.request_tables import IDS, Rows

_LINKS = {**IDS, "leads": (*IDS["leads"], "email_domain")}
_KINDS = {"merged_into": "lead_id", "email_domain": "account_id"}
_OWN = {"engagement_events": "occurred_at", "stage_changes": "changed_at", "leads": "created_at"}


def earlier(tables: Mapping[str, Rows], instant: int, lead_id: str) -> dict[str, Rows] | None:
    """Return the rows known before `instant`; None if all of them were.

    Attributes have no part in it: all rows of the lead and of accounts stay, and the lead counts as
    known since it was created. A deal whose closing was recorded later is open.
    """
    kept: dict[str, Rows] = {}
    is_same = True
    for name, rows in tables.items():
        kept[name] = rows
        is_known = _is_known(name, rows, instant, lead_id)
        if is_known is not None and not all(is_known):
            kept[name] = {column: [*compress(v, is_known)] for column, v in rows.items()}
            is_same = False
    deals = kept.get("opportunities", {})
    closings = deals.get("closed_recorded_at", ())
    if any(at is not None and at >= instant for at in closings):
        kept["opportunities"], is_same = _reopened(deals, instant), False
    leads = kept["leads"]
    since = [recorded for one, recorded in zip(leads["lead_id"], leads.get("recorded_at", ()),
                                               strict=False) if one == lead_id]  # fmt: skip
    if since and min(at or 0 for at in since) >= instant:
        kept["leads"], is_same = _known_since_creation(leads, lead_id), False
    return None if is_same else kept


def _is_known(name: str, rows: Rows, instant: int, lead_id: str) -> list[bool] | None:
    """Return which rows were known before the instant, None where all stay."""
    if name == "accounts" or not rows[_LINKS[name][0]]:
        return None
    if name == "opportunities":
        return [at < instant for at in rows["created_recorded_at"]]
    if name == "opportunity_leads":
        return [at < instant for at in rows["recorded_at"]]
    is_known = [at < instant for at in rows[_OWN[name]]]
    if "recorded_at" in rows:
        recorded = [at is None or at < instant for at in rows["recorded_at"]]
        is_known = [a and b for a, b in zip(is_known, recorded, strict=True)]
    if name == "leads":
        is_known = [a or one == lead_id for a, one in zip(is_known, rows["lead_id"], strict=True)]
    return is_known


def _reopened(deals: Rows, instant: int) -> Rows:
    is_closed = [at is not None and at < instant for at in deals["closed_recorded_at"]]
    changed: dict[str, Sequence[Any]] = {
        "stage": [
            stage if closed else "open"
            for stage, closed in zip(deals["stage"], is_closed, strict=True)
        ]
    }
    for name in ("closed_at", "closed_recorded_at"):
        changed[name] = [
            at if closed else None for at, closed in zip(deals[name], is_closed, strict=True)
        ]
    return {**deals, **changed}


def _known_since_creation(leads: Rows, lead_id: str) -> Rows:
    """Return `leads` with the first row of the lead known from its creation on."""
    recorded = [*leads["recorded_at"]]
    own = [row for row, one in enumerate(leads["lead_id"]) if one == lead_id]
    first = min(own, key=lambda row: recorded[row] or 0)
    recorded[first] = leads["created_at"][first]
    return {**leads, "recorded_at": recorded}


def recorded_before(tables: Mapping[str, Rows], instant: int, lead_id: str) -> dict[str, Rows]:
    """Return the rows with all that is said of the lead recorded before `instant`."""
    leads = tables["leads"]
    recorded = [*leads["recorded_at"]]
    own = [row for row, one in enumerate(leads["lead_id"]) if one == lead_id]
    late = sorted((recorded[row] or 0, row) for row in own if (recorded[row] or 0) >= instant)
    for place, (_, row) in enumerate(late):
        recorded[row] = instant - len(late) + place
    return {**tables, "leads": {**leads, "recorded_at": recorded}}


def _links(name: str, rows: Rows) -> list[tuple[str, Sequence[Any]]]:
    """Return the columns of a table that link its rows to others, by what they name."""
    return [
        (_KINDS.get(column, column), rows[column]) for column in _LINKS[name] if rows.get(column)
    ]


class Parts:
    """The rows of a request by what is linked: a lead's part holds all that can concern it."""

    def __init__(self, tables: Mapping[str, Rows]) -> None:
        self._tables = tables
        self._parent: dict[tuple[str, str], tuple[str, str]] = {}
        self._cut: dict[tuple[str, str], dict[str, Rows]] = {}
        self._rows: dict[tuple[str, str], dict[str, list[int]]] = {}
        for name, rows in tables.items():
            columns = _links(name, rows)
            for row in range(len(rows[_LINKS[name][0]])):
                nodes = [(kind, ids[row]) for kind, ids in columns if ids[row] is not None]
                for node in nodes[1:]:
                    self._parent[self._root(node)] = self._root(nodes[0])
        for name, rows in tables.items():
            kind = _LINKS[name][0]
            for row, one in enumerate(rows[kind]):
                of_part = self._rows.setdefault(self._root((kind, one)), {})
                of_part.setdefault(name, []).append(row)

    def of(self, lead_id: str) -> tuple[tuple[str, str], dict[str, Rows], int]:
        """Return the part of a lead: what names it, its tables, and how many rows they have."""
        root = self._root(("lead_id", lead_id))
        chosen = self._rows[root]
        if root not in self._cut:
            self._cut[root] = {
                name: {
                    column: [values[row] for row in chosen.get(name, ())]
                    for column, values in rows.items()
                }
                for name, rows in self._tables.items()
            }
        return root, self._cut[root], sum(map(len, chosen.values()))

    def of_lead(self, lead_id: str) -> tuple[str, str]:
        """Return what names the part of a lead."""
        return self._root(("lead_id", lead_id))

    def of_row(self, name: str, row: int, unread: str | None) -> tuple[str, str] | None:
        """Return what names the part of a row; None if it may be any: the `unread` column links."""
        ids = [(kind, ids[row]) for kind, ids in _links(name, self._tables[name])]
        known = [one for one in ids if one[1] is not None]
        return self._root(known[0]) if known and unread not in _LINKS[name] else None

    def _root(self, node: tuple[str, str]) -> tuple[str, str]:
        path = []
        while (parent := self._parent.get(node, node)) != node:
            path.append(node)
            node = parent
        for one in path:
            self._parent[one] = node
        return node
