"""Nothing is registered before the check of its bundle has come out well."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_model import small_scorer, small_snapshots

from features.config import TrackingConfig
from features.errors import InputError
from models.bundle import checking_bundle, write_bundle
from models.golden import synthesise_rows
from models.registry import connect
from training.tracking import log_training


def test_a_bundle_whose_check_fails_is_logged_as_failed_and_never_registered(
    tmp_path: Path, migrated_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / ".closedwon").mkdir()
    shutil.copy(migrated_store, tmp_path / ".closedwon" / "mlflow.db")
    scorer, bundle, other = small_scorer(cutoff=0.25), tmp_path / "bundle", tmp_path / "damaged"
    write_bundle(scorer, synthesise_rows(small_snapshots(), scorer.encoder), {}, bundle)
    shutil.copytree(bundle, other)
    (other / "booster.txt").write_text("no forest")
    with (
        pytest.raises(InputError, match=r"booster\.txt of the bundle .* is damaged"),
        checking_bundle(other) as checked,
    ):
        log_training(
            TrackingConfig(),
            tmp_path,
            run_name="train",
            params={},
            metrics={},
            digests={},
            artifacts=[],
            bundle=bundle,
            may_be_champion=True,
            checked=checked,
        )
    client = connect(TrackingConfig(), tmp_path)
    experiment = client.get_experiment_by_name(TrackingConfig().experiment)
    assert experiment is not None
    assert [run.info.status for run in client.search_runs([experiment.experiment_id])] == ["FAILED"]
    assert not client.search_registered_models()
