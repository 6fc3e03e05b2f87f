"""Columns that know the outcome: filled for one side only, single values, all values together.

Every threshold is one of effect size, held by a cautious bound, so that neither few rows nor very
many raise an alarm. In brackets: the strongest honest column, then the weakest late one, of the
raw exports and the demo that the thresholds were chosen on.
"""

from __future__ import annotations

from scipy.stats import norm

from training.audit.figures import (
    Auc,
    FillFigures,
    cell_figures,
    column_auc,
    fill_figures,
    odds,
    wilson,
)
from training.audit.findings import Evidence, Level
from training.audit.views import ACCOUNT, Column, View, usable

LEAST_CLUSTERS = 15
"""Independent leads on either side of the outcome; with fewer nothing is said."""

FILL_DIFFERENCE = 0.45
"""Blocks: share filled of the won less that of the others [0.31 | 0.66]. A form field that a
keener lead fills twice as often comes to 0.1-0.3."""
FILL_DIFFERENCE_FLAG = 0.25
FILL_ERRORS = 4.0
"""The difference must be this many standard errors above 0.3 to block, above 0 to flag."""
CERTAIN_DIFFERENCE = 0.3

FILL_ODDS = 30.0
"""Blocks: odds of winning where filled, over the odds of all, at the lower bound [2 | 32]. For
columns filled for some winners only. Single honest values of a source reach 20."""
FILL_WIN_RATE = 0.7
FILL_ODDS_FLAG = 6.0
FILL_BOUND_ERRORS = 3.0

VALUE_ODDS = 40.0
"""The same for one value of many [14 | 100]; stricter, since the best of many is looked at.
"""
VALUE_WIN_RATE = 0.9
LEAST_WITH_VALUE = 25
BOUND_ERRORS = 3.5

ALONE_AUC = 0.90
"""Blocks: two standard errors below the AUC of the column alone, over all rows or the filled ones
[0.80 | 0.91]. Honest single columns stay below 0.85; all honest columns together seldom reach 0.9.
"""
LEAST_FOR_AUC = 20

ABOUT_FILLING = frozenset(
    ["filled_only_for_winners", "filled_only_for_losers", "missingness_tells_outcome"]
)
"""Evidence that says when a column is filled, whatever its values."""


def outcome_evidence(column: Column, views: list[View]) -> list[Evidence]:
    """Return what being filled and the values say of each outcome; the strongest of a kind."""
    found: list[Evidence] = []
    for view in usable(views, LEAST_CLUSTERS):
        figures = fill_figures(column, view)
        found += _fill_evidence(figures, view)
        if column.name != ACCOUNT:
            found += _value_evidence(column, view, figures.base_rate)
            found += _alone_evidence(column, view)
    return strongest(found)


def strongest(found: list[Evidence]) -> list[Evidence]:
    """Return one piece of evidence of each name, blocking ones first."""
    kept: dict[str, Evidence] = {}
    for evidence in sorted(found, key=lambda one: one.level != "block"):
        kept.setdefault(evidence.name, evidence)
    return list(kept.values())


def _fill_evidence(figures: FillFigures, view: View) -> list[Evidence]:
    if min(figures.n_filled, figures.n_missing) < LEAST_WITH_VALUE:
        return []
    size = abs(figures.difference)
    is_certain = size - FILL_ERRORS * figures.error > CERTAIN_DIFFERENCE
    is_telling = size >= FILL_DIFFERENCE_FLAG and size > FILL_ERRORS * figures.error
    is_one_sided = _is_one_sided(figures, FILL_ODDS, FILL_WIN_RATE)
    level: Level = "flag"
    if (size >= FILL_DIFFERENCE and is_certain) or is_one_sided:
        level = "block"
    elif not is_telling and not _is_one_sided(figures, FILL_ODDS_FLAG, 0.0):
        return []
    won, others = figures.filled_won, figures.filled_lost
    name = "missingness_tells_outcome"
    if level == "block" and (is_one_sided or min(won, others) < 0.1):
        is_of_winners = (won > others) != view.is_loss
        name = "filled_only_for_winners" if is_of_winners else "filled_only_for_losers"
    text = (
        f"filled for {won:.1%} of the leads that {view.outcome} and {others:.1%} of the others;"
        f" {figures.won_filled:.1%} of the filled {view.outcome}, {figures.won_missing:.1%} of"
        " the missing"
    )
    numbers = {
        "filled_won": won,
        "filled_lost": others,
        "difference": figures.difference,
        "won_filled": figures.won_filled,
        "won_missing": figures.won_missing,
        "filled": figures.n_filled,
    }
    return [Evidence(name, level, numbers, text)]


def _is_one_sided(figures: FillFigures, times: float, win_rate: float) -> bool:
    """Return whether the filled win so many times as often, or as rarely, as is usual, in odds."""
    bounds = wilson(figures.won_filled, figures.n_filled, FILL_BOUND_ERRORS)
    low, high = (float(bound) for bound in bounds)
    usual = odds(figures.base_rate)
    only_won = low >= win_rate and odds(low) >= times * usual
    return only_won or odds(high) * times <= usual


def _value_evidence(column: Column, view: View, base_rate: float) -> list[Evidence]:
    """Return the value that nearly always won; of categories also one that never did."""
    supported = max(len(column.labels), 1)
    errors = max(BOUND_ERRORS, float(norm.isf(1e-3 / supported)))
    cells = cell_figures(column, view, errors)
    if not (cells.clusters >= LEAST_WITH_VALUE).any():
        return []
    is_supported = cells.clusters >= LEAST_WITH_VALUE
    usual = odds(base_rate)
    best = int((cells.low * is_supported).argmax())
    found = []
    if cells.low[best] >= VALUE_WIN_RATE and odds(cells.low[best]) >= VALUE_ODDS * usual:
        found.append(_one_value(column, view, best, cells.rate[best], cells.clusters[best], True))
    worst = int((cells.high + ~is_supported).argmin())
    if not (column.is_number or view.is_loss) and odds(cells.high[worst]) * VALUE_ODDS <= usual:
        rate, count = cells.rate[worst], cells.clusters[worst]
        found.append(_one_value(column, view, worst, rate, count, False))
    return found


def _one_value(
    column: Column, view: View, cell: int, rate: float, count: int, is_won: bool
) -> Evidence:
    label = column.labels[cell]
    shown = label if len(label) <= 40 else f"{label[:37]}..."
    always = "value_always_lost" if view.is_loss else "value_always_won"
    return Evidence(
        always if is_won else "value_never_won",
        "block" if is_won else "flag",
        {"won": float(rate), "leads": int(count)},
        f'of {count:,} independent leads with "{shown}", {rate:.1%} {view.outcome}',
    )


def _alone_evidence(column: Column, view: View) -> list[Evidence]:
    if min(view.support) < LEAST_FOR_AUC:
        return []
    found = []
    for which, filled_only in (("all rows", False), ("the rows where it is filled", True)):
        if filled_only and column.is_filled.all():
            continue
        auc = column_auc(column, view, filled_only)
        if auc.low >= ALONE_AUC and _has_support(column, view, filled_only):
            found.append(_alone(auc, which, view))
    return found


def _has_support(column: Column, view: View, filled_only: bool) -> bool:
    kept = column.is_filled[view.rows]
    return not filled_only or min(view.where(kept).support) >= LEAST_FOR_AUC


def _alone(auc: Auc, which: str, view: View) -> Evidence:
    return Evidence(
        "alone_too_good",
        "block",
        {"auc": auc.value, "error": auc.error},
        f"alone, over {which}, it ranks the leads that {view.outcome} with an AUC of"
        f" {auc.value:.3f}; honest single columns stay below 0.85",
    )
