"""Intervals of sums and ratios over whole accounts, the same resamples for all that is compared."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from models.cutoff import Estimate
from training.metrics import LEVEL

BINS = 10


class Accounts:
    """Accounts as codes, and resamples of them: what is compared is resampled together."""

    def __init__(self, account: np.ndarray, count: int, seed: int) -> None:
        self.index = pd.Index(np.unique(account))
        self.count, self.seed = count, seed

    def codes(self, account: np.ndarray) -> np.ndarray:
        """Return the code of each account, -1 for those not known."""
        return np.asarray(self.index.get_indexer(account))

    def sums(self, account: np.ndarray, *values: np.ndarray) -> np.ndarray:
        """Return the sums of each of `values` (one entry a row) by account: (accounts, values)."""
        codes, size = self.codes(account), len(self.index)
        known = codes >= 0
        columns = [np.bincount(codes[known], value[known], minlength=size) for value in values]
        return np.column_stack(columns)

    def estimates(
        self, sums: np.ndarray, figures: Callable[[np.ndarray], dict[str, float]]
    ) -> dict[str, Estimate]:
        """Return figures of the column totals of `sums` (accounts, k) with their 90% intervals.

        The Poisson bootstrap of `training.metrics.resamples`. A figure that is not known is left
        out; one that half of the resamples lack has no interval.
        """
        values = figures(sums.sum(axis=0))
        counted = np.ascontiguousarray(sums[(sums != 0).any(axis=1)].T)
        random = np.random.default_rng(self.seed)
        drawn = [
            figures(counted @ np.asarray(random.poisson(1.0, counted.shape[1]), dtype=float))
            for _ in range(self.count)
        ]
        found = {}
        for name, value in values.items():
            own = np.array([draw[name] for draw in drawn])
            own = own[np.isfinite(own)]
            if np.isfinite(value):
                span = _middle(own) if len(own) > self.count / 2 else ()
                found[name] = Estimate(float(value), *span)
        return found


def _middle(drawn: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def ratio(part: float, whole: float) -> float:
    """Return a ratio; NaN of nothing."""
    return float(part / whole) if whole > 0 else float("nan")


def auc_influence(won: np.ndarray, probability: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the AUC, and what each row adds to its error (DeLong et al. 1988); NaN of one class.

    The error of the AUC of other accounts like these is about the sum of the rows' influences, so
    it may be resampled by account without ranking anew (Obuchowski 1997).
    """
    is_won = won > 0
    wins, losses = int(is_won.sum()), int((~is_won).sum())
    if not wins or not losses:
        return float("nan"), np.zeros(len(won))
    rank = rankdata(probability)
    below = np.empty(len(won))  # share of the other class that the row is rightly told apart from
    below[is_won] = (rank[is_won] - rankdata(probability[is_won])) / losses
    below[~is_won] = 1 - (rank[~is_won] - rankdata(probability[~is_won])) / wins
    auc = float(below[is_won].mean())
    return auc, (below - auc) / np.where(is_won, wins, losses)


def gap_bins(probability: np.ndarray) -> np.ndarray:
    """Return the bin, of ten with as many rows each, of each probability."""
    order = np.argsort(-probability, kind="stable")
    number = np.empty(len(probability), dtype=int)
    number[order] = np.minimum(np.arange(len(probability)) * BINS // max(len(order), 1), BINS - 1)
    return number
