"""The probability from which a lead is an MQL, and the evidence for it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


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
    "capacity, precision, money, or fixed when a person set it."
    parameter: dict[str, float]
    "What the policy was given, e.g. `{'mqls_per_week': 40}`."
    value: float | None
    "A probability in [0, 1]; None: no cutoff meets what was asked, so nobody qualifies."
    reason: str = ""
    "One sentence on how `value` came about, or on why there is none."
    evidence: dict[str, Estimate] = field(default_factory=dict)
    "Estimates by first crossing: `mqls_per_week`, `precision`, `capture`, ..."

    def __post_init__(self) -> None:
        """Raise ValueError for a value that is no probability."""
        if self.value is not None and not 0 <= self.value <= 1:
            raise ValueError(f"a cutoff is a probability, not {self.value}")

    def qualifies(self, probability: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Return which probabilities reach the cutoff; NaN never does.

        >>> Cutoff("fixed", {}, 0.2).qualifies([0.1, 0.2, 0.3])
        array([False,  True,  True])
        >>> Cutoff("precision", {"target_precision": 0.9}, None).qualifies([0.1, 1.0])
        array([False, False])
        """
        probabilities = np.asarray(probability, dtype=np.float64)
        if self.value is None:
            return np.zeros(probabilities.shape, dtype=np.bool_)
        return np.asarray(probabilities >= self.value, dtype=np.bool_)

    def grade_bounds(self, base_rate: float) -> dict[str, float]:
        """Return the lowest probability of each grade there is, from A down.

        A from twice the cutoff, B from the cutoff, C from the base rate, D below. Twice the cutoff
        may be out of reach, so A also starts half-way between the cutoff and certainty. Without a
        cutoff nobody qualifies and there is neither A nor B.

        >>> Cutoff("fixed", {}, 0.2).grade_bounds(base_rate=0.05)
        {'A': 0.4, 'B': 0.2, 'C': 0.05, 'D': 0.0}
        >>> Cutoff("fixed", {}, 0.5).grade_bounds(base_rate=0.05)["A"]
        0.75
        """
        bounds = {"C": base_rate, "D": 0.0}
        if self.value is None:
            return bounds
        return {"A": min(2 * self.value, (1 + self.value) / 2), "B": self.value, **bounds}

    def grades(self, probability: npt.ArrayLike, base_rate: float) -> npt.NDArray[np.object_]:
        """Return the grade of each probability: the first whose bound it reaches."""
        probabilities = np.asarray(probability, dtype=np.float64)
        bounds = self.grade_bounds(base_rate)
        reached = [probabilities >= bound for bound in bounds.values()]
        return np.select(reached, list(bounds), default="D").astype(object)
