"""The loops of a forest: every sum in the order of the trees, so one row and many agree."""

from __future__ import annotations

import numpy as np
from numba import njit

BLOCK = 256
"Rows that go through the forest together: their columns and sums stay in the cache."
_FEW = 8
"Fewer rows than this go one by one."

# Numba compiles a function for the types it is given, so these carry no annotations. No `fastmath`:
# it deletes the checks for NaN.


@njit(cache=True, nogil=True, error_model="numpy")
def add_leaf_values(matrix, first, last, roots, nodes, leaf_values, raw):  # type: ignore[no-untyped-def]
    """Add to `raw` the leaf that each row from `first` to before `last` reaches in each tree."""
    for start in range(first, last, BLOCK):
        for root in roots:
            for row in range(start, min(start + BLOCK, last)):
                at = root
                while at >= 0:
                    node = nodes[at]
                    value = matrix[row, node.feature]
                    goes_left = (value <= node.threshold) | (
                        (value != value) & (node.nan_left != 0)
                    )
                    at = node.left if goes_left else node.right
                raw[row] += leaf_values[~at]


@njit(cache=True, nogil=True, error_model="numpy")
def _share_out(value, ratios, met, n_terms, rules, factors, shares):  # type: ignore[no-untyped-def]
    """Fill `shares` with what each term of a leaf contributes; see `models.forest_tables`."""
    n_points = (n_terms + 1) // 2
    for term in range(n_terms):
        shares[term] = 0.0
    for point in range(n_points):
        t = rules[0, n_points, point]
        product = rules[1, n_points, point]
        for term in range(n_terms):
            factors[term] = ratios[term] * (1.0 - t) + met[term] * t
            product *= factors[term]
        for term in range(n_terms):
            shares[term] += product / factors[term]
    for term in range(n_terms):
        shares[term] *= value * (met[term] - ratios[term])


@njit(cache=True, nogil=True, error_model="numpy")
def fill_tables(leaves, terms, groups, rules, cells):  # type: ignore[no-untyped-def]
    """Add the contributions of each leaf to the table of its group."""
    for leaf in leaves:
        group = groups[leaf.group]
        mine = terms[leaf.term : leaf.term + leaf.n_terms]
        ratios, met = np.empty(leaf.n_terms), np.empty(leaf.n_terms)
        factors = np.empty(leaf.n_terms)
        for term in range(leaf.n_terms):
            ratios[term] = mine[term].ratio
        shares = np.empty((1 << leaf.n_terms, leaf.n_terms))
        for case in range(1 << leaf.n_terms):
            for term in range(leaf.n_terms):
                met[term] = (case >> term) & 1
            _share_out(leaf.value, ratios, met, leaf.n_terms, rules, factors, shares[case])
        for pattern in range(1 << group.n_splits):
            case = 0
            for term in range(leaf.n_terms):
                case |= ((pattern & mine[term].mask) == mine[term].wanted) << term
            line = group.cell + pattern * group.n_columns
            for term in range(leaf.n_terms):
                cells[line + mine[term].column] += shares[case, term]


@njit(cache=True, nogil=True, error_model="numpy")
def _add_long_leaf(values, leaf, terms, rules, buffers, sums):  # type: ignore[no-untyped-def]
    """Add the contributions of a leaf in no group to `sums`, one a feature."""
    ratios, met, factors, shares = buffers[0], buffers[1], buffers[2], buffers[3]
    for place in range(leaf.n_terms):
        term = terms[leaf.term + place]
        value = values[term.column]
        if value != value:
            met[place] = term.nan_meets
        else:
            met[place] = value <= term.high and not value <= term.low
        ratios[place] = term.ratio
    _share_out(leaf.value, ratios, met, leaf.n_terms, rules, factors, shares)
    for place in range(leaf.n_terms):
        sums[terms[leaf.term + place].column] += shares[place]


@njit(cache=True, nogil=True, error_model="numpy")
def _add_row(values, splits, groups, columns, cells, lines, sums):  # type: ignore[no-untyped-def]
    """Add the lines that one row finds in the tables to `sums`, one a feature."""
    # All lines first: then the processor can fetch many of them from memory at a time. Unsigned
    # places spare it the question whether they count from the end.
    for number in range(len(groups)):
        group = groups[number]
        pattern = 0
        for bit in range(group.n_splits):
            split = splits[np.uint64(group.split + bit)]
            pattern |= (values[np.uint64(split.value)] <= split.threshold) << bit
        lines[number] = group.cell + pattern * group.n_columns
    for number in range(len(groups)):
        group, line = groups[number], lines[number]
        for place in range(group.n_columns):
            column = np.uint64(columns[np.uint64(group.column + place)])
            sums[column] += cells[np.uint64(line + place)]


@njit(cache=True, nogil=True, error_model="numpy")
def _add_block(  # type: ignore[no-untyped-def]
    values, n_rows, splits, groups, columns, cells, patterns, lines, sums
):
    """Add the lines that a block of rows finds in the tables to `sums`.

    `values` and `sums` are by feature, BLOCK rows each: one answer of all rows is one loop.
    """
    for group in groups:
        patterns[:] = 0
        for bit in range(group.n_splits):
            split = splits[group.split + bit]
            column, threshold, flag = values[split.value], split.threshold, np.int32(1 << bit)
            for row in range(n_rows):
                patterns[row] |= flag if column[row] <= threshold else np.int32(0)
        for row in range(n_rows):
            lines[row] = group.cell + patterns[row] * group.n_columns
        for place in range(group.n_columns):
            into = sums[columns[group.column + place]]
            for row in range(n_rows):
                into[row] += cells[lines[row] + place]


@njit(cache=True, nogil=True, error_model="numpy")
def add_contributions(  # type: ignore[no-untyped-def]
    matrix, first, last, features, splits, groups, columns, cells, long_leaves, terms, rules, out
):
    """Fill the lines of `out` from `first` to before `last`, shape (rows, features of the model).

    Alone or in a block, a row's sums are made of the same numbers in the same order.
    """
    n_features, in_blocks = len(features), last - first >= _FEW
    most_terms = 1
    for leaf in long_leaves:
        most_terms = max(most_terms, leaf.n_terms)
    buffers = np.empty((4, most_terms))
    alone, alone_sums = np.empty(2 * n_features), np.empty(n_features)
    values = np.empty((2 * n_features, BLOCK if in_blocks else 0))
    sums = np.empty((n_features, BLOCK if in_blocks else 0))
    patterns = np.empty(BLOCK, dtype=np.int32)
    lines = np.empty(max(BLOCK, len(groups)), dtype=np.int64)
    for start in range(first, last, BLOCK):
        n_rows = min(BLOCK, last - start)
        if in_blocks:
            for row in range(n_rows):
                for place in range(n_features):
                    value = matrix[start + row, features[place]]
                    values[place, row] = value
                    values[n_features + place, row] = -np.inf if value != value else value
            sums[:] = 0.0
            _add_block(values, n_rows, splits, groups, columns, cells, patterns, lines, sums)
        for row in range(n_rows):
            for place in range(n_features):
                value = matrix[start + row, features[place]]
                alone[place] = value
                alone[n_features + place] = -np.inf if value != value else value
                alone_sums[place] = sums[place, row] if in_blocks else 0.0
            if not in_blocks:
                _add_row(alone, splits, groups, columns, cells, lines, alone_sums)
            for leaf in long_leaves:
                _add_long_leaf(alone, leaf, terms, rules, buffers, alone_sums)
            for place in range(n_features):
                out[start + row, features[place]] = alone_sums[place]
