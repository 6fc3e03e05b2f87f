"""Who is fitted on, who is validated on, who is tested on. No label window is ever shared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.config import TrainingConfig
from features.errors import InputError

Fold = tuple[np.ndarray, np.ndarray]
"""Row numbers to train on, row numbers to validate on."""
LEAST_TRAINED_SHARE = 0.15
"""Of the wins. A short history purged on both sides of a block leaves too little to train on."""


@dataclass(frozen=True)
class Split:
    """The evaluation split of the matured rows. Rows in neither part lie in the gap."""

    is_fit: np.ndarray
    is_test: np.ndarray
    test_from: pd.Timestamp | None
    "None without dates."
    test_until: pd.Timestamp | None
    "Exclusive."


def split_by_time(as_of: np.ndarray, training: TrainingConfig, gap_days: int) -> Split:
    """Return the split in which the newest part is the test.

    A fit row counts only if its label was known when the test starts:
    `as_of + gap_days <= test_from`.
    """
    start = training.test_from
    if start is None:
        first, last = pd.Timestamp(as_of.min()), pd.Timestamp(as_of.max())
        test_from = (last - (last - first) * training.test_share).floor("D")
    else:
        test_from = pd.Timestamp(start)
    until = training.test_until
    newest = pd.Timestamp(as_of.max())
    test_until = newest.floor("D") + pd.Timedelta(days=1) if until is None else pd.Timestamp(until)
    limit = np.datetime64(test_from - pd.Timedelta(days=gap_days), "us")
    is_fit = as_of <= limit
    is_test = (as_of >= np.datetime64(test_from, "us")) & (as_of < np.datetime64(test_until, "us"))
    if not is_fit.any() or not is_test.any():
        empty = "fit" if not is_fit.any() else "test"
        raise InputError(
            f"No {empty} rows: the matured snapshots run from {pd.Timestamp(as_of.min()):%Y-%m-%d} "
            f"to {pd.Timestamp(as_of.max()):%Y-%m-%d}, the test starts {test_from:%Y-%m-%d} and "
            f"fit rows must be {gap_days} days older. Load a longer history, or set "
            "training.test_from, training.horizon_days or training.gap_days."
        )
    return Split(is_fit, is_test, test_from, test_until)


def split_by_account(account: np.ndarray, training: TrainingConfig) -> Split:
    """Return a random split that keeps every account whole, for rows without dates."""
    is_test = _account_share(account, training.seed) < training.test_share
    return Split(~is_test, is_test, None, None)


def time_folds(as_of: np.ndarray, count: int, gap_days: int) -> list[Fold]:
    """Return time blocks of about equal row counts, each purged by the gap on both sides.

    A row may be trained on for a block only if its label window and those of the block do not
    overlap: it lies `gap_days` before the block's start or after its end.
    """
    gap = np.timedelta64(gap_days, "D")
    ordered = np.sort(as_of)
    edges = np.unique(ordered[[int(len(ordered) * k / count) for k in range(1, count)]])
    block = np.searchsorted(edges, as_of, side="right")
    folds = []
    for k in np.unique(block):
        valid = block == k
        start, end = as_of[valid].min(), as_of[valid].max()
        train = (as_of + gap <= start) | (as_of - gap >= end)
        train &= ~valid
        folds.append((np.flatnonzero(train), np.flatnonzero(valid)))
    return folds


def without_shared_leads(folds: list[Fold], lead: np.ndarray) -> list[Fold]:
    """Return the folds with no lead both trained on and validated on; `lead` one entry a row.

    For gaps shorter than the horizon, where a lead's label windows reach over the purged rows.
    """
    return [(train[~np.isin(lead[train], lead[valid])], valid) for train, valid in folds]


def are_trainable(folds: list[Fold], won: np.ndarray) -> bool:
    """Return whether every fold trains on enough of the wins, and on rows that did not win."""
    return all(
        won[train].sum() >= max(LEAST_TRAINED_SHARE * won.sum(), 1) and not won[train].all()
        for train, _ in folds
    )


def account_folds(account: np.ndarray, count: int, seed: int) -> list[Fold]:
    """Return `count` folds that keep every account whole, for no dates or a short history."""
    block = np.floor(_account_share(account, seed + 1) * count).astype(int)
    return [
        (np.flatnonzero(block != k), np.flatnonzero(block == k))
        for k in range(count)
        if (block == k).any()
    ]


def _account_share(account: np.ndarray, seed: int) -> np.ndarray:
    """Return a number in [0, 1) per row, equal within an account, evenly spread over accounts."""
    codes, accounts = pd.factorize(account, sort=True)
    shuffled = np.random.default_rng(seed).permutation(len(accounts))
    return np.asarray((shuffled[codes] + 0.5) / len(accounts))
