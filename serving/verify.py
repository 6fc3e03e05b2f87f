"""`closedwon verify`: the live path and batch, side by side for leads of the past and open ones.

Each sampled lead is looked at twice as of an instant of the past: in batch, from whole tables and
many at a time, and live, alone and from the rows a CRM would have sent then. Any difference is
skew between training and serving, so 0 is the only pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.catalogue.catalogue import Catalogue
from features.catalogue.feature import Feature
from features.config import Config, PopulationConfig
from features.errors import InputError
from features.facts.columns import Columns
from features.facts.histories import micros
from features.facts.population import Facts
from features.fit.fit_columns import (
    FIT_AGGREGATIONS,
    column_of,
    fit_value,
    flat_columns,
    with_fit_columns,
)
from features.live import LiveSnapshots, Rows, records_of_rows
from features.loading.flat import load_open_rows
from features.loading.sources import load_tables
from features.snapshots import at_lead_age, build_snapshots, lead_weeks, mondays
from features.tables import Tables
from models.scorer import Scorer
from serving.open_leads import (
    is_of_flat_export,
    open_index,
    other_kind,
    refuse_missing_columns,
    tables_read,
)
from serving.past_rows import PastRows
from serving.skew import Live, Mismatch, Verification, compare
from serving.verify_requests import request_mismatches

SEED = 0
"Of the sample: the same data and model, the same lead-dates."
MOST_MONDAYS = 60
"Looked at for the sample, so that large data need no index of every week."
TablesAt = Callable[[str, int], Mapping[str, Rows]]
"(lead, instant) -> the rows of a live request."


def verify_past(
    scorer: Scorer,
    config: Config,
    folder: Path,
    sample: int,
) -> Verification:
    """Return how live and batch compare on the sources of `config`, as `verify_tables` does.

    A model of a flat export is verified on the export's rows: it has no past to rebuild, so live
    means one row alone. Raises InputError as the loaders do, and for a source of another kind.
    """
    catalogue = scorer.catalogue
    is_flat = is_of_flat_export(catalogue)
    if is_flat != (config.flat is not None):
        raise InputError(other_kind(is_flat, None))
    if is_flat:
        rows = load_open_rows(config, folder, flat_columns(catalogue.features))
        return verify_rows(scorer, rows, sample)
    tables = load_tables(config, folder, required=tables_read(catalogue)).tables
    refuse_missing_columns(tables, catalogue)
    population = config.population.model_copy(
        update={
            "account_from": catalogue.account_from,
            "attribution_days": catalogue.attribution_days,
        }
    )
    found = verify_tables(scorer, tables, population, sample)
    index = open_index(tables, scorer, config)
    chosen = index.iloc[_drawn(len(index), sample)].reset_index(drop=True)
    mismatches = verify_requests(scorer, tables, population, chosen)
    return replace(found, requests=len(chosen), mismatches=(*found.mismatches, *mismatches))


def verify_requests(
    scorer: Scorer, tables: Tables, population: PopulationConfig, index: pd.DataFrame
) -> tuple[Mismatch, ...]:
    """Return where open leads, scored from the requests a CRM would send now, differ from batch."""
    if index.empty:
        return ()
    batch = build_snapshots(tables, scorer.catalogue, index)
    past = PastRows(tables, scorer.catalogue.account_from, batch["lead_id"].tolist())
    now = int(np.datetime64(tables.data_until, "us").astype(np.int64)) + 1
    return request_mismatches(scorer, population, batch, past, now)


def verify_tables(
    scorer: Scorer,
    tables: Tables,
    population: PopulationConfig,
    sample: int,
) -> Verification:
    """Return how live and batch compare for `sample` lead-dates of the population of the past.

    The dates are Mondays, or the age of a model that knows leads of one age only. `population`
    has the accounts and the attribution of the scorer's catalogue. Raises InputError where the
    past holds no lead.
    """
    index = lead_dates(scorer, tables, population, sample)
    batch = build_snapshots(tables, scorer.catalogue, index)
    standing = batch[["account_id", "is_eligible"]].assign(in_population=True)
    past = PastRows(tables, scorer.catalogue.account_from, batch["lead_id"].tolist())
    live = live_snapshots(scorer.catalogue, population, batch, past.at)
    return compare(scorer, batch, standing, live)


def verify_rows(
    scorer: Scorer,
    rows: pd.DataFrame,
    sample: int,
) -> Verification:
    """Return how rows of a flat export score one at a time, from plain values, and all at once."""
    if rows.empty:
        raise InputError("The flat file has no rows to verify.")
    features = scorer.catalogue.features
    chosen = rows.iloc[_drawn(len(rows), sample)].reset_index(drop=True)
    standing = chosen[["account_id", "is_eligible"]].assign(in_population=True)
    plain = chosen.astype(object).to_dict("list")
    live = (
        (_one_row(scorer.catalogue, _read(features, one), one), {**one, "in_population": True})
        for n in range(len(chosen))
        for one in [{str(name): column[n] for name, column in plain.items()}]
    )
    return compare(scorer, with_fit_columns(chosen, features), standing, live)


def _read(features: tuple[Feature, ...], row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the features of one row of a flat export."""
    return {
        feature.name: row[feature.name]
        if feature.aggregation not in FIT_AGGREGATIONS
        else fit_value(feature.aggregation, row[column_of(feature)])
        for feature in features
    }


def lead_dates(
    scorer: Scorer, tables: Tables, population: PopulationConfig, sample: int
) -> pd.DataFrame:
    """Return the index of at most `sample` snapshots, drawn at random, sorted by as_of and lead."""
    age_days = scorer.facts.get("lead_age_days")
    if age_days is not None:
        index = at_lead_age(tables, population, age_days)
    else:
        weeks = mondays(tables.leads["created_at"].min(), tables.data_until)
        few = np.sort(np.random.default_rng(SEED).permutation(len(weeks))[:MOST_MONDAYS])
        index = lead_weeks(tables, population, weeks[few])
        if len(index) < sample:
            index = lead_weeks(tables, population, weeks)
    if index.empty:
        raise InputError("No lead was in the population at any Monday of the past.")
    return index.iloc[_drawn(len(index), sample)].reset_index(drop=True)


def _drawn(n_rows: int, sample: int) -> npt.NDArray[np.int64]:
    return np.sort(np.random.default_rng(SEED).permutation(n_rows)[:sample])


def live_snapshots(
    catalogue: Catalogue, population: PopulationConfig, index: pd.DataFrame, tables_at: TablesAt
) -> Iterator[Live]:
    """Yield the snapshot of each row of `index` as the live path makes it, one lead at a time."""
    recipe = LiveSnapshots.of(catalogue)
    instants = micros(index["as_of"]).tolist()
    for lead_id, as_of in zip(index["lead_id"], instants, strict=True):
        rows = tables_at(lead_id, as_of)
        standing = _standing(catalogue, population, rows, lead_id, as_of)
        features = recipe.snapshot(rows, lead_id, as_of)
        identity = {"lead_id": lead_id, "as_of": np.datetime64(as_of, "us"), **standing}
        yield _one_row(catalogue, features, identity), standing


def _standing(
    catalogue: Catalogue,
    population: PopulationConfig,
    tables: Mapping[str, Rows],
    lead_id: str,
    as_of: int,
) -> dict[str, Any]:
    records = records_of_rows(tables, catalogue.account_from, frozenset())
    columns = Columns.of(records, catalogue.account_from, catalogue.attribution_days)
    lead = np.array([list(records.lead_ids).index(lead_id)])
    found = Facts.of(columns, population).standing(lead, np.array([as_of]))
    account = int(found.accounts[0])
    return {
        "in_population": bool(found.in_population[0]),
        "is_eligible": bool(found.is_eligible[0]),
        "account_id": None if account < 0 else records.account_ids[account],
    }


def _one_row(
    catalogue: Catalogue, features: Mapping[str, Any], identity: Mapping[str, Any]
) -> pd.DataFrame:
    """Return plain values as a snapshot of one row."""
    columns: dict[str, Any] = {
        "lead_id": pd.array([identity["lead_id"]], dtype="str"),
        "account_id": pd.array([identity["account_id"]], dtype="str"),
        "as_of": pd.Series([identity["as_of"]], dtype="datetime64[us]"),
        "is_eligible": np.array([identity["is_eligible"]], bool),
    }
    for feature in catalogue.features:
        value = features[feature.name]
        columns[feature.name] = (
            np.array([value], np.float32)
            if feature.dtype == "number"
            else pd.array([value], dtype="str")
        )
    return pd.DataFrame(columns)
