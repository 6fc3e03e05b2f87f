"""The ledger as the server holds it: scores in, answers in, everything about a lead out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from features.config import Config
from features.life_config import ExplorationConfig
from serving.ledger.clock import ServiceLevel, now_us
from serving.ledger.database import database_errors, open_database, writing
from serving.ledger.handoffs import read_handoff, write_contact, write_verdict
from serving.ledger.packing import is_storable, iso, previous_of_record
from serving.ledger.previous import PreviousScores, version_to_tell
from serving.ledger.reading import LeadFilter, LeadPage, read_lead, read_leads
from serving.ledger.records import ModelRecord, PreviousScore, ScoreRecord
from serving.ledger.writer import Writer


class Ledger:
    """Append-only scores, MQL moments and answers. Methods may be called from any thread.

    Raises LedgerUnavailable where the database does not answer.
    """

    def __init__(
        self,
        engine: Engine,
        level: ServiceLevel,
        requalify_after_days: int | None = None,
        clock: Callable[[], int] = now_us,
        exploration: ExplorationConfig | None = None,
    ) -> None:
        self.engine = engine
        self.level = level
        self._clock = clock
        self._writer = Writer(engine, requalify_after_days, exploration=exploration)
        self._previous = PreviousScores(engine)

    @classmethod
    def open(
        cls,
        url: str,
        root: Path,
        *,
        requalify_after_days: int | None = None,
        accept_within_hours: float = 24,
        contact_within_hours: float = 48,
        clock: Callable[[], int] = now_us,
        busy_seconds: float = 5.0,
        exploration: ExplorationConfig | None = None,
    ) -> Ledger:
        """Open or make the ledger at `url`, and start its writer.

        SQLite files are relative to `root`; `busy_seconds` is how long to wait for another writer.
        `exploration` tells which leads below the cutoff are handed over; unless given, none.
        Raises InputError for what is no ledger, see `database.open_database`.
        """
        level = ServiceLevel(accept_within_hours, contact_within_hours)
        engine = open_database(url, root, busy_seconds)
        return cls(engine, level, requalify_after_days, clock, exploration)

    @classmethod
    def of(cls, config: Config, root: Path) -> Ledger:
        """Open or make the ledger of `config`, as `open` does."""
        settings = config.serving
        return cls.open(
            settings.ledger,
            root,
            requalify_after_days=config.population.requalify_after_days,
            accept_within_hours=settings.accept_within_hours,
            contact_within_hours=settings.contact_within_hours,
            exploration=config.exploration,
        )

    @property
    def healthy(self) -> bool:
        """Whether the last commit went well, and the writer and its file are there."""
        return self._writer.is_healthy

    @property
    def queued(self) -> int:
        """Scores that are not committed yet."""
        return self._writer.queued

    @property
    def failed_commits(self) -> int:
        """Commits that failed since the start."""
        return self._writer.failed_commits

    @property
    def lost(self) -> int:
        """Scores that could not be written, and never will be, though nobody was told."""
        return self._writer.lost

    @property
    def written(self) -> int:
        """Scores committed since the start."""
        return self._writer.written

    @property
    def mqls_opened(self) -> int:
        """MQL moments since the start, as committed."""
        return self._writer.mqls_opened

    @property
    def erased(self) -> int:
        """Scores that were not written, because their lead was erased meanwhile."""
        return self._writer.erased

    @property
    def trouble(self) -> str:
        """Why the last failed commit failed."""
        return self._writer.trouble

    def close(self) -> None:
        """Write what waits and let go of the database."""
        self._writer.close()
        self._previous.close()
        self.engine.dispose()

    def know_model(self, model: ModelRecord) -> None:
        """Take scores of this version from now on."""
        self._writer.know_model(model)

    def submit(self, records: Sequence[ScoreRecord], durable: bool = False) -> Future[None]:
        """Queue scores whose models are known; the future is done once they are committed.

        `durable` is for a caller who waits for it: the commit comes at once and outlives a power
        cut, or fails the future with LedgerUnavailable, and then the scores are not written later.
        Others are tried again until they are written. Never waits; raises LedgerFull where there
        is no room, and LedgerUnavailable for `durable` scores while commits fail.
        """
        committed = self._writer.submit(records, durable)
        for record in records:
            key = self._writer.key_of(record.model_version)
            if key is not None and not record.is_backfill:
                self._previous.remember(key, previous_of_record(record))
        return committed

    def latest(self, lead_ids: Sequence[str]) -> dict[str, PreviousScore]:
        """Return the newest score of each lead that has one, backfills aside.

        What waits to be written counts. The database is asked each time, so a score by another
        program (`closedwon score`) and an erased lead (`closedwon forget`) count as well. A score
        by a model whose version now names another model gets that model's `model_key` as version.
        """
        found: dict[str, PreviousScore] = {}
        asked = []
        for lead_id in lead_ids:
            waiting = self._writer.newest(lead_id)
            if waiting is None:
                asked.append(lead_id)
            else:
                found[lead_id] = previous_of_record(waiting)
        if asked:
            for lead_id, (key, previous) in self._previous.find(asked).items():
                version = version_to_tell(key, self._writer.key_of(previous.model_version))
                is_same = version == previous.model_version
                found[lead_id] = previous if is_same else replace(previous, model_version=version)
        return found

    def leads(
        self,
        *,
        qualified: bool | None = None,
        grade: str | None = None,
        state: str | None = None,
        search: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> LeadPage:
        """Return the newest score of each lead, ranked by probability.

        `state`: mql (waits for sales), accepted, contacted, rejected, recycled or overdue.
        `search`: a part of the lead's or the account's id. `after`: `LeadPage.next` of the page
        before. Raises InputError for values that are none of these.
        """
        wanted = LeadFilter(qualified, grade, state, search)
        with database_errors(), self.engine.connect() as connection:
            return read_leads(connection, wanted, self.level, self._clock(), limit, after)

    def lead(self, lead_id: str) -> dict[str, Any] | None:
        """Return the newest score of a lead, its reasons, history and handoffs; None: no score."""
        if not is_storable(lead_id):
            return None
        with database_errors(), self.engine.connect() as connection:
            return read_lead(connection, lead_id, self.level, self._clock())

    def add_verdict(
        self,
        lead_id: str,
        verdict: str,
        reason_code: str | None,
        now: int,
        score_id: str | None = None,
        key_id: str | None = None,
    ) -> dict[str, Any]:
        """Note sales' answer (accepted, rejected, recycled) to an MQL of a lead.

        It is the newest, or the newest when `score_id` was made. Returns how far the newest is:
        state, instants and `is_overdue`. Raises UnknownLead, and InputError where there is no MQL
        to answer, or no such score of the lead.
        """
        with database_errors(), writing(self.engine) as connection:
            write_verdict(connection, lead_id, verdict, reason_code, now, score_id, key_id)
            handoff = read_handoff(connection, lead_id, self.level, now)
        return {**handoff, "verdict": verdict, "reason_code": reason_code, "decided_at": iso(now)}

    def add_contact(self, lead_id: str, now: int, key_id: str | None = None) -> dict[str, Any]:
        """Note that sales contacted a lead; the first contact stops the handoff clock.

        Returns and raises as `add_verdict` does.
        """
        with database_errors(), writing(self.engine) as connection:
            write_contact(connection, lead_id, now, key_id)
            return read_handoff(connection, lead_id, self.level, now)
