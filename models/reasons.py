"""Why a lead has its score: signed reasons in plain words that add up to it.

SHAP values of the raw score (TreeSHAP, Lundberg et al. 2020; LightGBM's `pred_contrib`), summed by
concept, and one more term for the calibration. Where segments have shifts of their own, the shift
belongs to the reason of the attribute that makes the segments: what is due to the region is told
as one reason. They tell association, not cause.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.calibration import Floats, sigmoid
from models.scorer import Scorer
from models.wording import points_text, tell_values

CALIBRATION = "calibration"
CALIBRATION_TEXT = "Adjustment of the model's raw score to observed win rates"

# Rows explained at once: contributions of 150 features take 12 MB, whatever the file's size.
CHUNK_ROWS = 10_000

# Below this difference in log-odds the exact factor loses digits to cancellation; the slope at the
# midpoint is then right to 1e-11.
_CLOSE = 1e-5


@dataclass(frozen=True)
class _Concepts:
    """Concepts in catalogue order: their names, families and matrix columns."""

    names: list[str]
    families: list[str]
    columns: list[list[int]]
    is_plain: npt.NDArray[np.bool_]
    "By feature: whether its value means something to a salesperson. A decayed count does not."


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
    concepts = _concepts(scorer)
    parts = [
        _explain(scorer, concepts, snapshots.iloc[start : start + CHUNK_ROWS], num_threads)
        for start in range(0, max(len(snapshots), 1), CHUNK_ROWS)
    ]
    return parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)


def why_text(texts: Sequence[str], points: Sequence[float], limit: int = 255) -> str:
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


def _concepts(scorer: Scorer) -> _Concepts:
    columns: dict[str, list[int]] = {}
    for column, feature in enumerate(scorer.catalogue.features):
        columns.setdefault(feature.concept, []).append(column)
    first = [scorer.catalogue.features[members[0]] for members in columns.values()]
    is_plain = ["decayed" not in f.aggregation for f in scorer.catalogue.features]
    return _Concepts(
        list(columns),
        [feature.family for feature in first],
        list(columns.values()),
        np.array(is_plain, dtype=np.bool_),
    )


def _explain(
    scorer: Scorer, concepts: _Concepts, snapshots: pd.DataFrame, num_threads: int
) -> pd.DataFrame:
    """Return the reasons of one chunk of snapshots."""
    raw = scorer.raw_scores(snapshots, num_threads)
    shap = _shap_values(scorer, snapshots, num_threads)
    by_concept, teller = _sum_by_concept(shap, concepts)
    base = scorer.base_raw_score
    calibrated_base = float(scorer.calibration.apply(base))
    term = (scorer.calibration.apply(raw) - raw) - (calibrated_base - base)
    calibrated = scorer.calibration.apply(raw, scorer.calibration.segments_of(snapshots))

    log_odds = np.column_stack([by_concept, term])
    points = log_odds * point_factor(calibrated, calibrated_base)[:, None]
    # Strongest first, ties in catalogue order, the calibration last, silent concepts left out.
    strength = np.abs(points)
    strength[:, -1] = -1
    order = np.argsort(-strength, axis=1, kind="stable")
    is_told = by_concept != 0
    is_told = np.column_stack([is_told, np.ones(len(is_told), dtype=np.bool_)])
    keep = np.take_along_axis(is_told, order, axis=1)
    row = np.broadcast_to(np.arange(len(order))[:, None], order.shape)[keep]
    concept = order[keep]

    tellers = np.column_stack([teller, np.full(len(teller), -1, dtype=np.intp)])[row, concept]
    names = np.array([*concepts.names, CALIBRATION], dtype=object)
    families = np.array([*concepts.families, CALIBRATION], dtype=object)
    return pd.DataFrame(
        {
            "lead_id": snapshots["lead_id"].take(row).array,
            "as_of": snapshots["as_of"].take(row).array,
            "rank": (np.cumsum(keep, axis=1))[keep],
            "concept": pd.array(names[concept], dtype="str"),
            "family": pd.array(families[concept], dtype="str"),
            "text": pd.array(_texts(scorer, snapshots, row, tellers), dtype="str"),
            "log_odds": log_odds[row, concept],
            "points": points[row, concept],
        }
    )


def _shap_values(scorer: Scorer, snapshots: pd.DataFrame, num_threads: int) -> Floats:
    """Return the contribution of each feature to raw score and shift, shape (rows, features)."""
    if snapshots.empty:
        return np.empty((0, len(scorer.encoder.columns)))
    contributions = scorer.booster.predict(
        scorer.encoder.transform(snapshots),
        pred_contrib=True,
        num_threads=num_threads,
        validate_features=False,
    )
    shap = np.asarray(contributions, dtype=np.float64)[:, :-1]
    segments = scorer.calibration.segments_of(snapshots)
    if segments is not None:
        shap[:, scorer.encoder.columns.index(str(segments.name))] += scorer.calibration.shift(
            segments
        )
    return shap


def _sum_by_concept(shap: Floats, concepts: _Concepts) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Return the sum of each concept, and which feature tells it; shape (rows, concepts) each.

    The one that moves the score most in the direction of the sum: a reason that raises the score
    is not told with the one value that lowers it. Plain features tell before decayed counts.
    """
    sums = np.empty((len(shap), len(concepts.names)))
    tellers = np.empty(sums.shape, dtype=np.intp)
    for place, columns in enumerate(concepts.columns):
        members = shap[:, columns]
        total = members.sum(axis=1)
        sums[:, place] = total
        helping = members * np.sign(total)[:, None]
        is_plain = concepts.is_plain[columns] & (helping > 0)
        first_choice = np.abs(members).sum(axis=1, keepdims=True)  # above every contribution
        strongest = np.argmax(np.where(is_plain, helping + first_choice, helping), axis=1)
        tellers[:, place] = np.array(columns)[strongest]
    return sums, tellers


def _texts(
    scorer: Scorer,
    snapshots: pd.DataFrame,
    row: npt.NDArray[np.intp],
    tellers: npt.NDArray[np.intp],
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
