"""`closedwon serve` as a process of its own, as a user starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

from served import bundle, service_in

from serving.champion.champion import Champion, remember
from serving.champion.watch import STATE_FILE

# What a server has imported, written when it ends; then what libraries and threads may say.
_PROGRAM = """
import sys, closedwon
try:
    closedwon.main(sys.argv[1:])
finally:
    open("modules.txt", "w").write("\\n".join(sys.modules))
    import logging, threading, warnings
    logging.getLogger("a library").warning("told")
    warnings.warn("told")
    failing = threading.Thread(target=lambda: {}["a secret"], name="made up")
    failing.start()
    failing.join()
"""


class Answer(NamedTuple):
    status: int
    body: Any


class ServerProcess:
    """A running server; `stop` is SIGTERM and gives the exit code."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.started_at = time.monotonic()
        self.log = (root / "log.jsonl").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, "serve", "--port", "0"],
            cwd=root,
            env={**os.environ, "MLFLOW_TRACKING_URI": "sqlite:////nowhere/mlflow.db"},
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("Serving on http://127.0.0.1:"), (root / "log.jsonl").read_text()
        self.address = line.split()[2]

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()  # a test that failed leaves no server behind

    def ask(
        self, path: str, body: Any = None, key: str | None = None, timeout: float = 10
    ) -> Answer:
        request = urllib.request.Request(self.address + path)
        if key is not None:
            request.add_header("Authorization", f"Bearer {key}")
        if body is not None:
            request.add_header("Content-Type", "application/json")
            request.data = json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                content = answer.read().decode()
                is_json = "json" in answer.headers["content-type"]
                return Answer(answer.status, json.loads(content) if is_json else content)
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, json.load(error))

    def wait_until_ready(self) -> float:
        """Return the seconds from the start to the first /readyz that is 200."""
        while time.monotonic() < self.started_at + 30:
            try:
                if self.ask("/readyz").status == 200:
                    return time.monotonic() - self.started_at
            except OSError:
                pass
            time.sleep(0.01)
        raise AssertionError((self.root / "log.jsonl").read_text())

    def kill(self) -> None:
        self._process.kill()
        self._end()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self, seconds: float = 20) -> int:
        try:
            return self._process.wait(seconds)
        finally:
            self._end()

    def _end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self.log.close()


def prepared(root: Path) -> str:
    """Lay settings, a last good champion and a key into `root`; return the key."""
    (root / "closedwon.toml").write_text("[serving]\nrefresh_seconds = 1\n")
    service = service_in(root)
    try:
        report = bundle(root / "models" / "artifacts" / "closedwon" / "1")
        champion = Champion.open(
            Path(report["folder"]), "1", report["digest"], service.config.population
        )
        remember(champion, "closedwon", root.absolute() / STATE_FILE)
        _, secret = service.keys.create(("admin",), "test", None)
    finally:
        service.stop()
    return secret
