"""The leads of an opportunity that names none: those active on its account shortly before."""

from __future__ import annotations

import numpy as np
from numba import njit

from features.facts.histories import History, Int64s

# Numba compiles a function for the types it is given, so those carry no annotations.


def active_leads(
    created: Int64s,
    accounts: Int64s,
    event_leads: Int64s,
    event_occurred: Int64s,
    event_accounts: Int64s,
    event_visible: Int64s,
    n_leads: int,
    n_accounts: int,
    window: int,
) -> tuple[Int64s, Int64s, Int64s]:
    """Return pairs of opportunity and lead, and since when an event of theirs is visible.

    Opportunity i, created at `created[i]` on `accounts[i]` (-1: leave it out), pairs with the leads
    that have an event of that account in [created - window, created). In no particular order; a
    lead that left the account and came back may come twice.
    """
    deals = History.of(accounts, n_accounts, created, np.arange(len(created)))
    inside = np.flatnonzero(
        _is_inside(deals.starts, deals.known_at, event_occurred, event_accounts, window)
    )
    events = History.of(event_leads[inside], n_leads, event_occurred[inside], inside)
    rows = events.values
    by_lead = (events.starts, events.known_at, event_accounts[rows], event_visible[rows])
    positions, leads, visible = _pairs(deals.starts, deals.known_at, *by_lead, window)
    return deals.values[positions], leads, visible


@njit(cache=True, nogil=True)
def with_room(columns, n):  # type: ignore[no-untyped-def]
    """Return `columns` (k, length), longer if they have no room for `n` entries."""
    n_columns, length = columns.shape
    if n <= length:
        return columns
    longer = np.empty((n_columns, max(n, 2 * length)), np.int64)
    for column in range(n_columns):
        for entry in range(length):
            longer[column, entry] = columns[column, entry]
    return longer


@njit(cache=True, nogil=True)
def _first_after(instants, low, high, instant):  # type: ignore[no-untyped-def]
    """Return the first position in [low, high) of sorted `instants` that is later, else `high`."""
    while low < high:
        middle = (low + high) // 2
        if instants[middle] > instant:
            high = middle
        else:
            low = middle + 1
    return low


@njit(cache=True, nogil=True)
def _is_inside(starts, created, occurred, accounts, window):  # type: ignore[no-untyped-def]
    """Return which events are in the window of any opportunity of their account."""
    is_inside = np.zeros(len(accounts), np.bool_)
    for event in range(len(accounts)):
        account = accounts[event]
        if account < 0 or starts[account] == starts[account + 1]:
            continue
        following = _first_after(created, starts[account], starts[account + 1], occurred[event])
        if following < starts[account + 1]:
            is_inside[event] = created[following] - window <= occurred[event]
    return is_inside


@njit(cache=True, nogil=True)
def _pairs(deal_starts, created, starts, occurred, accounts, visible, window):  # type: ignore[no-untyped-def]
    """Return positions in `created`, leads, and since when visible; events by lead, in order."""
    pairs, n_pairs = np.empty((3, len(created)), np.int64), np.int64(0)
    earliest = np.empty(len(occurred), np.int64)
    for lead in range(len(starts) - 1):
        low = starts[lead]
        while low < starts[lead + 1]:
            account, high = accounts[low], low + 1
            while high < starts[lead + 1] and accounts[high] == account:
                high += 1
            first, last = deal_starts[account], deal_starts[account + 1]
            pairs = with_room(pairs, n_pairs + last - first)
            before = n_pairs
            n_pairs = _slide(
                created[:last],
                first,
                occurred[low:high],
                visible[low:high],
                window,
                earliest,
                pairs,
                n_pairs,
            )
            for pair in range(before, n_pairs):
                pairs[1, pair] = lead
            low = high
    return pairs[0, :n_pairs], pairs[1, :n_pairs], pairs[2, :n_pairs]


@njit(cache=True, nogil=True)
def _slide(created, position, occurred, visible, window, earliest, pairs, n_pairs):  # type: ignore[no-untyped-def]
    """Add a pair for each opportunity from `position` on with an event in its window.

    A sliding minimum, so that many events before many opportunities are not quadratic: `earliest`
    holds the events inside the window that no later one was visible before. Returns `n_pairs`.
    """
    entered = head = tail = np.int64(0)
    while position < len(created):
        while entered < len(occurred) and occurred[entered] < created[position]:
            while head < tail and visible[earliest[tail - 1]] >= visible[entered]:
                tail -= 1
            earliest[tail] = entered
            tail += 1
            entered += 1
        while head < tail and occurred[earliest[head]] < created[position] - window:
            head += 1
        if head < tail:
            pairs[0, n_pairs], pairs[2, n_pairs] = position, visible[earliest[head]]
            n_pairs += 1
            position += 1
        elif entered < len(occurred):
            position = _first_after(created, position, len(created), occurred[entered])
        else:
            break
    return n_pairs
