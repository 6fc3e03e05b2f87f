"""Columns of the funnel: stage changes, colleagues and opportunities as known at an instant."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from features.facts.histories import (
    ALWAYS,
    DAY,
    NEVER,
    Int32s,
    Int64s,
    keep_largest,
    row_before,
    sorted_history,
)

FUNNEL = (
    "lead_age_days",
    "days_since_stage_change",
    "times_recycled",
    "account_leads",
    "open_opportunities",
    "lost_opportunities",
    "won_opportunities",
    "days_since_opportunity",
    "days_since_lost",
    "days_since_won",
    "account_open_opportunities",
    "account_lost_opportunities",
    "account_won_opportunities",
    "account_days_since_opportunity",
    "account_days_since_lost",
    "account_days_since_won",
)


class Dated(NamedTuple):
    """What a Funnel is made of: stage changes, accounts of leads and opportunities as recorded."""

    created: Int64s
    change_leads: Int64s
    changed: Int64s
    change_known: Int64s
    change_stages: Int32s
    is_recycled: npt.NDArray[np.bool_]
    "By stage."
    merged_at: Int64s
    "By lead."
    account_starts: Int64s
    accounts_known: Int64s
    accounts: Int64s
    lead_deal_starts: Int64s
    lead_deals_known: Int64s
    lead_deals: Int64s
    account_deal_starts: Int64s
    account_deals_known: Int64s
    account_deals: Int64s


class Funnel(NamedTuple):
    """Dated facts of the funnel: slices by owner, instants they are known from, and what is."""

    created: Int64s
    changed_starts: Int64s
    changed_known: Int64s
    changed: Int64s
    recycled_starts: Int64s
    recycled_known: Int64s
    joined_starts: Int64s
    joined: Int64s
    left_starts: Int64s
    left: Int64s
    lead_deal_starts: Int64s
    lead_deals_known: Int64s
    lead_deals: Int64s
    account_deal_starts: Int64s
    account_deals_known: Int64s
    account_deals: Int64s


@njit(cache=True, nogil=True)
def fill_funnel(  # type: ignore[no-untyped-def]
    funnel, leads, accounts, as_of, knows_changes, knows_deals, which, columns, matrix
):
    """Fill columns[i] of the matrix with row which[i] of FUNNEL.

    Without an account, or where nothing is known of the table it comes from, it is missing.
    """
    # Each look at a history waits for memory: none that no feature asks for.
    asks_changes = asks_recycled = asks_lead = asks_members = asks_account = False
    for row in which:
        asks_changes |= knows_changes and row == 1
        asks_recycled |= knows_changes and row == 2
        asks_members |= row == 3
        asks_lead |= knows_deals and 4 <= row < 10
        asks_account |= knows_deals and row >= 10
    told = np.empty(16)
    for row in range(len(leads)):
        lead, account, now = leads[row], accounts[row], as_of[row]
        told[:] = np.nan
        told[0] = _days(now, funnel.created[lead])
        if asks_changes:
            last = row_before(funnel.changed_starts, funnel.changed_known, lead, now)
            if last >= 0:
                told[1] = _days(now, funnel.changed[last])
        if asks_recycled:
            told[2] = _count(funnel.recycled_starts, funnel.recycled_known, lead, now)
        if asks_lead:
            last = row_before(funnel.lead_deal_starts, funnel.lead_deals_known, lead, now)
            _tell_deals(funnel.lead_deals[last], now, told[4:10])
        if asks_members and account >= 0:
            joined = _count(funnel.joined_starts, funnel.joined, account, now)
            told[3] = joined - _count(funnel.left_starts, funnel.left, account, now)
        if asks_account and account >= 0:
            last = row_before(funnel.account_deal_starts, funnel.account_deals_known, account, now)
            _tell_deals(funnel.account_deals[last], now, told[10:16])
        for place in range(len(which)):
            matrix[row, columns[place]] = told[which[place]]


@njit(cache=True, nogil=True)
def _count(starts, known_at, owner, instant):  # type: ignore[no-untyped-def]
    """Return how many rows of the owner are known before the instant."""
    last = row_before(starts, known_at, owner, instant)
    return 0 if last < 0 else last - starts[owner] + 1


@njit(cache=True, nogil=True)
def _tell_deals(facts, now, columns):  # type: ignore[no-untyped-def]
    """Fill open, lost and won, and the days since the newest creation, loss and win."""
    for fact in range(3):
        columns[fact] = facts[fact]
        columns[fact + 3] = _days(now, facts[fact + 3])


@njit(cache=True, nogil=True)
def funnel_of(dated, n_accounts):  # type: ignore[no-untyped-def]
    """Return the Funnel of what is recorded."""
    n_leads = len(dated.created)
    changed = sorted_history(dated.change_leads, n_leads, dated.change_known, dated.changed)
    keep_largest(changed[0], changed[2])
    given_back = dated.change_leads.copy()
    for row in range(len(given_back)):
        if not dated.is_recycled[dated.change_stages[row]]:
            given_back[row] = -1
    recycled = sorted_history(given_back, n_leads, dated.change_known, dated.changed)
    starts, known_at = dated.account_starts, dated.accounts_known
    stayed, left_at = _stays(starts, known_at, dated.accounts, dated.merged_at)
    joined = sorted_history(stayed, n_accounts, known_at, known_at)
    left = sorted_history(stayed, n_accounts, left_at, left_at)
    return Funnel(
        dated.created,
        changed[0],
        changed[1],
        changed[2],
        recycled[0],
        recycled[1],
        joined[0],
        joined[1],
        left[0],
        left[1],
        dated.lead_deal_starts,
        dated.lead_deals_known,
        dated.lead_deals,
        dated.account_deal_starts,
        dated.account_deals_known,
        dated.account_deals,
    )


@njit(cache=True, nogil=True)
def fill_funnel_at_once(  # type: ignore[no-untyped-def]
    dated, n_accounts, leads, accounts, as_of, knows_changes, knows_deals, which, columns, matrix
):
    """Do what `funnel_of` and `fill_funnel` do: to hand the Funnel over takes longer than both.

    For one lead, whose history is made for this one question.
    """
    funnel = funnel_of(dated, n_accounts)
    fill_funnel(funnel, leads, accounts, as_of, knows_changes, knows_deals, which, columns, matrix)


@njit(cache=True, nogil=True)
def _stays(starts, joined, accounts, merged_at):  # type: ignore[no-untyped-def]
    """Return the account of each row of a lead's history, -1 for no stay, and its end."""
    kept, left = accounts.copy(), np.empty_like(joined)
    for lead in range(len(starts) - 1):
        for row in range(starts[lead], starts[lead + 1]):
            ends = joined[row + 1] if row + 1 < starts[lead + 1] else NEVER
            left[row] = min(ends, merged_at[lead])
            if joined[row] >= left[row]:
                kept[row] = -1
    return kept, left


@njit(cache=True, nogil=True)
def _days(as_of, instant):  # type: ignore[no-untyped-def]
    """Return the days from an instant to `as_of`, NaN for ALWAYS."""
    return np.nan if instant == ALWAYS else (as_of - instant) / DAY
