"""Copies tables of SQL databases into DuckDB, through SQLAlchemy and only for reading.

DuckDB's own SQLite and Postgres extensions are downloads; drivers are ordinary packages.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import sqlalchemy
from sqlalchemy.engine import URL, make_url

from features.config import Config
from features.errors import InputError
from features.loading.cells import quoted
from features.loading.files import section

CHUNK_ROWS = 50_000
RESERVED = frozenset({"main", "memory", "system", "temp"})


def copy_database_table(
    connection: duckdb.DuckDBPyConnection,
    config: Config,
    folder: Path,
    table: str,
    names: tuple[str, ...],
) -> None:
    """Copy `database.table` or `database.schema.table` into DuckDB under the same name.

    `table` is the contract's table, for messages. Passwords never reach a message.
    """
    database, *schema, source = names
    url = _checked_url(config.databases[database], database, folder)
    try:
        engine = sqlalchemy.create_engine(url, **_read_only(url))
    except (ImportError, sqlalchemy.exc.NoSuchModuleError):
        raise InputError(
            f"databases.{database}: the driver for {url.drivername} is not installed."
            ' For Postgres: pip install "closedwon[postgres]"'
        ) from None
    try:
        copied = _fetch(engine, ".".join(schema), source)
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise _database_error(engine, database, table, names, error) from None
    finally:
        engine.dispose()
    connection.execute(f"attach if not exists ':memory:' as {quoted(database)}")
    if schema:
        connection.execute(f"create schema if not exists {quoted(database)}.{quoted(schema[0])}")
    connection.register("copied_from_database", copied)
    target = ".".join(quoted(name) for name in names)
    connection.execute(f"create table {target} as select * from copied_from_database")
    connection.unregister("copied_from_database")


def _checked_url(text: str, database: str, folder: Path) -> URL:
    if database.lower() in RESERVED:
        raise InputError(f"databases.{database}: the name is taken by DuckDB. Choose another.")
    try:
        url = make_url(text)
    except sqlalchemy.exc.ArgumentError:
        raise InputError(
            f"databases.{database} is no URL like sqlite:///crm.db or postgresql://user@host/name."
        ) from None
    if url.drivername in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite":
        path = folder / (url.database or "")
        if not path.is_file():
            raise InputError(f"databases.{database}: the file {path} does not exist.")
        # `mode=ro`: the CRM's file is never written, nor made when the name is wrong.
        query = {"mode": "ro", "uri": "true"}
        return URL.create("sqlite", database=path.resolve().as_uri(), query=query)
    return url


def _read_only(url: URL) -> dict[str, Any]:
    if url.get_backend_name() == "postgresql":
        return {
            "connect_args": {"connect_timeout": 10},
            "execution_options": {"postgresql_readonly": True},
        }
    return {}


def _fetch(engine: sqlalchemy.Engine, schema: str, source: str) -> pa.Table:
    """Return the whole table, fetched in chunks, so Python objects never hold all of it."""
    quote = engine.dialect.identifier_preparer.quote_identifier
    name = f"{quote(schema)}.{quote(source)}" if schema else quote(source)
    with engine.connect().execution_options(stream_results=True) as opened:
        result = opened.execute(sqlalchemy.text(f"select * from {name}"))
        columns = list(result.keys())
        chunks: list[list[pa.Array]] = [[] for _ in columns]
        for rows in result.partitions(CHUNK_ROWS):
            for at, values in enumerate(zip(*rows, strict=True)):
                chunks[at].append(_to_arrow(values))
    return pa.table([_unified(parts) for parts in chunks], names=columns)


def _to_arrow(values: tuple[Any, ...]) -> pa.Array:
    """Return the values typed if they are of one kind, else as text (SQLite allows any mix)."""
    if any(isinstance(value, Decimal) for value in values):
        values = tuple(float(value) if isinstance(value, Decimal) else value for value in values)
    if any(isinstance(value, datetime) and value.tzinfo is not None for value in values):
        values = tuple(_to_utc(value) if isinstance(value, datetime) else value for value in values)
    try:
        typed = pa.array(values)
    except (pa.ArrowException, OverflowError):
        typed = None
    if typed is None or pa.types.is_nested(typed.type) or pa.types.is_binary(typed.type):
        return pa.array([None if value is None else str(value) for value in values], pa.string())
    return typed


def _to_utc(value: datetime) -> datetime:
    aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    return aware.astimezone(UTC).replace(tzinfo=None)


def _unified(parts: list[pa.Array]) -> pa.ChunkedArray:
    """Return one column of chunks that may differ in type: numbers widen, a mix is text."""
    types = {part.type for part in parts if not pa.types.is_null(part.type)}
    if not types:
        target = pa.string()
    elif len(types) == 1:
        target = types.pop()
    elif all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in types):
        target = pa.float64()
    else:
        target = pa.string()
    return pa.chunked_array([part.cast(target) for part in parts], type=target)


def _database_error(
    engine: sqlalchemy.Engine,
    database: str,
    table: str,
    names: tuple[str, ...],
    error: sqlalchemy.exc.SQLAlchemyError,
) -> InputError:
    """Return why it failed. Drivers' texts may hold the host and the user, so they are not shown.

    Whether the table or the whole database is out of reach is found by asking again.
    """
    try:
        with engine.connect():
            pass
    except sqlalchemy.exc.SQLAlchemyError:
        return InputError(
            f"{section(table)} the database {database} cannot be reached"
            f" ({type(error).__name__}). Check [databases] {database}, its server and its password."
        )
    return InputError(
        f"{section(table)} {'.'.join(names)} cannot be read from the database {database}."
        " Check the name and the right to read it."
    )
