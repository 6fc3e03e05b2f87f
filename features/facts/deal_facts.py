"""What was known of the opportunities of leads and accounts before an instant.

Arrays only, as in `features.facts.deals`: the same code for millions of rows and for those of one
lead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from features.facts.deals import AccountLinks, Links
from features.facts.histories import ALWAYS, NEVER, History, Int64s
from features.facts.records import OpportunityRows

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
    """The opportunities of leads or accounts (owners), ready to be asked at any instants."""

    changes: History
    "When what is known of each owner changes."
    facts: Int64s
    "(n_changes + 1, 6): what is known after each, as in OpportunityFacts; at last, of nobody."

    @classmethod
    def of_leads(
        cls, opportunities: OpportunityRows, links: Links, n_leads: int
    ) -> OwnedOpportunities:
        """Return the opportunities of each lead."""
        return _owned(opportunities, links, n_leads)

    @classmethod
    def of_accounts(
        cls, opportunities: OpportunityRows, links: AccountLinks, n_accounts: int
    ) -> OwnedOpportunities:
        """Return the opportunities of each account."""
        return _owned(opportunities, links, n_accounts)

    @classmethod
    def none(cls, n_owners: int) -> OwnedOpportunities:
        """Return the opportunities of owners who have none."""
        return _NOTHING_OF_FEW[n_owners] if n_owners < len(_NOTHING_OF_FEW) else _nothing(n_owners)

    def at(self, owners: Int64s, instants: Int64s) -> OpportunityFacts:
        """Return what was known of each owner (-1: nothing) before its instant."""
        rows = self.changes.rows(owners, instants)
        return OpportunityFacts(*_take(self.facts, rows))


def _nothing(n_owners: int) -> OwnedOpportunities:
    nothing = np.empty(0, np.int64)
    nobody = np.array([[0, 0, 0, ALWAYS, ALWAYS, ALWAYS]])
    return OwnedOpportunities(History(np.zeros(n_owners + 1, np.int64), nothing, nothing), nobody)


_NOTHING_OF_FEW = [_nothing(n_owners) for n_owners in range(4)]
"Most live requests know of no opportunity."


def _owned(
    opportunities: OpportunityRows, links: Links | AccountLinks, n_owners: int
) -> OwnedOpportunities:
    linked, owners, known_at, until = links
    instants, changing = _changes(opportunities, linked, owners, known_at, until)
    changes = History.of(changing, n_owners, instants, np.arange(len(instants)))
    order = changes.values
    facts = _follow(opportunities, linked, until, changing, changes.starts, order)
    return OwnedOpportunities(changes, facts)


@njit(cache=True, nogil=True)
def _changes(opportunities, linked, owners, known_at, until):  # type: ignore[no-untyped-def]
    """Return the instant and the owner of each change: 3 * link + kind, -1 where there is none."""
    instants = np.zeros(3 * len(linked), np.int64)
    changing = np.full(3 * len(linked), -1)
    for link in range(len(linked)):
        closes = max(known_at[link], opportunities.closed_known[linked[link]])
        instants[3 * link + _ARRIVES] = known_at[link]
        changing[3 * link + _ARRIVES] = owners[link]
        if closes < until[link]:
            instants[3 * link + _CLOSES] = closes
            changing[3 * link + _CLOSES] = owners[link]
        if until[link] < NEVER:
            instants[3 * link + _LEAVES] = until[link]
            changing[3 * link + _LEAVES] = owners[link]
    return instants, changing


@njit(cache=True, nogil=True)
def _follow(opportunities, linked, until, changing, starts, changes):  # type: ignore[no-untyped-def]
    """Return what is known after each change, (n_changes + 1, 6); the last row: of nobody."""
    facts = np.empty((len(changes) + 1, 6), np.int64)
    for fact in range(6):
        facts[-1, fact] = ALWAYS if fact >= _CREATED else 0
    for owner in range(len(starts) - 1):
        low = starts[owner]
        for position in range(low, starts[owner + 1]):
            before = position - 1 if position > low else -1
            for fact in range(6):
                facts[position, fact] = facts[before, fact]
            link, kind = changes[position] // 3, changes[position] % 3
            has_closed = changing[3 * link + _CLOSES] >= 0
            if _change(facts[position], opportunities, linked[link], kind, has_closed):
                so_far = changes[low : position + 1]
                _look_again(facts[position], opportunities, linked, until, until[link], so_far)
    return facts


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
    for fact in range(_CREATED, 6):
        known[fact] = ALWAYS
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
def _take(facts, rows):  # type: ignore[no-untyped-def]
    """Return the columns of facts[rows]; -1, nothing known yet, takes the last."""
    taken = np.empty((6, len(rows)), np.int64)
    for query in range(len(rows)):
        for fact in range(6):
            taken[fact, query] = facts[rows[query], fact]
    return taken
