"""Columns that need no timeline: attributes, stage changes, opportunities as known at `as_of`."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.catalogue import Catalogue
from features.feature import BY_ACCOUNT, BY_LEAD
from features.histories import ALWAYS, DAY, NEVER, History, Int64s, codes_in, micros
from features.identity import People
from features.opportunities import (
    OpportunityFacts,
    OwnedOpportunities,
    link,
    opportunity_accounts,
)
from features.streams import Matrix
from features.tables import Tables

Floats = npt.NDArray[np.float64]
Texts = pd.api.extensions.ExtensionArray


def fill_columns(
    tables: Tables,
    people: People,
    catalogue: Catalogue,
    leads: Int64s,
    accounts: Int64s,
    as_of: Int64s,
    matrix: Matrix,
) -> dict[str, Texts]:
    """Fill the number columns of `matrix` that need no timeline; return the category columns."""
    features = [f for f in catalogue.features if f.aggregation not in BY_LEAD + BY_ACCOUNT]
    numbers = [feature.name for feature in catalogue.features if feature.dtype == "number"]
    position = {name: column for column, name in enumerate(numbers)}
    attributes = [feature for feature in features if feature.aggregation == "attribute"]
    categories: dict[str, Texts] = {}
    rows = {
        "leads": _newest_rows(tables, "leads", people.lead_ids, leads, as_of),
        "accounts": _newest_rows(tables, "accounts", people.account_ids, accounts, as_of),
    }
    for feature in attributes:
        owner, _, column = feature.stream.partition(".")
        if feature.dtype == "number":
            matrix[:, position[feature.name]] = _numbers(
                getattr(tables, owner), column, rows[owner]
            )
        else:
            categories[feature.name] = _categories(getattr(tables, owner), column, rows[owner])
    asked = _Asked(tables, people, catalogue, leads, accounts, as_of)
    for feature in features:
        if feature.aggregation != "attribute":
            matrix[:, position[feature.name]] = asked.column(feature.aggregation)
    return categories


def _newest_rows(tables: Tables, owner: str, ids: pd.Index, codes: Int64s, as_of: Int64s) -> Int64s:
    """Return the row of `owner` known of each code just before `as_of`, -1 for none."""
    rows = getattr(tables, owner)
    key = "lead_id" if owner == "leads" else "account_id"
    recorded = micros(rows["recorded_at"])
    if owner in tables.current_state:
        recorded = np.full(len(rows), ALWAYS)
    history = History.of(codes_in(rows[key], ids), len(ids), recorded, np.arange(len(rows)))
    return history.newest(codes, as_of, missing=-1)


def _numbers(table: pd.DataFrame, column: str, rows: Int64s) -> npt.NDArray[np.float32]:
    """Return the values of `column` in `rows` (-1: none), missing where they are no numbers."""
    if column not in table:
        return np.full(len(rows), np.nan, np.float32)
    values = pd.to_numeric(table[column], errors="coerce").to_numpy(np.float32, na_value=np.nan)
    return np.asarray(np.append(values, np.float32(np.nan))[rows])


def _categories(table: pd.DataFrame, column: str, rows: Int64s) -> Texts:
    """Return the texts of `column` in `rows` (-1: none)."""
    if column not in table:
        return pd.array([None] * len(rows), dtype="str")
    texts: Texts = table[column].astype("str").array
    return texts.take(rows, allow_fill=True)


class _Asked:
    """The snapshots asked for, with the histories made when a column first needs them."""

    def __init__(
        self,
        tables: Tables,
        people: People,
        catalogue: Catalogue,
        leads: Int64s,
        accounts: Int64s,
        as_of: Int64s,
    ) -> None:
        self._tables = tables
        self._people = people
        self._catalogue = catalogue
        self._leads = leads
        self._accounts = accounts
        self._as_of = as_of

    def column(self, aggregation: str) -> Floats:
        """Return one column; missing where what it needs is unknown."""
        if aggregation == "lead_age_days":
            return (self._as_of - self._people.created[self._leads]) / DAY
        if aggregation == "account_leads":
            return self._where_account(self._known_leads())
        if aggregation in ("days_since_stage_change", "times_recycled"):
            return self._stage_changes(aggregation)
        if not len(self._tables.opportunities) and "opportunities" not in self._tables.present:
            return np.full(len(self._leads), np.nan)
        if aggregation.startswith("account_"):
            found = self._opportunities(True, aggregation.removeprefix("account_"))
            return self._where_account(found)
        return self._opportunities(False, aggregation)

    def _where_account(self, values: Floats) -> Floats:
        return np.where(self._accounts >= 0, values, np.nan)

    def _days_since(self, instants: Int64s) -> Floats:
        return np.where(instants == ALWAYS, np.nan, (self._as_of - instants) / DAY)

    def _stage_changes(self, aggregation: str) -> Floats:
        changes = self._tables.stage_changes
        if not len(changes) and "stage_changes" not in self._tables.present:
            return np.full(len(self._leads), np.nan)
        if aggregation == "times_recycled":
            changes = changes[changes["stage"] == "recycled"]
        changed = micros(changes["changed_at"])
        history = History.of_newest(
            codes_in(changes["lead_id"], self._people.lead_ids),
            len(self._people.lead_ids),
            np.maximum(changed, micros(changes["recorded_at"])),
            changed,
        )
        if aggregation == "times_recycled":
            return history.count(self._leads, self._as_of).astype(np.float64)
        return self._days_since(history.newest(self._leads, self._as_of))

    def _known_leads(self) -> Floats:
        """Return how many leads belong to the account: joined it, and neither left nor merged."""
        people = self._people
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
        joins = History.of(owners, n_accounts, joined, joined)
        leaves = History.of(owners, n_accounts, left, left)
        stay = joins.count(self._accounts, self._as_of) - leaves.count(self._accounts, self._as_of)
        return stay.astype(np.float64)

    def _opportunities(self, of_account: bool, aggregation: str) -> Floats:
        facts = self._facts[of_account]
        if aggregation == "days_since_opportunity":
            return self._days_since(facts.created)
        if aggregation == "open_opportunities":
            return facts.open.astype(np.float64)
        if aggregation == "lost_opportunities":
            return facts.lost.astype(np.float64)
        if aggregation == "days_since_lost":
            return self._days_since(facts.lost_at)
        raise ValueError(f"unknown aggregation: {aggregation}")

    @cached_property
    def _facts(self) -> tuple[OpportunityFacts, OpportunityFacts]:
        """What was known of the opportunities of the leads, and of the accounts."""
        tables, people, catalogue = self._tables, self._people, self._catalogue
        links = link(tables, people, catalogue.attribution_days)
        owned = opportunity_accounts(tables, people, links, catalogue.account_from)
        by_lead = OwnedOpportunities.of(tables, links, "lead", len(people.lead_ids))
        by_account = OwnedOpportunities.of(tables, owned, "account", len(people.account_ids))
        return (
            by_lead.at(self._leads, self._as_of),
            by_account.at(self._accounts, self._as_of),
        )
