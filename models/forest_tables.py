"""What the contributions of a forest are looked up in: tables of groups of leaves.

The SHAP value of feature i in one leaf with value v is (path-dependent TreeSHAP, Lundberg et al.
2020; the integral is Owen's, 1972)

    v * (z_i - r_i) * integral over t from 0 to 1 of the product over j != i of r_j (1 - t) + z_j t

over the distinct features j of its path: z_j is 1 where the row meets all conditions on j, else 0,
and r_j is the share of training rows that met them, split by split. The product is a polynomial in
t, so Gauss-Legendre quadrature gives it exactly. It depends on the row only through its answers to
the splits above the leaf. So leaves with few splits above them share a table with a line for every
pattern of answers, holding the sums of their contributions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from models.forest_kernels import fill_tables
from models.forest_text import Trees

SPLIT = np.dtype([("threshold", "f8"), ("value", "i8")], align=True)
"""`value <= threshold` goes left. `value` is a place among the values of a row: first those of all
features, then the same with minus infinity for NaN, which goes left everywhere."""
GROUP = np.dtype(
    [("cell", "i8"), ("split", "i4"), ("n_splits", "i4"), ("column", "i4"), ("n_columns", "i4")],
    align=True,
)
"First cell in the table, first split and column of a group, and how many it has."
LEAF = np.dtype([("value", "f8"), ("group", "i4"), ("term", "i4"), ("n_terms", "i4")], align=True)
TERM = np.dtype(
    [
        ("ratio", "f8"),
        ("low", "f8"),
        ("high", "f8"),
        ("column", "i4"),
        ("mask", "i4"),
        ("wanted", "i4"),
        ("nan_meets", "i4"),
    ],
    align=True,
)
"""One feature on the path to a leaf, met by `low < x <= high`, low NaN where there is none. In a
group: by the answers `wanted` to the splits of `mask`, and `column` is one of the group."""

MOST_SPLITS = 8
"Splits of a group, unless one leaf alone has more: a table has 2 to the power of them lines."
LONGEST = 10
"Splits above a leaf in a group at most."
MOST_CELLS = 4_000_000
"Of all tables, 32 MB; a larger forest gets smaller groups."


@dataclass(frozen=True)
class Tables:
    """All that contributions are made of."""

    features: npt.NDArray[np.int64]
    "The features that any tree splits by; columns of the rest are numbers of these."
    splits: npt.NDArray[np.void]
    groups: npt.NDArray[np.void]
    columns: npt.NDArray[np.int32]
    cells: npt.NDArray[np.float64]
    long_leaves: npt.NDArray[np.void]
    "Leaves with too many splits above them for a table: their formula is computed."
    terms: npt.NDArray[np.void]
    quadrature: npt.NDArray[np.float64]


@dataclass
class _Leaf:
    """A leaf with the splits above it."""

    value: float
    above: list[tuple[int, bool]]
    "From the root: node, and whether the way goes left."


@dataclass(slots=True)
class _Term:
    """A TERM in the making."""

    column: int
    ratio: float = 1.0
    low: float = math.nan
    high: float = math.inf
    mask: int = 0
    wanted: int = 0
    nan_meets: bool = True


@dataclass
class _Group:
    """Leaves of one tree that share a table."""

    nodes: dict[int, int] = field(default_factory=dict)
    "The splits above any of them, and the bit of the answer to each."
    leaves: list[_Leaf] = field(default_factory=list)


def tables_of(trees: Trees) -> Tables:
    """Return the tables of a forest, with as many splits a group as `MOST_CELLS` allows."""
    leaves_of_trees = [_leaves_of(trees, int(root)) for root in trees.roots]
    feature = trees.nodes["feature"].tolist()
    for longest in range(LONGEST, -1, -1):
        groups, long_leaves = _grouped(leaves_of_trees, longest)
        sizes = [(len(g.nodes), len({feature[node] for node in g.nodes})) for g in groups]
        if sum(columns << splits for splits, columns in sizes) <= MOST_CELLS:
            break
    # Loops of one length after another: the processor guesses their ends.
    groups = [groups[place] for place in sorted(range(len(groups)), key=sizes.__getitem__)]
    writer = _Writer(trees)
    for group in groups:
        writer.add_group(group)
    long_from = len(writer.leaves)
    for leaf in long_leaves:
        writer.add_leaf(leaf, group=-1)
    return writer.tables(long_from)


def _leaves_of(trees: Trees, root: int) -> list[_Leaf]:
    """Return the leaves of a tree from left to right; none of a tree that is one leaf."""
    leaves: list[_Leaf] = []
    to_visit: list[tuple[int, list[tuple[int, bool]]]] = [(root, [])] if root >= 0 else []
    left, right = trees.nodes["left"], trees.nodes["right"]
    while to_visit:
        node, above = to_visit.pop()
        if node < 0:
            leaves.append(_Leaf(float(trees.leaf_values[~node]), above))
        else:
            to_visit.append((int(right[node]), [*above, (node, False)]))
            to_visit.append((int(left[node]), [*above, (node, True)]))
    return leaves


def _grouped(leaves_of_trees: list[list[_Leaf]], longest: int) -> tuple[list[_Group], list[_Leaf]]:
    """Return groups of neighbouring leaves with few splits, and the leaves that fit in none."""
    groups, long_leaves = [], []
    for leaves in leaves_of_trees:
        group = _Group()
        for leaf in leaves:
            if len(leaf.above) > longest:
                long_leaves.append(leaf)
                continue
            n_splits = len(group.nodes.keys() | {node for node, _ in leaf.above})
            if group.leaves and n_splits > max(min(MOST_SPLITS, longest), len(leaf.above)):
                groups.append(group)
                group = _Group()
            for node, _ in leaf.above:
                group.nodes.setdefault(node, len(group.nodes))
            group.leaves.append(leaf)
        if group.leaves:
            groups.append(group)
    return groups, long_leaves


class _Writer:
    """Collects the rows of the tables."""

    def __init__(self, trees: Trees) -> None:
        nodes = trees.nodes
        self._features, place = np.unique(nodes["feature"], return_inverse=True)
        self._place = place.tolist()
        self._threshold = nodes["threshold"].tolist()
        self._nan_left = nodes["nan_left"].tolist()
        self._share = {True: _shares(trees, "left"), False: _shares(trees, "right")}
        self.leaves: list[tuple[float, int, int, int]] = []
        self._terms: list[tuple[float, float, float, int, int, int, int]] = []
        self._splits: list[tuple[float, int]] = []
        self._groups: list[tuple[int, int, int, int, int]] = []
        self._columns: list[int] = []
        self._n_cells = 0

    def add_group(self, group: _Group) -> None:
        """Add the splits of a group, its leaves, and room for its table."""
        columns = list(dict.fromkeys(self._place[node] for node in group.nodes))
        for leaf in group.leaves:
            self.add_leaf(leaf, len(self._groups), group.nodes, columns)
        entry = (self._n_cells, len(self._splits), len(group.nodes))
        self._groups.append((*entry, len(self._columns), len(columns)))
        self._splits += [
            (self._threshold[n], self._place[n] + len(self._features) * self._nan_left[n])
            for n in group.nodes
        ]
        self._columns += columns
        self._n_cells += len(columns) << len(group.nodes)

    def add_leaf(
        self,
        leaf: _Leaf,
        group: int,
        bits: Mapping[int, int] | None = None,
        columns: Sequence[int] | None = None,
    ) -> None:
        """Add a leaf and a term for each feature on its path."""
        terms: dict[int, _Term] = {}
        for node, goes_left in leaf.above:
            place, bound = self._place[node], self._threshold[node]
            term = terms.setdefault(place, _Term(columns.index(place) if columns else place))
            term.ratio *= self._share[goes_left][node]
            if goes_left:
                term.high = min(term.high, bound)
            else:
                term.low = bound if math.isnan(term.low) else max(term.low, bound)
            term.nan_meets &= self._nan_left[node] == goes_left
            if bits:
                term.mask |= 1 << bits[node]
                term.wanted |= goes_left << bits[node]
        self.leaves.append((leaf.value, group, len(self._terms), len(terms)))
        self._terms += [
            (t.ratio, t.low, t.high, t.column, t.mask, t.wanted, t.nan_meets)
            for t in terms.values()
        ]

    def tables(self, long_from: int) -> Tables:
        """Return all, their tables filled; the leaves from `long_from` on are in no group."""
        leaves, terms = np.array(self.leaves, dtype=LEAF), np.array(self._terms, dtype=TERM)
        groups = np.array(self._groups, dtype=GROUP)
        rules = _quadrature(int(leaves["n_terms"].max(initial=1)))
        cells = np.zeros(self._n_cells)
        fill_tables(leaves[:long_from], terms, groups, rules, cells)
        return Tables(
            features=self._features.astype(np.int64),
            splits=np.array(self._splits, dtype=SPLIT),
            groups=groups,
            columns=np.array(self._columns, dtype=np.int32),
            cells=cells,
            long_leaves=leaves[long_from:],
            terms=terms,
            quadrature=rules,
        )


def _shares(trees: Trees, side: str) -> list[float]:
    """Return the share of each node's training rows that go to this side."""
    child = trees.nodes[side]
    if not len(child):
        return []
    of_leaf = trees.leaf_counts[np.where(child < 0, ~child, 0)]
    counts = np.where(child < 0, of_leaf, trees.node_counts[np.maximum(child, 0)])
    shares: list[float] = (counts / trees.node_counts).tolist()
    return shares


def _quadrature(most_terms: int) -> npt.NDArray[np.float64]:
    """Return Gauss-Legendre nodes and weights on [0, 1], exact for products of up to these terms.

    Shape (2, most + 1, most): nodes and weights by how many there are.
    """
    most = (most_terms + 1) // 2
    rules = np.zeros((2, most + 1, most))
    for count in range(1, most + 1):
        nodes, weights = np.polynomial.legendre.leggauss(count)
        rules[0, count, :count], rules[1, count, :count] = (nodes + 1) / 2, weights / 2
    return rules
