"""Counts and shares whose rows come in accounts: 90% intervals, and a test.

Leads of one account win together, so a hundred MQLs are less evidence than a hundred strangers.
Rows are summed by account, and the spread of those sums tells how many independent rows they are
worth. Percentile bootstraps do the same for large counts; with few wins their intervals are too
short (measured by `benchmarks/cutoff.py`), these hold.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from training.metrics import LEVEL

TAIL = (1 - LEVEL) / 2


def count_interval(account: np.ndarray) -> tuple[float, float]:
    """Return the 90% interval of the number of rows to expect, given one account a row.

    Accounts come at random and bring their rows along: a Poisson count of `rows / dispersion`
    accounts, times the dispersion (mid-P limits through the gamma distribution). No row at all:
    up to the three that may as well have come.

    >>> low, high = count_interval(np.arange(100))
    >>> round(low), round(high)
    (85, 118)
    """
    from scipy.stats import gamma

    if len(account) == 0:
        return 0.0, float(-np.log(TAIL))
    rows = _sums(account, np.ones(len(account)))[0]
    dispersion = float((rows**2).sum() / rows.sum())
    shape = rows.sum() / dispersion + 0.5
    return tuple(float(dispersion * gamma.ppf(tail, shape)) for tail in (TAIL, 1 - TAIL))  # type: ignore[return-value]  # two tails, two limits


def share_interval(account: np.ndarray, is_hit: np.ndarray) -> tuple[float, float]:
    """Return the 90% interval of the share of hits; arrays hold one entry a row.

    Wilson's (1927) interval on the effective number of rows (Korn & Graubard 1998), with Student's
    quantile where few accounts hold the hits, or the misses. NaN without rows.

    >>> low, high = share_interval(np.arange(100), np.arange(100) < 20)
    >>> round(low, 2), round(high, 2)
    (0.14, 0.28)
    """
    from scipy.stats import t as student

    if len(account) == 0:
        return float("nan"), float("nan")
    rows, hits = _sums(account, np.ones(len(account)), is_hit.astype(float))
    share = hits.sum() / rows.sum()
    effective = effective_rows(rows, hits)
    known_by = min((hits > 0).sum(), (hits < rows).sum())
    quantile = float(student.ppf(1 - TAIL, max(2 * known_by - 1, 3)))
    squared = quantile**2 / effective
    middle = (share + squared / 2) / (1 + squared)
    half = quantile * np.sqrt(share * (1 - share) / effective + squared / effective / 4)
    half /= 1 + squared
    return float(max(middle - half, 0.0)), float(min(middle + half, 1.0))


def exceeds_p_value(account: np.ndarray, is_hit: np.ndarray, share: float) -> float:
    """Return how likely so many hits, or more, would be if the true share were at most `share`.

    The exact binomial tail on the effective numbers of rows and hits. 1 without rows or hits.

    >>> round(exceeds_p_value(np.arange(100), np.arange(100) < 20, share=0.1), 3)
    0.002
    """
    from scipy.stats import beta

    if len(account) == 0 or not is_hit.any():
        return 1.0
    rows, hits = _sums(account, np.ones(len(account)), is_hit.astype(float))
    effective = effective_rows(rows, hits)
    found = effective * hits.sum() / rows.sum()
    return float(beta.cdf(share, found, effective - found + 1))


def effective_rows(rows: np.ndarray, hits: np.ndarray) -> float:
    """Return how many independent rows are worth as much, given both sums of each account.

    Never more than there are. Hits, or misses, only: each account counts as one outcome.

    >>> float(effective_rows(np.array([2.0, 2.0, 2.0, 2.0]), np.array([2.0, 0.0, 0.0, 2.0])))
    3.0
    """
    total, share = rows.sum(), hits.sum() / rows.sum()
    if share in (0.0, 1.0) or len(rows) == 1:
        return float(total**2 / (rows**2).sum())
    spread = ((hits - share * rows) ** 2).sum() * len(rows) / (len(rows) - 1)
    return float(min(total, total**2 * share * (1 - share) / spread))


def _sums(account: np.ndarray, *columns: np.ndarray) -> list[np.ndarray]:
    codes, accounts = pd.factorize(account)
    return [np.bincount(codes, column, minlength=len(accounts)) for column in columns]
