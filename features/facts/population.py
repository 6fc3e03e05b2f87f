"""Who is scored at an instant, and who may become an MQL then."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.config import PopulationConfig
from features.facts.columns import Columns
from features.facts.deal_facts import OwnedOpportunities
from features.facts.histories import DAY, Bools, History, Int64s, micros
from features.facts.identity import People
from features.facts.lookup import Ids, codes_in
from features.facts.records import records_of
from features.tables import Tables

HANDED_OVER = frozenset({"mql", "sal", "sql"})


@dataclass(frozen=True)
class Standing:
    """Where leads stood at instants: three arrays of one length."""

    in_population: Bools
    is_eligible: Bools
    accounts: Int64s
    "Account codes, -1 for none."


@dataclass(frozen=True)
class Facts:
    """The dated facts that decide where a lead stands."""

    people: People
    disqualified: History
    recycled: History
    handed_over: History
    "Newest mql, sal or sql change."
    merged: History
    by_lead: OwnedOpportunities
    by_account: OwnedOpportunities
    population: PopulationConfig

    def standing(self, leads: Int64s, instants: Int64s) -> Standing:
        """Return where each lead (code) stood at its instant (same length).

        A lead is in the population from its creation, once it is recorded. It is out while merged
        away, disqualified or lost (with no open opportunity) since it was last recycled, and once
        won. A change and a `recycled` of the same instant: the lead is recycled.
        """
        people = self.people
        recycled = self.recycled.newest(leads, instants)
        deals = self.by_lead.at(leads, instants)
        has_open = deals.open > 0
        is_out = self.disqualified.newest(leads, instants) > recycled
        is_out |= (deals.lost_at > recycled) & ~has_open
        is_out |= deals.won > 0
        is_out |= self.merged.count(leads, instants) > 0
        accounts = people.accounts.newest(leads, instants, missing=-1)
        if self.population.customers == "exclude":
            is_out |= self.by_account.at(accounts, instants).won > 0
        is_known = (people.created[leads] <= instants) & (people.recorded[leads] < instants)
        handed_over = self.handed_over.newest(leads, instants)
        is_with_sales = handed_over > recycled
        if self.population.requalify_after_days is not None:
            rest = self.population.requalify_after_days * DAY
            is_with_sales &= handed_over > instants - rest
        in_population = is_known & ~is_out
        return Standing(in_population, in_population & ~has_open & ~is_with_sales, accounts)

    @classmethod
    def of(cls, columns: Columns, population: PopulationConfig) -> Facts:
        """Return the facts in `columns`."""
        records = columns.records
        changes, n_leads = records.changes, len(records.lead_ids)

        def newest(stages: frozenset[str]) -> History:
            is_wanted = np.array([stage in stages for stage in records.change_stages], bool)
            rows = is_wanted[changes.stages]
            return History.of_newest(
                changes.leads[rows], n_leads, changes.known[rows], changes.changed[rows]
            )

        merges = columns.people.merges
        return cls(
            people=columns.people,
            disqualified=newest(frozenset({"disqualified"})),
            recycled=newest(frozenset({"recycled"})),
            handed_over=newest(HANDED_OVER),
            merged=History.of(merges.gone, n_leads, merges.recorded, merges.survivor),
            by_lead=columns.by_lead,
            by_account=columns.by_account,
            population=population,
        )


def know_facts(tables: Tables, population: PopulationConfig) -> Facts:
    """Return the dated facts of `tables`, ready to be asked at any instants."""
    records = records_of(tables, population.account_from, event_columns=frozenset())
    columns = Columns.of(records, population.account_from, population.attribution_days)
    return Facts.of(columns, population)


def standing(tables: Tables, population: PopulationConfig, pairs: pd.DataFrame) -> pd.DataFrame:
    """Return `in_population`, `is_eligible` and `account_id` for each row of `pairs`.

    `pairs` has `lead_id` and `as_of`; a lead that is not in `tables.leads` is in no population.
    """
    facts = know_facts(tables, population)
    leads = codes_in(pairs["lead_id"], facts.people.lead_ids)
    is_known = leads >= 0
    found = facts.standing(leads[is_known], micros(pairs["as_of"])[is_known])
    in_population = np.zeros(len(pairs), dtype=bool)
    is_eligible = np.zeros(len(pairs), dtype=bool)
    accounts = np.full(len(pairs), -1, np.int64)
    in_population[is_known] = found.in_population
    is_eligible[is_known] = found.is_eligible
    accounts[is_known] = found.accounts
    return pairs[["lead_id", "as_of"]].assign(
        in_population=in_population,
        is_eligible=is_eligible,
        account_id=ids_of(accounts, facts.people.account_ids),
    )


def ids_of(codes: Int64s, ids: Ids) -> pd.api.extensions.ExtensionArray:
    """Return the ids of `codes` as `str`, missing for -1."""
    array: pd.api.extensions.ExtensionArray = pd.Series(ids, dtype="str").array
    return array.take(codes, allow_fill=True)
