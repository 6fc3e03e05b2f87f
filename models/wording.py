"""A feature's value in words a salesperson can use."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.catalogue.feature import Feature
from features.fit.fit_columns import said

_LONGEST_VALUE = 60
_FADED = 0.005
"A decayed count below this is told as almost 0."


def tell_values(
    feature: Feature, values: pd.Series, vocabulary: Collection[str] | None = None
) -> npt.NDArray[np.object_]:
    """Return the text of each value of `feature`; each distinct value is told once.

    `vocabulary` holds the values the model knows of a category.
    """
    known = None if vocabulary is None else set(vocabulary)
    codes, distinct = pd.factorize(values)
    texts = [tell(feature, value, known) for value in distinct]
    # Code -1 is a missing value, and so the last.
    return np.array([*texts, missing_text(feature)], dtype=object)[codes]


def tell(feature: Feature, value: float | str, vocabulary: Collection[str] | None = None) -> str:
    """Return one value that is not missing in words.

    >>> visits = Feature("visit_count_30d", "engagement", "visit", "count",
    ...     wording="Visited the site {value} times in the last 30 days",
    ...     zero_wording="No visit in the last 30 days")
    >>> tell(visits, 4.0)
    'Visited the site 4 times in the last 30 days'
    >>> tell(visits, 0.0)
    'No visit in the last 30 days'
    >>> source = Feature("source", "fit", "source", "attribute", dtype="category",
    ...     wording="Came from {value}")
    >>> tell(source, "Trade fair", vocabulary={"Web"})
    'Came from Trade fair (rare or new)'
    """
    if isinstance(value, str):
        note = "" if vocabulary is None or value in vocabulary else " (rare or new)"
        told = clean_text(said(feature.aggregation, value))
        return feature.wording.replace("{value}", told + note)
    value = float(value)  # a float32 would compare as one
    if value == 0 and feature.zero_wording:
        return feature.zero_wording
    if value == 1 and feature.one_wording:
        return feature.one_wording
    if feature.half_life_days and 0 < value < _FADED:
        return feature.wording.replace("{value}", "almost 0")
    if "{value} days" in feature.wording:
        return feature.wording.replace("{value} days", days_text(value))
    return feature.wording.replace("{value}", number_text(value))


def number_text(value: float) -> str:
    """Return a number for people: integers whole, others with about three digits.

    >>> [number_text(value) for value in (3.0, 2013.0, 1234567.8, 12.345, 0.03456, -0.5)]
    ['3', '2013', '1,234,568', '12.3', '0.035', '-0.5']
    """
    if not np.isfinite(value):
        return str(value)
    size = abs(value)
    if size >= 100 or value == round(value):
        whole = round(value)
        return f"{whole:,}" if abs(whole) >= 10_000 else str(whole)
    if size >= 10:
        return f"{value:.1f}".removesuffix(".0")
    return np.format_float_positional(value, precision=2, fractional=False, trim="-")


def days_text(days: float) -> str:
    """Return a number of days for people, whole days only.

    >>> [days_text(days) for days in (0.3, 1.9, 12.0)]
    ['less than a day', '1 day', '12 days']
    """
    if days < 1:
        return "less than a day"
    whole = number_text(float(np.floor(days)))
    return f"{whole} day{'' if whole == '1' else 's'}"


def points_text(points: float) -> str:
    """Return probability points with their sign; nothing if they'd be told as 0.

    >>> [points_text(points) for points in (0.1234, -0.031, 0.01, -0.00062, 0.00001)]
    ['+12 points', '-3.1 points', '+1 point', '-0.062 points', '']
    """
    percent = 100 * points
    size = abs(percent)
    if not size >= 0.01:
        return ""
    digits = f"{size:.0f}" if size >= 9.95 else f"{size:.2g}"
    return f"{'+' if percent > 0 else '-'}{digits} point{'' if digits == '1' else 's'}"


def clean_text(value: str) -> str:
    r"""Return a value on one line, without control characters, at most 60 characters long.

    >>> clean_text("Sales\n manager")
    'Sales manager'
    """
    if not value.isprintable():
        value = "".join(letter if letter.isprintable() else " " for letter in value)
    line = " ".join(value.split())
    return line if len(line) <= _LONGEST_VALUE else line[: _LONGEST_VALUE - 1] + "…"


def missing_text(feature: Feature) -> str:
    """Return what is said of a missing value of `feature`."""
    return feature.missing_wording or f"{feature.name.replace('_', ' ').capitalize()} is unknown"
