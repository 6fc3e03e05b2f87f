"""The models of a backtest: one a month, fitted on what was known when the month began."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.config import Config
from training.backtest.months import Months, known_at
from training.examples import Examples
from training.fitting.fit import Choices, Fitted, choose, fit_model


@dataclass(frozen=True)
class MonthModel:
    """The recipe as it would have been run at the start of a month."""

    origin: np.datetime64
    is_fit: np.ndarray
    "Mask over the examples: their labels were known at the origin."
    newest: np.datetime64
    "The newest instant it was fitted on; later ones it scores as a model in use does."
    fitted: Fitted

    def probabilities(
        self,
        snapshots: pd.DataFrame,
        account: np.ndarray,
        matrix: np.ndarray,
        oldest: np.datetime64,
    ) -> np.ndarray:
        """Return the probability of each snapshot; NaN before `oldest`.

        What it was fitted on is scored out of fold, what came later by the booster in use.
        `matrix` is what its encoder makes of the snapshots; of these `as_of` is read, and the
        segments that the calibration goes by.
        """
        as_of = snapshots["as_of"].to_numpy()
        probability = np.full(len(as_of), np.nan)
        past = np.flatnonzero((as_of >= oldest) & (as_of <= self.newest))
        later = np.flatnonzero(as_of > self.newest)
        fitted = self.fitted
        if len(past):
            rows = snapshots.iloc[past]
            probability[past] = fitted.out_of_fold_probability(rows, account[past], matrix[past])
        if len(later):
            probability[later] = fitted.encoded_probability(snapshots.iloc[later], matrix[later])
        return probability


def choose_once(examples: Examples, months: Months, config: Config) -> Choices:
    """Return the parameters of all models: chosen on the folds known when the first month began.

    A search for every month would take too long. What is chosen on the oldest rows has seen none
    of the months that are replayed.
    """
    return choose(examples, known_at(examples, months.starts[0], config), config)


def fit_month(
    examples: Examples, origin: np.datetime64, choices: Choices, config: Config
) -> MonthModel:
    """Return the model that would have been made at `origin`."""
    is_fit = known_at(examples, origin, config)
    fitted = fit_model(examples, is_fit, choices, config)
    return MonthModel(origin, is_fit, examples.as_of[is_fit].max(), fitted)
