"""What points rules give at their boundaries, and how it is told."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from points_rules import SOFTWARE, rated, scorer_of, snapshots_of
from small_crm import small_examples

from features.errors import InputError
from models.rules import RulesScorer, read_rules
from training.demo import demo_rules


def points_of(*rules: dict[str, Any], values: dict[str, list[Any]], **section: Any) -> list[float]:
    """The points of engagement rules alone for rows with these values."""
    rows = len(next(iter(values.values())))
    named = [{"name": f"rule {n}", **rule} for n, rule in enumerate(rules)]
    scorer = scorer_of(1, fit={"rules": [SOFTWARE]}, engagement={"rules": named, **section})
    columns = {"industry": pd.array([None] * rows, dtype="str"), **values}
    return list(scorer.points(snapshots_of(rows, **columns)))


@pytest.mark.parametrize(
    ("asked", "values", "expected"),
    [
        ({"feature": "account_employees", "at_least": 10}, [9.9, 10, np.nan], [0, 8, 0]),
        ({"feature": "account_employees", "below": 10}, [9.9, 10, np.nan], [8, 0, 0]),
        ({"feature": "account_employees", "at_least": 1, "below": 2}, [0.9, 1, 2], [0, 8, 0]),
        ({"feature": "account_employees", "missing": True}, [0, 10, np.nan], [0, 0, 8]),
        (
            {"feature": "account_employees", "below": 1, "missing": True},
            [0, 10, np.nan],
            [8, 0, 8],
        ),
    ],
)
def test_conditions_at_their_boundaries(
    asked: dict[str, Any], values: list[float], expected: list[float]
) -> None:
    found = points_of({**asked, "points": 8}, values={"account_employees": values})
    assert found == expected


@pytest.mark.parametrize("bound", [0.7, 0.8, 0.1])
def test_a_bound_is_met_by_its_own_value_as_snapshots_hold_it(bound: float) -> None:
    values = {"account_employees": np.array([bound], dtype=np.float32)}
    asked = {"feature": "account_employees", "points": 8}
    assert points_of({**asked, "at_least": bound}, values=values) == [8]
    assert points_of({**asked, "below": bound}, values=values) == [0]


def test_a_count_without_a_bound_asks_for_one() -> None:
    asked = {"event": "pricing_view", "window_days": 7, "points": 8}
    assert points_of(asked, values={"pricing_view_count_7d": [0, 1, 9]}) == [0, 8, 8]


@pytest.mark.parametrize(
    ("rules", "maximum", "expected"),
    [
        ([{"points_each": 5, "cap": 20}], 60, [0, 5, 20, 20]),  # cap
        ([{"points_each": 5, "cap": 20}], 12, [0, 5, 12, 12]),  # section maximum
        ([{"points_each": -5, "cap": -12}], 60, [0, -5, -12, -12]),  # negative cap, below 0
        # what is taken away is taken away after the maximum
        ([{"points_each": 10, "cap": 90}, {"points_each": -1, "cap": -9}], 30, [0, 9, 26, 21]),
    ],
)
def test_caps_and_maxima(
    rules: list[dict[str, Any]], maximum: float, expected: list[float]
) -> None:
    counted = [{"event": "pricing_view", "window_days": 7, **each} for each in rules]
    values = {"pricing_view_count_7d": [0, 1, 4, 9]}
    assert points_of(*counted, values=values, max=maximum) == expected


def test_fading_points_are_told_in_tenths() -> None:
    faded = {"event": "pricing_view", "half_life_days": 30, "points_each": 5, "cap": 20}
    found = points_of(faded, values={"pricing_view_decayed_30d": [0.009, 0.5, 2.743, 7.1]})
    assert found == [0, 2.5, 13.7, 20]


def told(**values: Any) -> list[tuple[str, float]]:
    """Text and points of the reasons of one lead."""
    scorer = scorer_of(
        fit={"max": 25, "rules": [SOFTWARE]},
        engagement={
            "rules": [
                {"name": "Viewed pricing", "event": "pricing_view", "window_days": 7,
                 "points_each": 5, "cap": 20},
                {"name": "Visits", "event": "visit", "half_life_days": 30,
                 "points_each": 2, "cap": 10},
                {"name": "Gone quiet", "feature": "any_days_since_last", "at_least": 45,
                 "points": -8},
            ]
        },
        disqualify=[{"name": "Tiny", "feature": "account_employees", "below": 2}],
    )  # fmt: skip
    numbers = {"any_days_since_last": [1], "account_employees": [9], "visit_decayed_30d": [0],
               "pricing_view_count_7d": [0], "industry": ["Retail"]}  # fmt: skip
    columns = {**numbers, **{name: [value] for name, value in values.items()}}
    columns["industry"] = pd.array(columns["industry"], dtype="str")
    reasons = scorer.reasons(snapshots_of(1, **columns))
    return list(zip(reasons["text"], reasons["points"], strict=True))


def test_reasons_are_told_in_words() -> None:
    assert told(pricing_view_count_7d=4) == [
        ("Viewed pricing 4 times in the last 7 days (+20 points, at the cap)", 20)
    ]
    assert told(pricing_view_count_7d=1, visit_decayed_30d=1.234, any_days_since_last=45) == [
        ("Gone quiet (-8 points)", -8),
        ("Viewed pricing once in the last 7 days (+5 points)", 5),
        ("Visits (+2.5 points, halving every 30 days)", 2.5),
    ]
    assert told(industry="Software") == [
        ("Software (+30 points)", 30),
        ("Fit is capped at 25 (-5 points)", -5),
    ]
    assert told(account_employees=1)[0] == ("Disqualified: Tiny", -math.inf)
    assert told() == []


def test_grades_are_a_fit_letter_and_an_engagement_number() -> None:
    scorer = scorer_of(
        fit={"rules": [SOFTWARE], "grades": {"A": 30, "B": 10, "C": 0}},
        engagement={
            "grades": {"1": 20, "2": 10, "3": 5},
            "rules": [{"name": "Viewed", "event": "pricing_view", "window_days": 7,
                       "points_each": 5, "cap": 20}],
        },
        disqualify=[{"name": "Tiny", "feature": "account_employees", "below": 2}],
    )  # fmt: skip
    snapshots = snapshots_of(
        5,
        industry=pd.array(["Software", "Software", "Retail", "Retail", "Software"], dtype="str"),
        pricing_view_count_7d=[4, 3, 1, 0, 4],
        account_employees=[9, 9, 9, np.nan, 1],
    )
    assert scorer.grades(snapshots).tolist() == ["A1", "A2", "C3", "C4", "D4"]


def test_a_section_without_rules_has_its_lowest_grade() -> None:
    snapshots = snapshots_of(3, industry=pd.array(["Software"] * 3, dtype="str"))
    assert set(scorer_of(fit={"rules": [SOFTWARE]}).grades(snapshots)) == {"A4"}


def test_scores_are_those_of_the_model_and_points() -> None:
    snapshots = snapshots_of().set_axis(np.arange(60) * 3)
    scorer = rated(scorer_of(fit={"rules": [SOFTWARE]}), snapshots)
    scores = scorer.score(snapshots, num_threads=2)
    assert list(scores.columns) == ["lead_id", "account_id", "as_of", "probability", "raw_score",
                                    "grade", "qualified", "points"]  # fmt: skip
    assert scores.index.equals(snapshots.index)
    is_software = snapshots["industry"].eq("Software")
    assert (scores["points"] == np.where(is_software, 30, 0)).all()
    assert (scores["qualified"] == (is_software & snapshots["is_eligible"])).all()
    with pytest.raises(InputError, match="The snapshots lack 1 of 1 features"):
        scorer.points(snapshots.drop(columns="industry"))
    with pytest.raises(ValueError, match="no win rates yet"):
        scorer_of(fit={"rules": [SOFTWARE]}).score(snapshots)


def test_no_lead_at_all_is_scored_and_explained() -> None:
    none = snapshots_of(1).iloc[:0]
    scorer = rated(scorer_of(fit={"rules": [SOFTWARE]}), snapshots_of())
    assert len(scorer.score(none)) == 0
    assert list(scorer.reasons(none).columns) == ["lead_id", "as_of", "rank", "concept", "family",
                                                  "text", "points"]  # fmt: skip


def test_lines_that_may_be_slips_are_noted() -> None:
    scorer = scorer_of(
        fit={"rules": [{**SOFTWARE, "in": ["Software", "software", "IT"]}]},
        engagement={"rules": [{"name": "Never", "feature": "account_employees", "at_least": 1e6,
                               "points": 5}]},
    )  # fmt: skip
    assert scorer.notes(snapshots_of()) == (
        'Rule "Software": no lead has industry "software", "IT".',
        'Rule "Never": no lead meets it.',
    )


def test_rules_come_back_from_json_as_they_were() -> None:
    demo = json.loads(json.dumps(rated(demo_scorer(), small_examples().snapshots).to_dict()))
    again = RulesScorer.from_dict(demo)
    assert again.to_dict() == demo
    snapshots = small_examples().snapshots
    pd.testing.assert_frame_equal(
        again.score(snapshots), rated(demo_scorer(), snapshots).score(snapshots)
    )
    assert RulesScorer.from_dict(demo_scorer().to_dict()) == demo_scorer()


@pytest.mark.parametrize(
    "damage",
    [
        {"table": None},
        {"columns": []},
        {"columns": [{"name": "industry"}]},
        {"win_rates": {"points": [1, 1], "log_odds": [0, 1], "disqualified": 0}},
        {"win_rates": {"points": [1], "log_odds": [math.nan], "disqualified": 0}},
        {"win_rates": {"points": [1], "log_odds": [0], "disqualified": 2}},
        {"more": 1},
    ],
)
def test_damaged_rules_are_a_value_error(damage: dict[str, Any]) -> None:
    stored = scorer_of(fit={"rules": [SOFTWARE]}).to_dict()
    with pytest.raises(ValueError):
        RulesScorer.from_dict({**stored, **damage})


def demo_scorer() -> RulesScorer:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rules.toml"
        path.write_text(demo_rules())
        return RulesScorer.of(read_rules(path), small_examples().catalogue)


def test_the_demos_rules_fit_its_data_and_rank_its_leads() -> None:
    examples = small_examples()
    scorer = demo_scorer()
    assert scorer.notes(examples.snapshots) == ()
    points = scorer.points(examples.snapshots)
    won = examples.won > 0
    # a fair opponent: leads that won had more points than four in five of the others
    assert np.mean(points[won][:, None] > points[~won][None, :]) > 0.8
    rates = scorer.with_win_rates(points, examples.won, examples.weight).win_rates
    assert rates is not None
    told = rates.probability(points)
    assert np.average(told, weights=examples.weight) == pytest.approx(won.mean(), abs=0.005)
