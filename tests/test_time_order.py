"""Sorted tables are merged to one sorted file, whatever they are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.parts.time_order import ROW_GROUP, write_in_time_order


def sorted_rows(count: int, seed: int) -> pa.Table:
    random = np.random.default_rng(seed)
    rows = pd.DataFrame(
        {
            "lead_id": pd.array(random.permutation(count).astype(str), dtype="str"),
            "as_of": random.integers(0, 40, count).astype("datetime64[us]"),
            "value": random.random(count, dtype=np.float32),
        }
    )
    return pa.Table.from_pandas(rows.sort_values(["as_of", "lead_id"]), preserve_index=False)


def in_batches(rows: pa.Table, size: int) -> Iterator[pa.Table]:
    for first in range(0, max(len(rows), 1), size):
        yield rows.slice(first, size)


@pytest.mark.parametrize("spread", ["one", "rows in turn", "by time", "with an empty one"])
def test_the_file_in_time_order_depends_on_the_rows_alone(tmp_path, spread):
    rows = sorted_rows(2 * ROW_GROUP + 77, seed=1)
    ways = {
        "one": [rows],
        "rows in turn": [rows.take(np.arange(first, len(rows), 3)) for first in range(3)],
        "by time": [rows.slice(0, 50_000), rows.slice(50_000)],
        "with an empty one": [rows.slice(0, 0), rows],
    }
    sources = [in_batches(source, 9_999) for source in ways[spread]]
    path = tmp_path / "rows.parquet"
    assert write_in_time_order(sources, path) == len(rows)
    assert pq.read_table(path).equals(rows.replace_schema_metadata(None))
    plain = tmp_path / "plain.parquet"
    pq.write_table(rows.combine_chunks(), plain, row_group_size=ROW_GROUP)
    assert path.read_bytes() == plain.read_bytes()
