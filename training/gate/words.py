"""The checks as a table for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from training.gate.checks import Check

HEAD = ("check", "champion", "challenger", "worse by", "at most", "result")
Write = Callable[[float], str]


def table_of(checks: Sequence[Check]) -> list[str]:
    """Return the checks as aligned lines, with what is to be said of each below it.

    Negative is better; in brackets the limits that `worse by` lies between.

    >>> for line in table_of([Check("precision", "pass", 0.3, 0.29, 0.01, -0.01, 0.015, 0.02)]):
    ...     print(line)
    check      champion  challenger  worse by                  at most     result
    precision  30.0%     29.0%       1.0 points (-1.0 to 1.5)  2.0 points  pass
    """
    rows = [HEAD, *(cells_of(check) for check in checks)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEAD))]
    lines = []
    for row, check in zip(rows, [None, *checks], strict=True):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(cells).rstrip())
        if check is not None and check.told:
            lines.append(f"    {check.told}")
    return lines


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
    if name in ("precision", "capture"):
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
