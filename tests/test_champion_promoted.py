"""A version that is made champion in MLflow is served by the running server, and only then."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from fastapi.testclient import TestClient
from served import bundle, key_for, score_body, service_in

from features.config import TrackingConfig
from models.cutoff import Estimate
from models.registry import CHAMPION, connect
from serving.api.app import create_app
from training.tracking import log_training


def test_a_promoted_version_is_served_without_a_restart(
    tmp_path: Path, migrated_store: Path, monkeypatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / ".closedwon").mkdir()
    shutil.copy(migrated_store, tmp_path / ".closedwon" / "mlflow.db")
    tracking = TrackingConfig()
    reports = []
    for seed in (1, 2):
        run = tmp_path / f"run{seed}" / "bundle"
        reports.append({**bundle(run, seed), "version": str(seed)})
        log_training(
            tracking, tmp_path, run_name="train", params={}, metrics={"auc": Estimate(0.8)},
            digests={}, artifacts=(), bundle=run, may_be_champion=True,
        )  # fmt: skip
    service = service_in(tmp_path, refresh_seconds=1)
    client = TestClient(create_app(service), headers=key_for(service, "score"))

    def answers(version: str) -> float:
        end = time.monotonic() + 30
        while service.champion is None or service.champion.version != version:
            assert time.monotonic() < end, service.watch.degraded()
            time.sleep(0.05)
        answer = client.post("/v1/scores", json=score_body()).json()
        assert answer["model_version"] == version
        return float(answer["results"][0]["probability"])

    service.watch.offer(reports[0])  # as the last good one of an earlier start
    service.start()
    try:
        before = answers("1")
        connect(tracking, tmp_path).set_registered_model_alias("closedwon", CHAMPION, "2")
        assert answers("2") != before
        assert service.watch.degraded() is None
    finally:
        service.stop()
