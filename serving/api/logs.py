"""One JSON object a line on stderr: ids, counts and times, never what a request held."""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic_core import to_json

from serving.champion.failures import places_of

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
    _LINES.write(_line(event, level, told))


def _line(event: str, level: str, told: dict[str, Any]) -> bytes:
    now = _time_text(time.time_ns())
    return to_json({"time": now, "level": level, "event": event, **told}) + b"\n"


def lines_dropped() -> int:
    """Return how many lines could not be written since the start."""
    return _LINES.dropped


class Lines:
    """Writes lines to a file descriptor without ever waiting: what it has no room for is dropped.

    A pipe or terminal that is ready takes PIPE_BUF bytes at once. A thread of its own for the log
    would cost more than the microsecond of asking.
    """

    def __init__(self, descriptor: int) -> None:
        self.dropped = 0
        self._told = 0
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def write(self, line: bytes) -> None:
        """Write a whole line, or count it; the next line that is written is followed by the sum."""
        with self._lock, suppress(OSError):  # nobody reads the log any more: the answers go on
            if len(line) > select.PIPE_BUF or not self._poll.poll(0):
                self.dropped += 1
                return
            os.write(self._descriptor, line)
            if self.dropped != self._told and self._poll.poll(0):
                self._told = self.dropped
                told = {"so_far": self.dropped}
                os.write(self._descriptor, _line("log_lines_dropped", "warning", told))


_LINES = Lines(_STDERR)


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
    where = places_of(error)
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
