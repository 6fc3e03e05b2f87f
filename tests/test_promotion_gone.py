"""Promotion and rollback where something is missing: skill, the alias, versions, patience."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from small_registry import CONFIG, empty_folder, own_copy, register
from test_promotion import aliases, told

import training.retrain.retrain
from features.errors import InputError
from models.registry import CHAMPION, connect
from training.promotion import promote, rollback
from training.promotion_standing import history
from training.retrain.retrain import retrain
from training.retrain.retraining import Retraining
from training.run_lock import RETRAINING, run_lock
from training.steps import Steps


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> Path:
    """Version 1 is champion, 2 to 4 are challengers; 5 passed and does not beat the base rate."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        root = empty_folder(tmp_path_factory.mktemp("gone") / "made", migrated_store)
        for number, decision in enumerate((None, "pass", "refuse", "not_enough_evidence")):
            register(root, (20 + number) / 100, decision)
        register(root, 0.25, "pass", skilled=False)
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return own_copy(made, tmp_path, monkeypatch)


def test_a_pass_is_not_enough_for_a_model_that_does_not_beat_the_base_rate(root: Path) -> None:
    asked = promote(CONFIG, root, "5")
    assert (asked.outcome, aliases(root)[CHAMPION]) == ("refused", "1")
    assert asked.told == "Version 5 does not clearly beat the base rate, as far as is recorded."
    moved = promote(CONFIG, root, "5", override="a trial")
    assert moved.record is not None
    assert (moved.record.verdict, moved.record.is_override) == ("pass", True)


@pytest.mark.parametrize(("version", "reason"), [("3", "refused"), ("4", "not enough evidence")])
def test_what_the_gate_did_not_let_in_stays_out_without_a_champion(
    version: str, reason: str, root: Path
) -> None:
    connect(CONFIG.tracking, root).delete_registered_model_alias("closedwon", CHAMPION)
    asked = promote(CONFIG, root, version)
    assert (asked.outcome, asked.champion) == ("refused", None)
    assert reason in asked.told
    moved = promote(CONFIG, root, version, override="nothing else is there")
    assert moved.record is not None
    assert moved.record.is_override and moved.record.before == "1", "the last one on record"


def test_an_alias_that_was_removed_is_set_again_and_nobody_went_back(root: Path) -> None:
    client = connect(CONFIG.tracking, root)
    promote(CONFIG, root, "2")
    client.delete_registered_model_alias("closedwon", CHAMPION)
    again = rollback(CONFIG, root, None, "the alias was gone")
    assert again.told == "Version 2 is champion again."
    client.delete_registered_model_alias("closedwon", CHAMPION)
    assert promote(CONFIG, root, "2").outcome == "moved", "it was not gone back from"


def test_a_deleted_champion_is_passed_over_on_the_way_back(root: Path) -> None:
    client = connect(CONFIG.tracking, root)
    promote(CONFIG, root, "2")
    promote(CONFIG, root, "3", override="a trial")
    client.delete_model_version("closedwon", "2")
    with pytest.raises(InputError, match=r"2 was champion once, and was deleted.*champions: 1\.$"):
        rollback(CONFIG, root, "2", "try")
    assert rollback(CONFIG, root, None, "no good").champion == "1"
    assert told(root)[-1] == ("rollback", "3", "1", "done")


def test_the_record_goes_on_where_the_champion_itself_was_deleted(root: Path) -> None:
    client = connect(CONFIG.tracking, root)
    promote(CONFIG, root, "2")
    promote(CONFIG, root, "3", override="a trial")
    client.delete_model_version("closedwon", "3")  # MLflow removes its alias too
    assert history(CONFIG, root).champion is None
    back = rollback(CONFIG, root, None, "version 3 was deleted")
    assert back.told == "Version 2 is champion again, in place of version 3."
    assert told(root)[-2:] == [("promote", "2", "3", "done"), ("rollback", "3", "2", "done")]
    client.delete_model_version("closedwon", "1")
    with pytest.raises(InputError, match=r"Version 2 has no champion before it. There is no"):
        rollback(CONFIG, root, None, "further")


def test_a_rollback_does_not_wait_for_a_retraining(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(CONFIG, root, "2")
    failed: list[BaseException] = []

    def go_back() -> None:
        try:
            with pytest.raises(InputError, match=r"retrain .* is at work in this folder"):
                retrain(CONFIG, root, root, Steps())
            rollback(CONFIG, root, None, "at once")
        except BaseException as error:  # told by the test's own thread
            failed.append(error)

    def loading(*_: Any) -> None:
        # As another process would: a thread knows nothing of the locks its starter holds.
        other = threading.Thread(target=go_back)
        other.start()
        other.join()
        raise InterruptedError("far enough")

    monkeypatch.setattr(training.retrain.retrain, "load", loading)
    with pytest.raises(InterruptedError):
        retrain(CONFIG, root, root, Steps())
    assert not failed, failed[0]
    assert aliases(root)[CHAMPION] == "1"


def test_the_two_locks_are_held_apart(root: Path) -> None:
    with run_lock(root, "retrain", lock=RETRAINING):
        assert promote(CONFIG, root, "2").champion == "2"
        assert not (root / ".closedwon" / "life.lock").read_text()
        assert "retrain" in (root / ".closedwon" / "retrain.lock").read_text()


def test_who_was_gone_back_from_is_brought_back_by_rollback() -> None:
    waiting = Retraining(
        outcome="nothing_new", version="4", alias=None, champion="1", choice=None, decision="pass",
        verdict=None, is_skilled=True, report=None, seconds={}, was_champion=True,
    )  # fmt: skip
    text = " ".join(" ".join(waiting.lines()).split())
    assert 'To bring it back: closedwon rollback 4 --reason "..."' in text
