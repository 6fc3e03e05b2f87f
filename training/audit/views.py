"""What the audit looks at: columns cut into cells, and outcomes they might know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.tables import Tables
from training.examples import Examples

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Texts = npt.NDArray[np.object_]

MOST_VALUES = 64
"""Numbers with more distinct values are cut at quantiles."""
FOLDS = 5
STRATA = 8
SEED = 0


@dataclass(frozen=True)
class Column:
    """One attribute as the snapshots see it; all arrays hold one entry a row."""

    name: str
    "`leads.column` or `accounts.column`."
    feature: str
    "Column of the snapshots."
    is_dated: bool
    "Whether its table says when values were recorded."
    is_number: bool
    cells: Int64s
    "Which value, or which range of numbers; -1 is missing."
    labels: Texts
    "What to call each cell."

    @property
    def is_filled(self) -> Bools:
        """Whether there is a value."""
        return self.cells >= 0

    @property
    def owner(self) -> str:
        """`leads` or `accounts`."""
        return self.name.partition(".")[0]


@dataclass(frozen=True)
class View:
    """An outcome a column might know, for some rows of the snapshots."""

    outcome: str
    "What happened to the rows where `is_won`, in words."
    rows: Int64s
    is_won: Bools
    weight: Floats
    cluster: Int64s
    "Account component, from 0: rows of one are no independent evidence."
    stratum: Int64s
    "Block of time: rates are compared within it, since both may drift."
    fold: Int64s
    "Whole clusters, drawn at random."
    is_loss: bool = False
    "Whether the outcome is a lost deal: `is_won` then means that it happened."

    @cached_property
    def support(self) -> tuple[int, int]:
        """Clusters with a row that won, and with one that did not."""
        return _distinct(self.cluster[self.is_won]), _distinct(self.cluster[~self.is_won])

    def where(self, kept: Bools) -> View:
        """Return the view of the rows where the mask is true."""
        return View(
            self.outcome,
            self.rows[kept],
            self.is_won[kept],
            self.weight[kept],
            self.cluster[kept],
            self.stratum[kept],
            self.fold[kept],
            self.is_loss,
        )


def columns_of(examples: Examples, tables: Tables | None) -> list[Column]:
    """Return every attribute of the catalogue, and the account of a current-state export."""
    current = frozenset({"leads", "accounts"}) if tables is None else tables.current_state
    columns = []
    for feature in examples.catalogue.features:
        if feature.aggregation == "attribute":
            owner = feature.stream.partition(".")[0]
            is_number = feature.dtype == "number"
            cells, labels = cut_into_cells(examples.snapshots[feature.name], is_number)
            columns.append(
                Column(feature.stream, feature.name, owner not in current, is_number, cells, labels)
            )
    if tables is not None and "leads" in current and tables.leads["account_id"].notna().any():
        # In many CRMs a lead has an account only once it converted. Which one says nothing here.
        has_account = examples.snapshots["account_id"].notna().to_numpy()
        cells = np.where(has_account, 0, -1)
        columns.append(Column(ACCOUNT, "account_id", False, False, cells, _texts(["any"])))
    return columns


ACCOUNT = "leads.account_id"


def cut_into_cells(values: pd.Series, is_number: bool) -> tuple[Int64s, Texts]:
    """Return the cell of each value, -1 if missing, and what to call the cells."""
    if not is_number:
        codes, texts = pd.factorize(values)
        return codes.astype(np.int64), np.asarray(texts, dtype=object)
    numbers = values.to_numpy(float)
    is_filled = ~np.isnan(numbers)
    distinct = np.unique(numbers[is_filled])
    if len(distinct) <= MOST_VALUES:
        codes = np.searchsorted(distinct, numbers)
        return np.where(is_filled, codes, -1), _texts(f"{value:g}" for value in distinct)
    shares = np.arange(1, MOST_VALUES) / MOST_VALUES
    edges = np.unique(np.quantile(numbers[is_filled], shares, method="nearest"))
    codes = np.searchsorted(edges, numbers, side="left")
    ends = [*edges, distinct[-1]]
    return np.where(is_filled, codes, -1), _texts(f"up to {end:g}" for end in ends)


def _texts(labels: Iterable[str]) -> Texts:
    return np.array(list(labels), dtype=object)


def views_of(
    examples: Examples, tables: Tables | None, attribution: pd.DataFrame | None
) -> dict[str, list[View]]:
    """Return `leads` and `accounts` -> the outcomes to hold their columns against.

    The first is the label. Tables also know who won or lost at any time, one row per lead or
    account: what sales writes at a closing knows of closings beyond the horizon too.
    """
    rows = np.arange(len(examples.won))
    words = "won" if tables is None else "won within the horizon"
    label = _view(examples, words, rows, examples.won > 0)
    views = {"leads": [label], "accounts": [label]}
    if tables is None or attribution is None:
        return views
    snapshots = examples.snapshots
    for owner, key in (("leads", "lead_id"), ("accounts", "account_id")):
        ids = snapshots[key]
        first = np.flatnonzero((ids.notna() & ~ids.duplicated()).to_numpy())
        for stage, words in (("closed_won", "won at any time"), ("closed_lost", "lost a deal")):
            leads = attribution.loc[attribution["stage"] == stage, "lead_id"]
            had = snapshots["lead_id"].isin(leads)
            if owner == "accounts":
                deals = tables.opportunities
                named = deals.loc[deals["stage"] == stage, "account_id"].dropna()
                had = ids.isin(pd.concat([named, ids[had].dropna()]))
            view = _view(examples, words, first, had.to_numpy()[first])
            views[owner].append(replace(view, is_loss=stage == "closed_lost"))
    return views


def _view(examples: Examples, outcome: str, rows: Int64s, is_won: Bools) -> View:
    cluster = pd.factorize(examples.account[rows])[0].astype(np.int64)
    stratum = np.zeros(len(rows), np.int64)
    if examples.is_dated and len(rows):
        as_of = examples.as_of.view(np.int64)[rows]
        edges = np.quantile(as_of, np.arange(1, STRATA) / STRATA)
        stratum = np.searchsorted(edges, as_of, side="right").astype(np.int64)
    n_clusters = int(cluster.max()) + 1 if len(rows) else 0
    fold = np.random.default_rng(SEED).permutation(n_clusters)[cluster] % FOLDS
    weight = examples.weight[rows].astype(float)
    return View(outcome, rows, is_won, weight, cluster, stratum, fold)


def is_testable(view: View, least: int) -> bool:
    """Return whether both outcomes have at least `least` clusters."""
    return min(view.support) >= least


def distinct_pairs(first: Int64s, second: Int64s, n_first: int) -> Int64s:
    """Return for each value of `first` (from 0) with how many of `second` it occurs.

    >>> distinct_pairs(np.array([0, 0, 1]), np.array([5, 5, 5]), 3)
    array([1, 1, 0])
    """
    if not len(first):
        return np.zeros(n_first, np.int64)
    width = int(second.max()) + 1
    if width == len(second):  # codes from 0, all different: every pair occurs once
        return np.bincount(first, minlength=n_first)
    pairs = pd.unique(first * width + second)
    return np.bincount(pairs // width, minlength=n_first)


def _distinct(codes: Int64s) -> int:
    return len(pd.unique(codes))


def usable(views: list[View], least: int) -> Iterator[View]:
    """Yield the views with enough clusters on both sides."""
    return (view for view in views if is_testable(view, least))
