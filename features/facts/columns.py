"""Columns that need no timeline: attributes, stage changes, opportunities as known at `as_of`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from numba import njit

from features.catalogue.feature import Feature
from features.facts.deal_facts import OwnedOpportunities
from features.facts.deals import Links, asks_events, link, opportunity_accounts
from features.facts.histories import (
    ALWAYS,
    DAY,
    FEW,
    NEVER,
    History,
    Int32s,
    Int64s,
    keep_largest,
    row_before,
    sorted_history,
)
from features.facts.identity import AccountFrom, People, people_of
from features.facts.records import Records
from features.fit.fit_columns import fit_value, fit_values
from features.threads import rows_in_threads

Floats = npt.NDArray[np.float64]
Texts = pd.api.extensions.ExtensionArray | list[str | None]


def links_of(records: Records, people: People, attribution_days: int) -> Links:
    """Return which leads the opportunities label, and between which instants one would say so."""
    events = records.events
    leads = occurred = accounts = visible = np.empty(0, np.int64)
    if asks_events(records.opportunities, records.contacts):
        leads, occurred = events.leads, events.occurred
        accounts, visible, _ = people.event_accounts(leads, occurred, events.visible)
    return link(
        records.opportunities,
        records.contacts,
        leads,
        occurred,
        accounts,
        visible,
        people,
        attribution_days,
    )


@dataclass(frozen=True)
class Columns:
    """The dated facts of leads and accounts, ready to be asked at any instants."""

    records: Records
    people: People
    by_lead: OwnedOpportunities
    by_account: OwnedOpportunities

    @classmethod
    def of(cls, records: Records, account_from: AccountFrom, attribution_days: int) -> Columns:
        """Return the facts in `records`."""
        people = people_of(records.lead_ids, records.account_ids, records.leads)
        n_leads, n_accounts = len(people.lead_ids), len(people.account_ids)
        if not len(records.opportunities.created):
            return cls(
                records,
                people,
                OwnedOpportunities.none(n_leads),
                OwnedOpportunities.none(n_accounts),
            )
        links = links_of(records, people, attribution_days)
        owned = opportunity_accounts(records.opportunities, links, people, account_from)
        return cls(
            records,
            people,
            OwnedOpportunities.of_leads(records.opportunities, links, n_leads),
            OwnedOpportunities.of_accounts(records.opportunities, owned, n_accounts),
        )

    @cached_property
    def _owner_rows(self) -> dict[str, History]:
        """Rows of leads and accounts, by owner."""
        records = self.records
        return {
            "leads": History.of(
                records.leads.leads,
                len(records.lead_ids),
                records.leads.known,
                np.arange(len(records.leads.leads)),
            ),
            "accounts": History.of(
                records.accounts.accounts,
                len(records.account_ids),
                records.accounts.known,
                np.arange(len(records.accounts.accounts)),
            ),
        }

    @cached_property
    def _dated(self) -> Dated:
        """What the dated facts of the funnel are made of, as plain arrays."""
        records, people = self.records, self.people
        stages = [name == "recycled" for name in records.change_stages]
        merged_at = np.full(len(people.lead_ids), NEVER)
        merged_at[people.merges.gone] = people.merges.recorded
        lead_deals, account_deals = self.by_lead.changes, self.by_account.changes
        return Dated(
            people.created,
            records.changes.leads,
            records.changes.changed,
            records.changes.known,
            records.changes.stages,
            np.array(stages, bool),
            merged_at,
            people.accounts.starts,
            people.accounts.known_at,
            people.accounts.values,
            lead_deals.starts,
            lead_deals.known_at,
            self.by_lead.facts,
            account_deals.starts,
            account_deals.known_at,
            self.by_account.facts,
        )

    @cached_property
    def _funnel(self) -> Funnel:
        """Dated facts of the funnel, by owner."""
        return Funnel(*_funnel_of(self._dated, len(self.people.account_ids)))

    def knows(self, table: str) -> bool:
        """Return whether the user has stage changes, or opportunities, be it none of them."""
        rows = self.records.changes.leads
        if table == "opportunities":
            rows = self.records.opportunities.created
        return table in self.records.present or len(rows) > 0

    def at(self, leads: Int64s, accounts: Int64s, as_of: Int64s) -> Asked:
        """Return what was known of each lead (code) and its account (-1: none) at its instant."""
        return Asked(self, leads, accounts, as_of)


@dataclass(frozen=True)
class Asked:
    """Snapshots asked for: arrays of one length."""

    columns: Columns
    leads: Int64s
    accounts: Int64s
    as_of: Int64s

    def fill_funnel(self, which: Int64s, columns: Int64s, matrix: npt.NDArray[np.float32]) -> None:
        """Fill columns of `matrix` with those of FUNNEL, NaN where the table is unknown."""
        knows_changes = self.columns.knows("stage_changes")
        knows_deals = self.columns.knows("opportunities")
        if len(self.leads) * len(self.columns.people.lead_ids) <= FEW:
            _fill_funnel_at_once(
                self.columns._dated, len(self.columns.people.account_ids), self.leads,
                self.accounts, self.as_of, knows_changes, knows_deals, which, columns, matrix,
            )  # fmt: skip
            return
        funnel = self.columns._funnel

        def fill(first: int, last: int) -> None:
            rows = slice(first, last)
            _fill_funnel(
                funnel, self.leads[rows], self.accounts[rows], self.as_of[rows],
                knows_changes, knows_deals, which, columns, matrix[rows],
            )  # fmt: skip

        rows_in_threads(fill, len(self.leads))

    def fill_numbers(
        self, table: str, streams: Sequence[str], columns: Int64s, matrix: npt.NDArray[np.float32]
    ) -> None:
        """Fill columns of `matrix` with attributes of `table`, NaN where missing or no number."""
        _pick(self.columns.records.attributes.numbers(streams), self._rows[table], columns, matrix)

    def categories(self, features: Sequence[tuple[Feature, str]]) -> dict[str, Texts]:
        """Return category columns by name; missing where the attribute is.

        Each feature comes with the table of its attribute, `leads` or `accounts`.
        """
        attributes = self.columns.records.attributes
        found: dict[str, Texts] = {}
        for feature, table in features:
            kind, rows = feature.aggregation, self._rows[table]
            if kind == "attribute":
                texts = attributes.texts(feature.stream)
            else:
                values = attributes.values(feature.stream)
                texts = (
                    [fit_value(kind, value) for value in values]
                    if isinstance(values, list)
                    else fit_values(kind, values)
                )
            found[feature.name] = taken(texts, rows)
        return found

    @cached_property
    def _rows(self) -> dict[str, Int64s]:
        """The row of leads and accounts known of each snapshot's just before it, -1 for none."""
        owners = {"leads": self.leads, "accounts": self.accounts}
        return {
            table: self.columns._owner_rows[table].newest(codes, self.as_of, missing=-1)
            for table, codes in owners.items()
        }


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
def _fill_funnel(  # type: ignore[no-untyped-def]
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
def _funnel_of(dated, n_accounts):  # type: ignore[no-untyped-def]
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
def _fill_funnel_at_once(  # type: ignore[no-untyped-def]
    dated, n_accounts, leads, accounts, as_of, knows_changes, knows_deals, which, columns, matrix
):
    """Do what `_funnel_of` and `_fill_funnel` do: to hand the Funnel over takes longer than both.

    For one lead, whose history is made for this one question.
    """
    funnel = _funnel_of(dated, n_accounts)
    _fill_funnel(funnel, leads, accounts, as_of, knows_changes, knows_deals, which, columns, matrix)


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
def _pick(lines, rows, columns, matrix):  # type: ignore[no-untyped-def]
    """Fill column columns[i] of the matrix with the values of lines[i] in `rows`, NaN for -1."""
    for line in range(len(columns)):
        for place in range(len(rows)):
            row = rows[place]
            matrix[place, columns[line]] = lines[line, row] if row >= 0 else np.nan


@njit(cache=True, nogil=True)
def _days(as_of, instant):  # type: ignore[no-untyped-def]
    """Return the days from an instant to `as_of`, NaN for ALWAYS."""
    return np.nan if instant == ALWAYS else (as_of - instant) / DAY


def taken(texts: Texts, rows: Int64s) -> Texts:
    """Return the texts in `rows`, missing for -1."""
    if isinstance(texts, list):
        if len(rows) == 1:  # one lead, the live path: most of what it takes is calls
            return [texts[rows[0]] if rows[0] >= 0 else None]
        return [texts[row] if row >= 0 else None for row in rows.tolist()]
    return texts.take(rows, allow_fill=True)
