"""Ctrl-C at any step: one line, nothing half-done, and the champion serves as before."""

from __future__ import annotations

import gc
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import interrupting
import pandas as pd
import pytest
from command_line import CONFIG, in_folder, run
from flat_files import write_flat
from interrupting import aliases, everything, interrupted_at, interrupted_training

from training.steps import Steps

# A child of an interrupted run is killed, not waited for.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

STOPPED = "closedwon: stopped. Nothing half-done is left behind.\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> Iterator[Path]:
    """A folder with a champion and its scores, where the tests below stand."""
    made = in_folder(tmp_path_factory.mktemp("interrupted") / "here", migrated_store)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(made)
        assert run("train").code == 0
        assert run("score").code == 0
        yield made


AT_ODD_MOMENTS = (("load", 0.05), ("fit", 0.2), ("refit", 0.1), ("report", 0.1), ("register", 0.3))


@pytest.fixture(autouse=True, scope="module")
def interruptible() -> Iterator[None]:
    """A shell's background job ignores Ctrl-C, and so would its tests."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, usual)


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Let what an interrupted run left in memory end within its own test."""
    yield
    gc.collect()


@pytest.mark.parametrize("step", ["load", "fit", "register"])
def test_an_interrupted_training_changes_nothing(folder: Path, step: str) -> None:
    ended = interrupted_training(folder, step, 0.0)
    assert ended == {
        "code": 130,
        "out": "",
        "err": STOPPED,
        "is_unchanged": True,
        "leftovers": [],
    }


def test_nor_does_one_interrupted_at_an_odd_moment(folder: Path) -> None:
    child = subprocess.run(
        [sys.executable, interrupting.__file__, str(folder), json.dumps(AT_ODD_MOMENTS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    for moment, ended in zip(AT_ODD_MOMENTS, json.loads(child.stdout), strict=True):
        assert (ended["code"], ended["out"]) == (130, ""), (moment, ended)
        # Before our line there may stand what Python says of a destructor it interrupted.
        assert ended["err"].endswith(STOPPED), (moment, ended)
        assert (ended["is_unchanged"], ended["leftovers"]) == (True, []), (moment, ended)


def test_an_interrupt_that_a_destructor_swallows_ends_the_run_at_its_next_step(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Swallows:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            signal.sigtimedwait([], 5)

    announced: list[str] = []

    @contextmanager
    def swallowed(steps: Steps, name: str) -> Iterator[None]:
        with timed(steps, name):
            announced.append(name)
            if name == "load":
                Swallows()
            yield

    timed = Steps.__call__
    monkeypatch.setattr(Steps, "__call__", swallowed)
    assert run("train").code == 130
    assert announced == ["load"]


@pytest.mark.parametrize("step", ["model", "snapshots", "score"])
def test_an_interrupted_scoring_leaves_the_scores_of_before(folder: Path, step: str) -> None:
    before = everything(folder)
    with interrupted_at(step):
        ran = run("score", "--all-reasons")
    assert (ran.code, ran.out, ran.err) == (130, "", STOPPED)
    assert everything(folder) == before


def test_the_champion_still_gives_the_same_bytes(folder: Path) -> None:
    before = (folder / "scores.csv").read_bytes()
    assert run("score", "--output", "again.csv").code == 0
    assert (folder / "again.csv").read_bytes() == before
    (folder / "again.csv").unlink()


def test_a_polite_kill_is_an_interrupt_too(folder: Path) -> None:
    with interrupted_at("fit", number=signal.SIGTERM):
        ran = run("train")
    assert (ran.code, ran.err) == (128 + signal.SIGTERM, STOPPED)


def test_an_interrupt_while_the_store_is_made_leaves_no_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_flat(tmp_path / "export.csv", rows=1_500)
    (tmp_path / "closedwon.toml").write_text(CONFIG)
    local = tmp_path / ".closedwon"

    def interrupt_migrations() -> None:
        while not list(local.glob(".mlflow.db-*/mlflow.db")):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    Thread(target=interrupt_migrations, daemon=True).start()
    assert run("train").code == 130
    assert {path.name for path in local.iterdir()} <= {"life.lock"}


def test_an_interrupted_features_leaves_the_file_of_before(folder: Path) -> None:
    old = pd.DataFrame({"old": [1]})
    old.to_parquet(folder / "snapshots.parquet")
    with interrupted_at("write"):
        assert run("features").code == 130
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "snapshots.parquet"), old)


def test_ctrl_c_at_a_terminal_is_one_line(folder: Path) -> None:
    """The whole program, its steps read from the terminal it believes to write to."""
    versions = aliases()
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", "import closedwon; closedwon.main(['train'])"],
        cwd=folder,
        env={**os.environ, "TERM": "xterm", "MPLBACKEND": "agg"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        # A shell's background job ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    os.close(theirs)
    shown = b""
    while b"fit" not in shown:
        shown += os.read(ours, 4096)
    child.send_signal(signal.SIGINT)
    try:
        while True:
            shown += os.read(ours, 4096)
    except OSError:  # the child closed its end
        os.close(ours)
    out, _ = child.communicate(timeout=60)
    told = shown.decode()
    assert (child.returncode, out) == (130, b"")
    assert told.count("closedwon: stopped.") == 1
    assert "Traceback" not in told
    assert aliases() == versions
