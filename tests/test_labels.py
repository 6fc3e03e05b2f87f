import numpy as np
import pandas as pd
import pytest

from training.labels import label_snapshots

AS_OF = pd.Timestamp("2025-03-03")
HORIZON = 91


def _label(
    closed_at: str | None,
    stage: str = "closed_won",
    until: str = "2026-01-01",
    recorded_at: str | None = None,
) -> pd.Series:
    index = pd.DataFrame({"lead_id": ["a"], "as_of": pd.Series([AS_OF], dtype="datetime64[us]")})
    attribution = pd.DataFrame(
        {
            "lead_id": ["a"],
            "stage": [stage],
            "opportunity_id": ["deal"],
            "closed_at": pd.Series(pd.to_datetime([closed_at]), dtype="datetime64[us]"),
        }
    )
    known = closed_at if recorded_at is None else recorded_at
    attribution["closed_recorded_at"] = pd.Series(pd.to_datetime([known]), dtype="datetime64[us]")
    return label_snapshots(index, attribution, HORIZON, pd.Timestamp(until)).iloc[0]


@pytest.mark.parametrize(
    ("closed_at", "stage", "expected"),
    [
        ("2025-03-03", "closed_won", 1.0),  # the horizon begins at as_of itself
        ("2025-03-02 23:59:59.999999", "closed_won", 0.0),  # won before: no win ahead
        ("2025-06-01 23:59:59.999999", "closed_won", 1.0),  # the last instant of day 91
        ("2025-06-02", "closed_won", 0.0),  # the horizon is half-open
        ("2025-04-01", "closed_lost", 0.0),  # lost deals count as not won
        (None, "open", 0.0),
    ],
)
def test_a_label_is_a_win_within_the_half_open_horizon(closed_at, stage, expected):
    assert _label(closed_at, stage)["won_in_horizon"] == expected


def test_an_unmatured_row_has_no_label_even_if_already_won():
    row = _label("2025-03-10", until="2025-06-01")  # one day short of as_of + 91 days
    assert not row["is_matured"]
    assert np.isnan(row["won_in_horizon"])
    assert np.isnan(row["days_to_win"])


@pytest.mark.parametrize(
    ("recorded_at", "has_label"),
    [
        ("2025-03-02", True),  # known before as_of: the population has dropped the lead
        ("2025-03-03", False),  # known at as_of is not known before it
        ("2025-06-05", False),
    ],
)
def test_a_lead_won_before_as_of_and_recorded_later_has_no_label(recorded_at, has_label):
    row = _label("2025-03-01", recorded_at=recorded_at)
    assert np.isfinite(row["won_in_horizon"]) == has_label
    assert row["is_matured"]


def test_a_row_is_matured_on_the_day_its_horizon_ends():
    assert _label("2025-03-10", until="2025-06-02")["is_matured"]


def test_the_first_of_several_wins_counts_and_other_leads_wins_do_not():
    index = pd.DataFrame(
        {"lead_id": ["b", "a"], "as_of": pd.Series([AS_OF, AS_OF], dtype="datetime64[us]")}
    )
    attribution = pd.DataFrame(
        {
            "lead_id": ["a", "a"],
            "stage": "closed_won",
            "opportunity_id": ["later", "sooner"],
            "closed_at": pd.Series(
                pd.to_datetime(["2025-05-03", "2025-03-13"]), dtype="datetime64[us]"
            ),
        }
    )
    attribution["closed_recorded_at"] = attribution["closed_at"]
    labelled = label_snapshots(index, attribution, HORIZON, pd.Timestamp("2026-01-01"))
    assert labelled["won_in_horizon"].tolist() == [0.0, 1.0]
    assert labelled["days_to_win"].tolist()[1] == 10.0
    assert labelled["opportunity_id"].tolist()[1] == "sooner"
