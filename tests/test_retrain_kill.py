"""A retraining that is killed leaves the champion as it was, and the next one finishes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

STOPS = (
    "before:create_model_version:1",
    "after:create_model_version:1",
    "before:set_registered_model_alias:2",
    "after:set_registered_model_alias:2",
)
"""The moments at which most has been begun; `CLOSEDWON_ALL_STOPS=1` tries every one."""


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> list[dict]:
    script = Path(__file__).with_name("retrain_stops.py")
    root = tmp_path_factory.mktemp("stops")
    stops = () if os.environ.get("CLOSEDWON_ALL_STOPS") else STOPS
    environment = {
        name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"
    }
    path = os.pathsep.join([str(script.parents[1]), str(script.parent)])
    ended = subprocess.run(
        [sys.executable, str(script), str(migrated_store), str(root / "life"), *stops],
        env={**environment, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]


def test_the_runs_were_killed(tried):
    assert {one["signal"] for one in tried} <= {9, None}
    assert sum(one["signal"] == 9 for one in tried) >= len(STOPS)


def test_after_a_kill_the_champion_loads_and_no_alias_dangles(tried):
    for one in tried:
        assert one["after"]["dangling"] == [], one
        # the challenger passed: once its promotion was under way either may be champion
        assert one["after"]["champion"] in ("1", "2"), one
        if "alias" not in one["stop"] and "tag" not in one["stop"] and one["signal"]:
            assert one["after"]["champion"] == "1", one


def test_the_next_run_finishes(tried):
    for one in tried:
        assert one["next"]["left"] == [], one
        assert one["then"]["champion"] == one["next"]["version"], one
        assert one["then"]["dangling"] == [], one
        assert "pending" not in one["then"]["records"], one
        # what was registered before the kill is not made again
        assert one["then"]["versions"] == max(2, one["after"]["versions"]), one
