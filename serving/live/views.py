"""A request as one model sees it: its leads' features and standing at any instants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from features.catalogue.catalogue import Catalogue
from features.config import PopulationConfig
from features.facts.columns import Texts
from features.facts.histories import ALWAYS, Int64s
from features.facts.population import Facts, Standing
from features.kernel.streams import Matrix
from features.live import LiveSnapshots, Rows
from features.request_tables import own_id, plain_id
from features.snapshots import Past

Pairs = Sequence[tuple[str, int]]
"(lead_id, instant)"
Features = tuple[Matrix, dict[str, list[str | None]]]
"Numbers, float32 (n_pairs, n_numbers), and categories by name."


class View:
    """The rows of a request, prepared for all that one model asks of them when it first asks."""

    def __init__(
        self, snapshots: LiveSnapshots, tables: Mapping[str, Rows], population: PopulationConfig
    ) -> None:
        self.snapshots = snapshots
        self.tables = tables
        self.population = population

    @property
    def n_leads(self) -> int:
        """How many leads the rows are of."""
        return len({*self.tables["leads"]["lead_id"]})

    @cached_property
    def past(self) -> Past:
        """What the rows tell."""
        return self.snapshots.past(self.tables)

    @cached_property
    def codes(self) -> dict[str, int]:
        """The code of each lead in `past`."""
        return {lead: code for code, lead in enumerate(self.past.columns.people.lead_ids)}

    def features(self, pairs: Pairs) -> Features:
        """Return the features of each lead at its instant."""
        leads, instants = self._queried(pairs)
        numbers, categories = self.past.features(leads, instants)
        return numbers, {name: _plain(texts) for name, texts in categories.items()}

    def created(self, lead: str) -> int:
        """Return when a lead was created."""
        return int(self.past.columns.people.created[self.codes[lead]])

    def account_id(self, code: int) -> str | None:
        """Return the id of an account by its code, None for -1."""
        return None if code < 0 else self._plain_id(self.past.columns.people.account_ids[code])

    def standing(self, pairs: Pairs) -> Standing:
        """Return where each lead stood at its instant."""
        leads, instants = self._queried(pairs)
        people, records = self.past.columns.people, self.past.columns.records
        has_history = len(records.changes.leads) or len(records.opportunities.created)
        if has_history or len(people.merges.gone):
            return self._facts.standing(leads, instants)
        # Nothing but its creation says where a lead stands: as of most, and ten times as fast.
        is_known = (people.created[leads] <= instants) & (people.recorded[leads] < instants)
        accounts = people.accounts.newest(leads, instants, missing=-1)
        return Standing(is_known, is_known, accounts)

    def recycled_at(self, lead: str, instant: int) -> int | None:
        """Return when a lead was last recycled, as far as was known at an instant."""
        if "recycled" not in self.past.columns.records.change_stages:
            return None
        leads, instants = self._queried([(lead, instant)])
        newest = int(self._facts.recycled.newest(leads, instants)[0])
        return None if newest == ALWAYS else newest

    def why_out(self, lead: str, instant: int) -> str:
        """Return why a lead is not in the population."""
        leads, instants = self._queried([(lead, instant)])
        facts, people = self._facts, self.past.columns.people
        code = leads[0]
        if not (people.created[code] <= instant and people.recorded[code] < instant):
            return "it was not known yet"
        if facts.merged.count(leads, instants)[0]:
            return "it was merged into another lead"
        if facts.by_lead.at(leads, instants).won[0]:
            return "its opportunity was won"
        recycled = facts.recycled.newest(leads, instants)[0]
        if facts.disqualified.newest(leads, instants)[0] > recycled:
            return "it was disqualified"
        accounts = people.accounts.newest(leads, instants, missing=-1)
        if (
            self.population.customers == "exclude"
            and facts.by_account.at(accounts, instants).won[0]
        ):
            return "its account is a customer"
        return "its opportunity was lost"

    @staticmethod
    def _plain_id(one: str) -> str:
        return one

    @cached_property
    def _facts(self) -> Facts:
        return Facts.of(self.past.columns, self.population)

    def _queried(self, pairs: Pairs) -> tuple[Int64s, Int64s]:
        leads = np.array([self.codes[lead] for lead, _ in pairs], np.int64)
        return leads, np.array([instant for _, instant in pairs], np.int64)


class CommonView(View):
    """Views of several requests as one, of the leads that each is asked for.

    To prepare rows and to walk them takes mostly calls, which they share. No lead may be asked for
    by two of them. What is asked of all rows of a request is asked of its own view.
    """

    def __init__(self, views: Sequence[View], lead_ids: Sequence[Sequence[str]]) -> None:
        first = views[0]
        super().__init__(first.snapshots, {}, first.population)
        self._views, self._lead_ids = views, lead_ids

    @cached_property
    def past(self) -> Past:
        """What the rows tell of all."""
        return self.snapshots.past(*(view.tables for view in self._views))

    @cached_property
    def codes(self) -> dict[str, int]:
        """The code of each lead that is asked for."""
        ids = self.past.columns.people.lead_ids
        codes = {lead: code for code, lead in enumerate(ids)}
        return {
            lead: codes[own_id(number, lead)]
            for number, leads in enumerate(self._lead_ids)
            for lead in leads
        }

    _plain_id = staticmethod(plain_id)


def rows_of(features: Features, rows: slice) -> Features:
    """Return some rows of features."""
    numbers, categories = features
    return numbers[rows], {name: texts[rows] for name, texts in categories.items()}


def row_of(features: Features, row: int) -> Features:
    """Return one row of features."""
    return rows_of(features, slice(row, row + 1))


def population_of(catalogue: Catalogue, population: PopulationConfig) -> PopulationConfig:
    """Return the population with the accounts and the attribution of `catalogue`."""
    of_catalogue = {
        "account_from": catalogue.account_from,
        "attribution_days": catalogue.attribution_days,
    }
    return population.model_copy(update=of_catalogue)


def flat_rows(rows: Mapping[str, Rows]) -> dict[str, Rows]:
    """Return leads without dates as created long ago, so that the kernel takes them."""
    leads = rows["leads"]
    return {"leads": {**leads, "created_at": [0] * len(leads["lead_id"])}}


def _plain(texts: Texts) -> list[str | None]:
    if isinstance(texts, list):
        return texts
    values = texts.astype(object)
    return [value if isinstance(value, str) else None for value in values]
