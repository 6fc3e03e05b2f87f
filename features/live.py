"""The live path: the snapshot of one lead from the few rows a request brings.

The rows become the same integer records as whole tables do, and all that follows is the same code.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from features.catalogue.catalogue import Catalogue
from features.facts.columns import Texts
from features.facts.histories import ALWAYS, NEVER, Int32s, Int64s
from features.facts.records import (
    UNKNOWN,
    AccountFrom,
    AccountRows,
    ChangeRows,
    ContactRows,
    EventRows,
    LeadRows,
    OpportunityRows,
    Records,
    millionths,
)
from features.fit.free_mail import is_free_mail
from features.kernel.plan import Plans
from features.kernel.streams import Matrix
from features.request_tables import Rows as Rows
from features.request_tables import together
from features.snapshots import Past


@dataclass(frozen=True)
class LiveSnapshots:
    """Makes snapshots of the features of one catalogue, compiled once."""

    catalogue: Catalogue
    plans: Plans

    @classmethod
    def of(cls, catalogue: Catalogue) -> LiveSnapshots:
        """Return the live path of `catalogue`."""
        return cls(catalogue, Plans.of(catalogue))

    def past(self, *parts: Mapping[str, Rows]) -> Past:
        """Return the past that the rows of requests tell, to be asked for features and standing.

        Each part: the contract's tables, rows of the leads and of their accounts' other leads. A
        table that is not among them is unknown, so its features are missing; an empty one is empty.
        Without `recorded_at` an event is known when it occurred, and the attributes of leads and
        accounts always. Several parts must be alike; the ids of the past are then `own_id`'s, and
        nobody knows of those of another part.
        """
        tables, account_from = parts[0], self.catalogue.account_from
        if len(parts) > 1:
            tables = together([_with_accounts(part, account_from) for part in parts])
            account_from = "account_id"
        records = records_of_rows(tables, account_from, self.plans.event_columns)
        return Past.of_records(records, self.catalogue, self.plans)

    def features(
        self, tables: Mapping[str, Rows], lead_ids: Sequence[str], as_of: int
    ) -> tuple[Matrix, dict[str, Texts]]:
        """Return the numbers of each lead, float32 (n_leads, n_numbers), and the categories.

        `tables` as in `past`. Missing numbers are NaN.
        """
        past = self.past(tables)
        code = {lead: code for code, lead in enumerate(past.columns.people.lead_ids)}
        leads = np.array([code[lead] for lead in lead_ids])
        return past.features(leads, np.full(len(leads), as_of))

    def snapshot(
        self, tables: Mapping[str, Rows], lead_id: str, as_of: int
    ) -> dict[str, float | str | None]:
        """Return the features of one lead by name: the numbers, then the categories."""
        matrix, categories = self.features(tables, [lead_id], as_of)
        numbers = dict(zip(self.plans.number_names, matrix[0].tolist(), strict=True))
        return numbers | {name: texts[0] for name, texts in categories.items()}


def records_of_rows(
    tables: Mapping[str, Rows], account_from: AccountFrom, event_columns: frozenset[str]
) -> Records:
    """Return plain rows as integers, as `records_of` does for tables."""
    leads, accounts = tables["leads"], tables.get("accounts", {})
    deals = tables.get("opportunities", {})
    lead_ids = sorted(set(leads["lead_id"]))
    lead_codes = {lead: code for code, lead in enumerate(lead_ids)}
    account_of_row = _account_column(leads, account_from)
    mentioned = {*account_of_row, *accounts.get("account_id", ()), *deals.get("account_id", ())}
    account_ids = sorted(mentioned - {None})
    account_codes = {account: code for code, account in enumerate(account_ids)}
    events = tables.get("engagement_events", _NO_EVENTS)
    changes = tables.get("stage_changes", _NO_CHANGES)
    stages = list(dict.fromkeys(changes["stage"]))
    changed = _instants(changes["changed_at"])
    channels = []
    if "channel" in event_columns:
        channels = sorted({*events.get("channel", ())} - {None})
    event_types, event_rows = _event_rows(events, channels, lead_codes, event_columns)
    return Records(
        lead_ids=lead_ids,
        account_ids=account_ids,
        leads=_lead_rows(leads, account_of_row, lead_codes, account_codes),
        accounts=AccountRows(
            _codes(accounts.get("account_id", ()), account_codes),
            _known(accounts, len(accounts.get("account_id", ()))),
        ),
        events=event_rows,
        opportunities=_opportunity_rows(deals, lead_codes, account_codes),
        contacts=_contact_rows(tables.get("opportunity_leads", {}), deals, lead_codes),
        changes=ChangeRows(
            _codes(changes["lead_id"], lead_codes),
            changed,
            _known_at(changes, changed),
            _places(changes["stage"], stages),
        ),
        attributes=_RowAttributes(tables),
        event_types=event_types,
        channels=channels,
        change_stages=stages,
        present=frozenset(tables),
    )


_NO_EVENTS: Rows = {"lead_id": (), "event_type": (), "occurred_at": ()}
_NO_CHANGES: Rows = {"lead_id": (), "stage": (), "changed_at": ()}


def _instants(values: Sequence[int | None], missing: int = NEVER) -> Int64s:
    try:
        return np.fromiter(values, np.int64, len(values))
    except TypeError:  # some are missing
        return np.array([missing if value is None else value for value in values], np.int64)


def _codes(ids: Sequence[str | None], codes: Mapping[str, int]) -> Int64s:
    if len(codes) == 1 and {*ids} == {*codes}:  # one lead alone, most often
        return np.zeros(len(ids), np.int64)
    return np.fromiter(map(_Codes(codes).__getitem__, ids), np.int64, len(ids))


class _Codes(dict[str | None, int]):
    """Codes by id, -1 for the others."""

    def __missing__(self, _: str | None) -> int:
        return -1


def _places(texts: Sequence[str], names: Sequence[str]) -> Int32s:
    place = {name: number for number, name in enumerate(names)}
    return np.fromiter(map(place.__getitem__, texts), np.int32, len(texts))


def _named(events: Rows, column: str, reads: frozenset[str], names: Iterable[str] = ()) -> Int32s:
    """Return the place of each value among `names`, those not in it as they come; -1 for none."""
    if column not in reads:
        return np.empty(0, np.int32)
    n_events = len(events["lead_id"])
    if not events.get(column):
        return np.full(n_events, -1, np.int32)
    return _coded(events[column], _numbered(names))


_NONE = 255  # a byte that stands for no text


def _coded(texts: Sequence[str | None], codes: dict[str | None, int]) -> Int32s:
    """Return the code of each text, -1 for None; with few codes by way of bytes, twice as fast."""
    codes[None] = _NONE
    try:
        letters = bytes(map(codes.__getitem__, texts))
        if len(codes) <= _NONE:  # else 255 may be the code of a text
            found = np.frombuffer(letters, np.uint8).astype(np.int32)
            if _NONE in letters:
                found[found == _NONE] = -1
            return found
    except ValueError:  # a code above 255
        pass
    codes[None] = -1
    return np.fromiter(map(codes.__getitem__, texts), np.int32, len(texts))


def _numbered(names: Iterable[str] = ()) -> defaultdict[str | None, int]:
    """Return the place of each name; one that is looked up and not there gets the next."""
    codes: defaultdict[str | None, int] = defaultdict(None, zip(names, count()))
    codes.default_factory = count(len(codes)).__next__
    return codes


def _known(rows: Rows, n_rows: int) -> Int64s:
    if "recorded_at" not in rows:
        return np.full(n_rows, ALWAYS)
    return _instants(rows["recorded_at"], missing=ALWAYS)


def _known_at(rows: Rows, own: Int64s) -> Int64s:
    """Return when each row was known: when it was recorded, but never before its own time."""
    if "recorded_at" not in rows:
        return own
    known = _instants(rows["recorded_at"], missing=ALWAYS)
    return np.maximum(known, own)


def _account_column(leads: Rows, account_from: AccountFrom) -> Sequence[str | None]:
    if account_from == "account_id":
        return leads.get("account_id") or [None] * len(leads["lead_id"])
    domains = [None if one is None else one.strip().lower() for one in leads["email_domain"]]
    return [None if domain is None or is_free_mail(domain) else domain for domain in domains]


def _with_accounts(tables: Mapping[str, Rows], account_from: AccountFrom) -> Mapping[str, Rows]:
    """Return the tables with the account of each lead in `account_id`."""
    if account_from == "account_id":
        return tables
    accounts = _account_column(tables["leads"], account_from)
    return {**tables, "leads": {**tables["leads"], "account_id": accounts}}


def _lead_rows(
    leads: Rows,
    account_of_row: Sequence[str | None],
    lead_codes: Mapping[str, int],
    account_codes: Mapping[str, int],
) -> LeadRows:
    created = _instants(leads["created_at"])
    recorded = _known_at(leads, created)
    return LeadRows(
        _codes(leads["lead_id"], lead_codes),
        created,
        recorded,
        recorded if "recorded_at" in leads else np.full(len(created), ALWAYS),
        _codes(account_of_row, account_codes),
        _codes(leads.get("merged_into") or [None] * len(created), lead_codes),
    )


def _event_rows(
    events: Rows,
    channels: Sequence[str],
    lead_codes: Mapping[str, int],
    reads: frozenset[str],
) -> tuple[list[str], EventRows]:
    occurred = _instants(events["occurred_at"])
    visible = _known_at(events, occurred)
    values = np.zeros(len(occurred), np.int64)
    if "value" in reads and "value" in events:
        values = millionths(np.array(events["value"], np.float64))
    of_type = _numbered()
    rows = EventRows(
        _codes(events["lead_id"], lead_codes),
        occurred,
        visible,
        _coded(events["event_type"], of_type),
        values,
        _named(events, "content", reads),
        _named(events, "campaign", reads),
        _named(events, "channel", reads, channels),
    )
    rows = rows if rows.leads.min(initial=0) >= 0 else rows.of_known_leads()
    return [name for name in of_type if name is not None], rows


def _opportunity_rows(
    deals: Rows, lead_codes: Mapping[str, int], account_codes: Mapping[str, int]
) -> OpportunityRows:
    n_deals = len(deals.get("created_at", ()))
    if not n_deals:  # as of most leads
        none = np.empty(0, np.int64)
        return OpportunityRows(none, none, none, none, np.empty(0, np.bool_), none, none)
    nothing = [None] * n_deals
    created = _instants(deals.get("created_at", ()))
    stages = deals.get("stage", nothing)
    # CRMs keep the expected date where a deal is open
    is_open = np.array([stage == "open" for stage in stages], bool)
    closed = np.where(is_open, NEVER, _instants(deals.get("closed_at", nothing)))
    closed_known = _known_at(deals, closed)
    if "closed_recorded_at" in deals:
        closed_known = _instants(deals["closed_recorded_at"])
    leads = deals.get("lead_id", nothing)
    return OpportunityRows(
        created,
        _instants(deals["created_recorded_at"])
        if "created_recorded_at" in deals
        else _known_at(deals, created),
        closed,
        np.where(is_open, NEVER, closed_known),
        np.array([stage == "closed_won" for stage in stages], bool),
        np.array([-1 if one is None else lead_codes.get(one, UNKNOWN) for one in leads], np.int64),
        _codes(deals.get("account_id", nothing), account_codes),
    )


def _contact_rows(contacts: Rows, deals: Rows, lead_codes: Mapping[str, int]) -> ContactRows:
    if not contacts.get("opportunity_id"):
        none = np.empty(0, np.int64)
        return ContactRows(none, none, none)
    place = {one: row for row, one in enumerate(deals.get("opportunity_id", ()))}
    opportunities = _codes(contacts.get("opportunity_id", ()), place)
    # a contact without a date is as old as its opportunity
    recorded = contacts.get("recorded_at", [ALWAYS] * len(opportunities))
    return ContactRows(
        opportunities, _codes(contacts.get("lead_id", ()), lead_codes), _instants(recorded)
    )


def _number(value: Any) -> float:
    try:
        return math.nan if value is None else float(value)
    except (TypeError, ValueError):
        return math.nan


@cache
def _place_of(stream: str) -> tuple[str, str, str]:
    """Return table, column and key of the table of an attribute such as `leads.source`."""
    owner, _, column = stream.partition(".")
    return owner, column, "lead_id" if owner == "leads" else "account_id"


class _RowAttributes:
    """Attribute columns of plain rows."""

    def __init__(self, tables: Mapping[str, Rows]) -> None:
        self._tables = tables

    def _column(self, stream: str) -> Sequence[Any]:
        owner, column, key = _place_of(stream)
        rows = self._tables.get(owner, {})
        return rows.get(column) or [None] * len(rows.get(key, ()))

    def numbers(self, streams: Sequence[str]) -> npt.NDArray[np.float32]:
        columns = [self._column(stream) for stream in streams]
        try:
            return np.array(columns, np.float32)
        except (TypeError, ValueError):  # texts among them are missing, as in a whole table
            return np.array([[_number(one) for one in column] for column in columns], np.float32)

    def values(self, stream: str) -> list[Any]:
        found = self._column(stream)
        return found if isinstance(found, list) else list(found)

    def texts(self, stream: str) -> list[str | None]:
        found = self._column(stream)
        return found if isinstance(found, list) else list(found)
