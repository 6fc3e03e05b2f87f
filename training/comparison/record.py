"""The comparison as JSON: what the bundle keeps, what `closedwon compare --json` prints."""

from __future__ import annotations

import hashlib
import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from models.cutoff import Estimate
from training.comparison.comparison import Comparison
from training.comparison.figures import Pair
from training.comparison.swaps import Group
from training.comparison.telling import share
from training.comparison.words import sentences

if TYPE_CHECKING:
    from models.rules_table import RulesTable

UNEQUAL = {
    "equal_volume": "at the nearest volume",
    "equal_volume_from_past": "nearest volume on the weeks before",
    "equal_capture": "at the nearest wins found",
}
"Titles where the model has too few different scores to come near what the pair is named after."
PAIR_TITLES = {
    "equal_volume": "at equal volume",
    "equal_volume_from_past": "cutoff set on earlier weeks",
    "equal_capture": "at equal wins found",
    "tuned_rules": "rules at their best",
    "as_set": "as set today",
}
COMPARISON_FILE = "comparison.json"
"Name of the record in a bundle."


def pair_title(name: str, is_equal: bool) -> str:
    """Return what a pair is called; one that is not equal is not called so."""
    return PAIR_TITLES[name] if is_equal else UNEQUAL.get(name, PAIR_TITLES[name])


def rules_digest(table: RulesTable) -> str:
    """Return the sha256 of a points table: of what it says, not of how the file is written."""
    return hashlib.sha256(table.model_dump_json().encode()).hexdigest()


def comparison_record(comparison: Comparison, digest: str) -> dict[str, Any]:
    """Return the comparison as plain JSON values, without any lead.

    `digest` is that of the rules. Every pair of `Comparison.pairs` is a key: its cutoff and
    threshold, the figures of `model` and `rules`, and `NAME_difference`, model less rules; each an
    object of value, low and high (90% interval). Where its `is_equal` is false the model cannot
    come near the volume (or capture) that the pair is named after, and it tells nothing. `curves`
    holds both at up to 200 cutoffs, `notes` what may be a slip in the rules, `sentences` what a
    person reads. The same comparison gives the same record.
    """
    swaps = comparison.swaps
    return {
        "rules_digest": digest,
        "is_dated": comparison.is_dated,
        "window": {
            "from": str(comparison.start.date()) if comparison.is_dated else None,
            "until": str(comparison.until.date()) if comparison.is_dated else None,
            "weeks": comparison.weeks,
        },
        "wins": {"scored": comparison.wins, "unscored": comparison.wins_unscored},
        "model_cutoff": comparison.cutoff.value,
        "rules_threshold": comparison.rules_threshold,
        "tuned_threshold": comparison.tuned_threshold,
        **{name: _pair(pair) for name, pair in comparison.pairs.items()},
        "swaps": None
        if swaps is None
        else {
            **{name: _group(group) for name, group in swaps.groups.items()},
            "known_before": dict(swaps.known),
            "difference_without_work": _estimate(swaps.difference_without_work),
        },
        "segments": [
            {
                "attribute": segment.attribute,
                "value": segment.value,
                "model": _estimates(segment.model),
                "rules": _estimates(segment.rules),
                **_differences(segment.difference),
            }
            for segment in comparison.segments
        ],
        "by_week": _rows(comparison.by_week),
        "curves": {name: _rows(curve) for name, curve in comparison.curves.items()},
        "notes": list(comparison.notes),
        "sentences": sentences(comparison),
    }


def read_record(bundle: Path) -> dict[str, Any] | None:
    """Return the record in a bundle whose digests were checked; None for one without."""
    path = bundle / COMPARISON_FILE
    if not path.is_file():
        return None
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def comparison_lines(record: Mapping[str, Any]) -> list[str]:
    """Return what `closedwon compare` prints for people."""
    told, window, wins = record["sentences"], record["window"], record["wins"]
    lines = [*wrapped(told["verdict"]), ""]
    if record["is_dated"]:
        both = (
            f"Both decided week by week over the same leads, {window['weeks']} weeks from "
            f"{window['from']}. {wins['scored']:,} won deals could be found; "
            f"{wins['unscored']:,} had no lead to flag beforehand."
        )
        lines += [*wrapped(both), ""]
    lines += [
        f"{'model, rules, difference':35}{'MQLs':>16}{'share that closes':>29}{'wins found':>29}"
    ]
    lines += [_line(name, record[name]) for name in PAIR_TITLES if name in record]
    rest = (
        "undated", "as_set", "model_qualifies", "rules_qualifies", "swaps", "work", "overturn"
    )  # fmt: skip
    sentences_told = [told[name] for name in rest if told.get(name)]
    sentences_told += [f"Mind: {note}" for note in record.get("notes", ())]
    return [*lines, *(line for one in sentences_told for line in ("", *wrapped(one)))]


def wrapped(sentence: str) -> list[str]:
    """Return a sentence as lines of at most 100 characters."""
    return textwrap.wrap(sentence, 100, break_long_words=False)


def _line(name: str, pair: Mapping[str, Any]) -> str:
    weekly = "mqls_per_week" if "mqls_per_week" in pair["rules"] else "mqls"
    volumes = ", ".join(_volume(pair[side].get(weekly)) for side in ("model", "rules"))
    title = pair_title(name, pair.get("is_equal", True))
    cells = [
        f"{share(_value(pair['model'], figure))}, {share(_value(pair['rules'], figure))}, "
        f"{_interval(pair.get(f'{figure}_difference'))}"
        for figure in ("precision", "capture")
    ]
    return f"{title:35}{volumes:>16}{cells[0]:>29}{cells[1]:>29}"


def _volume(found: Mapping[str, float] | None) -> str:
    return "0.0" if found is None else f"{found['value']:,.1f}"


def _value(figures: Mapping[str, Any], name: str) -> float | None:
    found = figures.get(name)
    return None if found is None else found["value"]


def _interval(found: Mapping[str, float | None] | None) -> str:
    if found is None or found["low"] is None or found["high"] is None:
        return "-"
    return f"{100 * found['low']:+.1f} to {100 * found['high']:+.1f}"


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "model_cutoff": pair.model_cutoff,
        "rules_threshold": pair.rules_threshold,
        "is_equal": pair.is_equal,
        "model": _estimates(pair.model),
        "rules": _estimates(pair.rules),
        **_differences(pair.difference),
    }


def _differences(found: Mapping[str, Estimate]) -> dict[str, Any]:
    return {f"{name}_difference": _estimate(estimate) for name, estimate in found.items()}


def _group(group: Group) -> dict[str, Any]:
    rates = ("precision", "worked_share", "precision_worked", "precision_unworked", "without_work")
    counts = {"leads": group.leads, "won": group.won, "worked": group.worked}
    return {**counts, **{name: _estimate(getattr(group, name)) for name in rates}}


def _estimates(found: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: _estimate(estimate) for name, estimate in found.items()}


def _estimate(found: Estimate | None) -> dict[str, float | None] | None:
    if found is None:
        return None
    return {name: _number(getattr(found, name)) for name in ("value", "low", "high")}


def _number(value: Any) -> float | None:
    """Return a float of nine digits, null for NaN: a figure needs no more, and files stay small."""
    if value is None or not np.isfinite(value):
        return None
    return float(f"{value:.9g}")


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for row in table.to_dict("records"):
        plain = {
            str(name): str(value.date()) if isinstance(value, pd.Timestamp) else _number(value)
            for name, value in row.items()
        }
        rows.append(plain)
    return rows
