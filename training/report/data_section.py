"""The section of a page about the data: leakage audit, data quality, what was loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from features.loading.load_report import LoadReport
from features.quality.quality import Quality, grouped
from training.audit.findings import ADVICE, LEVELS, Audit
from training.report.data_charts import Picture, maturity_pictures, missing, volume_pictures

VERDICTS = {"block": "blocked", "undated": "cannot be dated", "flag": "used, look at it"}
NOT_ASKED = "nobody asked for it."


def data_section(
    loaded: LoadReport,
    quality: Quality | None,
    audit: Audit | None,
    audit_missing: str = NOT_ASKED,
    undated: Sequence[str] = (),
) -> dict[str, Any]:
    """Return what `data_section.html.j2` shows; `audit_missing` says why there is no audit."""
    levels = {finding.level for finding in audit.findings} if audit is not None else set()
    advice = [
        f"{ADVICE[level][0].upper()}{ADVICE[level][1:]}." for level in LEVELS if level in levels
    ]
    content: dict[str, Any] = {
        "audit": audit,
        "audit_missing": audit_missing,
        "advice": advice,
        "verdicts": VERDICTS,
        "undated": undated,
        "quality": quality,
        "loaded": loaded.lines(),
    }
    return content if quality is None else content | _pictures(quality)


def _pictures(quality: Quality) -> dict[str, Any]:
    volume, maturity = quality.volume, quality.maturity
    pictures = [] if volume is None else volume_pictures(volume)
    shown = {picture.title for picture in pictures}
    bars = missing(quality.columns)
    return {
        "findings": grouped(quality.findings),
        "volume": [_marked(picture) for picture in pictures],
        "changed": set() if volume is None else {change.event_type for change in volume.changes},
        "types_left_out": 0 if volume is None else len(set(volume.types) - shown),
        "missing": None if bars is None else _marked(bars),
        "maturity": []
        if maturity is None or len(maturity.months) < 2
        else [_marked(picture) for picture in maturity_pictures(maturity)],
    }


def _marked(picture: Picture) -> Picture:
    """Return the picture with its SVG trusted: our own markup, in which Vega escapes all names."""
    import markupsafe

    return replace(picture, markup=markupsafe.Markup(picture.markup))
