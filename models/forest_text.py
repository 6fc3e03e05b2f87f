"""LightGBM's text model, read strictly: what is damaged or not understood is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

NODE = np.dtype(
    [("threshold", "f8"), ("left", "i4"), ("right", "i4"), ("feature", "i4"), ("nan_left", "i4")],
    align=True,
)
"""One split: `x <= threshold` goes left, and NaN where `nan_left` is 1. A child from 0 is a node,
below 0 the leaf `~child`."""

_END = "end of trees"
_ARRAYS = {
    # key: (what it holds, True for one a leaf, False for one a split)
    "split_feature": (int, False),
    "threshold": (float, False),
    "decision_type": (int, False),
    "left_child": (int, False),
    "right_child": (int, False),
    "internal_count": (int, False),
    "leaf_value": (float, True),
    "leaf_count": (int, True),
}
_NUMBERS = ("num_leaves", "num_cat", "is_linear")
_UNREAD = frozenset(
    ("split_gain", "leaf_weight", "internal_value", "internal_weight", "shrinkage", "Tree")
)
_MISSING_NONE, _MISSING_NAN = 0, 8
"The bits of `decision_type` that say what is missing: nothing (NaN counts as 0.0), or NaN."
_DEFAULT_LEFT = 2
_ZERO = float(np.float32(1e-35))
"LightGBM takes numbers up to this size for 0."


@dataclass(frozen=True)
class Trees:
    """All trees of a model, their nodes and leaves in one row each, tree after tree."""

    n_features: int
    roots: npt.NDArray[np.int32]
    "Of each tree: its first node, or `~leaf` where it is one leaf."
    nodes: npt.NDArray[np.void]
    "Of NODE. A child that is a node comes after its parent, so every walk ends."
    node_counts: npt.NDArray[np.int64]
    "Training rows that reached each node."
    leaf_values: npt.NDArray[np.float64]
    leaf_counts: npt.NDArray[np.int64]
    leaf_starts: npt.NDArray[np.int64]
    "First leaf of each tree, and the number of all, length n_trees + 1."


def read_trees(text: str) -> Trees:
    """Return the trees of a LightGBM text model (`Booster.model_to_string`, version v4).

    Numeric splits only. Raises ValueError for text that is damaged as far as that can be seen, and
    for categorical splits, linear trees, averaged forests, several classes and zeros taken for
    missing values.
    """
    header, bodies = _split_text(text)
    n_features = _whole(header, "max_feature_idx") + 1
    if not 0 < n_features < 2**31:
        raise ValueError("max_feature_idx is out of range")
    parsed = [_read_tree(number, body) for number, body in enumerate(bodies)]
    leaves = np.array([len(tree["leaf_value"]) for tree in parsed], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(leaves)])

    def joined(key: str, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        try:
            return np.array([one for tree in parsed for one in tree[key]], dtype=dtype)
        except OverflowError:
            raise ValueError(f"{key} is out of range") from None

    tree_of_node = np.repeat(np.arange(len(parsed)), leaves - 1)
    # tree t begins at leaf starts[t], and, one split less in each tree before, at this node
    first_node = starts[:-1] - np.arange(len(parsed))
    nodes = np.zeros(len(tree_of_node), dtype=NODE)
    for side in ("left", "right"):
        child = joined(f"{side}_child", np.int64)
        of_tree = np.where(child >= 0, first_node[tree_of_node], -starts[:-1][tree_of_node])
        nodes[side] = _in_range(child, leaves[tree_of_node], side) + of_tree
    nodes["feature"] = feature = joined("split_feature", np.int64)
    threshold = joined("threshold", np.float64)
    nodes["threshold"] = _around_zero(threshold)
    nodes["nan_left"] = _nan_left(joined("decision_type", np.int64), threshold)
    trees = Trees(
        n_features=n_features,
        roots=np.where(leaves > 1, first_node, ~starts[:-1]).astype(np.int32),
        nodes=nodes,
        node_counts=joined("internal_count", np.int64),
        leaf_values=joined("leaf_value", np.float64),
        leaf_counts=joined("leaf_count", np.int64),
        leaf_starts=starts,
    )
    if len(feature) and not (feature.min() >= 0 and feature.max() < n_features):
        raise ValueError("split_feature is out of range")
    # A threshold of infinity parts what is missing from all that is not.
    if np.isnan(threshold).any() or not np.isfinite(trees.leaf_values).all():
        raise ValueError("a threshold or a leaf is no number")
    _check_shape(trees)
    return trees


def _split_text(text: str) -> tuple[dict[str, str], list[str]]:
    """Return the header and the text of each tree, after checking the promised lengths."""
    if not text.isascii():
        raise ValueError("it is not plain text")
    head, found, rest = text.partition("\n\n")
    header = dict(line.partition("=")[::2] for line in head.split("\n"))
    if next(iter(header)) != "tree" or header.get("version") != "v4" or not found:
        raise ValueError("it is no LightGBM text model of version v4")
    if "average_output" in header:
        raise ValueError("it averages its trees")
    for name in ("num_class", "num_tree_per_iteration"):
        if _whole(header, name) != 1:
            raise ValueError(f"{name} is not 1")
    sizes = _numbers("tree_sizes", header.get("tree_sizes", ""), int)
    if not sizes or min(sizes) <= 0:
        raise ValueError("tree_sizes is damaged")
    bodies, start = [], 0
    for size in sizes:
        bodies.append(rest[start : start + size])
        start += size
    if not rest.startswith(_END, start):
        raise ValueError("its trees are not as long as tree_sizes says")
    return header, bodies


def _read_tree(number: int, body: str) -> dict[str, list[Any]]:
    """Return the arrays of one tree by name, each as long as it must be."""
    lines = body.rstrip("\n").split("\n")
    fields = dict(line.partition("=")[::2] for line in lines)
    expected = {*_ARRAYS, *_NUMBERS, *_UNREAD}
    if fields.get("Tree") != str(number) or len(fields) < len(lines) or set(fields) != expected:
        raise ValueError(f"tree {number} does not have the lines it must have")
    n_leaves = _whole(fields, "num_leaves")
    if _whole(fields, "num_cat") or _whole(fields, "is_linear"):
        raise ValueError(f"tree {number} has categorical splits or linear leaves")
    if n_leaves == 1:  # its count says nothing, and is not always there
        fields["leaf_count"] = "1"
    arrays = {key: _numbers(key, fields[key], kind) for key, (kind, _) in _ARRAYS.items()}
    for key, (_, of_leaves) in _ARRAYS.items():
        if len(arrays[key]) != (n_leaves if of_leaves else n_leaves - 1):
            raise ValueError(f"tree {number} has {len(arrays[key])} entries in {key}")
    return arrays


def _whole(fields: dict[str, str], name: str) -> int:
    numbers = _numbers(name, fields.get(name, "none"), int)
    if len(numbers) != 1:
        raise ValueError(f"{name} holds more or less than one number")
    return int(numbers[0])


def _numbers(name: str, text: str, kind: Callable[[str], Any]) -> list[Any]:
    try:
        if "_" in text:  # which Python reads, and LightGBM never writes
            raise ValueError
        return list(map(kind, text.split()))
    except ValueError:
        raise ValueError(f"{name} holds what is no number") from None


def _in_range(
    child: npt.NDArray[np.int64], leaves: npt.NDArray[np.int64], side: str
) -> npt.NDArray[np.int64]:
    if not ((child < leaves - 1) & (~child < leaves)).all():
        raise ValueError(f"{side}_child is out of range")
    return child


def _nan_left(
    kinds: npt.NDArray[np.int64], thresholds: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Return which splits send NaN left."""
    missing = kinds & ~_DEFAULT_LEFT
    if not np.isin(missing, (_MISSING_NONE, _MISSING_NAN)).all():
        raise ValueError("decision_type has categorical splits, or takes zeros for missing values")
    is_default_left = (kinds & _DEFAULT_LEFT) > 0
    return np.where(missing == _MISSING_NAN, is_default_left, thresholds >= 0)


def _around_zero(thresholds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return thresholds that part tiny numbers as if they were 0."""
    is_tiny = np.abs(thresholds) <= _ZERO
    tiny = np.where(thresholds < 0, np.nextafter(-_ZERO, -np.inf), _ZERO)
    return np.where(is_tiny, tiny, thresholds)


def _check_shape(trees: Trees) -> None:
    """Raise ValueError unless each node and leaf is reached once, by the rows it counts."""
    nodes, n_nodes, n_leaves = trees.nodes, len(trees.nodes), len(trees.leaf_values)
    children = np.concatenate([nodes["left"], nodes["right"]]).astype(np.int64)
    parents = np.tile(np.arange(n_nodes), 2)
    is_node = children >= 0
    # LightGBM numbers nodes as they are split, so a later parent means a cycle.
    if (children[is_node] <= parents[is_node]).any():
        raise ValueError("a node comes before its parent")
    reached = np.concatenate([children, trees.roots])
    if not (
        np.array_equal(np.sort(reached[reached >= 0]), np.arange(n_nodes))
        and np.array_equal(np.sort(~reached[reached < 0]), np.arange(n_leaves))
    ):
        raise ValueError("a node or leaf is reached never, or twice")
    if trees.leaf_counts.min() <= 0 or trees.leaf_counts.max() > 2**53:
        raise ValueError("leaf_count is out of range")
    counts = np.where(
        is_node,
        trees.node_counts[np.where(is_node, children, 0)] if n_nodes else 0,
        trees.leaf_counts[np.where(is_node, 0, ~children)],
    )
    if not np.array_equal(counts[:n_nodes] + counts[n_nodes:], trees.node_counts):
        raise ValueError("internal_count is not the sum of its children's counts")
