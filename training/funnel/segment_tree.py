"""Readable segments: a shallow tree over the model's score, in words, measured on test rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from features.catalogue.feature import Feature
from models.cutoff import Estimate
from training.evaluation import Evaluation
from training.examples import Examples
from training.funnel.conditions import Condition, frequent_values, is_whole, readable, rounded
from training.funnel.rates import estimates, tallies, with_rates

DEPTH = 3
WINS_A_LEAF = 15
"A leaf holds as many fit rows as would have this many wins at the base rate."
MOST_VALUES = 12


@dataclass(frozen=True)
class Segment:
    """One segment: its rule, and its test rows."""

    rule: tuple[str, ...]
    "All of them hold."
    rows: int
    share: float
    "Of the test rows, those in it."
    share_of_wins: float
    mean_score: float
    win_rate: Estimate | None
    "None where no test row is in it."


def segments_of(examples: Examples, evaluation: Evaluation) -> tuple[Segment, ...]:
    """Return the segments, those with the highest mean score first.

    The tree is grown on the fit rows, with scores of boosters that left them out, and on rows that
    may become an MQL; sizes, scores and win rates are those of the test rows, which it never saw.
    """
    fitted, split = evaluation.fitted, evaluation.split
    eligible = examples.snapshots["is_eligible"].to_numpy(bool)
    score = np.full(len(eligible), np.nan)
    score[split.is_fit] = fitted.calibration.probability(fitted.cross_fit.raw_score)
    grown_on = eligible & np.isfinite(score)  # some fit rows no booster left out
    features = readable(examples.catalogue)
    snapshots = examples.snapshots[grown_on]
    questions = [q for feature in features for q in _questions(feature, snapshots[feature.name])]
    if not questions:
        return ()
    paths = _grow(snapshots, score[grown_on], examples, grown_on, questions)
    test = examples.snapshots[split.is_test].reset_index(drop=True)
    is_shown = evaluation.test["is_eligible"].to_numpy(bool)
    return _measured(paths, test[is_shown], evaluation.test[is_shown])


def _questions(feature: Feature, values: pd.Series) -> Iterator[Condition]:
    """Yield the columns of the tree: the feature itself, or one per frequent value."""
    if feature.dtype == "number":
        yield Condition(feature)
        return
    counts = values.value_counts(normalize=True)
    for value in frequent_values(values, MOST_VALUES):
        if counts[value] >= 0.01:
            yield Condition(feature, value=value)


def _matrix(snapshots: pd.DataFrame, questions: list[Condition]) -> np.ndarray:
    columns = [
        snapshots[q.feature.name].to_numpy(np.float32)
        if q.value is None
        else q.holds(snapshots).astype(np.float32)
        for q in questions
    ]
    return np.stack(columns, axis=1)


def _grow(
    snapshots: pd.DataFrame,
    score: np.ndarray,
    examples: Examples,
    grown_on: np.ndarray,
    questions: list[Condition],
) -> list[list[Condition]]:
    """Return the path to each leaf of a tree over the score, as conditions."""
    from sklearn.tree import DecisionTreeRegressor

    weight = examples.weight[grown_on]
    base_rate = max(float(np.average(score, weights=weight)), 1e-6)
    least = min(WINS_A_LEAF / base_rate / weight.sum(), 0.25)
    tree = DecisionTreeRegressor(max_depth=DEPTH, min_weight_fraction_leaf=least, random_state=0)
    tree.fit(_matrix(snapshots, questions), score, sample_weight=weight)
    grown = tree.tree_
    paths: list[list[Condition]] = []

    def walk(node: int, path: list[Condition]) -> None:
        if grown.children_left[node] < 0:
            paths.append(path)
            return
        asked = questions[grown.feature[node]]
        below, above = answers(
            asked,
            float(grown.threshold[node]),
            bool(grown.missing_go_to_left[node]),
            bool(snapshots[asked.feature.name].isna().any()),
        )
        walk(int(grown.children_left[node]), _joined(path, below))
        walk(int(grown.children_right[node]), _joined(path, above))

    walk(0, [])
    return paths


def answers(
    asked: Condition, threshold: float, missing_left: bool, has_missing: bool
) -> tuple[Condition, Condition]:
    """Return the conditions of the left and the right branch: one of them holds, for every row."""
    if asked.value is not None:
        return replace(asked, is_value=False), asked
    # The bound is told rounded, so it is rounded: the rule then says what it does.
    bound = float(np.floor(threshold)) if is_whole(asked.feature) else rounded(threshold)
    return (
        replace(asked, high=bound, or_missing=has_missing and missing_left),
        replace(asked, low=bound, or_missing=has_missing and not missing_left),
    )


def _joined(path: list[Condition], further: Condition) -> list[Condition]:
    """Return the path with one more condition; bands of one feature become one band."""
    feature = further.feature
    for place, known in enumerate(path):
        if known.feature == feature and further.value is None:
            band = replace(
                known,
                low=max(known.low, further.low),
                high=min(known.high, further.high),
                or_missing=known.or_missing and further.or_missing,
            )
            return [*path[:place], band, *path[place + 1 :]]
    if further.value is not None and further.is_value:
        # What it is says more than what it is not.
        path = [known for known in path if known.feature != feature]
    return [*path, further]


def _measured(
    paths: list[list[Condition]], snapshots: pd.DataFrame, test: pd.DataFrame
) -> tuple[Segment, ...]:
    weight, won = test["weight"].to_numpy(), test["won"].to_numpy()
    leaf = np.full(len(test), -1)
    for number, path in enumerate(paths):
        holds = np.ones(len(test), dtype=bool)
        for condition in path:
            holds &= condition.holds(snapshots)
        leaf[holds] = number
    tallied = tallies(pd.Series(leaf), test["account"].to_numpy(), won, weight)
    rates = estimates(with_rates(tallied))
    segments = []
    for number, path in enumerate(paths):
        own = leaf == number
        segments.append(
            Segment(
                rule=tuple(condition.words() for condition in path),
                rows=int(own.sum()),
                share=float(weight[own].sum() / weight.sum()),
                share_of_wins=float((weight * won)[own].sum() / max((weight * won).sum(), 1e-9)),
                mean_score=float(np.average(test["probability"][own], weights=weight[own]))
                if own.any()
                else float("nan"),
                win_rate=rates.get(str(number)),
            )
        )
    return tuple(sorted(segments, key=lambda segment: -np.nan_to_num(segment.mean_score)))
