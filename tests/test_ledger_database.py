import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from ledger_children import children, open_new
from small_ledger import URL, open_ledger, record, write

from features.errors import InputError
from serving.ledger.database import open_database, writing
from serving.ledger.migrating import revisions
from serving.ledger.schema import APPEND_ONLY, HEAD, VERSION_TABLE, metadata


def test_the_revisions_make_the_tables_that_the_code_uses(tmp_path: Path) -> None:
    assert revisions().get_current_head() == HEAD
    with open_database(URL, tmp_path).connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []


def test_an_open_ledger_needs_no_alembic(tmp_path: Path) -> None:
    open_database(URL, tmp_path).dispose()
    code = (
        "import sys; from pathlib import Path; from serving.ledger.ledger import Ledger;"
        f"Ledger.open({URL!r}, Path({str(tmp_path)!r})).close();"
        "sys.exit(any(name in sys.modules for name in ('alembic', 'mlflow', 'pyarrow.parquet')))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_processes_may_open_a_new_ledger_at_once(tmp_path: Path) -> None:
    context = children()
    pipes = [context.Pipe(duplex=False) for _ in range(4)]
    opening = [context.Process(target=open_new, args=(tmp_path, end)) for _, end in pipes]
    for process in opening:
        process.start()
    told = [receiver.recv() if receiver.poll(30) else "nothing" for receiver, _ in pipes]
    for process in opening:
        process.join()
    assert told == ["opened"] * 4


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize(
    "change",
    ["UPDATE {} SET lead_id = 'other'", "DELETE FROM {}", "INSERT OR REPLACE INTO {} {}"],
)
def test_what_is_written_stays(tmp_path: Path, table: str, change: str) -> None:
    ledger = open_ledger(tmp_path)
    write(ledger, record("L-1"))
    ledger.add_verdict("L-1", "accepted", None, now=1)
    ledger.add_contact("L-1", now=2)
    with ledger.engine.connect() as connection:
        before = connection.exec_driver_sql(f"SELECT * FROM {table}").all()
        statement = change.format(table, f"SELECT * FROM {table}")
        with pytest.raises(Exception, match=f"{table} is append-only"):
            connection.exec_driver_sql(statement)
        connection.rollback()
        assert connection.exec_driver_sql(f"SELECT * FROM {table}").all() == before
        assert len(before) == 1
    ledger.close()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    engine = open_database(URL, tmp_path)
    with writing(engine) as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = 'v999'")
    with pytest.raises(InputError, match=r"written by a newer closedwon .*v999"):
        open_database(URL, tmp_path)


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("lead_id,created_at\n" * 100)
    with pytest.raises(InputError, match="cannot be opened: file is not a database"):
        open_database(URL, tmp_path)
    other = sqlite3.connect(tmp_path / "mlflow.db")
    other.execute("CREATE TABLE alembic_version (version_num TEXT)")
    other.close()
    with pytest.raises(InputError, match="holds other tables and no ledger"):
        open_database("sqlite:///mlflow.db", tmp_path)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ledger.db", "is no database URL"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("mysql://u:secret@h/d", "names mysql; known: sqlite, postgresql"),
        ("sqlite:////proc/none/ledger.db", "cannot be opened"),
        ("postgresql+nodriver://u:secret@h/d", "cannot be used"),
        ("postgresql+psycopg://u:secret@127.0.0.1:1/d", "cannot be opened"),
    ],
)
def test_a_wrong_url_is_the_users_mistake(tmp_path: Path, url: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        open_database(url, tmp_path)
    assert "secret" not in str(refused.value)


def test_a_ledger_that_must_exist_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no ledger"):
        open_database(URL, tmp_path, must_exist=True)
    assert not list(tmp_path.iterdir())
