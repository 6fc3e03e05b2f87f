"""Signs that a column nobody can date was filled later: listed for the user to confirm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from training.audit.figures import Auc, FillFigures, fill_figures
from training.audit.findings import Evidence
from training.audit.views import ACCOUNT, Column, View

LEAST_CLUSTERS = 30
"""Independent leads on either side of the outcome; with fewer nothing is said."""
LEAST_MISSING = 0.25
"""A form leaves out a few; what is missing from this share of the rows on may come later."""
LEAST_DIFFERENCE = 0.15
"""Share filled of the won less that of the others, at which going missing tells."""
LEAST_AUC = 0.6
"""Two standard errors below the AUC: a column that tells less does little harm."""
SHARED_VALUES = 5
"""Two columns with this many values in common, in half of the rows of each, tell the same thing;
where they disagree they tell it of two moments."""
MOST_VALUES = 500
SHARED_ROWS = 0.5
SHARED_DISAGREE = 0.05


def undated_evidence(
    columns: Sequence[Column], aucs: Mapping[str, Auc], view: View, groups: Mapping[str, int]
) -> dict[str, list[Evidence]]:
    """Return column -> signs that it was filled later, for columns that nobody can date."""
    if min(view.support) < LEAST_CLUSTERS:
        return {}
    undated = [column for column in columns if not column.is_dated and column.name != ACCOUNT]
    found: dict[str, list[Evidence]] = {}
    for column in undated:
        figures = fill_figures(column, view)
        signs = _gone_together(column, undated, figures, aucs, groups)
        signs += _telling_gaps(figures, aucs[column.name], view)
        signs += _two_moments(column, undated, aucs, view)
        if signs:
            found[column.name] = signs
    return found


def _gone_together(
    column: Column,
    columns: Sequence[Column],
    figures: FillFigures,
    aucs: Mapping[str, Auc],
    groups: Mapping[str, int],
) -> list[Evidence]:
    group = groups.get(column.name)
    members = [one.name for one in columns if group is not None and groups.get(one.name) == group]
    missing = 1 - figures.filled_share
    if len(members) < 2 or missing < LEAST_MISSING:
        return []
    telling = max(members, key=lambda name: aucs[name].low)
    if not aucs[telling].low >= LEAST_AUC:
        return []
    others = [name for name in members if name != column.name]
    shown = ", ".join(others[:4]) + (f" and {len(others) - 4} more" if len(others) > 4 else "")
    auc = aucs[telling].value
    text = (
        f"missing in {missing:.0%} of the rows, together with {shown}, and {telling} tells"
        f" the outcome (AUC {auc:.2f}): filled in one step, which may come later"
    )
    numbers = {"missing": missing, "columns": len(members), "auc": auc}
    return [Evidence("missing_together", "undated", numbers, text)]


def _telling_gaps(figures: FillFigures, auc: Auc, view: View) -> list[Evidence]:
    size, missing = abs(figures.difference), 1 - figures.filled_share
    is_telling = size >= LEAST_DIFFERENCE and size > 4 * figures.error
    if missing < LEAST_MISSING or not is_telling or not auc.low >= LEAST_AUC:
        return []
    text = (
        f"missing in {missing:.0%} of the rows; {figures.won_filled:.1%} of the filled"
        f" {view.outcome}, {figures.won_missing:.1%} of the missing; AUC {auc.value:.2f} alone"
    )
    numbers = {
        "missing": missing,
        "won_filled": figures.won_filled,
        "won_missing": figures.won_missing,
        "auc": auc.value,
    }
    return [Evidence("gaps_tell_outcome", "undated", numbers, text)]


def _two_moments(
    column: Column, columns: Sequence[Column], aucs: Mapping[str, Auc], view: View
) -> list[Evidence]:
    """Return the evidence of a second column that holds the same values at another moment."""
    if column.is_number or not SHARED_VALUES <= len(column.labels) <= MOST_VALUES:
        return []
    if not aucs[column.name].low >= LEAST_AUC:
        return []
    for other in columns:
        if other is column or other.is_number or len(other.labels) > MOST_VALUES:
            continue
        common = set(column.labels) & set(other.labels)
        if len(common) < SHARED_VALUES or other.owner != column.owner:
            continue
        covered = min(_covered(column, common, view), _covered(other, common, view))
        disagree = _disagreement(column, other, view)
        if covered >= SHARED_ROWS and disagree >= SHARED_DISAGREE:
            text = (
                f"shares {len(common)} values with {other.name} and differs from it in"
                f" {disagree:.0%} of the rows: one of the two is of a later moment"
            )
            numbers = {"values": len(common), "disagree": disagree, "auc": aucs[column.name].value}
            return [Evidence("same_values_at_another_moment", "undated", numbers, text)]
    return []


def _covered(column: Column, common: set[str], view: View) -> float:
    is_common = np.array([label in common for label in column.labels] + [False])
    cells = column.cells[view.rows]
    return float(is_common[cells].sum() / max((cells >= 0).sum(), 1))


def _disagreement(column: Column, other: Column, view: View) -> float:
    first, second = column.cells[view.rows], other.cells[view.rows]
    both = (first >= 0) & (second >= 0)
    number = {label: cell for cell, label in enumerate(column.labels)}
    translated = np.array([number.get(label, -2) for label in other.labels] + [-1])[second]
    return float((translated != first)[both].mean()) if both.any() else 0.0
