"""What the ledger keeps of the scores of a batch: the same records as of the API's."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import select

from features.config import Config, PopulationConfig
from features.errors import InputError
from features.facts.histories import ALWAYS, DAY, micros
from features.facts.lookup import codes_in
from features.facts.population import Facts, know_facts
from features.tables import Tables
from models.bundle import bundle_digest
from models.lead_scores import LeadScore, LeadScorer
from models.scorer import Scorer
from serving.ledger.clock import now_us
from serving.ledger.database import database_errors
from serving.ledger.errors import LedgerUnavailable
from serving.ledger.ledger import Ledger
from serving.ledger.records import ModelRecord, ScoreRecord
from serving.ledger.schema import mqls
from serving.live.answers import TIMELINE, TIMELINE_COLUMNS, new_score_id

Keep = Callable[[list[ScoreRecord]], None]
"Writes records to the ledger."
Opened = Callable[[list[str]], Collection[str]]
"Tells which of these scores, which were kept, made their lead an MQL."
WAIT_SECONDS = 30.0
"How long a ledger that is busy, full or away is waited for."
_OLD_DAYS = 7


@contextmanager
def open_batch_ledger(
    scorer: Scorer,
    version: str,
    bundle: Path,
    config: Config,
    root: Path,
    tables: Tables | None,
    wait_seconds: float = WAIT_SECONDS,
) -> Iterator[BatchLedger]:
    """Give the ledger of `config` for the scores of one batch, and close it.

    `bundle` is the folder of the registered `version`. Raises InputError as `Ledger.open`, and
    where the ledger takes no scores for `wait_seconds`.
    """
    ledger = Ledger.of(config, root)
    try:
        model = ModelRecord.of(LeadScorer.of(scorer), version, bundle_digest(bundle))
        ledger.know_model(model)
        yield BatchLedger(
            model,
            lambda records: _keep(ledger, records, wait_seconds),
            now_us(),
            tables,
            lambda score_ids: opened_mqls(ledger, score_ids),
        )
    except LedgerUnavailable as error:
        ledger.close()  # which tries once more: only then it is known what the ledger holds
        raise InputError(
            f"The ledger took no scores for {wait_seconds:g} seconds: {error}. It holds "
            f"{ledger.written:,} of this run, and no file was written. Run it again once the "
            "ledger answers, or with --no-ledger."
        ) from None
    finally:
        ledger.close()


def opened_mqls(ledger: Ledger, score_ids: Sequence[str]) -> set[str]:
    """Return which of these scores, which are written, made their lead an MQL."""
    asked = select(mqls.c.score_id).where(mqls.c.score_id.in_(score_ids))
    with database_errors(), ledger.engine.connect() as connection:
        return set(connection.scalars(asked))


def _keep(ledger: Ledger, records: list[ScoreRecord], wait_seconds: float) -> None:
    """Wait until the scores are written, however long that takes while the ledger is at work."""
    promise = ledger.submit(records)
    while True:
        try:
            return promise.result(wait_seconds)
        except TimeoutError:
            if not ledger.healthy:
                raise LedgerUnavailable(ledger.trouble) from None


def old_data_note(as_of: pd.Series, now: int) -> str | None:
    """Return what to tell of a batch over tables that end long before `now`; None: they don't.

    >>> old_data_note(pd.Series(pd.to_datetime(["1970-01-02"])), 9 * DAY)[:26]
    'The data end 8 days ago: w'
    >>> old_data_note(pd.Series(pd.to_datetime(["1970-01-02"])), 8 * DAY)
    """
    days = (now - int(micros(as_of, missing=now).max(initial=0))) // DAY
    if not len(as_of) or days <= _OLD_DAYS:
        return None
    return (
        f"The data end {days:,} days ago: what happened since counts for nothing, and MQLs start "
        "their clock now."
    )


@dataclass(frozen=True)
class BatchLedger:
    """Where the scores of a batch are kept, and what is told of each besides the score."""

    model: ModelRecord
    keep: Keep
    scored_at: int
    "Microseconds since 1970."
    tables: Tables | None = None
    "Where the timelines come from."
    opened: Opened = frozenset
    "Asks the ledger; unless told, every score that might have opened an MQL did."

    def write(
        self, chunk: pd.DataFrame, scores: Sequence[LeadScore], tracks: Sequence[str]
    ) -> list[str]:
        """Keep the scores of the snapshots in `chunk`, in its order; return their ids."""
        instants = micros(chunk["as_of"], missing=self.scored_at).tolist()
        numbers = chunk[list(self.model.numbers)].to_numpy(np.float32)
        categories = [_texts(chunk[name]) for name in self.model.categories]
        timelines = self._timelines(chunk["lead_id"], instants)
        recycled = self._recycled(chunk["lead_id"], instants)
        score_ids = [new_score_id() for _ in instants]
        self.keep(
            [
                ScoreRecord(
                    score_id=score_ids[row],
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
                    recycled_at=recycled[row],
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
        return score_ids

    def _recycled(self, leads: pd.Series, instants: Sequence[int]) -> list[int | None]:
        """Return when each lead was last recycled, as far as was known at its instant."""
        facts = self._facts
        if facts is None:
            return [None] * len(instants)
        codes = codes_in(leads, facts.people.lead_ids)
        newest = facts.recycled.newest(codes, np.array(instants, np.int64)).tolist()
        return [None if instant == ALWAYS else instant for instant in newest]

    @cached_property
    def _facts(self) -> Facts | None:
        """Facts of the stage changes; None where no lead was recycled."""
        if self.tables is None or not (self.tables.stage_changes["stage"] == "recycled").any():
            return None
        return know_facts(self.tables, PopulationConfig())

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
