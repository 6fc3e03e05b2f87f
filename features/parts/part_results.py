"""What was computed of each part: kept beside the parts, so that nothing is computed twice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.outputs import written_aside
from features.parts.local_folders import Held, alone_in, remove_unused

BATCH_ROWS = 8_192
"Rows of a part that are read back at once, of all parts together when they are merged."


class PartResults:
    """One frame per part: Parquet files that outlive the run, or in memory without a `folder`.

    `kind` says what is computed, `inputs` everything it depends on: results of the same kind with
    other inputs are removed.
    """

    def __init__(self, folder: Path | None, kind: str, inputs: str) -> None:
        self._in_memory: dict[int, pa.Table] = {}
        self._held: Held | None = None
        self.reused = 0
        if folder is not None:
            named = folder / f"{kind}-{hashlib.sha256(inputs.encode()).hexdigest()[:16]}"
            remove_unused(other for other in folder.glob(f"{kind}-*") if other != named)
            named.mkdir(exist_ok=True)
            with suppress(OSError), alone_in(named):  # of a killed run
                for partial in named.glob(".*.partial"):
                    partial.unlink()
            self._held = Held(named)

    def keep(self, number: int, compute: Callable[[], Iterable[pd.DataFrame]]) -> None:
        """Compute the frame of a part, in pieces with the same columns, unless it is there."""
        if self._held is None:
            self._in_memory[number] = pa.concat_tables(map(_to_arrow, compute()))
        elif self._path(number).exists():
            self.reused += 1
        else:
            with written_aside(self._path(number)) as aside:
                _write(map(_to_arrow, compute()), aside)

    def read(self, number: int, columns: list[str] | None = None) -> pd.DataFrame:
        """Return the frame of a part, or only some of its columns."""
        if self._held is None:
            table = self._in_memory[number]
            frame: pd.DataFrame = (table if columns is None else table.select(columns)).to_pandas()
        else:
            frame = pq.read_table(self._path(number), columns=columns).to_pandas()
        return frame

    def batches(self, number: int) -> Iterator[pa.Table]:
        """Yield the rows of a part, a few at a time."""
        if self._held is None:
            for first in range(0, len(self._in_memory[number]), BATCH_ROWS):
                yield self._in_memory[number].slice(first, BATCH_ROWS)
            return
        with pq.ParquetFile(self._path(number), memory_map=False) as file:
            for group in range(file.num_row_groups):
                yield file.read_row_group(group)

    def _path(self, number: int) -> Path:
        assert self._held is not None
        return self._held.path / f"{number:04d}.parquet"


def _to_arrow(frame: pd.DataFrame) -> pa.Table:
    # Without pandas' metadata: its version has no place in the bytes.
    return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)


def _write(pieces: Iterable[pa.Table], path: Path) -> None:
    writer = None
    for piece in pieces:
        writer = writer or pq.ParquetWriter(path, piece.schema)
        writer.write_table(piece, row_group_size=BATCH_ROWS)
    assert writer is not None, "at least one piece, if an empty one"
    writer.close()
