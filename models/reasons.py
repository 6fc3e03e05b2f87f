"""Why a lead has its score: signed reasons in plain words that add up to it.

SHAP values of the raw score (TreeSHAP, Lundberg et al. 2020; `Forest.contributions`), summed by
concept, and one more term for the calibration. Where segments have shifts of their own, the shift
belongs to the reason of the attribute that makes the segments: what is due to the region is told
as one reason. They tell association, not cause. Of a few rows without pandas: `models.lead_scores`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.calibration import Floats, sigmoid, sigmoid_of_one
from models.concepts import CALIBRATION as CALIBRATION
from models.concepts import Concepts
from models.scorer import Scorer
from models.wording import points_text, tell_values

CALIBRATION_TEXT = "Adjustment of the model's raw score to observed win rates"

# Rows explained at once: contributions of 150 features take 12 MB, whatever the file's size.
CHUNK_ROWS = 10_000

# Below this difference in log-odds the exact factor loses digits to cancellation; the slope at the
# midpoint is then right to 1e-11.
_CLOSE = 1e-5


def reasons(scorer: Scorer, snapshots: pd.DataFrame, num_threads: int = 1) -> pd.DataFrame:
    """Return the complete reasons of each snapshot, in its order, strongest first.

    Columns: `lead_id`, `as_of`, `rank` (1 is the strongest), `concept`, `family`, `text`,
    `log_odds` and `points`. Per snapshot `log_odds` sum to `g(raw) - g(base)` with `g` the
    calibration (for the base value: the one of all leads, without a segment's shift), and `points`
    to `p - p0`, the probability less that of the base value, to 1e-6; both have the same sign.
    Points are on the scale of the probability: 0.12 is told as "+12 points". Concepts without any
    contribution are left out; the last row of each snapshot is the calibration's term, of family
    `calibration`.
    """
    concepts = Concepts.of(scorer.catalogue)
    parts = [
        _explain(scorer, concepts, snapshots.iloc[start : start + CHUNK_ROWS], num_threads)
        for start in range(0, max(len(snapshots), 1), CHUNK_ROWS)
    ]
    return parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)


def why_text(texts: Iterable[str], points: Iterable[float], limit: int = 255) -> str:
    """Return reasons, given strongest first, as one text of at most `limit` characters.

    Whole reasons only, as many as fit: ready for a CRM field.

    >>> why_text(["Asked for a demo", "No visit in the last 30 days"], [0.12, -0.031])
    'Why: Asked for a demo (+12 points); No visit in the last 30 days (-3.1 points)'
    >>> why_text(["Asked for a demo", "No visit in the last 30 days"], [0.12, -0.031], limit=50)
    'Why: Asked for a demo (+12 points)'
    >>> why_text([], [])
    'Why: nothing sets this lead apart from the average'
    """
    text = ""
    for reason, amount in zip(texts, points, strict=True):
        told = points_text(amount)
        if not told:
            break
        longer = f"{text}; {reason} ({told})" if text else f"Why: {reason} ({told})"
        if len(longer) > limit:
            # Only a first reason that fills the field alone is ever cut.
            return text or f"{longer[: limit - len(told) - 4]}… ({told})"
        text = longer
    return text or "Why: nothing sets this lead apart from the average"[:limit]


def point_factor(log_odds: npt.ArrayLike, base_log_odds: float) -> Floats:
    """Return what a log-odds term is multiplied by to become probability points.

    `(p - p0) / (logit p - logit p0)`, with the limit `p (1 - p)` where both meet: always positive,
    so signs stay, and terms that sum to `logit p - logit p0` sum to `p - p0`.

    >>> point_factor([0.0], base_log_odds=0.0)
    array([0.25])
    """
    z = np.asarray(log_odds, dtype=np.float64)
    difference = z - base_log_odds
    is_close = np.abs(difference) < _CLOSE
    middle = sigmoid((z + base_log_odds) / 2)
    exact = (sigmoid(z) - sigmoid(base_log_odds)) / np.where(is_close, 1.0, difference)
    return np.asarray(np.where(is_close, middle * (1 - middle), exact), dtype=np.float64)


def point_factor_of_one(log_odds: float, base_log_odds: float) -> float:
    """Return `point_factor` of one lead: the same bits."""
    difference = log_odds - base_log_odds
    if abs(difference) < _CLOSE:
        middle = sigmoid_of_one((log_odds + base_log_odds) / 2)
        return middle * (1 - middle)
    return (sigmoid_of_one(log_odds) - sigmoid_of_one(base_log_odds)) / difference


def _explain(
    scorer: Scorer, concepts: Concepts, snapshots: pd.DataFrame, num_threads: int
) -> pd.DataFrame:
    """Return the reasons of one chunk of snapshots."""
    matrix = scorer.encoder.transform(snapshots)
    raw = scorer.forest.raw_scores(matrix, num_threads)
    segments = scorer.calibration.segments_of(snapshots)
    contributions = scorer.forest.contributions(matrix, num_threads)
    if segments is not None:
        column = scorer.encoder.columns.index(str(segments.name))
        contributions[:, column] += scorer.calibration.shift(segments)
    log_odds, tellers = concepts.sums(contributions)
    base = scorer.base_raw_score
    calibrated_base = float(scorer.calibration.apply(base))
    log_odds[:, -1] = (scorer.calibration.apply(raw) - raw) - (calibrated_base - base)
    calibrated = scorer.calibration.apply(raw, segments)
    points = log_odds * point_factor(calibrated, calibrated_base)[:, None]
    # Strongest first, ties in catalogue order, the calibration last, silent concepts left out.
    strength = np.abs(points)
    strength[:, -1] = -1
    order = np.argsort(-strength, axis=1, kind="stable")
    is_told = log_odds != 0
    is_told[:, -1] = True
    keep = np.take_along_axis(is_told, order, axis=1)
    row = np.broadcast_to(np.arange(len(order))[:, None], order.shape)[keep]
    concept = order[keep]
    names, families = (np.array(x, dtype=object) for x in (concepts.names, concepts.families))
    return pd.DataFrame(
        {
            "lead_id": snapshots["lead_id"].take(row).array,
            "as_of": snapshots["as_of"].take(row).array,
            "rank": (np.cumsum(keep, axis=1))[keep],
            "concept": pd.array(names[concept], dtype="str"),
            "family": pd.array(families[concept], dtype="str"),
            "text": pd.array(_texts(scorer, snapshots, row, tellers[row, concept]), dtype="str"),
            "log_odds": log_odds[row, concept],
            "points": points[row, concept],
        }
    )


def _texts(
    scorer: Scorer,
    snapshots: pd.DataFrame,
    row: npt.NDArray[np.intp],
    tellers: npt.NDArray[np.int32],
) -> npt.NDArray[np.object_]:
    """Return the text of each reason; `tellers` is the feature's column, -1 the calibration."""
    texts = np.full(len(row), CALIBRATION_TEXT, dtype=object)
    # One feature at a time: a stable sort puts its reasons side by side.
    by_feature = np.argsort(tellers, kind="stable")
    bounds = np.searchsorted(tellers[by_feature], np.arange(len(scorer.catalogue.features) + 1))
    for place, feature in enumerate(scorer.catalogue.features):
        mine = by_feature[bounds[place] : bounds[place + 1]]
        if len(mine):
            values = snapshots[feature.name].take(row[mine])
            vocabulary = scorer.encoder.vocabularies.get(feature.name)
            texts[mine] = tell_values(feature, values, vocabulary)
    return texts
