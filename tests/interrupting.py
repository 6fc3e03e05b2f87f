"""Sends a run a real signal at a step. As a program: interrupts trainings at odd moments.

Where an interrupt at any moment meets native code, a crash ends this program and not the tests.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, chdir, contextmanager
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from command_line import leftovers, run

from features.config import TrackingConfig
from models.registry import connect
from training.steps import Steps


@contextmanager
def interrupted_at(step: str, seconds: float = 0.0, number: int = signal.SIGINT) -> Iterator[None]:
    """Send `number` to this process `seconds` after each `step` of a run in the block begins."""
    timed = Steps.__call__

    @contextmanager
    def interrupted(steps: Steps, name: str) -> Iterator[None]:
        block: AbstractContextManager[None] = timed(steps, name)
        with block:
            if name == step:
                Timer(seconds, os.kill, (os.getpid(), number)).start()
                if not seconds:
                    signal.sigtimedwait([], 5)  # the signal interrupts the wait
            yield

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Steps, "__call__", interrupted)
        yield


def everything(folder: Path) -> dict[str, bytes]:
    """Return the files a user or a server reads; what a failed run logged to MLflow is not."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
        and "mlartifacts" not in path.parts
        and not path.name.startswith("mlflow.db")  # nor its journal
    }


def aliases() -> dict[str, int]:
    """Return the aliases of the model, and the number of its versions."""
    client = connect(TrackingConfig(), Path())
    versions = len(client.search_model_versions("name = 'closedwon'"))
    return {**client.get_registered_model("closedwon").aliases, "versions": versions}


def interrupted_training(folder: Path, step: str, seconds: float) -> dict[str, Any]:
    """Return how a training in `folder` ended, what it printed, and what it changed."""
    with chdir(folder):
        before = everything(folder), aliases()
        with interrupted_at(step, seconds):
            ran = run("train", "--json")
        is_unchanged = (everything(folder), aliases()) == before
    return {**ran._asdict(), "is_unchanged": is_unchanged, "leftovers": leftovers(folder)}


if __name__ == "__main__":
    faulthandler.enable()
    # A shell's background job ignores Ctrl-C, and so would this program.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    moments = json.loads(sys.argv[2])
    print(json.dumps([interrupted_training(Path(sys.argv[1]), *moment) for moment in moments]))
