"""Damaged and foreign text models: refused with a ValueError, or the same scores as before."""

import random
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from test_forest import QUIET, rows_of, trained

from models.forest import Forest

MATRIX = rows_of(300, 6, 0.2, 11)


@cache
def text_of_three_trees() -> str:
    return trained(MATRIX, trees=3, num_leaves=7).model_to_string()


def outcome(text: str) -> np.ndarray | None:
    """Raw scores and contributions side by side; None where the text is refused."""
    try:
        forest = Forest.of_text(text)
    except ValueError:
        return None
    rows = np.ones((50, min(forest.n_features, 100))) * np.linspace(-3, 3, 50)[:, None]
    rows = MATRIX if forest.n_features == 6 else rows
    if rows.shape[1] != forest.n_features:
        return None
    return np.column_stack([forest.raw_scores(rows), forest.contributions(rows)])


def assert_refused_or_the_same(text: str) -> None:
    found = outcome(text)
    if found is not None:
        expected = outcome(text_of_three_trees())
        assert expected is not None
        np.testing.assert_array_equal(found, expected)


def test_a_dropped_line_is_refused_unless_it_says_nothing_of_the_scores() -> None:
    lines = text_of_three_trees().split("\n")
    first, last = lines.index("Tree=0"), lines.index("end of trees")
    for number in range(len(lines)):
        text = "\n".join(lines[:number] + lines[number + 1 :])
        assert_refused_or_the_same(text)
        if first <= number <= last:
            assert outcome(text) is None


def test_a_doubled_line_is_refused_unless_it_says_nothing_of_the_scores() -> None:
    lines = text_of_three_trees().split("\n")
    for number in range(lines.index("end of trees") + 1):
        text = "\n".join([*lines[: number + 1], *lines[number:]])
        assert_refused_or_the_same(text)


def test_a_truncated_text_is_refused_unless_its_trees_are_whole() -> None:
    text = text_of_three_trees()
    whole = text.index("end of trees")
    for length in range(0, len(text), 7):
        if length <= whole:
            with pytest.raises(ValueError, match=r"."):
                Forest.of_text(text[:length])
        else:
            assert_refused_or_the_same(text[:length])


def test_a_changed_letter_never_hangs_or_crashes_and_moves_at_most_its_own_number() -> None:
    text = text_of_three_trees()
    begin, end = text.index("Tree=0"), text.index("end of trees")
    draw = random.Random(5)
    expected = outcome(text)
    refused = changed = 0
    for place in draw.sample(range(end), 1_200):
        other = draw.choice("0123456789-. =_e\nx")
        if other == text[place]:
            continue
        found = outcome(text[:place] + other + text[place + 1 :])
        refused += found is None
        if found is None or (expected is not None and np.array_equal(found, expected)):
            continue
        changed += 1
        # Only where LightGBM wrote a number that trees are made of could scores move.
        line = text[: text.index("\n", place)].rsplit("\n", 1)[-1]
        assert place > begin
        assert line.startswith(
            ("threshold=", "leaf_value=", "decision_type=", "split_feature=", "leaf_count=",
             "left_child=", "right_child=")
        ), line  # fmt: skip
    assert refused > 200
    assert changed > 50


def edit(key: str, new: Callable[[list[int]], list[int]], tree: int = 1) -> str:
    """The three trees with one array of one tree changed, and tree_sizes made right again."""
    parts = re.split(r"(?=Tree=\d)|(?=end of trees)", text_of_three_trees())
    line = re.search(rf"^{key}=(.*)$", parts[1 + tree], re.MULTILINE)
    assert line is not None
    values = new([int(value) for value in line[1].split()])
    changed = " ".join(map(str, values))
    parts[1 + tree] = parts[1 + tree].replace(line[0], f"{key}={changed}")
    return with_sizes("".join(parts))


def with_sizes(text: str) -> str:
    """The text with its tree_sizes made right."""
    parts = re.split(r"(?=Tree=\d)|(?=end of trees)", text)
    sizes = " ".join(str(len(part)) for part in parts[1:-1])
    return re.sub(r"tree_sizes=.*", f"tree_sizes={sizes}", text)


def test_a_tree_of_one_leaf_among_others_adds_the_same_to_every_row() -> None:
    one_leaf = (
        "Tree=1\nnum_leaves=1\nnum_cat=0\nsplit_feature=\nsplit_gain=\nthreshold=\n"
        "decision_type=\nleft_child=\nright_child=\nleaf_value=0.25\nleaf_weight=\n"
        "leaf_count={}\ninternal_value=\ninternal_weight=\ninternal_count=\nis_linear=0\n"
        "shrinkage=1\n\n\n"
    )
    before = re.sub(r"(?s)Tree=1.*(?=Tree=2)", "", text_of_three_trees()).replace(
        "Tree=2", "Tree=1"
    )
    for count in ("", "0", "300"):
        text = re.sub(r"(?s)Tree=1.*(?=Tree=2)", one_leaf.format(count), text_of_three_trees())
        forest, without = Forest.of_text(with_sizes(text)), Forest.of_text(with_sizes(before))
        booster = lgb.Booster(model_str=with_sizes(text))
        expected = booster.predict(MATRIX, raw_score=True)
        np.testing.assert_array_equal(forest.raw_scores(MATRIX), expected)
        np.testing.assert_array_equal(forest.contributions(MATRIX), without.contributions(MATRIX))
        assert forest.base_raw_score == pytest.approx(without.base_raw_score + 0.25, abs=1e-12)


def test_the_edit_of_these_tests_keeps_a_sound_text() -> None:
    assert edit("left_child", lambda values: values) == text_of_three_trees()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (lambda: edit("left_child", lambda v: [0, *v[1:]]), "before its parent"),
        (lambda: edit("left_child", lambda v: [v[0], 0, *v[2:]]), "before its parent"),
        (lambda: edit("left_child", lambda v: [v[0], 1, *v[2:]]), "before its parent"),
        (lambda: edit("left_child", lambda v: [77, *v[1:]]), "out of range"),
        (lambda: edit("left_child", lambda v: [-77, *v[1:]]), "out of range"),
        (lambda: edit("right_child", lambda v: [10**30, *v[1:]]), "out of range"),
        (lambda: edit("right_child", lambda v: [v[-1], *v[1:]]), "never, or twice|parent"),
        (lambda: edit("left_child", lambda v: [77, *v]), "entries in left_child"),
        (lambda: edit("left_child", lambda v: v[1:]), "entries in left_child"),
        (lambda: edit("split_feature", lambda v: [6, *v[1:]]), "split_feature is out of range"),
        (lambda: edit("split_feature", lambda v: [-1, *v[1:]]), "split_feature is out of range"),
        (lambda: edit("leaf_count", lambda v: [0, *v[1:]]), "leaf_count"),
        (lambda: edit("leaf_count", lambda v: [-5, *v[1:]]), "leaf_count"),
        (lambda: edit("leaf_count", lambda v: [v[0] + 1, *v[1:]]), "sum of its children"),
        (lambda: edit("internal_count", lambda v: [v[0] + 1, *v[1:]]), "sum of its children"),
        (lambda: edit("decision_type", lambda v: [1, *v[1:]]), "categorical"),
        (lambda: edit("decision_type", lambda v: [6, *v[1:]]), "zeros for missing"),
        (lambda: edit("num_cat", lambda _: [1]), "categorical"),
        (lambda: edit("is_linear", lambda _: [1]), "linear"),
        (lambda: edit("num_leaves", lambda _: [10**12]), "entries in"),
        (lambda: edit("num_leaves", lambda _: [0]), "entries in"),
        (lambda: edit("Tree", lambda _: [2]), "lines it must have"),
    ],
)  # fmt: skip
def test_damage_that_fits_the_lengths_is_named(text: Callable[[], str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Forest.of_text(text())


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "1_0", "0x1", "\u0663"])
def test_a_leaf_is_a_finite_number_as_lightgbm_writes_it(value: str) -> None:
    text = re.sub(
        r"(Tree=1\n(?:.*\n)*?leaf_value=)\S+", rf"\g<1>{value}", text_of_three_trees(), count=1
    )
    text = with_sizes(text)
    with pytest.raises(ValueError, match=r"no number|plain text"):
        Forest.of_text(text)


@pytest.mark.parametrize(
    "text",
    ["", "\n\n", "tree", "tree\nversion=v4\n\n", "tree\nversion=v3\n\nTree=0", "{}", "\0" * 99],
)
def test_what_is_no_model_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Forest.of_text(text)


@pytest.mark.parametrize("value", ["", " ", "1 3"])
def test_a_number_of_the_header_is_one_number(value: str) -> None:
    with pytest.raises(ValueError, match="more or less than one"):
        Forest.of_text(text_of_three_trees().replace("num_class=1", f"num_class={value}", 1))


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"zero_as_missing": True}, "zeros for missing"),
        ({"linear_tree": True}, "does not have the lines|linear"),
        ({"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}, "averages"),
        ({"objective": "multiclass", "num_class": 3}, "num_class"),
    ],
)
def test_models_of_other_kinds_are_refused(parameters: dict[str, Any], words: str) -> None:
    label = np.arange(300) % 3 if "num_class" in parameters else np.arange(300) % 2
    matrix = np.nan_to_num(MATRIX) + np.arange(300)[:, None] % 5
    booster = lgb.train(QUIET | parameters, lgb.Dataset(matrix, label), 2)
    with pytest.raises(ValueError, match=words):
        Forest.of_text(booster.model_to_string())


def test_a_model_with_category_splits_is_refused() -> None:
    matrix = np.column_stack([np.arange(600) % 20, np.zeros(600)])
    won = np.isin(matrix[:, 0], [1, 5, 6, 11, 17])
    data = lgb.Dataset(matrix, won, categorical_feature=[0])
    booster = lgb.train(QUIET | {"min_data_per_group": 5}, data, 2)
    with pytest.raises(ValueError, match=r"lines it must have|categorical"):
        Forest.of_text(booster.model_to_string())


def test_a_thousand_splits_one_below_the_other_are_no_way_to_hang() -> None:
    size = 1_000
    chain = {
        "num_leaves": size + 1, "num_cat": 0,
        "split_feature": [0] * size, "split_gain": [1] * size, "threshold": [0.5] * size,
        "decision_type": [2] * size,
        "left_child": [*range(1, size), -1 - size], "right_child": [-1 - k for k in range(size)],
        "leaf_value": [0.1] * (size + 1), "leaf_weight": [1] * (size + 1),
        "leaf_count": [1] * (size + 1), "internal_value": [0] * size,
        "internal_weight": [1] * size, "internal_count": [*range(size + 1, 1, -1)],
        "is_linear": 0, "shrinkage": 1,
    }  # fmt: skip
    told = {key: " ".join(map(str, v)) if isinstance(v, list) else v for key, v in chain.items()}
    body = "Tree=0\n" + "".join(f"{key}={value}\n" for key, value in told.items()) + "\n\n"
    text = (
        "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx=0\n"
        f"tree_sizes={len(body)}\n\n{body}end of trees\n"
    )
    forest = Forest.of_text(text)
    rows = np.array([[0.0], [1.0], [np.nan]])
    np.testing.assert_allclose(forest.raw_scores(rows), 0.1)
    np.testing.assert_allclose(forest.contributions(rows), 0.0, atol=1e-12)
