"""Metrics of probabilities against outcomes, with intervals bootstrapped by account."""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.cutoff import Estimate

SHARES = (0.05, 0.10, 0.20)
LEVEL = 0.90
"""Every interval says where the figure would lie in 90 of 100 resamples of the accounts."""


def log_loss(won: np.ndarray, probability: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Return the mean negative log-likelihood; 0 or 1 are moved by 1e-15 into the interval.

    >>> round(log_loss(np.array([1.0, 0.0]), np.array([0.5, 0.5])), 4)
    0.6931
    """
    return float(np.average(row_log_loss(won, probability), weights=weight))


def row_log_loss(won: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Return each row's negative log-likelihood; `won` may be an expected value in [0, 1]."""
    inside = np.clip(probability, 1e-15, 1 - 1e-15)
    return np.asarray(-(won * np.log(inside) + (1 - won) * np.log1p(-inside)))


def auc(won: np.ndarray, probability: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Return the area under the ROC curve, ties counted half; NaN with one class only.

    `won` may be an expected value in [0, 1]: a row then counts as both classes, in part.

    >>> auc(np.array([0.0, 1.0, 1.0]), np.array([0.1, 0.1, 0.9]))
    0.75
    """
    return _Ranking(probability).auc(won, np.ones(len(won)) if weight is None else weight)


def calibration_error(
    won: np.ndarray, probability: np.ndarray, weight: np.ndarray | None = None, bins: int = 10
) -> float:
    """Return the mean absolute gap of win rate and mean probability over equal-mass bins.

    >>> round(calibration_error(np.array([0.0, 1.0]), np.array([0.2, 0.8]), bins=2), 9)
    0.2
    """
    weights = np.ones(len(won)) if weight is None else weight
    return _Ranking(probability).calibration_error(won, weights, bins)


def capture_rate(won: np.ndarray, probability: np.ndarray, share: float) -> float:
    """Return the share of closed-won leads found in the top `share` by probability.

    >>> capture_rate(won=np.array([1, 0, 1, 0]), probability=np.array([.9, .7, .5, .1]), share=0.5)
    0.5
    """
    return _Ranking(probability).capture(won, np.ones(len(won)), share)


class _Ranking:
    """Rows sorted by falling probability once, so that a resample costs a few cumulative sums."""

    def __init__(self, probability: np.ndarray) -> None:
        self.order = np.argsort(-probability, kind="stable")
        self.probability = probability[self.order]
        # the last row of each run of equal probabilities
        self.ends = np.flatnonzero(np.append(np.diff(self.probability) != 0, True))

    def auc(self, won: np.ndarray, weight: np.ndarray) -> float:
        ones, zeros = self._curves(won, weight)
        if ones[-1] <= 0 or zeros[-1] <= 0:
            return float("nan")
        steps = np.diff(ones, prepend=0.0)
        area = np.sum(steps * (zeros[-1] - zeros + np.diff(zeros, prepend=0.0) / 2))
        return float(area / (ones[-1] * zeros[-1]))

    def average_precision(self, won: np.ndarray, weight: np.ndarray) -> float:
        ones, zeros = self._curves(won, weight)
        if ones[-1] <= 0:
            return float("nan")
        flagged = ones + zeros
        precision = np.divide(ones, flagged, out=np.zeros_like(ones), where=flagged > 0)
        return float(np.sum(np.diff(ones, prepend=0.0) * precision) / ones[-1])

    def capture(
        self,
        won: np.ndarray,
        weight: np.ndarray,
        share: float,
        win_share: np.ndarray | None = None,
    ) -> float:
        """Ties at the edge count in proportion, so that the order of rows does not matter."""
        rows = np.cumsum(weight[self.order])[self.ends]
        of_win = won if win_share is None else won * win_share
        wins = np.cumsum((weight * of_win)[self.order])[self.ends]
        if wins[-1] <= 0:
            return float("nan")
        found = np.interp(share * rows[-1], np.append(0.0, rows), np.append(0.0, wins))
        return float(found / wins[-1])

    def calibration_error(self, won: np.ndarray, weight: np.ndarray, bins: int) -> float:
        rows = weight[self.order]
        place = np.cumsum(rows) - rows / 2
        bin_of = np.minimum((place / rows.sum() * bins).astype(int), bins - 1)
        gap = np.bincount(bin_of, rows * (won[self.order] - self.probability), minlength=bins)
        return float(np.abs(gap).sum() / rows.sum())

    def _curves(self, won: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows, outcome = weight[self.order], won[self.order]
        ones = np.cumsum(rows * outcome)[self.ends]
        zeros = np.cumsum(rows * (1 - outcome))[self.ends]
        return ones, zeros


def is_clear_gain(gain: np.ndarray, weight: np.ndarray, account: np.ndarray) -> bool:
    """Return whether the mean of `gain` (less loss, a row) exceeds one standard error above 0.

    Rows of one account are no independent evidence, so the error is that of the accounts' sums.
    Rows with NaN were not compared.
    """
    known = np.isfinite(gain)
    codes, accounts = pd.factorize(account[known])
    sums = np.bincount(codes, gain[known] * weight[known], minlength=len(accounts))
    return bool(sums.sum() > np.sqrt((sums**2).sum()))


def evaluate(
    won: np.ndarray,
    probability: np.ndarray,
    weight: np.ndarray,
    account: np.ndarray,
    bootstraps: int,
    seed: int,
    win_share: np.ndarray | None = None,
) -> dict[str, Estimate]:
    """Return every metric with its interval, accounts resampled whole.

    All arrays hold one entry a row; `account` may be any codes. Metrics: log_loss, brier, auc,
    average_precision, calibration_error, and at the top N% of the rows lift_N, win rate over that
    of all rows, and capture_N, share of the wins among them. `win_share` says which part of a win
    a won row stands for, 1 unless given: a win of three won rows counts once, not three times.
    """
    of_win = np.ones(len(won)) if win_share is None else win_share
    ranking = _Ranking(probability)
    loss = row_log_loss(won, probability)
    square = (won - probability) ** 2

    def figures(weights: np.ndarray) -> dict[str, float]:
        if weights.sum() == 0:  # no account drawn at all
            weights = weight
        found = {
            "log_loss": float(np.average(loss, weights=weights)),
            "brier": float(np.average(square, weights=weights)),
            "auc": ranking.auc(won, weights),
            "average_precision": ranking.average_precision(won, weights),
            "calibration_error": ranking.calibration_error(won, weights, 10),
        }
        for share in SHARES:
            found[f"lift_{share * 100:.0f}"] = ranking.capture(won, weights, share) / share
            found[f"capture_{share * 100:.0f}"] = ranking.capture(won, weights, share, of_win)
        return found

    resampled = [figures(weight * times) for times in resamples(account, bootstraps, seed)]
    return with_intervals(figures(weight), resampled)


def resamples(account: np.ndarray, count: int, seed: int) -> list[np.ndarray]:
    """Return how often each row is drawn in each of `count` resamples of whole accounts.

    The Poisson bootstrap (Chamandy et al. 2012): every account is drawn Poisson(1) times, so that
    counts vary too and accounts without a row here need not be known.
    """
    codes, accounts = pd.factorize(account)
    random = np.random.default_rng(seed)
    return [random.poisson(1.0, len(accounts))[codes].astype(float) for _ in range(count)]


def with_intervals(
    figures: dict[str, float], resampled: list[dict[str, float]]
) -> dict[str, Estimate]:
    """Return each figure with the middle 90% of its resampled values.

    A calibration error is a size, so resampling adds noise to it a second time; its interval is
    moved back by that bias.
    """
    estimates = {}
    tail = (1 - LEVEL) / 2
    for name, value in figures.items():
        drawn = np.array([draw[name] for draw in resampled])
        drawn = drawn[np.isfinite(drawn)]
        if name == "calibration_error" and len(drawn):
            drawn = np.maximum(drawn - np.median(drawn) + value, 0.0)
        low, high = np.quantile(drawn, [tail, 1 - tail]) if len(drawn) else (np.nan, np.nan)
        estimates[name] = Estimate(float(value), float(low), float(high))
    return estimates
