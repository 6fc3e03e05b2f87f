"""Nothing is registered before the check of its bundle has come out well."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from small_model import small_scorer, small_snapshots

from features.config import TrackingConfig
from features.errors import InputError
from models.bundle import checking_bundle, write_bundle
from models.golden import synthesise_rows
from models.registry import connect
from training.tracking import log_training


@pytest.fixture
def root(tmp_path: Path, migrated_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an empty store and a bundle."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / ".closedwon").mkdir()
    shutil.copy(migrated_store, tmp_path / ".closedwon" / "mlflow.db")
    scorer = small_scorer(cutoff=0.25)
    rows = synthesise_rows(small_snapshots(), scorer.encoder)
    write_bundle(scorer, rows, {}, tmp_path / "bundle")
    return tmp_path


def log(root: Path, checked: Callable[[], None] = lambda: None) -> None:
    log_training(
        TrackingConfig(),
        root,
        run_name="train",
        params={},
        metrics={},
        digests={},
        artifacts=[],
        bundle=root / "bundle",
        may_be_champion=True,
        checked=checked,
    )


def states_and_versions(root: Path) -> tuple[list[str], int]:
    """Return the status of each run, and how many versions there are."""
    client = connect(TrackingConfig(), root)
    experiment = client.get_experiment_by_name(TrackingConfig().experiment)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    return [run.info.status for run in runs], len(client.search_model_versions())


def test_a_bundle_whose_check_fails_is_logged_as_failed_and_never_registered(root: Path) -> None:
    other = root / "damaged"
    shutil.copytree(root / "bundle", other)
    (other / "booster.txt").write_text("no forest")
    with (
        pytest.raises(InputError, match=r"booster\.txt of the bundle .* is damaged"),
        checking_bundle(other) as checked,
    ):
        log(root, checked)
    assert states_and_versions(root) == (["FAILED"], 0)
    assert not connect(TrackingConfig(), root).search_registered_models()


def test_an_interrupt_that_comes_when_the_version_was_just_made_leaves_none(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = MlflowClient.create_model_version

    def interrupted(self: MlflowClient, *arguments: Any, **named: Any) -> None:
        make(self, *arguments, **named)
        raise KeyboardInterrupt

    monkeypatch.setattr(MlflowClient, "create_model_version", interrupted)
    with pytest.raises(KeyboardInterrupt):
        log(root)
    assert states_and_versions(root) == (["FAILED"], 0)


def test_an_interrupt_amid_a_transaction_does_not_keep_the_store_locked(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        connection = sqlite3.connect(root / ".closedwon" / "mlflow.db")
        connection.execute("BEGIN IMMEDIATE")
        stopped, told = KeyboardInterrupt(), ValueError()
        told.__cause__ = stopped
        raise stopped from told

    monkeypatch.setattr(MlflowClient, "create_model_version", interrupted)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        log(root)
    assert time.monotonic() - start < 15, "as long as a lock is waited for"
    assert states_and_versions(root) == (["FAILED"], 0)
