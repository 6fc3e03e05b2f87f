"""Whole timelines on all cores: how they are cut changes no bit of the result."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

THREADS = min(os.cpu_count() or 1, 8)
_WORTH_A_THREAD = 20_000
"With less work than this a thread costs more than it brings."


def in_threads(run: Callable[[int, int], None], work: npt.NDArray[np.int64]) -> None:
    """Call `run(first, last)` for parts that together are all timelines, of about equal work.

    `work`: how much lies before each timeline, length n_timelines + 1.
    """
    n_timelines, total = len(work) - 1, int(work[-1])
    if total < _WORTH_A_THREAD or THREADS == 1:
        run(0, n_timelines)
        return
    cuts = np.searchsorted(work, np.linspace(0, total, THREADS + 1)[1:-1])
    _run_parts(run, [0, *(int(cut) for cut in cuts), n_timelines])


def rows_in_threads(run: Callable[[int, int], None], n_rows: int) -> None:
    """Call `run(first, last)` for parts that together are all rows, each as much work as another.

    >>> rows_in_threads(lambda first, last: print(first, last), 3)
    0 3
    """
    if n_rows < _WORTH_A_THREAD or THREADS == 1:
        run(0, n_rows)
        return
    _run_parts(run, [n_rows * part // THREADS for part in range(THREADS + 1)])


def _run_parts(run: Callable[[int, int], None], bounds: list[int]) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        cut = itertools.pairwise(bounds)
        parts = [pool.submit(run, first, last) for first, last in cut if first < last]
    for part in parts:
        part.result()
