"""Reading: files, SQL and databases become the same tables, and failures are one clear message."""

from __future__ import annotations

import gzip
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from features.config import Config, DataConfig, TableSource
from features.errors import InputError
from features.loading.sources import LoadedTables, load_tables

NOW = pd.Timestamp("2024-12-31")
LEADS = (
    "lead_id,created_at,country,employees\n"
    "007,2024-01-01 10:00:00,NL,10\n"
    "8,2024-01-02T11:00:00+02:00,,25\n"
)
OPPORTUNITIES = (
    "opportunity_id,lead_id,created_at,stage,closed_at\n"
    "o1,007,2024-03-01 00:30:00,Closed Won,2024-04-01 12:00:00\n"
    "o2,8,2024-03-02 10:00:00,open,2025-06-01 00:00:00\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "leads.csv").write_text(LEADS)
    (tmp_path / "opportunities.csv").write_text(OPPORTUNITIES)
    return tmp_path


def load(folder: Path, config: Config | None = None) -> LoadedTables:
    return load_tables(config or Config(), folder, now=NOW)


def message(folder: Path, config: Config | None = None) -> str:
    with pytest.raises(InputError) as raised:
        load(folder, config)
    return str(raised.value)


def with_sql(table: str, sql: str, **databases: str) -> Config:
    return Config(tables={table: TableSource(sql=sql)}, databases=databases)


def test_a_csv_keeps_leading_zeros_converts_zones_and_types_attributes(folder: Path) -> None:
    leads = load(folder).tables.leads
    assert leads.lead_id.tolist() == ["007", "8"]
    assert leads.created_at.tolist() == [
        pd.Timestamp("2024-01-01 10:00"),
        pd.Timestamp("2024-01-02 09:00"),
    ]
    assert leads.dtypes[["lead_id", "country"]].astype(str).tolist() == ["str", "str"]
    assert leads.created_at.dtype == "datetime64[us]"
    assert leads.country.isna().tolist() == [False, True]
    assert leads.employees.tolist() == [10.0, 25.0]
    assert load(folder).tables.attributes("leads") == ["source", "country", "employees"]


def test_every_table_is_there_and_empty_where_the_user_has_none(folder: Path) -> None:
    loaded = load(folder)
    assert loaded.tables.present == {"leads", "opportunities"}
    assert loaded.tables.current_state == {"leads"}
    events = loaded.tables.engagement_events
    assert len(events) == 0
    assert events.occurred_at.dtype == "datetime64[us]"
    assert str(events.event_type.dtype) == "str"
    assert events.value.dtype == "float64"
    assert set(loaded.digests) == {"leads", "opportunities"}


def test_an_open_opportunity_has_no_closing_and_a_closed_one_is_known_when_closed(
    folder: Path,
) -> None:
    opportunities = load(folder).tables.opportunities
    assert opportunities.stage.tolist() == ["closed_won", "open"]
    assert opportunities.closed_at.isna().tolist() == [False, True]
    assert opportunities.closed_recorded_at[0] == pd.Timestamp("2024-04-01 12:00")
    assert opportunities.created_recorded_at[1] == pd.Timestamp("2024-03-02 10:00")


def write_as(kind: str, folder: Path, frame: pd.DataFrame) -> None:
    if kind == "csv.gz":
        frame.to_csv(folder / "leads.csv.gz", index=False)
    elif kind == "parquet":
        frame.to_parquet(folder / "leads.parquet")
    elif kind == "jsonl":
        frame.to_json(folder / "leads.jsonl", orient="records", lines=True, date_format="iso")
    elif kind == "json":
        frame.to_json(folder / "leads.json", orient="records", date_format="iso")


@pytest.mark.parametrize("kind", ["csv.gz", "parquet", "jsonl", "json"])
def test_every_kind_of_file_gives_the_same_table(folder: Path, kind: str) -> None:
    expected = load(folder)
    frame = expected.tables.leads[["lead_id", "created_at", "country", "employees"]]
    (folder / "leads.csv").unlink()
    write_as(kind, folder, frame)
    found = load(folder)
    pd.testing.assert_frame_equal(found.tables.leads, expected.tables.leads)
    assert found.digests == expected.digests


def test_the_order_of_rows_changes_neither_tables_nor_digests(folder: Path) -> None:
    expected = load(folder)
    header, *rows = LEADS.splitlines()
    (folder / "leads.csv").write_text("\n".join([header, *reversed(rows)]))
    found = load(folder)
    pd.testing.assert_frame_equal(found.tables.leads, expected.tables.leads)
    assert found.digests == expected.digests


def test_a_changed_cell_changes_its_tables_digest_only(folder: Path) -> None:
    expected = load(folder).digests
    (folder / "leads.csv").write_text(LEADS.replace("25", "26"))
    found = load(folder).digests
    assert found["leads"] != expected["leads"]
    assert found["opportunities"] == expected["opportunities"]


def test_whole_numbers_written_as_floats_are_ids(folder: Path) -> None:
    (folder / "leads.csv").write_text("lead_id,created_at\n 10803.0 ,2024-01-01T00:00:01\n")
    assert load(folder).tables.leads.lead_id.tolist() == ["10803"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r\r\n"])
def test_delimiters_and_line_ends_are_found(folder: Path, delimiter: str, ending: str) -> None:
    text = LEADS.replace(",", delimiter).replace("\n", ending)
    (folder / "leads.csv").write_bytes(("\ufeff" + text).encode())
    assert load(folder).tables.leads.employees.tolist() == [10.0, 25.0]


def test_sql_reads_files_of_the_folder_with_codes_intact(folder: Path) -> None:
    (folder / "Export 1.csv").write_text("Id,Created,Visits\n007,31/01/2024,3\n008,01/02/2024,4\n")
    sql = (
        "select Id as lead_id, strptime(Created, '%d/%m/%Y') as created_at, Visits * 2 as visits"
        " from 'Export 1.csv'"
    )
    leads = load(folder, with_sql("leads", sql)).tables.leads
    assert leads.lead_id.tolist() == ["007", "008"]
    assert leads.visits.tolist() == [6.0, 8.0]
    assert leads.created_at[0] == pd.Timestamp("2024-01-31")


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("select nonsense from 'leads.csv'", "nonsense"),  # a column that is not there
        ("selec 1", "syntax error"),
        ("select 1; select 2", "one SELECT"),
        ("copy leads to 'x.csv'", "one SELECT"),
        ("select * from 'gone.csv'", "gone.csv does not exist"),
        ("select * from gone", "gone does not exist"),
        ("select * from read_csv('gone.csv')", "does not exist"),
        ("select cast(country as int) as lead_id from 'leads.csv'", "try_cast"),
        ("select country as lead_id from 'leads.csv'", "lacks the column created_at"),
    ],
)
def test_wrong_sql_is_one_message_without_data(folder: Path, sql: str, says: str) -> None:
    found = message(folder, with_sql("leads", sql))
    assert says in found
    assert "NL" not in found


def test_sql_of_the_configuration_cannot_write_files(folder: Path) -> None:
    message(folder, with_sql("leads", f"copy (select 1) to '{folder}/written.csv'"))
    assert not (folder / "written.csv").exists()


LONG = b"lead_id,created_at\n1,2024-01-01\n2," + b"x" * 50_000_000 + b"\n"
BROKEN = {
    "empty": ("leads.csv", b"", "is empty"),
    "long line": ("leads.csv", LONG, "line 3"),
    "long object": (
        "leads.jsonl",
        b'{"lead_id": "' + b"x" * 20_000_000 + b'"}',
        "longer than 8 MB",
    ),
    "latin-1": ("leads.csv", LEADS.replace("NL", "Köln").encode("latin-1"), "UTF-8"),
    "utf-16": ("leads.csv", LEADS.encode("utf-16"), "UTF-8"),
    "utf-16 without mark": ("leads.csv", LEADS.encode("utf-16-le"), "UTF-8"),
    "repeated names": ("leads.csv", b"lead_id,created_at,LEAD_ID\n1,2024-01-01,2\n", "same name"),
    "no rows": ("leads.csv", b"lead_id,created_at\n", "no rows"),
    "no header": ("leads.csv", b"1,2024-01-01,anna@x.org\n2,2024-01-02,bo@x.org\n", "column names"),
    "open quote": ("leads.csv", b'lead_id,created_at\n1,"2024\n2,2024-01-02\n', "never closed"),
    "cut gzip": ("leads.csv.gz", gzip.compress(os.urandom(5000).hex().encode())[:3000], "cut off"),
    "no gzip": ("leads.csv.gz", LEADS.encode(), "cut off"),
    "cut parquet": ("leads.parquet", b"PAR1 and then nothing of use", "parquet"),
    "cut json": ("leads.json", b'[{"lead_id": "anna@x.org", "created', "json"),
    "no objects": ("leads.json", b"[1, 2]", "lacks the column"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_one_message_that_names_it(folder: Path, case: str) -> None:
    name, content, says = BROKEN[case]
    (folder / "leads.csv").unlink()
    (folder / name).write_bytes(content)
    found = message(folder)
    assert says in found
    assert "leads" in found
    assert "anna" not in found
    assert len(found) < 500


def test_a_folder_in_place_of_a_file_is_refused(folder: Path) -> None:
    (folder / "leads.csv").unlink()
    (folder / "leads.csv").mkdir()
    assert "is a folder" in message(folder)


def test_missing_sources_are_named_with_what_was_looked_for(tmp_path: Path) -> None:
    found = message(tmp_path)
    assert "leads and opportunities" in found
    assert ".parquet" in found
    assert "does not exist" in message(tmp_path / "nowhere")


def test_two_files_of_one_table_are_refused(folder: Path) -> None:
    (folder / "leads.jsonl").write_text("{}")
    assert "leads.csv, leads.jsonl" in message(folder)


def test_an_unknown_table_is_refused(folder: Path) -> None:
    assert "Known: leads" in message(folder, with_sql("lead", "select 1"))


def test_a_missing_column_shows_close_names(folder: Path) -> None:
    (folder / "leads.csv").write_text("Lead Id,Created At\n1,2024-01-01\n")
    assert "Found: Lead Id, Created At" in message(folder)


def test_a_line_with_missing_cells_is_set_aside_by_name(folder: Path) -> None:
    rows = "".join(f"{n},2024-01-01 10:00:00,NL,1\n" for n in range(100))
    (folder / "leads.csv").write_text("lead_id,created_at,country,employees\nx,1\n" + rows)
    loaded = load(folder)
    assert loaded.report.tables[0].rejected == {"malformed_line": 1}
    assert loaded.report.rejects["leads"].line.tolist() == ["x,1"]


def sqlite_file(folder: Path) -> None:
    connection = sqlite3.connect(folder / "crm.db")
    with connection:
        connection.execute("create table contacts (id, made, score)")
        rows = [("007", "2024-01-01 10:00:00", 1), ("8", "2024-01-02 09:00:00", "high")]
        connection.executemany("insert into contacts values (?, ?, ?)", rows)
    connection.close()


def test_a_sqlite_database_is_read_even_where_a_column_mixes_types(folder: Path) -> None:
    sqlite_file(folder)
    sql = "select id as lead_id, made as created_at, score from crm.contacts"
    leads = load(folder, with_sql("leads", sql, crm="sqlite:///crm.db")).tables.leads
    assert leads.lead_id.tolist() == ["007", "8"]
    assert leads.score.tolist() == ["1", "high"]
    assert leads.created_at[0] == pd.Timestamp("2024-01-01 10:00")


def test_a_database_out_of_reach_is_one_message_without_its_password(folder: Path) -> None:
    sql = "select * from crm.contacts"
    found = message(folder, with_sql("leads", sql, crm="sqlite:///gone.db"))
    assert "gone.db does not exist" in found
    assert not (folder / "gone.db").exists()
    url = "postgresql://anna:secret@127.0.0.1:1/crm"
    found = message(folder, with_sql("leads", sql, crm=url))
    assert "crm cannot be reached" in found
    assert "secret" not in found
    assert "no URL" in message(folder, with_sql("leads", sql, crm="what"))
    sqlite_file(folder)
    wrong = with_sql("leads", "select * from crm.people", crm="sqlite:///crm.db")
    assert "crm.people cannot be read" in message(folder, wrong)


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """A throwaway server on a Unix socket, run as another user when we are root."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not binaries:
        pytest.skip("no Postgres server binaries on this machine")
    as_user = []
    if os.geteuid() == 0:
        if shutil.which("runuser") is None:
            pytest.skip("Postgres refuses to run as root and runuser is missing")
        as_user = ["runuser", "-u", "postgres", "--"]
    home = Path(tempfile.mkdtemp(prefix="pg"))  # the path of a socket must be short
    home.chmod(0o777)

    def run(*command: str) -> None:
        subprocess.run([*as_user, *command], check=True, capture_output=True, cwd=home)

    control = str(binaries[-1] / "pg_ctl")
    cluster = str(home / "cluster")
    try:
        run(str(binaries[-1] / "initdb"), "-D", cluster, "-A", "trust", "-U", "crm")
        options = f"-c listen_addresses='' -k {home} -F"
        run(control, "-D", cluster, "-w", "-l", str(home / "log"), "-o", options, "start")
        try:
            yield f"postgresql://crm@/postgres?host={home}"
        finally:
            run(control, "-D", cluster, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def test_a_postgres_database_is_read(folder: Path, postgres_url: str) -> None:
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(postgres_url) as connection:
        connection.execute("create schema sales")
        connection.execute(
            "create table sales.contacts (id uuid, made timestamptz, revenue numeric, active bool,"
            " extra jsonb, since date)"
        )
        connection.execute(
            "insert into sales.contacts values"
            " ('00000000-0000-0000-0000-000000000007', '2024-01-01 10:00+02', 12.50, true, '{}',"
            " '2020-01-01'), ('00000000-0000-0000-0000-000000000008', '2024-01-02 10:00+00',"
            " null, false, null, null)"
        )
    sql = "select id as lead_id, made as created_at, * exclude (id, made) from crm.sales.contacts"
    loaded = load(folder, with_sql("leads", sql, crm=postgres_url))
    leads = loaded.tables.leads
    assert leads.created_at[0] == pd.Timestamp("2024-01-01 08:00")
    assert leads.revenue[0] == 12.5
    assert leads.active.tolist() == ["true", "false"]
    assert [note.name for note in loaded.report.tables[0].notes] == ["date_column_not_used"]


def test_data_until_loads_the_data_as_they_stood_that_day(folder: Path) -> None:
    day = Config(data=DataConfig(data_until="2024-03-02"))  # type: ignore[arg-type]
    tables = load(folder, day).tables
    assert tables.data_until == pd.Timestamp("2024-03-02")
    assert tables.opportunities.opportunity_id.tolist() == ["o1"]
    assert tables.opportunities.stage.tolist() == ["open"]  # it closed later
    assert tables.opportunities.closed_at.isna().all()


def test_after_the_sources_are_read_no_sql_reaches_a_file(folder: Path) -> None:
    from features.loading.reading import open_reader

    reader = open_reader(Config(), folder)
    reader.lock()
    with pytest.raises(duckdb.Error, match="disabled"):
        reader.connection.execute(f"from read_csv('{folder}/leads.csv')")
    with pytest.raises(duckdb.Error, match="lock"):
        reader.connection.execute("set enable_external_access = true")
    reader.connection.close()
