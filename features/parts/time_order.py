"""Many sorted tables as one Parquet file, sorted: read and written a little at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROW_GROUP = 65_536


def write_in_time_order(sources: Iterable[Iterator[pa.Table]], path: Path) -> int:
    """Write all rows by as_of then lead_id, return their number.

    Each source yields at least one table and is sorted by as_of. The bytes depend on the rows
    alone, not on how they are spread over the sources.
    """
    writer: pq.ParquetWriter | None = None
    rows = 0
    for group in _regrouped(_in_order([_Sorted(source) for source in sources])):
        writer = writer or pq.ParquetWriter(path, group.schema)
        writer.write_table(group, row_group_size=ROW_GROUP)
        rows += len(group)
    assert writer is not None, "at least one table, if an empty one"
    writer.close()
    return rows


class _Sorted:
    """The next rows of one source."""

    def __init__(self, source: Iterator[pa.Table]) -> None:
        self._source = source
        self._rows: pa.Table | None = None
        self.is_finished = False
        self.read_on()

    def read_on(self) -> None:
        """Read one more table."""
        found = next(self._source, None)
        if found is None:
            self.is_finished = True
        else:
            self._rows = found if self._rows is None else pa.concat_tables([self._rows, found])

    @property
    def _instants(self) -> npt.NDArray[np.datetime64]:
        assert self._rows is not None
        return np.asarray(self._rows["as_of"].to_numpy())

    @property
    def last(self) -> np.datetime64:
        """Up to here all rows but those of this very instant have been read."""
        instants = self._instants
        return instants[-1] if len(instants) else np.datetime64(-(2**62), "us")

    def take_before(self, instant: np.datetime64 | None) -> pa.Table:
        """Return the rows before `instant` (None: all) and forget them."""
        assert self._rows is not None
        taken = len(self._rows)
        if instant is not None:
            taken = int(np.searchsorted(self._instants, instant))
        rows, self._rows = self._rows.slice(0, taken), self._rows.slice(taken)
        return rows


def _in_order(sources: list[_Sorted]) -> Iterator[pa.Table]:
    while True:
        unfinished = [source for source in sources if not source.is_finished]
        until = min((source.last for source in unfinished), default=None)
        rows = pa.concat_tables([source.take_before(until) for source in sources])
        yield rows.take(
            pc.sort_indices(rows, sort_keys=[("as_of", "ascending"), ("lead_id", "ascending")])
        )
        if until is None:
            return
        for source in unfinished:
            if source.last == until:
                source.read_on()


def _regrouped(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Yield the rows in tables of `ROW_GROUP` rows, the last one smaller."""
    waiting: list[pa.Table] = []
    count = 0
    for table in tables:
        waiting.append(table)
        count += len(table)
        if count > ROW_GROUP:
            rows = pa.concat_tables(waiting)
            whole = count - count % ROW_GROUP
            for first in range(0, whole, ROW_GROUP):
                yield rows.slice(first, ROW_GROUP).combine_chunks()
            waiting, count = [rows.slice(whole)], count - whole
    rest = pa.concat_tables(waiting)
    if count or not len(rest):
        yield rest.combine_chunks()
