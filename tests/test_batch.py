import csv
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_model import small_scorer, small_snapshots, why

from features.errors import InputError
from models.reasons import CHUNK_ROWS, reasons
from serving.batch import csv_safe, score_leads

STARTS = ("=", "+", "-", "@", "\t", "\r")
NUMBERS = {"probability", "raw_score", "log_odds", "points", "points_1", "points_2", "points_3"}


def read_csv(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"lead_id": "str", "account_id": "str"})


def test_a_file_holds_score_and_strongest_reasons_of_each_lead(tmp_path: Path) -> None:
    scorer, snapshots = small_scorer(), small_snapshots(60, seed=8)
    score_leads(scorer, snapshots, tmp_path / "scores.parquet", top=2)
    found = pd.read_parquet(tmp_path / "scores.parquet")
    expected = scorer.score(snapshots)
    pd.testing.assert_frame_equal(found[expected.columns], expected, check_dtype=False)
    assert list(found.columns) == [
        *expected.columns, "track", "why", "reason_1", "points_1", "reason_2", "points_2",
    ]  # fmt: skip
    explained = reasons(scorer, snapshots)
    for row, lead_id in enumerate(snapshots["lead_id"]):
        told = explained[explained["lead_id"] == lead_id]
        assert found["why"][row] == why(told)
        assert found["reason_1"][row] == told["text"].iloc[0]
        assert found["points_2"][row] == told["points"].iloc[1]


def test_csv_and_parquet_say_the_same(tmp_path: Path) -> None:
    scorer, snapshots = small_scorer(), small_snapshots(60, seed=8)
    for suffix in ("csv", "parquet"):
        score_leads(scorer, snapshots, tmp_path / f"scores.{suffix}", reasons_kept="all")
    for name in ("scores", "scores.reasons"):
        from_csv = read_csv(tmp_path / f"{name}.csv")
        from_csv["as_of"] = pd.to_datetime(from_csv["as_of"]).dt.tz_localize(None)
        from_parquet = pd.read_parquet(tmp_path / f"{name}.parquet")
        pd.testing.assert_frame_equal(from_csv, from_parquet, check_dtype=False)


def test_complete_reasons_add_up_to_the_score(tmp_path: Path) -> None:
    scorer, snapshots = small_scorer(), small_snapshots(60, seed=8)
    summary = score_leads(scorer, snapshots, tmp_path / "s.parquet", reasons_kept="all")
    assert summary.reasons_path == tmp_path / "s.reasons.parquet"
    points = pd.read_parquet(summary.reasons_path).groupby("lead_id")["points"].sum()
    probability = pd.read_parquet(summary.path).set_index("lead_id")["probability"]
    base = float(scorer.calibration.probability(scorer.base_raw_score))
    np.testing.assert_allclose(points, probability.reindex(points.index) - base, atol=1e-6)


def test_the_summary_counts_what_is_in_the_file(tmp_path: Path) -> None:
    snapshots = small_snapshots(500, seed=8)
    summary = score_leads(small_scorer(), snapshots, tmp_path / "scores.csv")
    found = read_csv(summary.path)
    assert summary.leads == len(found) == 500
    assert summary.eligible == snapshots["is_eligible"].sum()
    assert summary.qualified == found["qualified"].sum() > 0
    assert summary.grades == {grade: (found["grade"] == grade).sum() for grade in "ABCD"}
    assert (summary.cutoff, summary.reasons_path) == (0.25, None)


def test_many_leads_go_through_in_parts_and_order(tmp_path: Path) -> None:
    snapshots = small_snapshots(CHUNK_ROWS + 5, seed=8)
    steps: list[int] = []
    score_leads(small_scorer(), snapshots, tmp_path / "s.parquet", progress=steps.append)
    assert steps == [CHUNK_ROWS, 5]
    found = pd.read_parquet(tmp_path / "s.parquet")
    pd.testing.assert_frame_equal(
        found[["lead_id", "probability"]],
        small_scorer().score(snapshots)[["lead_id", "probability"]],
        check_dtype=False,
    )


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_no_leads_give_a_file_with_its_columns(suffix: str, tmp_path: Path) -> None:
    none = small_snapshots(3).iloc[:0]
    summary = score_leads(small_scorer(), none, tmp_path / f"s.{suffix}", reasons_kept="all")
    read = pd.read_csv if suffix == "csv" else pd.read_parquet
    assert len(read(summary.path)) == summary.leads == 0
    assert "why" in read(summary.path).columns


@pytest.mark.parametrize("start", STARTS)
def test_no_text_cell_of_a_csv_runs_as_a_formula(start: str, tmp_path: Path) -> None:
    snapshots = small_snapshots(20)
    snapshots["lead_id"] = pd.array([f"{start}cmd|' /C calc'!A{n}" for n in range(20)], dtype="str")
    snapshots["industry"] = pd.array([f"{start}HYPERLINK"] * 20, dtype="str")
    score_leads(small_scorer(), snapshots, tmp_path / "s.csv", reasons_kept="all")
    for name in ("s.csv", "s.reasons.csv"):
        with (tmp_path / name).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert rows[0]["lead_id"].startswith(f"'{start}cmd")
        text_columns = [name for name in rows[0] if name not in NUMBERS]
        risky = [row[name] for row in rows for name in text_columns if row[name].startswith(STARTS)]
        assert risky == []


def test_numbers_below_zero_stay_numbers() -> None:
    rows = pd.DataFrame(
        {"raw_score": [-1.5] * 2, "lead_id": pd.array(["-1.5", "-1+2"], dtype="str")}
    )
    safe = csv_safe(rows)
    assert safe["raw_score"].tolist() == [-1.5] * 2
    assert safe["lead_id"].tolist() == ["-1.5", "'-1+2"]  # a number runs nothing, a sum does


def test_quotes_commas_line_breaks_and_umlauts_survive_a_csv(tmp_path: Path) -> None:
    snapshots = small_snapshots(4)
    ids = ['a"b', "a,b", "a\nb", "Müller Łódź 🙂"]
    snapshots["lead_id"] = pd.array(ids, dtype="str")
    score_leads(small_scorer(), snapshots, tmp_path / "s.csv")
    assert read_csv(tmp_path / "s.csv")["lead_id"].tolist() == ids


def test_a_long_value_never_makes_the_why_longer_than_a_crm_field(tmp_path: Path) -> None:
    snapshots = small_snapshots(50, seed=8)
    snapshots["industry"] = pd.array(["Wholesale of " * 100] * 50, dtype="str")
    score_leads(small_scorer(), snapshots, tmp_path / "s.csv")
    assert read_csv(tmp_path / "s.csv")["why"].str.len().max() <= 255


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond 4 kB, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_full_disk_leaves_the_old_file_and_no_other(suffix: str, tmp_path: Path) -> None:
    output = tmp_path / f"scores.{suffix}"
    output.write_text("last week's")
    snapshots = small_snapshots(2_000)
    with full_disk(), pytest.raises(InputError, match="cannot be written"):
        score_leads(small_scorer(), snapshots, output, reasons_kept="all")
    assert output.read_text() == "last week's"
    assert list(tmp_path.iterdir()) == [output]


def test_an_interrupted_batch_leaves_no_file(tmp_path: Path) -> None:
    def ctrl_c(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_leads(small_scorer(), small_snapshots(5), tmp_path / "s.csv", progress=ctrl_c)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scores.xlsx", r"must end in \.csv or \.parquet"),
        ("absent/scores.csv", "does not exist"),
        ("folder.csv", "is a folder"),
    ],
)
def test_an_output_that_cannot_be_is_named(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match=message):
        score_leads(small_scorer(), small_snapshots(5), tmp_path / name)
