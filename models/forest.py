"""A LightGBM forest, read and run by ourselves: raw scores and exact SHAP values.

Importing LightGBM takes seconds, and a damaged text model kills its process or never returns. Here
a forest is plain arrays, checked when they are read.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from models.forest_kernels import BLOCK, add_contributions, add_leaf_values
from models.forest_tables import Tables, tables_of
from models.forest_text import Trees, read_trees

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Forest:
    """Trees that are summed; equal when their texts are."""

    text: str = field(repr=False)
    "LightGBM's text model, as it was written."
    trees: Trees = field(repr=False, compare=False)
    base_raw_score: float = field(compare=False)
    "Mean raw score of the training rows: where the contributions start from."
    _kept: list[Tables] = field(default_factory=list, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @classmethod
    def of_text(cls, text: str) -> Forest:
        """Return the forest of a LightGBM text model; ValueError as in `read_trees`."""
        trees = read_trees(text)
        return cls(text, trees, _expected_raw_score(trees))

    @property
    def n_features(self) -> int:
        """Columns of a matrix to score."""
        return self.trees.n_features

    @property
    def n_trees(self) -> int:
        """How many trees are summed."""
        return len(self.trees.roots)

    def raw_scores(self, matrix: Floats, num_threads: int = 1) -> Floats:
        """Return the sum of the trees for each row of `matrix` (rows, features); missing is NaN.

        The same bits as LightGBM's `predict(raw_score=True)`, alone or with others, whatever the
        threads.
        """
        rows = self._checked(matrix)
        trees, raw = self.trees, np.zeros(len(rows))
        _in_threads(
            lambda first, last: add_leaf_values(
                rows, first, last, trees.roots, trees.nodes, trees.leaf_values, raw
            ),
            len(rows),
            num_threads,
        )
        return raw

    def contributions(self, matrix: Floats, num_threads: int = 1) -> Floats:
        """Return the SHAP values of the raw score, shape (rows, features).

        Exact and path-dependent, as LightGBM's `pred_contrib` and `shap.TreeExplainer` have them;
        a row's sum is its raw score less `base_raw_score`. A row's bits depend on no other row and
        not on the threads. The first call builds the tables they are looked up in.
        """
        rows = self._checked(matrix)
        tables = self.tables()
        found = np.zeros(rows.shape)
        _in_threads(
            lambda first, last: add_contributions(
                rows,
                first,
                last,
                tables.features,
                tables.splits,
                tables.groups,
                tables.columns,
                tables.cells,
                tables.long_leaves,
                tables.terms,
                tables.quadrature,
                found,
            ),
            len(rows),
            num_threads,
        )
        return found

    def tables(self) -> Tables:
        """Return what contributions are looked up in, built once."""
        with self._lock:
            if not self._kept:
                self._kept.append(tables_of(self.trees))
            return self._kept[0]

    def _checked(self, matrix: Floats) -> Floats:
        """Return the matrix as the kernels want it; they look at no bounds."""
        rows = np.ascontiguousarray(matrix, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.n_features:
            raise ValueError(f"the forest has {self.n_features} features, not shape {rows.shape}")
        return rows


def _expected_raw_score(trees: Trees) -> float:
    """Return the mean leaf value of each tree, weighted by its training rows, summed."""
    total = 0.0
    for first, last in itertools.pairwise(trees.leaf_starts):
        counts = trees.leaf_counts[first:last]
        total += float((counts / counts.sum()) @ trees.leaf_values[first:last])
    return total


def _in_threads(run: Callable[[int, int], None], n_rows: int, num_threads: int) -> None:
    """Call `run(first, last)` for parts that together are all rows."""
    n_parts = min(num_threads, -(-n_rows // BLOCK))
    if n_parts <= 1:
        run(0, n_rows)
        return
    bounds = [n_rows * part // n_parts for part in range(n_parts + 1)]
    with ThreadPoolExecutor(n_parts) as pool:
        parts = [pool.submit(run, first, last) for first, last in itertools.pairwise(bounds)]
    for part in parts:
        part.result()
