"""One thing that is not as it was, and how sure it must be before a person is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import norm, poisson

BY_LUCK = 1e-6
"How likely luck may be: some hundred figures are looked at each week."
LIMIT = float(norm.ppf(1 - BY_LUCK / 2))
RECENT_WEEKS = 4
NEAR_WEEKS = 13
"Newest weeks of the reference: what the newest Monday is held against."
RESTLESS = 1.5
"A feature must move this many times as far as it did within the reference."


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it was."""

    kind: str
    "feature_drift, score_drift, unknown_category, null_spike, event_volume, arrivals, ..."
    subject: str
    "A concept, an event type, `wins`, ...; with `kind` it names the finding from run to run."
    needs_person: bool
    size: float
    text: str
    "What it is, how big, and against what."
    advice: str = ""
    week: np.datetime64 | None = None
    "Since when, where that can be told from the weeks."
    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The finding's name from run to run."""
        return f"{self.kind}:{self.subject}"


def is_luck(observed: float, expected: float, restless: float) -> bool:
    """Return whether a count may be luck, given its variance over what is expected.

    By the exact tail of a Poisson count: a normal limit would let nothing pass for little.

    >>> is_luck(0, 10, 1), is_luck(0, 20, 1), is_luck(0, 20, 3)
    (True, False, True)
    """
    count, mean = observed / restless, expected / restless
    is_few = observed < expected
    tail = poisson.cdf(np.ceil(count), mean) if is_few else poisson.sf(np.floor(count) - 1, mean)
    return bool(tail > BY_LUCK / 2)


def named(concept: str, sizes: Mapping[str, float]) -> str:
    """Return the feature that is off by most, and how many more of its concept are.

    >>> named("chat", {"chat_count_7d": 0.2, "chat_count_30d": 0.3})
    'chat_count_30d and 1 more of chat'
    """
    worst = max(sizes, key=lambda name: sizes[name])
    return worst if len(sizes) == 1 else f"{worst} and {len(sizes) - 1} more of {concept}"
