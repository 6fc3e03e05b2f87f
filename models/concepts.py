"""Contributions of features summed to those of concepts, and which feature tells each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from features.catalogue.catalogue import Catalogue

CALIBRATION = "calibration"
"Concept and family of the term that the calibration adds to the reasons."


@dataclass(frozen=True)
class Concepts:
    """The concepts of a catalogue, in its order."""

    names: tuple[str, ...]
    "The calibration's term last; so in `families`."
    families: tuple[str, ...]
    columns: npt.NDArray[np.int32]
    "Of the matrix: those of the first concept, then of the second, ..."
    starts: npt.NDArray[np.int32]
    "First entry of each concept in `columns`, and the number of all."
    is_plain: npt.NDArray[np.bool_]
    "By feature: whether its value means something to a salesperson. A decayed count does not."

    @classmethod
    def of(cls, catalogue: Catalogue) -> Concepts:
        """Return the concepts of `catalogue`."""
        columns: dict[str, list[int]] = {}
        for column, feature in enumerate(catalogue.features):
            columns.setdefault(feature.concept, []).append(column)
        first = [catalogue.features[members[0]] for members in columns.values()]
        return cls(
            (*columns, CALIBRATION),
            (*(feature.family for feature in first), CALIBRATION),
            np.array([place for members in columns.values() for place in members], dtype=np.int32),
            np.cumsum([0, *map(len, columns.values())]).astype(np.int32),
            np.array(["decayed" not in f.aggregation for f in catalogue.features], dtype=np.bool_),
        )

    def sums(
        self, contributions: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]:
        """Return the sum of each concept, and which feature tells it.

        `contributions`: (rows, features). Both have the shape (rows, concepts and 1): the last
        column is left for the calibration, 0 and -1. The feature that tells a concept is the one
        that moves the score most in the direction of the sum: a reason that raises the score is
        not told with the one value that lowers it. Plain features tell before decayed counts.
        """
        shape = len(contributions), len(self.names)
        sums, tellers = np.zeros(shape), np.full(shape, -1, dtype=np.int32)
        _sum_by_concept(contributions, self.columns, self.starts, self.is_plain, sums, tellers)
        return sums, tellers


@njit(cache=True, nogil=True, error_model="numpy")
def _sum_by_concept(contributions, columns, starts, is_plain, sums, tellers):  # type: ignore[no-untyped-def]
    for row in range(len(contributions)):
        for concept in range(len(starts) - 1):
            total = 0.0
            for place in range(starts[concept], starts[concept + 1]):
                total += contributions[row, columns[place]]
            sums[row, concept] = total
            teller, most, has_plain = columns[starts[concept]], -np.inf, False
            for place in range(starts[concept], starts[concept + 1]):
                column = columns[place]
                helping = contributions[row, column] * np.sign(total)
                plain = is_plain[column] and helping > 0
                if (plain and not has_plain) or (plain == has_plain and helping > most):
                    teller, most, has_plain = column, helping, plain
            tellers[row, concept] = teller
