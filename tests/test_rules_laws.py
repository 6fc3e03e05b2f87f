"""Points rules: equal to a slow count, and lawful whatever the table says."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from points_rules import CATALOGUE, SOFTWARE, rated, scorer_of, snapshots_of

from models.rules import RulesScorer
from models.rules_columns import column_of
from models.rules_table import Condition, Rule, Section

COUNTS = ("pricing_view_count_7d", "pricing_view_decayed_30d", "account_employees")


@st.composite
def rule(draw: st.DrawFn, signs: tuple[int, ...] = (1, -1)) -> dict[str, Any]:
    sign = draw(st.sampled_from(signs))
    tenths = st.integers(1, 300).map(lambda n: sign * n / 10)
    if draw(st.booleans()):
        each = draw(tenths)
        cap = round(each * draw(st.sampled_from([1, 2, 3.5])), 1)
        cap = max(cap, each, key=abs)
        return {"feature": draw(st.sampled_from(COUNTS)), "points_each": each, "cap": cap}
    asked = draw(
        st.sampled_from(
            [
                {"feature": "industry", "in": ["Software", "Health"]},
                {"feature": "industry", "in": ["Retail"], "missing": True},
                {"feature": "account_employees", "at_least": 2, "below": 5},
                {"feature": "any_days_since_last", "below": 2, "missing": True},
                {"event": "pricing_view", "window_days": 7},
                {"event": "pricing_view", "window_days": 30, "at_least": 3},
                {"event": "visit", "half_life_days": 30, "below": 2.5},
            ]
        )
    )
    return {**asked, "points": draw(tenths)}


@st.composite
def sections(draw: st.DrawFn) -> dict[str, Any]:
    """Sections with some rules each, one of them positive, and a disqualifier or none."""
    fit, engagement = (draw(st.lists(rule(), max_size=4)) for _ in range(2))
    fit = [{"feature": "industry", "in": ["Health"], "points": 5}, *fit]
    number = iter(range(100))
    told = {
        name: {
            "max": draw(st.sampled_from([10, 33.3, 500])),
            "rules": [{"name": f"rule {next(number)}", **each} for each in rules],
        }
        for name, rules in (("fit", fit), ("engagement", engagement))
    }
    out = {"name": "out", "event": "visit", "window_days": 7, "at_least": 4}
    return {**told, "disqualify": draw(st.sampled_from([[], [out]]))}


def meets(line: Condition, value: Any) -> bool:
    """The slow, obvious question."""
    if value is None or value != value:
        return line.missing
    if line.one_of is not None:
        return value in line.one_of
    if line.is_any:
        return line.event is not None and value > 0
    high, low = line.below, line.at_least
    return (low is None or value >= low) and (high is None or value < high)


def slow_points(scorer: RulesScorer, row: dict[str, Any]) -> float:
    def value(line: Condition) -> Any:
        return row[column_of(line, CATALOGUE).name]

    def given(line: Rule) -> float:
        if line.points is not None:
            return line.points if meets(line, value(line)) else 0
        times = 0 if math.isnan(value(line)) else max(value(line), 0)
        points = round(times * (line.points_each or 0), 1)
        return points if line.cap is None or abs(points) < abs(line.cap) else line.cap

    def total(section: Section) -> float:
        points = [given(line) for line in section.rules]
        gained, lost = sum(p for p in points if p > 0), sum(p for p in points if p < 0)
        return min(gained, math.inf if section.max is None else section.max) + lost

    if any(meets(line, value(line)) for line in scorer.table.disqualify):
        return -math.inf
    return total(scorer.table.fit) + total(scorer.table.engagement)


@settings(max_examples=60, deadline=None)
@given(sections(), st.integers(0, 10**6))
def test_points_are_those_of_a_slow_count(table: dict[str, Any], seed: int) -> None:
    scorer, snapshots = scorer_of(1, **table), snapshots_of(seed=seed)
    slow = [slow_points(scorer, row) for row in snapshots.to_dict("records")]
    np.testing.assert_allclose(scorer.points(snapshots), slow, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(sections(), rule(signs=(1,)), st.sampled_from(["fit", "engagement"]))
def test_one_more_positive_rule_never_lowers_anyones_points(
    table: dict[str, Any], more: dict[str, Any], where: str
) -> None:
    snapshots = snapshots_of()
    before = scorer_of(1, **table).points(snapshots)
    rules = [*table[where]["rules"], {"name": "one more", **more}]
    after = scorer_of(1, **{**table, where: {**table[where], "rules": rules}}).points(snapshots)
    assert (after >= before).all()


@settings(max_examples=30, deadline=None)
@given(sections(), rule(signs=(-1,)), st.sampled_from(["fit", "engagement"]))
def test_one_more_negative_rule_counts_in_full_even_above_the_maximum(
    table: dict[str, Any], more: dict[str, Any], where: str
) -> None:
    snapshots = snapshots_of()
    before = scorer_of(1, **table)
    rules = [*table[where]["rules"], {"name": "one more", **more}]
    after = scorer_of(1, **{**table, where: {**table[where], "rules": rules}}).points(snapshots)
    alone = scorer_of(
        1, fit={"rules": [SOFTWARE]}, engagement={"rules": [{"name": "alone", **more}]}
    ).section_points(snapshots)[1]
    np.testing.assert_allclose(after, before.points(snapshots) + alone, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(sections(), st.lists(st.integers(1, 600), min_size=2, max_size=5))
def test_a_higher_threshold_never_adds_an_mql(table: dict[str, Any], tenths: list[int]) -> None:
    snapshots = snapshots_of()
    scorer = rated(scorer_of(1, **table), snapshots)
    qualified = [
        scorer.with_threshold(threshold / 10).score(snapshots)["qualified"].to_numpy()
        for threshold in sorted(tenths)
    ]
    for lower, higher in pairwise(qualified):
        assert (lower >= higher).all()
    assert not (qualified[0] & ~snapshots["is_eligible"]).any()


@settings(max_examples=30, deadline=None)
@given(sections(), st.integers(0, 10**6))
def test_reasons_add_up_to_the_points_strongest_first(table: dict[str, Any], seed: int) -> None:
    scorer, snapshots = scorer_of(1, **table), snapshots_of(seed=seed)
    told = scorer.reasons(snapshots)
    totals = told.groupby("lead_id")["points"].sum().reindex(snapshots["lead_id"], fill_value=0.0)
    np.testing.assert_allclose(totals, scorer.points(snapshots), atol=1e-9)
    assert (told["points"] != 0).all()
    for _, rows in told.groupby("lead_id"):
        assert rows["rank"].tolist() == list(range(1, len(rows) + 1))
        strength = rows.loc[rows["concept"] != "maximum", "points"].abs()
        assert (strength.diff().dropna() <= 0).all() or np.isinf(strength).any()


@settings(max_examples=20, deadline=None)
@given(sections(), st.randoms(use_true_random=False))
def test_neither_row_order_nor_company_changes_a_leads_score(table: dict[str, Any], dice) -> None:
    snapshots = snapshots_of()
    scorer = rated(scorer_of(1, **table), snapshots)
    whole = scorer.score(snapshots)
    order = list(range(len(snapshots)))
    dice.shuffle(order)
    pd.testing.assert_frame_equal(scorer.score(snapshots.iloc[order]), whole.iloc[order])
    pd.testing.assert_frame_equal(scorer.score(snapshots.iloc[7:8]), whole.iloc[7:8])
    told = scorer.reasons(snapshots.iloc[order])
    alone = scorer.reasons(snapshots.iloc[7:8])
    mine = told[told["lead_id"] == "lead-7"].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, mine)
