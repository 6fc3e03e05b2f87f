"""kill -9 at every write of promotion and rollback: a champion serves, the next run recovers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from itertools import pairwise
from multiprocessing import forkserver
from pathlib import Path

import pytest
from promotion_children import act, act_until
from small_registry import CONFIG, digest_of, empty_folder, own_copy, register

import models.registry
from models.bundle import bundle_digest, open_bundle, rescore_golden
from models.registry import CHAMPION, connect, fetch_bundle
from training.promotion import promote
from training.promotion_records import Record
from training.promotion_standing import Standing, history

# The pending record, the alias, the challenger's alias, the end of the record.
WRITES_OF_PROMOTE = 4
WRITES_OF_ROLLBACK = 3


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> Path:
    """Version 1 was champion, version 2 is; version 3 may be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(models.registry, "check_bundle", rescore_golden)
        root = empty_folder(tmp_path_factory.mktemp("killed") / "made", migrated_store)
        register(root, 0.2)
        register(root, 0.3, "pass")
        promote(CONFIG, root)
        register(root, 0.4, "pass", against="2")
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return own_copy(made, tmp_path, monkeypatch)


def killed(root: Path, action: str, stop_at: int) -> None:
    """Run `action` in another process until it is killed before its write number `stop_at`."""
    forking = multiprocessing.get_context("forkserver")
    forking.set_forkserver_preload(["promotion_children"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # where to find it, from the start
        forkserver.ensure_running()
    child = forking.Process(target=act_until, args=(root, action, stop_at))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL, "it came through: there are fewer writes"
    child.close()


def assert_serves(root: Path, standing: Standing) -> None:
    """The alias does not dangle: its version's own bundle opens."""
    folder, version = fetch_bundle(CHAMPION, CONFIG.tracking, root)
    assert version == standing.champion
    assert bundle_digest(folder) == digest_of(root, version)
    assert open_bundle(folder).cutoff.value in (0.2, 0.3, 0.4)


def assert_coherent(standing: Standing) -> None:
    """Every change starts where the one before ended, and the last one ends at the champion."""
    assert not [one for one in standing.records if one.state == "pending"]
    done: list[Record] = [one for one in standing.records if one.state == "done"]
    assert all(later.before == earlier.version for earlier, later in pairwise(done))
    assert done[-1].version == standing.champion
    assert standing.challenger != standing.champion
    assert [one.number for one in standing.records] == list(range(1, len(standing.records) + 1))


STOPS = [
    *(("promote", stop) for stop in range(WRITES_OF_PROMOTE + 1)),
    *(("rollback", stop) for stop in range(WRITES_OF_ROLLBACK + 1)),
]


@pytest.mark.parametrize(("action", "stop_at"), STOPS)
def test_the_next_run_recovers_from_a_kill(action: str, stop_at: int, root: Path) -> None:
    killed(root, action, stop_at)
    standing = history(CONFIG, root)
    target = "3" if action == "promote" else "1"
    assert standing.champion == (target if stop_at >= 2 else "2")
    assert_serves(root, standing)
    # The next run ends what is pending, and does what it is asked to.
    if standing.champion == "1":
        assert promote(CONFIG, root, "3", override="the gate knew version 2").champion == "3"
    else:
        act(root, "rollback")
    after = history(CONFIG, root)
    assert after.champion == {"1": "3", "2": "1", "3": "2"}[str(standing.champion)]
    assert_coherent(after)
    assert_serves(root, after)
    stopped = [one for one in after.records[2:] if one.version == target and one.action == action]
    assert [one.state for one in stopped][:1] == (
        [] if stop_at == 0 and action == "promote" else ["void" if stop_at == 1 else "done"]
    )


@pytest.mark.parametrize("stop_at", [0, 1])
def test_a_recovery_that_is_killed_is_recovered_from(stop_at: int, root: Path) -> None:
    killed(root, "promote", 2)  # the alias stands, challenger and record do not know it
    killed(root, "rollback", stop_at)  # ends the record, removes the challenger, then its own
    standing = history(CONFIG, root)
    assert standing.champion == "3"
    assert_serves(root, standing)
    act(root, "rollback")
    after = history(CONFIG, root)
    assert after.champion == "2"
    assert_coherent(after)


@pytest.mark.parametrize("stop_at", [1])
def test_a_kill_while_a_champion_made_by_hand_is_recorded(stop_at: int, root: Path) -> None:
    connect(CONFIG.tracking, root).set_registered_model_alias("closedwon", CHAMPION, "3")
    killed(root, "rollback", stop_at)
    act(root, "rollback")
    after = history(CONFIG, root)
    assert after.champion == "2"
    assert_coherent(after)
    assert [one.action for one in after.records if one.state == "done"][2:] == ["found", "rollback"]
