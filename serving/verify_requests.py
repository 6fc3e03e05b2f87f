"""Open leads as the API scores them, from JSON to reasons, beside their batch scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd

from features.catalogue.feature import Feature
from features.config import PopulationConfig
from features.facts.histories import micros
from models.reasons import reasons
from models.scorer import Scorer
from models.track import tracks
from serving.ledger.records import ScoreRecord
from serving.live.live_scores import LiveScorer
from serving.live.requests import Limits, RequestError, parse_request
from serving.past_requests import request_body
from serving.past_rows import PastRows
from serving.skew import Mismatch

REASONS_TOLERANCE = 1e-9
"Points and log-odds of the same reason, live and in batch."
_NO_LIMITS = Limits(max_leads=1, max_rows=10**9)
_SIZES = (1, 4, 16)
"Requests that are scored together, in turns."
_EXACT = ("account_id", "is_eligible", "probability", "raw_score", "grade", "qualified", "track")


def request_mismatches(
    scorer: Scorer, population: PopulationConfig, batch: pd.DataFrame, past: PastRows, now: int
) -> tuple[Mismatch, ...]:
    """Return where scores of requests differ from those of the snapshots `batch`, by name.

    Each lead's request holds the rows that `past` knew before `now` and asks for all reasons as of
    `now`. Some are scored alone and some together, as the API does. Everything must be equal to the
    last bit, but reasons to REASONS_TOLERANCE.
    """
    live = LiveScorer.of(scorer, "verified", "", population)
    records = _records(live, batch["lead_id"].tolist(), past, now)
    found: dict[str, tuple[int, int]] = {}
    for row, (record, expected) in enumerate(zip(records, _expected(scorer, batch), strict=True)):
        differing = ["in_population"] if record is None else _differing(record, expected)
        for name in differing:
            count, first = found.get(name, (0, row))
            found[name] = count + 1, first
    return tuple(
        Mismatch(f"request: {name}", count, str(batch["lead_id"].iloc[first]),
                 batch["as_of"].iloc[first])
        for name, (count, first) in found.items()
    )  # fmt: skip


def _records(
    live: LiveScorer, leads: Sequence[str], past: PastRows, now: int
) -> Iterator[ScoreRecord | None]:
    """Yield the score of each lead's request, None for one that has none."""
    sizes, start = cycle(_SIZES), 0
    while start < len(leads):
        some = leads[start : start + next(sizes)]
        bodies = [request_body(past.at(lead, now), lead, now, reasons="all") for lead in some]
        requests = [parse_request(body, now, _NO_LIMITS) for body in bodies]
        for answer in live.score_together(requests, now, {}, lambda _: None):
            if isinstance(answer, RequestError):
                raise answer
            yield answer.records[0] if answer.records else None
        start += len(some)


def _expected(scorer: Scorer, batch: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield what batch says of each snapshot: identity, score, features and reasons."""
    scores = scorer.score(batch)
    scores["track"] = tracks(batch, scores["qualified"].to_numpy(), scorer.catalogue)
    scores["is_eligible"] = batch["is_eligible"]
    plain = {name: _plain(scores[name]) for name in _EXACT}
    features = {f: _plain(batch[f.name]) for f in scorer.catalogue.features}
    why = reasons(scorer, batch)
    starts = np.flatnonzero(why["rank"].to_numpy() == 1).tolist()
    told = [_plain(why[name]) for name in ("concept", "text", "points", "log_odds")]
    instants = micros(batch["as_of"]).tolist()
    for row, (start, end) in enumerate(zip(starts, [*starts[1:], len(why)], strict=True)):
        yield {
            **{name: values[row] for name, values in plain.items()},
            "as_of": instants[row],
            "features": {feature: values[row] for feature, values in features.items()},
            "reasons": [column[start:end] for column in told],
        }


def _plain(values: pd.Series) -> list[Any]:
    return [*values.astype(object).where(values.notna(), None)]


def _differing(record: ScoreRecord, expected: dict[str, Any]) -> list[str]:
    names = [name for name in ("as_of", *_EXACT) if getattr(record, name) != expected[name]]
    features: dict[Feature, Any] = expected["features"]
    numbers, categories = iter(record.numbers.tolist()), iter(record.categories)
    for feature, value in features.items():
        is_number = feature.dtype == "number"
        found = next(numbers) if is_number else next(categories)
        if found != value and not (value is None and found != found):
            names.append(feature.name)
    concepts, texts, *amounts = expected["reasons"]
    found_amounts = [[r[name] for r in record.reasons] for name in ("points", "log_odds")]
    is_same = [r["concept"] for r in record.reasons] == concepts
    is_same = is_same and [r["text"] for r in record.reasons] == texts
    if not is_same or np.abs(np.subtract(found_amounts, amounts)).max() > REASONS_TOLERANCE:
        names.append("reasons")
    return names
