"""Dated facts: what was known of whom before an instant. The only place that compares instants.

Owners (leads, accounts) are integers from 0, instants int64 microseconds since 1970, UTC.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from numba import njit

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

DAY = 86_400_000_000
"Microseconds of a day."
ALWAYS = int(np.iinfo(np.int64).min) + 1
"Before every instant. One above the minimum, which NumPy reads as not-a-time."
NEVER = int(np.iinfo(np.int64).max)
"After every instant."


def micros(instants: pd.Series, missing: int = NEVER) -> Int64s:
    """Return instants as int64 microseconds since 1970, `missing` where there is none.

    >>> micros(pd.Series(pd.to_datetime(["1970-01-02", None]))).tolist() == [DAY, NEVER]
    True
    """
    values = instants.to_numpy(dtype="datetime64[us]")
    return np.where(np.isnat(values), np.int64(missing), values.view(np.int64))


FEW = 8
"""So many rows times questions are looked at one by one: one lead alone, as most live requests
have, takes longer to hand to compiled code."""


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]  # numba has no types
def group_starts(owners: Int64s, n_owners: int) -> Int64s:
    """Return where each owner's slice starts once rows are sorted by owner; length n_owners + 1.

    Rows of no owner (-1) are left out.
    """
    starts = np.zeros(n_owners + 1, np.int64)
    for owner in owners:
        if owner >= 0:
            starts[owner + 1] += 1
    for owner in range(n_owners):
        starts[owner + 1] += starts[owner]
    return starts


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]  # numba has no types
def _last_before(starts: Int64s, known_at: Int64s, owners: Int64s, instants: Int64s) -> Int64s:
    positions = np.empty(len(owners), np.int64)
    for query in range(len(owners)):
        positions[query] = row_before(starts, known_at, owners[query], instants[query])
    return positions


@njit(cache=True, nogil=True)
def row_before(starts, known_at, owner, instant):  # type: ignore[no-untyped-def]
    """Return the position of the owner's newest row known before the instant, else -1.

    An owner of -1 has none.
    """
    if owner < 0:
        return -1
    low, high = starts[owner], starts[owner + 1]
    while low < high:
        middle = (low + high) // 2
        if known_at[middle] < instant:
            low = middle + 1
        else:
            high = middle
    return low - 1 if low > starts[owner] else -1


@njit(cache=True, nogil=True)
def _newest(starts, known_at, values, owners, instants, missing):  # type: ignore[no-untyped-def]
    rows = _last_before(starts, known_at, owners, instants)
    newest = np.full(len(rows), missing, np.int64)
    for query in range(len(rows)):
        if rows[query] >= 0:
            newest[query] = values[rows[query]]
    return newest


@njit(cache=True, nogil=True)
def _count(starts, known_at, owners, instants):  # type: ignore[no-untyped-def]
    rows = _last_before(starts, known_at, owners, instants)
    counts = np.zeros(len(rows), np.int64)
    for query in range(len(rows)):
        if rows[query] >= 0:
            counts[query] = rows[query] - starts[owners[query]] + 1
    return counts


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]  # numba has no types
def sorted_history(
    owners: Int64s, n_owners: int, known_at: Int64s, values: Int64s
) -> tuple[Int64s, Int64s, Int64s]:
    """Return the slice of each owner, and instants and values by owner, instant and value."""
    starts = group_starts(owners, n_owners)
    free = starts[:-1].copy()
    instants, kept = np.empty(starts[-1], np.int64), np.empty(starts[-1], np.int64)
    for row in range(len(owners)):
        if owners[row] >= 0:
            place = free[owners[row]]
            instants[place], kept[place] = known_at[row], values[row]
            free[owners[row]] += 1
    for owner in range(n_owners):
        low, high = starts[owner], starts[owner + 1]
        # Exports mostly arrive in order: sort only the slices that are not.
        for place in range(low + 1, high):
            is_later = instants[place] > instants[place - 1]
            if not is_later and (
                instants[place] < instants[place - 1] or kept[place] < kept[place - 1]
            ):
                by_value = np.argsort(kept[low:high], kind="mergesort")
                order = by_value[np.argsort(instants[low:high][by_value], kind="mergesort")]
                instants[low:high] = instants[low:high][order]
                kept[low:high] = kept[low:high][order]
                break
    return starts, instants, kept


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]  # numba has no types
def keep_largest(starts: Int64s, values: Int64s) -> None:
    """Replace each value by the largest of its owner so far."""
    for owner in range(len(starts) - 1):
        for row in range(starts[owner] + 1, starts[owner + 1]):
            values[row] = max(values[row], values[row - 1])


def ranges(first: Int64s, last: Int64s) -> tuple[Int64s, Int64s]:
    """Return every integer of the ranges [first, last), and which range each comes from.

    >>> ranges(np.array([3, 7]), np.array([5, 8]))
    (array([3, 4, 7]), array([0, 0, 1]))
    """
    lengths = np.maximum(last - first, 0)
    which = np.repeat(np.arange(len(first)), lengths)
    ends = np.cumsum(lengths)
    return np.arange(len(which)) - (ends - lengths)[which] + first[which], which


@dataclass(frozen=True)
class History:
    """Values of many owners, each known from an instant on, sorted by owner and instant."""

    starts: Int64s
    known_at: Int64s
    values: Int64s

    @classmethod
    def of(cls, owners: Int64s, n_owners: int, known_at: Int64s, values: Int64s) -> History:
        """Return the history of rows in any order; rows of no owner (-1) are left out.

        Of rows known at the same instant the largest value counts as the newest.
        """
        # One lead alone, as most live requests have: what it takes otherwise is calls.
        if n_owners <= 1 and (not len(owners) or (len(owners) == 1 and owners[0] >= 0)):
            starts = np.full(n_owners + 1, len(owners), np.int64)
            starts[0] = 0
            return cls(starts, known_at, values)
        return cls(*sorted_history(owners, n_owners, known_at, values))

    @classmethod
    def of_newest(cls, owners: Int64s, n_owners: int, known_at: Int64s, values: Int64s) -> History:
        """Return the history of the largest value known so far: `newest` is then the maximum."""
        history = cls.of(owners, n_owners, known_at, values)
        keep_largest(history.starts, history.values)
        return history

    def rows(self, owners: Int64s, instants: Int64s) -> Int64s:
        """Return the position of each owner's newest row known before the instant, else -1."""
        return np.asarray(_last_before(self.starts, self.known_at, owners, instants))

    def newest(self, owners: Int64s, instants: Int64s, missing: int = ALWAYS) -> Int64s:
        """Return each owner's newest value known before the instant, else `missing`."""
        if len(owners) * len(self.values) <= FEW:
            return np.array(self._newest_of_few(owners, instants, missing), np.int64)
        found = _newest(self.starts, self.known_at, self.values, owners, instants, missing)
        return np.asarray(found)

    def _newest_of_few(self, owners: Int64s, instants: Int64s, missing: int) -> list[int]:
        starts, known_at = self.starts.tolist(), self.known_at.tolist()
        values = self.values.tolist()
        found = []
        for owner, instant in zip(owners.tolist(), instants.tolist(), strict=True):
            newest = missing
            for row in range(starts[owner], starts[owner + 1]) if owner >= 0 else ():
                if known_at[row] < instant:
                    newest = values[row]
            found.append(newest)
        return found

    def count(self, owners: Int64s, instants: Int64s) -> Int64s:
        """Return how many rows of each owner are known before the instant."""
        return np.asarray(_count(self.starts, self.known_at, owners, instants))
