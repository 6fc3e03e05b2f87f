"""Drift: which features are distributed otherwise in the test window than in the fit window.

Measured by the population stability index (PSI; Siddiqi 2006): for the shares p and q of each band
in the two windows, the sum of (q - p) ln(q / p). Bands are a value of a category, a tenth of the
fit rows of a number, or missing. Two windows of one distribution are not at 0 but, with n and m
independent rows and k bands, at about (k - 1)(1/n + 1/m) (Yurdakul and Naranjo 2020); accounts are
counted as rows here, since rows of one account are no independent draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import chi2

from features.catalogue.feature import Feature
from training.examples import Examples
from training.fitting.folds import Split

NOTABLE, LARGE = 0.10, 0.25
"The customary bounds: below the first nothing happened, above the second look before you score."
_BANDS = 10
_MOST_VALUES = 20
_CONFIDENCE = 0.99


@dataclass(frozen=True)
class Drift:
    """How far one feature, or the score, moved between the windows."""

    name: str
    family: str
    psi: float
    missing_before: float
    missing_after: float
    "Shares of rows without a value."

    @property
    def size(self) -> str:
        """The customary word for so much."""
        return "large" if self.psi >= LARGE else "notable"


def drift_of(examples: Examples, split: Split) -> list[Drift]:
    """Return the features that moved notably, and more than luck would, the furthest first.

    Rows that are eligible and not are taken alike, by their training weights.
    """
    fit, test = split.is_fit, split.is_test
    accounts = [len(np.unique(examples.account[rows])) for rows in (fit, test)]
    found = []
    for feature in examples.catalogue.features:
        values = examples.snapshots[feature.name]
        bands = _bands(feature, values, fit)
        n_bands = int(bands.max()) + 1
        before, after = (
            np.bincount(bands[rows], examples.weight[rows], n_bands).astype(np.float64)
            for rows in (fit, test)
        )
        psi = population_stability(before, after)
        if psi >= NOTABLE and psi > _by_luck(int(((before + after) > 0).sum()), *accounts):
            missing = [
                float(np.average(values[rows].isna(), weights=examples.weight[rows]))
                for rows in (fit, test)
            ]
            found.append(Drift(feature.name, feature.family, psi, *missing))
    return sorted(found, key=lambda drift: (-drift.psi, drift.name))


def population_stability(before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]) -> float:
    """Return the PSI of counts (or weights) per band, shape (bands,) each.

    Half a row is added to each band, so that one that is empty in one window tells, but finitely.

    >>> population_stability(np.array([50.0, 50.0]), np.array([50.0, 50.0]))
    0.0
    >>> round(population_stability(np.array([500.0, 500.0]), np.array([250.0, 750.0])), 2)
    0.27
    """
    kept = (before + after) > 0
    p, q = ((counts[kept] + 0.5) / (counts[kept] + 0.5).sum() for counts in (before, after))
    return float(((q - p) * np.log(q / p)).sum())


def _by_luck(bands: int, n_before: int, n_after: int) -> float:
    """Return the PSI that two windows of one distribution stay below, 99 times in 100."""
    scale = 1 / n_before + 1 / n_after
    return float(chi2.ppf(_CONFIDENCE, max(bands - 1, 1)) * scale)


def _bands(feature: Feature, values: pd.Series, fit: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """Return the band of each row, 0 for a missing value."""
    if feature.dtype == "category":
        common = values[fit].value_counts().index[:_MOST_VALUES]
        codes = common.get_indexer(pd.Index(values))
        is_other = (codes < 0) & values.notna().to_numpy()
        return np.where(is_other, len(common) + 1, codes + 1)
    numbers = values.to_numpy(np.float64)
    known = numbers[fit & ~np.isnan(numbers)]
    tenths = np.linspace(0, 1, _BANDS + 1)[1:-1]
    bounds = np.unique(np.quantile(known, tenths)) if len(known) else np.empty(0)
    places = np.searchsorted(bounds, numbers, side="right") + 1
    return np.where(np.isnan(numbers), 0, places).astype(np.intp)
