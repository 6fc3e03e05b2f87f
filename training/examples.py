"""Labelled snapshots to learn from: of tables, or of a flat export. From here on one road."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from features.catalogue import Catalogue, build_catalogue, flat_catalogue
from features.components import account_components
from features.config import Config
from features.errors import InputError
from features.identity import know_people
from features.opportunities import attribute
from features.snapshots import at_lead_age, build_snapshots, lead_weeks, mondays, training_sample
from features.tables import Tables
from training.labels import SECONDS_A_DAY, label_snapshots

if TYPE_CHECKING:
    from features.flat import FlatExport


@dataclass(frozen=True)
class Examples:
    """Matured rows with their labels. All arrays hold one entry a row of `snapshots`."""

    catalogue: Catalogue
    snapshots: pd.DataFrame
    won: np.ndarray
    "1.0 closed-won in `[as_of, as_of + horizon)`, else 0.0."
    days_to_win: np.ndarray
    "NaN where not won, or where the day is not known."
    opportunity: np.ndarray
    "Id of the win, empty where not won: leads of one deal share it."
    weight: np.ndarray
    "Above 1 for rows that stand for thinned-out ones."
    account: np.ndarray
    "Account component: rows that are no independent evidence of one another."
    is_dated: bool
    has_horizon: bool = True
    "False for a flat label that just says won, some day."
    is_maturity_known: bool = True
    "False where young rows may still close although they count as lost."
    is_weekly: bool = False
    "Whether the population was looked at every Monday; else each lead once."

    @property
    def as_of(self) -> np.ndarray:
        """Instants, datetime64[us]."""
        return self.snapshots["as_of"].to_numpy().astype("datetime64[us]")

    def won_leads(self, rows: np.ndarray) -> int:
        """Return how many leads won in the rows where the mask is true."""
        return int(self.snapshots["lead_id"][rows & (self.won > 0)].nunique())


def matured_mondays(tables: Tables, horizon_days: int) -> np.ndarray:
    """Return every Monday with a known label, from the first lead on."""
    first = tables.leads["created_at"].min()
    return mondays(first, tables.data_until - pd.Timedelta(days=horizon_days))


def attributed(tables: Tables, config: Config) -> pd.DataFrame:
    """Return which leads each opportunity labels, by the configured rules."""
    population = config.population
    return attribute(tables, population.attribution_days, population.account_from)


def examples_from_tables(tables: Tables, config: Config) -> Examples:
    """Return the training rows of the tables; InputError when none is matured."""
    horizon_days = config.training.horizon_days
    if config.snapshots.at == "age":
        index = at_lead_age(tables, config.population, config.snapshots.age_days)
    else:
        weeks = lead_weeks(tables, config.population, matured_mondays(tables, horizon_days))
        index = training_sample(weeks, config.snapshots.every_days, config.training.seed)
    attribution = attributed(tables, config)
    labelled = label_snapshots(index, attribution, horizon_days, tables.data_until)
    labelled = labelled[labelled["won_in_horizon"].notna()]
    if labelled.empty:
        raise InputError(
            f"No lead has been known for a whole horizon of {horizon_days} days: the data end on "
            f"{tables.data_until:%Y-%m-%d}. Load a longer history or lower training.horizon_days."
        )
    labelled, weight = thin_negatives(labelled, config.snapshots.max_rows, config.training.seed)
    labelled = labelled.sort_values(["as_of", "lead_id"], ignore_index=True)
    catalogue = build_catalogue(tables, config.features, tables.data_until, config.population)
    component = account_components(know_people(tables, config.population.account_from))
    return Examples(
        catalogue=catalogue,
        snapshots=build_snapshots(tables, catalogue, labelled),
        won=labelled["won_in_horizon"].to_numpy(float),
        days_to_win=labelled["days_to_win"].to_numpy(float),
        opportunity=labelled["opportunity_id"].fillna("").to_numpy(str),
        weight=np.where(labelled["won_in_horizon"] > 0, 1.0, weight),
        account=component.loc[labelled["lead_id"]].to_numpy(),
        is_dated=True,
        is_weekly=config.snapshots.at == "weeks",
    )


def thin_negatives(labelled: pd.DataFrame, max_rows: int, seed: int) -> tuple[pd.DataFrame, float]:
    """Return at most about `max_rows` rows, every won one kept, and the weight of the others.

    At least as many lost rows as won ones stay, even if that makes more rows.
    """
    lost = labelled["won_in_horizon"].to_numpy() == 0
    wins = int((~lost).sum())
    room = max(max_rows - wins, wins, 1)
    if len(labelled) <= max_rows or lost.sum() <= room:
        return labelled, 1.0
    share = room / lost.sum()
    drawn = np.random.default_rng(seed).random(len(labelled)) < share
    return labelled[~lost | drawn], float(lost.sum() / (lost & drawn).sum())


def examples_from_flat(export: FlatExport, config: Config) -> Examples:
    """Return the matured rows of a flat export, each row one snapshot."""
    rows = export.rows
    horizon = pd.Timedelta(days=config.training.horizon_days)
    is_dated = bool(rows["as_of"].notna().all())
    until = export.labels_known_until if "won" in rows else export.data_until
    if "won" in rows:
        won = rows["won"].to_numpy(float)
        days = np.full(len(rows), np.nan)
    else:
        days = (rows["won_at"] - rows["as_of"]).dt.total_seconds().to_numpy(float) / SECONDS_A_DAY
        won = (days < config.training.horizon_days).astype(float)
        days = np.where(won > 0, days, np.nan)
    is_matured = np.isfinite(won)
    if is_dated and until is not None:
        is_matured &= (rows["as_of"] + horizon <= until).to_numpy()
    if not is_matured.any():
        raise InputError(
            f"No row is older than the horizon of {config.training.horizon_days} days. Lower "
            "training.horizon_days, or set flat.labels_known_until."
        )
    catalogue = flat_catalogue(rows[list(export.attributes)], config.features)
    group = rows["account_id"].fillna("lead " + rows["lead_id"])
    columns = ["lead_id", "account_id", "as_of", "is_eligible", *catalogue.names]
    order = np.flatnonzero(is_matured)
    if is_dated:
        order = order[np.argsort(rows["as_of"].to_numpy()[order], kind="stable")]
    return Examples(
        catalogue=catalogue,
        snapshots=rows[columns].iloc[order].reset_index(drop=True),
        won=won[order],
        days_to_win=days[order],
        opportunity=np.where(won > 0, rows["lead_id"], "")[order].astype(str),
        weight=np.ones(len(order)),
        account=pd.factorize(group.iloc[order])[0],
        is_dated=is_dated,
        has_horizon="won" not in rows,
        is_maturity_known="won" not in rows or until is not None,
    )
