"""What was known of the opportunities of leads and accounts before an instant.

Arrays only, as in `features.deals`: the same code for millions of rows and for those of one lead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from features.deals import AccountLinks, Links, grouped, sort_each
from features.histories import ALWAYS, NEVER, Int64s

if TYPE_CHECKING:
    from features.records import OpportunityRows

# Numba compiles a function for the types it is given, so those carry no annotations.
_ARRIVES, _CLOSES, _LEAVES = range(3)
_OPEN, _LOST, _WON, _CREATED, _LOST_AT, _WON_AT = range(6)


class OpportunityFacts(NamedTuple):
    """What was known of the opportunities of owners at instants: arrays of one length."""

    open: Int64s
    lost: Int64s
    won: Int64s
    created: Int64s
    "Newest creation, ALWAYS for none."
    lost_at: Int64s
    "Newest closing as lost, ALWAYS for none."
    won_at: Int64s
    "Newest closing as won, ALWAYS for none."


@dataclass(frozen=True)
class OwnedOpportunities:
    """The opportunities of leads or accounts (owners): what is known of them after each change."""

    starts: Int64s
    "Slice of each owner."
    changed: Int64s
    "Instants of the changes, sorted by owner and instant; known from then on."
    facts: Int64s
    "(n_changes, 6), the fields of OpportunityFacts."

    @classmethod
    def of_leads(
        cls, opportunities: OpportunityRows, links: Links, n_leads: int
    ) -> OwnedOpportunities:
        """Return the opportunities of each lead."""
        return cls(*_changes(opportunities, *links, n_leads))

    @classmethod
    def of_accounts(
        cls, opportunities: OpportunityRows, links: AccountLinks, n_accounts: int
    ) -> OwnedOpportunities:
        """Return the opportunities of each account."""
        return cls(*_changes(opportunities, *links, n_accounts))

    def at(self, owners: Int64s, instants: Int64s) -> OpportunityFacts:
        """Return what was known of each owner (-1: nothing) before its instant."""
        return OpportunityFacts(*_look_up(self.starts, self.changed, self.facts, owners, instants))


@njit(cache=True, nogil=True)
def _changes(opportunities, linked, owners, known_at, until, n_owners):  # type: ignore[no-untyped-def]
    """Return the fields of OwnedOpportunities."""
    n_links = len(linked)
    instants = np.empty((n_links, 3), np.int64)
    changing = np.full((n_links, 3), -1)  # the owner, where there is such a change
    for link in range(n_links):
        closes = max(known_at[link], opportunities.closed_known[linked[link]])
        instants[link, _ARRIVES] = known_at[link]
        changing[link, _ARRIVES] = owners[link]
        if closes < until[link]:
            instants[link, _CLOSES] = closes
            changing[link, _CLOSES] = owners[link]
        if until[link] < NEVER:
            instants[link, _LEAVES] = until[link]
            changing[link, _LEAVES] = owners[link]
    starts, changes = grouped(changing.ravel(), n_owners)
    sort_each(starts, changes, instants.ravel())
    facts = np.empty((len(changes), 6), np.int64)
    for owner in range(n_owners):
        low = starts[owner]
        for position in range(low, starts[owner + 1]):
            facts[position, :_CREATED] = 0
            facts[position, _CREATED:] = ALWAYS
            if position > low:
                facts[position] = facts[position - 1]
            link, kind = changes[position] // 3, changes[position] % 3
            has_closed = changing[link, _CLOSES] >= 0
            if _change(facts[position], opportunities, linked[link], kind, has_closed):
                so_far = changes[low : position + 1]
                _look_again(facts[position], opportunities, linked, until, until[link], so_far)
    return starts, instants.ravel()[changes], facts


@njit(cache=True, nogil=True)
def _change(known, opportunities, row, kind, has_closed):  # type: ignore[no-untyped-def]
    """Change what is known of an owner by one opportunity; return whether a newest one left."""
    outcome, outcome_at = _LOST, _LOST_AT
    if opportunities.won[row]:
        outcome, outcome_at = _WON, _WON_AT
    created, closed = opportunities.created[row], opportunities.closed[row]
    if kind == _ARRIVES:
        known[_OPEN] += 1
        known[_CREATED] = max(known[_CREATED], created)
    elif kind == _CLOSES:
        known[_OPEN] -= 1
        known[outcome] += 1
        known[outcome_at] = max(known[outcome_at], closed)
    elif has_closed:
        known[outcome] -= 1
        return created == known[_CREATED] or closed == known[outcome_at]
    else:
        known[_OPEN] -= 1
        return created == known[_CREATED]
    return False


@njit(cache=True, nogil=True)
def _look_again(known, opportunities, linked, until, instant, changes):  # type: ignore[no-untyped-def]
    """Find the newest instants again among the opportunities that stay after `instant`."""
    known[_CREATED:] = ALWAYS
    for change in changes:
        link, kind = change // 3, change % 3
        row = linked[link]
        if until[link] <= instant:
            continue
        if kind == _ARRIVES:
            known[_CREATED] = max(known[_CREATED], opportunities.created[row])
        elif kind == _CLOSES:
            outcome_at = _WON_AT if opportunities.won[row] else _LOST_AT
            known[outcome_at] = max(known[outcome_at], opportunities.closed[row])


@njit(cache=True, nogil=True)
def _look_up(starts, changed, facts, owners, instants):  # type: ignore[no-untyped-def]
    """Return the six fields of OpportunityFacts."""
    found = np.zeros((6, len(owners)), np.int64)
    found[_CREATED:] = ALWAYS
    for query in range(len(owners)):
        if owners[query] < 0:
            continue
        first, last = starts[owners[query]], starts[owners[query] + 1]
        low, high = first, last  # the last change before the instant
        while low < high:
            middle = (low + high) // 2
            if changed[middle] < instants[query]:
                low = middle + 1
            else:
                high = middle
        if low > first:
            for fact in range(6):
                found[fact, query] = facts[low - 1, fact]
    return found
