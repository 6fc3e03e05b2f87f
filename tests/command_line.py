"""Runs commands as a user would, in this process, and trains a first model to run them on."""

from __future__ import annotations

import io
import shutil
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest
from flat_files import write_flat

import closedwon

CONFIG = """
[flat]
path = "export.csv"
lead_id = "person"
account_id = "firm"
label = "won"
drop = ["seen", "won_on"]
[training]
trials = 0
folds = 2
bootstraps = 20
num_threads = 1
"""


class Ran(NamedTuple):
    """How a command ended and what it printed."""

    code: object
    out: str
    err: str


def run(*arguments: object) -> Ran:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        closedwon.main([str(argument) for argument in arguments])
    return Ran(ended.value.code or 0, out.getvalue(), err.getvalue())


def in_folder(folder: Path, store: Path) -> Path:
    """Lay a flat export, its settings and an empty store into `folder`."""
    (folder / ".closedwon").mkdir(parents=True)
    shutil.copy(store, folder / ".closedwon" / "mlflow.db")
    write_flat(folder / "export.csv", rows=1_500)
    (folder / "closedwon.toml").write_text(CONFIG)
    return folder


def refused(ran: Ran) -> str:
    """Return the message of a user's mistake: one line on stderr, exit code 2."""
    assert (ran.code, ran.out) == (2, ""), ran
    assert ran.err.startswith("closedwon: ") and ran.err.count("\n") == 1, ran
    return ran.err


def leftovers(folder: Path) -> list[str]:
    """Return what only an unfinished run leaves lying."""
    hidden = (path for path in folder.rglob(".*") if path.name != ".closedwon")
    return [path.name for path in [*hidden, *folder.rglob("*.partial"), *folder.rglob("*.part")]]
