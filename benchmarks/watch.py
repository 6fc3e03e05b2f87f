"""How soon does the watch see drift, how rarely does it cry wolf? On demo CRMs with known laws.

    python benchmarks/watch.py [--json] [--seeds 20] [--leads 8000] [--workers 2]

Each seed makes two CRMs of 130 weeks, one calm and one whose newest 26 weeks convert at 0.7 of the
usual chance, at every stage, while content downloads come from the dormant. A model is trained on
what was recorded when those weeks began, and then watched every Monday with what was recorded by
then. The newest week is left out: the simulator puts the leads it still owes into it.

- `weeks_to_alarm`: weeks of drift in the data when the watch first said that something needs a
  person, median over seeds (to be <= 2); `weeks_to_wins_alarm`: the same for wins alone, 26 where
  they never alarmed;
- `false_alarms_per_year`: on calm data, Mondays on which an alarm was raised that was not there the
  Monday before, a year (to be <= 1);
- `recalibrated_error`: 13 weeks into the drift, the mean distance of mean predicted and mean true
  probability over ten equal bins of the predicted, of all leads scored on the four Mondays around
  that instant, with the model's own forest and the calibration corrected by what was known then (to
  be <= 0.015); `uncorrected_error`: the same without the correction. Means over seeds;
  `recalibrated_calm_error`, `uncorrected_calm_error`: in the calm CRMs.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.config import Config
from features.loading.sources import load_tables
from features.snapshots import mondays
from models.calibration import Calibration
from models.cutoff import Cutoff, Estimate
from models.forest import Forest
from models.scorer import Scorer
from training.examples import examples_from_tables
from training.fitting.fit import choose, fit_model
from training.monitor.expectations import expectations, first_crossings, time_to_win
from training.monitor.findings import findings
from training.monitor.performance import corrected
from training.monitor.weekly import Weekly, gather_weeks
from training.simulate import simulate, write_demo

END = pd.Timestamp("2026-01-05")
WEEKS, DRIFT_WEEKS, REFERENCE_WEEKS, HORIZON_WEEKS = 130, 26, 52, 13
BEGAN = END - pd.Timedelta(weeks=DRIFT_WEEKS)
TOLERATED = 0.1
CUTOFF = 0.15


def config_until(until: pd.Timestamp) -> Config:
    """Return a quick recipe on data until then."""
    return Config.model_validate(
        {
            "data": {"data_until": str(until.date())},
            "features": {"windows_days": [7, 30], "half_lives_days": [30]},
            "training": {"trials": 0, "min_wins": 10, "num_threads": 1},
        }
    )


def watched(leads: int, seed: int, drift: bool) -> dict[str, Any]:
    """Return what the watch said of one CRM, and how far probabilities were from the truth."""
    demo = simulate(leads=leads, seed=seed, weeks=WEEKS, drift=drift)
    with tempfile.TemporaryDirectory() as folder:
        write_demo(demo, Path(folder))
        before = load_tables(config_until(BEGAN), Path(folder)).tables
        now = load_tables(config_until(END), Path(folder)).tables
    config = config_until(BEGAN)
    examples = examples_from_tables(before, config)
    everything = np.ones(len(examples.won), dtype=bool)
    fitted = fit_model(examples, everything, choose(examples, everything, config), config)
    forest = Forest.of_text(fitted.booster.model_to_string())
    scorer = Scorer(
        forest, fitted.encoder, examples.catalogue, fitted.calibration,
        Cutoff("fixed", {}, CUTOFF), float(examples.won.mean()), 91, forest.base_raw_score,
    )  # fmt: skip
    instants = mondays(BEGAN - pd.Timedelta(weeks=REFERENCE_WEEKS), END)
    is_reference = instants <= np.datetime64(BEGAN, "us")
    reference = int(is_reference.sum())
    weekly = gather_weeks(now, config_until(END), scorer, instants, is_reference)
    expected = expectations(weekly, reference, 91, promised(weekly, reference), TOLERATED)
    raised, standing = [], set[str]()
    for weeks in range(1, len(instants) - reference):
        found = findings(weekly.until(reference + weeks), expected)
        alarms = {finding.key for finding in found if finding.needs_person}
        raised.append({"week": weeks, "new": sorted(alarms - standing)})
        standing = alarms
    then = reference + HORIZON_WEEKS
    known = weekly.until(then)
    timing = time_to_win(known.rows, reference, 91, 13.0)
    newer = corrected(known, scorer.calibration, timing, 91)
    newest = weekly.rows[weekly.rows["monday"].between(then - 3, then)]
    lead_ids = np.sort(now.leads["lead_id"].unique())
    rows = pd.DataFrame(
        {
            "lead_id": lead_ids[newest["lead"]],
            "as_of": weekly.mondays[newest["monday"]],
            "raw_score": newest["raw_score"].to_numpy(),
        }
    ).merge(demo.truth, on=["lead_id", "as_of"], validate="1:1")
    return {
        "raised": raised,
        "uncorrected_error": calibration_error(scorer.calibration, rows),
        "recalibrated_error": calibration_error(newer, rows),
    }


def promised(weekly: Weekly, reference: int) -> Cutoff:
    """Return the cutoff with what it brought in the reference, as a training would promise."""
    crossings = first_crossings(weekly.until(reference).rows)
    matured = crossings[crossings["monday"] < reference - HORIZON_WEEKS]
    precision = float(matured["days_to_win"].notna().mean())
    half = 1.64 * np.sqrt(precision * (1 - precision) / len(matured) * 1.5)
    volume = float((crossings["monday"] >= reference - 26).sum() / 26)
    evidence = {"precision": Estimate(precision, precision - half, precision + half)}
    forecast = Estimate(volume, 0.75 * volume, 1.3 * volume)
    return replace(Cutoff("fixed", {}, CUTOFF), evidence=evidence, forecast=forecast)


def calibration_error(calibration: Calibration, rows: pd.DataFrame) -> float:
    """Return the mean distance of predicted and true over ten equal bins of the predicted."""
    predicted = pd.Series(calibration.probability(rows["raw_score"].to_numpy()))
    bins = pd.qcut(predicted.rank(method="first"), 10, labels=False)
    both = pd.DataFrame({"predicted": predicted, "true": rows["probability"].to_numpy()})
    means = both.groupby(bins).mean()
    return float((means["predicted"] - means["true"]).abs().mean())


def first_week(raised: list[dict[str, Any]], kinds: tuple[str, ...] = ()) -> int:
    """Return the first week with an alarm, of these kinds if any are named."""
    for each in raised:
        if any(not kinds or key.startswith(kinds) for key in each["new"]):
            return int(each["week"])
    return DRIFT_WEEKS


def figures(drifted: list[dict[str, Any]], calm: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of all seeds."""
    weeks = sum(len(one["raised"]) for one in calm)
    false = [each for one in calm for each in one["raised"] if each["new"]]
    return {
        "seeds": len(calm),
        "weeks_to_alarm": float(np.median([first_week(one["raised"]) for one in drifted])),
        "weeks_to_wins_alarm": float(
            np.median(
                [first_week(one["raised"], ("observed_expected", "precision")) for one in drifted]
            )
        ),
        "false_alarms_per_year": round(len(false) / weeks * 52, 2),
        "false_alarms": [key for each in false for key in each["new"]],
        **{
            name: round(float(np.mean([one[name] for one in drifted])), 4)
            for name in ("recalibrated_error", "uncorrected_error")
        },
        "worst_recalibrated_error": round(max(one["recalibrated_error"] for one in drifted), 4),
        **{
            name.replace("_error", "_calm_error"): round(float(np.mean([o[name] for o in calm])), 4)
            for name in ("recalibrated_error", "uncorrected_error")
        },
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--leads", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    start = time.perf_counter()
    tasks = [(asked.leads, seed, drift) for seed in range(asked.seeds) for drift in (True, False)]
    with ProcessPoolExecutor(asked.workers) as pool:
        done = list(pool.map(watched, *zip(*tasks, strict=True)))
    found = figures(done[::2], done[1::2])
    found["seconds"] = round(time.perf_counter() - start, 1)
    if asked.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name}: {value}")


if __name__ == "__main__":
    main()
