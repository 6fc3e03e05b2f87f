"""Mondays, training samples and the frame of snapshots."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tables_builder import day, tables_of

from features.catalogue.catalogue import build_catalogue
from features.config import FeatureConfig, PopulationConfig
from features.snapshots import build_snapshots, lead_weeks, mondays, training_sample

LEADS = [{"lead_id": f"l{n:03d}", "created_at": n / 10, "account_id": "X"} for n in range(200)]


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ("2024-01-01", "2024-01-15", ["2024-01-01", "2024-01-08", "2024-01-15"]),
        ("2024-01-01 00:00:01", "2024-01-14", ["2024-01-08"]),
        ("2024-01-02", "2024-01-07", []),
        ("1969-12-28", "1970-01-05", ["1969-12-29", "1970-01-05"]),
    ],
)
def test_mondays_are_midnights_within_the_bounds(first, last, expected) -> None:
    found = mondays(pd.Timestamp(first), pd.Timestamp(last))
    assert found.dtype == np.dtype("datetime64[us]")
    assert [str(monday)[:10] for monday in found] == expected


@pytest.fixture(scope="module")
def weeks() -> pd.DataFrame:
    return lead_weeks(tables_of(leads=LEADS), PopulationConfig(), mondays(day(28), day(28 * 7 - 1)))


def test_a_sample_has_one_monday_per_lead_and_block(weeks) -> None:
    sample = training_sample(weeks, 28, seed=0)
    n_blocks = weeks["as_of"].nunique() / 4
    assert len(weeks) == 200 * 24
    assert len(sample) == pytest.approx(200 * n_blocks, rel=0.05)
    days = (sample["as_of"] - pd.Timestamp("1970-01-05")).dt.days
    assert not pd.DataFrame({"lead": sample["lead_id"], "block": days // 28}).duplicated().any()
    assert sample["as_of"].is_monotonic_increasing


def test_every_week_has_the_same_chance(weeks) -> None:
    counts = training_sample(weeks, 28, seed=0)["as_of"].value_counts()
    # 50 of 200 leads expected each week; four standard deviations
    assert counts.between(50 - 4 * 6.2, 50 + 4 * 6.2).all()
    assert len(counts) == weeks["as_of"].nunique()


def test_other_rows_change_nothing_in_a_sample(weeks) -> None:
    sample = training_sample(weeks, 28, seed=3)
    few = weeks[(weeks["lead_id"] < "l050") & (weeks["as_of"] < day(100))]
    expected = sample[(sample["lead_id"] < "l050") & (sample["as_of"] < day(100))]
    shuffled = training_sample(few.sample(frac=1, random_state=0), 28, seed=3)
    shuffled = shuffled.sort_values(["as_of", "lead_id"], ignore_index=True)
    pd.testing.assert_frame_equal(shuffled, expected.reset_index(drop=True))


def test_another_seed_draws_another_sample(weeks) -> None:
    assert not training_sample(weeks, 28, seed=0).equals(training_sample(weeks, 28, seed=1))


@pytest.mark.parametrize("every_days", [1, 7])
def test_blocks_of_a_week_or_less_keep_every_monday(weeks, every_days) -> None:
    assert len(training_sample(weeks, every_days, seed=0)) == len(weeks)


def test_snapshots_have_the_promised_columns_and_types() -> None:
    firms = [{"account_id": "X", "recorded_at": 1, "industry": "retail", "employees": 10.0}]
    events = [{"lead_id": "l000", "event_type": "call", "occurred_at": 1}]
    tables = tables_of(leads=LEADS[:2], accounts=firms, engagement_events=events)
    catalogue = build_catalogue(tables, FeatureConfig(), day(100))
    index = lead_weeks(tables, PopulationConfig(), mondays(day(1), day(20)))
    snapshots = build_snapshots(tables, catalogue, index.iloc[::-1])
    assert isinstance(snapshots.index, pd.RangeIndex)
    assert list(snapshots) == ["lead_id", "account_id", "as_of", "is_eligible", *catalogue.names]
    pd.testing.assert_frame_equal(snapshots[index.columns], index)
    for feature in catalogue.features:
        expected = np.float32 if feature.dtype == "number" else "str"
        assert snapshots[feature.name].dtype == expected, feature.name
    assert snapshots["account_industry"].tolist() == ["retail"] * len(index)
    assert snapshots["account_employees"].tolist() == [10.0] * len(index)


def test_a_value_missing_in_a_newer_row_hides_the_older_one() -> None:
    leads = [
        {"lead_id": "a", "created_at": 0, "title": "CTO"},
        {"lead_id": "a", "created_at": 0, "recorded_at": 10, "title": None},
    ]
    tables = tables_of(leads=leads)
    catalogue = build_catalogue(tables, FeatureConfig(), day(100))
    index = lead_weeks(tables, PopulationConfig(), mondays(day(7), day(14)))
    assert build_snapshots(tables, catalogue, index)["title"].isna().tolist() == [False, True]


def test_a_table_that_is_not_there_is_unknown_and_an_empty_one_is_not() -> None:
    events = [{"lead_id": "a", "event_type": "call", "occurred_at": 1}]
    leads = [{"lead_id": "a", "created_at": 0}]
    catalogue = build_catalogue(
        tables_of(leads=leads, engagement_events=events), FeatureConfig(), day(100)
    )
    empty, absent = tables_of(leads=leads, engagement_events=[]), tables_of(leads=leads)
    index = lead_weeks(empty, PopulationConfig(), mondays(day(7), day(7)))
    assert build_snapshots(empty, catalogue, index)["call_count_7d"].tolist() == [0]
    assert build_snapshots(absent, catalogue, index)["call_count_7d"].isna().all()


def test_no_snapshots_and_no_leads_are_empty_frames() -> None:
    tables = tables_of(leads=LEADS[:2])
    catalogue = build_catalogue(tables, FeatureConfig(), day(100))
    index = lead_weeks(tables_of(leads=[]), PopulationConfig(), mondays(day(0), day(30)))
    assert len(index) == 0
    assert list(build_snapshots(tables, catalogue, index))[4:] == catalogue.names


def test_a_lead_that_is_in_no_table_cannot_be_looked_at() -> None:
    tables = tables_of(leads=LEADS[:2])
    catalogue = build_catalogue(tables, FeatureConfig(), day(100))
    index = lead_weeks(tables, PopulationConfig(), mondays(day(7), day(7)))
    with pytest.raises(ValueError, match="not in leads"):
        build_snapshots(tables, catalogue, index.assign(lead_id="nobody"))
