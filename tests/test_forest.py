"""Our own reading of LightGBM's forests, against LightGBM and shap."""

import warnings
from fractions import Fraction
from itertools import pairwise
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import models.forest_tables
from models.forest import Forest
from models.forest_kernels import BLOCK

QUIET = {"objective": "binary", "verbose": -1, "num_threads": 1, "deterministic": True, "seed": 0}


def rows_of(rows: int, features: int, missing: float, seed: int) -> np.ndarray:
    """Counts, measures and a constant column, with gaps."""
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(rows, features)).round(1)
    matrix[:, ::3] = generator.poisson(1.5, size=matrix[:, ::3].shape)
    matrix[generator.random(matrix.shape) < missing] = np.nan
    matrix[:, -1] = 7.0
    return matrix


def won_of(matrix: np.ndarray, seed: int) -> np.ndarray:
    filled = np.nan_to_num(matrix, nan=-0.7)
    log_odds = filled[:, 0] - filled[:, 1] * filled[:, 2 % filled.shape[1]]
    return (np.random.default_rng(seed).random(len(matrix)) < 1 / (1 + np.exp(-log_odds))) * 1.0


def trained(matrix: np.ndarray, trees: int = 20, seed: int = 1, **parameters: Any) -> lgb.Booster:
    data = lgb.Dataset(matrix, won_of(matrix, seed))
    return lgb.train(QUIET | parameters, data, trees)


def asked_of(booster: lgb.Booster, matrix: np.ndarray) -> np.ndarray:
    """Rows of training, rows on the thresholds themselves, and rows no training has seen."""
    trees = Forest.of_text(booster.model_to_string()).trees
    on_threshold = np.tile(matrix[0], (len(trees.nodes), 1))
    on_threshold[np.arange(len(trees.nodes)), trees.nodes["feature"]] = trees.nodes["threshold"]
    odd = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-300, -1e-300, 1e-35, -1e300])
    return np.vstack([matrix, on_threshold, np.tile(odd[:, None], matrix.shape[1])])


def assert_same(booster: lgb.Booster, rows: np.ndarray) -> Forest:
    forest = Forest.of_text(booster.model_to_string())
    np.testing.assert_array_equal(
        forest.raw_scores(rows), booster.predict(rows, raw_score=True, num_threads=1)
    )
    expected = np.asarray(booster.predict(rows, pred_contrib=True, num_threads=1))
    found = forest.contributions(rows)
    scale = np.abs(forest.trees.leaf_values).sum() + 1
    np.testing.assert_allclose(found, expected[:, :-1], rtol=0, atol=1e-9 * scale)
    np.testing.assert_allclose(forest.base_raw_score, expected[0, -1], rtol=1e-12, atol=1e-12)
    return forest


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    shape=st.tuples(st.integers(30, 300), st.integers(2, 7)),
    missing=st.sampled_from([0.0, 0.1, 0.8]),
    parameters=st.fixed_dictionaries(
        {
            "num_leaves": st.integers(2, 40),
            "max_depth": st.sampled_from([-1, 2, 5]),
            "min_data_in_leaf": st.integers(1, 20),
            "use_missing": st.booleans(),
            "feature_fraction": st.sampled_from([0.5, 1.0]),
            "bagging_freq": st.sampled_from([0, 1]),
            "bagging_fraction": st.just(0.6),
        }
    ),
    seed=st.integers(0, 10_000),
)
def test_a_forest_scores_and_explains_as_lightgbm_does(
    shape: tuple[int, int], missing: float, parameters: dict[str, Any], seed: int
) -> None:
    matrix = rows_of(*shape, missing, seed)
    booster = trained(matrix, seed=seed, trees=6, **parameters)
    assert_same(booster, asked_of(booster, matrix[:100]))


def exact_contributions(node: dict[str, Any], row: np.ndarray) -> dict[int, Fraction]:
    """The SHAP values of one tree in fractions: no digit is lost, however deep it is."""
    total: dict[int, Fraction] = {}

    def count(of: dict[str, Any]) -> int:
        return int(of.get("internal_count", of.get("leaf_count")))

    def visit(node: dict[str, Any], met: dict[int, bool], share: dict[int, Fraction]) -> None:
        if "leaf_value" in node:
            for feature in met:
                # the coefficients of the product over all others, integrated term by term
                product = [Fraction(1)]
                for other in met.keys() - {feature}:
                    slope = met[other] - share[other]
                    padded = [Fraction(0), *product, Fraction(0)]
                    product = [b * share[other] + a * slope for a, b in pairwise(padded)]
                weight = sum(c / (power + 1) for power, c in enumerate(product))
                gain = Fraction(node["leaf_value"]) * (met[feature] - share[feature]) * weight
                total[feature] = total.get(feature, Fraction(0)) + gain
            return
        feature = node["split_feature"]
        for side in ("left", "right"):
            child = node[f"{side}_child"]
            goes = (row[feature] <= node["threshold"]) == (side == "left")
            ratio = Fraction(count(child), count(node))
            visit(
                child,
                met | {feature: met.get(feature, True) and goes},
                share | {feature: share.get(feature, Fraction(1)) * ratio},
            )

    visit(node, {}, {})
    return total


def test_leaves_too_deep_for_a_table_are_explained_exactly() -> None:
    # LightGBM's own contributions add up to the raw score to 1e-9 only where trees are this deep.
    generator = np.random.default_rng(4)
    matrix = generator.normal(size=(3_000, 16))
    won = matrix.max(axis=1) < 2.0  # each split cuts one corner off: a chain
    parameters = QUIET | {"num_leaves": 24, "min_data_in_leaf": 5}
    booster = lgb.train(parameters, lgb.Dataset(matrix, won), 1)
    forest = Forest.of_text(booster.model_to_string())
    rows = asked_of(booster, matrix[:60])
    rows = rows[~np.isnan(rows).any(axis=1)]
    assert forest.tables().long_leaves["n_terms"].max() > 9
    np.testing.assert_array_equal(forest.raw_scores(rows), booster.predict(rows, raw_score=True))
    found = forest.contributions(rows)
    (tree,) = booster.dump_model()["tree_info"]
    for row in range(0, len(rows), 25):
        exact = exact_contributions(tree["tree_structure"], rows[row])
        expected = [float(exact.get(feature, 0)) for feature in range(16)]
        np.testing.assert_allclose(found[row], expected, rtol=1e-12, atol=1e-14)


def test_smaller_tables_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = rows_of(500, 6, 0.2, 3)
    booster = trained(matrix, num_leaves=15)
    whole = Forest.of_text(booster.model_to_string())
    n_cells = len(whole.tables().cells)
    monkeypatch.setattr(models.forest_tables, "MOST_CELLS", n_cells // 3)
    small = Forest.of_text(whole.text)
    assert len(small.tables().cells) <= n_cells // 3
    assert len(small.tables().groups) > 0
    assert len(small.tables().long_leaves) > 0
    np.testing.assert_allclose(small.contributions(matrix), whole.contributions(matrix), atol=1e-12)


def test_a_forest_is_explained_as_shap_explains_it() -> None:
    matrix = rows_of(800, 9, 0.1, 5)
    booster = trained(matrix, trees=60, num_leaves=15, max_depth=5, min_data_in_leaf=20)
    forest = assert_same(booster, matrix)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # shap's imports and LightGBM's binary output warn
        import shap

        explainer = shap.TreeExplainer(booster)
        expected = explainer.shap_values(matrix)
    np.testing.assert_allclose(forest.contributions(matrix), expected, atol=1e-9)
    assert explainer.expected_value == pytest.approx(forest.base_raw_score, abs=1e-9)


def test_contributions_add_up_to_the_raw_score() -> None:
    matrix = rows_of(700, 8, 0.2, 6)
    forest = Forest.of_text(trained(matrix, trees=40, num_leaves=15).model_to_string())
    sums = forest.contributions(matrix).sum(axis=1) + forest.base_raw_score
    np.testing.assert_allclose(sums, forest.raw_scores(matrix), atol=1e-12)


@pytest.mark.parametrize("leaves", [15, 40])
def test_one_row_has_the_same_bits_alone_and_among_others_whatever_the_threads(leaves: int) -> None:
    matrix = rows_of(2 * BLOCK + 40, 6, 0.2, 7)
    booster = trained(matrix, num_leaves=leaves, min_data_in_leaf=1)
    forest = Forest.of_text(booster.model_to_string())
    raw, contributions = forest.raw_scores(matrix), forest.contributions(matrix)
    for threads in (2, 3):
        np.testing.assert_array_equal(forest.raw_scores(matrix, threads), raw)
        np.testing.assert_array_equal(forest.contributions(matrix, threads), contributions)
    for row in range(0, len(matrix), 9):
        alone = matrix[[row]]
        np.testing.assert_array_equal(forest.raw_scores(alone), raw[[row]])
        np.testing.assert_array_equal(forest.contributions(alone), contributions[[row]])


def test_trees_of_one_leaf_explain_nothing() -> None:
    matrix = np.zeros((100, 3))
    forest = assert_same(lgb.train(QUIET, lgb.Dataset(matrix, np.arange(100) % 4 == 0), 3), matrix)
    assert forest.n_trees == 1
    assert not forest.contributions(matrix).any()


def test_no_rows_have_no_scores() -> None:
    matrix = rows_of(200, 4, 0.1, 2)
    forest = Forest.of_text(trained(matrix).model_to_string())
    assert forest.raw_scores(matrix[:0]).shape == (0,)
    assert forest.contributions(matrix[:0], num_threads=2).shape == (0, 4)


def test_a_matrix_of_other_features_is_refused() -> None:
    matrix = rows_of(200, 4, 0.1, 2)
    forest = Forest.of_text(trained(matrix).model_to_string())
    for wrong in (matrix[:, :3], matrix[0]):
        with pytest.raises(ValueError, match="4 features"):
            forest.raw_scores(wrong)
        with pytest.raises(ValueError, match="4 features"):
            forest.contributions(wrong)


def test_any_layout_of_the_matrix_gives_the_same_scores() -> None:
    matrix = rows_of(300, 6, 0.1, 2).astype(np.float32)
    forest = Forest.of_text(trained(matrix).model_to_string())
    expected = forest.contributions(matrix.astype(np.float64))
    for turned in (matrix, np.asfortranarray(matrix), np.repeat(matrix, 2, axis=0)[::2]):
        np.testing.assert_array_equal(forest.contributions(turned), expected)
