"""Features that people can read, and conditions on them in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.catalogue.catalogue import Catalogue
from features.catalogue.feature import Feature
from features.fit.fit_columns import said
from models.wording import clean_text, number_text

_UNREADABLE = ("trend", "decayed_count", "account_decayed_count")
MOST_VALUES = 30
"Of a category, the most frequent ones."


def readable(catalogue: Catalogue) -> list[Feature]:
    """Return the features whose values mean something to people: no decayed counts, no trends."""
    return [f for f in catalogue.features if f.aggregation not in _UNREADABLE]


@dataclass(frozen=True)
class Condition:
    """A condition on one feature: a value of a category, or a band `low < x <= high`."""

    feature: Feature
    value: str | None = None
    is_value: bool = True
    "False: any value but this one, or none."
    low: float = -np.inf
    "Not included; infinite: no number is, as in the condition to be missing."
    high: float = np.inf
    or_missing: bool = False

    @classmethod
    def missing(cls, feature: Feature) -> Condition:
        """Return the condition that the feature is missing."""
        return cls(feature, low=np.inf, or_missing=True)

    def holds(self, snapshots: pd.DataFrame) -> np.ndarray:
        """Return for which rows it holds."""
        values = snapshots[self.feature.name]
        is_missing = values.isna().to_numpy(bool)
        if self.value is not None:
            is_it = (values == self.value).to_numpy(bool)
            return is_it if self.is_value else ~is_it
        if self.low == np.inf:
            return is_missing
        inside = ((values > self.low) & (values <= self.high)).to_numpy(bool)
        return inside | is_missing if self.or_missing else inside

    def words(self) -> str:
        """Return the condition as people say it.

        >>> views = Feature("view_count_30d", "engagement", "view", "count",
        ...     wording="Viewed prices {value} times in the last 30 days",
        ...     zero_wording="No price view in the last 30 days")
        >>> Condition(views, low=2.0).words()
        'Viewed prices 3 or more times in the last 30 days'
        >>> Condition(views, low=0.0).words()
        'Viewed prices at least once in the last 30 days'
        >>> Condition(views, high=0.4).words()
        'No price view in the last 30 days'
        """
        feature = self.feature
        if self.value is not None:
            told = clean_text(said(feature.aggregation, self.value))
            told = told if self.is_value else f"not {told}"
            return feature.wording.replace("{value}", told)
        missing = feature.missing_wording or f"{feature.name.replace('_', ' ')} is not known"
        if self.low == np.inf:
            return f"{missing[0].upper()}{missing[1:]}"
        missing = f"{missing[0].lower()}{missing[1:]}"
        if np.isinf(self.low) and np.isinf(self.high):
            return f"Not: {missing}"
        words = self._whole_band() if is_whole(feature) else self._band()
        return f"{words} (or: {missing})" if self.or_missing else words

    def _whole_band(self) -> str:
        feature = self.feature
        low = None if self.low < 0 else int(np.floor(self.low)) + 1
        high = None if np.isinf(self.high) else int(np.floor(self.high))
        if high == 0 and feature.zero_wording:
            return feature.zero_wording
        if low == high == 1 and feature.one_wording:
            return feature.one_wording
        if low == 1 and high is None and "{value} times" in feature.wording:
            return feature.wording.replace("{value} times", "at least once")
        if low is None and high == 1 and "{value} times" in feature.wording:
            return feature.wording.replace("{value} times", "at most once")
        if low is None:
            told = f"{high} or fewer"
        elif high is None:
            told = f"{low} or more"
        else:
            told = f"{low}" if low == high else f"{low} to {high}"
        return feature.wording.replace("{value}", told)

    def _band(self) -> str:
        low, high = number_text(rounded(self.low)), number_text(rounded(self.high))
        if np.isinf(self.low):
            told = f"at most {high}"
        elif np.isinf(self.high):
            told = f"more than {low}"
        else:
            told = f"more than {low} and at most {high}"
        return self.feature.wording.replace("{value}", told)


def is_whole(feature: Feature) -> bool:
    """Return whether a feature counts things, so that "2 or more" says it."""
    return feature.dtype == "number" and (
        feature.aggregation
        in (
            "count",
            "active_days",
            "distinct_contents",
            "distinct_campaigns",
            "colleague_count",
            "active_colleagues",
            "account_leads",
            "times_recycled",
        )
        or feature.aggregation.endswith("_opportunities")
    )


def rounded(value: float) -> float:
    """Return a bound that is easy to read: whole from 10 on, else two digits."""
    if not np.isfinite(value) or value == 0:
        return value
    return float(round(value)) if abs(value) >= 10 else float(f"{value:.2g}")


def frequent_values(values: pd.Series, most: int = MOST_VALUES) -> list[str]:
    """Return the most frequent values of a category, by name where equally frequent."""
    counts = values.value_counts()
    return sorted(map(str, counts.index), key=lambda name: (-counts[name], name))[:most]
