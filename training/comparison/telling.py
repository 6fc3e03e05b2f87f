"""Figures, differences and counts as a person reads them; what is not known is "-"."""

from __future__ import annotations

from math import isfinite

from models.cutoff import Estimate


def has_interval(found: Estimate | None) -> bool:
    """Return whether there is a figure, and both ends of its interval."""
    return found is not None and all(
        end is not None and isfinite(end) for end in (found.value, found.low, found.high)
    )


def direction(difference: Estimate | None) -> int:
    """Return 1 or -1 where the interval lies above or below zero, 0 where it includes it."""
    if difference is None or difference.low is None or difference.high is None:
        return 0
    return int(difference.low > 0) - int(difference.high < 0)


def share(found: Estimate | float | None) -> str:
    """Return a share for people.

    >>> share(Estimate(0.126, 0.1, 0.2)), share(0.004), share(float("nan"))
    ('13%', '0.4%', '-')
    """
    value = found.value if isinstance(found, Estimate) else found
    if value is None or not isfinite(value):
        return "-"
    return f"{value:.1%}" if 0 < abs(value) < 0.02 else f"{value:.0%}"


def gap(difference: Estimate | None, unit: str = "percentage points") -> str:
    """Return a signed difference with its interval.

    >>> gap(Estimate(0.07, 0.05, 0.091))
    '+7.0 percentage points, 90% interval +5.0 to +9.1'
    """
    if difference is None:
        return "not known"
    scale = 100 if unit == "percentage points" else 1
    text = f"{_signed(difference.value * scale)} {unit}"
    if difference.low is None or difference.high is None or not has_interval(difference):
        return text
    low, high = (_signed(bound * scale) for bound in (difference.low, difference.high))
    return f"{text}, 90% interval {low} to {high}"


def _signed(value: float) -> str:
    """Return a signed number; one that is not 0 is never told as 0.

    >>> _signed(6.21), _signed(-0.02), _signed(0.0)
    ('+6.2', '-0.02', '0')
    """
    if value == 0:
        return "0"
    return f"{value:+.1f}" if abs(value) >= 0.05 else f"{value:+.1g}"


def mqls(figures: dict[str, Estimate]) -> float:
    """Return how many MQLs, a week where there are weeks; 0 where nothing was counted."""
    found = figures.get("mqls_per_week") or figures.get("mqls")
    return 0.0 if found is None else found.value


def volume(figures: dict[str, Estimate]) -> str:
    """Return how many MQLs.

    >>> volume({"mqls_per_week": Estimate(19.47)}), volume({"mqls": Estimate(1.0)})
    ('19 MQLs a week', '1 MQL')
    """
    if "mqls_per_week" in figures:
        return f"{number(mqls(figures))} MQLs a week"
    return counted(round(mqls(figures)), "MQL")


def number(value: float) -> str:
    """Return a number of about two digits or more.

    >>> number(1234.5), number(3.46), number(0.0)
    ('1,234', '3.5', '0')
    """
    return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.1f}"


def counted(count: int, what: str) -> str:
    """Return how many of a thing.

    >>> counted(1, "lead"), counted(0, "lead")
    ('1 lead', '0 leads')
    """
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
