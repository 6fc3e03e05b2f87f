"""The reasons of a lead as a waterfall: from where every lead starts to its own probability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.pages.words import concept_text, percent_text, signed_points

TOLD = 10
"Reasons with a bar of their own; the others share one."

_CALIBRATION = "calibration"
_CALIBRATION_TEXT = "Adjustment to observed win rates"
_MARGIN = 0.02
"Of the width, left free on both sides."


@dataclass(frozen=True)
class Bar:
    """One step of the waterfall; `x` and `width` in percent of the drawing's width."""

    text: str
    points: float
    told: str
    "The points in words; for the ends, the probability."
    span: str
    "From where to where the bar goes, for those who don't see it."
    kind: str
    "up, down or total: the style, never the only sign of the direction."
    x: float
    width: float


@dataclass(frozen=True)
class Waterfall:
    """Bars from the start to the lead's probability, and where the cutoff lies."""

    bars: tuple[Bar, ...]
    start: Bar
    end: Bar
    cutoff_x: float | None


def waterfall(
    reasons: Sequence[Mapping[str, Any]],
    base_probability: float,
    probability: float,
    cutoff: float | None,
) -> Waterfall:
    """Return the bars of complete reasons: what raises the probability first, then what lowers it.

    `reasons` are those of `Ledger.lead`. Those beyond the strongest `TOLD` share a bar, and so
    does whatever reasons and probability differ by, so the bars always meet the probability.
    """
    steps = _steps(reasons, probability - base_probability)
    levels = [base_probability]
    for _, points in steps:
        levels.append(levels[-1] + points)
    marks = [0.0, probability, *levels] + ([] if cutoff is None else [cutoff])
    low, high = min(marks), max(marks)
    scale = (1 - 2 * _MARGIN) / ((high - low) or 1.0)

    def place(level: float) -> float:
        return round(100 * (_MARGIN + (level - low) * scale), 3)

    def total(text: str, level: float) -> Bar:
        told = percent_text(level)
        return Bar(text, level, told, _span(0, level), "total", place(0), place(level) - place(0))

    bars = []
    for (text, points), level in zip(steps, levels, strict=False):
        left, right = sorted((place(level), place(level + points)))
        kind = "up" if points >= 0 else "down"
        span = _span(level, level + points)
        bars.append(Bar(text, points, signed_points(points), span, kind, left, right - left))
    return Waterfall(
        bars=tuple(bars),
        start=total("Where every lead starts", base_probability),
        end=total("This lead", probability),
        cutoff_x=None if cutoff is None else place(cutoff),
    )


def _span(begin: float, end: float) -> str:
    # Levels on the way may lie outside of 0 to 100%: only their sum is a probability.
    return f"from {100 * begin:.1f}% to {100 * end:.1f}%"


def _steps(reasons: Sequence[Mapping[str, Any]], total: float) -> list[tuple[str, float]]:
    """Return text and points of each step, in the order they are drawn."""
    concepts = [reason for reason in reasons if reason["family"] != _CALIBRATION]
    concepts.sort(key=lambda reason: -abs(reason["points"]))
    told = [
        (str(reason.get("text") or concept_text(reason["concept"])), float(reason["points"]))
        for reason in concepts[:TOLD]
    ]
    steps = [step for step in told if step[1] > 0] + [step for step in told if step[1] < 0]
    adjustment = sum(
        float(reason["points"]) for reason in reasons if reason["family"] == _CALIBRATION
    )
    rest = total - adjustment - sum(points for _, points in steps)
    silent = len(concepts) - len(told)
    if signed_points(rest) != "0 points" or silent > 0:
        many = "Other" if silent <= 0 else f"{silent} other"
        steps.append((f"{many} reason{'' if silent == 1 else 's'}", rest))
    if adjustment:
        steps.append((_CALIBRATION_TEXT, adjustment))
    return steps
