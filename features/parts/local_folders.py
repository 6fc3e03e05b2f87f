"""Folders of local state: whole once they are there, removed only when no run uses them."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, which by itself lets nobody remove what is open
    fcntl = None  # type: ignore[assignment]


@contextmanager
def folder_aside(parent: Path) -> Iterator[Path]:
    """Give a hidden folder in `parent` for unfinished work, gone once the block ends.

    Those that killed runs left behind are removed first.
    """
    parent.mkdir(parents=True, exist_ok=True)
    remove_unused(parent.glob(".aside-*"))
    with tempfile.TemporaryDirectory(prefix=".aside-", dir=parent) as name:
        held = Held(Path(name))
        try:
            yield held.path
        finally:
            held.release()


class Held:
    """A folder in use: while this object lives, and its program runs, nobody removes it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._closing: weakref.finalize[..., Held] | None = None
        if fcntl is not None:
            opened = os.open(path, os.O_RDONLY)
            fcntl.flock(opened, fcntl.LOCK_SH)
            self._closing = weakref.finalize(self, os.close, opened)

    def release(self) -> None:
        """Let the folder go."""
        if self._closing is not None:
            self._closing()


def remove_unused(folders: Iterable[Path]) -> None:
    """Remove those of `folders` that nobody holds."""
    for folder in folders:
        with suppress(OSError), alone_in(folder):
            # Renamed first: half of a folder must not pass for a whole one.
            gone = folder.with_name(f".aside-{folder.name.lstrip('.')}")
            shutil.rmtree(folder.rename(gone))


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep others out of `folder`; OSError where it is held."""
    if fcntl is None:
        yield
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(opened)
