"""The thread that writes: scores wait in a bounded queue and are committed in batches."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Event, Lock, Thread

from sqlalchemy import Engine
from sqlalchemy.exc import (
    DatabaseError,
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
)

from features.life_config import ExplorationConfig
from serving.ledger.database import cause, is_in_place, writing
from serving.ledger.errors import LedgerFull, LedgerUnavailable
from serving.ledger.packing import model_key
from serving.ledger.records import SKEW, ModelRecord, ScoreRecord
from serving.ledger.writing import Keyed, Statements, write_batch, write_nothing

_LOG = logging.getLogger(__name__)
# A command tells its user itself; a server's handlers get what is logged all the same.
_LOG.addHandler(logging.NullHandler())

CAPACITY = 10_000
"Records that may wait."
BATCH = 500
"Records of one commit, unless one submission is larger."
LINGER_SECONDS = 0.05
"How long the first record of a batch waits for others."
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
"Seconds before a failed batch is tried again, doubled each time."


@dataclass(frozen=True, slots=True)
class _Submission:
    records: list[Keyed]
    is_durable: bool
    committed: Future[None]


class Writer:
    """Owns the thread. Methods may be called from any thread."""

    def __init__(
        self,
        engine: Engine,
        requalify_after_days: int | None = None,
        capacity: int = CAPACITY,
        exploration: ExplorationConfig | None = None,
    ) -> None:
        self.queued = 0
        "Records that are not committed yet."
        self.failed_commits = 0
        self.written = 0
        self.mqls_opened = 0
        self.erased = 0
        "Records that were not written, because their lead was erased meanwhile."
        self.lost = 0
        "Records that could not be written, and never will be, though nobody was told."
        self.trouble = ""
        "Why the last commit failed."
        self._engine = engine
        self._requalify_after_days = requalify_after_days
        self._exploration = exploration or ExplorationConfig()
        self._capacity = capacity
        self._statements = Statements.of(engine.dialect)
        self._lock = Lock()
        self._waiting: deque[_Submission] = deque()
        self._waiting_rows = 0
        self._newest: dict[str, ScoreRecord] = {}
        self._keys: dict[str, str] = {}
        self._new_models: dict[str, ModelRecord] = {}
        # Two events instead of a condition: the thread wakes twice a batch, not once a record.
        self._has_work, self._hurry, self._closing = Event(), Event(), Event()
        self._is_failing = False
        self._thread = Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    @property
    def is_healthy(self) -> bool:
        """Whether what is submitted now will most likely be written."""
        is_at_work = self._thread.is_alive() and not self._closing.is_set()
        return is_at_work and not self._is_failing and is_in_place(self._engine)

    def know_model(self, model: ModelRecord) -> None:
        """Take scores of this version from now on; it is written with the first of them."""
        key = model_key(model)
        with self._lock:
            self._new_models[key] = model
            self._keys[model.version] = key

    def key_of(self, version: str) -> str | None:
        """Return the `model_key` of a version that is known."""
        return self._keys.get(version)

    def newest(self, lead_id: str) -> ScoreRecord | None:
        """Return the newest score of a lead among those that wait."""
        return self._newest.get(lead_id)

    def submit(self, records: Sequence[ScoreRecord], durable: bool = False) -> Future[None]:
        """Queue `records`; the future is done when they are committed. Never waits.

        Raises LedgerFull where they have no room, and where they are `durable` LedgerUnavailable
        while commits fail: who is told so repeats the request, so they must not be written later.
        """
        committed: Future[None] = Future()
        # From now on nobody can cancel it: the writer answers whether or not somebody waits.
        committed.set_running_or_notify_cancel()
        if not records:
            committed.set_result(None)
            return committed
        keyed = [(record, self._keys[record.model_version]) for record in records]
        with self._lock:
            if self._closing.is_set():
                raise LedgerUnavailable("The ledger is closed.")
            if durable and self._is_failing:
                raise LedgerUnavailable(self.trouble)
            # What is larger than the queue may go when nothing else waits.
            if self.queued and self.queued + len(keyed) > self._capacity:
                raise LedgerFull(f"{self.queued} scores wait to be written.")
            self._waiting.append(_Submission(keyed, durable, committed))
            self.queued += len(keyed)
            self._waiting_rows += len(keyed)
            is_full = self._waiting_rows >= BATCH
            for record in records:
                self._note_newest(record)
            self._has_work.set()
        if durable or is_full:
            self._hurry.set()
        return committed

    def close(self, timeout_seconds: float = 15.0) -> None:
        """Write what waits, then stop. What cannot be written is counted as lost."""
        with self._lock:
            self._closing.set()
            self._has_work.set()
            self._hurry.set()
        self._thread.join(timeout_seconds)

    def _note_newest(self, record: ScoreRecord) -> None:
        if record.is_backfill:
            return
        known = self._newest.get(record.lead_id)
        if known is None or known.as_of <= record.as_of + SKEW:
            self._newest[record.lead_id] = record

    def _run(self) -> None:
        while batch := self._take():
            self._write(batch)
        if self.lost:
            _LOG.error("ledger: %d scores could not be written", self.lost)

    def _take(self) -> list[_Submission]:
        """Wait for a batch; once the ledger closes, an empty one means that all is written."""
        while True:
            self._has_work.wait()
            self._hurry.wait(LINGER_SECONDS)
            with self._lock:
                batch: list[_Submission] = []
                rows = 0
                while self._waiting and rows < BATCH:
                    batch.append(self._waiting.popleft())
                    rows += len(batch[-1].records)
                self._waiting_rows -= rows
                if not self._waiting and not self._closing.is_set():
                    self._has_work.clear()
                    self._hurry.clear()
                # What waited may have been refused meanwhile.
                if batch or self._closing.is_set():
                    return batch

    def _write(self, batch: list[_Submission]) -> None:
        """Commit a batch, sooner or later. It never raises: a failure is counted and told."""
        pause = _FIRST_PAUSE
        while True:
            is_last_try = self._closing.is_set()
            try:
                self._commit(batch)
            except Exception as error:
                self.failed_commits += 1
                if _is_of_the_database(error):
                    batch = self._refuse_durable(batch, cause(error))
                    if is_last_try:
                        self._give_up(batch, cause(error))
                        return
                    # What is left is tried again; without any, so is the database.
                    self._closing.wait(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
                elif len(batch) > 1:
                    # One of them is at fault: the others do not have to suffer.
                    for submission in batch:
                        self._write([submission])
                    return
                else:
                    _LOG.error("ledger: scores were refused: %s", type(error).__name__)
                    self._give_up(batch, type(error).__name__)
                    return
            else:
                self._is_failing = False
                self._settle(batch)
                for submission in batch:
                    submission.committed.set_result(None)
                return

    def _commit(self, batch: list[_Submission]) -> None:
        new_models = dict(self._new_models)
        records = [keyed for submission in batch for keyed in submission.records]
        is_durable = any(submission.is_durable for submission in batch)
        with writing(self._engine, is_synced=is_durable) as connection:
            if not records:
                write_nothing(connection)
                return
            written = write_batch(
                connection,
                self._statements,
                list(new_models.values()),
                records,
                self._requalify_after_days,
                self._exploration,
            )
        self.written += written.scores
        self.mqls_opened += written.mqls
        self.erased += written.erased
        if new_models:
            with self._lock:
                for key in new_models:
                    del self._new_models[key]

    def _refuse_durable(self, batch: list[_Submission], trouble: str) -> list[_Submission]:
        """Note that commits fail, and fail all durable submissions; return the batch's others."""
        _LOG.warning("ledger: a commit failed: %s", trouble)
        with self._lock:
            self.trouble, self._is_failing = trouble, True
            waiting = [*batch, *self._waiting]
            refused = [one for one in waiting if one.is_durable]
            self._waiting_rows -= sum(len(one.records) for one in self._waiting if one.is_durable)
            self._waiting = deque(one for one in self._waiting if not one.is_durable)
        self._settle(refused)
        for submission in refused:
            submission.committed.set_exception(LedgerUnavailable(trouble))
        return [submission for submission in batch if not submission.is_durable]

    def _give_up(self, batch: list[_Submission], trouble: str) -> None:
        self._settle(batch)
        for submission in batch:
            self.lost += len(submission.records)
            submission.committed.set_exception(LedgerUnavailable(trouble))

    def _settle(self, batch: list[_Submission]) -> None:
        """Forget a batch: from now on the database knows it, or nobody does."""
        with self._lock:
            for submission in batch:
                self.queued -= len(submission.records)
                for record, _ in submission.records:
                    if self._newest.get(record.lead_id) is record:
                        del self._newest[record.lead_id]


def _is_of_the_database(error: Exception) -> bool:
    """Whether the database is at fault (locked, full, away), not the records."""
    is_gone = isinstance(error, DBAPIError) and error.connection_invalidated
    # DatabaseError itself is a damaged file; its other kinds are about values and statements.
    return is_gone or type(error) in (
        LedgerUnavailable,
        DatabaseError,
        InterfaceError,
        InternalError,
        OperationalError,
    )
