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
from training.monitor.latest import LatestResult

FOLDER = Path(".closedwon") / "monitor"
HISTORY = FOLDER / "history.jsonl"
LATEST = FOLDER / "latest.json"


def read_history(root: Path) -> list[dict[str, Any]]:
    """Return the runs told so far, oldest first; a damaged line is left out."""
    path = root / HISTORY
    if not path.exists():
        return []
    runs = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(ValueError, RecursionError):
            run = json.loads(line)
            if _is_run(run):
                runs.append(run)
    return runs


def _is_run(run: Any) -> bool:
    return (
        isinstance(run, dict)
        and all(isinstance(run.get(name), str) for name in ("model", "data_until"))
        and isinstance(run.get("alarms"), list)
        and all(
            isinstance(alarm, dict)
            and all(isinstance(alarm.get(name), str) for name in ("key", "since"))
            for alarm in run["alarms"]
        )
    )


def told_before(
    runs: Sequence[dict[str, Any]], model: str, data_until: str
) -> tuple[dict[str, str], bool]:
    """Return since when each alarm told before stands, and whether these data were seen.

    Told before: in the run before, the newest on older data of the same model, or in any on the
    same data. Another model begins anew.
    """
    of_model = [run for run in runs if run["model"] == model]
    again = [run for run in of_model if run["data_until"] == data_until]
    earlier = [run for run in of_model if run["data_until"] < data_until]
    newest = max((run["data_until"] for run in earlier), default=None)
    # The last of several on the same data knows what all of them told.
    before = [run for run in earlier if run["data_until"] == newest][-1:]
    told = {alarm["key"]: alarm["since"] for run in [*before, *again] for alarm in run["alarms"]}
    return told, bool(again)


def read_latest(root: Path) -> dict[str, Any] | None:
    """Return the newest result of the champion; None where there is none that can be read."""
    path = root / LATEST
    try:
        content = path.read_bytes()
        LatestResult.model_validate_json(content)
    except (OSError, ValueError):  # none yet, damaged, or written by another closedwon
        return None
    result: dict[str, Any] = json.loads(content)
    return result


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
