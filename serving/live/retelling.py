"""The words of reasons that were kept as numbers only."""

from __future__ import annotations

from typing import Any

import numpy as np

from serving.live.live_scores import LiveScorer

Lead = dict[str, Any]


def with_all_texts(lead: Lead, live: LiveScorer) -> Lead:
    """Return a lead as `Ledger.lead` gives it, every reason told in words if `live` made the score.

    The ledger keeps the words of the strongest reasons only; the others are told again, from the
    values that were scored. A score of another model is returned as it is.
    """
    names, features = live.lead_scorer, lead["features"]
    is_same = lead["model_version"] == live.version
    if not is_same or [*features] != [*names.number_names, *names.category_names]:
        return lead
    values = [features[name] for name in names.number_names]
    numbers = np.array([[np.nan if value is None else value for value in values]], np.float32)
    categories = {name: [features[name]] for name in names.category_names}
    [score] = live.lead_scorer.score(numbers, categories, [lead["is_eligible"]])
    told = {reason["concept"]: reason["text"] for reason in score.reasons()}
    reasons = [
        {**reason, "text": reason["text"] or told.get(reason["concept"])}
        for reason in lead["reasons"]
    ]
    return {**lead, "reasons": reasons}
