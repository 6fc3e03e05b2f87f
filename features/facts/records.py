"""The tables as plain integer columns: all that snapshots are computed from.

Leads and accounts are codes: positions among their sorted ids. Instants are int64 microseconds
since 1970, UTC, amounts millionths. Checked tables give them (batch), and so do the rows of one
request (live); what comes after is one code for both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from numba import njit

from features.errors import InputError
from features.facts.histories import ALWAYS, Bools, Int32s, Int64s, micros
from features.facts.lookup import Ids, codes_in
from features.fit.free_mail import is_free_mail
from features.tables import Tables

AccountFrom = Literal["account_id", "email_domain"]

UNKNOWN = -2
"Code of an id that is given but is nobody's; -1 stands for none given."
ALL_EVENT_COLUMNS = frozenset({"value", "content", "campaign", "channel"})
"Columns of events that only some features read."

# A value is counted in millionths and at most a billion, so that 9,000 of them fit in 64 bits.
_LARGEST_VALUE = 1e9


class LeadRows(NamedTuple):
    """The rows of `leads`, in any order; several of one lead are its history."""

    leads: Int64s
    created: Int64s
    recorded: Int64s
    known: Int64s
    "Since when the row's attributes are taken as known: ALWAYS in a current-state export."
    accounts: Int64s
    merged_into: Int64s


class AccountRows(NamedTuple):
    """The rows of `accounts`, in any order."""

    accounts: Int64s
    known: Int64s


class EventRows(NamedTuple):
    """Engagement events of known leads, in any order."""

    leads: Int64s
    occurred: Int64s
    visible: Int64s
    "When the event was known: never before it occurred."
    types: Int32s
    "Position in `Records.event_types`."
    values: Int64s
    contents: Int32s
    "Which content and campaign, -1 for none; as the channels, empty if nothing reads them."
    campaigns: Int32s
    channels: Int32s
    "Position in `Records.channels`, -1 for none."

    def of_known_leads(self) -> EventRows:
        """Return the events whose lead is known (not negative)."""
        known = self.leads >= 0

        def taken(codes: Int32s) -> Int32s:
            return codes[known] if len(codes) else codes

        return EventRows(
            self.leads[known],
            self.occurred[known],
            self.visible[known],
            self.types[known],
            self.values[known],
            taken(self.contents),
            taken(self.campaigns),
            taken(self.channels),
        )


class OpportunityRows(NamedTuple):
    """One entry per opportunity, in the order of the table."""

    created: Int64s
    created_known: Int64s
    closed: Int64s
    "NEVER where open."
    closed_known: Int64s
    won: Bools
    leads: Int64s
    "-1: names no lead, UNKNOWN: one that is not in leads."
    accounts: Int64s


class ContactRows(NamedTuple):
    """The rows of `opportunity_leads`."""

    opportunities: Int64s
    "Position in OpportunityRows, -1 if it is not there."
    leads: Int64s
    recorded: Int64s


class ChangeRows(NamedTuple):
    """Stage changes of known leads; the stage is in `Records.change_stages`."""

    leads: Int64s
    changed: Int64s
    known: Int64s
    stages: Int32s


class Attributes(Protocol):
    """The attribute columns of leads and accounts, row by row as in LeadRows and AccountRows."""

    def numbers(self, streams: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return columns of one table (`leads.NAME` or `accounts.NAME`), one a line.

        NaN where there is no number.
        """

    def texts(self, stream: str) -> pd.api.extensions.ExtensionArray | list[str | None]:
        """Return the column as text."""

    def values(self, stream: str) -> pd.Series | list[Any]:
        """Return the column as it is."""


class Records(NamedTuple):
    """The tables as integers."""

    lead_ids: Ids
    account_ids: Ids
    leads: LeadRows
    accounts: AccountRows
    events: EventRows
    opportunities: OpportunityRows
    contacts: ContactRows
    changes: ChangeRows
    attributes: Attributes
    event_types: Sequence[str]
    channels: Sequence[str]
    change_stages: Sequence[str]
    present: frozenset[str]
    "Tables the user has; a table that is not there is unknown, not empty."


def records_of(
    tables: Tables,
    account_from: AccountFrom = "account_id",
    event_columns: frozenset[str] = ALL_EVENT_COLUMNS,
) -> Records:
    """Return the tables as integers; of the events only `event_columns` besides the required."""
    lead_ids, account_ids, leads = lead_rows(tables, account_from)
    event_types, channels, events = _events(tables, lead_ids, event_columns)
    stages, changes = _changes(tables, lead_ids)
    return Records(
        lead_ids=lead_ids,
        account_ids=account_ids,
        leads=leads,
        accounts=AccountRows(
            codes_in(tables.accounts["account_id"], account_ids),
            np.full(len(tables.accounts), ALWAYS)
            if "accounts" in tables.current_state
            else micros(tables.accounts["recorded_at"]),
        ),
        events=events,
        opportunities=_opportunities(tables, lead_ids, account_ids),
        contacts=_contacts(tables, lead_ids),
        changes=changes,
        attributes=_TableAttributes(tables),
        event_types=event_types,
        channels=channels,
        change_stages=stages,
        present=tables.present,
    )


def lead_rows(tables: Tables, account_from: AccountFrom) -> tuple[pd.Index, pd.Index, LeadRows]:
    """Return the sorted ids of leads and accounts, and the rows of `leads` as integers."""
    leads = tables.leads
    lead_ids = _sorted_ids(leads["lead_id"])
    account_of_row = account_column(leads, account_from)
    mentioned = [account_of_row, tables.accounts["account_id"], tables.opportunities["account_id"]]
    account_ids = _sorted_ids(pd.concat(mentioned))
    recorded = micros(leads["recorded_at"])
    rows = LeadRows(
        codes_in(leads["lead_id"], lead_ids),
        micros(leads["created_at"]),
        recorded,
        np.full(len(recorded), ALWAYS) if "leads" in tables.current_state else recorded,
        codes_in(account_of_row, account_ids),
        codes_in(leads["merged_into"], lead_ids),
    )
    return lead_ids, account_ids, rows


def refuse_without_domain(columns: Iterable[str]) -> None:
    """Raise InputError if leads have no `email_domain` to make accounts of."""
    if "email_domain" not in columns:
        raise InputError(
            'leads has no column "email_domain", which [population] account_from = "email_domain" '
            'needs. Add it in [tables.leads], or use account_from = "account_id".'
        )


def account_column(leads: pd.DataFrame, account_from: AccountFrom) -> pd.Series:
    """Return the account of each row of leads: its id, or its e-mail domain, free mail excluded."""
    if account_from == "account_id":
        return leads["account_id"]
    refuse_without_domain(leads.columns)
    domains = leads["email_domain"].str.strip().str.lower()
    free = [domain for domain in domains.dropna().unique() if is_free_mail(domain)]
    return domains.where(~domains.isin(free))


def _sorted_ids(ids: pd.Series) -> pd.Index:
    # Loaders hand on leads sorted by id: then there is nothing to sort.
    index: pd.Index = pd.Index(ids.drop_duplicates().dropna())
    return index if index.is_monotonic_increasing else index.sort_values()


def _codes_and_names(texts: pd.Series) -> tuple[Int32s, pd.Index]:
    """Return the code of each text, -1 for missing ones, and what the codes stand for."""
    if isinstance(texts.dtype, pd.CategoricalDtype):
        return texts.cat.codes.to_numpy().astype(np.int32), texts.cat.categories
    codes, names = pd.factorize(texts)
    return codes.astype(np.int32), pd.Index(names)


def _events(
    tables: Tables, lead_ids: pd.Index, read: frozenset[str]
) -> tuple[list[str], list[str], EventRows]:
    """Return event types, channels by name, and the events of known leads."""
    events = tables.engagement_events
    leads = codes_in(events["lead_id"], lead_ids)
    occurred = micros(events["occurred_at"])
    visible = np.maximum(occurred, micros(events["recorded_at"]))
    types, names = _codes_and_names(events["event_type"])
    values = np.zeros(len(events), np.int64)
    if "value" in read:
        values = millionths(events["value"].to_numpy(np.float64))
    contents, campaigns = (
        _codes_and_names(events[name])[0] if name in read else np.empty(0, np.int32)
        for name in ("content", "campaign")
    )
    channels = np.empty(0, np.int32)
    channel_names: list[str] = []
    if "channel" in read:
        codes, found = _codes_and_names(events["channel"])
        order = np.argsort(found.to_numpy(dtype=object))
        ranks = np.append(np.argsort(order), -1).astype(np.int32)
        channels, channel_names = ranks[codes], [str(found[place]) for place in order]
    rows = EventRows(leads, occurred, visible, types, values, contents, campaigns, channels)
    rows = rows if leads.min(initial=0) >= 0 else rows.of_known_leads()
    return [str(name) for name in names], channel_names, rows


def millionths(values: npt.NDArray[np.float64]) -> Int64s:
    """Return amounts as integers that add up exactly; missing counts as nothing.

    >>> millionths(np.array([1.5, np.nan])).tolist()
    [1500000, 0]
    """
    return np.asarray(_millionths(values))


@njit(cache=True, nogil=True)
def _millionths(values):  # type: ignore[no-untyped-def]
    millionths = np.zeros(len(values), np.int64)
    for row in range(len(values)):
        if not np.isnan(values[row]):
            amount = min(max(values[row], -_LARGEST_VALUE), _LARGEST_VALUE)
            millionths[row] = np.int64(np.rint(amount * 1e6))
    return millionths


def _opportunities(tables: Tables, lead_ids: pd.Index, account_ids: pd.Index) -> OpportunityRows:
    rows = tables.opportunities
    leads = codes_in(rows["lead_id"], lead_ids)
    return OpportunityRows(
        micros(rows["created_at"]),
        micros(rows["created_recorded_at"]),
        micros(rows["closed_at"]),
        micros(rows["closed_recorded_at"]),
        (rows["stage"] == "closed_won").to_numpy(bool),
        np.where((leads < 0) & rows["lead_id"].notna().to_numpy(), UNKNOWN, leads),
        codes_in(rows["account_id"], account_ids),
    )


def _contacts(tables: Tables, lead_ids: pd.Index) -> ContactRows:
    rows = tables.opportunity_leads
    return ContactRows(
        codes_in(rows["opportunity_id"], pd.Index(tables.opportunities["opportunity_id"])),
        codes_in(rows["lead_id"], lead_ids),
        micros(rows["recorded_at"]),
    )


def _changes(tables: Tables, lead_ids: pd.Index) -> tuple[list[str], ChangeRows]:
    rows = tables.stage_changes
    changed = micros(rows["changed_at"])
    stages, names = pd.factorize(rows["stage"])
    changes = ChangeRows(
        codes_in(rows["lead_id"], lead_ids),
        changed,
        np.maximum(changed, micros(rows["recorded_at"])),
        stages.astype(np.int32),
    )
    return [str(name) for name in names], changes


class _TableAttributes:
    """Attribute columns read from the tables when first asked for."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def _column(self, stream: str) -> pd.Series | None:
        owner, _, column = stream.partition(".")
        table: pd.DataFrame = getattr(self._tables, owner)
        return table.get(column)

    def numbers(self, streams: Sequence[str]) -> npt.NDArray[np.float32]:
        table: pd.DataFrame = getattr(self._tables, streams[0].partition(".")[0])
        found = np.full((len(streams), len(table)), np.nan, np.float32)
        for line, stream in zip(found, streams, strict=True):
            column = self._column(stream)
            if column is not None:
                numbers = pd.to_numeric(column, errors="coerce")
                line[:] = numbers.to_numpy(np.float32, na_value=np.nan)
        return found

    def values(self, stream: str) -> pd.Series:
        column = self._column(stream)
        return pd.Series(self.texts(stream)) if column is None else column

    def texts(self, stream: str) -> pd.api.extensions.ExtensionArray:
        column = self._column(stream)
        if column is None:
            rows = len(getattr(self._tables, stream.partition(".")[0]))
            return pd.array([None] * rows, dtype="str")
        return column.astype("str").array
