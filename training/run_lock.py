"""Two locks of a working folder: one run at a time changes the champion, and one retrains.

Aliases are changed within seconds, so whoever waits for that waits shortly, and a rollback never
waits for a retraining. A retraining takes its own lock first, then the one of the aliases.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from features.errors import InputError

LOCK = Path(".closedwon") / "life.lock"
"Held while versions are registered and aliases moved."
RETRAINING = Path(".closedwon") / "retrain.lock"
"Held by a retraining for as long as it takes."
WAIT_SECONDS = 600
"For another run to change an alias, when the work of minutes is at stake."
_POLL_SECONDS = 0.2
_held: ContextVar[frozenset[Path]] = ContextVar("held", default=frozenset())


@contextmanager
def run_lock(
    root: Path, command: str, wait_seconds: float = 0, lock: Path = LOCK
) -> Iterator[None]:
    """Hold a lock of the working folder `root`, as `command`, while the block lasts.

    The system frees it when its holder ends, however that happens. A run that holds it already may
    take it again. Raises InputError naming command, process and start of the holder when it is
    still taken after `wait_seconds`. It keeps runs of one folder apart; two machines that share an
    MLflow server are kept apart by their records (`training.promotion_records`).
    """
    path = root.absolute() / lock
    if path in _held.get():
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Never removed: a lock on a file that is gone would keep nobody out.
    with path.open("a+", encoding="utf-8") as opened:
        _take(opened, wait_seconds)
        _sign(opened, command)
        token = _held.set(_held.get() | {path})
        try:
            yield
        finally:
            _held.reset(token)
            opened.truncate(0)


def _take(opened: IO[str], wait_seconds: float) -> None:
    until = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= until:
                raise InputError(
                    f"{_holder(opened)} Wait until it is done, then run this again."
                ) from None
            time.sleep(_POLL_SECONDS)


def _sign(opened: IO[str], command: str) -> None:
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    opened.truncate(0)
    opened.write(json.dumps({"command": command, "pid": os.getpid(), "since": since}))
    opened.flush()


def _holder(opened: IO[str]) -> str:
    """Return a sentence on who holds the lock, as far as the holder has signed by now."""
    opened.seek(0)
    try:
        signed = json.loads(opened.read())
        named = f"{signed['command']} (process {signed['pid']}, since {signed['since']})"
    except (ValueError, KeyError, TypeError):
        named = "Another run"
    return f"{named} is at work in this folder."
