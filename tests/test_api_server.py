"""`closedwon serve` itself: a quick start without MLflow, a graceful end, nothing lost by kill."""

from __future__ import annotations

import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from itertools import count

import pytest
from command_line import refused, run
from served import lead_rows, score_body, service_in
from server_process import ServerProcess, prepared


@pytest.fixture(scope="module")
def root_and_key(tmp_path_factory) -> Iterator[tuple]:
    root = tmp_path_factory.mktemp("server")
    yield root, prepared(root)


def arrived(server: ServerProcess, key: str) -> float:
    """Score requests that are at work or answered."""
    text = server.ask("/metrics", key=key).body
    at_work = re.search(r"^closedwon_requests_at_work (\S+)", text, re.MULTILINE)
    answered = re.search(r'request_seconds_count{route="/v1/scores",status="200"} (\S+)', text)
    assert at_work is not None and answered is not None
    return float(at_work[1]) + float(answered[1])


def test_it_starts_without_mlflow_says_so_and_ends_in_order(root_and_key) -> None:
    root, key = root_and_key
    with ServerProcess(root) as server:
        server.wait_until_ready()
        answer = server.ask("/v1/scores", score_body(), key)
        assert (answer.status, answer.body["model_version"]) == (200, "1")
        score_id = answer.body["results"][0]["score_id"]
        said = server.ask("/readyz")
        while said.body["status"] == "ready":  # until the child has found no MLflow
            time.sleep(0.05)
            said = server.ask("/readyz")
        assert (said.status, said.body["status"], said.body["model_version"]) == (
            200,
            "degraded",
            "1",
        )
        assert "MLflow" in said.body["reasons"][0] and said.body["since"].endswith("Z")
        many = {"tables": {"leads": [lead_rows(f"B-{n}") for n in range(500)],
                           "engagement_events": []}}  # fmt: skip
        with ThreadPoolExecutor(4) as pool:
            at_work = [pool.submit(server.ask, "/v1/scores", many, key) for _ in range(4)]
            while arrived(server, key) < 5:
                time.sleep(0.005)
            server.signal(signal.SIGTERM)
            answers = [one.result() for one in at_work]
        assert [one.status for one in answers] == [200] * 4, "requests at work are finished"
        assert server.wait() == 0
    log = [json.loads(line) for line in (root / "log.jsonl").read_text().splitlines()]
    failures = [line for line in log if line["event"] == "failure"]
    assert [(line["thread"], line["error"]) for line in failures] == [("made up", "KeyError")]
    assert "a secret" not in (root / "log.jsonl").read_text()
    assert [line["logger"] for line in log if line["event"] == "log"] == [
        "a library",
        "py.warnings",
    ]
    modules = set((root / "modules.txt").read_text().splitlines())
    assert not modules & {"mlflow", "shap", "lightgbm", "sklearn", "alembic"}
    service = service_in(root)
    try:
        assert service.ledger.lead("L-1")["score_id"] == score_id, "what was queued is written"
        for answer in answers:
            scored = answer.body["results"][-1]
            assert service.ledger.lead(scored["lead_id"]) is not None
    finally:
        service.stop()


def test_every_acknowledged_durable_score_outlives_a_kill(root_and_key) -> None:
    root, key = root_and_key
    acknowledged: list[str] = []
    with ServerProcess(root) as server:
        server.wait_until_ready()

        def ask(worker: int) -> None:
            for number in count():
                lead_id = f"K-{worker}-{number}"
                body = {"tables": {"leads": [lead_rows(lead_id)]}, "durable": True}
                try:
                    answer = server.ask("/v1/scores", body, key)
                except (OSError, ValueError, HTTPException):
                    return  # it is gone
                assert answer.status == 200
                acknowledged.append(lead_id)

        with ThreadPoolExecutor(3) as pool:
            workers = [pool.submit(ask, number) for number in range(3)]
            time.sleep(0.7)
            server.kill()
            for worker in workers:
                worker.result()
    assert len(acknowledged) > 10
    service = service_in(root)
    try:
        for lead_id in acknowledged:
            assert service.ledger.lead(lead_id) is not None, lead_id
        with service.ledger.engine.connect() as connection:
            said = connection.exec_driver_sql("pragma integrity_check").scalar()
        assert said == "ok"
    finally:
        service.stop()


def test_a_port_in_use_and_a_ledger_without_keys_are_the_users_mistakes(
    root_and_key, tmp_path, monkeypatch
) -> None:
    root, _ = root_and_key
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.chdir(root)
        assert f"127.0.0.1:{port} cannot be used" in refused(run("serve", "--port", port))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "closedwon.toml").write_text("")
    assert "closedwon keys create" in refused(run("serve", "--port", "0"))
