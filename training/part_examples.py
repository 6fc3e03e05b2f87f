"""Labelled snapshots part by part: the same rows, however many parts there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from features.catalogue.catalogue import INDEX_COLUMNS, Catalogue, catalogue_of
from features.config import Config
from features.draws import draws, shares
from features.facts.histories import micros
from features.facts.opportunities import attribute
from features.parts.part_results import PartResults
from features.parts.partitions import Part, Partitions, code_digest
from features.snapshots import Past, at_lead_age, lead_weeks, mondays, training_sample
from features.tables import Tables
from training.labels import label_snapshots

# With a mark that no feature's name has: both are columns of one frame.
WON, DAYS, OPPORTUNITY, ACCOUNT = (
    f"label:{name}" for name in ("won", "days_to_win", "opportunity", "account")
)
LABELS = [WON, DAYS, OPPORTUNITY, ACCOUNT]

ROWS_AT_ONCE = 200_000
"""Bounds the memory: features of this many snapshots are held at a time."""


@dataclass(frozen=True)
class LabelledIndex:
    """Which leads are looked at when, and how it ended, of every matured row."""

    partitions: Partitions
    results: PartResults
    "By part: the index columns of snapshots and `LABELS`, sorted by as_of then lead_id."
    wins: int
    lost: int


def matured_mondays(source: Tables | Partitions, horizon_days: int) -> np.ndarray:
    """Return every Monday with a known label, from the first lead on."""
    partitions = Partitions.of(source)
    last = partitions.data_until - pd.Timedelta(days=horizon_days)
    return mondays(partitions.manifest.first_created, last)


def attributed(tables: Tables, config: Config) -> pd.DataFrame:
    """Return which leads each opportunity labels, by the configured rules."""
    population = config.population
    return attribute(tables, population.attribution_days, population.account_from)


def label_index(partitions: Partitions, config: Config) -> LabelledIndex:
    """Return the matured rows to learn from, before any is thinned out."""
    results = partitions.results("index", _index_inputs(config))
    wins = lost = 0
    for number in range(len(partitions)):
        results.keep(number, partial(_label_part, partitions, number, config))
        won = results.read(number, [WON])[WON]
        wins, lost = wins + int((won > 0).sum()), lost + int((won == 0).sum())
    return LabelledIndex(partitions, results, wins, lost)


def _index_inputs(config: Config) -> list[object]:
    sample = config.snapshots.model_copy(update={"max_rows": 1})
    training = config.training
    return [sample, config.population, training.horizon_days, training.seed, _code()]


def _code() -> str:
    return code_digest("training")


def _label_part(partitions: Partitions, number: int, config: Config) -> Iterator[pd.DataFrame]:
    part = partitions.part(number)
    training = config.training
    if config.snapshots.at == "age":
        index = at_lead_age(part.tables, config.population, config.snapshots.age_days)
    else:
        instants = matured_mondays(partitions, training.horizon_days)
        weeks = lead_weeks(part.tables, config.population, instants)
        index = training_sample(weeks, config.snapshots.every_days, training.seed)
    labelled = label_part(part, index, config)
    labelled = labelled[labelled[WON].notna()]
    yield labelled.sort_values(["as_of", "lead_id"], ignore_index=True)


def label_part(part: Part, index: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Return `index`, the rows of a part, with the columns `LABELS`."""
    attribution = attributed(part.tables, config)
    horizon_days = config.training.horizon_days
    labelled = label_snapshots(index, attribution, horizon_days, part.tables.data_until)
    component = part.account_components(config.population.account_from)
    columns = [labelled["won_in_horizon"], labelled["days_to_win"], labelled["opportunity_id"]]
    columns.append(component.loc[labelled["lead_id"]].set_axis(index.index))
    return pd.concat([index, *columns], axis=1).set_axis([*index.columns, *LABELS], axis=1)


def snapshot_parts(
    index: LabelledIndex, config: Config, catalogue: Catalogue, share: float
) -> PartResults:
    """Return the snapshots of `index` with their labels, sorted by as_of and lead_id in each part.

    Of the lost rows the `share` is kept that a hash of (seed, lead, as_of) draws.
    """
    partitions = index.partitions
    results = partitions.results(
        "snapshots" if share == 1 else "examples", [*_index_inputs(config), share, catalogue]
    )
    for number in range(len(partitions)):
        results.keep(number, partial(_snapshot_part, index, number, config, catalogue, share))
    return results


def _snapshot_part(
    index: LabelledIndex, number: int, config: Config, catalogue: Catalogue, share: float
) -> Iterator[pd.DataFrame]:
    rows = index.results.read(number)
    rows = rows[(rows[WON] > 0) | is_drawn(rows, share, config.training.seed)]
    past = Past.of(index.partitions.part(number).tables, catalogue)
    for first in range(0, max(len(rows), 1), ROWS_AT_ONCE):
        piece = rows.iloc[first : first + ROWS_AT_ONCE].reset_index(drop=True)
        snapshots = past.snapshots(piece[list(INDEX_COLUMNS)])
        for name in LABELS:
            snapshots[name] = piece[name].array
        yield snapshots


def is_drawn(rows: pd.DataFrame, share: float, seed: int) -> np.ndarray:
    """Return which rows are among the `share` drawn: the same whatever other rows there are."""
    return shares(draws(rows["lead_id"], micros(rows["as_of"]), seed)) < share


def lost_share(wins: int, lost: int, max_rows: int) -> float:
    """Return the share of the lost rows to keep, so that about `max_rows` rows are left.

    At least as many lost rows as won ones stay, even if that makes more rows.

    >>> lost_share(wins=100, lost=9_900, max_rows=1_090)
    0.1
    >>> lost_share(wins=100, lost=400, max_rows=50)
    0.25
    """
    room = max(max_rows - wins, wins, 1)
    return 1.0 if wins + lost <= max_rows or lost <= room else room / lost


def catalogue_of_parts(partitions: Partitions, config: Config) -> Catalogue:
    """Return the features that what was recorded before the end of the data can fill."""
    return catalogue_of(partitions.manifest.contents, config.features, config.population)
