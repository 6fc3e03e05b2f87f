"""Reads one CSV, JSON or Parquet file into a DuckDB table, and says in our words what is wrong."""

from __future__ import annotations

import csv
import glob
import gzip
import re
import tempfile
import zlib
from io import BufferedIOBase
from pathlib import Path
from typing import IO

import duckdb

from features.errors import InputError
from features.loading.cells import literal, quoted

FILE_SUFFIXES = (".parquet", ".csv", ".csv.gz", ".json", ".jsonl")
DELIMITERS = (",", ";", "\t", "|")
# Kept of the lines that are no rows; all of them are counted.
MOST_LINES_KEPT = 1_000

Malformed = tuple[int, tuple[tuple[int, str], ...]]
"How many lines of a file are no rows, and (line number, text) of the first of them."


def section(table: str) -> str:
    """Return the part of the configuration that a source comes from."""
    return "[flat]" if table == "flat" else f"[tables.{table}]"


def load_file(
    connection: duckdb.DuckDBPyConnection, table: str, path: Path, relation: str, megabytes: int
) -> Malformed:
    """Make `relation` from the file at `path`; return the lines that are no rows of it.

    `table` is the contract's table, for messages. Cells of CSV and JSON files stay text, so one
    bad cell is one bad row. Every failure is an InputError that holds nothing of the file.
    """
    check_file(table, path)
    name = path.name.lower()
    try:
        if name.endswith((".csv", ".csv.gz")):
            return _load_csv(connection, table, path, relation, megabytes)
        if name.endswith((".json", ".jsonl")):
            _load_json(connection, path, relation, megabytes)
        else:
            connection.execute(f"create table {relation} as from read_parquet({_pattern(path)})")
    except duckdb.InterruptException:
        raise KeyboardInterrupt from None
    except duckdb.Error as error:
        raise _file_error(table, path, str(error), megabytes) from None
    return 0, ()


def read_columns(path: Path) -> list[str]:
    """Return the column names of a file, without reading its rows."""
    check_file(path.stem, path)
    if path.name.lower().endswith((".csv", ".csv.gz")):
        return [name for name in _read_header(path.stem, path)[1] if name]
    function = "read_parquet" if path.name.lower().endswith(".parquet") else "read_json"
    try:
        with duckdb.connect(":memory:") as connection:
            found = connection.execute(f"describe from {function}({_pattern(path)})").fetchall()
    except duckdb.Error as error:
        raise _file_error(path.stem, path, str(error), 0) from None
    return [row[0] for row in found]


def check_file(table: str, path: Path) -> None:
    """Refuse a path that is missing, a folder, empty, or of a kind we do not read."""
    if path.is_dir():
        raise InputError(f"{table}: {path} is a folder. Name a file in it.")
    if not path.exists():
        raise InputError(f"{table}: the file {path} does not exist.")
    if not path.name.lower().endswith(FILE_SUFFIXES):
        raise InputError(
            f"{table}: {path.name} is of an unknown kind; known: {', '.join(FILE_SUFFIXES)}."
        )
    if path.stat().st_size == 0:
        raise InputError(f"{table}: the file {path.name} is empty. Export it again.")


def _pattern(path: Path) -> str:
    return literal(glob.escape(str(path.resolve())))


def _load_csv(
    connection: duckdb.DuckDBPyConnection, table: str, path: Path, relation: str, megabytes: int
) -> Malformed:
    if path.name.lower().endswith(".gz"):
        _check_gzip(table, path)
    delimiter, header = _read_header(table, path)
    try:
        _scan_csv(connection, path, relation, delimiter, header, megabytes)
    except duckdb.InvalidInputException as error:
        if "invalid state" not in str(error):
            raise
        # Lines that end in different ways stop DuckDB's parser: read a copy that ends in one.
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "rows.csv"
            with _opened(path) as lines, copy.open("wb") as cleaned:
                cleaned.writelines(line.rstrip(b"\r\n") + b"\n" for line in lines)
            _scan_csv(connection, copy, relation, delimiter, header, megabytes)
    return _malformed_lines(connection, table, path, megabytes)


def _scan_csv(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    relation: str,
    delimiter: str,
    header: list[str],
    megabytes: int,
) -> None:
    names = [name or f"unnamed column {at}" for at, name in enumerate(header)]
    types = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    # A column without a name is the row number some exports add: not read further.
    named = ", ".join(quoted(name) for name in header if name)
    connection.execute("drop table if exists reject_errors; drop table if exists reject_scans")
    connection.execute(
        f"create table {relation} as select {named} from read_csv({_pattern(path)},"
        f" columns = {{{types}}}, auto_detect = false, header = true, store_rejects = true,"
        f" delim = {literal(delimiter)}, quote = '\"', escape = '\"', nullstr = '',"
        f" max_line_size = {megabytes * 1_000_000})"
    )


def _malformed_lines(
    connection: duckdb.DuckDBPyConnection, table: str, path: Path, megabytes: int
) -> Malformed:
    """Return the lines with too few or too many cells; refuse the file for anything worse."""
    errors = connection.execute(
        "select line, min(error_type::varchar), bool_or(contains(csv_line, chr(10)))"
        " from reject_errors group by line order by line"
    ).fetchall()
    for line, kind, spans_lines in errors:
        if kind == "LINE SIZE OVER MAXIMUM":
            raise _file_error(table, path, f"max_line_size line {line}", megabytes)
        if kind == "INVALID ENCODING":
            raise _encoding_error(table, path)
        if spans_lines:  # it may have swallowed any number of good rows
            raise InputError(
                f"{table}: line {line} of {path.name} opens a quote that is never closed."
                " Export the file with quotes doubled inside quoted cells."
            )
    kept = connection.execute(
        "select line, any_value(csv_line) from reject_errors group by line order by line"
        f" limit {MOST_LINES_KEPT}"
    ).fetchall()
    return len(errors), tuple((line, text) for line, text in kept)


def _read_header(table: str, path: Path) -> tuple[str, list[str]]:
    """Return the delimiter and the column names of a CSV file."""
    try:
        with _open_text(path) as stream:
            first = stream.readline()
            delimiter = max(DELIMITERS, key=first.count)
            stream.seek(0)
            header = [name.strip() for name in next(csv.reader(stream, delimiter=delimiter), [])]
    except UnicodeDecodeError:
        raise _encoding_error(table, path) from None
    except (OSError, EOFError, csv.Error):
        raise _file_error(table, path, "", 0) from None
    if any("\x00" in name for name in header):
        raise _encoding_error(table, path)
    if not any(header):
        raise InputError(f"{table}: the first line of {path.name} names no columns.")
    folded = [name.casefold() for name in header if name]
    repeated = sorted({name for name in header if name and folded.count(name.casefold()) > 1})
    if repeated:
        listed = ", ".join(f'"{name}"' for name in repeated[:3])
        raise InputError(
            f"{table}: {path.name} has columns of the same name: {listed}. Rename them."
        )
    return delimiter, header


def _opened(path: Path) -> BufferedIOBase:
    return gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb")


def _open_text(path: Path) -> IO[str]:
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _check_gzip(table: str, path: Path) -> None:
    """Refuse a damaged gzip file: DuckDB reads one that is cut off as if it were whole."""
    try:
        with gzip.open(path) as stream:
            while stream.read(1 << 20):
                pass
    except (OSError, EOFError, zlib.error):
        raise _file_error(table, path, "", 0) from None


def _load_json(
    connection: duckdb.DuckDBPyConnection, path: Path, relation: str, megabytes: int
) -> None:
    """Read every field as text, typed later like a CSV's: one road, and zones survive."""
    size = f"maximum_object_size = {megabytes * 1_000_000}"
    described = connection.execute(
        f"describe select * from read_json({_pattern(path)}, sample_size = -1, {size})"
    ).fetchall()
    names = [row[0] for row in described]
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    source = f"read_json({_pattern(path)}, columns = {{{columns}}}, {size})"
    connection.execute(f"create table {relation} as from {source}")
    # DuckDB lets a longer object pass when its buffer holds it.
    length = " + ".join(f"coalesce(strlen({quoted(name)}), 0)" for name in names)
    longest = connection.execute(f"select max({length}) from {relation}").fetchone()
    if longest and longest[0] is not None and longest[0] > megabytes * 1_000_000:
        raise duckdb.InvalidInputException("maximum_object_size")


def _encoding_error(table: str, path: Path) -> InputError:
    return InputError(
        f"{table}: {path.name} is not UTF-8 text. Save it as UTF-8, or name its encoding:"
        f" {section(table)} sql = \"from read_csv('{path.name}', encoding='latin-1')\""
    )


def _file_error(table: str, path: Path, error: str, megabytes: int) -> InputError:
    """Return our words for DuckDB's: its texts may hold cells, so only a line number is kept."""
    line = re.search(r"\bline:? (\d+)", error)
    place = f" (line {line.group(1)})" if line else ""
    if "maximum_object_size" in error or "max_line_size" in error:
        return InputError(
            f"{table}: a line of {path.name} is longer than {megabytes} MB{place}."
            " Repair the file, or raise data.max_line_megabytes."
        )
    kind = path.name.lower().rsplit(".csv" if ".csv" in path.name.lower() else ".", 1)[-1]
    return InputError(
        f"{table}: {path.name} cannot be read as"
        f" {'CSV' if kind in ('', '.gz') else kind}{place}: it is damaged, cut off or of another"
        " kind. Export it again."
    )
