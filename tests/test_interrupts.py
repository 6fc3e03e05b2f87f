"""Ctrl-C at any step: one line, nothing half-done, and the champion serves as before."""

from __future__ import annotations

import gc
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Timer

import pandas as pd
import pytest
from command_line import CONFIG, in_folder, leftovers, run
from flat_files import write_flat

from features.config import TrackingConfig
from models.registry import connect
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


@pytest.fixture
def interrupt_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Send a real signal to this process, some time after a step has begun."""

    def arrange(step: str, seconds: float = 0.0, number: int = signal.SIGINT) -> None:
        timed: Callable[[Steps, str], AbstractContextManager[None]] = Steps.__call__

        @contextmanager
        def interrupted(steps: Steps, name: str) -> Iterator[None]:
            with timed(steps, name):
                if name == step:
                    Timer(seconds, os.kill, (os.getpid(), number)).start()
                    if not seconds:
                        signal.sigtimedwait([], 5)  # the signal interrupts the wait
                yield

        monkeypatch.setattr(Steps, "__call__", interrupted)

    yield arrange
    gc.collect()


def everything(folder: Path) -> dict[str, bytes]:
    """Return the files a user or a server reads; what a failed run logged to MLflow is not."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "mlartifacts" not in path.parts and path.name != "mlflow.db"
    }


def aliases() -> dict[str, int]:
    """Return the aliases of the model, and the number of its versions."""
    client = connect(TrackingConfig(), Path())
    versions = len(client.search_model_versions("name = 'closedwon'"))
    return {**client.get_registered_model("closedwon").aliases, "versions": versions}


@pytest.mark.parametrize(
    ("step", "seconds"),
    [
        ("load", 0.0),
        ("load", 0.05),
        ("fit", 0.0),
        ("fit", 0.2),
        ("refit", 0.1),
        ("report", 0.1),
        ("register", 0.0),
        ("register", 1.0),
    ],
)
def test_an_interrupted_training_changes_nothing(
    folder: Path, interrupt_at: Callable[..., None], step: str, seconds: float
) -> None:
    before = everything(folder), aliases()
    interrupt_at(step, seconds)
    ran = run("train", "--json")
    assert (ran.code, ran.out, ran.err) == (130, "", STOPPED)
    assert (everything(folder), aliases()) == before
    assert leftovers(folder) == []


@pytest.mark.parametrize("step", ["model", "snapshots", "score"])
def test_an_interrupted_scoring_leaves_the_scores_of_before(
    folder: Path, interrupt_at: Callable[..., None], step: str
) -> None:
    before = everything(folder)
    interrupt_at(step)
    ran = run("score", "--all-reasons")
    assert (ran.code, ran.out, ran.err) == (130, "", STOPPED)
    assert everything(folder) == before


def test_the_champion_still_gives_the_same_bytes(folder: Path) -> None:
    before = (folder / "scores.csv").read_bytes()
    assert run("score", "--output", "again.csv").code == 0
    assert (folder / "again.csv").read_bytes() == before
    (folder / "again.csv").unlink()


def test_a_polite_kill_is_an_interrupt_too(folder: Path, interrupt_at: Callable[..., None]) -> None:
    interrupt_at("fit", number=signal.SIGTERM)
    ran = run("train")
    assert (ran.code, ran.err) == (128 + signal.SIGTERM, STOPPED)


def test_an_interrupt_while_the_store_is_made_leaves_no_store(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    interrupt_at: Callable[..., None],
) -> None:
    assert folder.exists()  # MLflow is imported: the time below is spent on migrations
    monkeypatch.chdir(tmp_path)
    write_flat(tmp_path / "export.csv", rows=1_500)
    (tmp_path / "closedwon.toml").write_text(CONFIG)
    interrupt_at("register", 2.0)
    assert run("train").code == 130
    assert {path.name for path in (tmp_path / ".closedwon").iterdir()} <= {"life.lock"}


def test_an_interrupted_features_leaves_the_file_of_before(
    folder: Path, interrupt_at: Callable[..., None]
) -> None:
    old = pd.DataFrame({"old": [1]})
    old.to_parquet(folder / "snapshots.parquet")
    interrupt_at("write")
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
