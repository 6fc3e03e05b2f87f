"""`closedwon retrain --promote`, killed in a child process at one moment after another.

The children are forked from a process that has fitted already, so each only does the rest: a kill
in a fit needs no fit of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from small_retraining import Life, copy_life, quick

from models.bundle import open_bundle, rescore_golden
from models.registry import connect, fetch_bundle
from training.promotion_standing import history
from training.retrain.retrain import retrain
from training.steps import Steps

STEPS = ("champion", "load", "report", "register", "promote")
"Killed as these start: before anything is written, and between the writes."
WRITES = {
    "create_model_version": 1,
    "set_registered_model_alias": 2,
    "set_registered_model_tag": 2,
    "delete_registered_model_alias": 1,
}
"""How often a run that promotes calls each: the version, its alias and the champion's, the record
of the promotion and its end, the alias that is no longer needed. Killed before and after each."""


def all_stops() -> list[str]:
    """Every moment to be killed at."""
    calls = [
        f"{when}:{name}:{number + 1}"
        for name, times in WRITES.items()
        for number in range(times)
        for when in ("before", "after")
    ]
    return [f"step:{name}:1" for name in STEPS] + calls


def try_stop(stop: str, life: Life) -> dict[str, Any]:
    """What stood after the kill at `stop`, and after the next run."""
    root = copy_life(life.before, life.before.with_name(stop.replace(":", "-")))
    with quick(life):
        died = _killed_at(stop, life, root)
        after = _standing(life, root)
        again = retrain(life.config, life.crm, root, Steps(), may_promote=True)
    left = sorted(path.name for path in (root / ".closedwon").glob(".retrain-*"))
    told = {
        "stop": stop,
        "signal": died,
        "after": after,
        "next": {"outcome": again.outcome, "version": again.version, "left": left},
        "then": _standing(life, root),
    }
    shutil.rmtree(root)
    return told


def _killed_at(stop: str, life: Life, root: Path) -> int:
    """Run `retrain --promote` in a forked child; return the signal that ended it, 0 for none."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _arm(stop)
            steps = Steps(lambda step: _die() if stop == f"step:{step}:1" else None)
            retrain(life.config, life.crm, root, steps, may_promote=True)
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _arm(stop: str) -> None:
    """Let this process die at a write to MLflow."""
    when, name, number = stop.split(":")
    if when == "step":
        return
    original, calls = getattr(MlflowClient, name), []

    def armed(*arguments: Any, **named: Any) -> Any:
        calls.append(name)
        is_now = len(calls) == int(number)
        if is_now and when == "before":
            _die()
        found = original(*arguments, **named)
        if is_now:
            _die()
        return found

    setattr(MlflowClient, name, armed)


def _standing(life: Life, root: Path) -> dict[str, Any]:
    """How things stand, after the champion was loaded and scored its golden rows."""
    tracking = life.config.tracking
    folder, version = fetch_bundle("champion", tracking, root)
    open_bundle(folder)
    rescore_golden(folder)
    client = connect(tracking, root)
    model = client.get_registered_model("closedwon")
    versions = {str(one.version) for one in client.search_model_versions("name = 'closedwon'")}
    return {
        "champion": version,
        "dangling": [name for name, to in model.aliases.items() if str(to) not in versions],
        "versions": len(versions),
        "records": [one.state for one in history(life.config, root).records],
    }
