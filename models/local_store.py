"""The SQLite store of a working folder: made aside, never taken for new, and moved with its folder.

MLflow registers absolute places of files, which a folder that was moved or copied no longer has.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from features.errors import InputError

_LOCAL = Path(".closedwon")
_ARTIFACTS = "mlartifacts"
_WITHIN = f"/{_LOCAL}/{_ARTIFACTS}"


def local_store(uri: str) -> Path | None:
    """Return the file of a SQLite store with an absolute path, None for any other store."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:////") else None


def artifacts_folder(root: Path) -> Path:
    """Return where a store in the working folder `root` keeps the files of its runs."""
    return root.absolute() / _LOCAL / _ARTIFACTS


def make_store(store: Path) -> None:
    """Make an empty SQLite store aside: an interrupted migration could never be taken up again."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{store.name}-", dir=store.parent) as aside:
        new = Path(aside) / store.name
        artifacts = (store.parent / _ARTIFACTS).as_uri()
        made = SqlAlchemyStore(f"sqlite:///{new}", artifacts)  # type: ignore[no-untyped-call]
        made.engine.dispose()
        # A link, unlike a rename, does not replace the store another process made meanwhile.
        with suppress(FileExistsError):
            os.link(new, store)


def require_tables(store: Path) -> None:
    """Raise InputError for a store that was emptied: MLflow would fill it as if it were new.

    The next training would then make a first champion, without a gate.
    """
    found = "it has 0 bytes"
    if store.stat().st_size:
        try:
            with closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)) as connection:
                kept = connection.execute(
                    "select 1 from sqlite_master where type = 'table' and name = 'experiments'"
                ).fetchone()
        except sqlite3.Error:
            return  # MLflow says what is wrong with it
        if kept is not None:
            return
        found = "it has no table of MLflow's"
    raise InputError(
        f"The MLflow store {store} was emptied: {found}. Put it back from a backup, or move it "
        "away to begin anew: without its models, champion and history."
    )


def places_of(location: str, store: Path | None, root: Path) -> list[Path]:
    """Return the folders on this machine where files registered at `location` may be, best first.

    Those of a store in the working folder `root` are beside it, wherever the folder was when they
    were registered. Nothing for what another machine keeps.
    """
    if not location.startswith(("file:///", "/")):
        return []
    registered = unquote(urlsplit(location).path) if location.startswith("file:") else location
    _, is_ours, within = registered.rpartition(f"{_WITHIN}/")
    beside = [artifacts_folder(root) / within] if is_ours and _is_own(store, root) else []
    return list(dict.fromkeys([*beside, Path(registered)]))


def keep_files_here(
    experiment_id: str, location: str | None, store: Path | None, root: Path
) -> None:
    """Let the experiment of a moved or copied store keep new files beside it, not at `location`.

    Left alone where its files were never beside a store. MLflow has no call for this.
    """
    here = artifacts_folder(root).as_uri()
    if not _is_own(store, root) or location == here or not (location or "").endswith(_WITHIN):
        return
    with closing(sqlite3.connect(str(store))) as connection, connection:
        connection.execute(
            "update experiments set artifact_location = ? where experiment_id = ?",
            (here, int(experiment_id)),
        )


def _is_own(store: Path | None, root: Path) -> bool:
    return store == root.absolute() / _LOCAL / "mlflow.db"
