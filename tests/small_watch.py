"""A small model fitted on the tables it is watched on, for the tests of the watch."""

from __future__ import annotations

import numpy as np

from features.config import Config
from features.tables import Tables
from models.cutoff import Cutoff
from models.forest import Forest
from models.scorer import Scorer
from training.examples import examples_from_tables
from training.fitting.fit import choose, fit_model


def fitted_scorer(tables: Tables, config: Config, cutoff: float = 0.9) -> Scorer:
    """A model of all matured rows of `tables`."""
    examples = examples_from_tables(tables, config)
    everything = np.ones(len(examples.won), dtype=bool)
    fitted = fit_model(examples, everything, choose(examples, everything, config), config)
    forest = Forest.of_text(fitted.booster.model_to_string())
    return Scorer(
        forest, fitted.encoder, examples.catalogue, fitted.calibration, Cutoff("fixed", {}, cutoff),
        float(np.average(examples.won, weights=examples.weight)), config.training.horizon_days,
        forest.base_raw_score,
    )  # fmt: skip
