"""A working folder whose champion is half a year old, and one retraining in it.

What that retraining loaded, fitted and judged is kept, so that further ones take seconds less.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_crm import small_demo
from small_registry import empty_folder
from typer.testing import CliRunner

import closedwon
import models.registry
import training.registration
import training.retrain.retrain
from features.config import Config, read_config
from models.bundle import rescore_golden, write_bundle
from models.cutoff import Cutoff
from models.forest import Forest
from models.golden import synthesise_rows
from models.scorer import Scorer
from training.candidate import Candidate, Prepared
from training.fitting.boost import DEFAULTS
from training.fitting.fit import Choices, fit_model
from training.recipe import prepare
from training.simulate import write_demo
from training.steps import Steps
from training.tracking import log_training

TOML = """
[data]
data_until = 2026-01-05
[snapshots]
every_days = 56
[features]
windows_days = [30]
half_lives_days = [30]
[training]
trials = 0
folds = 2
min_wins = 20
bootstraps = 30
num_threads = 1
[cutoff]
mqls_per_week = 4
[gate]
min_wins = 10000 # so that it never is enough
bootstraps = 200
[retrain]
min_new_wins = 15
"""
HALF_YEAR_AGO = np.datetime64("2025-07-01", "us")


@dataclass(frozen=True)
class Kept:
    """What the retraining found on its way."""

    loaded: Any
    prepared: Prepared
    trained: Candidate
    offered: tuple[Candidate, Prepared, Any]
    verdict: Any


@dataclass(frozen=True)
class Life:
    """A champion whose ranking holds and whose level is far too high, and its retraining."""

    config: Config
    crm: Path
    before: Path
    "The folder as it was before the retraining; copy it."
    root: Path
    champion: Scorer
    "As it should be, its level not moved."
    exit_code: int
    told: dict[str, Any]
    kept: Kept


def old_champion(prepared: Prepared) -> Scorer:
    """What `train` would have shipped half a year ago, without an evaluation."""
    examples = prepared.examples
    had_matured = examples.as_of + np.timedelta64(91, "D") <= HALF_YEAR_AGO
    choices = Choices(dict(DEFAULTS), None)
    fitted = fit_model(examples, had_matured, choices, prepared.config)
    forest = Forest.of_text(fitted.booster.model_to_string())
    facts = {
        "window": {"from": None, "until": str(examples.as_of[had_matured].max())[:10]},
        "data_until": "2025-07-01",
        "parameters": choices.parameters,
        "half_life_days": None,
        "trees": fitted.cross_fit.trees,
    }
    rate = float(np.average(examples.won[had_matured], weights=examples.weight[had_matured]))
    return Scorer(
        forest, fitted.encoder, examples.catalogue, fitted.calibration,
        Cutoff("capacity", {"mqls_per_week": 4.0}, 0.1), rate, 91, forest.base_raw_score, facts,
    )  # fmt: skip


def too_high(champion: Scorer, log_odds: float) -> Scorer:
    """The same ranking, its level as if far more leads closed."""
    old = champion.calibration
    values = tuple(value + log_odds for value in old.calibrated)
    return replace(champion, calibration=replace(old, calibrated=values))


def make_life(folder: Path, store: Path) -> Life:
    """Register the champion, and retrain with `--promote --json` in a copy of its folder."""
    crm, before, root = folder / "crm", folder / "before", folder / "life"
    crm.mkdir()
    write_demo(small_demo(), crm)
    empty_folder(before, store)
    (before / "closedwon.toml").write_text(TOML, encoding="utf-8")
    config = read_config(before / "closedwon.toml")
    prepared = prepare(config, crm, before, Steps())
    champion = old_champion(prepared)
    _register(too_high(champion, log_odds=1.5), prepared, before)
    copy_life(before, root)
    kept: dict[str, Any] = {"prepare_loaded": prepared}
    with remembered(kept):
        code, told = asked(crm, root, "--promote")
    names = ("load", "prepare_loaded", "train_candidate", "_candidate", "judged")
    found = Kept(*(kept[name] for name in names))
    return Life(config, crm, before, root, champion, code, told, found)


def asked(crm: Path, root: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of `closedwon retrain` in `root`."""
    with pytest.MonkeyPatch.context() as here, checked_here():
        here.chdir(root)
        command = ["retrain", "--data", str(crm), "--json", *options]
        ended = CliRunner().invoke(closedwon.app, command)
    if not ended.stdout:
        raise AssertionError(ended.stderr) from ended.exception
    return ended.exit_code, json.loads(ended.stdout)


@contextmanager
def checked_here() -> Iterator[None]:
    """Let bundles be checked in this process: a child costs 2 s, and test_registry has it."""

    @contextmanager
    def checking(folder: Path) -> Iterator[Callable[[], None]]:
        yield lambda: rescore_golden(folder)

    with pytest.MonkeyPatch.context() as replaced:
        replaced.setattr(models.registry, "check_bundle", rescore_golden)
        replaced.setattr(training.registration, "checking_bundle", checking)
        yield


@contextmanager
def remembered(kept: dict[str, Any]) -> Iterator[None]:
    """Let the costly parts of a retraining be found in `kept`; the first to need one adds it."""
    product = training.retrain.retrain

    def once(name: str) -> Any:
        costly = getattr(product, name)

        def found(*arguments: Any) -> Any:
            if name not in kept:
                kept[name] = costly(*arguments)
            return kept[name]

        return found

    names = ("load", "prepare_loaded", "train_candidate", "_candidate", "judged")
    with pytest.MonkeyPatch.context() as replaced:
        for name in names:
            replaced.setattr(product, name, once(name))
        yield


@contextmanager
def quick(life: Life, has_champion: bool = True) -> Iterator[None]:
    """Let retrainings find what `life` kept, the gate let it pass, and draw no pictures."""

    def page(*arguments: Any) -> Path:
        path: Path = arguments[3]
        path.write_text("report", encoding="utf-8")
        return path

    found = life.kept
    kept: dict[str, Any] = {
        "load": found.loaded,
        "prepare_loaded": found.prepared,
        "train_candidate": found.trained,
    }
    if has_champion:
        kept |= {"_candidate": found.offered, "judged": replace(found.verdict, decision="pass")}
    with remembered(kept), checked_here(), pytest.MonkeyPatch.context() as replaced:
        replaced.setattr(training.registration, "write_report", page)
        # So few leads show no skill, without which nothing is promoted.
        for module in (training.registration, training.retrain.retrain):
            replaced.setattr(module, "is_skilled", lambda _: True)
        yield


def copy_life(before: Path, root: Path) -> Path:
    """Copy a working folder; its MLflow store points at the copy's files."""
    shutil.copytree(before, root)
    tables = {
        "experiments": "artifact_location",
        "runs": "artifact_uri",
        "logged_models": "artifact_location",
        "model_versions": "storage_location",
    }
    store = sqlite3.connect(root / ".closedwon" / "mlflow.db")
    with store:
        for table, column in tables.items():
            store.execute(
                f"update {table} set {column} = replace({column}, ?, ?)",
                (str(before.absolute()), str(root.absolute())),
            )
    store.close()
    return root


def _register(champion: Scorer, prepared: Prepared, root: Path) -> None:
    golden = synthesise_rows(prepared.examples.snapshots, champion.encoder, seed=0)
    bundle = root / "run" / "bundle"
    write_bundle(champion, golden, {}, bundle)
    registered = log_training(
        prepared.config.tracking,
        root,
        run_name="train",
        params={},
        metrics={},
        digests={},
        artifacts=(),
        bundle=bundle,
        may_be_champion=True,
    )
    assert registered.alias == "champion"
