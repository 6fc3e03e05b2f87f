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
    stage = next((f.name for f in catalogue.features if f.aggregation == "journey_stage"), None)
    if stage is None:
        track = np.full(len(snapshots), NURTURE, dtype=object)
    else:
        stages = snapshots[stage].fillna(JOURNEY_STAGES[0])
        track = (f"{NURTURE}: " + stages).to_numpy(dtype=object)
    track[~snapshots["is_eligible"].to_numpy(np.bool_)] = WITH_SALES
    track[np.asarray(qualified, dtype=np.bool_)] = HAND_OVER
    return pd.Series(track, index=snapshots.index, name="track", dtype="str")
