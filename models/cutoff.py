"""The probability from which a lead is an MQL, and the evidence for it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

_TOLD = 6
"Segments named in a sentence."


@dataclass(frozen=True)
class Estimate:
    """A number and its 90% interval; no interval where none can be given."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Cutoff:
    """Which probability qualifies a lead, how it was chosen, and what to expect of it."""

    policy: str
    "capacity, precision, capture, money, rules_volume, or fixed when a person set it."
    parameter: dict[str, float]
    "What the policy was given, e.g. `{'mqls_per_week': 40}`."
    value: float | None
    "A probability in [0, 1]; None: no cutoff meets what was asked, so nobody qualifies."
    reason: str = ""
    "One sentence on how `value` came about, or on why there is none and what to do."
    evidence: dict[str, Estimate] = field(default_factory=dict)
    "Estimates by first crossing: `mqls_per_week`, `precision`, `capture`, ..."
    forecast: Estimate | None = None
    "Mean MQLs a week to expect of the coming weeks: a prediction, wider than the count's interval."
    assumption: str = ""
    "What the promise rests on, in a sentence."
    segment_by: str | None = None
    "Category feature whose values have cutoffs of their own."
    segments: dict[str, float | None] = field(default_factory=dict)
    """Cutoff by value, None where nobody qualifies; `value` holds for all others and where it is
    missing."""

    def __post_init__(self) -> None:
        """Raise ValueError for a value that is no probability, and for segments of nothing."""
        for value in (self.value, *self.segments.values()):
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"a cutoff is a probability, not {value}")
        if self.segments and self.segment_by is None:
            raise ValueError("segment cutoffs need the feature they go by")

    @property
    def qualifies_nobody(self) -> bool:
        """Whether no cutoff meets what was asked, in any segment."""
        return all(value is None for value in (self.value, *self.segments.values()))

    def values(self, segments: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the cutoff of each entry of `segments`, infinity where nobody qualifies.

        >>> own = {"EMEA": 0.3, "LATAM": None}
        >>> by_region = Cutoff("precision", {}, 0.2, segment_by="region", segments=own)
        >>> by_region.values(np.array(["EMEA", "LATAM", "APAC", None], dtype=object))
        array([0.3, inf, 0.2, 0.2])
        """
        own = {name: np.inf if value is None else value for name, value in self.segments.items()}
        found = pd.Series(segments, dtype=object).map(own)
        pooled = float(self._cutoffs(None))
        return np.asarray(found.astype(np.float64).fillna(pooled), dtype=np.float64)

    def values_for(self, snapshots: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Return the cutoff of each row of `snapshots`, infinity where nobody qualifies."""
        if self.segment_by is None:
            return np.full(len(snapshots), self._cutoffs(None))
        return self.values(snapshots[self.segment_by])

    def qualifies(
        self, probability: npt.ArrayLike, values: npt.ArrayLike | None = None
    ) -> npt.NDArray[np.bool_]:
        """Return which probabilities reach the cutoff; NaN never does.

        `values`: each row's cutoff, from `values_for`; without them the pooled one holds for all.

        >>> Cutoff("fixed", {}, 0.2).qualifies([0.1, 0.2, 0.3])
        array([False,  True,  True])
        >>> Cutoff("precision", {"target_precision": 0.9}, None).qualifies([0.1, 1.0])
        array([False, False])
        """
        probabilities = np.asarray(probability, dtype=np.float64)
        return np.asarray(probabilities >= self._cutoffs(values), dtype=np.bool_)

    def _cutoffs(self, values: npt.ArrayLike | None) -> npt.NDArray[np.float64]:
        """Return `values`, or the pooled cutoff, infinity where nobody qualifies."""
        pooled = np.inf if self.value is None else self.value
        return np.asarray(pooled if values is None else values, dtype=np.float64)

    def grade_bounds(self, base_rate: float, value: float | None = None) -> dict[str, float]:
        """Return the lowest probability of each grade there is, from A down.

        A from twice the cutoff, B from the cutoff, C from the base rate, D below. Twice the cutoff
        may be out of reach, so A also starts half-way between the cutoff and certainty. Without a
        cutoff nobody qualifies and there is neither A nor B. `value`: a segment's cutoff.

        >>> Cutoff("fixed", {}, 0.2).grade_bounds(base_rate=0.05)
        {'A': 0.4, 'B': 0.2, 'C': 0.05, 'D': 0.0}
        >>> Cutoff("fixed", {}, 0.5).grade_bounds(base_rate=0.05)["A"]
        0.75
        """
        bounds = {"C": base_rate, "D": 0.0}
        cutoff = self.value if value is None else value
        if cutoff is None or np.isinf(cutoff):
            return bounds
        return {"A": min(2 * cutoff, (1 + cutoff) / 2), "B": cutoff, **bounds}

    def grades(
        self,
        probability: npt.ArrayLike,
        base_rate: float,
        values: npt.ArrayLike | None = None,
    ) -> npt.NDArray[np.object_]:
        """Return the grade of each probability: the first whose bound it reaches.

        `values` as in `qualifies`.
        """
        probabilities = np.asarray(probability, dtype=np.float64)
        cutoffs = np.broadcast_to(self._cutoffs(values), probabilities.shape)
        grades = np.full(probabilities.shape, "D", dtype=object)
        for cutoff in np.unique(cutoffs):
            bounds = self.grade_bounds(base_rate, float(cutoff))
            reached = [probabilities >= bound for bound in bounds.values()]
            own = np.select(reached, list(bounds), default="D")
            grades = np.where(cutoffs == cutoff, own, grades)
        return np.asarray(grades, dtype=object)


def cutoff_text(cutoff: Cutoff) -> str:
    """Return from which probability a lead is an MQL, as a sentence goes on about it.

    >>> cutoff_text(Cutoff("fixed", {}, 0.25))
    'from a probability of 25.0%'
    >>> cutoff_text(Cutoff("fixed", {}, 0.25, segment_by="source", segments={"web": 0.3}))
    'by source: web 30.0%, 25.0% elsewhere'
    """
    if not cutoff.segments:
        return "for nobody" if cutoff.value is None else f"from a probability of {cutoff.value:.1%}"
    told = [
        f"{value} {'nobody' if at is None else f'{at:.1%}'}"
        for value, at in sorted(cutoff.segments.items())
    ]
    own = [*told[:_TOLD], f"{len(told) - _TOLD} more of their own"] if len(told) > _TOLD else told
    rest = "nobody elsewhere" if cutoff.value is None else f"{cutoff.value:.1%} elsewhere"
    return f"by {cutoff.segment_by}: {', '.join(own)}, {rest}"
