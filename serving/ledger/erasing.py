"""Erasing a lead: the one way in which rows of the append-only tables go."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Engine, delete, func, insert, select

from features.errors import InputError
from serving.ledger.database import database_errors, writing
from serving.ledger.packing import is_storable
from serving.ledger.schema import OF_A_LEAD, erasing, metadata


def erase_leads(engine: Engine, lead_ids: Sequence[str]) -> dict[str, int]:
    """Erase all rows of the leads, and return how many went by table.

    One transaction: all of it happens, or nothing. SQLite zeroes what it deletes, and its log is
    merged into the file and cut, unless a reader holds it: then the next writer does that.
    Raises InputError, which tells their places and not their names, where leads are not there.
    """
    wanted = list(dict.fromkeys(lead_ids))
    with database_errors(), writing(engine) as connection:
        unknown = [place for place, lead_id in enumerate(wanted, 1)
                   if not _is_there(connection, lead_id)]  # fmt: skip
        if unknown:
            raise InputError(_unknown_leads(unknown, len(wanted)))
        connection.execute(insert(erasing), [{"lead_id": lead_id} for lead_id in wanted])
        erased = {}
        for name in OF_A_LEAD:
            table = metadata.tables[name]
            gone = connection.execute(delete(table).where(table.c.lead_id.in_(wanted)))
            erased[name] = gone.rowcount
        connection.execute(delete(erasing))
    if engine.dialect.name == "sqlite":
        with database_errors(), engine.connect() as connection:
            driver = connection.connection.driver_connection
            if driver is not None:
                driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return erased


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
