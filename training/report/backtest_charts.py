"""The pictures of a backtest: month by month, ageing, and what retraining less often costs."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from models.cutoff import Estimate
from training.backtest.ageing import MONTHLY, NEVER
from training.backtest.backtest import RULES, Backtest
from training.comparison.telling import has_interval
from training.report.charts import ACCENT, INK, QUIET, svg
from training.report.comparison_charts import RULES_COLOUR
from training.report.data_charts import Picture

NEVER_COLOUR = "#7a5195"
WHO = [MONTHLY, NEVER, RULES]
COLOURS = [ACCENT, NEVER_COLOUR, RULES_COLOUR]
LEAST_MONTHS = 3
"""An age seen in fewer months is left out of the pictures: it tells more of those months."""
BY_MONTH = {
    "precision": ("Share of MQLs that close", "%"),
    "capture": ("Share of won deals found", "%"),
    "mqls_per_week": ("MQLs a week", ",.2~r"),
    "value_per_week": ("Earned a week after contact costs", ",.3~r"),
}
CADENCE_FIGURES = {
    "log_loss_share": ("Log loss", "scores", "+%", "Log loss, against every month"),
    "found": ("Deals found", "equal_volume", "+,.2~r", "Won deals found, against every month"),
    "value_per_week": ("Value", "as_set", "+,.2~r", "Earned a week, against every month"),
}  # fmt: skip


def pictures(found: Backtest) -> dict[str, Picture]:
    """Return the pictures there is something to show in."""
    drawn = {name: _month_picture(found, name) for name in BY_MONTH}
    drawn["extra"] = _extra_picture(found)
    drawn |= {f"age_{name}": _age_picture(found, name) for name in AGE_FIGURES}
    drawn |= {f"cadence_{name}": _cadence_picture(found, name) for name in CADENCE_FIGURES}
    return {name: picture for name, picture in drawn.items() if picture is not None}


def _row(gap: Estimate, **named: Any) -> dict[str, Any]:
    ends = (gap.low, gap.high) if has_interval(gap) else (gap.value, gap.value)
    return {**named, "value": gap.value, "low": ends[0], "high": ends[1]}


def _month_picture(found: Backtest, figure: str) -> Picture | None:
    title, form = BY_MONTH[figure]
    rows = [
        _row(figures[figure], month=month["month"], who=who)
        for who, by_month in found.by_month.items()
        for month, figures in zip(found.months, by_month, strict=True)
        if figure in figures
    ]
    if not rows:
        return None
    there = [who for who in WHO if who in found.by_month]
    base = alt.Chart(pd.DataFrame(rows)).encode(
        x=alt.X("month:O", title=None, axis=_months_axis(found)),
        xOffset=alt.XOffset("who:N", sort=there),
        color=alt.Color(
            "who:N",
            title=None,
            scale=alt.Scale(domain=there, range=COLOURS[: len(there)]),
            legend=alt.Legend(orient="top", symbolType="circle", symbolOpacity=1, labelLimit=200,
                              labelExpr="{'every month': 'retrained every month', 'never': 'never "
                              "retrained', 'rules': 'rules'}[datum.label]"),
        ),
    )  # fmt: skip
    y = alt.Y("low:Q", title=title, axis=alt.Axis(format=form, tickCount=5))
    spans = base.mark_rule(strokeWidth=2, opacity=0.45).encode(y=y, y2="high:Q")
    chart = spans + base.mark_circle(size=45, opacity=1).encode(y="value:Q")
    caption = f"{title}, each with its own cutoff; the bars are 90% intervals"
    return Picture(title, f"{caption}.", svg(chart))


def _months_axis(found: Backtest) -> Any:
    many = len(found.months) > 14
    return alt.Axis(labelAngle=-40, labelOverlap="greedy" if many else False)


def _extra_picture(found: Backtest) -> Picture | None:
    rows = [
        _row(figures["extra_log_loss"], month=month["month"])
        for month, figures in zip(found.months, found.by_month[NEVER], strict=True)
        if "extra_log_loss" in figures
    ]
    if not rows:
        return None
    base = alt.Chart(pd.DataFrame(rows)).encode(
        x=alt.X("month:O", title=None, axis=_months_axis(found))
    )
    y = alt.Y("low:Q", title="Extra log loss", axis=alt.Axis(format="+.3~f", tickCount=5))
    spans = base.mark_rule(strokeWidth=2, opacity=0.45, color=NEVER_COLOUR).encode(y=y, y2="high:Q")
    dots = base.mark_circle(size=60, opacity=1, color=NEVER_COLOUR).encode(y="value:Q")
    return Picture(
        "What the first model loses",
        f"Log loss of the model of {found.months[0]['month']} less that of the month's own model, "
        "on the same leads; above 0 is worse.",
        svg(_zero("y") + spans + dots),
    )


AGE_FIGURES = {
    "log_loss_share": ("More log loss", "scores", "+%", "above 0 is worse"),
    "auc": ("AUC, more or less", "scores", "+.3~f", "below 0 is worse"),
    "calibration_error": ("Calibration error, more or less", "scores", "+.1%", "above 0 is worse"),
    "precision": ("Share of MQLs that close, more or less", "decisions", "+%", "below 0 is worse"),
    "capture": ("Share of deals found, more or less", "decisions", "+%", "below 0 is worse"),
    "mqls_per_week": ("MQLs a week, more or fewer", "decisions", "+,.2~r", "0 is the same volume"),
}


def _age_picture(found: Backtest, figure: str) -> Picture | None:
    title, part, form, sign = AGE_FIGURES[figure]
    rows = [
        _row(getattr(one, part)[figure], age=one.age_months)
        for one in found.ageing
        if figure in getattr(one, part) and (one.months >= LEAST_MONTHS or one.age_months == 1)
    ]
    if not rows:
        return None
    rows = [{"age": 0, "value": 0.0, "low": 0.0, "high": 0.0}, *rows]
    ages = [row["age"] for row in rows]
    base = alt.Chart(pd.DataFrame(rows)).encode(
        x=alt.X("age:Q", title="Age of the model in months", axis=alt.Axis(values=ages, format="d"))
    )
    y = alt.Y("low:Q", title=title, axis=alt.Axis(format=form, tickCount=5))
    band = base.mark_area(opacity=0.18, color=ACCENT).encode(y=y, y2="high:Q")
    line = base.mark_line(color=ACCENT, strokeWidth=2.5, point=alt.OverlayMarkDef(color=ACCENT))
    chart = _zero("y") + band + line.encode(y="value:Q")
    caption = f"{title} than a fresh model on the same leads, by age, with 90% intervals; {sign}."
    return Picture(title, caption, svg(chart))


def _cadence_picture(found: Backtest, figure: str) -> Picture | None:
    title, part, form, axis = CADENCE_FIGURES[figure]
    rows = [
        _row(getattr(one, part)[figure], name=one.name)
        for one in found.cadences
        if figure in getattr(one, part)
    ]
    if not rows:
        return None
    order = [row["name"] for row in rows]
    y = alt.Y("name:N", sort=order, title=None, axis=alt.Axis(labelLimit=160))
    x = alt.X("low:Q", title=axis, axis=alt.Axis(format=form, tickCount=5))
    base = alt.Chart(pd.DataFrame(rows)).encode(y=y)
    spans = base.mark_rule(strokeWidth=3, opacity=0.45, color=ACCENT).encode(x=x, x2="high:Q")
    chart = (
        _zero("x") + spans + base.mark_circle(size=90, opacity=1, color=ACCENT).encode(x="value:Q")
    )
    caption = f"{axis}, with 90% intervals."
    return Picture(title, caption, svg(chart, height=40 * len(rows)))


def _zero(axis: str) -> Any:
    at = alt.Chart(pd.DataFrame({"at": [0.0]}))
    mark = at.mark_rule(color=INK if axis == "x" else QUIET, strokeDash=[4, 4])
    return mark.encode(**{axis: alt.X("at:Q") if axis == "x" else alt.Y("at:Q")})
