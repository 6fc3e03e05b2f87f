"""The section of the report that compares model and rules; the first words are for marketing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from math import isfinite
from typing import Any

from models.cutoff import Estimate
from training.comparison.comparison import EQUAL_VOLUME, Comparison
from training.comparison.examples import Example
from training.comparison.record import pair_title
from training.comparison.swaps import GROUPS, MODEL, RULES, SWAP_INS, SWAP_OUTS
from training.comparison.telling import gap, has_interval, share
from training.comparison.words import sentences
from training.report.comparison_charts import pictures

FIGURES = {
    "mqls_per_week": "MQLs a week",
    "mqls": "MQLs",
    "precision": "Share that closes",
    "capture": "Share of wins found",
    "lead_time_days": "Days from MQL to win",
    "won_value_per_week": "Won value a week",
    "won_value": "Won value",
    "contact_cost_per_week": "Contact cost a week",
    "contact_cost": "Contact cost",
    "profit_per_week": "Profit a week",
    "profit": "Profit",
}
GROUP_NAMES = {
    MODEL: "All MQLs of the model",
    RULES: "All MQLs of the rules",
    SWAP_INS: "Swapped in: model only",
    SWAP_OUTS: "Swapped out: rules only",
}
_SHARES = ("precision", "capture")


def comparison_section(
    comparison: Comparison | None, examples: Sequence[Example] = ()
) -> dict[str, Any]:
    """Return what `comparison_section.html.j2` shows; without rules it says how to get one."""
    if comparison is None:
        return {"is_there": False}
    import markupsafe

    # our own markup, rendered from numbers; Vega escapes the names
    drawn = {
        name: replace(picture, markup=markupsafe.Markup(picture.markup))
        for name, picture in pictures(comparison).items()
    }
    told = sentences(comparison)
    headline = comparison.pairs.get(EQUAL_VOLUME)
    return {
        "is_there": True,
        "is_dated": comparison.is_dated,
        "told": told,
        "notes": comparison.notes,
        "cards": _cards(headline.model, headline.rules) if headline and headline.is_equal else [],
        "pairs": [
            (
                pair_title(name, pair.is_equal).capitalize(),
                told.get(name, ""),
                _pair_rows(pair.model, pair.rules, pair.difference),
            )
            for name, pair in comparison.pairs.items()
        ],
        "groups": _group_rows(comparison),
        "segments": _segment_tables(comparison),
        "pictures": drawn,
        "examples": {who: [e for e in examples if e.by == who] for who in (MODEL, RULES)},
        "weeks": comparison.weeks,
        "wins": comparison.wins,
        "wins_unscored": comparison.wins_unscored,
    }  # fmt: skip


def number(name: str, found: Estimate | float) -> str:
    """Return a figure of `FIGURES` for people.

    >>> number("precision", Estimate(0.213)), number("won_value_per_week", 12_345.6)
    ('21%', '12,346')
    """
    value = found.value if isinstance(found, Estimate) else found
    if name in _SHARES or not isfinite(value):
        return share(value)
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.1f}"


def _cards(model: Mapping[str, Estimate], rules: Mapping[str, Estimate]) -> list[dict[str, str]]:
    notes = {
        "precision": "of the MQLs close",
        "capture": "of the wins are found",
        "lead_time_days": "days from MQL to win, median",
        "won_value_per_week": "won a week",
        "profit_per_week": "left a week after contact costs",
    }
    return [
        {
            "title": FIGURES[name],
            "model": number(name, model[name]),
            "rules": number(name, rules[name]),
            "note": note,
        }
        for name, note in notes.items()
        if name in model and name in rules
    ]


def _pair_rows(
    model: Mapping[str, Estimate],
    rules: Mapping[str, Estimate],
    difference: Mapping[str, Estimate],
) -> list[tuple[str, str, str, str]]:
    rows = []
    for name, title in FIGURES.items():
        if name in model or name in rules:
            of_model, of_rules = (_with_interval(name, side.get(name)) for side in (model, rules))
            rows.append((title, of_model, of_rules, _gap(name, difference.get(name))))
    return rows


def _with_interval(name: str, found: Estimate | None) -> str:
    if found is None:
        return "-"
    if found.low is None or found.high is None or not has_interval(found):
        return number(name, found)
    return f"{number(name, found)} ({number(name, found.low)} to {number(name, found.high)})"


def _gap(name: str, found: Estimate | None) -> str:
    if found is None:
        return "-"
    if name in _SHARES:
        text = gap(found).replace(" percentage points, 90% interval ", " points (")
        return f"{text})" if has_interval(found) else text
    if found.low is None or found.high is None or not has_interval(found):
        return f"{found.value:+,.1f}"
    digits = 0 if abs(found.value) >= 100 else 1
    low, high = (f"{bound:+,.{digits}f}" for bound in (found.low, found.high))
    return f"{found.value:+,.{digits}f} ({low} to {high})"


def _group_rows(comparison: Comparison) -> list[dict[str, str]]:
    if comparison.swaps is None:
        return []
    rows = []
    for name in GROUPS:
        group = comparison.swaps.groups[name]
        span = group.without_work
        rows.append(
            {
                "name": GROUP_NAMES[name],
                "leads": f"{group.leads:,}",
                "won": f"{group.won:,}",
                "precision": _with_interval("precision", group.precision),
                "worked": share(group.worked_share),
                "precision_worked": share(group.precision_worked),
                "precision_unworked": share(group.precision_unworked),
                "without_work": "-"
                if span is None or span.low is None
                else f"{share(span.low)} to {share(span.high)}",
            }
        )
    return rows


def _segment_tables(comparison: Comparison) -> list[dict[str, Any]]:
    volume = "mqls_per_week" if comparison.is_dated else "mqls"
    tables = []
    for attribute, members in groupby(comparison.segments, key=lambda segment: segment.attribute):
        rows = [
            {
                "value": segment.value,
                "volumes": [_cell(volume, side) for side in (segment.model, segment.rules)],
                "precisions": [_cell("precision", side) for side in (segment.model, segment.rules)],
                "gap": _gap("precision", segment.difference.get("precision")),
                "captures": [_cell("capture", side) for side in (segment.model, segment.rules)],
            }
            for segment in members
        ]
        tables.append({"attribute": attribute.replace("_", " "), "rows": rows})
    return tables


def _cell(name: str, figures: Mapping[str, Estimate]) -> str:
    return number(name, figures[name]) if name in figures else "-"
