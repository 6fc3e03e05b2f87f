"""What a model must beat: the base rate, logistic regression, the best single feature."""

from __future__ import annotations

import warnings

import numpy as np

from training.fitting.boost import Rows
from training.fitting.folds import Fold
from training.metrics import auc, log_loss

BINS = 20
INVERSE_PENALTIES = (1e-4, 1e-2, 1.0)
ROWS_TO_CHOOSE_ON = 10_000


def baseline_probabilities(
    fit: Rows, test: Rows, names: list[str], fold: Fold
) -> dict[str, np.ndarray]:
    """Return each baseline's probabilities for the test rows, fitted on the fit rows.

    `fold` is one of the fit rows' folds, for what a baseline has to choose.

    Names: base_rate, logistic_regression and `best_feature: NAME`.
    """
    name, single = best_feature(fit, test, names)
    return {
        "base_rate": np.full(len(test.won), np.average(fit.won, weights=fit.weight)),
        "logistic_regression": logistic_regression(fit, test, fold),
        f"best_feature: {name}": single,
    }


def logistic_regression(fit: Rows, test: Rows, fold: Fold) -> np.ndarray:
    """Return the probabilities of an L2 logistic regression, its penalty chosen on `fold`.

    Missing values are filled with the median and flagged; heavy tails are tamed by a signed
    square root; categories are the frequency ranks the booster sees.
    """
    train, valid = (rows[:: -(-len(rows) // ROWS_TO_CHOOSE_ON)] for rows in fold)
    held_out = fit.take(valid)
    losses = {
        penalty: log_loss(
            held_out.won, _fit_logistic(fit.take(train), held_out, penalty), held_out.weight
        )
        for penalty in INVERSE_PENALTIES
    }
    return _fit_logistic(fit, test, min(losses, key=lambda penalty: losses[penalty]))


def _fit_logistic(fit: Rows, test: Rows, inverse_penalty: float) -> np.ndarray:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    pipeline = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        FunctionTransformer(_signed_root),
        StandardScaler(),
        LogisticRegression(C=inverse_penalty, solver="newton-cholesky"),
    )
    with warnings.catch_warnings():
        # a baseline that has not quite converged is still a baseline
        warnings.simplefilter("ignore", ConvergenceWarning)
        pipeline.fit(fit.matrix, fit.won, logisticregression__sample_weight=fit.weight)
    return np.asarray(pipeline.predict_proba(test.matrix)[:, 1])


def _signed_root(matrix: np.ndarray) -> np.ndarray:
    return np.asarray(np.sign(matrix) * np.sqrt(np.abs(matrix)))


def best_feature(fit: Rows, test: Rows, names: list[str]) -> tuple[str, np.ndarray]:
    """Return the feature whose binned win rates rank the fit rows best, and its probabilities.

    Twenty bins of equal row counts and one for missing; each bin's rate is pulled to the base
    rate by twenty rows.
    """
    best = (-np.inf, 0)
    for column in range(fit.matrix.shape[1]):
        rates = _binned_rates(fit, fit.matrix[:, column], fit.matrix[:, column])
        best = max(best, (auc(fit.won, rates, fit.weight), -column))
    column = -best[1]
    return names[column], _binned_rates(fit, fit.matrix[:, column], test.matrix[:, column])


def _binned_rates(fit: Rows, known: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return the fit rows' win rate in the bin of each value of `asked`."""
    present = known[~np.isnan(known)]
    levels = np.linspace(0, 1, BINS + 1)[1:-1]
    edges = np.unique(np.quantile(present, levels)) if len(present) else np.empty(0)
    missing = len(edges) + 1

    def bin_of(values: np.ndarray) -> np.ndarray:
        return np.where(np.isnan(values), missing, np.searchsorted(edges, values, side="right"))

    rows = np.bincount(bin_of(known), fit.weight, minlength=missing + 1)
    wins = np.bincount(bin_of(known), fit.weight * fit.won, minlength=missing + 1)
    base_rate = np.average(fit.won, weights=fit.weight)
    return np.asarray(((wins + 20 * base_rate) / (rows + 20))[bin_of(asked)])
