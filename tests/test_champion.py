"""Only a sound champion is swapped in, and the last good one serves whatever happens to MLflow."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from served import bundle, service_in

from models.bundle import canonical_json
from serving.api.service import Service
from serving.champion import watch
from serving.champion.champion import Champion, last_good
from serving.champion.watch import STATE_FILE


@pytest.fixture
def service(tmp_path) -> Iterator[Service]:
    service = service_in(tmp_path)
    yield service
    service.stop()


def resealed(folder: Path) -> dict[str, str]:
    """Give the manifest the digests of the files as they are now, as a careful attacker would."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, entry in manifest["files"].items():
        content = (folder / name).read_bytes()
        entry.update(sha256=hashlib.sha256(content).hexdigest(), size=len(content))
    text = canonical_json(manifest)
    (folder / "manifest.json").write_bytes(text)
    digest = hashlib.sha256(text).hexdigest()
    return {"version": folder.name, "digest": digest, "folder": str(folder)}


def edited(name: str, pattern: str, to: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        text = (folder / name).read_text()
        changed = re.sub(pattern, to, text, count=1)
        assert changed != text
        (folder / name).write_text(changed)

    return edit


def truncated(folder: Path) -> None:
    text = (folder / "booster.txt").read_bytes()
    (folder / "booster.txt").write_bytes(text[: len(text) // 2])


DAMAGES = {
    "truncated": truncated,
    "a digit changed": edited("booster.txt", r"leaf_value=(-?)0\.(\d)", r"leaf_value=\g<1>7.\2"),
    "a child cycle": edited("booster.txt", r"left_child=\S+", "left_child=0"),
    "no booster": lambda folder: (folder / "booster.txt").unlink(),
    "a catalogue of nothing": lambda folder: (folder / "catalog.json").write_text("{}"),
    "a scorer of nothing": lambda folder: (folder / "scorer.json").write_text("[]"),
    "golden rows of nothing": lambda folder: (folder / "golden.json").write_text("{}"),
}


def lines(capfd) -> list[dict]:
    return [json.loads(line) for line in capfd.readouterr().err.splitlines()]


@pytest.mark.parametrize("is_resealed", [False, True])
@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_bundle_is_refused_and_the_old_champion_goes_on(
    service, tmp_path, capfd, name, is_resealed
) -> None:
    service.watch.offer(bundle(tmp_path / "1"))
    good = service.champion
    assert good is not None and service.watch.degraded() is None
    report = bundle(tmp_path / "2", seed=1)
    DAMAGES[name](tmp_path / "2")
    if is_resealed and name != "no booster":
        report = resealed(tmp_path / "2")
    service.watch.offer(report)
    degraded = service.watch.degraded()
    assert service.champion is good
    assert degraded is not None and degraded.reason == "version 2 was refused"
    [refused] = [line for line in lines(capfd) if line["event"] == "champion_refused"]
    is_ours = refused["problem"].endswith(".")
    assert is_ours or re.search(r"^\w+ at \w+\.py:\d+ \S+$", refused["problem"])
    assert b'closedwon_champions_total{outcome="refused"} 1.0' in service.metrics.text()

    service.watch.offer(bundle(tmp_path / "3", seed=1))
    assert service.champion is not None and service.champion.version == "3"
    assert service.watch.degraded() is None


def test_a_bundle_with_another_digest_than_the_checked_one_is_refused(service, tmp_path) -> None:
    service.watch.offer({**bundle(tmp_path / "1"), "digest": "0" * 64})
    assert service.champion is None


def test_the_champion_before_is_kept_for_what_changed_and_no_more(service, tmp_path) -> None:
    for version in ("1", "2", "3"):
        service.watch.offer(bundle(tmp_path / version, seed=int(version)))
    kept = [service.watch.older(version) for version in ("1", "2", "3")]
    assert kept[0] is None and kept[1] is not None and kept[2] is service.champion.live


def test_the_next_start_serves_the_last_good_champion_at_once(tmp_path) -> None:
    first = service_in(tmp_path)
    first.watch.offer(bundle(tmp_path / "bundles" / "7"))
    first.stop()
    assert last_good("another name", tmp_path / STATE_FILE) is None
    second = service_in(tmp_path)
    second.start()
    try:
        assert second.champion is not None and second.champion.version == "7"
        assert second.watch.degraded() is None
    finally:
        second.stop()
    (tmp_path / "bundles" / "7" / "catalog.json").write_text("{}")
    third = service_in(tmp_path)
    third.start()
    try:
        assert third.champion is None, "a cached bundle is checked again"
    finally:
        third.stop()


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"model_name": "closedwon"}', "\0"])
def test_a_damaged_note_of_the_last_good_champion_is_none(tmp_path, note) -> None:
    (tmp_path / "champion.json").write_text(note)
    assert last_good("closedwon", tmp_path / "champion.json") is None


def wait_until(holds: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_a_child_that_cannot_start_or_dies_is_started_again_and_ends_with_the_server(
    tmp_path, monkeypatch, capfd
) -> None:
    service, python = service_in(tmp_path), sys.executable
    monkeypatch.setattr(watch, "FIRST_BACKOFF_SECONDS", 0.05)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")  # as when no process can be forked
    service.start()
    try:
        wait_until(lambda: service.watch.degraded() is not None)
        assert "cannot be run" in service.watch.degraded().reason
        assert lines(capfd)[0]["problem"].startswith("FileNotFoundError (No such file")
        monkeypatch.setattr(sys, "executable", python)
        wait_until(lambda: service.watch.child_pid is not None)
        first = service.watch.child_pid
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: service.watch.child_pid not in (None, first))
        degraded = service.watch.degraded()
        assert degraded is not None and "ended" in degraded.reason
        second = service.watch.child_pid
        wait_until(lambda: "MLflow" in service.watch.degraded().reason)
        assert service.champion is None
    finally:
        service.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)


def test_the_child_ends_with_its_stdin_also_while_it_waits(tmp_path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "serving.champion.fetch"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdin is not None and child.stdout is not None
    asked = {"tracking": {}, "root": str(tmp_path), "refresh_seconds": 3600}
    child.stdin.write(json.dumps(asked) + "\n")
    child.stdin.flush()
    error = json.loads(child.stdout.readline())["error"]
    assert "There is no model closedwon yet" in error and "closedwon train" not in error
    child.stdin.close()
    assert child.wait(5) == 0
    child.stdout.close()


def test_a_champion_is_compared_with_its_golden_rows_as_requests_are_scored(tmp_path) -> None:
    report = bundle(tmp_path / "1")
    golden = json.loads((tmp_path / "1" / "golden.json").read_text())
    golden["expected"]["raw_score"][3] += 1e-6
    (tmp_path / "1" / "golden.json").write_bytes(canonical_json(golden))
    report = resealed(tmp_path / "1")
    service = service_in(tmp_path)
    try:
        with pytest.raises(Exception, match="golden rows"):
            Champion.open(Path(report["folder"]), "1", report["digest"], service.config.population)
    finally:
        service.stop()
