"""Files we write: refused before the work, or whole once they are there."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import InputError

if TYPE_CHECKING:  # the command line reads this module before it needs pandas
    import pandas as pd


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


# What spreadsheets run: a cell that starts like one of these. A negative number is none.
_FORMULA = re.compile(r"^(?:[=+@\t\r]|-(?!\d+(?:\.\d+)?$))")


def formula_safe(rows: pd.DataFrame) -> pd.DataFrame:
    """Return `rows` with a `'` before text that a spreadsheet would run as a formula.

    >>> import pandas as pd
    >>> formula_safe(pd.DataFrame({"campaign": ["=1+1", "Spring", "-5"]}))["campaign"].tolist()
    ["'=1+1", 'Spring', '-5']
    """
    safe = rows.copy()
    for column in rows.columns:
        values = rows[column]
        if values.dtype.kind == "O":  # str and object alike
            safe[column] = values.map(_formula_safe).astype(values.dtype)
    return safe


def _formula_safe(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell
