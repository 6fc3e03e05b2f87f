"""How fast are exact reasons, and how exact? Our forest against LightGBM's and shap's own.

    python benchmarks/reasons.py [--json] [--rows 50000] [--rounds 3]

Two models of 300 trees on synthetic rows of 60 features with gaps: 15 leaves and depth 5, then 31
leaves and depth 6 (figures that end in `_31`). All contenders take turns within one run:

- `max_error`: largest difference to `shap.TreeExplainer` over 5,000 rows and both models (at most
  1e-6); `additivity_error`: largest difference between a row's sum and its raw score;
- `raw_scores_equal`: 1 where every raw score has LightGBM's bits;
- `one_lead_speedup`: median time of one row's contributions in one thread by the fastest of
  LightGBM's single-row library call (`lightgbm_us`; prepared once, without its Python layer),
  `Booster.predict` (`lightgbm_python_us`) and `TreeExplainer` (`shap_us`), over that of
  `Forest.contributions` (`one_lead_us`; at least 4); `one_lead_cold_us` is ours right after a call
  of shap's, which leaves nothing of ours in the processor's caches;
- `batch_speedup`: best time of `pred_contrib` or of shap for 50,000 rows over ours, all with two
  threads (at least 4); `batch_speedup_with_build` with the tables built anew each time;
- `parse_seconds`, `build_seconds`: reading the text model, and making its tables, once compiled;
- `compile_seconds`: all of the first contributions on a machine that never ran them;
  `start_seconds`: in a new process once they are compiled.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

from models.forest import Forest

THREADS = 2
FEATURES = 60
TRAINING_ROWS = 40_000
CHECKED_ROWS = 5_000
CALLS = 20
"Of one lead in a row, before the next contender has its turn."
PARAMETERS = {
    "objective": "binary",
    "learning_rate": 0.05,
    "min_data_in_leaf": 50,
    "seed": 0,
    "deterministic": True,
    "force_col_wise": True,
    "num_threads": THREADS,
    "verbose": -1,
}
MODELS = {"": {"num_leaves": 15, "max_depth": 5}, "_31": {"num_leaves": 31, "max_depth": 6}}
CONTRIBUTIONS = 3  # LightGBM's C_API_PREDICT_CONTRIB
FLOAT64 = 1  # and C_API_DTYPE_FLOAT64
FIRST_CALL = """
import sys, time
from pathlib import Path
import numpy as np
from models.forest import Forest
forest = Forest.of_text(Path(sys.argv[1]).read_text())
row = np.zeros((1, forest.n_features))
start = time.perf_counter()
forest.raw_scores(row), forest.contributions(row)
print(time.perf_counter() - start)
"""


def synthetic_rows(rows: int, seed: int) -> np.ndarray:
    """Return counts, measures and flags; a tenth of most columns is missing."""
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(rows, FEATURES))
    matrix[:, :20] = generator.poisson(2, size=(rows, 20))
    matrix[:, 55:] = generator.random((rows, 5)) < 0.2
    matrix[:, 5:50][generator.random((rows, 45)) < 0.1] = np.nan
    return matrix


def synthetic_outcomes(matrix: np.ndarray, seed: int) -> np.ndarray:
    """Draw outcomes from a log-odds with curves and interactions in it."""
    filled = np.nan_to_num(matrix)
    log_odds = -2 + 0.3 * filled[:, 0] + 0.3 * filled[:, 25] * filled[:, 3] + np.sin(filled[:, 30])
    log_odds += 0.2 * filled[:, 31] * filled[:, 5] + filled[:, 56] - 0.5 * np.isnan(matrix[:, 40])
    chance = 1 / (1 + np.exp(-log_odds))
    return (np.random.default_rng(seed).random(len(matrix)) < chance).astype(np.float64)


def single_row_call(booster: lightgbm.Booster) -> Callable[[np.ndarray], np.ndarray]:
    """Return LightGBM's contributions of one row of 60 features, by its single-row call."""
    library = lightgbm.basic._LIB
    configuration, length = ctypes.c_void_p(), ctypes.c_int64()
    result = np.empty(FEATURES + 1)
    prepared = library.LGBM_BoosterPredictForMatSingleRowFastInit(
        booster._handle,
        ctypes.c_int(CONTRIBUTIONS),
        ctypes.c_int(0),
        ctypes.c_int(-1),
        ctypes.c_int(FLOAT64),
        ctypes.c_int32(FEATURES),
        ctypes.c_char_p(b"num_threads=1"),
        ctypes.byref(configuration),
    )
    if prepared != 0:
        raise RuntimeError("LightGBM refused the single-row call")
    call = library.LGBM_BoosterPredictForMatSingleRowFast
    filled = result.ctypes.data_as(ctypes.POINTER(ctypes.c_double))

    def contributions(row: np.ndarray) -> np.ndarray:
        call(configuration, ctypes.c_void_p(row.ctypes.data), ctypes.byref(length), filled)
        return result

    return contributions


def seconds(run: Callable[[], object]) -> float:
    """Return how long `run` takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def in_turns(
    contenders: dict[str, Callable[[], object]], turns: int, calls: int = 1
) -> dict[str, list[float]]:
    """Return the seconds of each contender's calls, as many of each in every turn."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(turns):
        for name, run in contenders.items():
            found[name] += [seconds(run) for _ in range(calls)]
    return found


def one_lead(
    forest: Forest, booster: lightgbm.Booster, explainer: Any, matrix: np.ndarray, turns: int
) -> dict[str, float]:
    """Return the figures of one row at a time, a new row each call.

    `cold` is ours where each call comes after one of shap's, which leaves nothing in the cache.
    """
    fast = single_row_call(booster)
    np.testing.assert_allclose(
        fast(matrix[0])[:-1], forest.contributions(matrix[:1])[0], rtol=0, atol=1e-9
    )
    place = {"ours": 0, "cold": 0, "fast": 0, "python": 0, "shap": 0}

    def next_row(name: str) -> np.ndarray:
        place[name] += 1
        row = place[name] % len(matrix)
        return matrix[row : row + 1]

    def by_python() -> object:
        row = next_row("python")
        return booster.predict(row, pred_contrib=True, num_threads=1, validate_features=False)

    found = in_turns(
        {
            "ours": lambda: forest.contributions(next_row("ours")),
            "fast": lambda: fast(next_row("fast")),
            "python": by_python,
            "shap": lambda: explainer.shap_values(next_row("shap")),
        },
        turns // CALLS,
        CALLS,
    )
    found |= in_turns(
        {
            "shap": lambda: explainer.shap_values(next_row("shap")),
            "cold": lambda: forest.contributions(next_row("cold")),
        },
        turns // CALLS,
    )
    median = {name: float(np.median(times)) for name, times in found.items()}
    return {
        "one_lead_speedup": min(median["fast"], median["python"], median["shap"]) / median["ours"],
        "one_lead_us": 1e6 * median["ours"],
        "one_lead_cold_us": 1e6 * median["cold"],
        "lightgbm_us": 1e6 * median["fast"],
        "lightgbm_python_us": 1e6 * median["python"],
        "shap_us": 1e6 * median["shap"],
    }


def batch(
    forest: Forest, booster: lightgbm.Booster, explainer: Any, matrix: np.ndarray, rounds: int
) -> dict[str, float]:
    """Return the figures of many rows at once."""
    found = in_turns(
        {
            "ours": lambda: forest.contributions(matrix, THREADS),
            "with_build": lambda: Forest.of_text(forest.text).contributions(matrix, THREADS),
            "lightgbm": lambda: booster.predict(matrix, pred_contrib=True, num_threads=THREADS),
            "shap": lambda: explainer.shap_values(matrix),
        },
        rounds,
    )
    best = {name: min(times) for name, times in found.items()}
    opponent = min(best["lightgbm"], best["shap"])
    return {
        "batch_speedup": opponent / best["ours"],
        "batch_speedup_with_build": opponent / best["with_build"],
        "batch_seconds": best["ours"],
        "batch_lightgbm_seconds": best["lightgbm"],
        "batch_shap_seconds": best["shap"],
    }


def exactness(
    forest: Forest, booster: lightgbm.Booster, explainer: Any, matrix: np.ndarray
) -> dict[str, float]:
    """Return how far our numbers are from the others'."""
    raw = np.asarray(booster.predict(matrix, raw_score=True))
    found = forest.contributions(matrix)
    error = float(np.abs(found - explainer.shap_values(matrix)).max())
    base_error = abs(forest.base_raw_score - float(explainer.expected_value))
    return {
        "max_error": max(error, base_error),
        "additivity_error": float(np.abs(found.sum(axis=1) + forest.base_raw_score - raw).max()),
        "raw_scores_equal": float(np.array_equal(forest.raw_scores(matrix), raw)),
    }


def making(text: str) -> dict[str, float]:
    """Return what it takes to read a model and to make its tables."""
    forests = [Forest.of_text(text) for _ in range(5)]
    return {
        "parse_seconds": min(seconds(lambda: Forest.of_text(text)) for _ in range(5)),
        "build_seconds": min(seconds(forest.tables) for forest in forests),
        "tables_mb": forests[0].tables().cells.nbytes / 1e6,
    }


def first_calls(text: str) -> dict[str, float]:
    """Return the seconds of the first contributions in a new process, uncompiled and compiled."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "booster.txt"
        model.write_text(text)
        environment = os.environ | {
            "NUMBA_CACHE_DIR": folder,
            "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
        }
        command = [sys.executable, "-c", FIRST_CALL, str(model)]
        told = [
            subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            for _ in range(2)
        ]
    first, second = (float(child.stdout) for child in told)
    return {"compile_seconds": first, "start_seconds": second}


def measured(
    parameters: dict[str, Any], shap: Any, rows: int, rounds: int, turns: int
) -> tuple[dict[str, float], str]:
    """Return all figures of one model, and its text."""
    training = synthetic_rows(TRAINING_ROWS, seed=0)
    data = lightgbm.Dataset(training, synthetic_outcomes(training, seed=1))
    trained = lightgbm.train(PARAMETERS | parameters, data, 300)
    text = trained.model_to_string()
    booster, forest = lightgbm.Booster(model_str=text), Forest.of_text(text)
    explainer = shap.TreeExplainer(booster)
    matrix = synthetic_rows(rows, seed=2)
    forest.contributions(matrix[:1]), forest.contributions(matrix[:100])
    figures = exactness(forest, booster, explainer, matrix[:CHECKED_ROWS])
    figures |= one_lead(forest, booster, explainer, matrix, turns)
    figures |= batch(forest, booster, explainer, matrix, rounds)
    return figures | making(text), text


def main() -> None:
    """Train, measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3, help="of the batch; the best counts")
    parser.add_argument("--turns", type=int, default=1_000, help="of one lead; the median counts")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # shap's imports and LightGBM's binary output warn
    import shap

    figures: dict[str, float] = {}
    for ending, parameters in MODELS.items():
        found, text = measured(parameters, shap, arguments.rows, arguments.rounds, arguments.turns)
        if not figures:
            figures |= first_calls(text)
        figures |= {f"{name}{ending}": value for name, value in found.items()}
    figures["max_error"] = max(figures["max_error"], figures["max_error_31"])
    if not arguments.json:
        for name, value in figures.items():
            print(f"{name:>28}  {value:,.6g}")
    print(json.dumps({"figures": figures}))


if __name__ == "__main__":
    main()
