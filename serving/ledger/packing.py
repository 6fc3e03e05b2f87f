"""Records and rows: how a score is laid into the tables, and read from them again."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic_core import to_json

from serving.ledger.records import ModelRecord, PreviousScore, ScoreRecord

Row = tuple[Any, ...]
Floats = npt.NDArray[np.float64]

_EPOCH = datetime(1970, 1, 1)
_DIGEST_PART = 12


def model_key(model: ModelRecord) -> str:
    """Return what tells models apart: a new MLflow store counts its versions from 1 again.

    >>> model_key(ModelRecord("3", "ab12cd34ef5678", (), (), (), (), 0.1, 0.1, 91))
    '3@ab12cd34ef56'
    """
    return f"{model.version}@{model.digest[:_DIGEST_PART]}"


def version_of(key: str) -> str:
    """Return the version in a `model_key`."""
    return key.rsplit("@", 1)[0]


def model_row(model: ModelRecord) -> Row:
    """Return the row of `models`."""
    about = {
        name: value for name, value in asdict(model).items() if name not in ("version", "digest")
    }
    return model_key(model), model.version, model.digest, json.dumps(about)


def model_of(version: str, digest: str, about: str) -> ModelRecord:
    """Return what `model_row` laid down."""
    told = json.loads(about)
    lists = {name: tuple(value) for name, value in told.items() if isinstance(value, list)}
    return ModelRecord(version=version, digest=digest, **{**told, **lists})


def score_row(record: ScoreRecord, key: str) -> Row:
    """Return the row of `scores`, in the order of its columns."""
    return (
        record.score_id,
        record.lead_id,
        record.account_id,
        record.as_of,
        record.scored_at,
        key,
        record.source,
        record.is_backfill,
        record.is_eligible,
        record.probability,
        record.raw_score,
        record.cutoff,
        record.grade,
        record.qualified,
        record.track,
        record.why,
        _json(record.unknown) if record.unknown else None,
        record.numbers.astype("<f4", copy=False).tobytes(),
        record.log_odds.astype("<f8", copy=False).tobytes(),
        _json(record.categories),
        _json(record.reasons),
        None if record.change is None else _json(record.change),
        None if record.crossing is None else _json(record.crossing),
    )


def latest_row(record: ScoreRecord) -> Row:
    """Return what a score says in `latest`, in the order of `LATEST_OF_SCORE`."""
    return (
        record.lead_id,
        record.score_id,
        record.account_id,
        record.as_of,
        record.scored_at,
        record.probability,
        record.grade,
        record.qualified,
        _json(record.timeline),
    )


LATEST_OF_SCORE = (
    "lead_id", "score_id", "account_id", "as_of", "scored_at", "probability", "grade",
    "qualified", "timeline",
)  # fmt: skip
PREVIOUS = (
    "lead_id", "score_id", "as_of", "model_key", "probability", "raw_score", "numbers",
    "categories", "log_odds",
)  # fmt: skip
"Columns that `previous_of_row` reads."


def previous_of_record(record: ScoreRecord) -> PreviousScore:
    """Return what the next score of the lead is compared with."""
    return PreviousScore(
        score_id=record.score_id,
        as_of=record.as_of,
        model_version=record.model_version,
        probability=record.probability,
        raw_score=record.raw_score,
        numbers=record.numbers,
        categories=record.categories,
        log_odds=record.log_odds,
    )


def previous_of_row(row: Row) -> PreviousScore:
    """Return the same from the columns `PREVIOUS`."""
    _, score_id, as_of, key, probability, raw_score, numbers, categories, log_odds = row
    return PreviousScore(
        score_id=score_id,
        as_of=as_of,
        model_version=version_of(key),
        probability=probability,
        raw_score=raw_score,
        numbers=numbers_of(numbers),
        categories=tuple(json.loads(categories)),
        log_odds=floats_of(log_odds),
    )


def numbers_of(packed: bytes) -> npt.NDArray[np.float32]:
    """Return number features as they were scored."""
    return np.frombuffer(packed, dtype="<f4")


def floats_of(packed: bytes) -> Floats:
    """Return contributions."""
    return np.frombuffer(packed, dtype="<f8")


def timeline_of(packed: str) -> list[dict[str, Any]]:
    """Return the events of a timeline, newest first, without what is missing.

    >>> timeline_of('{"occurred_at":[0],"event_type":["visit"],"channel":[null]}')
    [{'occurred_at': '1970-01-01T00:00:00Z', 'event_type': 'visit'}]
    """
    columns: dict[str, list[Any]] = json.loads(packed)
    if "occurred_at" in columns:
        columns["occurred_at"] = [iso(instant) for instant in columns["occurred_at"]]
    return [
        {name: value for name, value in zip(columns, event, strict=True) if value is not None}
        for event in zip(*columns.values(), strict=True)
    ]


def is_storable(text: str) -> bool:
    r"""Whether a database takes `text`: half a character is none, and PostgreSQL knows no NUL.

    >>> is_storable("L-1"), is_storable("\x00"), is_storable("\ud800")
    (True, False, False)
    """
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def iso(instant: int | None) -> str | None:
    """Return an instant as ISO 8601.

    >>> iso(1_777_626_000_000_000), iso(1_777_626_000_500_000), iso(None)
    ('2026-05-01T09:00:00Z', '2026-05-01T09:00:00.500000Z', None)
    """
    if instant is None:
        return None
    return f"{(_EPOCH + timedelta(microseconds=instant)).isoformat()}Z"


def _json(content: Any) -> str:
    # Twice as fast as the standard library's; NaN, which JSON does not know, becomes null.
    return to_json(content, inf_nan_mode="null").decode()
