"""Who is who at an instant: leads, the accounts they belong to, and merges."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit

from features.facts.histories import (
    ALWAYS,
    NEVER,
    History,
    Int32s,
    Int64s,
    group_starts,
    ranges,
    row_before,
)
from features.facts.lookup import Ids
from features.facts.records import AccountFrom as AccountFrom
from features.facts.records import EventRows, LeadRows, lead_rows
from features.tables import Tables


@dataclass(frozen=True)
class Merges:
    """Leads merged away: `gone` joins `survivor` from `recorded` on (lead codes)."""

    gone: Int64s
    survivor: Int64s
    recorded: Int64s


@dataclass(frozen=True)
class People:
    """Leads and accounts as integer codes, in the order of their sorted ids."""

    lead_ids: Ids
    account_ids: Ids
    created: Int64s
    "Instant of creation, by lead."
    recorded: Int64s
    "Instant from which the lead is known, by lead."
    accounts: History
    "Account codes by lead, -1 for none."
    merges: Merges
    "As recorded: lead to survivor, once per lead."

    @cached_property
    def members(self) -> Members:
        """The leads of each account."""
        return _members(self)

    def event_accounts(
        self, leads: Int64s, occurred: Int64s, visible: Int64s
    ) -> tuple[Int64s, Int64s, Int32s]:
        """Return of each event its account (-1: none), from when that is known, and the member.

        It is the lead's account when the event occurred. What happened before anything was
        recorded of the lead belongs to the first account recorded, once it is.
        """
        accounts, known, members = _event_accounts(
            self.accounts.starts,
            self.accounts.known_at,
            self.accounts.values,
            self.members.of_row,
            leads,
            occurred,
            visible,
        )
        return accounts, known, members

    def member_numbers(self, leads: Int64s, instants: Int64s) -> Int32s:
        """Return each lead's number within the account it had before the instant; 0 without one."""
        history, numbers = self.accounts, self.members.of_row
        return np.asarray(_number_at(history.starts, history.known_at, numbers, leads, instants))

    def ancestors(self) -> Merges:
        """Return each merged-away lead with every lead its history reaches, and from when.

        A chain (a into b, b into c) reaches c once both merges are recorded.
        """
        gone, reached, known = self.merges.gone, self.merges.survivor, self.merges.recorded
        parts = [(gone, reached, known)]
        next_lead = np.full(len(self.lead_ids), -1, np.int64)
        next_lead[gone] = reached
        merged_at = np.full(len(self.lead_ids), ALWAYS, np.int64)
        merged_at[gone] = known
        while len(gone):
            further = next_lead[reached]
            known = np.maximum(known, merged_at[reached])
            # A circle of merges ends where it began.
            kept = (further >= 0) & (further != gone) & (len(parts) <= len(self.merges.gone))
            gone, reached, known = gone[kept], further[kept], known[kept]
            parts.append((gone, reached, known))
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        return Merges(*columns)


def know_people(tables: Tables, account_from: AccountFrom = "account_id") -> People:
    """Return the leads of `tables` with their accounts and merges."""
    return people_of(*lead_rows(tables, account_from))


def people_of(lead_ids: Ids, account_ids: Ids, rows: LeadRows) -> People:
    """Return the leads of `rows` with their accounts and merges.

    Nothing is known of a lead before its first row is recorded: not its account, even in a
    current-state export, nor that another was merged into it.
    """
    n_leads = len(lead_ids)
    created, recorded = rows.created, rows.recorded
    if len(rows.leads) > 1:
        created = _earliest(rows.leads, rows.created, n_leads)
        recorded = _earliest(rows.leads, rows.recorded, n_leads)
    return People(
        lead_ids=lead_ids,
        account_ids=account_ids,
        created=created,
        recorded=recorded,
        accounts=History.of(
            rows.leads, n_leads, np.maximum(rows.known, recorded[rows.leads]), rows.accounts
        ),
        merges=_merges(
            rows.leads,
            rows.merged_into,
            np.maximum(rows.recorded, recorded[rows.merged_into]) if n_leads else rows.recorded,
        ),
    )


@njit(cache=True, nogil=True)
def _number_at(starts, known_at, numbers, leads, instants):  # type: ignore[no-untyped-def]
    found = np.zeros(len(leads), np.int32)
    for query in range(len(leads)):
        row = row_before(starts, known_at, leads[query], instants[query])
        if row >= 0:
            found[query] = numbers[row]
    return found


@njit(cache=True, nogil=True)
def _earliest(owners, instants, n_owners):  # type: ignore[no-untyped-def]
    earliest = np.full(n_owners, NEVER)
    for row in range(len(owners)):
        earliest[owners[row]] = min(earliest[owners[row]], instants[row])
    return earliest


@njit(cache=True, nogil=True)
def _event_accounts(starts, known_at, values, of_row, leads, occurred, visible):  # type: ignore[no-untyped-def]
    accounts, known = np.empty(len(leads), np.int64), np.empty(len(leads), np.int64)
    members = np.empty(len(leads), np.int32)
    for event in range(len(leads)):
        row, last = starts[leads[event]], starts[leads[event] + 1] - 1
        while row < last and known_at[row + 1] <= occurred[event]:
            row += 1
        accounts[event], members[event] = values[row], of_row[row]
        known[event] = max(visible[event], known_at[row])
    return accounts, known, members


def _merges(leads: Int64s, survivors: Int64s, recorded: Int64s) -> Merges:
    """Return the first merge of each lead."""
    nothing = np.empty(0, np.int64)
    if survivors.max(initial=-1) < 0:
        return Merges(nothing, nothing, nothing)
    is_merge = (survivors >= 0) & (survivors != leads)
    if not is_merge.any():
        return Merges(nothing, nothing, nothing)
    leads, survivors, recorded = leads[is_merge], survivors[is_merge], recorded[is_merge]
    order = np.lexsort((survivors, recorded, leads))
    leads, survivors, recorded = leads[order], survivors[order], recorded[order]
    _, first = np.unique(leads, return_index=True)
    return Merges(leads[first], survivors[first], recorded[first])


@dataclass(frozen=True)
class Members:
    """The leads of each account, numbered from 0: whoever ever belonged to it, or joined one."""

    of_row: Int64s
    "Number of the lead within the account of each row of `People.accounts`; 0 without account."
    starts: Int64s
    "Slices of the merges by account, length n_accounts + 1."
    recorded: Int64s
    gone: Int64s
    survivor: Int64s


def _members(people: People) -> Members:
    history, n_accounts = people.accounts, len(people.account_ids)
    if not len(people.merges.gone):
        nothing = np.empty(0, np.int64)
        of_row = _numbers(history.starts, history.values, n_accounts)
        return Members(of_row, np.zeros(n_accounts + 1, np.int64), nothing, nothing, nothing)
    return _members_with_merges(people)


@njit(cache=True, nogil=True)
def _numbers(starts, accounts, n_accounts):  # type: ignore[no-untyped-def]
    """Return the number of each row's lead within its account, in the order of the leads."""
    numbers = np.zeros(len(accounts), np.int64)
    n_members = np.zeros(n_accounts, np.int64)
    for lead in range(len(starts) - 1):
        for row in range(starts[lead], starts[lead + 1]):
            if accounts[row] < 0:
                continue
            earlier = starts[lead]
            while accounts[earlier] != accounts[row]:
                earlier += 1
            if earlier < row:
                numbers[row] = numbers[earlier]
            else:
                numbers[row] = n_members[accounts[row]]
                n_members[accounts[row]] += 1
    return numbers


def _members_with_merges(people: People) -> Members:
    history = people.accounts
    n_leads, n_accounts = max(len(people.lead_ids), 1), len(people.account_ids)
    owners = np.repeat(np.arange(len(people.lead_ids)), np.diff(history.starts))
    accounts = history.values  # not pandas
    keys = accounts * n_leads + owners
    pairs = np.unique(keys[accounts >= 0])
    merges = people.merges
    # Whoever a member is merged into is a member too.
    reached = people.ancestors()
    by_lead = np.argsort(reached.gone, kind="stable")
    starts = group_starts(reached.gone, n_leads)
    account, lead = np.divmod(pairs, n_leads)
    positions, which = ranges(starts[lead], starts[lead + 1])
    survivors = reached.survivor[by_lead[positions]]
    pairs = np.unique(np.append(pairs, account[which] * n_leads + survivors))
    first = group_starts(pairs // n_leads, n_accounts)

    def number(of_keys: Int64s) -> Int64s:
        return np.asarray(np.searchsorted(pairs, of_keys) - first[of_keys // n_leads])

    of_row = np.zeros(len(keys), np.int64)
    of_row[accounts >= 0] = number(keys[accounts >= 0])
    next_lead = np.full(n_leads, -1, np.int64)
    next_lead[merges.gone] = merges.survivor
    recorded = np.zeros(n_leads, np.int64)
    recorded[merges.gone] = merges.recorded
    account, lead = np.divmod(pairs, n_leads)
    is_merge = next_lead[lead] >= 0
    account, lead = account[is_merge], lead[is_merge]
    order = np.lexsort((lead, recorded[lead], account))
    account, lead = account[order], lead[order]
    return Members(
        of_row,
        group_starts(account, n_accounts),
        recorded[lead],
        number(account * n_leads + lead),
        number(account * n_leads + next_lead[lead]),
    )


def with_merged(events: EventRows, people: People) -> tuple[Int64s, Int64s, Int64s]:
    """Return (event, lead, visible): each event for its lead, and for the leads it joins.

    Merged-away leads keep their events: snapshots before the merge need them.
    """
    everything = np.arange(len(events.leads))
    if not len(people.merges.gone):
        return everything, events.leads, events.visible
    reached = people.ancestors()
    by_lead = np.argsort(events.leads, kind="stable")
    starts = group_starts(events.leads, len(people.lead_ids))
    positions, which = ranges(starts[reached.gone], starts[reached.gone + 1])
    copied = by_lead[positions]
    visible = np.maximum(events.visible[copied], reached.recorded[which])
    return (
        np.append(everything, copied),
        np.append(events.leads, reached.survivor[which]),
        np.append(events.visible, visible),
    )
