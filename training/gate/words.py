"""The checks as a table for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from training.gate.checks import CALLED, Check

HEAD = ("check", "champion", "challenger", "worse by", "at most", "result")
Write = Callable[[float], str]


def table_of(checks: Sequence[Check]) -> list[str]:
    """Return the checks as aligned lines, with what is to be said of each below it.

    Negative is better; in brackets the limits that `worse by` lies between. The titles come again
    where someone else stood for the champion.

    >>> for line in table_of([Check("precision", "pass", 0.3, 0.29, 0.01, -0.01, 0.015, 0.02)]):
    ...     print(line)
    check      champion  challenger  worse by                  at most     result
    precision  30.0%     29.0%       1.0 points (-1.0 to 1.5)  2.0 points  pass
    """
    rows: list[tuple[tuple[str, ...], str]] = []
    against = None
    for check in checks:
        if check.against != against:
            rows.append((head_of(check), ""))
        against = check.against
        rows.append((cells_of(check), check.told))
    widths = [max(len(cells[place]) for cells, _ in rows) for place in range(len(HEAD))]
    lines = []
    for cells, told in rows:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        lines.append("  ".join(padded).rstrip())
        if told:
            lines.append(f"    {told}")
    return lines


def head_of(check: Check) -> tuple[str, ...]:
    """Return the titles of the columns, which name whose the champion's figure is."""
    return (HEAD[0], CALLED[check.against], *HEAD[2:])


def cells_of(check: Check) -> tuple[str, ...]:
    """Return the cells of a check in the columns of `HEAD`."""
    write, scale, unit = _units(check.name)
    figures = ("" if one is None else write(one) for one in (check.champion, check.challenger))
    worse = "" if check.worse_by is None else f"{scale * check.worse_by:.1f}{unit}"
    if check.low is not None and check.high is not None:
        worse += f" ({scale * check.low:.1f} to {scale * check.high:.1f})"
    most = "" if check.margin is None else f"{scale * check.margin:.1f}{unit}"
    return (check.name, *figures, worse, most, check.result)


def _units(name: str) -> tuple[Write, float, str]:
    """Return how to write the two figures, and the scale and unit of how much worse one is."""
    if name in ("precision", "capture") or name.startswith("promised"):
        return "{:.1%}".format, 100, " points"
    if name == "latency":
        return lambda seconds: f"{seconds * 1e3:.2f} ms", 1, " times"
    if name == "size":
        return lambda size: f"{size / 1e6:.2f} MB", 1, " times"
    if name.startswith("log_loss"):
        return "{:.4f}".format, 100, "%"
    if name == "calibration":
        return "{:.2%}".format, 100, "%"
    return "{:.0%}".format, 100, "%"


def some(names: Sequence[str]) -> str:
    """Return the first names, joined."""
    return ", ".join(names[:3]) + ", ..." * (len(names) > 3)
