"""Do the intervals by segment hold what they promise? On demo CRMs, whose truth is known.

    python benchmarks/segments.py [--json] [--seeds 20] [--leads 5000]

A quick model is fitted on the past of each demo and scores its test rows. Then, over the segments
of all demos (source, and what the report would choose beside it) in which enough leads won:

- `segment_coverage`: share whose 90% interval of the observed win rate holds the mean of the best
  possible probabilities of the segment's rows (to be 0.86 to 0.94);
- `too_low`, `too_high`: share whose interval lies wholly below or above it;
- `model_inside`: share whose interval holds the model's mean probability;
- `model_off`: mean distance of the model's mean probability to the best possible one, as a share of
  it (what is really wrong with the model, luck apart);
- `unknown`: share of all segments with too few wins for an interval;
- `bin_coverage`: as `segment_coverage`, for the bins of the reliability curve.
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
from training.comparison.segments import segment_columns
from training.evaluation import split_examples
from training.examples import examples_from_tables
from training.fitting.fit import choose, fit_model
from training.reliability import rates_by, reliability_bins
from training.segments import segment_rates
from training.simulate import simulate, write_demo

CONFIG = Config.model_validate(
    {
        "data": {"data_until": "2026-01-05"},
        "features": {"windows_days": [30], "half_lives_days": [30]},
        "training": {"trials": 0, "min_wins": 10},
    }
)


def judged(leads: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the segments' rates and the reliability points of one demo, each with its `truth`."""
    demo = simulate(leads=leads, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        write_demo(demo, Path(folder))
        tables = load_tables(CONFIG, Path(folder)).tables
    examples = examples_from_tables(tables, CONFIG)
    split = split_examples(examples, CONFIG)
    columns = list(segment_columns(examples, split.is_fit, CONFIG))
    fitted = fit_model(examples, split.is_fit, choose(examples, split.is_fit, CONFIG), CONFIG)
    snapshots = examples.snapshots[split.is_test].reset_index(drop=True)
    test = pd.DataFrame(
        {
            "won": examples.won[split.is_test],
            "probability": fitted.probability(snapshots),
            "weight": examples.weight[split.is_test],
            "account": examples.account[split.is_test],
        }
    )
    best = snapshots[["lead_id", "as_of"]].merge(
        demo.truth, on=["lead_id", "as_of"], how="left", validate="1:1"
    )["probability"]
    if best.isna().any():
        raise AssertionError("the truth lacks test snapshots")
    rates = segment_rates(test, snapshots[columns])
    # The truth as if it were the model's probability: its mean in the same rows.
    truth = segment_rates(test.assign(probability=best), snapshots[columns])
    bins = reliability_bins(test)
    points = rates_by(test, bins).assign(truth=best.groupby(bins).mean().to_numpy())
    return rates.assign(truth=truth["predicted"]), points


def figures_of(rates: pd.DataFrame, points: pd.DataFrame) -> dict[str, float]:
    """Return the figures of the benchmark over the segments and bins of all demos."""
    known = rates[rates["low"].notna()]
    bins = points[points["low"].notna()]
    return {
        "segment_coverage": _covered(known, "truth"),
        "too_low": float((known["high"] < known["truth"]).mean()),
        "too_high": float((known["low"] > known["truth"]).mean()),
        "model_inside": _covered(known, "predicted"),
        "model_off": float(np.mean(np.abs(known["predicted"] / known["truth"] - 1))),
        "unknown": float(rates["low"].isna().mean()),
        "segments": float(len(known)),
        "bin_coverage": _covered(bins, "truth"),
        "bins": float(len(bins)),
    }


def _covered(rates: pd.DataFrame, column: str) -> float:
    return float(rates[column].between(rates["low"], rates["high"]).mean())


def main() -> None:
    """Simulate, fit, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--leads", type=int, default=5_000)
    parser.add_argument("--seeds", type=int, default=20)
    arguments = parser.parse_args()
    start = time.perf_counter()
    found = [judged(arguments.leads, seed) for seed in range(arguments.seeds)]
    figures = figures_of(*(pd.concat(parts) for parts in zip(*found, strict=True)))
    figures["seconds"] = time.perf_counter() - start
    if not arguments.json:
        for name, value in figures.items():
            print(f"{name:>18}  {value:,.4f}")
    print(json.dumps({"figures": figures}))


if __name__ == "__main__":
    main()
