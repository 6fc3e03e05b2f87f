"""Snapshots of the same leads at the same instants as another catalogue reads them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from features.catalogue.catalogue import INDEX_COLUMNS, Catalogue
from features.errors import InputError
from features.fit.fit_columns import with_fit_columns
from features.snapshots import Past
from training.audit.audit import reads
from training.examples import Examples

if TYPE_CHECKING:
    from features.loading.flat import FlatExport
    from features.parts.partitions import Partitions
    from training.candidate import Prepared

KEY = ["lead_id", "as_of"]


def read_alike(catalogue: Catalogue, examples: Examples) -> bool:
    """Return whether the examples hold all features of `catalogue` as it means them."""
    own = examples.catalogue
    return (
        set(catalogue.features) <= set(own.features)
        and catalogue.own_types == own.own_types
        and catalogue.groups == own.groups
        and catalogue.account_from == own.account_from
        and catalogue.attribution_days == own.attribution_days
    )


def blocked_now(catalogue: Catalogue, prepared: Prepared) -> list[str]:
    """Return the columns that `catalogue` reads and the leakage audit now blocks."""
    return [
        column
        for column in prepared.audit.blocked()
        if any(reads(feature, column) for feature in catalogue.features)
    ]


def lacking(catalogue: Catalogue, prepared: Prepared) -> list[str]:
    """Return the attributes that `catalogue` reads and the data no longer have, sorted."""
    attributes = {
        feature.stream
        for feature in catalogue.features
        if feature.stream.startswith(("leads.", "accounts."))
    }
    export = prepared.loaded.export
    if export is not None:
        return sorted(attributes - {f"leads.{name}" for name in export.rows.columns})
    tables = prepared.tables
    assert tables is not None
    held = {f"leads.{name}" for name in tables.leads.columns}
    return sorted(attributes - held - {f"accounts.{name}" for name in tables.accounts.columns})


def examples_by(catalogue: Catalogue, prepared: Prepared) -> Examples:
    """Return the examples, row by row, with the features of `catalogue` in place of their own.

    Raises InputError for attributes that the data do not have.
    """
    everything = np.ones(len(prepared.examples.won), dtype=bool)
    snapshots = snapshots_by(catalogue, prepared, everything)
    return replace(prepared.examples, catalogue=catalogue, snapshots=snapshots)


def snapshots_by(catalogue: Catalogue, prepared: Prepared, rows: np.ndarray) -> pd.DataFrame:
    """Return the snapshots of the examples where the mask is true, as `catalogue` reads them."""
    examples = prepared.examples
    taken = examples.snapshots[rows]
    if read_alike(catalogue, examples):
        return taken[[*INDEX_COLUMNS, *catalogue.names]]
    missing = lacking(catalogue, prepared)
    if missing:
        raise InputError(
            f"The model reads {', '.join(missing[:3])}{', ...' * (len(missing) > 3)}, which the "
            "data do not have. Add them to the export, or train a model without them."
        )
    index = taken[list(INDEX_COLUMNS)]
    export, partitions = prepared.loaded.export, prepared.loaded.partitions
    if export is not None:
        found = _of_export(catalogue, export)
    else:
        assert partitions is not None
        found = _of_parts(catalogue, partitions, index)
    if not examples.is_dated:
        key, wanted = ["lead_id"], index[["lead_id"]]
    else:
        key, wanted = KEY, index[KEY]
    found = found.drop_duplicates(key)  # rows of one lead at one instant are alike
    again = wanted.merge(found[[*key, *catalogue.names]], on=key, how="left", validate="m:1")
    return pd.concat([index.reset_index(drop=True), again[catalogue.names]], axis=1).set_axis(
        index.index
    )


def _of_export(catalogue: Catalogue, export: FlatExport) -> pd.DataFrame:
    rows = with_fit_columns(export.rows, catalogue.features)
    return rows[[*KEY, *catalogue.names]]


def _of_parts(catalogue: Catalogue, partitions: Partitions, index: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for part in partitions:
        own = index[index["lead_id"].isin(part.tables.leads["lead_id"])]
        if len(own):
            parts.append(Past.of(part.tables, catalogue).snapshots(own.reset_index(drop=True)))
    return pd.concat(parts, ignore_index=True)
