"""The ledger's database: opened, brought to the newest schema, and its errors in our words."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from features.errors import InputError
from serving.ledger.errors import LedgerUnavailable
from serving.ledger.schema import HEAD, VERSION_TABLE

_WRITES, _FILE = "closedwon_writes", "closedwon_file"
_MIGRATION_LOCK = 0x636C6F7365  # any number of our own


def open_database(
    url: str, root: Path, busy_seconds: float = 5.0, must_exist: bool = False
) -> Engine:
    """Return an engine for the ledger at `url`, made or brought up to date if need be.

    SQLite files are relative to `root`. Several processes may open a new ledger at once. Raises
    InputError for a database that is no ledger, cannot be opened, or is of a newer closedwon, and
    with `must_exist` for a SQLite file that is not there.
    """
    parsed = _parse(url, root)
    is_file = parsed.get_backend_name() == "sqlite"
    if must_exist and is_file and not Path(str(parsed.database)).exists():
        raise InputError(
            f"There is no ledger at {parsed.database} yet: it begins with the first key "
            "(closedwon keys create) or score."
        )
    shown = parsed.render_as_string(hide_password=True)
    try:
        if is_file:
            with _first_use_errors(shown):
                _make_wal(Path(str(parsed.database)), busy_seconds)
        engine = _engine(parsed, busy_seconds)
        with _first_use_errors(shown):
            with engine.connect() as connection:
                is_current = _version(connection) == HEAD
            if not is_current:
                _migrate(engine, shown)
    except ModuleNotFoundError as error:
        raise InputError(
            f"{shown} needs the package {error.name}, which is not installed. "
            "For PostgreSQL: pip install 'closedwon[postgres]'"
        ) from None
    return engine


@contextmanager
def writing(engine: Engine, is_synced: bool = False) -> Iterator[Connection]:
    """Give a connection whose transaction may write from its first statement on.

    A SQLite transaction that reads first and writes later can fail in between, so this one takes
    the writer's place at once and waits for it. `is_synced` commits outlive a power cut. Raises
    LedgerUnavailable where the file is not the one that was opened: what is written there is gone.
    """
    if not is_in_place(engine):
        raise LedgerUnavailable("its file was removed or replaced; restart what has it open")
    with engine.connect().execution_options(**{_WRITES: True}) as connection:
        slower = is_synced and engine.dialect.name == "sqlite"
        if slower:
            _set(connection, "synchronous=FULL")
        try:
            with connection.begin():
                yield connection
        finally:
            if slower and not connection.invalidated:
                _set(connection, "synchronous=NORMAL")


def is_in_place(engine: Engine) -> bool:
    """Whether the SQLite file that was opened is still there under its name."""
    opened = engine.get_execution_options().get(_FILE)
    return opened is None or opened == (opened[0], _identity(opened[0]))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _set(connection: Connection, pragma: str) -> None:
    driver: Any = connection.connection.driver_connection
    driver.execute(f"PRAGMA {pragma}").fetchall()


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn the database's failures into `LedgerUnavailable`, without statement or values."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise LedgerUnavailable(cause(error)) from error


def cause(error: Exception) -> str:
    """Return what a driver says, without the statement and its values."""
    told = getattr(error, "orig", None) or error
    # Drivers quote values from the second line on, and after DETAIL.
    return str(told).split("\n", 1)[0][:200] or type(told).__name__


def _parse(url: str, root: Path) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InputError(
            "[serving] ledger is no database URL. Write sqlite:///FILE or "
            "postgresql+psycopg://USER:PASSWORD@HOST/DATABASE."
        ) from None
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise InputError(f"[serving] ledger names {backend}; known: sqlite, postgresql.")
    if backend == "postgresql":
        return parsed
    if not parsed.database or ":memory:" in parsed.database:
        raise InputError("[serving] ledger names no file. Write sqlite:///FILE.")
    return parsed.set(database=str(root.absolute() / parsed.database))


def _engine(parsed: URL, busy_seconds: float) -> Engine:
    try:
        if parsed.get_backend_name() != "sqlite":
            return create_engine(parsed, pool_pre_ping=True, pool_size=10, max_overflow=40)
        path = Path(str(parsed.database))

        def connect() -> sqlite3.Connection:
            # A file that vanished is not made anew. Transactions begin where we say so; the driver
            # would begin one at the first change.
            return sqlite3.connect(
                f"{path.as_uri()}?mode=rw", uri=True, timeout=busy_seconds,
                check_same_thread=False, isolation_level=None,
            )  # fmt: skip

        engine = create_engine(parsed, creator=connect, pool_size=10, max_overflow=40)
        engine.update_execution_options(**{_FILE: (path, _identity(path))})
    except (ArgumentError, NoSuchModuleError) as error:
        raise InputError(f"[serving] ledger cannot be used: {cause(error)}") from None
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # A commit is in the log when it returns, so it survives the process; only a power cut could
    # take the newest ones, and `durable` ones are synced (see `writer`).
    # What is overwritten or deleted is zeroed, so that an erased lead is not left in free pages.
    # Without recursive triggers, INSERT OR REPLACE would slip past those that guard the tables.
    # Room for 16 MB of pages, and of log before it is merged into the file: the index pages that
    # every batch touches are then written once, not with each batch.
    for setting in ("synchronous=NORMAL", "secure_delete=ON", "recursive_triggers=ON",
                    "cache_size=-16000", "wal_autocheckpoint=2000"):  # fmt: skip
        connection.execute(f"PRAGMA {setting}").fetchall()


def _begin_sqlite(connection: Connection) -> None:
    is_writer = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writer else "BEGIN")


def _make_wal(path: Path, busy_seconds: float) -> None:
    """Make `path` a SQLite file that is read while it is written; a new one if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + busy_seconds
    with closing(sqlite3.connect(path, timeout=busy_seconds, isolation_level=None)) as connection:
        while True:
            try:
                # Of a new file: a score fills half such a page, and a batch makes half the calls.
                connection.execute("PRAGMA page_size=8192").fetchall()
                connection.execute("PRAGMA journal_mode=WAL").fetchall()
                return
            except sqlite3.OperationalError as error:
                # SQLite does not wait here itself while another process does the same.
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(0.02)


def _version(connection: Connection) -> str | None:
    """Return the ledger's revision; None where there is no ledger yet."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found: Any = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    return None if found is None else str(found)


def _migrate(engine: Engine, shown: str) -> None:
    from serving.ledger.migrating import upgrade

    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
        # Another process may have been quicker.
        found = _version(connection)
        if found == HEAD:
            return
        if found is None and inspect(connection).get_table_names():
            raise InputError(
                f"{shown} holds other tables and no ledger. "
                "Name a database of its own in [serving] ledger."
            )
        if not upgrade(connection, VERSION_TABLE):
            raise InputError(
                f"{shown} was written by a newer closedwon (its schema is {str(found)[:32]}, this "
                f"one knows {HEAD}). Update closedwon, or name another [serving] ledger."
            )


@contextmanager
def _first_use_errors(shown: str) -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        told = error.strerror if isinstance(error, OSError) else None
        raise InputError(
            f"The ledger {shown} cannot be opened: {told or cause(error)}. Check [serving] ledger."
        ) from error
