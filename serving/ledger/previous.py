"""The score before: read while the next one is made, so it has to be quick."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from threading import Lock
from typing import Any

from pydantic_core import to_json
from sqlalchemy import Engine, PoolProxiedConnection
from sqlalchemy.exc import SQLAlchemyError

from serving.ledger.database import cause
from serving.ledger.packing import PREVIOUS, Row, previous_of_row, version_of
from serving.ledger.records import PreviousScore

_LOG = logging.getLogger(__name__)

_OF = {
    "sqlite": "latest.lead_id IN (SELECT value FROM json_each(?))",
    "postgresql": "latest.lead_id IN (SELECT json_array_elements_text(CAST(%s AS json)))",
}
"One statement for any number of leads, whose ids go as one parameter."
_WHICH = "SELECT lead_id, score_id FROM latest WHERE "
_COLUMNS = ", ".join(f"scores.{name}" for name in PREVIOUS)
_FROM = f"SELECT {_COLUMNS} FROM latest JOIN scores ON scores.score_id = latest.score_id WHERE "
RECENT = 5_000
"Scores that are kept in memory, about 2 kB each."


class PreviousScores:
    """Newest committed scores, over one connection of its own and the driver's own calls.

    SQLAlchemy's statements cost several times what SQLite needs to answer. Scores made here stay
    in memory for a while: a score never changes, so the database only has to say which is newest.
    """

    def __init__(self, engine: Engine) -> None:
        self.failed_reads = 0
        self._engine = engine
        of_leads = _OF[engine.dialect.name]
        self._which, self._sql = _WHICH + of_leads, _FROM + of_leads
        self._recent: dict[str, tuple[str, PreviousScore]] = {}
        self._lock = Lock()
        self._connection: PoolProxiedConnection | None = None

    def remember(self, key: str, score: PreviousScore) -> None:
        """Keep a score by the model `key`, the oldest leaving when there are too many."""
        with self._lock:
            self._recent[score.score_id] = key, score
            if len(self._recent) > RECENT:
                del self._recent[next(iter(self._recent))]

    def find(self, lead_ids: Sequence[str]) -> dict[str, tuple[str, PreviousScore]]:
        """Return `model_key` and score of the leads that have one.

        Where the database does not answer, nothing is found: a score without a comparison is
        better than none. It is counted in `failed_reads`.
        """
        found: dict[str, tuple[str, PreviousScore]] = {}
        unknown = []
        try:
            for lead_id, score_id in self._rows(self._which, lead_ids):
                recent = self._recent.get(score_id)
                if recent is None:
                    unknown.append(lead_id)
                else:
                    found[lead_id] = recent
            rows = self._rows(self._sql, unknown) if unknown else []
        except (SQLAlchemyError, sqlite3.Error, self._engine.dialect.loaded_dbapi.Error) as error:
            self.failed_reads += 1
            _LOG.warning("ledger: previous scores could not be read: %s", cause(error))
            return {}
        return found | {row[0]: (row[3], previous_of_row(row)) for row in rows}

    def close(self) -> None:
        """Give the connection back."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _rows(self, sql: str, lead_ids: Sequence[str]) -> list[Row]:
        asked = to_json(lead_ids).decode()
        with self._lock:
            if self._connection is None:
                self._connection = self._engine.raw_connection()
            try:
                cursor: Any = self._connection.cursor()
                cursor.execute(sql, (asked,))
                rows: list[Row] = cursor.fetchall()
                cursor.close()
                # Ends what some drivers began, so that the next read sees what is new by then.
                self._connection.rollback()
            except Exception:
                self._connection.invalidate()
                self._connection = None
                raise
        return rows


def version_to_tell(key: str, known: str | None) -> str:
    """Return the version of a score by the model `key`; the key where another model has it now.

    >>> version_to_tell("3@aa", "3@aa"), version_to_tell("3@aa", "3@bb")
    ('3', '3@aa')
    """
    return version_of(key) if known in (None, key) else key
