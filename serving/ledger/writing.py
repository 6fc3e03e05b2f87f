"""One batch of scores, written in one transaction: scores, the newest of each lead, MQLs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Dialect, Table, and_, bindparam, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.expression import ClauseElement

from serving.ledger.packing import LATEST_OF_SCORE, Row, latest_row, model_row, score_row
from serving.ledger.records import ModelRecord, ScoreRecord
from serving.ledger.schema import latest, models, mqls, scores

DAY = 86_400_000_000

Keyed = tuple[ScoreRecord, str]
"A record and the `model_key` of the model that made it."


@dataclass(frozen=True)
class Statement:
    """A statement as the driver takes it, compiled once; rows are plain tuples."""

    sql: str
    names: tuple[str, ...]
    is_positional: bool

    @classmethod
    def of(cls, clause: ClauseElement, names: Sequence[str], dialect: Dialect) -> Statement:
        """Compile `clause`, whose parameters are called and ordered as `names`."""
        compiled: Any = clause.compile(dialect=dialect, column_keys=list(names))
        order = compiled.positiontup
        if order is not None and tuple(order) != tuple(names):
            raise AssertionError(f"parameters {order} are not in the order of {names}")
        return cls(str(compiled), tuple(names), order is not None)

    def run(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Execute it once for each row."""
        if not rows:
            return
        if self.is_positional:
            connection.exec_driver_sql(self.sql, list(rows))
        else:
            named = [dict(zip(self.names, row, strict=True)) for row in rows]
            connection.exec_driver_sql(self.sql, named)


@dataclass(frozen=True)
class Statements:
    """What runs for every score, for SQLite or PostgreSQL."""

    add_scores: Statement
    keep_latest: Statement

    @classmethod
    def of(cls, dialect: Dialect) -> Statements:
        """Compile them."""
        new = _upsert(dialect)(latest)
        # A batch over older data does not take the place of a newer score.
        is_newer = or_(
            latest.c.as_of < new.excluded.as_of,
            and_(
                latest.c.as_of == new.excluded.as_of, latest.c.scored_at <= new.excluded.scored_at
            ),
        )
        changed = {name: new.excluded[name] for name in LATEST_OF_SCORE[1:]}
        keep = new.on_conflict_do_update(index_elements=["lead_id"], set_=changed, where=is_newer)
        return cls(
            Statement.of(insert(scores), scores.columns.keys(), dialect),
            Statement.of(keep, LATEST_OF_SCORE, dialect),
        )


def write_batch(
    connection: Connection,
    statements: Statements,
    new_models: Sequence[ModelRecord],
    records: Sequence[Keyed],
    requalify_after_days: int | None,
) -> None:
    """Write `records` in their order; the caller commits."""
    if new_models:
        add = _upsert(connection.dialect)(models).on_conflict_do_nothing()
        names = models.columns.keys()
        rows = [dict(zip(names, model_row(model), strict=True)) for model in new_models]
        connection.execute(add, rows)
    for turn in _turns(records):
        statements.add_scores.run(connection, [score_row(*keyed) for keyed in turn])
        present = [record for record, _ in turn if not record.is_backfill]
        statements.keep_latest.run(connection, [latest_row(record) for record in present])
        opened = _new_mqls(connection, present, requalify_after_days)
        if opened:
            _open_handoffs(connection, opened)


def _upsert(dialect: Dialect) -> Callable[[Table], Any]:
    return sqlite.insert if dialect.name == "sqlite" else postgresql.insert


def _turns(records: Sequence[Keyed]) -> Iterator[list[Keyed]]:
    """Split a batch where a lead comes again: its second score builds on what the first made."""
    turn: list[Keyed] = []
    seen: set[str] = set()
    for keyed in records:
        lead_id = keyed[0].lead_id
        if lead_id in seen:
            yield turn
            turn, seen = [], set()
        turn.append(keyed)
        seen.add(lead_id)
    if turn:
        yield turn


def _new_mqls(
    connection: Connection, records: Sequence[ScoreRecord], requalify_after_days: int | None
) -> list[ScoreRecord]:
    """Return the records that make their lead an MQL, in words: qualified, and none is open."""
    qualified = [record for record in records if record.qualified]
    if not qualified:
        return []
    asked = select(
        latest.c.lead_id, latest.c.score_id, latest.c.state, latest.c.mql_at, latest.c.answered_at
    ).where(latest.c.lead_id.in_([record.lead_id for record in qualified]))
    found = {row[0]: row[1:] for row in connection.execute(asked)}
    opened = []
    for record in qualified:
        score_id, state, mql_at, answered_at = found[record.lead_id]
        # A score that came after a newer one of the same lead decides nothing any more.
        if score_id != record.score_id:
            continue
        is_due = (
            requalify_after_days is not None
            and mql_at is not None
            and record.scored_at >= mql_at + requalify_after_days * DAY
        )
        # Only what was seen since sales recycled the lead can make it an MQL again.
        is_recycled = state == "recycled" and record.as_of >= answered_at
        if mql_at is None or is_recycled or is_due:
            opened.append(record)
    return opened


def _open_handoffs(connection: Connection, opened: Sequence[ScoreRecord]) -> None:
    """Note the MQL moments; what was answered belongs to the MQL before."""
    connection.execute(
        insert(mqls),
        [
            {"score_id": one.score_id, "lead_id": one.lead_id, "mql_at": one.scored_at}
            for one in opened
        ],
    )
    afresh = update(latest).where(latest.c.lead_id == bindparam("of_lead"))
    connection.execute(
        afresh.values(
            state="mql",
            mql_score_id=bindparam("of_score"),
            mql_at=bindparam("at"),
            answered_at=None,
            accepted_at=None,
            contacted_at=None,
        ),
        [{"of_lead": one.lead_id, "of_score": one.score_id, "at": one.scored_at} for one in opened],
    )
