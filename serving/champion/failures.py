"""Where an unexpected error came from: its message may hold a person's data, its place does not."""

from __future__ import annotations

import traceback
from pathlib import Path

from features.errors import InputError


def places_of(error: BaseException) -> list[str]:
    """Return file, line and function of the innermost calls, the last one where it happened."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]


def told(error: Exception) -> str:
    """Return what to say of an error: our own words, or the kind and place of any other.

    >>> told(InputError("The port is taken."))
    'The port is taken.'
    >>> told(OSError(24, "Too many open files", "a name"))
    'OSError (Too many open files)'
    """
    if isinstance(error, InputError):
        return str(error)
    kind = type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        kind = f"{kind} ({error.strerror})"
    return " at ".join([kind, *places_of(error)[-1:]])
