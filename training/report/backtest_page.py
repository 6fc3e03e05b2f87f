"""The page of a backtest: first what it says, then the pictures, then the figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from models.cutoff import Estimate
from training.backtest.backtest import Backtest
from training.backtest.words import sentences
from training.comparison.telling import has_interval, number, share
from training.report.backtest_charts import pictures
from training.report.pages import write_page

PAGE = Path(".closedwon") / "backtest.html"


def write_backtest_page(found: Backtest, page: Path) -> Path:
    """Write the backtest as one self-contained HTML page, aside and then renamed."""
    import markupsafe

    # our own markup, rendered from numbers; Vega escapes the names
    drawn = {
        name: replace(picture, markup=markupsafe.Markup(picture.markup))
        for name, picture in pictures(found).items()
    }
    content = {
        "told": sentences(found),
        "months": found.months,
        "pictures": drawn,
        "cadences": _cadence_rows(found),
        "ages": _age_rows(found),
        "rules": _totals(found.rules_totals) if found.rules_totals else None,
        "has_money": any("value_per_week" in one.totals for one in found.cadences),
        "volume": found.volume,
        "month_rows": [
            {**month, "cutoff": "none" if month["cutoff"] is None else f"{month['cutoff']:.1%}"}
            for month in found.months
        ],
        "choices": found.choices,
        "notes": found.notes,
    }
    return write_page("backtest.html.j2", content, page)


def _totals(figures: dict[str, Estimate]) -> dict[str, str]:
    volume, value = figures.get("mqls_per_week"), figures.get("value_per_week")
    return {
        "volume": "-" if volume is None else number(volume.value),
        "precision": _share(figures.get("precision")),
        "capture": _share(figures.get("capture")),
        "value": "-" if value is None else _with_span(value, ",.0f"),
    }


def _cadence_rows(found: Backtest) -> list[dict[str, Any]]:
    return [
        {
            "name": one.name,
            "models": one.models,
            **_totals(one.totals),
            "log_loss": _gap(one.scores.get("log_loss_share"), "+.1%"),
            "found": _gap(one.equal_volume.get("found"), "+,.0f"),
        }
        for one in found.cadences
    ]


def _age_rows(found: Backtest) -> list[dict[str, Any]]:
    return [
        {
            "age": one.age_months,
            "months": one.months,
            "log_loss": _gap(one.scores.get("log_loss_share"), "+.1%"),
            "auc": _gap(one.scores.get("auc"), "+.3f"),
            "calibration": _gap(one.scores.get("calibration_error"), "+.2%"),
            "precision": _gap(one.decisions.get("precision"), "+.1%"),
            "capture": _gap(one.decisions.get("capture"), "+.1%"),
            "volume": _gap(one.decisions.get("mqls_per_week"), "+,.1f"),
        }
        for one in found.ageing
    ]


def _share(found: Estimate | None) -> str:
    if found is None or not has_interval(found):
        return share(found)
    return f"{share(found)} ({share(found.low)} to {share(found.high)})"


def _gap(found: Estimate | None, form: str) -> str:
    return "" if found is None else _with_span(found, form)


def _with_span(found: Estimate, form: str) -> str:
    text = _formatted(found.value, form)
    if found.low is None or found.high is None or not has_interval(found):
        return text
    return f"{text} ({_formatted(found.low, form)} to {_formatted(found.high, form)})"


def _formatted(value: float, form: str) -> str:
    """Return a number; what rounds to nothing has no sign.

    >>> _formatted(-0.0001, "+.1%"), _formatted(0.02, "+.1%")
    ('0.0%', '+2.0%')
    """
    text = format(value, form)
    return text if any(digit in text for digit in "123456789") else text.lstrip("+-")
