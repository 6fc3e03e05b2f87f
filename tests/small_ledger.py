"""Made-up scores for the tests of the ledger."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from serving.ledger.clock import now_us
from serving.ledger.ledger import Ledger
from serving.ledger.records import ModelRecord, ScoreRecord

URL = "sqlite:///ledger.db"
HOUR = 3_600_000_000
DAY = 24 * HOUR
MONDAY = 1_777_852_800_000_000
"2026-05-04T00:00:00Z."
MODEL = ModelRecord(
    version="1",
    digest="a1" * 32,
    numbers=("pricing_view_count_30d", "employees"),
    categories=("industry",),
    concepts=("pricing_view", "employees", "industry", "calibration"),
    families=("engagement", "fit", "fit", "calibration"),
    base_probability=0.1,
    base_rate=0.08,
    horizon_days=91,
)
SHARES = np.array([0.6, -0.15, 0.5, 0.05])
"Of the concepts, in what sets a lead apart from the base."
_RECORD = ScoreRecord(
    score_id="S",
    lead_id="L",
    account_id="A-1",
    as_of=MONDAY,
    scored_at=MONDAY,
    model_version="1",
    source="api",
    is_backfill=False,
    is_eligible=True,
    unknown=(),
    probability=0.3,
    raw_score=-0.9,
    cutoff=0.25,
    grade="B",
    qualified=True,
    track="hand over",
    why="Viewed the pricing page 4 times in the last 30 days (+12 points)",
    numbers=np.array([4, np.nan], dtype=np.float32),
    categories=("Software",),
    log_odds=np.zeros(4),
    points=np.zeros(4),
    reasons=[
        {
            "concept": "pricing_view",
            "family": "engagement",
            "text": "Viewed the pricing page 4 times in the last 30 days",
            "points": 0.12,
            "log_odds": 0.8,
        }
    ],
    timeline={"occurred_at": [MONDAY - 14 * HOUR], "event_type": ["pricing_view"]},
)


def record(lead_id: str, at: int = MONDAY, **values: Any) -> ScoreRecord:
    """A score of a lead made at `at`, qualified unless `probability` is below the cutoff."""
    probability = values.get("probability", 0.3)
    told: dict[str, Any] = {
        "score_id": f"{lead_id}@{at}",
        "as_of": at,
        "scored_at": at,
        "qualified": probability >= 0.25,
        "grade": "B" if probability >= 0.25 else "D",
    }
    told["log_odds"] = SHARES * (_logit(probability) - _logit(MODEL.base_probability))
    told["points"] = SHARES * (probability - MODEL.base_probability)
    return replace(_RECORD, lead_id=lead_id, **{**told, **values})


def _logit(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


def open_ledger(folder: Path, **settings: Any) -> Ledger:
    """A ledger in `folder` that knows the model."""
    ledger = Ledger.open(URL, folder, **{"clock": now_us, **settings})
    ledger.know_model(MODEL)
    return ledger


def write(ledger: Ledger, *records: ScoreRecord) -> None:
    """Commit `records`, in one batch."""
    ledger.submit(records, durable=True).result(10)
