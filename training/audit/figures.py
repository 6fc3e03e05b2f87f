"""How well a column tells an outcome: by being filled, by single values, by all its values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.audit.views import FOLDS, Bools, Column, Floats, Int64s, View, distinct_pairs

PRIOR_ROWS = 10.0
"""A cell's win rate is drawn to the overall rate as if it had this many more rows."""

TINY = 1e-12


@dataclass(frozen=True)
class FillFigures:
    """How being filled goes with an outcome. Rates are weighted, counts are of clusters."""

    n_filled: int
    n_missing: int
    filled_share: float
    filled_won: float
    "Share of the won rows in which the column is filled."
    filled_lost: float
    won_filled: float
    "Win rate where it is filled."
    won_missing: float
    base_rate: float
    difference: float
    "Of `filled_won` and `filled_lost`, compared within blocks of time."
    error: float
    "Standard error of the difference."


def fill_figures(column: Column, view: View) -> FillFigures:
    """Return how being filled goes with the outcome; rates of no rows are NaN."""
    is_filled = column.is_filled[view.rows]
    return mask_figures(is_filled, view)


def mask_figures(is_filled: Bools, view: View) -> FillFigures:
    """Return how a mask over the rows of `view` goes with its outcome."""
    n_won, n_lost = view.support
    weight, is_won = view.weight, view.is_won
    strata = int(view.stratum.max()) + 1
    cell = (view.stratum * 2 + is_won) * 2 + is_filled
    mass = np.bincount(cell, weight, strata * 4).reshape(strata, 2, 2).astype(float)
    lost, won = mass.sum(axis=0)
    difference = _stratified_difference(mass)
    filled_won, filled_lost = won[1] / max(won.sum(), TINY), lost[1] / max(lost.sum(), TINY)
    error = np.sqrt(_variance(filled_won, n_won) + _variance(filled_lost, n_lost))
    counts = distinct_pairs(is_filled.astype(np.int64), view.cluster, 2)
    rates = np.where(won + lost > 0, won / np.maximum(won + lost, TINY), np.nan)
    return FillFigures(
        n_filled=int(counts[1]),
        n_missing=int(counts[0]),
        filled_share=float((won[1] + lost[1]) / mass.sum()),
        filled_won=float(filled_won),
        filled_lost=float(filled_lost),
        won_filled=float(rates[1]),
        won_missing=float(rates[0]),
        base_rate=float(won.sum() / mass.sum()),
        difference=difference,
        error=float(error),
    )


def _stratified_difference(mass: Floats) -> float:
    """Return the share filled of won minus that of lost, averaged over the strata (axis 0).

    Weights n1 n0 / (n1 + n0), those of Mantel and Haenszel (1959).
    """
    of_lost, of_won = mass[:, 0].sum(axis=1), mass[:, 1].sum(axis=1)
    used = (of_lost > 0) & (of_won > 0)
    if not used.any():
        return 0.0
    shares = mass[used, :, 1] / mass[used].sum(axis=2)
    weights = of_lost[used] * of_won[used] / (of_lost[used] + of_won[used])
    return float(np.average(shares[:, 1] - shares[:, 0], weights=weights))


def _variance(share: float, count: int) -> float:
    # never below that of one odd cluster out: a share of exactly 0 or 1 is not known exactly
    return max(share * (1 - share), 1 / max(count, 1)) / max(count, 1)


@dataclass(frozen=True)
class CellFigures:
    """The win rate of each cell of a column, with cautious bounds."""

    clusters: Int64s
    rate: Floats
    low: Floats
    high: Floats


def cell_figures(column: Column, view: View, z: float) -> CellFigures:
    """Return the weighted win rate of each filled cell, with Wilson bounds by clusters."""
    cells = column.cells[view.rows]
    is_filled = cells >= 0
    n_cells = len(column.labels)
    cells = cells[is_filled]
    mass = np.bincount(cells, view.weight[is_filled], n_cells)
    won = np.bincount(cells, (view.weight * view.is_won)[is_filled], n_cells)
    clusters = distinct_pairs(cells, view.cluster[is_filled], n_cells)
    rate = won / np.where(mass > 0, mass, 1.0)
    low, high = wilson(rate, clusters, z)
    return CellFigures(clusters, rate, low, high)


def wilson(rate: Floats | float, count: Int64s | int, z: float) -> tuple[Floats, Floats]:
    """Return the bounds of a rate seen in `count` independent trials (Wilson 1927).

    >>> [round(float(bound), 2) for bound in wilson(1.0, 30, 1.96)]
    [0.89, 1.0]
    """
    rates, trials = np.asarray(rate, float), np.maximum(np.asarray(count, float), 1e-9)
    middle = rates + z * z / (2 * trials)
    half = z * np.sqrt(rates * (1 - rates) / trials + (z / (2 * trials)) ** 2)
    scale = 1 + z * z / trials
    return (middle - half) / scale, np.minimum((middle + half) / scale, 1.0)


def odds(rate: float) -> float:
    """Return rate / (1 - rate), infinite for 1."""
    return rate / (1 - rate) if rate < 1 else float("inf")


def encode(cells: Int64s, n_cells: int, view: View) -> tuple[Floats, Floats, Floats]:
    """Return (rate, won, lost), each (folds, cells + 1); the last cell is missing.

    `rate` is the win rate of the cell outside the fold; `won` and `lost` count the fold's rows.
    Whole clusters are in one fold, so a cell of one account cannot be learnt by heart.
    """
    width = n_cells + 1
    cell = view.fold * width + np.where(cells < 0, n_cells, cells)
    rows = np.bincount(cell, minlength=FOLDS * width).reshape(FOLDS, width).astype(float)
    won = np.bincount(cell[view.is_won], minlength=FOLDS * width).reshape(FOLDS, width)
    elsewhere, won_elsewhere = rows.sum(axis=0) - rows, won.sum(axis=0) - won
    base = won_elsewhere.sum(axis=1, keepdims=True) / elsewhere.sum(axis=1, keepdims=True)
    rate = (won_elsewhere + PRIOR_ROWS * base) / (elsewhere + PRIOR_ROWS)
    return rate, won.astype(float), rows - won


@dataclass(frozen=True)
class Auc:
    """An area under the ROC curve and its standard error; NaN without both outcomes."""

    value: float
    error: float

    @property
    def low(self) -> float:
        """Two standard errors below."""
        return self.value - 2 * self.error


def column_auc(column: Column, view: View, filled_only: bool = False) -> Auc:
    """Return the cross-validated AUC of the column alone, ranked by win rates of other folds."""
    cells = column.cells[view.rows]
    kept = cells >= 0 if filled_only else np.ones(len(cells), dtype=bool)
    if not view.is_won[kept].any() or view.is_won[kept].all():
        return Auc(np.nan, np.nan)
    inside = view.where(kept)
    rate, won, lost = encode(cells[kept], len(column.labels), inside)
    pairs = won.sum(axis=1) * lost.sum(axis=1)
    if not pairs.any():
        return Auc(np.nan, np.nan)
    right = sum(_ordered_pairs(*fold) for fold in zip(rate, won, lost, strict=True))
    value = float(right / pairs.sum())
    return Auc(value, _auc_error(value, *inside.support))


def _ordered_pairs(rate: Floats, won: Floats, lost: Floats) -> float:
    """Return how many pairs of a won and a lost row are ranked right, ties counted half."""
    occurs = won + lost > 0
    _, rank = np.unique(rate[occurs], return_inverse=True)
    won_at = np.bincount(rank, won[occurs])
    lost_at = np.bincount(rank, lost[occurs])
    below = np.cumsum(lost_at) - lost_at
    return float((won_at * (below + lost_at / 2)).sum())


def _auc_error(auc: float, n_won: int, n_lost: int) -> float:
    """Return the standard error of an AUC (Hanley and McNeil 1982), by clusters."""
    better = max(auc, 1 - auc)
    both_won = better / (2 - better) - better**2
    both_lost = 2 * better**2 / (1 + better) - better**2
    variance = better * (1 - better) + (n_won - 1) * both_won + (n_lost - 1) * both_lost
    return float(np.sqrt(max(variance, 0.25 / max(n_won, n_lost)) / (n_won * n_lost)))
