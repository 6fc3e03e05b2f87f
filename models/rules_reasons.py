"""Why a lead has its points: a row per rule, in words, that add up to the total."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.calibration import Floats
from models.rules import RulesScorer, is_met, rule_points
from models.rules_columns import Column
from models.rules_table import Rule, Section
from models.wording import number_text

SECTIONS = ("fit", "engagement")
DISQUALIFIED = "disqualified"
SECTION_MAXIMUM = "maximum"
"Concept of the row that says what a section's maximum took away."


class _Told(NamedTuple):
    """What one line of the table says of some snapshots."""

    row: npt.NDArray[np.intp]
    "Places of the snapshots."
    concept: str
    family: str
    text: npt.NDArray[np.object_]
    points: Floats


def rules_reasons(scorer: RulesScorer, snapshots: pd.DataFrame) -> pd.DataFrame:
    """Return the reasons of each snapshot, in its order; see `RulesScorer.reasons`."""
    told = [*_of_sections(scorer, snapshots), *_of_disqualifiers(scorer, snapshots)]
    row = np.concatenate([np.empty(0, dtype=np.intp), *(part.row for part in told)])
    points = np.concatenate([np.empty(0), *(part.points for part in told)])
    is_maximum = np.repeat([p.concept == SECTION_MAXIMUM for p in told], [len(p.row) for p in told])
    # Strongest first, ties in the order of the table, what a maximum took away last.
    order = np.lexsort([-np.abs(points), is_maximum.astype(np.bool_), row])
    row = row[order]
    first = np.searchsorted(row, row)

    def ordered(values: list[npt.NDArray[np.object_]]) -> pd.api.extensions.ExtensionArray:
        texts = np.concatenate([np.empty(0, dtype=object), *values])[order]
        array: pd.api.extensions.ExtensionArray = pd.array(texts, dtype="str")
        return array

    return pd.DataFrame(
        {
            "lead_id": snapshots["lead_id"].take(row).array,
            "as_of": snapshots["as_of"].take(row).array,
            "rank": np.arange(len(row)) - first + 1,
            "concept": ordered([np.full(len(p.row), p.concept, dtype=object) for p in told]),
            "family": ordered([np.full(len(p.row), p.family, dtype=object) for p in told]),
            "text": ordered([part.text for part in told]),
            "points": points[order],
        }
    )


def _of_sections(scorer: RulesScorer, snapshots: pd.DataFrame) -> list[_Told]:
    told = []
    gained = np.zeros((2, len(snapshots)))
    for section, rule, column in scorer.rules():
        points = rule_points(rule, column, snapshots)
        if rule.limit > 0:
            gained[section] += points
        row = np.flatnonzero(points)
        values = snapshots[column.name].take(row)
        texts = _rule_texts(rule, column, values, points[row])
        told.append(_Told(row, column.concept, SECTIONS[section], texts, points[row]))
    for section, limits in enumerate((scorer.table.fit, scorer.table.engagement)):
        if limits.max is not None:
            told.append(_of_maximum(SECTIONS[section], limits, limits.max, gained[section]))
    return told


def _of_maximum(name: str, section: Section, most: float, gained: Floats) -> _Told:
    over = np.asarray(np.round(np.minimum(most - gained, 0.0), 1), dtype=np.float64)
    row = np.flatnonzero(over)
    text = f"{name.capitalize()} is capped at {number_text(most)}"
    texts = [f"{text} ({points_told(value)})" for value in over[row].tolist()]
    return _Told(row, SECTION_MAXIMUM, name, np.array(texts, dtype=np.object_), over[row])


def _of_disqualifiers(scorer: RulesScorer, snapshots: pd.DataFrame) -> list[_Told]:
    told = []
    for condition, column in scorer.disqualifiers():
        row = np.flatnonzero(is_met(condition, column, snapshots))
        texts = np.full(len(row), f"Disqualified: {condition.name}", dtype=object)
        told.append(_Told(row, column.concept, DISQUALIFIED, texts, np.full(len(row), -np.inf)))
    return told


def _rule_texts(
    rule: Rule, column: Column, values: pd.Series, points: Floats
) -> npt.NDArray[np.object_]:
    """Return the text of each value that gave points; each distinct value is told once."""
    if column.dtype == "category" or (rule.points is not None and rule.window_days is None):
        return np.full(len(points), f"{rule.name} ({points_told(rule.limit)})", dtype=object)
    pairs = pd.MultiIndex.from_arrays([values.to_numpy(np.float64, na_value=np.nan), points])
    codes, distinct = pd.factorize(pairs)
    texts = [tell_rule(rule, value, given) for value, given in distinct]
    return np.array(texts, dtype=object)[codes] if texts else np.empty(0, dtype=object)


def tell_rule(rule: Rule, value: float, points: float) -> str:
    """Return what a rule about a number says of a lead with this value.

    >>> viewed = Rule(name="Viewed pricing", event="pricing_view", window_days=30,
    ...     points_each=5, cap=20)
    >>> tell_rule(viewed, value=1, points=5)
    'Viewed pricing once in the last 30 days (+5 points)'
    >>> tell_rule(viewed, value=4, points=20)
    'Viewed pricing 4 times in the last 30 days (+20 points, at the cap)'
    """
    said = rule.name
    if rule.window_days is not None and rule.below is None:
        times = "once" if value == 1 else f"{number_text(value)} times"
        said += f" {times} in the last {rule.window_days} days"
    elif rule.feature is not None:
        said += f": {number_text(value)}"
    note = ""
    if rule.cap is not None and points == rule.cap:
        note = ", at the cap"
    elif rule.half_life_days is not None and rule.points_each is not None:
        note = f", halving every {rule.half_life_days} days"
    return f"{said} ({points_told(points)}{note})"


def points_told(points: float) -> str:
    """Return points of a rule with their sign.

    >>> [points_told(points) for points in (20.0, -8.0, 1.0, 13.7)]
    ['+20 points', '-8 points', '+1 point', '+13.7 points']
    """
    return f"{points:+,.1f}".removesuffix(".0") + (" point" if abs(points) == 1 else " points")
