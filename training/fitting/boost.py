"""LightGBM: cross-fitted boosters, a modest search, and the refit."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from training.fitting.folds import Fold
from training.metrics import is_clear_gain, row_log_loss

if TYPE_CHECKING:
    from lightgbm import Booster

LEARNING_RATE = 0.03
SEARCH_LEARNING_RATE = 0.1
"""The search compares parameters with fewer, larger steps; the winner is fitted with small ones."""
SEARCH_FOLDS = 3
MAX_TREES = 3000
PATIENCE = 1.5
"""Trees times learning rate without a better mean validation loss before a cross-fit stops."""

DEFAULTS: dict[str, Any] = {
    "num_leaves": 15,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.5,
    "lambda_l2": 10.0,
}


@dataclass(frozen=True)
class Taught:
    """What boosters are told of some rows instead of how they ended; one entry a lesson.

    The lessons of a row take its place wherever a booster is trained on it, and nowhere else: what
    it is validated on stays as it was.
    """

    row: np.ndarray
    "Number of the row, rising."
    won: np.ndarray
    share: np.ndarray
    "Of the row's weight."


@dataclass(frozen=True)
class Rows:
    """What a booster sees: one entry, or matrix line, a row."""

    matrix: np.ndarray
    won: np.ndarray
    weight: np.ndarray
    taught: Taught | None = None

    def take(self, rows: np.ndarray) -> Rows:
        """Return the rows with these numbers, or where this mask is true, as they ended."""
        return Rows(self.matrix[rows], self.won[rows], self.weight[rows])

    def weighted(self, factor: np.ndarray) -> Rows:
        """Return the rows with their weights multiplied, one factor a row."""
        return replace(self, weight=self.weight * factor)

    def with_lessons(self) -> Rows:
        """Return the rows, as they ended, and after them one more for each lesson."""
        taught = self.taught
        if taught is None:
            return self
        return Rows(
            np.concatenate([self.matrix, self.matrix[taught.row]]),
            np.concatenate([self.won, taught.won]),
            np.concatenate([self.weight, self.weight[taught.row] * taught.share]),
        )

    def to_train_on(self, rows: np.ndarray) -> np.ndarray:
        """Return the numbers in `with_lessons` that a booster is trained on for these rows."""
        taught = self.taught
        if taught is None:
            return rows
        as_they_ended = rows[~np.isin(rows, taught.row)]
        lessons = np.flatnonzero(np.isin(taught.row, rows))
        return np.concatenate([as_they_ended, len(self.won) + lessons])


@dataclass(frozen=True)
class CrossFit:
    """Boosters that each left one fold out, and the scores they gave the rows they left out."""

    boosters: list[Booster]
    folds: list[Fold]
    trees: int
    "Chosen on the mean validation loss of all folds; every raw score uses this many."
    raw_score: np.ndarray
    "Out-of-fold log-odds, one a row; NaN for rows in no fold."
    row_loss: np.ndarray
    "Out-of-fold log loss a row, NaN likewise."


def import_lightgbm() -> Any:
    """Return lightgbm, its threads told to sleep while they wait.

    Threads that spin instead took 7 times the CPU on a busy machine. OpenMP reads this setting
    once, when the library is loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import lightgbm  # 3 s

    return lightgbm


def booster_parameters(chosen: dict[str, Any], seed: int, num_threads: int) -> dict[str, Any]:
    """Return LightGBM's parameters: `chosen` and what makes the same data give the same bytes."""
    return {
        "objective": "binary",
        "learning_rate": LEARNING_RATE,
        **chosen,
        "seed": seed,
        "num_threads": num_threads,
        "deterministic": True,
        "force_col_wise": True,
        "feature_pre_filter": False,
        "verbose": -1,
    }


def cross_fit(rows: Rows, folds: list[Fold], parameters: dict[str, Any]) -> CrossFit:
    """Return boosters grown together, one a fold, until their mean validation loss stops falling.

    `rows.weight` weighs the fit and the loss that chooses the number of trees alike. Where rows are
    taught otherwise than they ended, the fit is told so, and the loss is not.
    """
    lightgbm = import_lightgbm()
    told = rows.with_lessons()
    whole = lightgbm.Dataset(told.matrix, told.won, weight=told.weight, free_raw_data=False)
    patience = round(PATIENCE / parameters["learning_rate"])
    # One binning for all folds: it looks at features only, never at labels.
    grown = lightgbm.cv(
        parameters,
        whole,
        MAX_TREES,
        folds=[(rows.to_train_on(train), valid) for train, valid in folds],
        return_cvbooster=True,
        callbacks=[lightgbm.early_stopping(patience, verbose=False)],
    )
    trees = int(np.argmin(grown["valid binary_logloss-mean"])) + 1
    boosters: list[Booster] = grown["cvbooster"].boosters
    raw_score = np.full(len(rows.won), np.nan)
    for booster, (_, valid) in zip(boosters, folds, strict=True):
        raw_score[valid] = raw_scores(booster, rows.matrix[valid], trees, parameters)
    loss = row_log_loss(rows.won, 1 / (1 + np.exp(-raw_score)))
    return CrossFit(boosters, folds, trees, raw_score, loss)


def raw_scores(
    booster: Booster, matrix: np.ndarray, trees: int, parameters: dict[str, Any]
) -> np.ndarray:
    """Return log-odds of the first `trees` trees, one a row of `matrix`."""
    return np.asarray(
        booster.predict(
            matrix,
            raw_score=True,
            num_iteration=trees,
            num_threads=parameters["num_threads"],
            validate_features=False,
        ),
        dtype=np.float64,
    )


def refit(rows: Rows, parameters: dict[str, Any], trees: int) -> Booster:
    """Return one booster of `trees` trees on all `rows`, or their lessons."""
    lightgbm = import_lightgbm()
    if rows.taught is not None:
        rows = rows.with_lessons().take(rows.to_train_on(np.arange(len(rows.won))))
    return lightgbm.train(
        parameters, lightgbm.Dataset(rows.matrix, rows.won, weight=rows.weight), trees
    )


def search_parameters(
    rows: Rows,
    account: np.ndarray,
    folds: list[Fold],
    trials: int,
    seed: int,
    num_threads: int,
) -> dict[str, Any]:
    """Return the defaults, or the best of `trials` draws where it clearly beats them.

    Clearly: see `is_clear_gain`. With few wins the best of several draws is mostly luck. Draws
    are compared on the newest folds only, which look most like what comes next.
    """
    import optuna

    if trials <= 1:
        return dict(DEFAULTS)
    losses: dict[int, np.ndarray] = {}

    def objective(trial: optuna.Trial) -> float:
        chosen = {
            "num_leaves": trial.suggest_int("num_leaves", 4, 31, log=True),
            "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 20, 300, log=True),
            "feature_fraction": trial.suggest_float("feature_fraction", 0.2, 0.9),
            "lambda_l2": trial.suggest_float("lambda_l2", 1.0, 100.0, log=True),
        }
        parameters = booster_parameters(chosen, seed, num_threads)
        parameters["learning_rate"] = SEARCH_LEARNING_RATE
        fitted = cross_fit(rows, folds[-SEARCH_FOLDS:], parameters)
        losses[trial.number] = fitted.row_loss
        validated = np.isfinite(fitted.row_loss)
        return float(np.average(fitted.row_loss[validated], weights=rows.weight[validated]))

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=4))
    study.enqueue_trial(DEFAULTS)
    study.optimize(objective, n_trials=trials)
    gain = losses[0] - losses[study.best_trial.number]
    if is_clear_gain(gain, rows.weight, account):
        return dict(study.best_params)
    return dict(DEFAULTS)


def recency_weights(as_of: np.ndarray, half_life_days: float | None) -> np.ndarray:
    """Return a weight per row that halves with every half-life before the newest; all 1 for None.

    >>> recency_weights(np.array(["2025-01-01", "2025-01-31"], dtype="datetime64[us]"), 30)
    array([0.5, 1. ])
    """
    if half_life_days is None:
        return np.ones(len(as_of))
    age_days = (as_of.max() - as_of) / np.timedelta64(1, "D")
    return np.asarray(0.5 ** (age_days / half_life_days))
