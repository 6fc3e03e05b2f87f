"""The snapshots to score now: every open lead of the tables, or the rows of a flat file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from features.catalogue.catalogue import Catalogue
from features.config import Config
from features.errors import InputError
from features.fit.fit_columns import FIT_AGGREGATIONS, flat_columns, with_fit_columns
from features.loading.flat import load_flat_rows, load_open_rows
from features.loading.sources import load_tables
from features.snapshots import at_lead_age, build_snapshots, lead_weeks
from features.tables import Tables
from models.scorer import Scorer
from serving.live.reads import is_of_flat_export as is_of_flat_export
from serving.live.reads import tables_read as tables_read


def read_open_leads(
    scorer: Scorer, config: Config, folder: Path, flat_file: Path | None = None
) -> tuple[pd.DataFrame, Tables | None]:
    """Return the snapshots to score with the scorer's own catalogue, and the tables they are of.

    Of tables: the population just after the newest row, so that it counts; the tables and columns
    that the catalogue reads must be there, since a missing one is not an empty one. Of
    `flat_file`: all its rows. Of the `[flat]` export: its leads that are not won. Raises
    InputError as the loaders do, and for a source of another kind than the model was trained on.
    """
    features = scorer.catalogue.features
    is_flat = is_of_flat_export(scorer.catalogue)
    if is_flat != (flat_file is not None or config.flat is not None):
        raise InputError(other_kind(is_flat, flat_file))
    if is_flat:
        expected = flat_columns(features)
        if flat_file is not None:
            rows = load_flat_rows(flat_file, config, expected).rows
        else:
            rows = load_open_rows(config, folder, expected)
        return with_fit_columns(rows, features), None
    tables = load_tables(config, folder, required=tables_read(scorer.catalogue)).tables
    refuse_missing_columns(tables, scorer.catalogue)
    index = open_index(tables, scorer, config)
    return build_snapshots(tables, scorer.catalogue, index), tables


def open_index(tables: Tables, scorer: Scorer, config: Config) -> pd.DataFrame:
    """Return the index of the population just after the newest row.

    A model trained on leads of one age knows nothing of other ages: it scores every open lead as
    it was at that age, if its horizon has not passed since.
    """
    catalogue = scorer.catalogue
    population = config.population.model_copy(
        update={
            "account_from": catalogue.account_from,
            "attribution_days": catalogue.attribution_days,
        }
    )
    now = tables.data_until + pd.Timedelta(1, "us")
    index = lead_weeks(tables, population, np.array([now], dtype="datetime64[us]"))
    age_days = scorer.facts.get("lead_age_days")
    if age_days is None:
        return index
    at_age = at_lead_age(tables, population, age_days)
    is_open = at_age["lead_id"].isin(index["lead_id"])
    is_young = at_age["as_of"] + pd.Timedelta(days=scorer.horizon_days) > now
    return at_age[is_open & is_young].reset_index(drop=True)


def refuse_missing_columns(tables: Tables, catalogue: Catalogue) -> None:
    """Refuse tables without an attribute of the model: all missing is not what it learnt."""
    read = ("attribute", *FIT_AGGREGATIONS)
    attributes = dict.fromkeys(f.stream for f in catalogue.features if f.aggregation in read)
    missing = []
    for stream in attributes:
        owner, _, column = stream.partition(".")
        if column not in getattr(tables, owner):
            missing.append(stream)
    if missing:
        raise InputError(
            f"The tables lack {len(missing)} column{'s' * (len(missing) > 1)} that the model needs:"
            f" {', '.join(missing[:3])}{', ...' * (len(missing) > 3)}. Add them (empty cells are"
            " allowed), or train again without them."
        )


def other_kind(is_flat: bool, flat_file: Path | None) -> str:
    """Return what to say of a source of another kind than the model was trained on."""
    if is_flat:
        return (
            "The model was trained on a flat export and needs one to score: give --input FILE, or"
            " a configuration with [flat]. Or choose another --model."
        )
    if flat_file is not None:
        return (
            "The model was trained on tables: events and opportunities are no columns of"
            f" {flat_file.name}. Leave out --input, or choose another --model."
        )
    return (
        "The model was trained on tables, but the configuration has a [flat] section. Choose"
        " another --config or --model."
    )
