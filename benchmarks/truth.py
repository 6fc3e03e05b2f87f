"""How close to perfect: the model against the best possible probabilities of the demo CRM.

    python benchmarks/truth.py [--json] [--leads 20000] [--seed 0] [--test-weeks 13]

The recipe is fitted on all matured rows, as shipped, and scores the Mondays after them, which no
part of it has seen. No outcome is drawn: every figure is an expectation under the best possible
probabilities, so the only noise is the training's. Figures, over the population (what is trained
on and scored) and, as `eligible_*`, over those that may become an MQL:

- `auc_gap`: AUC of the best possible probabilities less the model's;
- `skill_share`: log-loss skill over the base rate, as a share of the best possible skill;
- `calibration_error`: mean gap of the model's to the best possible probability, 10 equal-mass bins.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from features.config import Config
from features.loading.sources import load_tables
from features.snapshots import build_snapshots, lead_weeks, mondays
from training.evaluation import split_examples
from training.examples import examples_from_tables
from training.fitting.fit import choose, fit_model
from training.metrics import auc, calibration_error, log_loss
from training.simulate import simulate, write_demo


def compare(best: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """Return the figures of `probability` against the best possible, one entry a snapshot."""
    base = log_loss(best, np.full(len(best), best.mean()))
    least = log_loss(best, best)
    return {
        "auc_gap": auc(best, best) - auc(best, probability),
        "best_auc": auc(best, best),
        "skill_share": (base - log_loss(best, probability)) / (base - least),
        "best_skill": 1 - least / base,
        "calibration_error": calibration_error(best, probability),
        "won_share": float(best.mean()),
        "snapshots": float(len(best)),
    }


def main() -> None:
    """Simulate, train and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--leads", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--test-weeks", type=int, default=13)
    arguments = parser.parse_args()
    start = time.perf_counter()
    config = Config()
    demo = simulate(leads=arguments.leads, seed=arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        write_demo(demo, Path(folder))
        tables = load_tables(config, Path(folder)).tables
    truth = demo.truth
    del demo
    examples = examples_from_tables(tables, config)
    choices = choose(examples, split_examples(examples, config).is_fit, config)
    fitted = fit_model(examples, np.ones(len(examples.won), dtype=bool), choices, config)
    newest = pd.Timestamp(examples.as_of.max())
    parts = []
    for monday in mondays(newest + pd.Timedelta(days=7), tables.data_until)[: arguments.test_weeks]:
        index = lead_weeks(tables, config.population, np.array([monday]))
        snapshots = build_snapshots(tables, examples.catalogue, index)
        parts.append(
            snapshots[["lead_id", "as_of", "is_eligible"]].assign(
                scored=fitted.probability(snapshots)
            )
        )
    scored = pd.concat(parts).merge(truth, on=["lead_id", "as_of"], how="left", validate="1:1")
    if scored["probability"].isna().any():
        raise AssertionError("the truth lacks scored snapshots")
    figures = compare(scored["probability"].to_numpy(), scored["scored"].to_numpy())
    may = scored[scored["is_eligible"]]
    eligible = compare(may["probability"].to_numpy(), may["scored"].to_numpy())
    figures |= {f"eligible_{name}": value for name, value in eligible.items()}
    figures["seconds"] = time.perf_counter() - start
    if not arguments.json:
        for name, value in figures.items():
            print(f"{name:>28}  {value:,.4f}")
    print(json.dumps({"figures": figures}))


if __name__ == "__main__":
    main()
