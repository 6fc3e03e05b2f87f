"""Parts of the tables: whole components, the same results, nothing half-written or done twice."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from small_crm import small_config, small_demo, small_tables
from tables_builder import crm, day, examples, tables_of

from features.catalogue.catalogue import build_catalogue
from features.catalogue.contents import contents_of
from features.config import Config, FeatureConfig, PopulationConfig
from features.facts.opportunities import attribute
from features.loading.load_report import LoadReport
from features.loading.sources import CheckedSources
from features.parts.local_folders import Held, folder_aside
from features.parts.partitions import LoadedPartitions, Partitions, load_partitions, spilled
from features.snapshots import build_snapshots, lead_weeks, mondays
from features.tables import CONTRACT, Tables
from training.examples import examples_from_tables
from training.simulate import write_demo
from training.snapshot_file import write_snapshots
from training.steps import Steps
from training.weekly import score_weeks, won_opportunities

TINY = 0.02
"""Gigabytes: even the small CRM is then in several parts."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("crm")
    write_demo(small_demo(), made)
    return made


def load(folder: Path, local: Path, least_parts: int = 1, **sections) -> LoadedPartitions:
    return load_partitions(small_config(**sections), folder, local, least_parts=least_parts)


def checked_in_duckdb(tables: Tables) -> CheckedSources:
    """The tables as the loader has them before they are fetched."""
    connection = duckdb.connect(config={"threads": 1})
    for name in CONTRACT:
        # Nothing promises an order of rows on the way to disk and back.
        rows = getattr(tables, name).sample(frac=1, random_state=0)
        rows = pa.Table.from_pandas(rows, preserve_index=False)
        connection.register("rows", rows)
        connection.execute(f"create table kept_{name} as select 0 as row, * from rows")
    report = LoadReport((), tables.data_until, {})
    return CheckedSources(
        connection, tables.data_until, tables.present, tables.current_state, report, {}
    )


def in_parts(tables: Tables, local: Path, parts: int, population: PopulationConfig) -> Partitions:
    config = Config(population=population)
    with folder_aside(local) as aside:
        return spilled(checked_in_duckdb(tables), config, local, aside, parts)


def by_lead_and_instant(frames: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(frames).sort_values(["as_of", "lead_id"], ignore_index=True)


@settings(examples, max_examples=8, phases=[Phase.generate])
@given(
    crm(),
    st.integers(2, 6),
    st.sampled_from(["account_id", "email_domain"]),
    st.sampled_from([(), ("leads",), ("leads", "accounts")]),
)
def test_every_part_is_complete_and_gives_the_same_bits(
    tmp_path_factory, rows, parts, account_from, current_state
):
    tables = tables_of(until=60, current_state=current_state, **rows)
    population = PopulationConfig(account_from=account_from, attribution_days=10)
    catalogue = build_catalogue(tables, FeatureConfig(), tables.data_until, population)
    instants = mondays(day(0), day(60))

    def snapshots(part: Tables) -> pd.DataFrame:
        return build_snapshots(part, catalogue, lead_weeks(part, population, instants))

    def attribution(part: Tables) -> pd.DataFrame:
        return attribute(part, population.attribution_days, account_from)

    found = in_parts(tables, tmp_path_factory.mktemp("local"), parts, population)
    pieces = list(found)
    pd.testing.assert_frame_equal(
        by_lead_and_instant([snapshots(piece.tables) for piece in pieces]), snapshots(tables)
    )
    linked = pd.concat([attribution(piece.tables) for piece in pieces])
    pd.testing.assert_frame_equal(
        linked.sort_values(["opportunity_id", "lead_id"], ignore_index=True), attribution(tables)
    )
    whole = Partitions.of(tables).part(0).account_components(account_from)
    component = pd.concat([piece.account_components(account_from) for piece in pieces])
    pd.testing.assert_series_equal(component.sort_index(), whole, check_index_type=False)
    assert found.manifest.contents == contents_of(tables, tables.data_until)
    for name in CONTRACT:
        lengths = [len(getattr(piece.tables, name)) for piece in pieces]
        assert sum(lengths) == len(getattr(tables, name)), name


@pytest.mark.parametrize(
    "tables",
    [
        # each links leads a and b, who share no account
        {"opportunities": [{"lead_id": "a", "account_id": "B"}]},
        {
            "opportunities": [{"lead_id": "a"}],
            "opportunity_leads": [{"opportunity_id": "o", "lead_id": "b", "recorded_at": 1}],
        },
        {"opportunities": [{"account_id": "A"}, {"account_id": "B"}], "account_id": "A"},
        {"merged_into": "b"},
    ],
    ids=["lead and account", "lead and contact", "account history", "merge"],
)
def test_whatever_links_two_leads_puts_them_in_one_part(tmp_path, tables):
    moved, merged = tables.pop("account_id", None), tables.pop("merged_into", None)
    leads = [
        {"lead_id": "a", "created_at": 0, "account_id": "A", "merged_into": merged},
        {"lead_id": "b", "created_at": 0, "account_id": moved or "B"},
        {"lead_id": "b", "created_at": 0, "recorded_at": 3, "account_id": "B"},
        {"lead_id": "c", "created_at": 0, "account_id": "C"},
    ]
    for deal in tables.get("opportunities", []):
        deal |= {"opportunity_id": "o" + str(deal.get("account_id", "")), "stage": "open"}
        deal |= {"created_at": 1}
    if "opportunity_leads" in tables:
        tables["opportunities"][0]["opportunity_id"] = "o"
    parts = in_parts(tables_of(leads=leads, **tables), tmp_path, 3, PopulationConfig())
    found = sorted(sorted(set(part.tables.leads["lead_id"])) for part in parts)
    assert found == [["a", "b"], ["c"]]


def test_spellings_of_one_email_domain_are_one_account_and_free_mail_is_none(tmp_path):
    domains = ["Firm.com ", "firm.com", "gmail.com", "gmail.com"]
    leads = [
        {"lead_id": lead, "created_at": 0, "email_domain": domain}
        for lead, domain in zip("adbc", domains, strict=True)
    ]
    population = PopulationConfig(account_from="email_domain")
    parts = in_parts(tables_of(leads=leads), tmp_path, 4, population)
    found = sorted(part.tables.leads["lead_id"].tolist() for part in parts)
    assert found == [["a", "d"], ["b"], ["c"]]


def test_costs_of_campaigns_are_nobodys_and_in_every_part(tmp_path):
    costs = [{"campaign": "x", "day": 1, "cost": 3.0}]
    leads = [{"lead_id": name, "created_at": 0} for name in "ab"]
    parts = list(
        in_parts(tables_of(leads=leads, campaign_costs=costs), tmp_path, 2, PopulationConfig())
    )
    assert [part.tables.campaign_costs["cost"].tolist() for part in parts] == [[3.0], [3.0]]


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> LoadedPartitions:
    return load(folder, tmp_path_factory.mktemp("whole"))


def test_small_data_are_one_part_and_stay_in_memory(folder, tmp_path):
    loaded = load(folder, tmp_path)
    assert len(loaded.partitions) == 1
    assert list(tmp_path.iterdir()) == []
    tables = small_tables()
    for name in CONTRACT:
        found = getattr(loaded.partitions.part(0).tables, name)
        pd.testing.assert_frame_equal(found, getattr(tables, name))


@pytest.mark.parametrize("least_parts, memory_gb", [(7, 4), (1, TINY)])
def test_examples_do_not_depend_on_the_partitioning(
    folder, tmp_path, whole, least_parts, memory_gb
):
    thinned = {"max_rows": 1_500}
    config = small_config(snapshots=thinned)
    loaded = load(folder, tmp_path, least_parts, data={"memory_gb": memory_gb})
    assert len(loaded.partitions) >= max(least_parts, 2)
    assert loaded.digests == whole.digests
    assert loaded.report.lines() == whole.report.lines()
    expected = examples_from_tables(whole.partitions, config)
    found = examples_from_tables(loaded.partitions, config)
    assert found.catalogue == expected.catalogue
    pd.testing.assert_frame_equal(found.snapshots, expected.snapshots)
    for name in ("won", "days_to_win", "opportunity", "weight", "account"):
        np.testing.assert_array_equal(
            getattr(found, name), getattr(expected, name), err_msg=name, strict=True
        )
    assert (found.weight > 1).sum() > 0


def test_scored_weeks_and_wins_do_not_depend_on_the_partitioning(folder, tmp_path, whole):
    config = small_config()
    catalogue = build_catalogue(small_tables(), config.features, small_tables().data_until)
    instants = mondays(pd.Timestamp("2025-03-03"), pd.Timestamp("2025-05-02"))

    def score(snapshots: pd.DataFrame, account: np.ndarray) -> np.ndarray:
        return snapshots["any_count_30d"].to_numpy() + account / 1e6

    parts = load(folder, tmp_path, 5).partitions
    tables = small_tables()
    pd.testing.assert_frame_equal(
        score_weeks(parts, config, catalogue, instants, score),
        score_weeks(tables, config, catalogue, instants, score),
    )
    pd.testing.assert_frame_equal(
        won_opportunities(parts, config), won_opportunities(tables, config)
    )


def write(folder: Path, local: Path, output: Path, memory_gb: float = TINY, **sections):
    config = small_config(data={"memory_gb": memory_gb}, **sections)
    return write_snapshots(config, folder, local, output, Steps())


@pytest.fixture(scope="module")
def written(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of snapshots, computed in memory."""
    output = tmp_path_factory.mktemp("written") / "snapshots.parquet"
    assert write(folder, output.parent / "local", output, memory_gb=4).parts == 1
    return output


def test_the_file_of_snapshots_is_the_same_to_the_byte_and_computed_once(folder, tmp_path, written):
    first = write(folder, tmp_path / "local", tmp_path / "first.parquet")
    assert first.parts > 2
    assert first.parts_reused == 0
    assert (tmp_path / "first.parquet").read_bytes() == written.read_bytes()
    again = write(folder, tmp_path / "local", tmp_path / "again.parquet")
    assert (again.parts, again.parts_reused) == (first.parts, first.parts)
    assert (tmp_path / "again.parquet").read_bytes() == written.read_bytes()
    # other features: not one part of the old ones is taken
    other = {"windows_days": [7]}
    changed = write(folder, tmp_path / "local", tmp_path / "other.parquet", features=other)
    assert (changed.parts, changed.parts_reused) == (first.parts, 0)
    assert "any_count_7d" in pq.read_schema(tmp_path / "other.parquet").names
    frame = pd.read_parquet(written)
    order = frame[["as_of", "lead_id"]]
    pd.testing.assert_frame_equal(order, order.sort_values(["as_of", "lead_id"]))
    assert not [name for name in frame.columns if name.startswith("label:")]


def test_other_rows_are_other_parts_and_the_old_ones_are_removed_when_nobody_reads_them(
    folder, tmp_path
):
    local = tmp_path / "local"
    first = load(folder, local, 2).partitions
    changed = tmp_path / "changed"
    shutil.copytree(folder, changed)
    events = pd.read_parquet(changed / "engagement_events.parquet")
    events.iloc[:-1].to_parquet(changed / "engagement_events.parquet")
    second = load(changed, local, 2).partitions
    assert second.digest != first.digest
    n_events = [len(part.tables.engagement_events) for part in first]  # still there to be read
    assert sum(n_events) == sum(len(part.tables.engagement_events) for part in second) + 1
    del first
    load(changed, local, 2)
    assert len(list((local / "partitions").iterdir())) == 1


def test_a_killed_run_leaves_whole_parts_or_hidden_folders_and_the_next_run_goes_on(
    folder, tmp_path, written
):
    local = tmp_path / "local"
    program = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[4]);"
        "from test_partitions import write; write(*map(Path, sys.argv[1:4]))"
    )
    output = tmp_path / "snapshots.parquet"
    child = subprocess.Popen(
        [sys.executable, "-c", program, folder, local, output, Path(__file__).parent]
    )
    whole_parts = "partitions/*/snapshots-*/[0-9]*.parquet"
    deadline = time.monotonic() + 120
    while (
        not list(local.glob(whole_parts)) and child.poll() is None and time.monotonic() < deadline
    ):
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    done = len(list(local.glob(whole_parts)))
    assert done
    assert not output.exists()
    assert {path.name for path in local.iterdir() if not path.name.startswith(".")} == {
        "partitions"
    }
    again = write(folder, local, output)
    assert done <= again.parts_reused < again.parts
    assert output.read_bytes() == written.read_bytes()
    assert [path for path in tmp_path.rglob(".*") if path.is_file()] == []


def test_a_folder_aside_that_a_killed_run_left_is_removed_and_one_in_use_is_not(tmp_path):
    left, used = tmp_path / ".aside-left", tmp_path / ".aside-used"
    left.mkdir()
    used.mkdir()
    held = Held(used)
    with folder_aside(tmp_path) as aside:
        assert not left.exists()
        assert used.exists() and aside.exists()
    assert not aside.exists()
    held.release()


def test_less_memory_makes_more_parts_and_bounds_the_database(folder, tmp_path):
    sizes = [
        len(load(folder, tmp_path / str(n), data={"memory_gb": TINY * n}).partitions)
        for n in (1, 4)
    ]
    assert sizes[0] > sizes[1] > 1


def test_no_history_at_all_is_one_empty_part(tmp_path):
    tables = tables_of(leads=[{"lead_id": "a", "created_at": 0}])
    parts = list(in_parts(tables, tmp_path, 4, PopulationConfig()))
    assert [part.tables.leads["lead_id"].tolist() for part in parts] == [["a"]]
    pd.testing.assert_frame_equal(parts[0].tables.engagement_events, tables.engagement_events)
