"""One fit of the recipe: encoder, cross-fitted boosters, calibration, and the refit booster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from models.calibration import Calibration
from models.encoding import Encoder, fit_encoder
from training.examples import Examples
from training.fitting.boost import (
    DEFAULTS,
    CrossFit,
    Rows,
    booster_parameters,
    cross_fit,
    raw_scores,
    recency_weights,
    refit,
    search_parameters,
)
from training.fitting.calibrate import choose_half_life, fit_calibration, with_shifts
from training.fitting.folds import (
    Fold,
    account_folds,
    are_trainable,
    time_folds,
    without_shared_leads,
)
from training.metrics import is_clear_gain
from training.segments import category_feature
from training.verdicts.lessons import lessons

if TYPE_CHECKING:
    from lightgbm import Booster

    from features.config import Config

FIT_HALF_LIVES_DAYS = (365, 182)


@dataclass(frozen=True)
class Choices:
    """What the folds of the evaluation chose; the shipped model is fitted with the same."""

    parameters: dict[str, Any]
    half_life_days: float | None
    "Of the weights the boosters are fitted with; None: all rows alike."


@dataclass(frozen=True)
class Fitted:
    """A model and the out-of-fold scores that chose its trees and its calibration."""

    encoder: Encoder
    parameters: dict[str, Any]
    cross_fit: CrossFit
    fold_starts: np.ndarray
    "First instant of each fold, rising; empty where folds are whole accounts."
    fold_of_account: pd.Series
    "Fold number by account; empty where folds are time blocks."
    calibration: Calibration
    calibration_half_life_days: float | None
    "Of the weights the calibration is fitted with."
    booster: Booster

    def probability(self, snapshots: pd.DataFrame) -> np.ndarray:
        """Return calibrated probabilities by the booster fitted on all rows."""
        return self._calibrated(self.booster, snapshots)

    def encoded_probability(self, snapshots: pd.DataFrame, matrix: np.ndarray) -> np.ndarray:
        """Return what `probability` does, where the encoder's `matrix` is there already."""
        return self._calibrated(self.booster, snapshots, matrix)

    def out_of_fold_probability(
        self, snapshots: pd.DataFrame, account: np.ndarray, matrix: np.ndarray | None = None
    ) -> np.ndarray:
        """Return probabilities by the booster that left out each snapshot's time block or account.

        `account` holds each row's account component. One that no booster saw may take any.
        `matrix`: the encoder's, if it is there already.
        """
        if len(self.fold_of_account):
            block = self.fold_of_account.reindex(account).fillna(0).to_numpy(int)
        else:
            as_of = snapshots["as_of"].to_numpy().astype("datetime64[us]")
            block = np.maximum(np.searchsorted(self.fold_starts, as_of, side="right") - 1, 0)
        probability = np.empty(len(snapshots))
        for number in np.unique(block):
            rows = block == number
            booster = self.cross_fit.boosters[number]
            own = None if matrix is None else matrix[rows]
            probability[rows] = self._calibrated(booster, snapshots[rows], own)
        return probability

    def _calibrated(
        self, booster: Booster, snapshots: pd.DataFrame, matrix: np.ndarray | None = None
    ) -> np.ndarray:
        if matrix is None:
            matrix = self.encoder.transform(snapshots)
        raw = raw_scores(booster, matrix, self.cross_fit.trees, self.parameters)
        return self.calibration.probability(raw, self.calibration.segments_of(snapshots))


def make_folds(examples: Examples, rows: np.ndarray, config: Config) -> tuple[list[Fold], bool]:
    """Return the folds within `rows` (a mask), and whether they are time blocks.

    Purged time blocks; whole accounts without dates, or where the span of the rows is so short
    that the purge would leave a block next to nothing to train on.
    """
    training = config.training
    if examples.is_dated:
        folds = time_folds(examples.as_of[rows], training.folds, config.gap_days)
        if config.gap_days < training.horizon_days:
            folds = without_shared_leads(folds, examples.snapshots["lead_id"].to_numpy()[rows])
        if are_trainable(folds, examples.won[rows]):
            return folds, True
    return account_folds(examples.account[rows], training.folds, training.seed), False


def choose(examples: Examples, rows: np.ndarray, config: Config) -> Choices:
    """Return parameters and the recency of the fit, chosen on folds within `rows` (a mask)."""
    training = config.training
    _segment_column(examples, config)  # a mistake in it should not wait for the search
    if training.trials == 0:
        return Choices(dict(DEFAULTS), None)
    encoder = fit_encoder(examples.snapshots[rows], examples.catalogue)
    table = _rows(examples, rows, encoder, config)
    folds, in_time = make_folds(examples, rows, config)
    account = examples.account[rows]
    parameters = search_parameters(
        table, account, folds, training.trials, training.seed, training.num_threads
    )
    if not in_time:
        return Choices(parameters, None)
    half_life = _fit_half_life(table, account, folds, examples.as_of[rows], parameters, config)
    return Choices(parameters, half_life)


def fit_model(examples: Examples, rows: np.ndarray, choices: Choices, config: Config) -> Fitted:
    """Return the model fitted on `rows` (a mask) with `choices`.

    Cross-fitted boosters give the number of trees and the calibration; one booster is then
    refitted on all the rows.
    """
    encoder = fit_encoder(examples.snapshots[rows], examples.catalogue)
    table = _rows(examples, rows, encoder, config)
    folds, in_time = make_folds(examples, rows, config)
    as_of = examples.as_of[rows]
    weighted = _weighted(table, as_of, choices.half_life_days)
    parameters = _booster_parameters(choices.parameters, config)
    fitted = cross_fit(weighted, folds, parameters)
    fold = np.zeros(len(table.won), dtype=int)
    for number, (_, valid) in enumerate(folds):
        fold[valid] = number
    calibration, half_life = _calibrate(examples, rows, config, encoder, table, fitted, fold)
    starts = [as_of[valid].min() for _, valid in folds] if in_time else []
    fold_of_account = pd.Series(fold, index=examples.account[rows])
    fold_of_account = fold_of_account[~fold_of_account.index.duplicated()]
    return Fitted(
        encoder=encoder,
        parameters=parameters,
        cross_fit=fitted,
        fold_starts=np.array(starts, dtype="datetime64[us]"),
        fold_of_account=fold_of_account[:0] if in_time else fold_of_account,
        calibration=calibration,
        calibration_half_life_days=half_life,
        booster=refit(weighted, parameters, fitted.trees),
    )


def _calibrate(
    examples: Examples,
    rows: np.ndarray,
    config: Config,
    encoder: Encoder,
    table: Rows,
    fitted: CrossFit,
    fold: np.ndarray,
) -> tuple[Calibration, int | None]:
    """Return the calibration of the out-of-fold scores, and the half-life of its weights."""
    as_of, account = examples.as_of[rows], examples.account[rows]
    raw_score, won = fitted.raw_score, table.won
    half_life = None
    if examples.is_dated:
        half_life = choose_half_life(raw_score, won, table.weight, account, as_of, config.gap_days)
    recent = _weighted(table, as_of, half_life).weight
    calibration = fit_calibration(raw_score, won, recent, account, fold)
    segment_by = _segment_column(examples, config)
    if segment_by is None:
        return calibration, half_life
    segments = examples.snapshots.loc[rows, segment_by]
    # Only values that enough accounts have: a rare one may name a person.
    values = encoder.vocabularies[segment_by]
    shifted = with_shifts(calibration, raw_score, won, recent, account, segments, values)
    return shifted, half_life


def _segment_column(examples: Examples, config: Config) -> str | None:
    """Return the feature whose values get a calibration of their own; None: no feature's do."""
    name = config.training.calibrate_by
    if name is None:
        return None
    return category_feature(examples.catalogue, name, "[training] calibrate_by")


def _rows(examples: Examples, rows: np.ndarray, encoder: Encoder, config: Config) -> Rows:
    matrix = encoder.transform(examples.snapshots[rows])
    taught = lessons(examples, rows, config.verdicts)
    return Rows(matrix, examples.won[rows], examples.weight[rows], taught)


def _weighted(rows: Rows, as_of: np.ndarray, half_life_days: float | None) -> Rows:
    if half_life_days is None:
        return rows
    return rows.weighted(recency_weights(as_of, half_life_days))


def _booster_parameters(chosen: dict[str, Any], config: Config) -> dict[str, Any]:
    return booster_parameters(chosen, config.training.seed, config.training.num_threads)


def _fit_half_life(
    rows: Rows,
    account: np.ndarray,
    folds: list[Fold],
    as_of: np.ndarray,
    chosen: dict[str, Any],
    config: Config,
) -> float | None:
    """Return the half-life of the fit weights that best predicts a later block from earlier ones.

    None, all rows alike, unless forgetting is clearly better: it
    costs data. Only the newer blocks can tell, each trained on what came before it.
    """
    forward = [
        (train[as_of[train] < as_of[valid].min()], valid)
        for train, valid in folds[len(folds) // 2 :]
    ]
    forward = [(train, valid) for train, valid in forward if rows.won[train].sum() > 0]
    if not forward:
        return None
    parameters = {**_booster_parameters(chosen, config), "learning_rate": 0.1}
    everything = cross_fit(rows, forward, parameters)
    best, least = None, everything.row_loss
    for half_life in FIT_HALF_LIVES_DAYS:
        tried = cross_fit(_weighted(rows, as_of, half_life), forward, parameters)
        if is_clear_gain(least - tried.row_loss, rows.weight, account):
            best, least = half_life, tried.row_loss
    return best
