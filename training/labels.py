"""Labels: which snapshots were won within the horizon, and for which that is known yet."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

SECONDS_A_DAY = 86_400


def label_snapshots(
    index: pd.DataFrame,
    attribution: pd.DataFrame,
    horizon_days: int,
    data_until: pd.Timestamp,
) -> pd.DataFrame:
    """Return `index` with `won_in_horizon`, `days_to_win`, `opportunity_id` and `is_matured`.

    Matured means `as_of + horizon_days <= data_until`. Which rows get which label:

    - 1: matured, and a closed-won opportunity of the lead closed in `[as_of, as_of + horizon)`.
    - 0: matured, and none did. Lost deals and leads nobody worked are 0 alike.
    - none (NaN): not matured, *whatever happened so far*: keeping only the early wins of young
      rows would teach the model that young rows win more often.
    - none (NaN): matured, but the lead had been won before `as_of` and nobody knew yet. A lead
      already won is no open lead, so it is neither a success nor a failure to predict.

    `days_to_win` and `opportunity_id`, that of the win, are missing where the label is not 1.
    Several wins in one horizon: the first counts.
    """
    horizon = pd.Timedelta(days=horizon_days)
    next_win = _next_win(index, attribution)
    first_win = next_win["closed_at"]
    is_matured = (index["as_of"] + horizon <= data_until).to_numpy()
    wins = (first_win - index["as_of"] < horizon).to_numpy(bool)  # False where no win is found
    is_labelled = is_matured & ~_won_unknowingly(index, attribution)
    wins = wins & is_labelled
    labelled = index.copy()
    labelled["won_in_horizon"] = np.where(is_labelled, wins.astype(float), np.nan)
    days = (first_win - index["as_of"]).dt.total_seconds().to_numpy() / SECONDS_A_DAY
    labelled["days_to_win"] = np.where(wins, days, np.nan)
    labelled["opportunity_id"] = next_win["opportunity_id"].where(wins)
    labelled["is_matured"] = is_matured
    return labelled


def _next_win(index: pd.DataFrame, attribution: pd.DataFrame) -> pd.DataFrame:
    """Return `closed_at` and `opportunity_id` of each row's first win at or after `as_of`."""
    return nearest_win(index, attribution, "forward", allow_exact_matches=True)


def _won_unknowingly(index: pd.DataFrame, attribution: pd.DataFrame) -> np.ndarray:
    """Return which rows have a win that closed before `as_of` and was recorded no sooner."""
    last_win = nearest_win(index, attribution, "backward", allow_exact_matches=False)
    return (last_win["closed_recorded_at"] >= index["as_of"]).to_numpy(bool)


def nearest_win(
    index: pd.DataFrame,
    attribution: pd.DataFrame,
    direction: Literal["forward", "backward"],
    allow_exact_matches: bool,
) -> pd.DataFrame:
    """Return the nearest win of each row's lead, missing where there is none."""
    won = attribution.loc[
        (attribution["stage"] == "closed_won") & attribution["closed_at"].notna(),
        ["lead_id", "closed_at", "closed_recorded_at", "opportunity_id"],
    ].sort_values(["closed_at", "opportunity_id"])
    rows = index[["lead_id", "as_of"]].reset_index(drop=True).rename_axis("row").reset_index()
    found = pd.merge_asof(
        rows.sort_values("as_of", kind="stable"),
        won,
        left_on="as_of",
        right_on="closed_at",
        by="lead_id",
        direction=direction,
        allow_exact_matches=allow_exact_matches,
    )
    return found.set_index("row").sort_index().set_axis(index.index)
