"""Flat exports: one row per lead with its label, perhaps dated. Each row is one snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import duckdb
import numpy as np
import pandas as pd

from features.config import Config, FlatSource, TableSource
from features.errors import InputError
from features.loading.cells import category, quoted, typed_column
from features.loading.checking import rejected_rows
from features.loading.data_until import newest_plausible
from features.loading.emails import address_columns, email_parts
from features.loading.flat_checks import check_classes, check_flat, flat_attributes, own_columns
from features.loading.load_report import (
    LoadReport,
    Note,
    TableReport,
    naming_rejects,
    write_rejects,
)
from features.loading.reading import RawTable, Reader, open_reader
from features.loading.rules import Rule, day, refuse_malformed, refuse_too_many
from features.loading.sources import content_digest, fetch
from features.tables import EMAIL_HASH


@dataclass(frozen=True)
class FlatExport:
    """The rows of a flat export as snapshots, and what was found while loading them.

    `rows` has `lead_id`, `account_id` (str), `as_of` (datetime64[us], NaT without dates),
    `is_eligible` (True), then the attributes (numbers float32, categories str), then `won`
    (float64 0/1, NaN where the cell is empty) if the export has a label and `won_at`
    (datetime64[us], NaT if not won) if it has instants of wins. Where the export has e-mail
    addresses, `email_hash` stands among the attributes' columns, but is none of `attributes`.
    """

    rows: pd.DataFrame
    attributes: tuple[str, ...]
    labels_known_until: pd.Timestamp | None
    data_until: pd.Timestamp | None
    "UTC, no zone; None for an export without dates."
    report: LoadReport
    digest: str


def load_flat(
    config: Config,
    folder: Path,
    *,
    labels_needed: bool = True,
    now: pd.Timestamp | None = None,
    rejects_folder: Path | None = None,
) -> FlatExport:
    """Return the flat export of `[flat]`, sorted by `as_of` and `lead_id`.

    Its attributes are visible by definition. A date without time of day keeps 00:00, so a win of
    the same day lies after it. Raises InputError as `load_tables` does, and for labels that are
    not two known words. Labels of one class only, or none, are refused where they are needed.
    """
    source = config.flat
    if source is None:
        raise InputError("There is no [flat] section. It names the file and its label column.")
    if labels_needed and source.label is None and source.won_at is None:
        raise InputError("[flat] needs label or won_at: the column that says who was won.")
    if source.won_at is not None and source.as_of is None:
        raise InputError("[flat] won_at needs as_of: the column with the instant of each row.")
    reader, raw = _read(config, folder, TableSource(path=source.path, sql=source.sql))
    connection = reader.connection
    try:
        columns = own_columns(source, raw)
        attributes, notes = flat_attributes(connection, source, raw, columns)
        moment = pd.Timestamp.now("UTC").tz_localize(None) if now is None else now
        checked = check_flat(connection, raw, str(source.label), columns, attributes, moment)
        report = _report(connection, raw, columns, list(attributes), checked, notes)
        data_until = _data_until(connection, config, moment)
        report = replace(report, data_until=data_until)
        written = write_rejects(report, rejects_folder) if rejects_folder else []
        with naming_rejects(written):
            _refuse(connection, config, raw, checked)
        rows = _rows(connection, attributes, columns, "as_of nulls last, lead_id, row")
        if "won" in rows and labels_needed:
            check_classes(rows["won"], str(source.label))
        digest = content_digest(connection, "kept_flat")
    finally:
        connection.close()
    known_until = source.labels_known_until
    return FlatExport(
        rows,
        tuple(name for name in attributes if name != EMAIL_HASH),
        None if known_until is None else pd.Timestamp(known_until),
        data_until,
        report,
        digest,
    )


def load_flat_rows(
    path: Path,
    config: Config,
    expected: Mapping[str, Literal["number", "category"]],
    *,
    now: pd.Timestamp | None = None,
) -> FlatExport:
    """Return the rows of a flat file of new leads, in file order, to be scored.

    `expected` maps the feature columns to their dtype; a column of the file that is not among them
    is ignored, one that is missing is an InputError. A number that cannot be read is missing, and
    noted. Ids and `as_of` come from the columns that `[flat]` names, where the file has them; the
    row number is the id otherwise.
    """
    return _load_to_score(config, path.parent, TableSource(path=path.name), expected, (), now)


def load_open_rows(
    config: Config,
    folder: Path,
    expected: Mapping[str, Literal["number", "category"]],
    *,
    now: pd.Timestamp | None = None,
) -> pd.DataFrame:
    """Return the newest row of each lead of the `[flat]` export that is not won, to be scored.

    The columns are those of `load_flat_rows`. A label column may be absent here.
    """
    flat = config.flat
    if flat is None:
        raise InputError("There is no [flat] section. It names the file and its label column.")
    source = TableSource(path=flat.path, sql=flat.sql)
    labels = ("won", "won_at")
    rows = _load_to_score(config, folder, source, expected, labels, now).rows
    newest = rows.sort_values("as_of", kind="stable").drop_duplicates("lead_id", keep="last")
    is_won = np.zeros(len(newest), dtype=bool)
    if "won" in newest:
        is_won |= (newest["won"] == 1).to_numpy()
    if "won_at" in newest:
        is_won |= newest["won_at"].notna().to_numpy()
    kept = newest.drop(columns=[name for name in labels if name in newest])[~is_won]
    return kept.sort_index().reset_index(drop=True)


def _load_to_score(
    config: Config,
    folder: Path,
    source: TableSource,
    expected: Mapping[str, Literal["number", "category"]],
    labels: tuple[str, ...],
    now: pd.Timestamp | None,
) -> FlatExport:
    """Return the rows of `source` in file order, with the `labels` it has."""
    reader, raw = _read(config, folder, source)
    connection = reader.connection
    try:
        folded = {name.casefold(): name for name in raw.columns}
        derived = _from_addresses(connection, raw, folded)
        missing = [name for name in expected if name.casefold() not in {*folded, *derived}]
        if missing:
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            raise InputError(
                f"{raw.source} lacks {len(missing)} column{'s' * (len(missing) > 1)} that the model"
                f" needs: {', '.join(missing[:5])}{more}. Add them (empty cells are allowed)."
            )
        flat = config.flat or FlatSource(path=raw.source)
        wanted = {"lead_id": flat.lead_id, "account_id": flat.account_id, "as_of": flat.as_of}
        wanted |= {"won": flat.label, "won_at": flat.won_at} if labels else {}
        columns = {
            ours: folded[name.casefold()]
            for ours, name in wanted.items()
            if name and name.casefold() in folded
        }
        attributes: dict[str, tuple[str, str]] = {
            name: (derived.get(name) or _as_expected(folded[name.casefold()], raw, dtype), dtype)
            for name, dtype in expected.items()
        }
        notes = _unreadable_numbers(connection, raw, expected, folded)
        moment = pd.Timestamp.now("UTC").tz_localize(None) if now is None else now
        checked = check_flat(connection, raw, str(flat.label), columns, attributes, moment)
        report = _report(connection, raw, columns, list(attributes), checked, notes)
        _refuse(connection, config, raw, checked)
        rows = _rows(connection, attributes, columns, "row")
        digest = content_digest(connection, "kept_flat")
    finally:
        connection.close()
    return FlatExport(rows, tuple(attributes), None, None, report, digest)


def _read(config: Config, folder: Path, source: TableSource) -> tuple[Reader, RawTable]:
    reader = open_reader(config, folder)
    try:
        raw = reader.read("flat", source)
        reader.lock()
    except BaseException:
        reader.connection.close()
        raise
    return reader, raw


def _from_addresses(
    connection: duckdb.DuckDBPyConnection, raw: RawTable, folded: dict[str, str]
) -> dict[str, str]:
    """Return the SQL of columns that a model may know and the file holds as e-mail addresses."""
    found = address_columns(connection, raw, list(raw.columns))
    kept = set(folded) - {name.casefold() for name in found}
    parts = email_parts(found[0]) if found else {}
    return {name: sql for name, sql in parts.items() if name not in kept}


def _as_expected(name: str, raw: RawTable, dtype: str) -> str:
    if dtype == "number":
        return typed_column(name, raw.columns[name], "number").value
    return category(name, raw.columns[name])


def _unreadable_numbers(
    connection: duckdb.DuckDBPyConnection,
    raw: RawTable,
    expected: Mapping[str, str],
    folded: dict[str, str],
) -> list[Note]:
    notes = []
    for name in (name for name, dtype in expected.items() if dtype == "number"):
        column = folded[name.casefold()]
        flag = typed_column(column, raw.columns[column], "number").is_bad
        found = connection.execute(f"select count(*) from {raw.relation} where {flag}").fetchone()
        if found and found[0]:
            notes.append(Note("unreadable_number", found[0], f"{name}: taken as missing"))
    return notes


def _data_until(
    connection: duckdb.DuckDBPyConnection, config: Config, now: pd.Timestamp
) -> pd.Timestamp | None:
    """Return when the data end: as configured, else the newest plausible `as_of` or win."""
    if config.data.data_until is not None:
        return pd.Timestamp(config.data.data_until)
    # A date without time of day is over, and known, at the next 00:00.
    times = " union all ".join(
        f"select case when {day(name)} then {name} + interval 1 day else {name} end as dated"
        " from remaining_flat"
        for name in ("as_of", "won_at")
    )
    days = connection.execute(
        f"select max(dated), count(*) from ({times}) where dated is not null"
        " group by date_trunc('day', dated)"
    ).fetchall()
    counts = pd.Series(
        [row[1] for row in days], index=pd.DatetimeIndex([row[0] for row in days]), dtype="int64"
    )
    return newest_plausible(counts, now)[0]


def _report(
    connection: duckdb.DuckDBPyConnection,
    raw: RawTable,
    columns: dict[str, str],
    attributes: list[str],
    checked: tuple[list[Rule], dict[str, int]],
    notes: list[Note],
) -> LoadReport:
    found = connection.execute("select count(*), min(as_of), max(as_of) from kept_flat").fetchone()
    assert found is not None
    kept, first, last = found
    table = TableReport(
        "flat",
        raw.source,
        raw.row_count + raw.malformed_count,
        kept,
        checked[1],
        tuple(notes),
        tuple(attributes),
        is_current_state="as_of" not in columns,
        first=pd.Timestamp(first) if first else None,
        last=pd.Timestamp(last) if last else None,
    )
    rejects = {"flat": rejected_rows(connection, "flat", raw)} if checked[1] else {}
    return LoadReport((table,), None, rejects)


def _refuse(
    connection: duckdb.DuckDBPyConnection,
    config: Config,
    raw: RawTable,
    checked: tuple[list[Rule], dict[str, int]],
) -> None:
    read = raw.row_count + raw.malformed_count
    if not read:
        raise InputError(f"{raw.source} has no rows. Check the export.")
    max_share = config.data.max_rejected_share
    refuse_malformed("flat", raw.malformed_count, read, max_share)
    refuse_too_many(connection, "flat", *checked, read, max_share)


def _rows(
    connection: duckdb.DuckDBPyConnection,
    attributes: dict[str, tuple[str, str]],
    columns: dict[str, str],
    order: str,
) -> pd.DataFrame:
    cells = ["lead_id", "account_id", "as_of", "true as is_eligible"]
    cells += [
        f"{quoted(name)}::float as {quoted(name)}" if dtype == "number" else quoted(name)
        for name, (_, dtype) in attributes.items()
    ]
    cells += [name for name in ("won", "won_at") if name in columns]
    return fetch(connection, f"select {', '.join(cells)} from kept_flat order by {order}")
