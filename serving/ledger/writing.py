"""One batch of scores, written in one transaction: scores, the newest of each lead, MQLs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    Dialect,
    Table,
    bindparam,
    delete,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.expression import ClauseElement

from features.life_config import ExplorationConfig
from serving.exploration import is_explored
from serving.ledger.erasing import left_out
from serving.ledger.packing import LATEST_OF_SCORE, Row, latest_row, model_row, score_row
from serving.ledger.records import SKEW, ModelRecord, ScoreRecord
from serving.ledger.schema import erasing, latest, models, mqls, scores

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
        # A batch over older data does not take the place of a newer score; one that came a moment
        # later, by a clock that is slow, does.
        is_new = latest.c.as_of <= new.excluded.as_of + literal_column(str(SKEW))
        changed = {name: new.excluded[name] for name in LATEST_OF_SCORE[1:]}
        keep = new.on_conflict_do_update(index_elements=["lead_id"], set_=changed, where=is_new)
        return cls(
            Statement.of(insert(scores), scores.columns.keys(), dialect),
            Statement.of(keep, LATEST_OF_SCORE, dialect),
        )


class Written(NamedTuple):
    """What became of a batch, in scores."""

    scores: int
    mqls: int
    erased: int
    "Left out, because their lead was erased after they were made."


def write_batch(
    connection: Connection,
    statements: Statements,
    new_models: Sequence[ModelRecord],
    records: Sequence[Keyed],
    requalify_after_days: int | None,
    exploration: ExplorationConfig,
) -> Written:
    """Write `records` in their order; the caller commits."""
    gone = left_out(connection, [record for record, _ in records])
    kept = [keyed for keyed in records if keyed[0].score_id not in gone] if gone else records
    n_mqls = 0
    if new_models:
        add = _upsert(connection.dialect)(models).on_conflict_do_nothing()
        names = models.columns.keys()
        rows = [dict(zip(names, model_row(model), strict=True)) for model in new_models]
        connection.execute(add, rows)
    for turn in _turns(kept):
        statements.add_scores.run(connection, [score_row(*keyed) for keyed in turn])
        present = [record for record, _ in turn if not record.is_backfill]
        statements.keep_latest.run(connection, [latest_row(record) for record in present])
        opened = _new_mqls(connection, present, requalify_after_days, exploration)
        if opened:
            _open_handoffs(connection, opened)
            n_mqls += len(opened)
    return Written(len(kept), n_mqls, len(records) - len(kept))


def write_nothing(connection: Connection) -> None:
    """Write a row and take it away again: whether the database can be written to."""
    connection.execute(insert(erasing).values(lead_id=""))
    connection.execute(delete(erasing).where(erasing.c.lead_id == ""))


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
    connection: Connection,
    records: Sequence[ScoreRecord],
    requalify_after_days: int | None,
    exploration: ExplorationConfig,
) -> list[ScoreRecord]:
    """Return the records that make their lead an MQL: qualified, and the lead has none open.

    What was answered `qualified` counts, whether or not a newer score of the lead is there. An MQL
    ends when sales recycles it here, with what was seen since; when the CRM recycles the lead
    after all that we know of the MQL; or after `requalify_after_days`. A lead below the cutoff that
    the exploration draws becomes one, too, if it never was; where it qualifies later and sales has
    not taken it up, it is an MQL anew.
    """
    candidates = [
        one
        for one in records
        if one.qualified
        or is_explored(exploration, one, one.is_eligible, one.lead_id, one.account_id)
    ]
    if not candidates:
        return []
    asked = select(
        latest.c.lead_id,
        latest.c.state,
        latest.c.mql_at,
        latest.c.answered_at,
        latest.c.is_exploration,
    ).where(latest.c.lead_id.in_([record.lead_id for record in candidates]))
    found = {row[0]: row[1:] for row in connection.execute(asked)}
    opened = []
    for record in candidates:
        state, mql_at, answered_at, was_exploration = found[record.lead_id]
        if mql_at is None:
            opened.append(record)
            continue
        if not record.qualified:
            continue
        known_at = max(mql_at, answered_at or mql_at)
        is_recycled = state == "recycled" and record.as_of >= answered_at
        is_recycled |= record.recycled_at is not None and record.recycled_at > known_at
        is_due = (
            requalify_after_days is not None
            and record.scored_at >= mql_at + requalify_after_days * DAY
        )
        is_first_crossing = was_exploration and state in ("mql", "rejected")
        if is_recycled or is_due or is_first_crossing:
            opened.append(record)
    return opened


def _open_handoffs(connection: Connection, opened: Sequence[ScoreRecord]) -> None:
    """Note the MQL moments; what was answered belongs to the MQL before."""
    connection.execute(
        insert(mqls),
        [
            {
                "score_id": one.score_id,
                "lead_id": one.lead_id,
                "mql_at": one.scored_at,
                "is_exploration": not one.qualified,
            }
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
            is_exploration=bindparam("by_lot"),
        ),
        [
            {
                "of_lead": one.lead_id,
                "of_score": one.score_id,
                "at": one.scored_at,
                "by_lot": not one.qualified,
            }
            for one in opened
        ],
    )
