"""The scorer: from snapshots to probability, grade and the decision."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from features.catalogue.catalogue import Catalogue
from models.calibration import Calibration, Floats
from models.cutoff import Cutoff
from models.encoding import Encoder

if TYPE_CHECKING:  # lightgbm takes 3 s to import, and not every reader of this module scores
    from lightgbm import Booster


@dataclass(frozen=True)
class Scorer:
    """All that is needed to score a snapshot; what a bundle holds."""

    booster: Booster
    "LightGBM, binary objective, on the encoder's matrix."
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
        if self.booster.num_feature() != len(self.encoder.columns):
            raise ValueError(
                f"the booster has {self.booster.num_feature()} features, "
                f"the catalogue {len(self.encoder.columns)}"
            )
        segment_by = self.calibration.segment_by
        if segment_by is not None and segment_by not in self.encoder.vocabularies:
            raise ValueError(f"the calibration's segments are those of no category: {segment_by}")
        if self.cutoff.segment_by not in (None, *self.encoder.vocabularies):
            raise ValueError(f"the cutoffs go by no category: {self.cutoff.segment_by}")
        if not 0 <= self.base_rate <= 1:
            raise ValueError(f"a base rate is a probability, not {self.base_rate}")

    def raw_scores(self, snapshots: pd.DataFrame, num_threads: int = 1) -> Floats:
        """Return the booster's log-odds, shape (rows,); the threads change no bit of them."""
        if snapshots.empty:
            return np.empty(0, dtype=np.float64)
        matrix = self.encoder.transform(snapshots)
        raw = self.booster.predict(
            matrix, raw_score=True, num_threads=num_threads, validate_features=False
        )
        return np.asarray(raw, dtype=np.float64)

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


def booster_from_text(text: str) -> Booster:
    """Return the booster of a LightGBM text model.

    LightGBM aborts the whole process on a damaged one: check its digest first, and a bundle from
    elsewhere with `models.bundle.check_bundle`.
    """
    booster: Booster = import_lightgbm().Booster(model_str=text)
    return booster


def import_lightgbm() -> Any:
    """Return lightgbm, its threads told to sleep while they wait.

    Threads that spin instead took 7 times the CPU on a busy machine. OpenMP reads this setting
    once, when the library is loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import lightgbm  # 3 s

    return lightgbm


def expected_raw_score(booster: Booster) -> float:
    """Return the mean raw score of the booster's training rows, the base value of its SHAP values.

    Weighted by row counts, as TreeSHAP is (Lundberg et al. 2020); LightGBM gives it as the last
    column of its contributions, whatever the row.
    """
    row = np.zeros((1, booster.num_feature()))
    contributions = booster.predict(row, pred_contrib=True, num_threads=1, validate_features=False)
    return float(np.asarray(contributions)[0, -1])
