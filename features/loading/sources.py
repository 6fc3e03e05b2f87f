"""Loads the user's tables: found, read through DuckDB, checked by named rules, handed on."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pandas as pd

from features.config import Config, TableSource
from features.errors import InputError
from features.facts.opportunities import outcome_notes
from features.loading.cells import quoted
from features.loading.checking import CheckedTable, check_table, rejected_rows
from features.loading.data_until import bulk_loads, find_data_until
from features.loading.files import FILE_SUFFIXES
from features.loading.load_report import (
    LoadReport,
    Note,
    TableReport,
    naming_rejects,
    write_rejects,
)
from features.loading.merges import mend_merges
from features.loading.reading import RawTable, open_reader
from features.loading.rules import refuse_malformed, refuse_too_many
from features.tables import CONTRACT, Tables

# Rules of a table look at the ones before it.
ORDER = ("leads", "accounts", "opportunities", "opportunity_leads")
REQUIRED = ("leads", "opportunities")


@dataclass(frozen=True)
class LoadedTables:
    """The checked tables, what was found while loading them, and a digest of each."""

    tables: Tables
    report: LoadReport
    digests: dict[str, str]
    "Table the user has -> sha256 of its checked content, whatever the order of its rows."


@dataclass(frozen=True)
class CheckedSources:
    """The checked tables while they are still DuckDB's `kept_TABLE`, and what was found so far."""

    connection: duckdb.DuckDBPyConnection
    data_until: pd.Timestamp
    present: frozenset[str]
    current_state: frozenset[str]
    report: LoadReport
    digests: dict[str, str]


def load_tables(
    config: Config,
    folder: Path,
    *,
    required: tuple[str, ...] = REQUIRED,
    now: pd.Timestamp | None = None,
    rejects_folder: Path | None = None,
) -> LoadedTables:
    """Return the tables of `folder` (or of `[tables.*]` in `config`), checked, in memory.

    `data.data_until = D` loads the data as they stood at D 00:00 UTC: rows recorded later are
    left out, and opportunities whose closing was recorded later are open. Without it the data
    end with the newest plausible recorded time (see `newest_plausible`), and the same is done.
    `now` is the loading instant, UTC without zone. Rows set aside are written to
    `rejects_folder`, also when they are too many and the load stops.

    Raises InputError for a missing or unreadable source, a missing column, too many rejected rows
    and empty `required` tables.
    """
    with (
        tempfile.TemporaryDirectory() as spill,
        checked_sources(
            config, folder, Path(spill), required=required, now=now, rejects_folder=rejects_folder
        ) as checked,
    ):
        tables = fetch_tables(checked)
    notes = outcome_notes(tables, config.population)
    return LoadedTables(tables, checked.report.with_notes(notes), checked.digests)


@contextmanager
def checked_sources(
    config: Config,
    folder: Path,
    spill: Path,
    *,
    required: tuple[str, ...] = REQUIRED,
    now: pd.Timestamp | None = None,
    rejects_folder: Path | None = None,
) -> Iterator[CheckedSources]:
    """Give the checked tables, still in DuckDB, which spills into `spill`. See `load_tables`."""
    loading = pd.Timestamp.now("UTC").tz_localize(None) if now is None else now
    reader = open_reader(config, folder, spill)
    connection = reader.connection
    try:
        sources = find_sources(config, folder, required)
        raws = {name: reader.read(name, source) for name, source in sources.items()}
        reader.lock()
        checked, rejects = {}, {}
        for name in dict.fromkeys([*ORDER, *CONTRACT]):
            raw = raws.get(name) or _empty(connection, name)
            checked[name] = check_table(connection, CONTRACT[name], raw, loading)
            if checked[name].rejected:
                rejects[name] = rejected_rows(connection, name, raw)
            connection.execute(f"drop table {raw.relation}")
        checked["leads"].notes.extend(mend_merges(connection))
        if checked["engagement_events"].has_recorded_at:
            checked["engagement_events"].notes.extend(bulk_loads(connection))
        data_until, notes = _data_until(connection, config, loading)
        for name in CONTRACT:
            checked[name].notes.extend(_leave_out_later(connection, name, data_until))
        tables = tuple(_table_report(connection, checked[name]) for name in sources)
        report = LoadReport(tables, data_until, rejects, tuple(notes))
        written = write_rejects(report, rejects_folder) if rejects_folder else []
        with naming_rejects(written):
            for name in sources:
                _refuse(connection, checked[name], config, required)
        yield CheckedSources(
            connection,
            data_until,
            present=frozenset(sources),
            current_state=frozenset(name for name in sources if checked[name].is_current_state),
            report=report,
            digests={name: content_digest(connection, f"kept_{name}") for name in sources},
        )
    finally:
        connection.close()


def find_sources(
    config: Config, folder: Path, required: tuple[str, ...] = REQUIRED
) -> dict[str, TableSource]:
    """Return table -> source for the tables that are configured or lie in `folder` by name."""
    unknown = sorted(set(config.tables) - set(CONTRACT))
    if unknown:
        raise InputError(
            f"[tables] has unknown names: {', '.join(unknown[:3])}. Known: {', '.join(CONTRACT)}."
        )
    sources = dict(config.tables)
    for name in CONTRACT:
        files = [f"{name}{suffix}" for suffix in FILE_SUFFIXES]
        found = [file for file in files if name not in sources and (folder / file).exists()]
        if len(found) > 1:
            raise InputError(
                f"{name} is in several files: {', '.join(found)}. Choose one:"
                f' [tables.{name}] path = "{found[0]}"'
            )
        if found:
            sources[name] = TableSource(path=found[0])
    missing = [name for name in required if name not in sources]
    if missing:
        raise InputError(
            f"No source for {' and '.join(missing)}. Looked in {folder} for {missing[0]} with"
            f" {', '.join(FILE_SUFFIXES)}, and for [tables.{missing[0]}] in the configuration."
            " Name another folder with --data FOLDER."
        )
    return {name: sources[name] for name in CONTRACT if name in sources}


def _empty(connection: duckdb.DuckDBPyConnection, name: str) -> RawTable:
    """Return a table without rows, so that a table the user lacks goes the same road."""
    cells = ", ".join(f"{quoted(column)} varchar" for column in CONTRACT[name].required)
    connection.execute(f"create table raw_{name} ({cells})")
    return RawTable(f"raw_{name}", "", dict.fromkeys(CONTRACT[name].required, "VARCHAR"), 0)


def _data_until(
    connection: duckdb.DuckDBPyConnection, config: Config, now: pd.Timestamp
) -> tuple[pd.Timestamp, list[Note]]:
    if config.data.data_until is not None:
        return pd.Timestamp(config.data.data_until), []
    found, notes = find_data_until(connection, now)
    return (now if found is None else found), notes


def _leave_out_later(
    connection: duckdb.DuckDBPyConnection, name: str, data_until: pd.Timestamp
) -> list[Note]:
    """Leave the rows recorded after `data_until` out of `kept_NAME`, and note how many."""
    moment = f"timestamp '{data_until}'"
    recorded = "recorded_at"
    if name == "opportunities":
        recorded = "created_recorded_at"
        connection.execute(
            "update kept_opportunities set stage = 'open', closed_at = null,"
            f" closed_recorded_at = null where closed_recorded_at > {moment}"
        )
    deleted = connection.execute(f"delete from kept_{name} where {recorded} > {moment}").fetchone()
    assert deleted is not None
    text = f"not known at the end of the data, {data_until:%Y-%m-%d %H:%M}"
    return [Note("after_data_until", deleted[0], text)] if deleted[0] else []


def _refuse(
    connection: duckdb.DuckDBPyConnection,
    checked: CheckedTable,
    config: Config,
    required: tuple[str, ...],
) -> None:
    """Stop at a table with too many rows set aside, or none left where some are needed."""
    name, raw = checked.spec.name, checked.raw
    max_share = config.data.max_rejected_share
    read = raw.row_count + raw.malformed_count
    refuse_malformed(name, raw.malformed_count, read, max_share)
    refuse_too_many(connection, name, checked.rules, checked.rejected, read, max_share)
    kept = connection.execute(f"select count(*) from kept_{name}").fetchone()
    if name in required and kept == (0,):
        found = "has no rows" if raw.row_count == 0 else "has no usable rows before data_until"
        raise InputError(f"{name} ({raw.source}) {found}. Check the export and its dates.")


def _table_report(connection: duckdb.DuckDBPyConnection, table: CheckedTable) -> TableReport:
    name, raw = table.spec.name, table.raw
    own = table.spec.own_time or "null::timestamp"
    found = connection.execute(
        f"select count(*), min({own}), max({own}) from kept_{name}"
    ).fetchone()
    assert found is not None
    kept, first, last = found
    return TableReport(
        name,
        raw.source,
        raw.row_count + raw.malformed_count,
        kept,
        table.rejected,
        tuple(table.notes),
        tuple(table.attributes),
        table.is_current_state,
        pd.Timestamp(first) if first else None,
        pd.Timestamp(last) if last else None,
    )


def fetch_tables(checked: CheckedSources) -> Tables:
    """Return the checked tables in memory."""
    frames = {
        name: fetch(checked.connection, f"select * exclude (row) from kept_{name}")
        for name in CONTRACT
    }
    return Tables(
        **frames,
        data_until=checked.data_until,
        present=checked.present,
        current_state=checked.current_state,
    )


def fetch(connection: duckdb.DuckDBPyConnection, query: str) -> pd.DataFrame:
    """Return the query's rows; text is `str`, missing is NaN, instants are datetime64[us]."""
    frame: pd.DataFrame = connection.execute(query).to_arrow_table().to_pandas()
    return frame


def content_digest(connection: duckdb.DuckDBPyConnection, relation: str) -> str:
    """Return the sha256 of a table's columns and rows, the same in any order of the rows.

    Each row is hashed by itself (the lower half of its MD5); the sum of those and the number of
    rows go into the sha256. It finds changes, not forgeries.
    """
    described = connection.execute(f"describe {relation}").fetchall()
    columns = [(row[0], row[1]) for row in described if row[0] != "row"]
    cells = ", ".join(
        f"coalesce({'epoch_us(' + quoted(name) + ')' if kind == 'TIMESTAMP' else quoted(name)}"
        "::varchar, chr(30))"
        for name, kind in columns
    )
    found = connection.execute(
        f"select count(*), sum(md5_number_lower(concat_ws(chr(31), {cells}))::hugeint)"
        f" from {relation}"
    ).fetchone()
    return hashlib.sha256(repr((columns, found)).encode()).hexdigest()
