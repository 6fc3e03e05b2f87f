"""The track of a lead: hand it over to sales, or nurture it, and in which stage."""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.catalogue.catalogue import Catalogue
from features.catalogue.feature import JOURNEY_STAGES

HAND_OVER = "hand over"
WITH_SALES = "with sales"
NURTURE = "nurture"
"Alone where the model knows no events, and so no stage of the journey."


def tracks(snapshots: pd.DataFrame, qualified: np.ndarray, catalogue: Catalogue) -> pd.Series:
    """Return what to do with each lead, `str`, with the index of `snapshots`.

    - `hand over`: it qualifies as an MQL.
    - `with sales`: it is not eligible: it is an MQL already, or has an open opportunity.
    - `nurture: decision`, `nurture: consideration`, `nurture: awareness`: the furthest stage that
      its recent activity speaks of, the feature `journey_stage`. Without recent activity, which
      ends a stage: awareness.
    """
    feature = stage_feature(catalogue)
    stages = [None] * len(snapshots) if feature is None else snapshots[feature].fillna("")
    told = [
        track_of(eligible, is_qualified, stage)
        for eligible, is_qualified, stage in zip(
            snapshots["is_eligible"].to_numpy(np.bool_), qualified, stages, strict=True
        )
    ]
    return pd.Series(told, index=snapshots.index, name="track", dtype="str")


def track_of(is_eligible: bool, qualified: bool, stage: str | None) -> str:
    """Return what to do with one lead; `stage` of its journey is None where no model tells it.

    >>> track_of(is_eligible=True, qualified=False, stage="")
    'nurture: awareness'
    """
    if qualified:
        return HAND_OVER
    if not is_eligible:
        return WITH_SALES
    return NURTURE if stage is None else f"{NURTURE}: {stage or JOURNEY_STAGES[0]}"


def stage_feature(catalogue: Catalogue) -> str | None:
    """Return the feature that holds the stage of the journey, if there is one."""
    return next((f.name for f in catalogue.features if f.aggregation == "journey_stage"), None)
