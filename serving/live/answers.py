"""What a request is answered with: records for the ledger, and JSON for the caller."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic_core import to_json

from features.live import Rows
from serving.ledger.records import ModelRecord, ScoreRecord
from serving.live.requests import ScoreRequest

TIMELINE = 50
"Newest events of a lead that are kept with its score."
_EPOCH = datetime(1970, 1, 1)
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's, sorted as the numbers are
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
TIMELINE_COLUMNS = ("occurred_at", "event_type", "channel", "campaign", "content", "value")


@dataclass(frozen=True, slots=True)
class Answer:
    """The scores of a request, and what was wrong with the other leads."""

    model: ModelRecord
    as_of: int
    records: list[ScoreRecord]
    places: list[int]
    "Of each record: index of its lead in the request's `leads`."
    errors: list[dict[str, Any]]
    "Of leads without a score: index, where, problem."
    told: int | None
    "Reasons asked for; None: all."

    def to_json(self) -> bytes:
        """Return the response of POST /v1/scores."""
        return to_json(
            {
                "model_version": self.model.version,
                "as_of": instant_text(self.as_of),
                "base_probability": self.model.base_probability,
                "results": [
                    self._result(record, place)
                    for record, place in zip(self.records, self.places, strict=True)
                ],
                "errors": self.errors,
            }
        )

    def _result(self, record: ScoreRecord, place: int) -> dict[str, Any]:
        reasons = record.reasons if self.told is None else record.reasons[: self.told]
        other = {
            "points": record.probability
            - self.model.base_probability
            - sum(reason["points"] for reason in reasons),
            "log_odds": float(record.log_odds.sum())
            - sum(reason["log_odds"] for reason in reasons),
        }
        return {
            "index": place,
            "lead_id": record.lead_id,
            "score_id": record.score_id,
            "as_of": instant_text(record.as_of),
            "probability": record.probability,
            "grade": record.grade,
            "qualified": record.qualified,
            "is_eligible": record.is_eligible,
            "cutoff": record.cutoff,
            "track": record.track,
            "why": record.why,
            "reasons": reasons,
            "other_reasons": other,
            "complete": not record.unknown,
            "unknown": list(record.unknown),
            "backfill": record.is_backfill,
            "change": record.change,
            "crossing": record.crossing,
        }


def new_score_id() -> str:
    """Return a new id, 26 characters: by time, to the millisecond, and then random.

    >>> len(new_score_id())
    26
    """
    number = (time.time_ns() // 1_000_000) << 82 | int.from_bytes(os.urandom(10)) << 2
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(120, -10, -10)])


def instant_text(instant: int) -> str:
    """Return microseconds since 1970 as ISO 8601.

    >>> instant_text(1_777_626_000_000_000), instant_text(1_777_626_000_500_000)
    ('2026-05-01T09:00:00Z', '2026-05-01T09:00:00.500000Z')
    """
    moment = _EPOCH + timedelta(microseconds=instant)
    return moment.isoformat() + "Z"


class Timelines:
    """The events of a request by lead, newest first."""

    def __init__(self, request: ScoreRequest) -> None:
        table = request.slice.tables.get("engagement_events")
        self._events: Rows = {"lead_id": []} if table is None else table.columns
        self._rows: dict[str, list[int]] = {}
        for row, lead in enumerate(self._events["lead_id"]):
            self._rows.setdefault(lead, []).append(row)
        self._merged: dict[str, set[tuple[str, int]]] = {}
        "By survivor: who was merged into it, and since when that is known."
        leads = request.slice.tables["leads"].columns
        into = leads.get("merged_into", ())
        if any(into):
            recorded = leads.get("recorded_at") or [None] * len(into)
            for lead, other, at in zip(leads["lead_id"], into, recorded, strict=True):
                if other is not None:
                    self._merged.setdefault(other, set()).add((lead, at or 0))

    def of_lead(self, lead: str, as_of: int) -> dict[str, list[Any]]:
        """Return the newest events of a lead that were known before `as_of`, as columns.

        What leads did that were merged into it is its own.
        """
        events, rows = self._events, self._rows.get(lead, [])
        if lead in self._merged:
            rows = [row for one in self._known_as(lead, as_of) for row in self._rows.get(one, ())]
        if not rows:
            return {}
        occurred, recorded = events["occurred_at"], events.get("recorded_at")
        if recorded is None:
            seen = [row for row in rows if occurred[row] < as_of]
        else:
            seen = [r for r in rows if occurred[r] < as_of and (recorded[r] or 0) < as_of]
        newest = sorted(seen, key=occurred.__getitem__, reverse=True)[:TIMELINE]
        return {
            name: [values[row] for row in newest]
            for name, values in events.items()
            if name in TIMELINE_COLUMNS
        }

    def _known_as(self, lead: str, as_of: int) -> list[str]:
        """Return the lead and all that were merged into it, through others too."""
        found = {lead: None}
        ahead = [lead]
        while ahead:
            for one, known in self._merged.get(ahead.pop(), ()):
                if known < as_of and one not in found:
                    found[one] = None
                    ahead.append(one)
        return [*found]
