"""What child processes do to a ledger; started fresh, so that they can be killed."""

from __future__ import annotations

from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path

from small_ledger import MODEL, MONDAY, URL, record

from serving.ledger.database import open_database
from serving.ledger.ledger import Ledger


def children() -> ForkServerContext:
    """Children of a process that has everything imported: each starts in milliseconds."""
    context = get_context("forkserver")
    # The tests' own folder is not on the path yet where these are imported.
    context.set_forkserver_preload(["pytest", "serving.ledger.ledger", "serving.ledger.migrating"])
    return context


def submit_for_ever(folder: Path, turn: int, acknowledged: Connection) -> None:
    """Submit durable scores and name each one once it is committed."""
    ledger = Ledger.open(URL, folder)
    ledger.know_model(MODEL)
    for number in range(1_000_000):
        score_id = f"{turn}-{number}"
        score = record(f"L-{number % 7}", MONDAY + number, score_id=score_id)
        ledger.submit([score], durable=True).result(10)
        acknowledged.send(score_id)


def open_new(folder: Path, done: Connection) -> None:
    """Open a ledger and say how that went."""
    try:
        open_database(URL, folder).dispose()
    except Exception as error:
        done.send(f"{type(error).__name__}: {error}")
    else:
        done.send("opened")
