"""Checked tables on disk, in parts: written whole or not at all, read back part by part."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.catalogue.contents import Attribute, Contents
from features.facts.histories import Int64s
from features.loading.load_report import Note
from features.parts.placing import OWNERS, PART
from features.tables import CONTRACT

MANIFEST = "manifest.json"
LEAD_CODES = "lead_codes"
EMPTY = "empty.parquet"

BATCH_ROWS = 250_000
"Rows that are spread over the parts at once."


@dataclass(frozen=True)
class Manifest:
    """What is known of all parts together."""

    parts: int
    first_created: pd.Timestamp
    contents: Contents
    notes: tuple[Note, ...]

    def write(self, folder: Path) -> None:
        """Write the manifest into `folder`."""
        plain = asdict(self, dict_factory=_plain)
        (folder / MANIFEST).write_text(json.dumps(plain, indent=1), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Return the manifest that `write` wrote into `folder`."""
        values = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        contents = values["contents"]
        for name in ("types_with_values", "filled", "current_state"):
            contents[name] = frozenset(contents[name])
        contents["attributes"] = tuple(Attribute(**each) for each in contents["attributes"])
        return cls(
            values["parts"],
            pd.Timestamp(values["first_created"]),
            Contents(**contents),
            tuple(Note(**note) for note in values["notes"]),
        )


def _plain(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {
        name: sorted(value)
        if isinstance(value, frozenset)
        else value.isoformat()
        if isinstance(value, pd.Timestamp)
        else value
        for name, value in items
    }


def write_parts(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Write every table into `folder`, in parts, where `place_rows` has put their rows."""
    for table in CONTRACT:
        if table in OWNERS:
            kind = OWNERS[table]
            rows = (
                f"select kept.* exclude (row), coalesce(place.{PART}, 0) as {PART}"
                f" from kept_{table} kept left join {kind}_places place on place.id = {kind}_id"
            )
        else:
            rows = f"select * exclude (row), 0::bigint as {PART} from kept_{table}"
        _write(connection, rows, folder / table)
    _write(connection, f"select code, {PART} from lead_places", folder / LEAD_CODES)


def _write(connection: duckdb.DuckDBPyConnection, rows: str, folder: Path) -> None:
    """Write `rows` into one file for each part, reading them once, a few at a time.

    DuckDB's own partitioned copy holds much more in memory, and gets very slow with little.
    """
    folder.mkdir()
    batches = connection.execute(rows).to_arrow_reader(BATCH_ROWS)
    schema = pa.schema([field for field in batches.schema if field.name != PART])
    pq.write_table(schema.empty_table(), folder / EMPTY)
    writers: dict[int, pq.ParquetWriter] = {}
    for batch in batches:
        part = batch.column(PART).to_numpy()
        order = np.argsort(part, kind="stable")
        placed = pa.Table.from_batches([batch]).drop_columns([PART]).take(pa.array(order))
        numbers, first = np.unique(part[order], return_index=True)
        ends = np.append(first[1:], len(part))
        for number, start, end in zip(numbers.tolist(), first, ends, strict=True):
            if number not in writers:
                writers[number] = pq.ParquetWriter(_file(folder, number), schema)
            writers[number].write_table(placed.slice(start, end - start))
    for writer in writers.values():
        writer.close()


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:04d}.parquet"


def read_part(folder: Path, number: int) -> tuple[dict[str, pd.DataFrame], Int64s]:
    """Return the tables of a part, and the codes of its leads in the order of their ids."""
    frames = {name: _read_rows(folder / name, number) for name in CONTRACT}
    for name, spec in CONTRACT.items():
        if spec.key is not None:
            order = [spec.key, "recorded_at"]
            frames[name] = frames[name].sort_values(order, ignore_index=True)
    codes = _read_rows(folder / LEAD_CODES, number)["code"].to_numpy(np.int64)
    return frames, np.sort(codes)


def _read_rows(folder: Path, number: int) -> pd.DataFrame:
    """Return the rows of one table in a part. Costs of campaigns, nobody's, are in all parts."""
    file = _file(folder, 0 if folder.name not in (*OWNERS, LEAD_CODES) else number)
    frame: pd.DataFrame = pq.read_table(file if file.exists() else folder / EMPTY).to_pandas()
    return frame
