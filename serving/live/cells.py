"""Cells of a request as the contract's kinds, with the meaning the loader gives a file's cells.

Each reader takes a cell that is not null and returns its value, None where it is blank. What cannot
be read is a CellError whose text never repeats the cell.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from features.facts.histories import DAY

LONGEST_ID = 255
"Characters of an id, an event type, a channel and the like."
LONGEST_TEXT = 10_000
"Characters of an attribute."
OLDEST = 3_652 * DAY
"1980-01-01: no CRM has older rows, they are empty dates."

_BLANKS = " \t\r\n\u00a0"
_LARGEST = 3.4e38  # of a float32, which features are
_EPOCH = datetime(1970, 1, 1)
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NOT_AN_INSTANT = "is no instant: write it as 2026-05-31T14:00:00Z"
_NOT_A_NUMBER = "is no number: write it as 1234.5, without units or separators"
_LOOSE_INSTANT = re.compile(
    r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})"
    r"(?:[T ] ?(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?"
    r" ?(?:(Z|UTC|GMT)|([+-])(\d{1,2}):?(\d{2})?)?)?",
    re.ASCII | re.IGNORECASE,
)


class CellError(Exception):
    """What is wrong with a cell, in words that follow its name."""


def read_id(cell: Any) -> str | None:
    """Return an id as text: 10803 and 10803.0 are `10803`."""
    if cell.__class__ is not str:
        if isinstance(cell, bool):
            raise CellError("is true or false; an id is text or a whole number")
        cell = _plain_text(cell)
    text: str = cell.strip(_BLANKS)
    if text.endswith(".0") and text.isascii() and text[:-2].removeprefix("-").isdecimal():
        text = text[:-2]
    return _checked(text, LONGEST_ID)


def read_text(cell: Any) -> str | None:
    """Return a text without blanks around it."""
    if cell.__class__ is not str:
        cell = _plain_text(cell)
    return _checked(cell.strip(_BLANKS), LONGEST_ID)


def read_word(cell: Any) -> str | None:
    """Return a word of the contract: `Closed Won` is `closed_won`."""
    text = read_text(cell)
    return None if text is None else re.sub("[ -]+", "_", text.lower())


def read_category(cell: Any) -> str | None:
    """Return an attribute as text, true and false written one way."""
    if cell.__class__ is not str:
        cell = _plain_text(cell)
    text = _checked(cell.strip(_BLANKS), LONGEST_TEXT)
    return text.lower() if text is not None and text.lower() in ("true", "false") else text


def read_number(cell: Any) -> float | None:
    """Return a finite number, also of a text that is one; NaN is how some write a missing one."""
    if isinstance(cell, str):
        text = cell.strip(_BLANKS)
        if not text or text.lower() == "nan":
            return None
        if "_" in text or not text.isascii():
            raise CellError(_NOT_A_NUMBER)
        cell = text
    elif not isinstance(cell, int | float):
        raise CellError(_NOT_A_NUMBER)
    try:
        number = float(cell)
    except (ValueError, OverflowError):
        raise CellError(_NOT_A_NUMBER) from None
    if not -_LARGEST <= number <= _LARGEST:
        raise CellError("is too large a number")
    return number


def read_instant(cell: Any) -> int | None:
    """Return an instant as microseconds since 1970: ISO 8601 with an offset, without one UTC.

    A time of day has a colon, so a cell without one is a day.
    """
    if cell.__class__ is not str:
        raise CellError(_NOT_AN_INSTANT)
    # fromisoformat also takes weeks (2026-W05-1), 140000, and any letter between day and time
    is_iso = cell[10:11] in ("T", " ") and cell[4:8:3] == "--" and cell[13:14] == ":"
    try:
        moment = datetime.fromisoformat(cell) if is_iso else _loose(cell)
    except ValueError:
        moment = _loose(cell)
    if moment is None:
        return None
    since = moment - (_EPOCH if moment.tzinfo is None else _EPOCH_UTC)
    instant = since // _MICROSECOND
    if instant < OLDEST:
        raise CellError("lies before 1980: leave an empty date empty")
    return instant


def read_instants(cells: list[Any]) -> list[int | None]:
    """Return a column of instants; those of one common form in a third of the time."""
    try:
        if all([len(c) == 20 and c[4] + c[7] + c[10:14:3] + c[19] == "--T:Z" for c in cells]):  # noqa: C419
            instants = [(datetime.fromisoformat(c) - _EPOCH_UTC) // _MICROSECOND for c in cells]
            if min(instants) >= OLDEST:
                return [*instants]
    except (TypeError, ValueError):  # no text, or no such instant
        pass
    return [None if cell is None else read_instant(cell) for cell in cells]


def _loose(cell: str) -> datetime | None:
    """Return an instant that is written less strictly than ISO 8601, as files often have it."""
    text = cell.strip(_BLANKS)
    if not text:
        return None
    found = _LOOSE_INSTANT.fullmatch(text)
    if found is None:
        raise CellError(_NOT_AN_INSTANT)
    year, month, day, hour, minute, second, fraction, zulu, sign, hours, minutes = found.groups()
    micros = int((fraction or "").ljust(6, "0")[:6])
    try:
        moment = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0),
                          int(second or 0), micros)  # fmt: skip
        if zulu or sign is None:
            return moment
        offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
        return moment - offset if sign == "+" else moment + offset
    except (ValueError, OverflowError):
        raise CellError(_NOT_AN_INSTANT) from None


def _plain_text(cell: Any) -> str:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, int):
        return _digits(cell)
    if isinstance(cell, float):
        if not math.isfinite(cell):
            raise CellError("is no finite number")
        # 10803.0 is how a column of whole numbers with gaps is exported
        return _digits(int(cell)) if cell.is_integer() and abs(cell) < 2**53 else repr(cell)
    raise CellError("holds a list or an object; a plain value belongs there")


def _digits(number: int) -> str:
    if abs(number) >= 10**40:  # Python takes long to write very long ones
        raise CellError("is too large a number")
    return str(number)


def _checked(text: str, longest: int) -> str | None:
    if "\0" in text:
        raise CellError("has a NUL character")
    if len(text) > longest:
        raise CellError(f"is longer than {longest:,} characters")
    return text or None


READERS: dict[str, Callable[[Any], Any]] = {
    "id": read_id,
    "text": read_text,
    "instant": read_instant,
    "number": read_number,
}
"By kind of the contract."
