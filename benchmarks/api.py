"""How fast the API answers: one worker, one lead a request, top-5 reasons, the ledger on.

    python benchmarks/api.py [--json] [--seconds 8] [--rounds 3]

A model of 300 trees of 15 leaves, depth 5, on a CRM made up here: 30 events and 20 attributes a
lead. The server is a process of its own (`closedwon serve`'s app), the load comes from this one.

- `p99_ms`: open loop, 100 requests a second, measured from when each was due to be sent;
- `scores_per_second`, `null_per_second`: 16 connections, as fast as answers come, so that requests
  wait and are scored together; against an endpoint of the same app that checks the same key, parses
  the same body and does nothing;
- `share_of_null`, `ratio_vs_mlflow`: against that, and against MLflow's own model server with the
  same booster, which gets the features ready-made and gives no reasons. All in turns.

2,000 leads come again and again, so most scores are also compared with the one before.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from api_model import NULL_PATH, make_key, write_folder
from load import Load, closed_loop, open_loop

CONNECTIONS = 16
PER_SECOND = 100


@contextmanager
def server(command: list[str], folder: Path, port: int, path: str) -> Iterator[float]:
    """Run a server until the block ends; gives the seconds until `path` answered 200."""
    start = time.perf_counter()
    path_list = (
        f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # MLflow runs uvicorn
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "PATH": path_list}
    with (folder / f"server-{port}.log").open("wb") as log:
        child = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            while not _answers(f"http://127.0.0.1:{port}{path}"):
                if child.poll() is not None or time.perf_counter() - start > 120:
                    raise SystemExit(Path(log.name).read_text()[-3000:])
                time.sleep(0.02)
            yield time.perf_counter() - start
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGTERM)
            child.wait(30)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def measure(folder: Path, seconds: float, rounds: int) -> dict[str, Any]:
    """Return all figures, the servers running side by side and loaded in turns."""
    bodies, lines = write_folder(folder)
    key = make_key(folder)
    port, other = free_port(), free_port()
    ours = [sys.executable, str(Path(__file__).with_name("api_model.py")), str(port)]
    mlflow = [
        *(sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", "plain-model"),
        *("--env-manager", "local", "--host", "127.0.0.1", "--port", str(other), "--workers", "1"),
    ]
    loads = {
        "scores": Load(port, "/v1/scores", bodies, key),
        "null": Load(port, NULL_PATH, bodies, key),
        "mlflow": Load(other, "/invocations", lines, None),
    }
    with server(ours, folder, port, "/readyz"), server(mlflow, folder, other, "/ping"):
        for load in loads.values():
            closed_loop(load, CONNECTIONS, seconds / 4)  # warm
        late = open_loop(loads["scores"], PER_SECOND, 3 * seconds)
        found: dict[str, list[float]] = {name: [] for name in loads}
        for _ in range(rounds):
            for name, load in loads.items():
                found[name].append(closed_loop(load, CONNECTIONS, seconds))
    with server(ours, folder, port, "/readyz") as cold:
        pass
    rates = {name: statistics.median(of) for name, of in found.items()}
    return {
        **{f"{name}_per_second": round(rate, 1) for name, rate in rates.items()},
        "share_of_null": round(rates["scores"] / rates["null"], 3),
        "ratio_vs_mlflow": round(rates["scores"] / rates["mlflow"], 2),
        "p50_ms": round(late[len(late) // 2], 2),
        "p99_ms": round(late[int(len(late) * 0.99)], 2),
        "open_loop_requests": len(late),
        "ready_seconds": round(cold, 2),
        "body_bytes": round(statistics.mean(map(len, bodies))),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each load")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        figures = measure(Path(scratch), arguments.seconds, arguments.rounds)
    if arguments.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:>22}  {value}")


if __name__ == "__main__":
    main()
