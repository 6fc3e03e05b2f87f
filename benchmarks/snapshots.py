"""How fast snapshots are made, from Parquet to the matrix, and whether every cell is right.

    .venv/bin/python benchmarks/snapshots.py            the figures of the README
    .venv/bin/python benchmarks/snapshots.py --json     the same, for machines
    .venv/bin/python benchmarks/snapshots.py --memory   50 million events in bounded memory

Baselines of the same run: direct SQL in DuckDB (a range join and filtered aggregates), which also
says what each cell should be, timed once; and reading and sorting the same events with PyArrow and
NumPy. All else are medians of three runs after a cold one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from events_export import DAY, EVENT_TEXTS, EVENT_TYPES, read_export, write_export

from features.catalogue.catalogue import Catalogue, Feature, build_catalogue
from features.config import FeatureConfig
from features.facts.histories import micros
from features.facts.lookup import codes_in
from features.kernel.plan import Plans
from features.live import LiveSnapshots
from features.snapshots import Past
from serving.open_leads import tables_read

EVENTS = 5_000_000
GROWTH = (2_500_000, 5_000_000, 10_000_000, 20_000_000)
GROWTH_GIGABYTES = 8
"More than the largest of them takes (4.7)."
WINDOWS = (7, 30, 90)


def sixty_features() -> Catalogue:
    """Return the 60 features that the SQL computes as well."""

    def feature(name: str, aggregation: str, stream: str, days: int | None = None) -> Feature:
        return Feature(name, "engagement", name, aggregation, stream, window_days=days)

    streams = {"any": "events", **{name: f"events.{name}" for name in EVENT_TYPES}}
    features = [
        feature(f"{name}_count_{days}d", "count", stream, days)
        for name, stream in streams.items()
        for days in WINDOWS
    ]
    features += [
        feature(f"{aggregation}_{days}d", aggregation, "events", days)
        for aggregation in ("active_days", "distinct_contents", "distinct_campaigns", "value_sum")
        for days in WINDOWS
    ]
    features += [
        feature(f"{name}_days_since_last", "days_since_last", streams[name])
        for name in ("any", *EVENT_TYPES[:7])
    ]
    features.append(feature("any_days_since_first", "days_since_first", "events"))
    assert len(features) == 60
    return Catalogue(tuple(features))


def sql_of(features: tuple[Feature, ...], folder: Path) -> str:
    """Return the features as one query: what an analyst would write."""
    columns = ", ".join(f'({_cell(feature)})::float as "{feature.name}"' for feature in features)
    return f"""
        select snapshots.lead_id, as_of, {columns}
        from '{folder}/snapshots.parquet' as snapshots
        left join '{folder}/engagement_events.parquet' as events
            on events.lead_id = snapshots.lead_id
            and occurred_at < as_of and recorded_at < as_of
        group by snapshots.lead_id, as_of
        order by as_of, snapshots.lead_id
    """


def _cell(feature: Feature) -> str:
    kind = feature.stream.partition(".")[2]
    rows = [f"event_type = '{kind}'"] if kind else []
    if feature.window_days is not None:
        rows.append(f"occurred_at >= as_of - interval {feature.window_days} day")
    chosen = f"filter (where {' and '.join(rows)})" if rows else ""
    days_since = f"(epoch_us(as_of) - epoch_us({{}}(occurred_at) {chosen})) / {DAY}"
    match feature.aggregation:
        case "count":
            # a snapshot without events has one row of the left join
            return f"count(occurred_at) {chosen}"
        case "value_sum":
            return f"coalesce(sum(round(value * 1e6)::hugeint) {chosen}, 0) / 1e6"
        case "active_days":
            return f"count(distinct date_trunc('day', occurred_at)) {chosen}"
        case "distinct_campaigns":
            return f"count(distinct campaign) {chosen}"
        case "distinct_contents":
            return f"count(distinct content) {chosen}"
        case "days_since_last":
            return days_since.format("max")
        case "days_since_first":
            return days_since.format("min")
    raise AssertionError(feature.aggregation)


def matrix_of(folder: Path, catalogue: Catalogue) -> np.ndarray:
    """Return the number features of all snapshots of the export: the product's own road."""
    event_columns = Plans.of(catalogue).event_columns
    past = Past.of(read_export(folder, tables_read(catalogue), event_columns), catalogue)
    index = pq.read_table(folder / "snapshots.parquet").to_pandas()
    leads = codes_in(index["lead_id"], past.columns.people.lead_ids)
    matrix, _ = past.features(leads, micros(index["as_of"]))
    return matrix


def read_and_sort(folder: Path) -> int:
    """Read the same columns and bring the events into the order of lead and time, no more."""
    columns = ["lead_id", "event_type", "occurred_at", "recorded_at"]
    columns += ["value", "campaign", "content"]
    path = folder / "engagement_events.parquet"
    events = pq.read_table(path, columns=columns, read_dictionary=list(EVENT_TEXTS))
    leads = pq.read_table(folder / "leads.parquet", columns=["lead_id"])
    index = pq.read_table(folder / "snapshots.parquet")
    ids = leads["lead_id"].combine_chunks()
    lead = pc.index_in(events["lead_id"], value_set=ids).to_numpy()
    pc.index_in(index["lead_id"], value_set=ids).to_numpy()
    named = [
        events[name].combine_chunks().indices.fill_null(-1).to_numpy()
        for name in ("event_type", "campaign", "content")
    ]
    occurred = events["occurred_at"].to_numpy()
    visible = np.maximum(occurred, events["recorded_at"].to_numpy())
    order = np.lexsort((visible, lead))
    value = events["value"].to_numpy()
    return sum(len(column[order]) for column in (lead, visible, occurred, value, *named))


def timed(run: Callable[[], Any], warm: int = 3) -> tuple[float, float, Any]:
    """Return the seconds of the cold run, the median of the warm ones, and the last result."""
    seconds, result = [], None
    for _ in range(1 + warm):
        result = None  # two results would not be in memory at once in production either
        start = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - start)
    return seconds[0], statistics.median(seconds[1:] or seconds), result


def mismatches(matrix: np.ndarray, cells: pa.Table, features: tuple[Feature, ...]) -> int:
    """Return how many cells are not the SQL's, as float32, missing equal to missing."""
    wrong = 0
    for column, feature in enumerate(features):
        expected = cells[feature.name].to_numpy().astype(np.float32)
        found = matrix[:, column]
        wrong += int((~((found == expected) | (np.isnan(found) & np.isnan(expected)))).sum())
    return wrong


def speed(folder: Path) -> dict[str, Any]:
    """Return the figures of one export: against SQL, and against reading and sorting."""
    few = sixty_features()
    cold, seconds, matrix = timed(lambda: matrix_of(folder, few))
    start = time.perf_counter()
    cells = duckdb.sql(sql_of(few.features, folder)).to_arrow_table()
    sql_seconds = time.perf_counter() - start
    wrong = mismatches(matrix, cells, few.features)
    n_rows = len(matrix)
    del matrix, cells
    _, floor, _ = timed(lambda: read_and_sort(folder))
    tables = read_export(folder)
    full = build_catalogue(tables, FeatureConfig(), tables.data_until)
    del tables
    full_cold, full_seconds, whole = timed(lambda: matrix_of(folder, full))
    return {
        "snapshots": n_rows,
        "features": len(few.features),
        "mismatches": wrong,
        "seconds": seconds,
        "cold_seconds": cold,
        "sql_seconds": sql_seconds,
        "read_sort_seconds": floor,
        "ratio_vs_sql": sql_seconds / seconds,
        "ratio_vs_read_sort": seconds / floor,
        "full_features": len(full.features),
        "full_matrix_gb": whole.nbytes / 1e9,
        "full_seconds": full_seconds,
        "full_cold_seconds": full_cold,
        "full_ratio_vs_read_sort": full_seconds / floor,
    }


def growth(scratch: Path) -> dict[str, Any]:
    """Return seconds by events, and the slope of their logarithms.

    Each run is a process of its own: memory that an earlier run left to the allocator is there at
    once, but only for small arrays, and would flatter the small exports.
    """
    small = scratch / "growth-compiled"
    write_export(small, 5_000)
    folders = {events: scratch / f"growth-{events}" for events in GROWTH}
    for events, folder in folders.items():
        write_export(folder, events)
    # In turns, so that an hour in which the machine is slow does not fall on one size alone; the
    # first turn fills the file cache.
    turns = [
        {events: _seconds_alone(small, folder) for events, folder in folders.items()}
        for _ in range(4)
    ]
    seconds = {events: statistics.median(turn[events] for turn in turns[1:]) for events in GROWTH}
    slope = np.polyfit(np.log(list(seconds)), np.log(list(seconds.values())), 1)[0]
    return {
        "growth_seconds": {str(events): taken for events, taken in seconds.items()},
        "growth_exponent": float(slope),
    }


def _seconds_alone(small: Path, folder: Path) -> float:
    """Return the seconds of the 60 features of `folder` in a new process, its imports left out.

    The process has held more memory than the largest export takes before the clock starts, and
    given it back: a virtual machine's host may hand out memory that was never used at 0.5 GB a
    second, which made up half the time of 20 million events and says nothing about their growth.
    """
    alone = (
        "import sys, time; from pathlib import Path; from snapshots import *;"
        "matrix_of(Path(sys.argv[1]), sixty_features());"
        f"held = [np.ones(1 << 27) for _ in range({GROWTH_GIGABYTES})]; del held;"
        "start = time.perf_counter();"
        "matrix_of(Path(sys.argv[2]), sixty_features()); print(time.perf_counter() - start)"
    )
    command = [sys.executable, "-c", alone, str(small), str(folder)]
    child = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=Path(__file__).parent
    )
    return float(child.stdout)


def live(folder: Path) -> dict[str, Any]:
    """Return the microseconds of one lead with 200 events, all features, request rows to row."""
    tables = read_export(folder)
    catalogue = build_catalogue(tables, FeatureConfig(), tables.data_until)
    path = LiveSnapshots.of(catalogue)
    rng = np.random.default_rng(0)
    n_events, as_of = 200, 400 * DAY
    occurred = np.sort(rng.integers(310 * DAY, as_of, n_events)).tolist()
    lead = tables.leads.iloc[0].to_dict()
    account = tables.accounts.iloc[0].to_dict()
    rows = {
        "leads": {name: [None if pd.isna(value) else value] for name, value in lead.items()}
        | {"created_at": [300 * DAY], "recorded_at": [300 * DAY], "account_id": ["A"]},
        "accounts": {name: [None if pd.isna(value) else value] for name, value in account.items()}
        | {"recorded_at": [300 * DAY], "account_id": ["A"]},
        "engagement_events": {
            "lead_id": [lead["lead_id"]] * n_events,
            "event_type": [EVENT_TYPES[n] for n in rng.integers(0, len(EVENT_TYPES), n_events)],
            "occurred_at": occurred,
            "recorded_at": occurred,
            "channel": [("organic", "email", None)[n] for n in rng.integers(0, 3, n_events)],
            "campaign": [f"c{n}" for n in rng.integers(0, 9, n_events)],
            "content": [f"page-{n}" for n in rng.integers(0, 50, n_events)],
            "value": [1.0] * n_events,
        },
        "opportunities": {"opportunity_id": [], "created_at": [], "stage": []},
        "opportunity_leads": {"opportunity_id": [], "lead_id": []},
        "stage_changes": {
            "lead_id": [lead["lead_id"]],
            "stage": ["nurture"],
            "changed_at": [350 * DAY],
        },
    }
    taken = []
    for _ in range(1_000):
        start = time.perf_counter()
        matrix, categories = path.features(rows, [lead["lead_id"]], as_of)
        taken.append(1e6 * (time.perf_counter() - start))
    assert path.snapshot(rows, lead["lead_id"], as_of)["any_count_90d"] == n_events
    return {
        "live_features": matrix.shape[1] + len(categories),
        "live_median_us": statistics.median(taken[50:]),
        "live_p99_us": float(np.quantile(taken[50:], 0.99)),
    }


def memory(events: int, memory_gb: float) -> dict[str, Any]:
    """Return what `closedwon features` takes for so many events with a memory setting."""
    with tempfile.TemporaryDirectory(prefix="snapshots-") as scratch:
        export = Path(scratch) / "export"
        maker = "import sys; from pathlib import Path; from events_export import write_export;"
        maker += "write_export(Path(sys.argv[1]), int(sys.argv[2]))"
        # in a process of its own, so that its memory is not counted
        subprocess.run([sys.executable, "-c", maker, str(export), str(events)], check=True,
                       cwd=Path(__file__).parent)  # fmt: skip
        config = Path(scratch) / "closedwon.toml"
        config.write_text(f"[data]\nmemory_gb = {memory_gb}\n[snapshots]\nevery_days = 28\n")
        command = [str(Path(sys.executable).with_name("closedwon")), "features", "--json"]
        command += ["--config", str(config), "--data", str(export)]
        command += ["--output", str(Path(scratch) / "snapshots.parquet")]
        start = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=scratch) as process:
            assert process.stdout is not None
            said = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"closedwon features ended with {process.returncode}")
        return {
            "memory_events": events,
            "memory_setting_gb": memory_gb,
            "memory_snapshots": json.loads(said)["rows"],
            "memory_features": json.loads(said)["features"],
            "peak_resident_gb": usage.ru_maxrss * 1024 / 1e9,
            "memory_seconds": time.perf_counter() - start,
        }


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--events", type=int, default=EVENTS)
    asked.add_argument("--memory", action="store_true", help="only the run in bounded memory")
    asked.add_argument("--memory-events", type=int, default=50_000_000)
    asked.add_argument("--memory-gb", type=float, default=4)
    asked.add_argument("--skip-growth", action="store_true")
    asked.add_argument("--json", action="store_true")
    given = asked.parse_args()
    if given.memory:
        found = memory(given.memory_events, given.memory_gb)
    else:
        with tempfile.TemporaryDirectory(prefix="snapshots-") as scratch:
            folder = Path(scratch) / "export"
            write_export(folder, given.events)
            found = {"events": given.events} | speed(folder)
            shutil.rmtree(folder)
            small = Path(scratch) / "small"
            write_export(small, 50_000)  # the catalogue counts, not the data
            found |= live(small)
            found |= {} if given.skip_growth else growth(Path(scratch))
    if given.json:
        print(json.dumps(found))
        return
    for name, figure in found.items():
        print(f"{name:26} {figure:,.3f}" if isinstance(figure, float) else f"{name:26} {figure}")


if __name__ == "__main__":
    main()
