import math
import warnings
from dataclasses import replace
from itertools import combinations
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_model import BENT, booster_of, small_scorer, small_snapshots, why

from features.catalogue.catalogue import Catalogue, Feature
from models.calibration import Calibration, sigmoid
from models.concepts import Concepts
from models.forest import Forest
from models.reasons import CALIBRATION, CHUNK_ROWS, point_factor, reasons, why_text
from models.scorer import Scorer
from models.wording import tell, tell_values

quick = settings(max_examples=100, deadline=None, derandomize=True)


@pytest.fixture(scope="module")
def snapshots() -> pd.DataFrame:
    return small_snapshots(400, seed=7)


@pytest.mark.parametrize(
    "calibration",
    [Calibration.identity(), Calibration.affine(0.6, -1), Calibration.affine(3, 4), BENT],
)
def test_reasons_sum_to_the_score(calibration: Calibration, snapshots: pd.DataFrame) -> None:
    scorer = small_scorer(calibration)
    scores = scorer.score(snapshots)
    told = reasons(scorer, snapshots)
    sums = told.groupby("lead_id", sort=False)[["log_odds", "points"]].sum()
    base = float(calibration.apply(scorer.base_raw_score))
    np.testing.assert_allclose(
        sums["log_odds"], calibration.apply(scores["raw_score"]) - base, atol=1e-6
    )
    np.testing.assert_allclose(sums["points"], scores["probability"] - sigmoid(base), atol=1e-6)
    assert (np.sign(told["log_odds"]) == np.sign(told["points"])).all()


def expected_of_tree(node: dict[str, Any], row: np.ndarray, known: frozenset[int]) -> float:
    """The tree's value when only the `known` features of `row` are: the others are averaged."""
    if "leaf_value" in node:
        return float(node["leaf_value"])
    left, right = node["left_child"], node["right_child"]
    if node["split_feature"] in known:
        value = row[node["split_feature"]]
        if np.isnan(value) and node["missing_type"] == "NaN":
            goes_left = node["default_left"]
        else:
            goes_left = np.nan_to_num(value) <= node["threshold"]
        return expected_of_tree(left if goes_left else right, row, known)
    counts = [side.get("internal_count", side.get("leaf_count")) for side in (left, right)]
    values = [expected_of_tree(side, row, known) for side in (left, right)]
    return float(np.average(values, weights=counts))


def shapley_values(trees: list[dict[str, Any]], row: np.ndarray) -> np.ndarray:
    """Shapley's definition, feature by feature and subset by subset."""
    size = len(row)
    worth = {
        known: sum(expected_of_tree(tree, row, known) for tree in trees)
        for length in range(size + 1)
        for known in map(frozenset, combinations(range(size), length))
    }
    return np.array(
        [
            sum(
                (worth[known | {feature}] - worth[known]) / (size * math.comb(size - 1, len(known)))
                for known in worth
                if feature not in known
            )
            for feature in range(size)
        ]
    )


def test_reasons_are_shapley_values_summed_by_concept(snapshots: pd.DataFrame) -> None:
    # shap's TreeExplainer hands LightGBM models to LightGBM, so it would be no oracle.
    scorer = small_scorer()
    rows = snapshots.head(4)
    trees = [tree["tree_structure"] for tree in booster_of(scorer).dump_model()["tree_info"]]
    features = scorer.catalogue.features
    told = reasons(scorer, rows)
    base = sum(expected_of_tree(tree, np.zeros(len(features)), frozenset()) for tree in trees)
    assert scorer.base_raw_score == pytest.approx(base, abs=1e-9)
    for lead_id, row in zip(rows["lead_id"], scorer.encoder.transform(rows), strict=True):
        found = told[told["lead_id"] == lead_id].set_index("concept")["log_odds"]
        values = shapley_values(trees, row)
        for concept in {feature.concept for feature in features}:
            expected = sum(
                value
                for value, feature in zip(values, features, strict=True)
                if feature.concept == concept
            )
            assert found.get(concept, 0.0) == pytest.approx(expected, abs=1e-9)


def test_reasons_are_ordered_by_strength_with_the_calibration_last(snapshots: pd.DataFrame) -> None:
    told = reasons(small_scorer(), snapshots)
    assert told["lead_id"].drop_duplicates().tolist() == snapshots["lead_id"].tolist()
    for _, lead in told.groupby("lead_id", sort=False):
        assert lead["rank"].tolist() == list(range(1, len(lead) + 1))
        assert lead["concept"].is_unique
        assert lead["concept"].iloc[-1] == CALIBRATION
        strength = lead["points"].iloc[:-1].abs()
        assert strength.is_monotonic_decreasing
        assert (strength > 0).all()


def test_a_reason_is_told_by_the_value_that_moves_it_its_way(snapshots: pd.DataFrame) -> None:
    scorer = small_scorer()
    contributions = np.asarray(
        booster_of(scorer).predict(scorer.encoder.transform(snapshots), pred_contrib=True)
    )
    told = reasons(scorer, snapshots)
    pricing = told[told["concept"] == "pricing_view"].set_index("lead_id")
    features = scorer.catalogue.features
    for row, lead_id in enumerate(snapshots["lead_id"]):
        signed = contributions[row, 1:4] * np.sign(contributions[row, 1:4].sum())
        feature = features[1 + int(np.argmax(signed))]
        value = float(snapshots[feature.name].iloc[row])
        assert pricing.loc[lead_id, "text"] == tell(feature, value)


def feature_of(name: str, aggregation: str, concept: str = "visits") -> Feature:
    return Feature(name, "engagement", concept, aggregation)


@pytest.mark.parametrize(
    ("contributions", "total", "teller"),
    [
        ([3.0, 1.0, -0.5, 9.0], 3.5, 1),  # a decayed count moves most, a plain value tells
        ([3.0, -1.0, -0.5, 9.0], 1.5, 0),  # no plain value moves it this way
        ([-1.0, -0.5, -2.0, 9.0], -3.5, 2),
        ([-3.0, 0.5, 1.0, 9.0], -1.5, 0),
        ([0.0, 0.0, 0.0, 9.0], 0.0, 0),
        ([2.0, 1.0, 1.0, 9.0], 4.0, 1),  # the first of equals
    ],
)
def test_a_plain_value_tells_before_a_decayed_count(
    contributions: list[float], total: float, teller: int
) -> None:
    features = (
        feature_of("visit_decayed_30d", "decayed_count"),
        feature_of("visit_count_7d", "count"),
        feature_of("visit_count_30d", "count"),
        feature_of("employees", "attribute", "size"),
    )
    sums, tellers = Concepts.of(Catalogue(features)).sums(np.array([contributions]))
    assert sums.tolist() == [[total, 9.0, 0.0]]
    assert tellers.tolist() == [[teller, 3, -1]]


def test_values_are_told_as_they_are(snapshots: pd.DataFrame) -> None:
    lead = snapshots.iloc[[0]].assign(
        industry=pd.array(["Farming"], dtype="str"),
        visit_recency=np.float32(np.nan),
        colleagues_active=np.float32(0),
        employees=np.float32(1234567),
    )
    texts = reasons(small_scorer(), lead)["text"].tolist()
    for text in (
        "Industry: Farming (rare or new)",
        "No visit so far",
        "No colleague active",
        "Employees: 1,234,567",
    ):
        assert text in texts


def test_reasons_do_not_depend_on_who_else_is_asked_about() -> None:
    rows = small_snapshots(CHUNK_ROWS + 2, seed=9)
    scorer = small_scorer()
    last = rows.tail(3)
    together = reasons(scorer, rows, num_threads=2)
    expected = reasons(scorer, last)
    pd.testing.assert_frame_equal(together.tail(len(expected)).reset_index(drop=True), expected)


def test_a_model_that_knows_nothing_has_only_the_calibration_to_tell() -> None:
    scorer = small_scorer()
    matrix = np.zeros((100, len(scorer.encoder.columns)))
    booster = lgb.train(
        {"objective": "binary", "verbose": -1, "num_threads": 1},
        lgb.Dataset(matrix, np.arange(100) % 2.0),
        num_boost_round=2,
    )
    forest = Forest.of_text(booster.model_to_string())
    blind: Scorer = replace(scorer, forest=forest, base_raw_score=forest.base_raw_score)
    told = reasons(blind, small_snapshots(3))
    assert told["concept"].tolist() == [CALIBRATION] * 3
    assert told["points"].tolist() == pytest.approx([0, 0, 0])
    assert why(told.head(1)) == "Why: nothing sets this lead apart from the average"


def test_no_leads_have_no_reasons() -> None:
    assert reasons(small_scorer(), small_snapshots(3).iloc[:0]).empty


@quick
@given(st.floats(-30, 30), st.floats(-30, 30))
def test_points_of_the_whole_difference_are_the_difference(z: float, base: float) -> None:
    factor = point_factor([z], base)
    assert factor[0] > 0
    assert factor[0] * (z - base) == pytest.approx(
        float(sigmoid(z)) - float(sigmoid(base)), abs=1e-12
    )


@pytest.mark.parametrize("step", [0.0, 1e-12, 1e-7, 9e-6, 1.1e-5])
def test_points_close_to_the_base_have_their_limit(step: float) -> None:
    p = 1 / (1 + np.exp(2.0))
    assert point_factor([-2 + step], -2.0)[0] == pytest.approx(p * (1 - p), rel=1e-4)


@quick
@given(
    st.lists(st.tuples(st.text(min_size=1, max_size=300), st.floats(-1, 1)), max_size=12),
    st.integers(60, 255),
)
def test_the_why_never_exceeds_its_limit_and_never_cuts_a_later_reason(
    pairs: list[tuple[str, float]], limit: int
) -> None:
    texts, points = [text for text, _ in pairs], [point for _, point in pairs]
    text = why_text(texts, points, limit)
    assert len(text) <= limit
    assert text.startswith("Why: ")
    if "… (" not in text:
        assert text == why_text(texts, points, 10**6)[: len(text)]


def test_a_first_reason_that_is_too_long_is_cut_but_keeps_its_points() -> None:
    text = why_text(["x" * 400], [0.2], limit=100)
    assert len(text) == 100
    assert text.endswith("x… (+20 points)")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "Last visit less than a day ago"),
        (1.0, "Last visit 1 day ago"),
        (3.4, "Last visit 3 days ago"),
        (np.nan, "No visit so far"),
    ],
)
def test_days_are_told_whole(value: float, text: str) -> None:
    feature = small_scorer().catalogue.features[4]
    assert tell_values(feature, pd.Series([value], dtype="float32")).tolist() == [text]


def test_a_value_with_braces_or_line_breaks_stays_one_plain_line() -> None:
    feature = Feature("x", "fit", "x", "attribute", dtype="category", wording="Said: {value}")
    assert tell(feature, "{value}\n=cmd\x00|") == "Said: {value} =cmd |"


def test_a_missing_value_without_wording_is_named() -> None:
    feature = Feature("annual_revenue", "fit", "x", "attribute")
    assert tell_values(feature, pd.Series([np.nan]))[0] == "Annual revenue is unknown"


def test_contributions_are_the_tree_explainers_own() -> None:
    """Shap's explainer asks LightGBM itself, so this holds the version in use to its word."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # shap's imports and LightGBM's binary output warn
        import shap

        scorer, snapshots = small_scorer(), small_snapshots(200, seed=5)
        explainer = shap.TreeExplainer(booster_of(scorer))
        matrix = scorer.encoder.transform(snapshots)
        expected = explainer.shap_values(matrix)
    explained = reasons(scorer, snapshots)
    told = explained[explained["family"] != "calibration"]
    found = told.groupby("lead_id")["log_odds"].sum().loc[snapshots["lead_id"]]
    np.testing.assert_allclose(found, expected.sum(axis=1), atol=1e-6)
    assert explainer.expected_value == pytest.approx(scorer.base_raw_score, abs=1e-6)
