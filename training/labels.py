"""Labels: which snapshots were won within the horizon, and for which that is known yet."""

from __future__ import annotations

import numpy as np
import pandas as pd

SECONDS_A_DAY = 86_400


def label_snapshots(
    index: pd.DataFrame,
    attribution: pd.DataFrame,
    horizon_days: int,
    data_until: pd.Timestamp,
) -> pd.DataFrame:
    """Return `index` with `won_in_horizon`, `days_to_win` and `is_matured`.

    Matured means `as_of + horizon_days <= data_until`. Which rows get which label:

    - 1: matured, and a closed-won opportunity of the lead closed in `[as_of, as_of + horizon)`.
    - 0: matured, and none did. Lost deals and leads nobody worked are 0 alike.
    - none (NaN): not matured, *whatever happened so far*: keeping only the early wins of young
      rows would teach the model that young rows win more often.

    A win before `as_of` never labels a row; the population left those leads out already.
    `days_to_win` is NaN where the label is not 1. Several wins in one horizon: the first counts.
    """
    horizon = pd.Timedelta(days=horizon_days)
    first_win = _next_win(index, attribution)
    is_matured = (index["as_of"] + horizon <= data_until).to_numpy()
    wins = (first_win - index["as_of"] < horizon).to_numpy()  # False where no win is found
    labelled = index.copy()
    labelled["won_in_horizon"] = np.where(is_matured, wins.astype(float), np.nan)
    days = (first_win - index["as_of"]).dt.total_seconds().to_numpy() / SECONDS_A_DAY
    labelled["days_to_win"] = np.where(is_matured & wins, days, np.nan)
    labelled["is_matured"] = is_matured
    return labelled


def _next_win(index: pd.DataFrame, attribution: pd.DataFrame) -> pd.Series:
    """Return the instant of each row's first win at or after `as_of`; NaT where none is."""
    won = attribution.loc[
        (attribution["stage"] == "closed_won") & attribution["closed_at"].notna(),
        ["lead_id", "closed_at"],
    ].sort_values("closed_at")
    rows = index[["lead_id", "as_of"]].reset_index(drop=True).rename_axis("row").reset_index()
    found = pd.merge_asof(
        rows.sort_values("as_of", kind="stable"),
        won,
        left_on="as_of",
        right_on="closed_at",
        by="lead_id",
        direction="forward",
    )
    return found.set_index("row")["closed_at"].sort_index().set_axis(index.index)
