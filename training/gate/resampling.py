"""The paired bootstrap: both models on the same resamples of whole accounts.

A figure of the gate is a formula of sums over rows. The sums are kept by account, so that a
resample costs one product of matrices, however many rows there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.special import gammaln

AT_ONCE = 250
"""Resamples in one product; bounds the memory."""

BLOCK = 1024
"""Accounts are drawn in blocks, so that samples of about the same size share their draws."""

Sums = Mapping[str, np.ndarray]
"Weighted sums by name: of all rows, shape (), or of each resample, shape (resamples,)."


@dataclass(frozen=True)
class Resampled:
    """The sums of all rows, and those of every resample."""

    total: Sums
    drawn: Sums


def resampled(
    parts: Sequence[tuple[np.ndarray, Mapping[str, np.ndarray]]], count: int, seed: int
) -> Resampled:
    """Return sums over rows, of all accounts and of `count` resamples of them.

    `parts` are pairs of an account code a row and the values to add up by name, so that rows of
    different kinds (snapshots, MQLs, wins) are drawn together with their account. The Poisson
    bootstrap, as in `training.metrics.resamples`. Neither the order of rows nor the accounts' codes
    change the result: accounts are brought into an order of their sums before they are drawn.
    """
    codes, accounts = pd.factorize(np.concatenate([account for account, _ in parts]))
    names: list[str] = []
    columns = []
    first = 0
    for account, values in parts:
        own = codes[first : first + len(account)]
        first += len(account)
        names += values
        columns += [np.bincount(own, value, minlength=len(accounts)) for value in values.values()]
    by_account = np.column_stack(columns)
    by_account = by_account[np.lexsort(np.round(by_account, 9).T)]
    drawn = np.empty((count, len(names)))
    draws = _draws(len(accounts), count, seed)
    for start in range(0, count, AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        drawn[rows] = draws[rows].astype(np.float64) @ by_account
    total = by_account.sum(axis=0)
    return Resampled(
        {name: total[place] for place, name in enumerate(names)},
        {name: drawn[:, place] for place, name in enumerate(names)},
    )


def _draws(accounts: int, count: int, seed: int) -> np.ndarray:
    """Return how often each account is drawn in each resample, (count, accounts)."""
    return _drawn(-(-accounts // BLOCK) * BLOCK, count, seed)[:, :accounts]


@lru_cache(maxsize=1)
def _drawn(accounts: int, count: int, seed: int) -> np.ndarray:
    """Return Poisson(1) counts read off a table at 16 random bits: 20 times as fast as drawn."""
    below = np.cumsum(np.exp(-gammaln(np.arange(1, 11)) - 1))
    table = np.searchsorted(below, (np.arange(1 << 16) + 0.5) / (1 << 16)).astype(np.uint8)
    random = np.random.default_rng(seed)
    draws = np.empty((count, accounts), np.uint8)
    for row in draws:
        row[:] = table[random.integers(0, 1 << 16, accounts, dtype=np.uint16)]
    draws.setflags(write=False)
    return draws
