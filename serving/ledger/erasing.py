"""Erasing a lead: the one way in which rows of the append-only tables go."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from contextlib import suppress

from sqlalchemy import Connection, Engine, delete, func, insert, select
from sqlalchemy.exc import SQLAlchemyError

from features.errors import InputError
from serving.ledger.clock import now_us
from serving.ledger.database import database_errors, writing
from serving.ledger.packing import is_storable
from serving.ledger.records import ScoreRecord
from serving.ledger.schema import OF_A_LEAD, erased, erasing, metadata

_REMEMBERED = 86_400_000_000
"How long an erased lead's hash is kept, in microseconds: longer than any queue lasts."


def erase_leads(engine: Engine, lead_ids: Sequence[str]) -> dict[str, int]:
    """Erase all rows of the leads, and return how many went by table.

    One transaction: all of it happens, or nothing. Scores made before, which wait in the queue of
    a server, are not written any more. SQLite zeroes what it deletes, and its log is merged into
    the file and cut, unless a reader holds it: then the next writer does that. Raises InputError,
    which tells their places and not their names, where leads are not there.
    """
    wanted = list(dict.fromkeys(lead_ids))
    with database_errors(), writing(engine) as connection:
        unknown = [place for place, lead_id in enumerate(wanted, 1)
                   if not _is_there(connection, lead_id)]  # fmt: skip
        if unknown:
            raise InputError(_unknown_leads(unknown, len(wanted)))
        if engine.dialect.name == "postgresql":
            # A batch that is being written is waited for, and the next one sees what was erased.
            connection.exec_driver_sql("LOCK TABLE erased IN ACCESS EXCLUSIVE MODE")
        connection.execute(insert(erasing), [{"lead_id": lead_id} for lead_id in wanted])
        hashes = [{"lead_sha256": _sha256(lead_id), "erased_at": now_us()} for lead_id in wanted]
        again = erased.c.lead_sha256.in_([row["lead_sha256"] for row in hashes])
        connection.execute(delete(erased).where(again))
        connection.execute(insert(erased), hashes)
        counts = {}
        for name in OF_A_LEAD:
            table = metadata.tables[name]
            gone = connection.execute(delete(table).where(table.c.lead_id.in_(wanted)))
            counts[name] = gone.rowcount
        connection.execute(delete(erasing))
    if engine.dialect.name == "sqlite":
        # The leads are erased, whether or not this succeeds.
        with suppress(SQLAlchemyError, sqlite3.Error), engine.connect() as connection:
            driver = connection.connection.driver_connection
            if driver is not None:
                driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return counts


def left_out(connection: Connection, records: Sequence[ScoreRecord]) -> set[str]:
    """Return the ids of those scores that were made before their lead was erased."""
    told = connection.exec_driver_sql("SELECT lead_sha256, erased_at FROM erased").all()
    if not told:
        return set()
    if min(erased_at for _, erased_at in told) < (past := now_us() - _REMEMBERED):
        connection.execute(delete(erased).where(erased.c.erased_at < past))
    erased_at = {row[0]: row[1] for row in told}
    return {
        record.score_id
        for record in records
        if record.scored_at <= erased_at.get(_sha256(record.lead_id), -1)
    }


def _sha256(lead_id: str) -> str:
    return hashlib.sha256(lead_id.encode("utf-8", "surrogatepass")).hexdigest()


def _is_there(connection: Connection, lead_id: str) -> bool:
    if not is_storable(lead_id):
        return False
    scores = metadata.tables["scores"]
    asked = select(func.count()).select_from(scores).where(scores.c.lead_id == lead_id)
    return bool(connection.execute(asked).scalar())


def _unknown_leads(places: Sequence[int], count: int) -> str:
    if count == 1:
        return "The ledger has no score of this lead. Nothing was erased."
    named = ", ".join(f"number {place}" for place in places[:3])
    more = f" and {len(places) - 3} more" if len(places) > 3 else ""
    return (
        f"The ledger has no score of {len(places)} of the {count} leads: {named}{more} of your "
        "list. Nothing was erased; give the others alone."
    )
