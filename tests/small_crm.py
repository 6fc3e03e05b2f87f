"""A small demo CRM, loaded and evaluated once for the tests of training."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from features.config import Config
from features.tables import Tables
from training.evaluation import Evaluation, evaluate_recipe, split_examples
from training.examples import Examples, examples_from_tables
from training.simulate import Demo, simulate, write_demo
from training.steps import Steps

SETTINGS: dict[str, Any] = {
    "data": {"data_until": "2026-01-05"},
    "snapshots": {"every_days": 56},
    "features": {"windows_days": [30], "half_lives_days": [30]},
    "training": {"trials": 0, "min_wins": 20, "bootstraps": 30, "num_threads": 1},
    "cutoff": {"mqls_per_week": 4},
}


def small_config(**sections: dict[str, Any]) -> Config:
    """Few features, trees quickly found; `sections` overrule single settings."""
    merged = {name: {**SETTINGS.get(name, {}), **values} for name, values in sections.items()}
    return Config.model_validate({**SETTINGS, **merged})


@cache
def small_demo() -> Demo:
    return simulate(leads=1_500, seed=3)


@cache
def small_tables() -> Tables:
    from features.loading.sources import load_tables

    with tempfile.TemporaryDirectory() as folder:
        write_demo(small_demo(), Path(folder))
        return load_tables(small_config(), Path(folder)).tables


@cache
def small_examples() -> Examples:
    return examples_from_tables(small_tables(), small_config())


@cache
def small_evaluation() -> Evaluation:
    config, examples = small_config(), small_examples()
    split = split_examples(examples, config)
    return evaluate_recipe(examples, small_tables(), config, split, Steps())
