"""Columns that need no timeline: attributes, stage changes, opportunities as known at `as_of`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
from numba import njit

from features.catalogue.feature import Feature
from features.facts.deal_facts import OwnedOpportunities
from features.facts.deals import Links, asks_events, link, opportunity_accounts
from features.facts.funnel import Dated, Funnel, fill_funnel, fill_funnel_at_once, funnel_of
from features.facts.histories import FEW, NEVER, History, Int64s
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
        return Funnel(*funnel_of(self._dated, len(self.people.account_ids)))

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
            fill_funnel_at_once(
                self.columns._dated, len(self.columns.people.account_ids), self.leads,
                self.accounts, self.as_of, knows_changes, knows_deals, which, columns, matrix,
            )  # fmt: skip
            return
        funnel = self.columns._funnel

        def fill(first: int, last: int) -> None:
            rows = slice(first, last)
            fill_funnel(
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


@njit(cache=True, nogil=True)
def _pick(lines, rows, columns, matrix):  # type: ignore[no-untyped-def]
    """Fill column columns[i] of the matrix with the values of lines[i] in `rows`, NaN for -1."""
    for line in range(len(columns)):
        for place in range(len(rows)):
            row = rows[place]
            matrix[place, columns[line]] = lines[line, row] if row >= 0 else np.nan


def taken(texts: Texts, rows: Int64s) -> Texts:
    """Return the texts in `rows`, missing for -1."""
    if isinstance(texts, list):
        if len(rows) == 1:  # one lead, the live path: most of what it takes is calls
            return [texts[rows[0]] if rows[0] >= 0 else None]
        return [texts[row] if row >= 0 else None for row in rows.tolist()]
    return texts.take(rows, allow_fill=True)
