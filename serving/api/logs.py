"""One JSON object a line on stderr: ids, counts and times, never what a request held."""

from __future__ import annotations

import logging
import os
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic_core import to_json

_STDERR = 2


@dataclass(slots=True)
class Note:
    """What the log and the metrics say of a request, filled in while it is answered."""

    request_id: str
    key_id: str | None = None
    leads: int | None = None
    model_version: str | None = None


def write_line(event: str, *, level: str = "info", **of: Any) -> None:
    """Write one line; entries that are None are left out."""
    told = {name: value for name, value in of.items() if value is not None}
    line = to_json({"time": _time_text(time.time_ns()), "level": level, "event": event, **told})
    # One call for a whole line: those of several threads do not mix, and it takes few microseconds.
    with suppress(OSError):  # nobody reads the log any more: the answers go on
        os.write(_STDERR, line + b"\n")


def _time_text(now: int) -> str:
    """Return nanoseconds since 1970 as ISO 8601 with milliseconds.

    >>> _time_text(1_777_626_000_123_456_789)
    '2026-05-01T09:00:00.123Z'
    """
    seconds, rest = divmod(now, 1_000_000_000)
    return f"{_second_text(seconds)}.{rest // 1_000_000:03}Z"


@lru_cache(maxsize=1)
def _second_text(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def write_failure(error: BaseException, **of: Any) -> None:
    """Write where an unexpected error came from: its kind and our lines, not its message.

    A message such as a KeyError's may hold a person's data.
    """
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    where = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
    write_line("failure", level="error", error=type(error).__name__, where=where, **of)


class JsonLines(logging.Handler):
    """Writes what libraries log in the same form; of an exception, its kind and place only."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            write_failure(error, logger=record.name)
            return
        level = record.levelname.lower()
        write_line("log", level=level, logger=record.name, message=record.getMessage()[:300])
