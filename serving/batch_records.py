"""What the ledger keeps of the scores of a batch: the same records as of the API's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from features.facts.histories import micros
from features.facts.lookup import codes_in
from features.tables import Tables
from models.lead_scores import LeadScore
from serving.ledger.records import ModelRecord, ScoreRecord
from serving.live.answers import TIMELINE, event_json, instant_texts, new_score_id

Keep = Callable[[list[ScoreRecord]], None]
"Writes records to the ledger."


@dataclass(frozen=True)
class BatchLedger:
    """Where the scores of a batch are kept, and what is told of each besides the score."""

    model: ModelRecord
    keep: Keep
    scored_at: int
    "Microseconds since 1970."
    tables: Tables | None = None
    "Where the timelines come from."

    def write(
        self, chunk: pd.DataFrame, scores: Sequence[LeadScore], tracks: Sequence[str]
    ) -> None:
        """Keep the scores of the snapshots in `chunk`, in its order."""
        instants = micros(chunk["as_of"], missing=self.scored_at).tolist()
        numbers = chunk[list(self.model.numbers)].to_numpy(np.float32)
        categories = [_texts(chunk[name]) for name in self.model.categories]
        timelines = self._timelines(chunk["lead_id"], instants)
        self.keep(
            [
                ScoreRecord(
                    score_id=new_score_id(),
                    lead_id=lead_id,
                    account_id=account_id,
                    as_of=instants[row],
                    scored_at=self.scored_at,
                    model_version=self.model.version,
                    source="batch",
                    is_backfill=False,
                    is_eligible=bool(is_eligible),
                    unknown=(),
                    probability=score.probability,
                    raw_score=score.raw_score,
                    cutoff=score.cutoff,
                    grade=score.grade,
                    qualified=score.qualified,
                    track=track,
                    why=score.why(),
                    numbers=numbers[row],
                    categories=tuple(values[row] for values in categories),
                    log_odds=score.contributions,
                    points=score.points,
                    reasons=score.reasons(TOLD),
                    timeline=timelines[row],
                )
                for row, (lead_id, account_id, is_eligible, score, track) in enumerate(
                    zip(
                        chunk["lead_id"].tolist(),
                        _texts(chunk["account_id"]),
                        chunk["is_eligible"].tolist(),
                        scores,
                        tracks,
                        strict=True,
                    )
                )
            ]
        )

    def _timelines(self, leads: pd.Series, instants: Sequence[int]) -> list[list[dict[str, Any]]]:
        """Return the newest events of each lead that were recorded before its instant."""
        found: list[list[dict[str, Any]]] = [[] for _ in instants]
        if self.tables is None or self.tables.engagement_events.empty:
            return found
        events = self.tables.engagement_events
        codes = codes_in(events["lead_id"], pd.Index(leads))
        rows = np.flatnonzero(codes >= 0)
        as_of = np.array(instants, np.int64)[codes[rows]]
        occurred = micros(events["occurred_at"])
        seen = (occurred[rows] < as_of) & (micros(events["recorded_at"])[rows] < as_of)
        rows = rows[seen]
        rows = rows[np.lexsort((-occurred[rows], codes[rows]))]
        place = np.arange(len(rows)) - np.searchsorted(codes[rows], codes[rows])
        rows = rows[place < TIMELINE]
        newest = events.iloc[rows].to_dict("list")
        at = instant_texts(occurred[rows])
        for number, row in enumerate(codes[rows].tolist()):
            found[row].append(event_json(at[number], newest, number))
        return found


TOLD = 5
"Reasons kept with their words."


def _texts(values: pd.Series) -> list[str | None]:
    return [value if isinstance(value, str) else None for value in values.tolist()]
