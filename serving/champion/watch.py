"""Keeps the champion up to date: listens to the fetching child, swaps in what is sound."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from features.config import Config
from features.errors import InputError
from serving.champion.champion import Champion, last_good, remember
from serving.champion.failures import told
from serving.live.live_scores import LiveScorer

STATE_FILE = Path(".closedwon") / "serving" / "champion.json"
_FIRST_ANSWER_SECONDS = 60
"Importing mlflow and downloading take their time; a child that is silent for longer is in trouble."
FIRST_BACKOFF_SECONDS, _LONGEST_BACKOFF_SECONDS = 1.0, 60.0
_RETRY_SECONDS = 60.0
"The same bundle, refused once, may have met a full disk: it is tried again, but not at each look."
_KEPT = 2
"Champions in memory: the one in use and the one before, for what changed since a score of it."


class Listener(Protocol):
    """Who is told what happens, for the log, the metrics and the ledger."""

    def swapped_in(self, champion: Champion) -> None:
        """Hear of a new champion, before the first request sees it; an exception refuses it."""

    def refused(self, version: str, problem: str) -> None:
        """Hear of a champion that was not taken, and why."""

    def not_looked_up(self, problem: str) -> None:
        """Hear that the champion could not be looked up."""


@dataclass(frozen=True)
class Degraded:
    """Since when and why the champion in use may not be the registered one."""

    since: float
    "Seconds since 1970."
    reason: str


class ChampionWatch:
    """The champion in use, and the thread and child process that keep it so.

    `current` is one reference: a request takes it once and keeps it to its end.
    """

    def __init__(self, config: Config, root: Path, listener: Listener) -> None:
        self.current: Champion | None = None
        self._kept: tuple[Champion, ...] = ()
        self._config = config
        self._root = root.absolute()
        self._listener = listener
        self._degraded: Degraded | None = None
        self._refused_digest: str | None = None
        self._retry_at = 0.0
        self._answered_at = time.monotonic()
        self._stopping = threading.Event()
        self._child: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, name="champion", daemon=True)

    def start(self) -> None:
        """Serve the last good champion if it is noted and sound, and begin to look for newer."""
        noted = last_good(self._config.tracking.model_name, self._root / STATE_FILE)
        if noted is not None:
            self.offer(noted)
        self._answered_at = time.monotonic()
        self._thread.start()

    def stop(self, timeout_seconds: float = 5) -> None:
        """End thread and child."""
        self._stopping.set()
        child = self._child
        if child is not None:
            _end(child)
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    def older(self, version: str) -> LiveScorer | None:
        """Return a champion still in memory by its version."""
        return next((one.live for one in self._kept if one.version == version), None)

    @property
    def child_pid(self) -> int | None:
        """The process that looks the champion up, None while there is none."""
        child = self._child
        return None if child is None or child.poll() is not None else child.pid

    def degraded(self) -> Degraded | None:
        """Return why what is served may not be what is registered; None if all is well."""
        silent = time.monotonic() - self._answered_at
        if silent > _FIRST_ANSWER_SECONDS + 2 * self._config.serving.refresh_seconds:
            return Degraded(time.time() - silent, "MLflow does not answer")
        return self._degraded

    def _run(self) -> None:
        backoff = FIRST_BACKOFF_SECONDS
        while not self._stopping.is_set():
            has_answered, reason = False, "the process that looks the champion up ended"
            try:
                has_answered = self._listen()
            except Exception as error:  # no memory, no free file: it may be over the next time
                reason = "the process that looks the champion up cannot be run"
                with suppress(Exception):
                    self._listener.not_looked_up(told(error))
            if self._stopping.is_set():
                return
            backoff = FIRST_BACKOFF_SECONDS if has_answered else backoff
            self._trouble(reason)
            self._stopping.wait(backoff)
            backoff = min(2 * backoff, _LONGEST_BACKOFF_SECONDS)

    def _listen(self) -> bool:
        """Start a child and take in its reports to the end; return whether there was any."""
        tracking = self._config.tracking.model_dump()
        settings = {"tracking": tracking, "root": str(self._root),
                    "refresh_seconds": self._config.serving.refresh_seconds}  # fmt: skip
        has_answered = False
        with _start() as child:
            self._child = child
            if self._stopping.is_set() or child.stdin is None or child.stdout is None:
                _end(child)
                return has_answered
            try:
                child.stdin.write(json.dumps(settings) + "\n")
                child.stdin.flush()
                for line in child.stdout:
                    has_answered = True
                    self._answered_at = time.monotonic()
                    self._hear(json.loads(line))
            except (OSError, ValueError):  # it broke off in the middle of a line
                pass
            finally:
                _end(child)
        return has_answered

    def _hear(self, report: dict[str, str]) -> None:
        if "error" in report:
            self._listener.not_looked_up(report["error"])
            self._trouble("the champion could not be fetched from MLflow")
            return
        current, digest = self.current, report["digest"]
        if current is not None and (current.version, current.digest) == (report["version"], digest):
            self._degraded = self._refused_digest = None
        elif digest != self._refused_digest or time.monotonic() >= self._retry_at:
            self.offer(report)

    def offer(self, report: dict[str, str]) -> None:
        """Open the bundle of `version`, `digest` and `folder`, and swap it in if it is sound."""
        version, digest = report["version"], report["digest"]
        try:
            folder = Path(report["folder"])
            population = self._config.population
            champion = Champion.open(folder, version, digest, population)
            self._listener.swapped_in(champion)
        except Exception as error:  # nothing in a bundle may end the service
            self._listener.refused(version, told(error))
            self._refused_digest = digest
            self._retry_at = time.monotonic() + _RETRY_SECONDS
            self._trouble(f"version {version} was refused")
            return
        self._kept = (champion, *self._kept)[:_KEPT]
        self.current = champion
        self._degraded = self._refused_digest = None
        try:
            remember(champion, self._config.tracking.model_name, self._root / STATE_FILE)
        except (InputError, OSError) as error:
            self._listener.not_looked_up(f"The last good champion cannot be noted: {error}")

    def _trouble(self, reason: str) -> None:
        before = self._degraded
        since = time.time() if before is None else before.since
        self._degraded = Degraded(since, reason)


def _start() -> subprocess.Popen[str]:
    # -P: a folder `models` where the user happens to stand is not ours.
    source = str(Path(__file__).resolve().parents[2])
    inherited = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([source, inherited]) if inherited else source
    one_thread = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "serving.champion.fetch"],
        env={**os.environ, **one_thread, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        start_new_session=True,  # a Ctrl-C at the terminal is the server's to answer
    )


def _end(child: subprocess.Popen[str]) -> None:
    """End the child, which removes what it has half downloaded; by force if it does not listen."""
    child.send_signal(signal.SIGINT)
    try:
        child.wait(2)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
