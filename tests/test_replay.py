import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_cases import MONDAY, WEEK, drawn_replay, replay_of

from models.cutoff import Cutoff
from training.cutoffs.cutoff import cutoff_curve
from training.replay import decided


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


@settings(max_examples=40, deadline=None, derandomize=True)
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


@settings(max_examples=40, deadline=None, derandomize=True)
@given(histories())
def test_the_curve_counts_what_the_replay_counts_at_every_candidate(rows):
    replay = replay_of(rows, start=1, weeks=6)
    curve = cutoff_curve(replay)
    for cutoff, mqls, won in zip(curve.cutoff, curve.mqls, curve.won, strict=True):
        assert mqls == len(replay.mqls(cutoff))
        assert won == replay.mqls(cutoff)["won_in_horizon"].sum()


def crossings(replay, cutoff):
    """When each lead is first at the cutoff, warm-up included."""
    moments = replay.moments
    is_first = (moments["previous_best"] < cutoff) & (cutoff <= moments["probability"])
    return moments[is_first].set_index("lead_id")["as_of"]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(histories(), st.integers(1, 9), st.integers(1, 9))
def test_raising_the_cutoff_never_adds_an_mql_and_never_makes_one_sooner(rows, one, other):
    replay = replay_of(rows, start=1, weeks=6)
    low, high = (crossings(replay, tenth / 10) for tenth in sorted((one, other)))
    assert set(high.index) <= set(low.index)
    assert (high >= low.reindex(high.index)).all()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(histories(), st.integers(1, 9))
def test_one_cutoff_for_every_row_is_the_same_replay(rows, tenth):
    replay = replay_of(rows, [("deal", "a", 20)], start=1, weeks=6)
    cutoff = tenth / 10
    shifted = replay.with_margins(np.full(len(replay.scored), cutoff))
    assert shifted.mqls(0.0)["lead_id"].tolist() == replay.mqls(cutoff)["lead_id"].tolist()
    assert shifted.backlog(0.0) == replay.backlog(cutoff)
    captured = [(found.wins["best_before"] >= at).tolist()
                for found, at in ((shifted, 0.0), (replay, cutoff))]  # fmt: skip
    assert captured[0] == captured[1]


def test_a_lead_that_changes_its_segment_is_an_mql_once_at_the_cutoff_it_then_has():
    replay = replay_of([("a", 0, 0.3, 0), ("a", 1, 0.3, 0), ("a", 2, 0.6, 0), ("b", 1, 0.3, 0)])
    scored = replay.scored.assign(region=["x", "y", "x", "x"])
    moved = replay.of(np.ones(4, bool)).with_margins(
        Cutoff("fixed", {}, 0.5, segment_by="region", segments={"y": 0.2}).values(scored["region"])
    )
    mqls = moved.mqls(0.0)
    assert mqls[["lead_id", "as_of"]].values.tolist() == [["a", MONDAY + WEEK]]


def test_the_parts_of_a_replay_add_up_to_the_whole():
    replay = drawn_replay(np.random.default_rng(0), accounts=300)
    parts = [
        replay.of((replay.scored["region"] == region).to_numpy()) for region in ("north", "south")
    ]
    for cutoff in (0.1, 0.3):
        assert sum(len(part.mqls(cutoff)) for part in parts) == len(replay.mqls(cutoff))
    assert sum(len(part.wins) for part in parts) == len(replay.wins)
    assert (sum(part.arrivals for part in parts) == replay.arrivals).all()


def test_a_cutoff_that_qualifies_nobody_has_no_replay():
    replay = replay_of([("a", 0, 0.5, 0)])
    with pytest.raises(ValueError, match="nobody qualifies"):
        decided(replay, Cutoff("precision", {}, None))


def test_without_an_mql_the_volume_is_zero_with_an_upper_end_and_shares_are_left_out():
    figures = replay_of([("a", 0, 0.5, 0)]).figures(0.9, bootstraps=5, seed=0)
    assert set(figures) == {"mqls_per_week"}
    volume = figures["mqls_per_week"]
    assert (volume.value, volume.low) == (0.0, 0.0)
    assert volume.high > 0
