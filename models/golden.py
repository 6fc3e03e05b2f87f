"""Golden rows: made-up snapshots with their expected scores, kept in every bundle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from features.errors import InputError
from models.encoding import Encoder, require_columns
from models.reasons import CALIBRATION, reasons
from models.scorer import Scorer

# Inner quantiles only: a column's extremes may be one customer's.
_QUANTILES = np.linspace(0.05, 0.95, 19)
_UNKNOWN_VALUE = "a value not seen in training"

# Trees only compare and add, so a raw score is the same everywhere; exp() may differ by a bit.
_TOLERANCE = 1e-12
_REASON_TOLERANCE = 1e-9


def synthesise_rows(
    snapshots: pd.DataFrame, encoder: Encoder, rows: int = 32, seed: int = 0
) -> pd.DataFrame:
    """Return made-up snapshots that look like the training rows `snapshots`.

    Each column is drawn by itself: numbers from their inner quantiles, rounded to three digits,
    categories from the encoder's vocabulary and one unknown value, missing as often as in
    training. So no row is a customer's, and no id is kept. Every fourth row isn't eligible.
    """
    require_columns(snapshots, encoder.columns)
    generator = np.random.default_rng(seed)
    columns: dict[str, Any] = {}
    for column in encoder.columns:
        known = snapshots[column].dropna()
        if column in encoder.vocabularies:
            levels = np.array([*encoder.vocabularies[column], _UNKNOWN_VALUE], dtype=object)
        else:
            levels = _quantiles(known.to_numpy(np.float64))
        drawn = levels[generator.integers(len(levels), size=rows)]
        missing_share = 1 - len(known) / max(len(snapshots), 1)
        columns[column] = np.where(generator.random(rows) < missing_share, np.nan, drawn)
    return rows_from_columns(columns, [row % 4 != 3 for row in range(rows)], encoder)


def rows_from_columns(
    columns: dict[str, Any], is_eligible: list[bool], encoder: Encoder
) -> pd.DataFrame:
    """Return golden snapshots of these feature columns; ids and `as_of` are placeholders."""
    rows = len(is_eligible)
    snapshots = pd.DataFrame(
        {
            "lead_id": pd.array([f"golden-{row + 1:03}" for row in range(rows)], dtype="str"),
            "account_id": pd.array([None] * rows, dtype="str"),
            "as_of": np.full(rows, np.datetime64("2000-01-03", "us")),
            "is_eligible": np.array(is_eligible, dtype=np.bool_),
        }
    )
    features = {
        column: pd.array(columns[column], dtype="str")
        if column in encoder.vocabularies
        else np.array(columns[column], dtype=np.float32)
        for column in encoder.columns
    }
    return pd.concat([snapshots, pd.DataFrame(features)], axis=1)


def golden_record(scorer: Scorer, rows: pd.DataFrame) -> dict[str, Any]:
    """Return golden `rows` and what `scorer` makes of them, as JSON; ids are not in it."""
    return {
        "columns": {
            column: [None if pd.isna(value) else value for value in rows[column].tolist()]
            for column in scorer.encoder.columns
        },
        "is_eligible": rows["is_eligible"].tolist(),
        "expected": _outcome(scorer, rows),
    }


def check_golden(scorer: Scorer, record: dict[str, Any]) -> None:
    """Raise InputError unless `scorer` gives the golden rows of `record` their expected scores."""
    rows = rows_from_columns(record["columns"], record["is_eligible"], scorer.encoder)
    expected, found = record["expected"], _outcome(scorer, rows)
    for name, values in found.items():
        if isinstance(values[0], float):
            tolerance = _REASON_TOLERANCE if name.startswith("reason") else _TOLERANCE
            agrees = np.allclose(values, expected[name], rtol=tolerance, atol=tolerance)
        else:
            agrees = values == expected[name]
        if not agrees:
            raise InputError(
                f"golden.json: the model does not give its golden rows the expected {name}, so "
                "it is not the model that was trained. Use another version, or train again."
            )


def golden_rows(scorer: Scorer, record: dict[str, Any]) -> pd.DataFrame:
    """Return the golden snapshots of a bundle: a synthetic example of the scorer's input."""
    return rows_from_columns(record["columns"], record["is_eligible"], scorer.encoder)


def _outcome(scorer: Scorer, rows: pd.DataFrame) -> dict[str, list[Any]]:
    scores = scorer.score(rows)
    explained = reasons(scorer, rows)
    lead = explained["lead_id"].to_numpy()
    strongest = explained[explained["family"] != CALIBRATION].groupby("lead_id", sort=False).first()
    return {
        "raw_score": scores["raw_score"].tolist(),
        "probability": scores["probability"].tolist(),
        "grade": scores["grade"].tolist(),
        "qualified": scores["qualified"].tolist(),
        "reasons_log_odds": explained["log_odds"].groupby(lead, sort=False).sum().tolist(),
        "reasons_points": explained["points"].groupby(lead, sort=False).sum().tolist(),
        "strongest_concept": strongest["concept"].reindex(rows["lead_id"]).fillna("").tolist(),
    }


def _quantiles(values: np.ndarray) -> np.ndarray:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return np.array([np.nan])
    levels = np.quantile(finite, _QUANTILES, method="inverted_cdf")
    return np.array([float(f"{level:.3g}") for level in levels])
