"""The catalogue: features as data, all that is needed to compute them again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Family = Literal["fit", "engagement", "account"]


@dataclass(frozen=True)
class Feature:
    """One column of the snapshots: what it is made of, and how to say it.

    The three wordings are templates that may hold `{value}`.
    """

    name: str
    "Column of the snapshots, e.g. `pricing_view_count_30d`."
    family: Family
    concept: str
    "Features of one concept are told as one reason, e.g. `pricing_view`."
    aggregation: str
    "How it is made; `attribute` for a column as known at `as_of`."
    stream: str = ""
    "Event stream of the timeline, or `leads.column` / `accounts.column` of an attribute."
    window_days: int | None = None
    half_life_days: int | None = None
    dtype: Literal["number", "category"] = "number"
    wording: str = "{value}"
    "Reason text, e.g. `Viewed the pricing page {value} times in the last 30 days`."
    zero_wording: str = ""
    "Reason text for the value 0; empty: use `wording`."
    missing_wording: str = ""
    "Reason text for a missing value: what missing means."


@dataclass(frozen=True)
class Catalogue:
    """All features, in column order."""

    features: tuple[Feature, ...]

    @property
    def names(self) -> list[str]:
        """Feature columns in matrix order."""
        return [feature.name for feature in self.features]
