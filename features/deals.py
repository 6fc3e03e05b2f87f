"""Which leads and accounts opportunities belong to, from when that is known, and what was known.

Arrays in, arrays out: the same code for millions of rows and for those of one lead. Leads, accounts
and opportunities are codes from 0 (see `features.records`), instants int64 microseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from features.histories import DAY, NEVER, Int64s
from features.identity import AccountFrom, People

if TYPE_CHECKING:
    from features.records import ContactRows, OpportunityRows

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
    # Not before `closed`: a merge between the two was the truth while nobody knew of the closing.
    n_leads, merges = len(people.lead_ids), people.merges
    first_contact, asking, is_asking = _first_contacts(opportunities, contacts)
    active = np.empty((3, 0), np.int64)
    if is_asking:
        in_account = _by_account(asking, opportunities.created, len(people.account_ids))
        window = attribution_days * DAY
        candidates = _by_lead(
            in_account, event_leads, event_occurred, event_accounts, window, n_leads
        )
        active = _active_leads(
            in_account, candidates, event_occurred, event_accounts, event_account_visible, window
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
def grouped(owners, n_owners):  # type: ignore[no-untyped-def]
    """Return where each owner's slice starts, and the rows by owner; rows of none (-1) left out."""
    starts = np.zeros(n_owners + 1, np.int64)
    for owner in owners:
        if owner >= 0:
            starts[owner + 1] += 1
    for owner in range(n_owners):
        starts[owner + 1] += starts[owner]
    free = starts[:-1].copy()
    rows = np.empty(starts[-1], np.int64)
    for row in range(len(owners)):
        owner = owners[row]
        if owner >= 0:
            rows[free[owner]] = row
            free[owner] += 1
    return starts, rows


@njit(cache=True, nogil=True)
def sort_each(starts, rows, instants):  # type: ignore[no-untyped-def]
    """Sort the rows of each owner by instant, in place."""
    for owner in range(len(starts) - 1):
        # Exports mostly arrive in order: sort only the slices that are not.
        for position in range(starts[owner] + 1, starts[owner + 1]):
            if instants[rows[position - 1]] > instants[rows[position]]:
                part = rows[starts[owner] : starts[owner + 1]]
                part[:] = part[np.argsort(instants[part], kind="mergesort")]
                break


@njit(cache=True, nogil=True)
def _first_after(sorted_instants, low, high, instant):  # type: ignore[no-untyped-def]
    """Return the first position in [low, high) with a later instant, else `high`."""
    while low < high:
        middle = (low + high) // 2
        if sorted_instants[middle] > instant:
            high = middle
        else:
            low = middle + 1
    return low


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
def _by_account(accounts, created, n_accounts):  # type: ignore[no-untyped-def]
    """Return the opportunities by account and creation: starts, rows and their creations."""
    starts, rows = grouped(accounts, n_accounts)
    sort_each(starts, rows, created)
    return starts, rows, created[rows]


@njit(cache=True, nogil=True)
def _by_lead(in_account, leads, occurred, accounts, window, n_leads):  # type: ignore[no-untyped-def]
    """Return, by lead and occurrence, the events in the window of some opportunity."""
    starts, _, created = in_account
    owners = np.full(len(leads), -1)
    for event in range(len(leads)):
        account = accounts[event]
        if account < 0 or starts[account] == starts[account + 1]:
            continue
        high = starts[account + 1]
        next_created = _first_after(created, starts[account], high, occurred[event])
        if next_created < high and created[next_created] - window <= occurred[event]:
            owners[event] = leads[event]
    lead_starts, events = grouped(owners, n_leads)
    sort_each(lead_starts, events, occurred)
    return lead_starts, events


@njit(cache=True, nogil=True)
def _active_leads(in_account, by_lead, occurred, accounts, visible, window):  # type: ignore[no-untyped-def]
    """Return (opportunity, lead, known at) of the leads active on its account, (3, n_pairs).

    A lead that left the account and came back may come twice.
    """
    lead_starts, events = by_lead
    pairs, n_pairs = np.empty((3, len(in_account[1])), np.int64), 0
    earliest = np.empty(len(events), np.int64)
    for lead in range(len(lead_starts) - 1):
        low = lead_starts[lead]
        while low < lead_starts[lead + 1]:
            account, high = accounts[events[low]], low + 1
            while high < lead_starts[lead + 1] and accounts[events[high]] == account:
                high += 1
            run = events[low:high]
            pairs, n_pairs = _slide(
                in_account, account, lead, run, occurred, visible, window, earliest, pairs, n_pairs
            )
            low = high
    return pairs[:, :n_pairs]


@njit(cache=True, nogil=True)
def _slide(in_account, account, lead, run, occurred, visible, window, earliest, pairs, n_pairs):  # type: ignore[no-untyped-def]
    """Add a pair for each opportunity of the account with an event of `run` in its window.

    A sliding minimum, so that many events before many opportunities are not quadratic: `earliest`
    holds the events inside the window that no later one has been visible before.
    """
    starts, opportunities, created = in_account
    position, last = starts[account], starts[account + 1]
    entered = head = tail = 0
    while position < last:
        while entered < len(run) and occurred[run[entered]] < created[position]:
            while head < tail and visible[earliest[tail - 1]] >= visible[run[entered]]:
                tail -= 1
            earliest[tail] = run[entered]
            tail += 1
            entered += 1
        while head < tail and occurred[earliest[head]] < created[position] - window:
            head += 1
        if head < tail:
            if n_pairs == pairs.shape[1]:
                pairs = np.concatenate((pairs, np.empty_like(pairs)), axis=1)
            pairs[0, n_pairs], pairs[1, n_pairs] = opportunities[position], lead
            pairs[2, n_pairs] = visible[earliest[head]]
            n_pairs += 1
            position += 1
        elif entered < len(run):
            position = _first_after(created, position, last, occurred[run[entered]])
        else:
            break
    return pairs, n_pairs


@njit(cache=True, nogil=True)
def _put(found, n_found, first, seats, row):  # type: ignore[no-untyped-def]
    """Add (opportunity, owner, known at, until) unless the same was known earlier.

    The same: the same owner among found[:, first:]. `seats` is where each owner was put last.
    """
    _, owner, known_at, until = row
    if owner < 0 or known_at >= until:
        return found, n_found
    seat = seats[owner]
    if seat >= first:
        found[2, seat] = min(found[2, seat], known_at)
        return found, n_found
    if n_found == found.shape[1]:
        found = np.concatenate((found, np.empty((4, n_found + 8), np.int64)), axis=1)
    for column in range(4):
        found[column, n_found] = row[column]
    seats[owner] = n_found
    return found, n_found + 1


@njit(cache=True, nogil=True)
def _put_merged(found, n_found, first, seats, same, closed_known):  # type: ignore[no-untyped-def]
    """Add whoever is one person with a lead of found[:, first:] before the closing was known."""
    starts, others, recorded = same
    is_settled = len(others) == 0
    while not is_settled:  # a merge may be reached by several ways
        is_settled = True
        position = first
        while position < n_found:  # grows meanwhile
            lead, known_at, until = found[1, position], found[2, position], found[3, position]
            for row in range(starts[lead], starts[lead + 1]):
                if recorded[row] >= closed_known:
                    continue
                seat = seats[others[row]]
                together = max(known_at, recorded[row])
                is_settled &= not (seat >= first and found[2, seat] > together)
                pair = (found[0, position], others[row], together, until)
                found, n_found = _put(found, n_found, first, seats, pair)
            position += 1
    return found, n_found


@njit(cache=True, nogil=True)
def _label(opportunities, contacts, first_contact, active, merging, n_leads):  # type: ignore[no-untyped-def]
    """Return the columns of `Links`."""
    n_opportunities = len(opportunities.created)
    contact_starts, contact_rows = grouped(contacts.opportunities, n_opportunities)
    active_starts, active_rows = grouped(active[0], n_opportunities)
    gone, survivor, merged = merging
    same_starts, same_rows = grouped(np.concatenate((gone, survivor)), n_leads)
    others = np.concatenate((survivor, gone))[same_rows]
    same = (same_starts, others, np.concatenate((merged, merged))[same_rows])
    room = n_opportunities + len(contact_rows) + len(active_rows)
    found, n_found = np.empty((4, room), np.int64), 0
    seats = np.full(n_leads, -1)
    for row in range(n_opportunities):
        known_at, until = opportunities.created_known[row], first_contact[row]
        closed_known = opportunities.closed_known[row]
        first = n_found
        for n in active_rows[active_starts[row] : active_starts[row + 1]]:
            pair = (row, active[1, n], max(active[2, n], known_at), until)
            found, n_found = _put(found, n_found, first, seats, pair)
        found, n_found = _put_merged(found, n_found, first, seats, same, closed_known)
        first = n_found
        if opportunities.leads[row] == -1:
            for n in contact_rows[contact_starts[row] : contact_starts[row + 1]]:
                pair = (row, contacts.leads[n], max(contacts.recorded[n], known_at), NEVER)
                found, n_found = _put(found, n_found, first, seats, pair)
        else:
            pair = (row, opportunities.leads[row], known_at, NEVER)
            found, n_found = _put(found, n_found, first, seats, pair)
        found, n_found = _put_merged(found, n_found, first, seats, same, closed_known)
    return found[0, :n_found], found[1, :n_found], found[2, :n_found], found[3, :n_found]


@njit(cache=True, nogil=True)
def _belong(opportunities, links, of_leads, names_first, n_accounts):  # type: ignore[no-untyped-def]
    """Return the columns of `AccountLinks`; `of_leads` is the account of each link's lead."""
    n_opportunities = len(opportunities.created)
    found, n_found = np.empty((4, n_opportunities + len(of_leads)), np.int64), 0
    seats = np.full(n_accounts, -1)
    high = 0
    for row in range(n_opportunities):
        named, known_at = opportunities.accounts[row], opportunities.created_known[row]
        low = high
        while high < len(of_leads) and links.opportunities[high] == row:
            high += 1
        if names_first and named >= 0:  # no link is known before the opportunity is
            found, n_found = _put(found, n_found, n_found, seats, (row, named, known_at, NEVER))
            continue
        first, until = n_found, NEVER
        for n in range(low, high):
            if n > low and links.until[n] != links.until[n - 1]:
                first = n_found
            if of_leads[n] >= 0:
                pair = (row, of_leads[n], links.known_at[n], links.until[n])
                found, n_found = _put(found, n_found, first, seats, pair)
                until = min(until, links.known_at[n])
        found, n_found = _put(found, n_found, n_found, seats, (row, named, known_at, until))
    return found[0, :n_found], found[1, :n_found], found[2, :n_found], found[3, :n_found]
