"""Which leads and accounts opportunities belong to, from when that is known, and what was known.

Arrays in, arrays out: the same code for millions of rows and for those of one lead. Leads, accounts
and opportunities are codes from 0 (see `features.facts.records`), instants int64 microseconds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from features.facts.active_leads import active_leads, with_room
from features.facts.histories import DAY, NEVER, Int64s, group_starts
from features.facts.identity import AccountFrom, People
from features.facts.records import ContactRows, OpportunityRows

# Numba compiles a function for the types it is given, so those carry no annotations.


class Links(NamedTuple):
    """Which leads opportunities label: arrays of one length, sorted by opportunity, then `until`.

    A pair is what one would have said at instants in (known_at, until]: an opportunity without a
    lead of its own labels its account's leads until the first of its contacts is recorded.
    """

    opportunities: Int64s
    leads: Int64s
    known_at: Int64s
    until: Int64s
    "NEVER for the pairs that stand once everything is recorded."


class AccountLinks(NamedTuple):
    """Which accounts opportunities belong to: as in `Links`."""

    opportunities: Int64s
    accounts: Int64s
    known_at: Int64s
    until: Int64s


def link(
    opportunities: OpportunityRows,
    contacts: ContactRows,
    event_leads: Int64s,
    event_occurred: Int64s,
    event_accounts: Int64s,
    event_account_visible: Int64s,
    people: People,
    attribution_days: int,
) -> Links:
    """Return which leads the opportunities label, and between which instants one would say so.

    An opportunity labels its lead; else its contacts; else the leads with an event of its account
    in the `attribution_days` before its creation. `event_accounts` is the account each event
    belongs to (-1: none), known from `event_account_visible` on; the four event arrays may be
    empty unless `asks_events`. Leads merged with a labelled one before the closing was recorded
    (or at all, while open) are the same person and are labelled too.
    """
    n_leads, merges = len(people.lead_ids), people.merges
    first_contact, asking, is_asking = _first_contacts(opportunities, contacts)
    active = (np.empty(0, np.int64),) * 3
    if is_asking:
        active = active_leads(
            opportunities.created,
            asking,
            event_leads,
            event_occurred,
            event_accounts,
            event_account_visible,
            n_leads,
            len(people.account_ids),
            attribution_days * DAY,
        )
    merging = (merges.gone, merges.survivor, merges.recorded)
    return Links(*_label(opportunities, contacts, first_contact, active, merging, n_leads))


def asks_events(opportunities: OpportunityRows, contacts: ContactRows) -> bool:
    """Return whether any opportunity is, or was, known by its account alone: `link` reads events.

    It names no lead, and no contact was recorded before the opportunity was.
    """
    return bool(_first_contacts(opportunities, contacts)[2])


def opportunity_accounts(
    opportunities: OpportunityRows, links: Links, people: People, account_from: AccountFrom
) -> AccountLinks:
    """Return which accounts the opportunities belong to, and between which instants.

    An opportunity belongs to the account it names; without one, to the accounts its leads had when
    the link was known. With accounts derived from e-mail domains it is the other way round.
    """
    of_leads = people.accounts.newest(links.leads, links.known_at + 1, missing=-1)
    names_first = account_from == "account_id"
    return AccountLinks(
        *_belong(opportunities, links, of_leads, names_first, len(people.account_ids))
    )


@njit(cache=True, nogil=True)
def _grouped(owners, n_owners):  # type: ignore[no-untyped-def]
    """Return where each owner's slice starts, and the rows by owner; rows of none (-1) left out."""
    starts = group_starts(owners, n_owners)
    free = starts[:-1].copy()
    rows = np.empty(starts[-1], np.int64)
    for row in range(len(owners)):
        owner = owners[row]
        if owner >= 0:
            rows[free[owner]] = row
            free[owner] += 1
    return starts, rows


@njit(cache=True, nogil=True)
def _first_contacts(opportunities, contacts):  # type: ignore[no-untyped-def]
    """Return when each first contact was known, the accounts to ask for leads, and if any is.

    Opportunities that name a lead have no contacts, and ask no account (-1).
    """
    n_opportunities = len(opportunities.created)
    first_contact = np.full(n_opportunities, NEVER)
    for row in range(len(contacts.recorded)):
        opportunity = contacts.opportunities[row]
        if opportunity >= 0 and opportunities.leads[opportunity] == -1:
            known_at = max(contacts.recorded[row], opportunities.created_known[opportunity])
            first_contact[opportunity] = min(first_contact[opportunity], known_at)
    asking = np.full(n_opportunities, -1)
    is_asking = False
    for row in range(n_opportunities):
        is_alone = opportunities.created_known[row] < first_contact[row]
        if opportunities.leads[row] == -1 and opportunities.accounts[row] >= 0 and is_alone:
            asking[row] = opportunities.accounts[row]
            is_asking = True
    return first_contact, asking, is_asking


@njit(cache=True, nogil=True)
def _put(found, n_found, first, seats, opportunity, owner, known_at, until):  # type: ignore[no-untyped-def]
    """Put a column into `found` unless the same was known earlier; return how many there are.

    The same: the same owner among found[:, first:]. `seats` is where each owner was put last.
    """
    if owner < 0 or known_at >= until:
        return n_found
    seat = seats[owner]
    if seat >= first:
        found[2, seat] = min(found[2, seat], known_at)
        return n_found
    found[0, n_found], found[1, n_found] = opportunity, owner
    found[2, n_found], found[3, n_found] = known_at, until
    seats[owner] = n_found
    return n_found + 1


@njit(cache=True, nogil=True)
def _put_merged(found, n_found, first, seats, same, closed_known):  # type: ignore[no-untyped-def]
    """Put whoever is one person with a lead of found[:, first:] before the closing was known.

    Not before `closed`: a merge between the two was the truth while nobody knew of the closing.
    """
    starts, others, recorded = same
    is_settled = len(others) == 0
    while not is_settled:  # a lead may be reached by several ways
        is_settled = True
        position = first
        while position < n_found:  # which grows
            lead, known_at, until = found[1, position], found[2, position], found[3, position]
            found = with_room(found, n_found + starts[lead + 1] - starts[lead])
            for row in range(starts[lead], starts[lead + 1]):
                if recorded[row] >= closed_known:
                    continue
                seat, merged_at = seats[others[row]], max(known_at, recorded[row])
                is_settled &= not (seat >= first and found[2, seat] > merged_at)
                n_found = _put(
                    found, n_found, first, seats, found[0, position], others[row], merged_at, until
                )
            position += 1
    return found, n_found


@njit(cache=True, nogil=True)
def _label(opportunities, contacts, first_contact, active, merging, n_leads):  # type: ignore[no-untyped-def]
    """Return the columns of `Links`."""
    n_opportunities, forever = len(opportunities.created), np.int64(NEVER)
    contact_starts, contact_rows = _grouped(contacts.opportunities, n_opportunities)
    active_opportunities, active_leads, active_known = active
    active_starts, active_rows = _grouped(active_opportunities, n_opportunities)
    same = _same_person(merging, n_leads)
    found, n_found = np.empty((4, n_opportunities + len(active_rows)), np.int64), np.int64(0)
    seats = np.full(n_leads, -1)
    for row in range(n_opportunities):
        known_at, closed_known = opportunities.created_known[row], opportunities.closed_known[row]
        low, high = active_starts[row], active_starts[row + 1]
        contact_low, contact_high = contact_starts[row], contact_starts[row + 1]
        found = with_room(found, n_found + high - low)
        first = n_found
        for n in active_rows[low:high]:
            lead, active_at = active_leads[n], max(active_known[n], known_at)
            n_found = _put(found, n_found, first, seats, row, lead, active_at, first_contact[row])
        found, n_found = _put_merged(found, n_found, first, seats, same, closed_known)
        found = with_room(found, n_found + contact_high - contact_low + 1)
        first = n_found
        if opportunities.leads[row] != -1:
            lead = opportunities.leads[row]
            n_found = _put(found, n_found, first, seats, row, lead, known_at, forever)
            contact_high = contact_low  # it has no contacts
        for n in contact_rows[contact_low:contact_high]:
            lead, contact_at = contacts.leads[n], max(contacts.recorded[n], known_at)
            n_found = _put(found, n_found, first, seats, row, lead, contact_at, forever)
        found, n_found = _put_merged(found, n_found, first, seats, same, closed_known)
    return found[0, :n_found], found[1, :n_found], found[2, :n_found], found[3, :n_found]


@njit(cache=True, nogil=True)
def _same_person(merging, n_leads):  # type: ignore[no-untyped-def]
    """Return the leads each lead is merged with, either way: starts, the others and when."""
    gone, survivor, recorded = merging
    starts, rows = _grouped(np.concatenate((gone, survivor)), n_leads)
    return (
        starts,
        np.concatenate((survivor, gone))[rows],
        np.concatenate((recorded, recorded))[rows],
    )


@njit(cache=True, nogil=True)
def _belong(opportunities, links, of_leads, names_first, n_accounts):  # type: ignore[no-untyped-def]
    """Return the columns of `AccountLinks`; `of_leads` is the account of each link's lead."""
    n_opportunities, forever = len(opportunities.created), np.int64(NEVER)
    found = np.empty((4, n_opportunities + len(of_leads)), np.int64)
    n_found = high = np.int64(0)
    seats = np.full(n_accounts, -1)
    for row in range(n_opportunities):
        named, known_at = opportunities.accounts[row], opportunities.created_known[row]
        low = high
        while high < len(of_leads) and links.opportunities[high] == row:
            high += 1
        if names_first and named >= 0:  # no link is known before the opportunity is
            n_found = _put(found, n_found, n_found, seats, row, named, known_at, forever)
            continue
        first, first_link = n_found, forever
        for n in range(low, high):
            if n > low and links.until[n] != links.until[n - 1]:
                first = n_found
            account, linked_at, until = of_leads[n], links.known_at[n], links.until[n]
            n_found = _put(found, n_found, first, seats, row, account, linked_at, until)
            if account >= 0:
                first_link = min(first_link, linked_at)
        n_found = _put(found, n_found, n_found, seats, row, named, known_at, first_link)
    return found[0, :n_found], found[1, :n_found], found[2, :n_found], found[3, :n_found]
