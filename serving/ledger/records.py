"""What the ledger keeps of a score: plain values, known to those who score and those who store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from models.lead_scores import LeadScorer

SKEW = 300_000_000
"""How far clocks may differ, in microseconds: a score replaces a newer one of its lead unless it is
more than this older."""


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """What is needed to read the scores of a version again without its bundle."""

    version: str
    digest: str
    "sha256 of the bundle's manifest."
    numbers: tuple[str, ...]
    "Number features in catalogue order."
    categories: tuple[str, ...]
    "Category features in catalogue order."
    concepts: tuple[str, ...]
    "In catalogue order, the calibration's term last."
    families: tuple[str, ...]
    "Of the concepts."
    base_probability: float
    "Where the reasons start from."
    base_rate: float
    horizon_days: int

    @classmethod
    def of(cls, scorer: LeadScorer, version: str, digest: str) -> ModelRecord:
        """Return what is kept of a registered version; `digest` is its bundle's."""
        return cls(
            version=version,
            digest=digest,
            numbers=scorer.number_names,
            categories=scorer.category_names,
            concepts=scorer.concepts,
            families=scorer.families,
            base_probability=scorer.base_probability,
            base_rate=scorer.scorer.base_rate,
            horizon_days=scorer.scorer.horizon_days,
        )


@dataclass(frozen=True, slots=True)
class ScoreRecord:
    """One score of one lead. Instants are microseconds since 1970, UTC."""

    score_id: str
    lead_id: str
    account_id: str | None
    as_of: int
    scored_at: int
    model_version: str
    source: Literal["api", "batch"]
    is_backfill: bool
    "Asked for an `as_of` of the past: it never makes an MQL."
    is_eligible: bool
    unknown: tuple[str, ...]
    "Tables and columns that the model reads and the request lacked; `()` is a complete score."
    probability: float
    raw_score: float
    cutoff: float | None
    "Of the lead's segment; None: nobody qualifies."
    grade: str
    qualified: bool
    "What this score decides. Whether the lead was handed over before is told by its state."
    track: str
    why: str
    numbers: npt.NDArray[np.float32]
    "Feature values in the order of `ModelRecord.numbers`."
    categories: tuple[str | None, ...]
    log_odds: npt.NDArray[np.float64]
    "Contribution of each of `ModelRecord.concepts`: they sum to `g(raw) - g(base)`."
    points: npt.NDArray[np.float64]
    "The same in probability points: they sum to `probability - base_probability`."
    reasons: list[dict[str, Any]]
    "The strongest, told: concept, family, text, points, log_odds."
    change: dict[str, Any] | None = None
    "Against the score before: `previous`, `points` and its four `parts`, which add up to it."
    crossing: dict[str, Any] | None = None
    "What would carry the lead over the cutoff, where that was asked for."
    timeline: dict[str, list[Any]] = field(default_factory=dict)
    """The newest engagement events the score saw, newest first, as columns: `occurred_at` in
    microseconds, `event_type`, and `channel`, `campaign`, `content`, `value` where any has one."""
    recycled_at: int | None = None
    "When the CRM last recycled the lead, as far as was known at `as_of`."


@dataclass(frozen=True, slots=True)
class PreviousScore:
    """What a new score is compared with."""

    score_id: str
    as_of: int
    model_version: str
    probability: float
    raw_score: float
    numbers: npt.NDArray[np.float32]
    categories: tuple[str | None, ...]
    log_odds: npt.NDArray[np.float64]
