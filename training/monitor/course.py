"""The figures by week behind a result: what its pictures are drawn from."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from training.monitor.evidence import THRESHOLD
from training.monitor.expectations import Expectations
from training.monitor.finding import Finding
from training.monitor.promises import partings
from training.monitor.verdict_mix import verdict_shares
from training.monitor.weekly import ALL, Weekly

TYPES_TOLD = 12


def course_of(weekly: Weekly, expected: Expectations, found: list[Finding]) -> dict[str, Any]:
    """Return the figures by week that the page shows."""
    rows = weekly.rows.groupby("monday")["probability"]
    n = len(weekly.mondays)
    events = weekly.events.sum().sort_values(ascending=False, kind="stable").index[:TYPES_TOLD]
    return {
        "mondays": [str(monday)[:10] for monday in weekly.mondays],
        "reference": expected.reference,
        "scored": weekly.counts[ALL, :, -1].sum(axis=1).tolist(),
        "arrivals": weekly.arrivals.tolist(),
        "mean_probability": rows.mean().reindex(range(n)).tolist(),
        "mqls": expected.mqls.tolist(),
        "observed_wins": expected.wins.observed.tolist(),
        "expected_wins": expected.wins.expected.tolist(),
        "threshold": THRESHOLD,
        "evidence": {
            f"{subject}, {part.direction}": part.e_values.tolist()
            for subject, part in partings(expected, n)
        },
        "events": {str(name): weekly.events[name].tolist() for name in events},
        "verdicts": verdict_shares(weekly.verdicts).to_dict("list"),
        "drifted": {
            each.subject: each.size
            for each in found
            if each.kind in ("feature_drift", "score_drift")
        },
    }


def finite(content: Any) -> Any:
    """Return JSON content with null for NaN and infinities, and plain numbers for NumPy's."""
    if isinstance(content, dict):
        return {str(name): finite(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    if isinstance(content, np.generic):
        content = content.item()
    return None if isinstance(content, float) and not math.isfinite(content) else content
