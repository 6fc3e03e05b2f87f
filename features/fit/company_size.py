"""From a number of employees, or the text a form makes of it, to a band of company size."""

from __future__ import annotations

import math
import re

_LAST = (10, 50, 200, 500, 1000, 5000)
"The largest size of each band but the open one."
SIZE_BANDS = ("1-10", "11-50", "51-200", "201-500", "501-1000", "1001-5000", "5001+")

_THOUSANDS = re.compile(r"(?<=\d)[.,'\u2019\s](?=\d{3}(?!\d))")
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)\s*([km]\b)?")
_FACTORS = {"": 1.0, "k": 1e3, "m": 1e6}
# What may stand around the numbers; any other word, and the text is about something else.
_WORDS = {
    "": "employee employees people persons staff fte ftes members workers mitarbeiter "
    "mitarbeitende mitarbeiterinnen beschäftigte employés employes salariés "
    "salaries personnes collaborateurs empleados trabajadores personas medewerkers werknemers "
    "about approx approximately around ca circa rund etwa environ",
    "-": "to bis and und between zwischen from von à de a tot",
    "+": "over above plus or more than at least über ueber mehr als ab más mas meer dan min "
    "mindestens oder",
    "<": "under below less fewer up unter weniger moins menos minder max maximal hasta jusqu",
}
_SIGN_OF = {word: sign for sign, words in _WORDS.items() for word in words.split()}
_MOSTLY = 2 / 3
"Share of a range, on a log scale, that makes it a band's."


def size_band(employees: float | str) -> str | None:
    """Return the band of a number of employees, or of a text like `51-200`, `1,000+` or `10k`.

    An open end counts as just above it: `1,000+` is 1001-5000. A range is the band's that holds
    two thirds of it on a log scale (10-49 is 11-50), else it is None (1-100), like every text
    that holds anything but a size, and like 0, which stands for not known.

    >>> [size_band(size) for size in (10, 10_001.0, "51 - 200", "501 to 1000 employees", "10k")]
    ['1-10', '5001+', '51-200', '501-1000', '5001+']
    >>> [size_band(size) for size in (0, "1-100", "Enterprise", "since 1998")]
    [None, None, None, None]
    """
    if not isinstance(employees, str):
        return _band(float(employees))
    text = _THOUSANDS.sub("", employees.strip().lower())
    sizes = [float(number) * _FACTORS[factor] for number, factor in _NUMBER.findall(text)]
    signs = _signs(_NUMBER.sub(" ", text))
    if signs is None or not 1 <= len(sizes) <= 2:
        return None
    if len(sizes) == 2:
        low, high = sizes
        if text.count("k") == 1 and high >= 1e3 > low and low * 1e3 <= high:
            low *= 1e3  # 10-50k
        is_range = signs & {"-", "~"} and not signs & {"+", "<"}
        return _band_of_range(low, high) if is_range else None
    if "<" in signs:
        return _band_of_range(1, sizes[0] - ("up" not in text))
    if "+" in signs:
        return _band(sizes[0] + (sizes[0] in _LAST))
    return _band(sizes[0]) if not signs - {"", "~"} else None


def _signs(rest: str) -> set[str] | None:
    """Return what the text around the numbers says, None where it says something else."""
    signs = set()
    for word in re.findall(r"[^\W\d_]+|[^\s\w]|_", rest):
        if word in "-\u2013\u2014\u2010\u2011":
            signs.add("-")
        elif word == "~":
            signs.add("~")  # `51~200`, but `~50` is about 50
        elif word in "+>\u2265":
            signs.add("+")
        elif word in "<\u2264":
            signs.add("<")
        elif word in _SIGN_OF:
            signs.add(_SIGN_OF[word])
        elif word not in ".:()'\u2019":
            return None
    # In `less than` and `up to` the other word says nothing.
    if "<" in signs:
        signs -= {"+", "-"}
    return signs


def _band(size: float) -> str | None:
    if not 1 <= size < math.inf:
        return None
    return SIZE_BANDS[sum(math.floor(size) > last for last in _LAST)]


def _band_of_range(low: float, high: float) -> str | None:
    if not 1 <= low <= high < math.inf:
        return None
    whole = math.log((high + 1) / low)
    for band, first, last in zip(SIZE_BANDS, (1, *(n + 1 for n in _LAST)), _LAST, strict=False):
        shared = math.log(max(min(high, last) + 1, 1) / max(low, first))
        if shared >= _MOSTLY * whole:
            return band
    above = math.log((high + 1) / max(low, _LAST[-1] + 1))
    return SIZE_BANDS[-1] if above >= _MOSTLY * whole else None
