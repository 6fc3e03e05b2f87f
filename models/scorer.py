"""The scorer: from snapshots to probability, grade and the decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from features.catalogue.catalogue import Catalogue
from models.calibration import Calibration, Floats
from models.cutoff import Cutoff
from models.encoding import Encoder
from models.forest import Forest

# A base raw score was added up elsewhere, perhaps in another order.
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Scorer:
    """All that is needed to score a snapshot; what a bundle holds."""

    forest: Forest
    "Of LightGBM, binary objective, on the encoder's matrix."
    encoder: Encoder
    catalogue: Catalogue
    calibration: Calibration
    cutoff: Cutoff
    base_rate: float
    "Share of matured training rows that closed within the horizon."
    horizon_days: int
    base_raw_score: float
    "Expected raw score of the training rows: where the reasons start from."
    facts: Mapping[str, Any] = field(default_factory=dict)
    "What a reader should know, as JSON: training window, rows, wins, metrics, ..."

    def __post_init__(self) -> None:
        """Raise ValueError when the parts don't fit together."""
        if list(self.encoder.columns) != self.catalogue.names:
            raise ValueError("the encoder's columns are not those of the catalogue")
        if self.forest.n_features != len(self.encoder.columns):
            raise ValueError(
                f"the forest has {self.forest.n_features} features, "
                f"the catalogue {len(self.encoder.columns)}"
            )
        if not abs(self.base_raw_score - self.forest.base_raw_score) <= _TOLERANCE:
            raise ValueError("the base raw score is not that of the forest")
        segment_by = self.calibration.segment_by
        if segment_by is not None and segment_by not in self.encoder.vocabularies:
            raise ValueError(f"the calibration's segments are those of no category: {segment_by}")
        if self.cutoff.segment_by not in (None, *self.encoder.vocabularies):
            raise ValueError(f"the cutoffs go by no category: {self.cutoff.segment_by}")
        if not 0 <= self.base_rate <= 1:
            raise ValueError(f"a base rate is a probability, not {self.base_rate}")

    def raw_scores(self, snapshots: pd.DataFrame, num_threads: int = 1) -> Floats:
        """Return the forest's log-odds, shape (rows,); the threads change no bit of them."""
        return self.forest.raw_scores(self.encoder.transform(snapshots), num_threads)

    def score(self, snapshots: pd.DataFrame, num_threads: int = 1) -> pd.DataFrame:
        """Return one row per snapshot, in its order and with its index.

        Columns: `lead_id`, `account_id`, `as_of`, `probability` (calibrated, of closing within
        `horizon_days`), `raw_score` (log-odds before calibration), `grade` (A-D, see
        `Cutoff.grade_bounds`), `qualified` (eligible, and the probability reaches the cutoff of
        its segment).
        Raises InputError when a feature column is absent.
        """
        raw = self.raw_scores(snapshots, num_threads)
        segments = self.calibration.segments_of(snapshots)
        probability = self.calibration.probability(raw, segments)
        scores = snapshots[["lead_id", "account_id", "as_of"]].copy()
        scores["probability"] = probability
        scores["raw_score"] = raw
        cutoffs = self.cutoff.values_for(snapshots)
        grades = self.cutoff.grades(probability, self.base_rate, cutoffs)
        scores["grade"] = pd.array(grades, dtype="str")
        is_eligible = snapshots["is_eligible"].to_numpy(np.bool_)
        scores["qualified"] = is_eligible & self.cutoff.qualifies(probability, cutoffs)
        return scores
