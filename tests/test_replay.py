import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.config import CutoffConfig
from training.cutoff import choose_cutoff, cutoff_curve
from training.replay import build_replay

MONDAY = pd.Timestamp("2025-01-06")
WEEK = pd.Timedelta(days=7)


def scored(rows):
    """Rows of (lead, week, probability, won)."""
    frame = pd.DataFrame(rows, columns=["lead_id", "week", "probability", "won_in_horizon"])
    return frame.assign(
        as_of=(MONDAY + frame.pop("week") * WEEK).astype("datetime64[us]"),
        account=frame["lead_id"].str[0].map(ord),
        days_to_win=np.where(frame["won_in_horizon"] > 0, 30.0, np.nan),
        won_in_horizon=frame["won_in_horizon"].astype(float),
        opportunity_id="deal " + frame["lead_id"].astype("str"),
    ).astype({"lead_id": "str"})


def wins(rows):
    """Rows of (opportunity, lead, day of creation)."""
    frame = pd.DataFrame(rows, columns=["opportunity_id", "lead_id", "day"])
    return frame.astype({"lead_id": "str"}).assign(
        account=0,
        created_at=(MONDAY + pd.to_timedelta(frame.pop("day").astype(float), unit="D")).astype(
            "datetime64[us]"
        ),
    )


NO_WINS = wins([])


def replay_of(rows, opportunities=None, start=0, weeks=4, first_week_is_backlog=False):
    made = NO_WINS if opportunities is None else wins(opportunities)
    return build_replay(
        scored(rows), made, MONDAY + start * WEEK, MONDAY + weeks * WEEK, first_week_is_backlog
    )


def test_a_lead_becomes_an_mql_once_at_its_first_crossing():
    replay = replay_of([("a", 0, 0.1, 0), ("a", 1, 0.5, 1), ("a", 2, 0.2, 0), ("a", 3, 0.9, 0)])
    mqls = replay.mqls(0.4)
    assert mqls["as_of"].tolist() == [MONDAY + WEEK]
    assert mqls["won_in_horizon"].tolist() == [1.0]
    assert replay.mqls(0.6)["as_of"].tolist() == [MONDAY + 3 * WEEK]


def test_a_lead_above_the_cutoff_before_the_start_is_backlog_and_never_volume():
    replay = replay_of([("a", 0, 0.5, 0), ("a", 1, 0.6, 0), ("b", 1, 0.5, 0)], start=1)
    assert replay.mqls(0.4)["lead_id"].tolist() == ["b"]
    assert replay.backlog(0.4) == 1
    assert replay.mqls(0.55)["lead_id"].tolist() == ["a"]  # a crosses 0.55 only in week 1


def test_without_a_warm_up_the_first_week_is_backlog():
    replay = replay_of([("a", 0, 0.5, 0), ("b", 1, 0.5, 0)], first_week_is_backlog=True)
    assert replay.mqls(0.4)["lead_id"].tolist() == ["b"]
    assert (replay.weeks, replay.backlog(0.4)) == (3, 1)


@pytest.mark.parametrize(
    ("day", "captured"),
    [
        (7, 1.0),  # flagged on that very Monday, before the day's work
        (6, 0.0),  # the deal was opened a day before the lead crossed
        (20, 1.0),
    ],
)
def test_a_win_is_captured_only_if_flagged_before_its_opportunity_was_created(day, captured):
    replay = replay_of([("a", 0, 0.1, 1), ("a", 1, 0.5, 1)], [("deal", "a", day)])
    assert replay.figures(0.4, bootstraps=5, seed=0)["capture"].value == captured


def test_a_win_of_several_leads_counts_once_and_one_never_scored_is_shown_apart():
    replay = replay_of(
        [("a", 0, 0.1, 1), ("b", 0, 0.5, 1), ("c", 2, 0.9, 1)],
        [("deal", "a", 8), ("deal", "b", 8), ("early", "c", 8)],
    )
    assert len(replay.wins) == 2
    assert replay.wins["best_before"].isna().tolist() == [False, True]
    assert replay.figures(0.4, bootstraps=5, seed=0)["capture"].value == 1.0


@st.composite
def histories(draw):
    rows = {}
    for lead in draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, unique=True)):
        for week in draw(st.lists(st.integers(0, 5), min_size=1, unique=True)):
            tenth = draw(st.integers(1, 9))
            rows[lead, week] = (lead, week, tenth / 10, draw(st.integers(0, 1)))
    return list(rows.values())


@settings(max_examples=100, deadline=None, derandomize=True)
@given(histories(), st.integers(1, 9))
def test_mqls_equal_those_of_walking_through_the_weeks(rows, tenth):
    cutoff, start = tenth / 10, 2
    flagged, expected = set(), []
    for lead, week, probability, _ in sorted(rows, key=lambda row: row[1]):
        if probability >= cutoff and lead not in flagged:
            flagged.add(lead)
            if week >= start:
                expected.append((lead, MONDAY + week * WEEK))
    replay = replay_of(rows, start=start, weeks=6)
    mqls = replay.mqls(cutoff)
    assert sorted(zip(mqls["lead_id"], mqls["as_of"], strict=True)) == sorted(expected)
    assert replay.by_week(cutoff)["mqls"].sum() == len(expected)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(histories())
def test_the_curve_counts_what_the_replay_counts_at_every_candidate(rows):
    replay = replay_of(rows, start=1, weeks=6)
    curve = cutoff_curve(replay)
    for cutoff, mqls, won in zip(curve.cutoff, curve.mqls, curve.won, strict=True):
        assert mqls == len(replay.mqls(cutoff))
        assert won == replay.mqls(cutoff)["won_in_horizon"].sum()


def _many(seed=0, leads=3000):
    random = np.random.default_rng(seed)
    probability = random.beta(1, 8, leads)
    won = random.random(leads) < probability
    rows = zip(
        [f"{chr(97 + n % 26)}{n}" for n in range(leads)],
        random.integers(0, 10, leads),
        probability,
        won.astype(int),
        strict=True,
    )
    return replay_of(list(rows), weeks=10)


def test_the_capacity_cutoff_fills_the_week_and_does_not_overflow_it():
    replay = _many()
    cutoff = choose_cutoff(replay, CutoffConfig(mqls_per_week=30), bootstraps=50, seed=0)
    volume = cutoff.evidence["mqls_per_week"]
    assert 28 <= volume.value <= 30
    assert volume.low <= volume.value <= volume.high


def test_the_precision_cutoff_reaches_its_target_and_none_is_given_where_none_can():
    replay = _many()
    policy = CutoffConfig(policy="precision", target_precision=0.3)
    cutoff = choose_cutoff(replay, policy, bootstraps=50, seed=0)
    assert cutoff.evidence["precision"].value >= 0.3
    impossible = CutoffConfig(policy="precision", target_precision=0.99)
    nobody = choose_cutoff(replay, impossible, bootstraps=50, seed=0)
    assert nobody.value is None
    assert "No cutoff" in nobody.reason


def test_the_money_cutoff_earns_most_and_none_is_given_where_contacts_never_pay():
    replay = _many()
    policy = CutoffConfig(policy="money", win_value=1000, contact_cost=150)
    cutoff = choose_cutoff(replay, policy, bootstraps=50, seed=0)
    # with calibrated probabilities a contact pays from cost / value on
    assert cutoff.value == pytest.approx(0.15, abs=0.05)
    ruinous = CutoffConfig(policy="money", win_value=1, contact_cost=150)
    assert choose_cutoff(replay, ruinous, bootstraps=50, seed=0).value is None
