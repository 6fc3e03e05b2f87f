"""Model quality on fixed splits of real data, against what other tools reach on the same files.

One recipe for all four sets, every choice by folds within train; the test part is read once.

    python benchmarks/quality.py [--json] [--quality FOLDER]

`FOLDER` holds `splits/NAME/{train,test}.csv.gz` and `peers.json`. Figures: per set the log loss
over the best peer's (`NAME_ratio`) with the 90% interval from resampling our test rows
while the peer's figure stands still, and the paired difference in log loss, on the same
resamples, to LightGBM with its defaults fitted in this run; `worst_ratio`, `mean_ratio`, and
`worst_time_share`, our seconds over the best peer's where that took over 60.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

from features.config import Config, FlatSource
from features.loading.flat import load_flat, load_flat_rows
from models.encoding import fit_encoder
from training.examples import Examples, examples_from_flat
from training.fitting.fit import choose, fit_model
from training.metrics import resamples, row_log_loss, with_intervals

SETS = ("loan_time", "olist_time", "shoppers", "xeducation")
SLOW_SECONDS = 60
RESAMPLES = 1000


def run_set(folder: Path) -> dict[str, Any]:
    """Return our test losses, LightGBM's, and the seconds our fit took."""
    config = Config(flat=FlatSource(path="train.csv.gz", label="converted"))
    examples = examples_from_flat(load_flat(config, folder), config)
    everything = np.ones(len(examples.won), dtype=bool)
    start = time.perf_counter()
    fitted = fit_model(examples, everything, choose(examples, everything, config), config)
    seconds = time.perf_counter() - start
    expected = {feature.name: feature.dtype for feature in examples.catalogue.features}
    test = load_flat_rows(folder / "test.csv.gz", config, {**expected, "converted": "number"}).rows
    won = test["converted"].to_numpy(float)
    return {
        "loss": row_log_loss(won, fitted.probability(test)),
        "default_loss": row_log_loss(won, default_lightgbm(examples, test)),
        "seconds": seconds,
    }


def default_lightgbm(examples: Examples, test: Any) -> np.ndarray:
    """Return the probabilities of LightGBM as it comes, on the same encoding."""
    encoder = fit_encoder(examples.snapshots, examples.catalogue)
    rows = lightgbm.Dataset(encoder.transform(examples.snapshots), examples.won)
    quiet = {"objective": "binary", "verbose": -1, "num_threads": 2, "deterministic": True}
    return np.asarray(lightgbm.train(quiet, rows).predict(encoder.transform(test)))


def main() -> None:
    """Run all four sets and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quality", type=Path, default=Path("../shared/quality"))
    arguments = parser.parse_args()
    if not (arguments.quality / "peers.json").is_file():
        parser.error(f"there is no peers.json in {arguments.quality}; name its folder: --quality")
    peers = json.loads((arguments.quality / "peers.json").read_text())
    figures: dict[str, float] = {}
    time_shares = []
    for name in SETS:
        best, peer = min((entry["logloss"], peer) for peer, entry in peers[name].items())
        found = run_set(arguments.quality / "splits" / name)
        gain = found["default_loss"] - found["loss"]

        def computed(times: np.ndarray, found: Any = found, gain: Any = gain) -> dict[str, float]:
            return {
                "loss": float(np.average(found["loss"], weights=times)),
                "gain": float(np.average(gain, weights=times)),
            }

        rows = np.arange(len(gain))
        drawn = [computed(times) for times in resamples(rows, RESAMPLES, seed=0)]
        estimates = with_intervals(computed(np.ones(len(gain))), drawn)
        loss, over_default = estimates["loss"], estimates["gain"]
        figures[f"{name}_ratio"] = loss.value / best
        figures[f"{name}_ratio_low"] = loss.low / best
        figures[f"{name}_ratio_high"] = loss.high / best
        figures[f"{name}_gain_over_lightgbm"] = over_default.value
        figures[f"{name}_gain_over_lightgbm_low"] = over_default.low
        figures[f"{name}_gain_over_lightgbm_high"] = over_default.high
        figures[f"{name}_seconds"] = found["seconds"]
        if peers[name][peer]["sec"] > SLOW_SECONDS:
            time_shares.append(found["seconds"] / peers[name][peer]["sec"])
        if not arguments.json:
            print(
                f"{name}: log loss {loss.value:.4f}, {loss.value / best:.4f} of {peer} ({best}); "
                f"{found['seconds']:.1f} s, peer {peers[name][peer]['sec']} s"
            )
    ratios = [figures[f"{name}_ratio"] for name in SETS]
    figures["worst_ratio"], figures["mean_ratio"] = max(ratios), float(np.mean(ratios))
    figures["worst_time_share"] = max(time_shares)
    if not arguments.json:
        print(f"worst {figures['worst_ratio']:.4f}, mean {figures['mean_ratio']:.4f}")
    print(json.dumps({"figures": figures}))


if __name__ == "__main__":
    main()
