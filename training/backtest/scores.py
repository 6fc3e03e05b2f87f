"""How good the probabilities of every model are in every month, and how they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.cutoff import Estimate
from training.backtest.intervals import BINS, Accounts, auc_influence, gap_bins, ratio
from training.backtest.months import Months
from training.backtest.rows import ScoredRows
from training.metrics import calibration_error, row_log_loss

Pair = tuple[int, int, int]
"""A month, the model judged, and the model it is compared with on the same rows."""


@dataclass(frozen=True)
class MonthScores:
    """Outcome and account of the rows of one month, with the probability of each model."""

    won: np.ndarray
    account: np.ndarray
    probability: np.ndarray
    "(rows, models)"
    _ranked: dict[int, tuple[float, np.ndarray]] = field(default_factory=dict)

    def loss(self, model: int) -> np.ndarray:
        """Return the log loss of each row."""
        return row_log_loss(self.won, self.probability[:, model])

    def ranked(self, model: int) -> tuple[float, np.ndarray]:
        """Return the AUC and each row's influence on it."""
        if model not in self._ranked:
            self._ranked[model] = auc_influence(self.won, self.probability[:, model])
        return self._ranked[model]


def by_month(scored: ScoredRows, months: Months) -> list[MonthScores]:
    """Return the scores of each month, of its eligible rows, whether handed over before or not."""
    number = scored.rows["month"].to_numpy()
    won, account = scored.rows["won_in_horizon"].to_numpy(), scored.rows["account"].to_numpy()
    return [
        MonthScores(won[number == k], account[number == k], scored.probability[number == k])
        for k in range(len(months))
    ]


def matrix(scores: Sequence[MonthScores], months: Months) -> list[dict[str, Any]]:
    """Return log loss, AUC, calibration error and rates of every model in every later month."""
    names, cells = months.names, []
    for month, rows in enumerate(scores):
        if not len(rows.won):
            continue
        for model in range(month + 1):
            probability = rows.probability[:, model]
            cells.append(
                {
                    "model": names[model],
                    "month": names[month],
                    "age_months": month - model,
                    "log_loss": float(rows.loss(model).mean()),
                    "auc": rows.ranked(model)[0],
                    "calibration_error": calibration_error(rows.won, probability),
                    "predicted": float(probability.mean()),
                    "won": float(rows.won.mean()),
                }
            )
    return cells


def log_loss_of(rows: MonthScores, model: int, accounts: Accounts) -> Estimate | None:
    """Return the log loss of a model in a month with its interval; None without rows."""
    ones = np.ones(len(rows.won))
    sums = accounts.sums(rows.account, rows.loss(model), ones)
    found = accounts.estimates(sums, lambda totals: {"log_loss": ratio(totals[0], totals[1])})
    return found.get("log_loss")


def gaps(
    scores: Sequence[MonthScores], pairs: Sequence[Pair], accounts: Accounts
) -> dict[str, Estimate]:
    """Return how much worse or better a model does than another on the same rows.

    Of all rows of the `pairs` together: `log_loss`, the same as a share of the other's
    (`log_loss_share`) and `calibration_error`, above 0 is worse; `auc`, below 0 is worse, the mean
    of the months' weighted by their wins. Accounts are resampled whole.
    """
    pairs = [pair for pair in pairs if len(scores[pair[0]].won)]
    account = np.concatenate([scores[month].account for month, _, _ in pairs])
    won = np.concatenate([scores[month].won for month, _, _ in pairs])
    loss = np.concatenate([scores[month].loss(one) for month, one, _ in pairs])
    least = np.concatenate([scores[month].loss(other) for month, _, other in pairs])
    auc, influence = _auc_gap(scores, pairs, float(won.sum()))
    columns = [np.ones(len(won)), loss - least, least, influence]
    for side in (1, 2):
        probability = np.concatenate([scores[pair[0]].probability[:, pair[side]] for pair in pairs])
        number = gap_bins(probability)
        columns += [np.where(number == k, won - probability, 0.0) for k in range(BINS)]

    def figures(totals: np.ndarray) -> dict[str, float]:
        rows, bins = totals[0], np.abs(totals[4:]).reshape(2, BINS).sum(axis=1)
        return {
            "log_loss": ratio(totals[1], rows),
            "log_loss_share": ratio(totals[1], totals[2]),
            "auc": auc + float(totals[3]),
            "calibration_error": float(bins[0] - bins[1]) / max(rows, 1.0),
        }

    return accounts.estimates(accounts.sums(account, *columns), figures)


def _auc_gap(
    scores: Sequence[MonthScores], pairs: Sequence[Pair], wins: float
) -> tuple[float, np.ndarray]:
    gap, influence = 0.0, []
    for month, one, other in pairs:
        rows = scores[month]
        (mine, of_mine), (theirs, of_theirs) = rows.ranked(one), rows.ranked(other)
        share = ratio(float(rows.won.sum()), wins)
        gap += share * (mine - theirs) if np.isfinite(mine) else 0.0
        influence.append(share * (of_mine - of_theirs))
    return gap if wins else float("nan"), np.concatenate(influence)
