"""Columns that alone tell more than everything else together: flagged, since they may be honest."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from training.audit.figures import Auc, encode
from training.audit.findings import Evidence
from training.audit.outcome import LEAST_FOR_AUC
from training.audit.views import ACCOUNT, Column, Floats, View, cut_into_cells
from training.examples import Examples
from training.metrics import auc

FLAGGED_AUC = 0.80
"""Two standard errors below the AUC; what leads fill in themselves rarely reaches it alone."""
MORE_THAN_REST = 0.03
MOST_ROWS = 20_000
SEED = 0


def alone_evidence(
    columns: Sequence[Column],
    aucs: Mapping[str, Auc],
    blocked: Collection[str],
    examples: Examples,
    view: View,
) -> dict[str, Evidence]:
    """Return column -> evidence that it tells more than all other features that are not blocked."""
    found: dict[str, Evidence] = {}
    if min(view.support) < LEAST_FOR_AUC:
        return found
    for column in columns:
        own = aucs[column.name]
        if column.name in blocked or column.name == ACCOUNT or not own.low >= FLAGGED_AUC:
            continue
        rest = _auc_of_others(column, blocked, examples, view)
        if own.value >= rest + MORE_THAN_REST:
            text = (
                f"alone it ranks the leads that {view.outcome} with an AUC of {own.value:.2f};"
                f" everything else together reaches {rest:.2f}"
            )
            numbers = {"auc": own.value, "error": own.error, "auc_of_others": rest}
            found[column.name] = Evidence("alone_better_than_all_others", "flag", numbers, text)
    return found


def _auc_of_others(
    column: Column, blocked: Collection[str], examples: Examples, view: View
) -> float:
    """Return the AUC of a logistic regression on the win rates of the other features' cells.

    Fitted and measured on different accounts.
    """
    from sklearn.linear_model import LogisticRegression  # takes a second to import

    view = _drawn(view)
    others: list[Floats] = []
    for feature in examples.catalogue.features:
        if feature.stream in {*blocked, column.name}:
            continue
        values = examples.snapshots[feature.name].iloc[view.rows]
        cells, labels = cut_into_cells(values, feature.dtype == "number")
        rate, _, _ = encode(cells, len(labels), view)
        own = rate[view.fold, np.where(cells < 0, len(labels), cells)]
        others.append(np.log(own) - np.log1p(-own))
    is_held_out = view.fold == 0
    won = view.is_won[is_held_out]
    if not others or won.all() or not won.any():
        return 0.5
    encoded = np.column_stack(others)
    encoded = (encoded - encoded.mean(axis=0)) / (encoded.std(axis=0) + 1e-9)
    model = LogisticRegression(C=0.1, max_iter=200)
    model.fit(encoded[~is_held_out], view.is_won[~is_held_out])
    return auc(won.astype(float), model.decision_function(encoded[is_held_out]))


def _drawn(view: View) -> View:
    """Return at most `MOST_ROWS` rows: won ones and others in as far as there is room."""
    if len(view.rows) <= MOST_ROWS:
        return view
    draw = np.random.default_rng(SEED).random(len(view.rows))
    half = MOST_ROWS / 2
    share = np.where(view.is_won, half / view.is_won.sum(), half / (~view.is_won).sum())
    return view.where(draw < share)
