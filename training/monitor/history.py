"""The runs of the monitor, a line each and never rewritten; the newest result for the service."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from features.errors import InputError
from features.outputs import written_aside

FOLDER = Path(".closedwon") / "monitor"
HISTORY = FOLDER / "history.jsonl"
LATEST = FOLDER / "latest.json"


def read_history(root: Path) -> list[dict[str, Any]]:
    """Return the runs told so far, oldest first; a line cut short by a crash is left out."""
    path = root / HISTORY
    if not path.exists():
        return []
    runs = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with suppress(json.JSONDecodeError):  # cut short by a crash
            runs.append(json.loads(line))
    return runs


def told_before(
    runs: Sequence[dict[str, Any]], model: str, data_until: str
) -> tuple[dict[str, str], bool]:
    """Return since when each alarm of the run before stands, and whether these data were seen.

    The run before: the newest on older data of the same model. Another model begins anew.
    """
    of_model = [run for run in runs if run["model"] == model]
    is_again = any(run["data_until"] == data_until for run in of_model)
    earlier = [run for run in of_model if run["data_until"] < data_until]
    if not earlier:
        return {}, is_again
    newest = max(earlier, key=lambda run: str(run["data_until"]))
    return {alarm["key"]: alarm["since"] for alarm in newest["alarms"]}, is_again


def add_run(root: Path, run: dict[str, Any]) -> None:
    """Append the run to the history, in one write."""
    path = root / HISTORY
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(run, allow_nan=False, sort_keys=True) + "\n"
    try:
        with path.open("ab+") as history:
            # A line cut short by a crash must not swallow this one.
            if history.seek(0, os.SEEK_END):
                history.seek(-1, os.SEEK_END)
                line = line if history.read(1) == b"\n" else "\n" + line
            history.write(line.encode())
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}.") from None


def write_latest(root: Path, result: dict[str, Any]) -> None:
    """Write what the service's metrics show, aside and then renamed."""
    path = root / LATEST
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as aside:
        aside.write_text(json.dumps(result, allow_nan=False, sort_keys=True), encoding="utf-8")
