"""Reads each source, a file or SQL over files and databases, into one DuckDB table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from features.config import Config, TableSource
from features.errors import InputError
from features.loading.cells import infer_types, literal, quoted, trimmed
from features.loading.databases import copy_database_table
from features.loading.files import (
    FILE_SUFFIXES,
    MOST_LINES_KEPT,
    Malformed,
    check_file,
    load_file,
    section,
)

# The rest is for what Python holds beside it.
DATABASE_SHARE = 0.5
LEAST_MEGABYTES = 256

NAME_ERRORS = (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException)


@dataclass(frozen=True)
class RawTable:
    """One source as it was read: a DuckDB table, and the lines that were no rows of it."""

    relation: str
    "Name of the DuckDB table."
    source: str
    "File name or `sql`, for reports."
    columns: dict[str, str]
    "Column -> DuckDB type, in order."
    row_count: int
    malformed_count: int = 0
    malformed: tuple[tuple[int, str], ...] = ()
    "(line number, text) of lines with too few or too many cells."


@dataclass(frozen=True)
class Reader:
    """One DuckDB connection and what was already read into it."""

    config: Config
    folder: Path
    connection: duckdb.DuckDBPyConnection
    files: dict[str, Malformed] = field(default_factory=dict)
    "Files named in SQL -> their malformed lines."
    copied: set[tuple[str, ...]] = field(default_factory=set)

    def read(self, table: str, source: TableSource) -> RawTable:
        """Return `source` as the DuckDB table `raw_TABLE`; every failure is an InputError."""
        relation = f"raw_{table}"
        if source.path is not None:
            path = self.folder / source.path
            malformed = load_file(self.connection, table, path, relation, self._megabytes)
            return self._described(relation, path.name, malformed)
        assert source.sql is not None
        return self._described(relation, "sql", self._run_sql(table, source.sql, relation))

    def lock(self) -> None:
        """Let no later SQL of this connection reach files or the network, nor undo this."""
        self.connection.execute("set enable_external_access = false")
        self.connection.execute("set lock_configuration = true")

    @property
    def _megabytes(self) -> int:
        return self.config.data.max_line_megabytes

    def _described(self, relation: str, source: str, malformed: Malformed) -> RawTable:
        described = self.connection.execute(f"describe {relation}").fetchall()
        for row in described:
            if row[0].casefold() == "rowid":  # DuckDB's own name for the place of a row
                self.connection.execute(f"alter table {relation} rename {quoted(row[0])} to row_id")
                return self._described(relation, source, malformed)
        counted = self.connection.execute(f"select count(*) from {relation}").fetchone()
        assert counted is not None
        return RawTable(
            relation, source, {row[0]: row[1] for row in described}, counted[0], *malformed
        )

    def _run_sql(self, table: str, sql: str, relation: str) -> Malformed:
        count, lines = 0, tuple[tuple[int, str], ...]()
        for names in self._referenced(table, sql):
            if names[0] in self.config.databases and len(names) > 1:
                if names not in self.copied:
                    copy_database_table(self.connection, self.config, self.folder, table, names)
                    self.copied.add(names)
            elif len(names) == 1 and names[0].lower().endswith(FILE_SUFFIXES):
                in_file = self._file_in_sql(table, names[0])
                count, lines = count + in_file[0], lines + in_file[1]
        try:
            self.connection.execute(f"create table {relation} as {sql.strip().rstrip(';')}")
        except duckdb.InterruptException:
            raise KeyboardInterrupt from None
        except duckdb.Error as error:
            raise _sql_error(table, error) from None
        return count, lines[:MOST_LINES_KEPT]

    def _referenced(self, table: str, sql: str) -> list[tuple[str, ...]]:
        """Return the names after `from` and `join`; refuse anything but one SELECT."""
        try:
            row = self.connection.execute("select json_serialize_sql(?)", [sql]).fetchone()
        except duckdb.Error as error:
            raise _sql_error(table, error) from None
        assert row is not None
        tree = json.loads(row[0])
        if tree["error"] and tree.get("error_type") == "parser":
            raise InputError(f"{section(table)} sql: {tree['error_message'].splitlines()[0]}")
        if tree["error"] or len(tree["statements"]) != 1:
            raise InputError(f"{section(table)} sql must be one SELECT statement.")
        found = dict.fromkeys(_base_tables(tree))
        return list(found)

    def _file_in_sql(self, table: str, name: str) -> Malformed:
        """Make 'FILE' in SQL mean the whole-file typed table, not DuckDB's guess from its start.

        DuckDB types a CSV by its first rows, reads `007` as 7 and stops at the first bad cell.
        """
        if any(character in name for character in "*?[") or name.lower().endswith(".parquet"):
            if not any(character in name for character in "*?["):
                check_file(table, self.folder / name)
            return 0, ()
        if name not in self.files:
            relation = quoted(f"file_{len(self.files)}")
            self.files[name] = load_file(
                self.connection, table, self.folder / name, relation, self._megabytes
            )
            types = infer_types(self.connection, relation)
            cells = ", ".join(
                quoted(column)
                if kind == "VARCHAR"
                else f"cast({trimmed(quoted(column))} as {kind}) as {quoted(column)}"
                for column, kind in types.items()
            )
            self.connection.execute(f"create view {quoted(name)} as select {cells} from {relation}")
        return self.files[name]


def open_reader(config: Config, folder: Path, spill: Path | None = None) -> Reader:
    """Return a reader on a new DuckDB in memory; relative names lie in `folder`.

    What goes beyond its share of `data.memory_gb` lies in `spill` (measured: twice as fast as a
    database file). After `lock()` it can still write there, nowhere else.
    """
    if not folder.is_dir():
        raise InputError(f"The folder {folder} does not exist. Name it with --data FOLDER.")
    connection = duckdb.connect(":memory:", config={"threads": 2})
    settings = [
        "python_enable_replacements = false",  # SQL sees files and tables, not our variables
        "autoinstall_known_extensions = false",
        "TimeZone = 'UTC'",
        "arrow_large_buffer_size = true",  # pandas' own string layout: no copy on the way out
        f"file_search_path = {literal(str(folder.resolve()))}",
    ]
    if spill is not None:
        megabytes = max(LEAST_MEGABYTES, round(DATABASE_SHARE * config.data.memory_gb * 1000))
        inside = literal(str(spill.resolve()))
        settings += [
            f"memory_limit = '{megabytes}MB'",
            f"temp_directory = {inside}",
            f"allowed_directories = [{inside}]",
        ]
    # Asked first: in a notebook without ipywidgets DuckDB refuses even to turn it off.
    if connection.execute("select current_setting('enable_progress_bar')").fetchone() == (True,):
        settings.append("enable_progress_bar = false")
    for setting in settings:
        connection.execute(f"set {setting}")
    return Reader(config, folder, connection)


def _base_tables(node: Any) -> Iterator[tuple[str, ...]]:
    if isinstance(node, dict):
        if node.get("type") == "BASE_TABLE":
            parts = (node["catalog_name"], node["schema_name"], node["table_name"])
            yield tuple(part for part in parts if part)
        for child in node.values():
            yield from _base_tables(child)
    elif isinstance(node, list):
        for child in node:
            yield from _base_tables(child)


def _sql_error(table: str, error: duckdb.Error) -> InputError:
    if isinstance(error, NAME_ERRORS):  # about names in the query, not about values
        return InputError(f"{section(table)} sql: {str(error).splitlines()[0]}")
    if isinstance(error, duckdb.IOException):
        return InputError(
            f"{section(table)} sql names a file that does not exist or cannot be read."
        )
    return InputError(
        f"{section(table)} sql: a value could not be converted. Use try_cast or try_strptime"
        " in columns with mixed contents; what they cannot read becomes missing."
    )
