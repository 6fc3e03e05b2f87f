"""`closedwon retrain --promote`, killed in a child process at one moment after another.

Run as a script: `retrain_stops.py STORE ROOT [STOP ...]` prints one JSON line a stop: what stood
after the kill, and what the next run came to. Without STOP all of them are tried.

The parent fits once; its children, forked from it, only do the rest: a kill in a fit needs no fit
of its own. Nothing of the product is replaced but the fit and the picture of the report.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from small_crm import small_config, small_demo

import training.registration
import training.retrain.retrain
from models.bundle import open_bundle, rescore_golden
from models.registry import connect, fetch_bundle
from training.promotion_standing import history
from training.recipe import train
from training.retrain.retrain import retrain
from training.simulate import write_demo
from training.steps import Steps

SETTINGS: dict[str, Any] = {
    "snapshots": {"every_days": 28},
    "gate": {"min_wins": 1},
    "retrain": {"min_new_wins": 15},
}
EARLY = small_config(data={"data_until": "2025-07-01"}, **SETTINGS)
LATE = small_config(**SETTINGS)
STEPS = ("champion", "load", "snapshots", "fit", "gate", "report", "register", "promote")
"Killed as these start."
WRITES = (
    "create_registered_model",
    "create_model_version",
    "set_registered_model_alias",
    "set_registered_model_tag",
    "delete_registered_model_alias",
)
"Killed before and after every call of these, the first, the second, ..."
MOST_CALLS = 3


def stops() -> list[str]:
    """Every moment to be killed at; one that never comes lets the run end."""
    calls = [
        f"{when}:{name}:{number}"
        for name in WRITES
        for number in range(1, MOST_CALLS + 1)
        for when in ("before", "after")
    ]
    return [f"step:{name}:1" for name in STEPS] + calls


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _announced(stop: str) -> Callable[[str], None]:
    kind, name, _ = stop.split(":")
    return lambda step: _die() if kind == "step" and step == name else None


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


def prepare_life(store: Path, root: Path) -> tuple[Path, Path]:
    """A folder with an old champion to copy for each stop, and the CRM."""
    crm, first = root / "crm", root / "first"
    crm.mkdir(parents=True)
    write_demo(small_demo(), crm)
    (first / ".closedwon").mkdir(parents=True)
    shutil.copy(store, first / ".closedwon" / "mlflow.db")
    assert train(EARLY, crm, first, Steps()).registered.alias == "champion"
    return crm, first


def fit_once(crm: Path, first: Path) -> None:
    """Fit what every child will offer, and let it be found instead of fitted."""
    product = training.retrain.retrain
    prepare, offer, judge = product.prepare_loaded, product._candidate, product.judged
    prepared_once: list[Any] = []
    offered: list[Any] = []
    verdicts: list[Any] = []

    def prepared(loaded: Any, config: Any, steps: Steps) -> Any:
        if not prepared_once:
            prepared_once.append(prepare(loaded, config, steps))
        with steps("snapshots"):
            return prepared_once[0]

    def candidate(champion: Any, prepared: Any, steps: Steps, rules: Any) -> Any:
        if not offered:
            offered.append(offer(champion, prepared, steps, rules))
        with steps("fit"):
            return offered[0]

    def judged(champion: Any, candidate: Any, prepared: Any, steps: Steps) -> Any:
        if not verdicts:
            verdicts.append(judge(champion, candidate, prepared, steps))
        with steps("gate"):
            # what is tried is the way to a promotion, so the gate lets it pass
            return replace(verdicts[0], decision="pass", champion_digest=champion.digest)

    def page(*arguments: Any) -> Path:
        path: Path = arguments[3]
        path.write_text("report", encoding="utf-8")
        return path

    product.prepare_loaded = prepared
    product._candidate = candidate
    product.judged = judged
    training.registration.write_report = page
    again = first.with_name("again")
    shutil.copytree(first, again)
    moved(again, first)
    retrain(LATE, crm, again, Steps())


def moved(root: Path, first: Path) -> None:
    """Let the copied store point at the copy's files."""
    import sqlite3

    with sqlite3.connect(root / ".closedwon" / "mlflow.db") as store:
        tables = {
            "experiments": "artifact_location",
            "runs": "artifact_uri",
            "logged_models": "artifact_location",
            "model_versions": "storage_location",
        }
        for table, column in tables.items():
            store.execute(
                f"update {table} set {column} = replace({column}, ?, ?)",
                (str(first.absolute()), str(root.absolute())),
            )
    store.close()


def killed_at(stop: str, crm: Path, root: Path) -> int | None:
    """Run `retrain --promote` in a forked child; return the signal that ended it, or None."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _arm(stop)
            retrain(LATE, crm, root, Steps(_announced(stop)), may_promote=True)
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    assert os.WEXITSTATUS(status) == 0, f"{stop}: the child failed"
    return None


def standing(root: Path) -> dict[str, Any]:
    """How things stand, after the champion was loaded and scored its golden rows."""
    folder, version = fetch_bundle("champion", LATE.tracking, root)
    open_bundle(folder)
    rescore_golden(folder)
    client = connect(LATE.tracking, root)
    model = client.get_registered_model("closedwon")
    versions = {str(one.version) for one in client.search_model_versions("name = 'closedwon'")}
    return {
        "champion": version,
        "dangling": [name for name, to in model.aliases.items() if str(to) not in versions],
        "versions": len(versions),
        "records": [one.state for one in history(LATE, root).records],
    }


def try_stop(stop: str, crm: Path, first: Path) -> dict[str, Any]:
    """What stood after the kill at `stop`, and after the next run."""
    root = first.with_name(stop.replace(":", "-"))
    shutil.copytree(first, root)
    moved(root, first)
    died = killed_at(stop, crm, root)
    after = standing(root)
    again = retrain(LATE, crm, root, Steps(), may_promote=True)
    left = sorted(path.name for path in (root / ".closedwon").glob(".retrain-*"))
    told = {
        "stop": stop,
        "signal": died,
        "after": after,
        "next": {"outcome": again.outcome, "version": again.version, "left": left},
        "then": standing(root),
    }
    shutil.rmtree(root)
    return told


if __name__ == "__main__":
    crm_folder, first_folder = prepare_life(Path(sys.argv[1]), Path(sys.argv[2]))
    fit_once(crm_folder, first_folder)
    for asked in sys.argv[3:] or stops():
        print(json.dumps(try_stop(asked, crm_folder, first_folder)), flush=True)
