"""Promotions and rollbacks under load: no request fails, no answer mixes versions."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from served import bundle, key_for, on_a_port, service_in
from small_registry import CONFIG, digest_of, empty_folder
from test_api_under_load import Clients

import models.registry
from models.bundle import rescore_golden
from models.cutoff import Estimate
from models.registry import GATE_TAG
from serving.api.service import Service
from training.promotion import promote, rollback
from training.promotion_standing import history
from training.tracking import log_training

CHANGES = 4


def register(root: Path, seed: int, tags: dict[str, str]) -> None:
    bundle(root / "run" / "bundle", seed)
    bundle(root / "kept" / str(seed), seed)
    log_training(
        CONFIG.tracking, root, run_name="train", params={}, metrics={"auc": Estimate(0.8)},
        digests={}, artifacts=(), bundle=root / "run" / "bundle", may_be_champion=True, tags=tags,
    )  # fmt: skip


def wait_until_served(service: Service, version: str) -> float:
    """Return the base probability of `version` once the service has taken it up."""
    end = time.monotonic() + 60
    while service.champion is None or service.champion.version != version:
        assert time.monotonic() < end, service.watch.degraded()
        time.sleep(0.05)
    return service.champion.live.lead_scorer.base_probability


def test_no_request_fails_while_champions_come_and_go(
    tmp_path: Path, migrated_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    # The same check in this process: a child costs 2 s each time, and test_registry has it.
    monkeypatch.setattr(models.registry, "check_bundle", rescore_golden)
    root = empty_folder(tmp_path / "here", migrated_store)
    register(root, 1, {})
    verdict = {"decision": "pass", "champion": "1", "champion_digest": digest_of(root, "1")}
    register(root, 2, {GATE_TAG: json.dumps(verdict)})
    service = service_in(root, refresh_seconds=1)
    service.is_logging = False
    key = key_for(service, "score")
    service.start()
    expected = {"1": wait_until_served(service, "1")}
    with on_a_port(service) as port:
        clients = Clients(port, key, count=2)
        try:
            assert promote(CONFIG, root).champion == "2"
            expected["2"] = wait_until_served(service, "2")
            for change in range(1, CHANGES):
                rollback(CONFIG, root, "1" if change % 2 else "2", "a drill")
                time.sleep(0.2)  # some are taken up, some are over before the service looks
            last = "1" if change % 2 else "2"
            assert wait_until_served(service, last) == expected[last]
            assert service.watch.degraded() is None
        finally:
            clients.stop()
    assert not clients.failed and clients.answers > 50
    assert {(version, base) for version, base, _ in clients.seen} == set(expected.items())
    assert len(clients.seen) == 2, "one probability for each version"
    standing = history(CONFIG, root)
    assert (standing.champion, len(standing.records)) == (last, 1 + CHANGES)
    assert {record.state for record in standing.records} == {"done"}
