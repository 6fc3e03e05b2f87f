"""Fitting the calibration: which map from raw scores to log-odds the out-of-fold rows support."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit

from models.calibration import Calibration
from training.fitting.boost import recency_weights
from training.metrics import is_clear_gain, row_log_loss

KNOTS = 7
STIFFNESS = 10.0
"""Penalty on changes of the log slope between neighbouring segments, in units of wins."""
PRIOR_WINS = 10.0
"""How many wins it takes to move the slope away from 1 half-way: shrinks small data."""
HALF_LIVES_DAYS = (None, 365, 182, 91)
SPREADS = (0.0, *np.geomspace(0.02, 1.0, 20))
"""Standard deviations of the segments' shifts, in log-odds, to choose from."""
LEAST_SUPPORT = 1.35
"""Gain in log marginal likelihood that segments without differences exceed one time in twenty
(half of a chi-squared quantile, since a spread cannot be negative: Self and Liang 1987)."""
NEWTON_STEPS = 50


def fit_calibration(
    raw_score: np.ndarray,
    won: np.ndarray,
    weight: np.ndarray,
    account: np.ndarray,
    fold: np.ndarray,
) -> Calibration:
    """Return the affine map (Platt 1999), or a bent one where held-out folds clearly prefer it.

    `raw_score` holds out-of-fold log-odds and `fold` each row's fold number, both one a row. The
    bent map is piecewise linear through knots at equal shares of the wins. Clearly: see
    `is_clear_gain`.
    """
    held_out = {True: np.full(len(won), np.nan), False: np.full(len(won), np.nan)}
    for number in np.unique(fold):
        valid = fold == number
        if won[valid].sum() == 0 or won[~valid].sum() == 0:
            continue
        for bent, losses in held_out.items():
            fitted = _fit(raw_score[~valid], won[~valid], weight[~valid], bent)
            losses[valid] = row_log_loss(won[valid], fitted.probability(raw_score[valid]))
    is_bent = is_clear_gain(held_out[False] - held_out[True], weight, account)
    return _fit(raw_score, won, weight, is_bent)


def choose_half_life(
    raw_score: np.ndarray,
    won: np.ndarray,
    weight: np.ndarray,
    account: np.ndarray,
    as_of: np.ndarray,
    gap_days: int,
) -> int | None:
    """Return the half-life, in days, with which the past calibrates what comes after it best.

    Each of the later quarters of the rows is calibrated by the rows whose labels were known when
    it began. None, no forgetting, unless another is clearly better.
    """
    edges = np.quantile(as_of.astype(np.int64), [0.25, 0.5, 0.75, 1.0]).astype("datetime64[us]")
    losses = {half_life: np.full(len(won), np.nan) for half_life in HALF_LIVES_DAYS}
    for start, end in pairwise(edges):
        valid = (as_of >= start) & (as_of <= end)
        known = as_of + np.timedelta64(gap_days, "D") <= start
        if won[known].sum() < PRIOR_WINS or not valid.any():
            continue
        for half_life, loss in losses.items():
            recent = weight[known] * recency_weights(as_of[known], half_life)
            fitted = _fit(raw_score[known], won[known], recent, is_bent=False)
            loss[valid] = row_log_loss(won[valid], fitted.probability(raw_score[valid]))
    best = None
    for half_life in HALF_LIVES_DAYS[1:]:
        if is_clear_gain(losses[best] - losses[half_life], weight, account):
            best = half_life
    return best


def with_shifts(
    calibration: Calibration,
    raw_score: np.ndarray,
    won: np.ndarray,
    weight: np.ndarray,
    account: np.ndarray,
    segments: pd.Series,
    values: Sequence[str],
) -> Calibration:
    """Return `calibration` with a shift for each of `values` of the column `segments`.

    All arrays and `segments` hold one entry a row, `raw_score` out of fold. A shift is the mode
    given the segment's outcomes and a normal prior around 0, the same for all segments, whose
    spread maximises the marginal likelihood (empirical Bayes, Laplace's approximation). So few
    wins move little, and segments that differ by no more than chance get no shift at all. Rows of
    an account are no independent evidence: the likelihood is divided by the variance of the
    accounts' scores over that of independent rows (quasi-likelihood, McCullagh 1983).
    """
    log_odds = calibration.apply(raw_score)
    codes = pd.Index(list(values), dtype="str").get_indexer(pd.Index(segments.astype("str")))
    evidence = weight / _dispersion(log_odds, won, weight, account)
    groups = [codes == code for code in range(len(values))]
    rows = [(log_odds[group], won[group], evidence[group]) for group in groups]
    tried = [[_mode(*segment, spread) for segment in rows] for spread in SPREADS]
    support = [sum(found for _, found in modes) for modes in tried]
    best = int(np.argmax(support))
    if support[best] - support[0] < LEAST_SUPPORT:
        best = 0
    shifts = {value: shift for value, (shift, _) in zip(values, tried[best], strict=True)}
    return replace(calibration, segment_by=str(segments.name), shifts=shifts)


def _dispersion(
    log_odds: np.ndarray, won: np.ndarray, weight: np.ndarray, account: np.ndarray
) -> float:
    """Return how much more the sum of residuals varies, by whole accounts, than for lone rows."""
    probability = expit(log_odds)
    codes, accounts = pd.factorize(account)
    sums = np.bincount(codes, weight * (won - probability), minlength=len(accounts))
    alone = float(weight @ (probability * (1 - probability)))
    return float((sums**2).sum()) / alone if alone > 0 else 1.0


def _mode(
    log_odds: np.ndarray, won: np.ndarray, weight: np.ndarray, spread: float
) -> tuple[float, float]:
    """Return the likeliest shift under a normal prior, and the log of its marginal likelihood."""
    shift = 0.0
    if spread > 0:
        for _ in range(NEWTON_STEPS):
            probability = expit(log_odds + shift)
            slope = weight @ (won - probability) - shift / spread**2
            bend = weight @ (probability * (1 - probability)) + 1 / spread**2
            # No more than 1 at a time: where hardly any probability is left, Newton leaps.
            step = float(np.clip(slope / bend, -1, 1))
            shift += step
            if abs(step) < 1e-9:
                break
    shifted = log_odds + shift
    likelihood = weight @ (won * shifted - np.logaddexp(0, shifted))
    information = weight @ (expit(shifted) * expit(-shifted))
    prior = (shift / spread) ** 2 / 2 if spread > 0 else 0.0
    return shift, float(likelihood - prior - np.log1p(spread**2 * information) / 2)


def _fit(raw_score: np.ndarray, won: np.ndarray, weight: np.ndarray, is_bent: bool) -> Calibration:
    """Return the penalised maximum likelihood map; slopes are exponentials, so always positive."""
    if is_bent:
        quantiles = np.quantile(raw_score[won > 0], np.linspace(0.05, 0.95, KNOTS))
        # rounded, since knots that differ by a rounding error have no room to rise between them
        knots = np.unique(np.round(quantiles, 6))
    else:
        knots = np.array([np.average(raw_score, weights=weight)])
    segments = len(knots) + 1

    def mapped(parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        slopes = np.exp(parameters[1:])
        inner = slopes[1:-1] if is_bent else np.empty(0)
        values = knots[0] + parameters[0] + np.append(0.0, np.cumsum(inner * np.diff(knots)))
        return values, slopes

    basis = _segment_lengths(raw_score, knots)

    def penalised_loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        slopes = np.exp(parameters[1:]) if is_bent else np.repeat(np.exp(parameters[1]), 2)
        log_odds = knots[0] + parameters[0] + basis @ slopes
        loss = weight @ (np.logaddexp(0, log_odds) - won * log_odds)
        residual = weight * (expit(log_odds) - won)
        by_slope = (residual @ basis) * slopes
        gradient = np.append(residual.sum(), by_slope if is_bent else by_slope.sum())
        logs = parameters[1:]
        loss += PRIOR_WINS * logs.mean() ** 2
        gradient[1:] += PRIOR_WINS * 2 * logs.mean() / len(logs)
        if is_bent:
            steps = np.diff(logs)
            loss += STIFFNESS * (steps**2).sum()
            gradient[1:] += STIFFNESS * 2 * (np.append(0, steps) - np.append(steps, 0))
        return float(loss), gradient

    start = np.zeros(1 + (segments if is_bent else 1))
    found = minimize(penalised_loss, start, jac=True, method="L-BFGS-B").x
    values, slopes = mapped(found)
    return Calibration(
        tuple(map(float, knots)), tuple(map(float, values)), float(slopes[0]), float(slopes[-1])
    )


def _segment_lengths(raw_score: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Return, a row and segment, the signed length from the first knot to the raw score.

    Times the slopes of the segments this is the map's rise over the first knot. Shape
    (rows, knots + 1): below the first knot, between knots, above the last.
    """
    below = np.minimum(raw_score - knots[0], 0)
    above = np.maximum(raw_score - knots[-1], 0)
    between = [np.clip(raw_score, low, high) - low for low, high in pairwise(knots)]
    return np.column_stack([below, *between, above])
