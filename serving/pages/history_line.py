"""The scores of a lead over time as a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.pages.words import day_text, instant_text, micros, percent_text

WIDTH, HEIGHT = 600, 120
"Of the drawing in its own units; it is stretched to the width of the page."

_TOP, _SIDE = 8, 8


@dataclass(frozen=True)
class HistoryLine:
    """The line, oldest score first, and the cutoffs it was held against, in the drawing's units."""

    points: tuple[tuple[float, float], ...]
    path: str
    cutoff_path: str
    "A step where the cutoff changed; empty where there was none."
    top: str
    "The probability at the upper edge."
    began: str
    ended: str
    summary: str
    "What the line shows, in a sentence."


def history_line(history: Sequence[Mapping[str, Any]]) -> HistoryLine | None:
    """Return the line through the scores of `Ledger.lead`, None if there are fewer than two.

    Scores as of the past, asked for later, are no part of it: nobody saw them then.
    """
    scores = sorted(
        (score for score in history if not score["is_backfill"]),
        key=lambda score: micros(score["as_of"]),
    )
    if len(scores) < 2:
        return None
    first, last = scores[0], scores[-1]
    start = micros(first["as_of"])
    span = (micros(last["as_of"]) - start) or 1
    marks = [score[name] for score in scores for name in ("probability", "cutoff")]
    top = min(1.0, 1.1 * max(mark for mark in marks if mark is not None)) or 1.0

    def height(probability: float) -> float:
        return round(_TOP + (HEIGHT - 2 * _TOP) * (1 - probability / top), 2)

    places = [
        round(_SIDE + (WIDTH - 2 * _SIDE) * (micros(score["as_of"]) - start) / span, 2)
        for score in scores
    ]
    points = [(x, height(score["probability"])) for x, score in zip(places, scores, strict=True)]
    cutoffs = [
        (x, height(score["cutoff"]))
        for x, score in zip(places, scores, strict=True)
        if score["cutoff"] is not None
    ]
    return HistoryLine(
        points=tuple(points),
        path="M" + " L".join(f"{x},{y}" for x, y in points),
        cutoff_path=_steps(cutoffs),
        top=percent_text(top),
        began=instant_text(first["as_of"]),
        ended=instant_text(last["as_of"]),
        summary=_summary(first, last, len(scores)),
    )


def _steps(cutoffs: Sequence[tuple[float, float]]) -> str:
    """Return a path that keeps each height until the next place, and the last to the edge."""
    if not cutoffs:
        return ""
    return f"M{cutoffs[0][0]},{cutoffs[0][1]}" + "".join(
        f" H{x} V{y}" for x, y in cutoffs[1:]
    ) + f" H{WIDTH}"  # fmt: skip


def _summary(first: Mapping[str, Any], last: Mapping[str, Any], count: int) -> str:
    ends = (
        f"{percent_text(end['probability'])} on {day_text(end['as_of'])}" for end in (first, last)
    )
    told = f"{count} scores: {', '.join(ends)}"
    cutoff = last["cutoff"]
    return f"{told}." if cutoff is None else f"{told}; the last cutoff is {percent_text(cutoff)}."
