"""The ledger as tables: what training reads, and what a data team wants."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Connection, Engine, Select, case, exists, literal, select, union_all

from features.errors import InputError
from features.exploration import REASON_CODE
from features.outputs import written_aside
from serving.batch import csv_safe
from serving.ledger.database import database_errors
from serving.ledger.packing import Row, model_of, numbers_of, version_of
from serving.ledger.records import ModelRecord
from serving.ledger.schema import models, mqls, scores, verdicts

Format = Literal["parquet", "csv"]
CHUNK_ROWS = 20_000

_INSTANT, _TEXT, _NUMBER, _CLAIM = pa.timestamp("us"), pa.string(), pa.float64(), pa.bool_()
VERDICT_COLUMNS = {"lead_id": _TEXT, "verdict": _TEXT, "decided_at": _INSTANT,
                   "reason_code": _TEXT, "score_id": _TEXT, "recorded_at": _INSTANT}  # fmt: skip
STAGE_COLUMNS = {"lead_id": _TEXT, "stage": _TEXT, "changed_at": _INSTANT, "actor": _TEXT,
                 "reason_code": _TEXT, "recorded_at": _INSTANT}  # fmt: skip
SCORE_COLUMNS = {
    "score_id": _TEXT, "lead_id": _TEXT, "account_id": _TEXT, "as_of": _INSTANT,
    "scored_at": _INSTANT, "model_version": _TEXT, "model_digest": _TEXT, "source": _TEXT,
    "is_backfill": _CLAIM, "is_eligible": _CLAIM, "is_complete": _CLAIM, "unknown": _TEXT,
    "probability": _NUMBER, "raw_score": _NUMBER, "cutoff": _NUMBER, "grade": _TEXT,
    "qualified": _CLAIM, "track": _TEXT, "why": _TEXT, "change_points": _NUMBER, "reasons": _TEXT,
}  # fmt: skip


def export_tables(
    engine: Engine, folder: Path, file_format: Format = "parquet", with_features: bool = False
) -> dict[str, int]:
    """Write the ledger to `folder` as tables, and return the rows of each file by name.

    `verdicts` and `stage_changes` (mql, sal, recycled) are as the contract has them; `scores` has
    one row a score; `with_features` adds one wide `score_features_VERSION` for each model. Files
    are written aside and renamed, and all are of one moment. Raises InputError when `folder`
    cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror}.") from None
    with database_errors(), _moment(engine) as connection:
        known = _models(connection)
        written = {
            "verdicts": (_verdicts(), VERDICT_COLUMNS, lambda row: row),
            "stage_changes": (_stage_changes(), STAGE_COLUMNS, lambda row: row),
            "scores": (_scores(), SCORE_COLUMNS, lambda row: _score(row, known)),
        }
        if with_features:
            for key, model in known.items():
                name = f"score_features_{_file_name(key, model, known)}"
                written[name] = (_features(key), _feature_columns(model), _feature_row)
        rows = {}
        for name, (asked, columns, told) in written.items():
            path = folder / f"{name}.{file_format}"
            rows[path.name] = _write(connection, asked, columns, told, path)
    return rows


@contextmanager
def _moment(engine: Engine) -> Iterator[Connection]:
    """Give a connection that sees the ledger as it is now, whatever is added meanwhile."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        yield connection


def _write(
    connection: Connection,
    asked: Any,
    columns: dict[str, pa.DataType],
    told: Callable[[Row], Row],
    path: Path,
) -> int:
    schema = pa.schema(list(columns.items()))
    rows = 0
    with written_aside(path) as aside, ExitStack() as files:
        if path.suffix == ".parquet":
            parquet = files.enter_context(pq.ParquetWriter(aside, schema))
        else:
            text = files.enter_context(aside.open("w", encoding="utf-8", newline=""))
        for chunk in _chunks(connection, asked):
            told_rows = [told(row) for row in chunk]
            values = zip(*told_rows, strict=True) if told_rows else ([] for _ in columns)
            table = pa.table(
                [pa.array(list(column), kind) for column, kind in
                 zip(values, columns.values(), strict=True)],
                schema=schema,
            )  # fmt: skip
            if path.suffix == ".parquet":
                parquet.write_table(table)
            else:
                frame = csv_safe(table.to_pandas())
                frame.to_csv(text, index=False, header=not rows, lineterminator="\r\n")
            rows += len(chunk)
    return rows


def _chunks(connection: Connection, asked: Any) -> Iterator[list[Row]]:
    """Yield rows in chunks; an empty one first where there is nothing, so that a file appears."""
    is_first = True
    streamed = connection.execution_options(yield_per=CHUNK_ROWS).execute(asked)
    for chunk in streamed.partitions():
        is_first = False
        yield [tuple(row) for row in chunk]
    if is_first:
        yield []


def _verdicts() -> Select[Any]:
    told = ("lead_id", "verdict", "decided_at", "reason_code", "score_id")
    asked = select(*(verdicts.c[name] for name in told), verdicts.c.decided_at.label("recorded_at"))
    return asked.order_by(verdicts.c.verdict_id)


def _stage_changes() -> Any:
    """Return MQL moments and what sales made of them.

    A rejected MQL has no change: whether it is disqualified is for the CRM to say. Nor has an
    answer that came when the lead was an MQL anew: it is about the one before. An MQL by lot has
    the reason code `exploration`.
    """
    reason = case((mqls.c.is_exploration, REASON_CODE), else_=None).label("reason_code")
    moments = select(
        mqls.c.lead_id, literal("mql").label("stage"), mqls.c.mql_at.label("changed_at"),
        literal("closedwon").label("actor"), reason, mqls.c.mql_at.label("recorded_at"),
    )  # fmt: skip
    at = verdicts.c.decided_at
    answered, newer = mqls.alias(), mqls.alias()
    is_late = exists().where(
        answered.c.score_id == verdicts.c.mql_score_id,
        newer.c.lead_id == verdicts.c.lead_id,
        newer.c.mql_at > answered.c.mql_at,
        newer.c.mql_at <= at,
    )
    answers = [
        select(verdicts.c.lead_id, literal(stage), at, literal("sales"), verdicts.c.reason_code, at)
        .where(verdicts.c.verdict == verdict, ~is_late)
        for verdict, stage in (("accepted", "sal"), ("recycled", "recycled"))
    ]  # fmt: skip
    every = union_all(moments, *answers).subquery()
    return select(every).order_by(every.c.changed_at, every.c.lead_id, every.c.stage)


def _scores() -> Select[Any]:
    own = ("score_id", "lead_id", "account_id", "as_of", "scored_at", "model_key", "source",
           "is_backfill", "is_eligible", "unknown", "probability", "raw_score", "cutoff", "grade",
           "qualified", "track", "why", "change", "reasons")  # fmt: skip
    return select(*(scores.c[name] for name in own)).order_by(scores.c.score_id)


def _score(row: Row, known: dict[str, ModelRecord]) -> Row:
    key, unknown, change = row[5], row[9], row[17]
    points = None if change is None else json.loads(change).get("points")
    of_model = (version_of(key), known[key].digest)
    complete = (unknown is None, unknown)
    return (*row[:5], *of_model, *row[6:9], *complete, *row[10:17], points, row[18])


def _models(connection: Connection) -> dict[str, ModelRecord]:
    asked = select(models.c.model_key, models.c.version, models.c.digest, models.c.about)
    rows = connection.execute(asked.order_by(models.c.model_key))
    return {key: model_of(*told) for key, *told in rows}


def _features(key: str) -> Select[Any]:
    told = (scores.c.score_id, scores.c.lead_id, scores.c.as_of, scores.c.numbers,
            scores.c.categories)  # fmt: skip
    return select(*told).where(scores.c.model_key == key).order_by(scores.c.score_id)


def _feature_columns(model: ModelRecord) -> dict[str, pa.DataType]:
    ids = {"score_id": _TEXT, "lead_id": _TEXT, "as_of": _INSTANT}
    numbers = dict.fromkeys(model.numbers, pa.float32())
    return {**ids, **numbers, **dict.fromkeys(model.categories, _TEXT)}


def _feature_row(row: Row) -> Row:
    *ids, numbers, categories = row
    values = [None if np.isnan(value) else value for value in numbers_of(numbers)]
    return (*ids, *values, *json.loads(categories))


def _file_name(key: str, model: ModelRecord, known: dict[str, ModelRecord]) -> str:
    """Return the version; the key where two models had it."""
    is_alone = sum(other.version == model.version for other in known.values()) == 1
    return re.sub(r"[^A-Za-z0-9.-]", "_", model.version if is_alone else key)
