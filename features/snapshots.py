"""Point-in-time snapshots: what was known of leads at instants, one row per lead and `as_of`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.catalogue.catalogue import INDEX_COLUMNS, Catalogue
from features.config import PopulationConfig
from features.draws import draws
from features.facts.columns import Columns, Texts
from features.facts.histories import DAY, Int64s, micros
from features.facts.lookup import codes_in
from features.facts.population import Facts, ids_of, know_facts
from features.facts.records import Records, records_of
from features.kernel.plan import Plans
from features.kernel.streams import Matrix, Timelines
from features.tables import Tables

_WEEK = 7 * DAY
_EPOCH_MONDAY = 4 * DAY  # 1970-01-05


def mondays(first: pd.Timestamp, last: pd.Timestamp) -> npt.NDArray[np.datetime64]:
    """Return every Monday 00:00 in [first, last], as datetime64[us].

    >>> mondays(pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-14")).astype(str).tolist()
    ['2024-01-01T00:00:00.000000', '2024-01-08T00:00:00.000000']
    """
    low, high = (int(np.datetime64(bound, "us").astype(np.int64)) for bound in (first, last))
    start = -((_EPOCH_MONDAY - low) // _WEEK) * _WEEK + _EPOCH_MONDAY
    return np.arange(start, high + 1, _WEEK, dtype=np.int64).view("datetime64[us]")


def lead_weeks(
    tables: Tables, population: PopulationConfig, mondays: npt.NDArray[np.datetime64]
) -> pd.DataFrame:
    """Return the index of snapshots of the population at each of `mondays` (sorted instants).

    Columns lead_id, account_id, as_of, is_eligible, sorted by as_of then lead_id.
    """
    facts = know_facts(tables, population)
    instants = mondays.astype("datetime64[us]").view(np.int64)
    people = facts.people
    first = np.maximum(
        np.searchsorted(instants, people.created),
        np.searchsorted(instants, people.recorded, side="right"),  # known strictly before as_of
    )
    # Week by week, so that rows come in their final order.
    joining = np.argsort(first, kind="stable")
    joined = np.searchsorted(first[joining], np.arange(len(instants)), side="right")
    parts = [np.sort(joining[:n_leads]) for n_leads in joined]
    leads = np.concatenate([np.empty(0, np.int64), *parts])
    return _index_frame(facts, leads, np.repeat(instants, joined))


def at_lead_age(tables: Tables, population: PopulationConfig, age_days: int) -> pd.DataFrame:
    """Return the index of one snapshot per lead, `age_days` after its creation.

    Leads out of the population by then, or not that old at `tables.data_until`, have none.
    """
    facts = know_facts(tables, population)
    as_of = facts.people.created + age_days * DAY
    until = int(np.datetime64(tables.data_until, "us").astype(np.int64))
    leads = np.flatnonzero(as_of <= until)
    leads = leads[np.argsort(as_of[leads], kind="stable")]
    return _index_frame(facts, leads, as_of[leads])


def _index_frame(facts: Facts, leads: Int64s, as_of: Int64s) -> pd.DataFrame:
    standing = facts.standing(leads, as_of)
    kept = standing.in_population
    return pd.DataFrame(
        {
            "lead_id": ids_of(leads[kept], facts.people.lead_ids),
            "account_id": ids_of(standing.accounts[kept], facts.people.account_ids),
            "as_of": as_of[kept].view("datetime64[us]"),
            "is_eligible": standing.is_eligible[kept],
        }
    )


def training_sample(index: pd.DataFrame, every_days: int, seed: int) -> pd.DataFrame:
    """Return the rows of one random Monday per lead and block of `every_days` days.

    `index` is that of `lead_weeks`. Blocks are counted from 1970-01-05. The Monday is chosen among
    all of the block by a hash of (seed, lead, block), so that other leads and rows change nothing
    and every row has the same chance: a lead in the population for one week of a block is in the
    sample only if that week is drawn.
    """
    week = (micros(index["as_of"]) - _EPOCH_MONDAY) // _WEEK
    block = week * 7 // every_days
    first = -(-block * every_days // 7)
    n_mondays = -(-(block + 1) * every_days // 7) - first
    drawn = draws(index["lead_id"], block, seed)
    chosen = first + (drawn % n_mondays.astype(np.uint64)).astype(np.int64)
    is_chosen: npt.NDArray[np.bool_] = week == chosen
    return index.loc[is_chosen].reset_index(drop=True)


@dataclass(frozen=True)
class Past:
    """All that is dated, prepared once, to be asked for snapshots at any instants."""

    catalogue: Catalogue
    columns: Columns
    timelines: Timelines

    @classmethod
    def of(cls, tables: Tables, catalogue: Catalogue) -> Past:
        """Return the past of `tables`, as far as the features of `catalogue` look at it."""
        plans = Plans.of(catalogue)
        records = records_of(tables, catalogue.account_from, plans.event_columns)
        return cls.of_records(records, catalogue, plans)

    @classmethod
    def of_records(cls, records: Records, catalogue: Catalogue, plans: Plans) -> Past:
        """Return the past of tables that are integers already; `plans` are the catalogue's."""
        columns = Columns.of(records, catalogue.account_from, catalogue.attribution_days)
        return cls(catalogue, columns, Timelines.of(records, columns.people, plans))

    def features(self, leads: Int64s, as_of: Int64s) -> tuple[Matrix, dict[str, Texts]]:
        """Return the number features of each lead (code) at its instant, and its category features.

        Numbers are float32 (n_rows, n_numbers) in catalogue order, NaN where missing.
        """
        plans = self.timelines.plans
        accounts = self.columns.people.accounts.newest(leads, as_of, missing=-1)
        matrix = np.empty((len(leads), len(plans.number_names)), np.float32)
        categories = self.timelines.fill(leads, accounts, as_of, matrix)
        asked = self.columns.at(leads, accounts, as_of)
        asked.fill_funnel(plans.funnel_rows, plans.funnel_columns, matrix)
        for table, streams, columns in plans.attribute_numbers:
            asked.fill_numbers(table, streams, columns, matrix)
        return matrix, categories | asked.categories(plans.attribute_categories)

    def snapshots(self, index: pd.DataFrame) -> pd.DataFrame:
        """Return the snapshots of `index`: its four columns, then the features.

        Rows are sorted by as_of then lead_id. Numbers are float32, categories str; NaN is missing.
        Only rows recorded before each `as_of` count.
        """
        people = self.columns.people
        leads, as_of = codes_in(index["lead_id"], people.lead_ids), micros(index["as_of"])
        if (leads < 0).any():
            raise ValueError("the index holds leads that are not in leads")
        is_later = (as_of[1:] > as_of[:-1]) | ((as_of[1:] == as_of[:-1]) & (leads[1:] > leads[:-1]))
        if not is_later.all():
            order = np.lexsort((leads, as_of))
            leads, as_of, index = leads[order], as_of[order], index.iloc[order]
        matrix, categories = self.features(leads, as_of)
        names = list(self.timelines.plans.number_names)
        snapshots = pd.DataFrame(matrix, columns=names, copy=False)
        # Inserted one by one, since a reordered frame would be a copy of the matrix.
        for place, name in enumerate(self.catalogue.names):
            if name in categories:
                snapshots.insert(place, name, pd.Series(categories[name], dtype="str").array)
        for place, name in enumerate(INDEX_COLUMNS):
            snapshots.insert(place, name, index[name].array)
        return snapshots


def build_snapshots(tables: Tables, catalogue: Catalogue, index: pd.DataFrame) -> pd.DataFrame:
    """Return the snapshots of `index`, as `Past.snapshots` does; for a single question."""
    return Past.of(tables, catalogue).snapshots(index)
