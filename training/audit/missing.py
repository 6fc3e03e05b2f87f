"""Columns that go missing together, or only where another does: the steps of a sales process.

A form is filled on one day; what sales writes comes step by step, each step only for leads that
reached it, and later steps tell the outcome better. In brackets: the strongest honest column, then
the weakest late one, of the raw exports that the thresholds were chosen on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from training.audit.figures import column_auc, fill_figures, mask_figures
from training.audit.findings import Evidence
from training.audit.views import ACCOUNT, Bools, Column, View, distinct_pairs

TOGETHER = 0.02
"""Two columns go missing together when they disagree in at most this share of the rarer side."""
LEAST_MISSING = 0.01
LEAST_FILLED = 0.001

INSIDE = 0.99
"""A later step is filled only where an earlier one is, in at least this share of its rows."""
EARLIER_MOST_FILLED = 0.9
"""An earlier step that nearly all rows reached says nothing of order."""
EARLIER_LEAST_MORE = 0.05
"""Share of all rows that have the earlier step alone."""

STEP_MOST_FILLED = 0.55
"""Blocks: a later step that about half of the leads reached, or fewer [0.60 | 0.48],"""
STEP_LIFT = 1.5
"""... where leads win this many times as often as where it is missing [1.0 | 1.96],"""
STEP_LIFT_INSIDE = 1.1
"""... more often, too, than those that reached the earlier step alone [1.0 | 1.24],"""
STEP_ERRORS = 2.5
STEP_AUC = 0.69
"""... and whose values tell the outcome: two standard errors below the cross-validated AUC of the
filled rows [0.62 | 0.71]. A form field that a keener lead is more likely to fill says little by
its values; one that says much, on the second page of a form, is the alarm this rule may raise."""
STEP_LEAST_WON = 100

WITHIN_BLOCKED = 0.98
LEAST_WITHIN = 20
CHANCE = 1e-6
"""Being filled only within a blocked column must be this unlikely by chance."""


def missing_groups(columns: Sequence[Column]) -> dict[str, int]:
    """Return column -> number of its group, for columns that go missing together, from 1."""
    groups: list[list[Column]] = []
    for column in columns:
        filled = column.is_filled.mean()
        if column.name == ACCOUNT or not LEAST_FILLED <= filled <= 1 - LEAST_MISSING:
            continue
        for group in groups:
            if group[0].owner == column.owner and _go_together(group[0], column):
                group.append(column)
                break
        else:
            groups.append([column])
    shared = [group for group in groups if len(group) > 1]
    return {member.name: number for number, group in enumerate(shared, 1) for member in group}


def _go_together(first: Column, second: Column) -> bool:
    one, other = first.is_filled, second.is_filled
    rarer = min(one.sum(), (~one).sum(), other.sum(), (~other).sum())
    return bool((one != other).sum() <= TOGETHER * rarer)


def late_steps(
    columns: Sequence[Column], view: View, groups: Mapping[str, int]
) -> dict[str, Evidence]:
    """Return column -> evidence that it is filled as a late step of the sale.

    Only columns that nobody can date. Those that go missing together are one step: the most
    telling values of the group speak for all of them.
    """
    undated = [column for column in columns if not column.is_dated and column.name != ACCOUNT]
    filled = {column.name: column.is_filled[view.rows] for column in undated}
    found = {}
    for column in undated:
        group = groups.get(column.name)
        members = [column] if group is None else [c for c in undated if groups.get(c.name) == group]
        step = _late_step(column, members, filled, view)
        if step is not None:
            found[column.name] = step
    return found


def _late_step(
    column: Column, members: Sequence[Column], filled: Mapping[str, Bools], view: View
) -> Evidence | None:
    own = filled[column.name]
    figures = fill_figures(column, view)
    is_step = (
        figures.filled_share <= STEP_MOST_FILLED and (own & view.is_won).sum() >= STEP_LEAST_WON
    )
    is_lifted = figures.won_filled >= STEP_LIFT * figures.won_missing
    if not (is_step and is_lifted and figures.difference > STEP_ERRORS * figures.error):
        return None
    outside = {name: mask for name, mask in filled.items() if name not in {m.name for m in members}}
    earlier = _earlier_step(own, outside, view)
    if earlier is None:
        return None
    name, won_earlier = earlier
    aucs = [(member.name, column_auc(member, view, filled_only=True)) for member in members]
    telling = [(auc.value, teller) for teller, auc in aucs if auc.low >= STEP_AUC]
    if not telling:
        return None
    auc, teller = max(telling)
    text = (
        f"filled in {figures.filled_share:.0%} of the rows and only where {name} is, as a later"
        f" step would be: {figures.won_filled:.1%} of these {view.outcome}, {won_earlier:.1%} of"
        f" the rows with {name} alone, {figures.won_missing:.1%} of all rows without; and the"
        f" values of {teller} tell the outcome (AUC {auc:.2f} where filled)"
    )
    numbers = {
        "filled_share": figures.filled_share,
        "won_filled": figures.won_filled,
        "won_earlier_step": won_earlier,
        "won_missing": figures.won_missing,
        "auc_filled": auc,
    }
    return Evidence("late_step", "block", numbers, text)


def _earlier_step(own: Bools, others: Mapping[str, Bools], view: View) -> tuple[str, float] | None:
    """Return the earlier step that `own` lies in, and the win rate of the rows with it alone.

    Of several the least filled, which is the nearest before it.
    """
    for name, mask in sorted(others.items(), key=lambda pair: int(pair[1].sum())):
        more = mask.mean() - own.mean()
        is_inside = (own & mask).sum() >= INSIDE * own.sum()
        if not (mask.mean() <= EARLIER_MOST_FILLED and more >= EARLIER_LEAST_MORE and is_inside):
            continue
        reached = mask_figures(own[mask], view.where(mask))
        is_lifted = reached.won_filled >= STEP_LIFT_INSIDE * reached.won_missing
        if is_lifted and reached.difference > reached.error:
            return name, reached.won_missing
    return None


def within_blocked(
    columns: Sequence[Column], blocked: Sequence[Column], view: View
) -> dict[str, Evidence]:
    """Return column -> evidence that it is filled only where a blocked column is.

    `blocked` are columns blocked for when they are filled. What is written in the same step, or
    after it, is written as late, even where too few rows have it to tell by themselves.
    """
    found = {}
    names = {column.name for column in blocked}
    for column in columns:
        own = column.is_filled[view.rows]
        count = int(distinct_pairs(own.astype(np.int64), view.cluster, 2)[1])
        if column.name in names or column.name == ACCOUNT or count < LEAST_WITHIN:
            continue
        for outer in (one for one in blocked if one.owner == column.owner):
            mask = outer.is_filled[view.rows]
            inside = (own & mask).sum() / own.sum()
            # a share of exactly 1 would make it sure by chance
            by_chance = min(mask.mean(), 1.0) ** (inside * count)
            if inside >= WITHIN_BLOCKED and by_chance <= CHANCE and mask.mean() <= STEP_MOST_FILLED:
                text = (
                    f"{inside:.1%} of its values lie in rows where {outer.name} is filled, which is"
                    f" blocked; of all rows {mask.mean():.1%} have that"
                )
                numbers = {"inside": float(inside), "filled": count}
                found[column.name] = Evidence("filled_within_blocked", "block", numbers, text)
                break
    return found
