"""Files we write: refused before the work, or whole once they are there."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from features.errors import InputError


def check_output(path: Path, suffixes: Collection[str], inputs: Collection[Path] = ()) -> None:
    """Refuse a file that could not be written after minutes of work, or that is an input.

    >>> check_output(Path("scores.xlsx"), (".csv", ".parquet"))
    Traceback (most recent call last):
    features.errors.InputError: scores.xlsx must end in .csv or .parquet. Choose another --output.
    """
    if path.suffix not in suffixes:
        found = f"must end in {' or '.join(suffixes)}"
    elif path.is_dir():
        found = "is a folder; name a file"
    elif not path.parent.is_dir():
        found = f"cannot be written: the folder {path.parent} does not exist"
    elif not os.access(path.parent, os.W_OK):
        found = f"cannot be written: no permission in the folder {path.parent}"
    elif path.exists() and any(source.exists() and source.samefile(path) for source in inputs):
        found = "is an input of this run"
    else:
        return
    raise InputError(f"{path} {found}. Choose another --output.")


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give a path to write to, renamed to `path` once all of it is there.

    Nothing is left behind, and a file at `path` stays, when the block fails or is interrupted.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield aside
        aside.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}.") from None
    finally:
        with suppress(OSError):
            aside.unlink()
