"""What the ledger keeps of the scores of a batch: the same records as of the API's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.config import Config
from features.facts.histories import micros
from features.facts.lookup import codes_in
from features.tables import Tables
from models.bundle import bundle_digest
from models.lead_scores import LeadScore, LeadScorer
from models.scorer import Scorer
from serving.ledger.ledger import Ledger
from serving.ledger.records import ModelRecord, ScoreRecord
from serving.live.answers import TIMELINE, TIMELINE_COLUMNS, new_score_id

Keep = Callable[[list[ScoreRecord]], None]
"Writes records to the ledger."


@contextmanager
def open_batch_ledger(
    scorer: Scorer,
    version: str,
    bundle: Path,
    config: Config,
    root: Path,
    tables: Tables | None,
) -> Iterator[BatchLedger]:
    """Give the ledger of `config` for the scores of one batch, and close it.

    `bundle` is the folder of the registered `version`. Raises InputError as `Ledger.open`.
    """
    settings = config.serving
    ledger = Ledger.open(
        settings.ledger,
        root,
        requalify_after_days=config.population.requalify_after_days,
        accept_within_hours=settings.accept_within_hours,
        contact_within_hours=settings.contact_within_hours,
    )
    try:
        model = ModelRecord.of(LeadScorer.of(scorer), version, bundle_digest(bundle))
        ledger.know_model(model)
        now = time.time_ns() // 1000
        yield BatchLedger(model, lambda records: ledger.submit(records).result(), now, tables)
    finally:
        ledger.close()


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

    def _timelines(self, leads: pd.Series, instants: Sequence[int]) -> list[dict[str, list[Any]]]:
        """Return the newest events of each lead that were known before its instant."""
        found: list[dict[str, list[Any]]] = [{} for _ in instants]
        if self.tables is None or self.tables.engagement_events.empty:
            return found
        events = self.tables.engagement_events
        codes = codes_in(events["lead_id"], pd.Index(leads))
        as_of = np.append(np.array(instants, np.int64), 0)[codes]  # 0 for other leads' events
        occurred = micros(events["occurred_at"])
        rows = np.flatnonzero((occurred < as_of) & (micros(events["recorded_at"]) < as_of))
        rows = rows[np.lexsort((-occurred[rows], codes[rows]))]
        of_lead = codes[rows]
        place = np.arange(len(rows)) - np.searchsorted(of_lead, of_lead)
        rows = rows[place < TIMELINE]
        of_lead, starts = np.unique(codes[rows], return_index=True)
        columns = {"occurred_at": occurred[rows].tolist()} | {
            name: _plain(events[name].iloc[rows])
            for name in TIMELINE_COLUMNS[1:]
            if events[name].notna().any()
        }
        bounds = [*starts.tolist(), len(rows)]
        for lead, first, last in zip(of_lead.tolist(), bounds[:-1], bounds[1:], strict=True):
            found[lead] = {name: values[first:last] for name, values in columns.items()}
        return found


def _plain(values: pd.Series) -> list[Any]:
    return [None if value != value else value for value in values.tolist()]


TOLD = 5
"Reasons kept with their words."


def _texts(values: pd.Series) -> list[str | None]:
    return [value if isinstance(value, str) else None for value in values.tolist()]
