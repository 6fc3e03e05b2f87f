"""The writer under bad conditions: a locked database, a full queue, damage, sudden death."""

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ledger_children import children, submit_for_ever
from small_ledger import MONDAY, URL, open_ledger, record, write

from serving.ledger.database import open_database
from serving.ledger.errors import LedgerFull, LedgerUnavailable
from serving.ledger.writer import CAPACITY


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Another program holds the writer's place."""
    other = sqlite3.connect(folder / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.01)


def stored(folder: Path) -> set[str]:
    connection = sqlite3.connect(folder / "ledger.db")
    found = {row[0] for row in connection.execute("SELECT score_id FROM scores")}
    connection.close()
    return found


def test_a_locked_database_refuses_who_waits_and_keeps_the_others_scores(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path, busy_seconds=0.4)
    with locked(tmp_path):
        kept = ledger.submit([record("L-1")])
        told = [ledger.submit([record("D-1")], durable=True)]
        wait_until(lambda: not ledger._writer._waiting)  # at work; the next one waits
        told.append(ledger.submit([record("D-2")], durable=True))
        for promise in told:
            with pytest.raises(LedgerUnavailable, match="locked"):
                promise.result(10)
        assert (ledger.healthy, ledger.queued, kept.done()) == (False, 1, False)
        assert ledger.failed_commits >= 1
        # What waits is what the next score is compared with.
        assert ledger.latest(["L-1"])["L-1"].score_id == f"L-1@{MONDAY}"
        assert ledger.latest(["D-1"]) == {}
        with pytest.raises(LedgerUnavailable, match="locked"):
            ledger.submit([record("D-3")], durable=True)
        with pytest.raises(LedgerUnavailable, match="locked"):
            ledger.add_contact("L-1", MONDAY)
    wait_until(lambda: ledger.queued == 0)
    assert (ledger.healthy, ledger.lost, kept.exception(10)) == (True, 0, None)
    # Those who were told "503" asked again: nothing is there twice.
    assert stored(tmp_path) == {f"L-1@{MONDAY}"}
    ledger.close()


def test_a_ledger_recovers_though_nothing_waits_to_be_written(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path, busy_seconds=0.05)
    with locked(tmp_path), pytest.raises(LedgerUnavailable):
        write(ledger, record("L-1"))
    wait_until(lambda: ledger.healthy)
    write(ledger, record("L-1"))
    ledger.close()


@pytest.mark.parametrize("replaced", [False, True])
def test_a_ledger_whose_file_goes_takes_nothing_until_it_is_back(
    tmp_path: Path, replaced: bool
) -> None:
    ledger, path = open_ledger(tmp_path), tmp_path / "ledger.db"
    write(ledger, record("L-1"))
    path.rename(tmp_path / "moved")
    if replaced:
        path.write_bytes((tmp_path / "moved").read_bytes())
    assert not ledger.healthy
    with pytest.raises(LedgerUnavailable, match="removed or replaced"):
        write(ledger, record("L-2"))
    kept = ledger.submit([record("L-3")])
    with pytest.raises(LedgerUnavailable, match="removed or replaced"):
        ledger.add_contact("L-1", MONDAY)
    ledger.engine.dispose()  # so that the next reader connects anew
    if not replaced:
        with pytest.raises(LedgerUnavailable):
            ledger.leads()
    assert path.exists() == replaced
    (tmp_path / "moved").rename(path)
    assert kept.exception(10) is None
    assert ledger.healthy
    ledger.close()
    assert stored(tmp_path) == {f"L-1@{MONDAY}", f"L-3@{MONDAY}"}


def test_a_full_queue_refuses_and_does_not_wait(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path, busy_seconds=30)
    with locked(tmp_path):
        ledger.submit([record("L-1")])
        # Larger than the queue: it may go only while nothing else waits.
        with pytest.raises(LedgerFull):
            ledger.submit([record("L-2")] * CAPACITY)
        ledger.submit([record("L-3")])
        assert ledger.queued == 2
    ledger.close()
    assert stored(tmp_path) == {f"L-1@{MONDAY}", f"L-3@{MONDAY}"}


def test_closing_writes_what_waits(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    promises = [ledger.submit([record(f"L-{number}")]) for number in range(1_200)]
    ledger.close()
    assert all(promise.done() and promise.exception() is None for promise in promises)
    assert (len(stored(tmp_path)), ledger.queued, ledger.lost) == (1_200, 0, 0)
    with pytest.raises(LedgerUnavailable):
        ledger.submit([record("L-1")])
    assert not ledger.healthy


def test_closing_ends_though_nothing_can_be_written(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path, busy_seconds=0.01)
    with locked(tmp_path):
        promise = ledger.submit([record("L-1")])
        ledger.close()
    assert isinstance(promise.exception(0), LedgerUnavailable)
    assert (ledger.lost, ledger.queued) == (1, 0)


def test_one_bad_submission_does_not_take_the_others_along(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    write(ledger, record("L-1"))
    with locked(tmp_path):  # so that all three are one batch
        twice = ledger.submit([record("L-2"), record("L-1")])
        half = ledger.submit([record("\ud800")])
        good = ledger.submit([record("L-3")], durable=True)
        time.sleep(0.1)
    good.result(10)
    for bad in (twice, half):
        assert isinstance(bad.exception(10), LedgerUnavailable)
    assert stored(tmp_path) == {f"L-1@{MONDAY}", f"L-3@{MONDAY}"}
    assert (ledger.lost, ledger.healthy, ledger.queued) == (3, True, 0)
    assert ledger.latest(["L-2"]) == {}
    ledger.close()


def test_nobody_can_take_a_promise_back(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    promise = ledger.submit([record("L-1")])
    assert not promise.cancel()
    promise.result(10)
    ledger.close()


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    context = children()
    acknowledged: set[str] = set()
    for turn in range(10):
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=submit_for_ever, args=(tmp_path, turn, sender))
        child.start()
        sender.close()
        assert receiver.poll(30)
        time.sleep(0.01 * turn)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        try:
            while True:
                acknowledged.add(receiver.recv())
        except (EOFError, OSError):
            pass
        connection = sqlite3.connect(tmp_path / "ledger.db")
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
        assert acknowledged <= stored(tmp_path)
    assert len(acknowledged) > 20
    open_database(URL, tmp_path).dispose()
