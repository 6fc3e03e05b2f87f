"""The snapshots to score now: every open lead of the tables, or the rows of a flat file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from features.config import Config
from features.flat import load_flat, load_flat_rows
from features.snapshots import build_snapshots, lead_weeks
from features.sources import load_tables
from models.scorer import Scorer


def read_open_leads(
    scorer: Scorer, config: Config, folder: Path, flat_file: Path | None = None
) -> pd.DataFrame:
    """Return the snapshots to score with the scorer's own catalogue.

    Of tables: the population just after the newest row, so that it counts. Of `flat_file`, or of
    the `[flat]` export: its rows. Raises InputError as the loaders do.
    """
    if flat_file is not None:
        expected = {feature.name: feature.dtype for feature in scorer.catalogue.features}
        return load_flat_rows(flat_file, config, expected).rows
    if config.flat is not None:
        return load_flat(config, folder, labels_needed=False).rows
    tables = load_tables(config, folder).tables
    as_of = np.array([tables.data_until + pd.Timedelta(1, "us")], dtype="datetime64[us]")
    index = lead_weeks(tables, config.population, as_of)
    return build_snapshots(tables, scorer.catalogue, index)
