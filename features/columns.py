"""Columns that need no timeline: attributes, stage changes, opportunities as known at `as_of`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.deal_facts import OpportunityFacts, OwnedOpportunities
from features.deals import Links, asks_events, link, opportunity_accounts
from features.feature import Feature
from features.fit_columns import FIT_AGGREGATIONS, fit_value, fit_values
from features.histories import ALWAYS, DAY, NEVER, History, Int64s
from features.identity import AccountFrom, People, people_of
from features.records import Records

Floats = npt.NDArray[np.float64]
Texts = pd.api.extensions.ExtensionArray | list[str | None]


def links_of(records: Records, people: People, attribution_days: int) -> Links:
    """Return which leads the opportunities label, and between which instants one would say so."""
    events = records.events
    leads = occurred = accounts = visible = np.empty(0, np.int64)
    if asks_events(records.opportunities, records.contacts):
        leads, occurred = events.leads, events.occurred
        rows = people.event_rows(leads, occurred)
        accounts = people.accounts.values[rows]  # noqa: PD011  # not pandas
        visible = np.maximum(events.visible, people.accounts.known_at[rows])
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
        links = links_of(records, people, attribution_days)
        owned = opportunity_accounts(records.opportunities, links, people, account_from)
        return cls(
            records,
            people,
            OwnedOpportunities.of_leads(records.opportunities, links, len(people.lead_ids)),
            OwnedOpportunities.of_accounts(records.opportunities, owned, len(people.account_ids)),
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
    def _changed(self) -> History:
        changes = self.records.changes
        return History.of_newest(
            changes.leads, len(self.records.lead_ids), changes.known, changes.changed
        )

    @cached_property
    def _recycled(self) -> History:
        changes = self.records.changes
        is_recycled = np.array([name == "recycled" for name in self.records.change_stages], bool)
        rows = is_recycled[changes.stages]
        return History.of(
            changes.leads[rows],
            len(self.records.lead_ids),
            changes.known[rows],
            changes.changed[rows],
        )

    @cached_property
    def _belonging(self) -> tuple[History, History]:
        """When leads joined each account; and when they left it, or were merged away."""
        people = self.people
        history = people.accounts
        n_leads = len(people.lead_ids)
        owner = np.repeat(np.arange(n_leads), np.diff(history.starts))
        merged_at = np.full(n_leads, NEVER)
        merged_at[people.merges.gone] = people.merges.recorded
        joined = np.maximum(history.known_at, people.recorded[owner])
        is_last = np.append(owner[1:] != owner[:-1], True)
        left = np.append(history.known_at[1:], NEVER)
        left = np.minimum(np.where(is_last, NEVER, left), merged_at[owner])
        stays = joined < left
        owners, joined, left = history.values[stays], joined[stays], left[stays]  # noqa: PD011  # not pandas
        n_accounts = len(people.account_ids)
        return (
            History.of(owners, n_accounts, joined, joined),
            History.of(owners, n_accounts, left, left),
        )

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

    def number(self, feature: Feature) -> npt.NDArray[np.floating]:
        """Return a number column; missing where what it needs is unknown."""
        kind, records = feature.aggregation, self.columns.records
        if kind == "attribute":
            found = records.attributes.numbers(feature.stream)
            return np.append(found, np.float32(np.nan))[self._rows_of(feature)]
        if kind == "lead_age_days":
            return (self.as_of - self.columns.people.created[self.leads]) / DAY
        if kind == "account_leads":
            joined, left = self.columns._belonging
            stay = joined.count(self.accounts, self.as_of) - left.count(self.accounts, self.as_of)
            return self._where_account(stay)
        table = "stage_changes" if kind in STAGE_CHANGES else "opportunities"
        rows = records.changes.leads if table == "stage_changes" else records.opportunities.created
        if not len(rows) and table not in records.present:
            return np.full(len(self.leads), np.nan)
        if kind == "times_recycled":
            return self.columns._recycled.count(self.leads, self.as_of).astype(np.float64)
        if kind == "days_since_stage_change":
            return self._days_since(self.columns._changed.newest(self.leads, self.as_of))
        if kind.startswith("account_"):
            of_account = self._of_deals(self._account_deals, kind.removeprefix("account_"))
            return self._where_account(of_account)
        return self._of_deals(self._lead_deals, kind)

    def category(self, feature: Feature) -> Texts:
        """Return a category column; missing where the attribute is."""
        texts = self.columns.records.attributes.texts(feature.stream)
        if feature.aggregation in FIT_AGGREGATIONS and isinstance(texts, list):
            texts = [fit_value(feature.aggregation, text) for text in texts]
        elif feature.aggregation in FIT_AGGREGATIONS:
            texts = fit_values(feature.aggregation, pd.Series(texts))
        return taken(texts, self._rows_of(feature))

    def _rows_of(self, feature: Feature) -> Int64s:
        return self._rows[feature.stream.partition(".")[0]]

    @cached_property
    def _rows(self) -> dict[str, Int64s]:
        """The row of leads and accounts known of each snapshot's just before it, -1 for none."""
        owners = {"leads": self.leads, "accounts": self.accounts}
        return {
            table: self.columns._owner_rows[table].newest(codes, self.as_of, missing=-1)
            for table, codes in owners.items()
        }

    def _where_account(self, values: npt.NDArray[np.generic]) -> Floats:
        return np.where(self.accounts >= 0, values.astype(np.float64), np.nan)

    def _days_since(self, instants: Int64s) -> Floats:
        return np.where(instants == ALWAYS, np.nan, (self.as_of - instants) / DAY)

    @cached_property
    def _lead_deals(self) -> OpportunityFacts:
        return self.columns.by_lead.at(self.leads, self.as_of)

    @cached_property
    def _account_deals(self) -> OpportunityFacts:
        return self.columns.by_account.at(self.accounts, self.as_of)

    def _of_deals(self, facts: OpportunityFacts, kind: str) -> Floats:
        if kind in _COUNTS:
            return np.asarray(getattr(facts, _COUNTS[kind]), np.float64)
        return self._days_since(getattr(facts, _INSTANTS[kind]))


STAGE_CHANGES = ("days_since_stage_change", "times_recycled")
_COUNTS = {"open_opportunities": "open", "lost_opportunities": "lost", "won_opportunities": "won"}
_INSTANTS = {
    "days_since_opportunity": "created",
    "days_since_lost": "lost_at",
    "days_since_won": "won_at",
}


def taken(texts: Texts, rows: Int64s | Sequence[int]) -> Texts:
    """Return the texts in `rows`, missing for -1."""
    if isinstance(texts, list):
        return [texts[row] if row >= 0 else None for row in rows]
    return texts.take(rows, allow_fill=True)
