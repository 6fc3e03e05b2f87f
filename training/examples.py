"""Labelled snapshots to learn from: of tables, or of a flat export. From here on one road."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from features.catalogue.catalogue import Catalogue, flat_catalogue
from features.config import Config
from features.errors import InputError
from features.fit.fit_columns import with_fit_columns
from features.parts.partitions import Partitions
from features.tables import Tables
from training.labels import SECONDS_A_DAY
from training.part_examples import (
    ACCOUNT,
    DAYS,
    LABELS,
    OPPORTUNITY,
    WON,
    catalogue_of_parts,
    label_index,
    lost_share,
    snapshot_parts,
)
from training.part_examples import attributed as attributed
from training.part_examples import matured_mondays as matured_mondays
from training.verdicts.work import answers_within

if TYPE_CHECKING:
    from features.loading.flat import FlatExport


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
    worked: np.ndarray | None = None
    "Whether sales worked the lead within the horizon; None: the boosters are not to be told."
    accepted: np.ndarray | None = None
    "Whether sales accepted the lead within the horizon; likewise."

    @property
    def as_of(self) -> np.ndarray:
        """Instants, datetime64[us]."""
        return self.snapshots["as_of"].to_numpy().astype("datetime64[us]")

    def won_leads(self, rows: np.ndarray) -> int:
        """Return how many leads won in the rows where the mask is true."""
        return int(self.snapshots["lead_id"][rows & (self.won > 0)].nunique())


def examples_from_tables(tables: Tables | Partitions, config: Config) -> Examples:
    """Return the training rows of the tables; InputError when none is matured."""
    partitions = Partitions.of(tables)
    index = label_index(partitions, config)
    if not index.wins + index.lost:
        raise InputError(
            f"No lead has been known for a whole horizon of {config.training.horizon_days} days: "
            f"the data end on {partitions.data_until:%Y-%m-%d}. Load a longer history or lower "
            "training.horizon_days."
        )
    catalogue = catalogue_of_parts(partitions, config)
    share = lost_share(index.wins, index.lost, config.snapshots.max_rows)
    parts = snapshot_parts(index, config, catalogue, share)
    rows = pd.concat([parts.read(number) for number in range(len(partitions))])
    if len(partitions) > 1:
        rows = rows.sort_values(["as_of", "lead_id"], ignore_index=True)
    won = rows[WON].to_numpy(float)
    worked = accepted = None
    if config.verdicts.use != "report":
        worked, accepted = answers_within(partitions, rows, config)
    return Examples(
        catalogue=catalogue,
        snapshots=rows.drop(columns=LABELS),
        won=won,
        days_to_win=rows[DAYS].to_numpy(float),
        opportunity=rows[OPPORTUNITY].fillna("").to_numpy(str),
        weight=np.where(won > 0, 1.0, index.lost / max((won == 0).sum(), 1)),
        account=rows[ACCOUNT].to_numpy(),
        is_dated=True,
        is_weekly=config.snapshots.at == "weeks",
        worked=worked,
        accepted=accepted,
    )


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
        snapshots=with_fit_columns(rows, catalogue.features)[columns]
        .iloc[order]
        .reset_index(drop=True),
        won=won[order],
        days_to_win=days[order],
        opportunity=np.where(won > 0, rows["lead_id"], "")[order].astype(str),
        weight=np.ones(len(order)),
        account=pd.factorize(group.iloc[order])[0],
        is_dated=is_dated,
        has_horizon="won" not in rows,
        is_maturity_known="won" not in rows or until is not None,
    )
