"""The pictures of the data: events by type with their gaps, what is missing, label maturity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from features.quality.column_quality import ColumnQuality
from features.quality.event_volume import EventVolume
from features.quality.maturity import Maturity
from features.quality.volume_changes import ALL, VolumeChange, change_findings
from training.report.charts import ACCENT, INK, QUIET, svg

ALARM = "#c05621"
MOST_TYPES = 12
MOST_COLUMNS = 30
SMALL_WIDTH, SMALL_HEIGHT = 250, 90
WIDE = 640


@dataclass(frozen=True)
class Picture:
    """A chart as SVG markup with what it shows."""

    title: str
    caption: str
    markup: str


def volume_pictures(volume: EventVolume) -> list[Picture]:
    """Return one small chart a type, the changed ones first, then the most frequent."""
    changed = {change.event_type for change in volume.changes}
    rows = sorted(range(len(volume.types)), key=lambda row: volume.types[row] not in changed)
    pictures = []
    shared = [change for change in volume.changes if change.event_type == ALL]
    if shared:
        pictures.append(_volume_picture(volume, ALL, volume.total, shared))
    for row in rows[: MOST_TYPES - len(pictures)]:
        name = volume.types[row]
        own = [change for change in volume.changes if change.event_type == name]
        pictures.append(_volume_picture(volume, name, volume.counts[row], own))
    return pictures


def _volume_picture(
    volume: EventVolume, name: str, counts: Any, changes: list[VolumeChange]
) -> Picture:
    findings = change_findings(tuple(changes))
    told = "; ".join(finding.text for finding in findings)
    caption = told or f"{counts.sum():,.0f} events"
    chart = _volume_chart(volume.days, counts, changes)
    return Picture(name, caption, svg(chart, SMALL_WIDTH, SMALL_HEIGHT))


def _volume_chart(days: Any, counts: Any, changes: list[VolumeChange]) -> Any:
    """Return the mean of seven days around each day, changes shaded."""
    window = np.ones(7)
    sums = np.convolve(counts, window, mode="same")
    mean = sums / np.convolve(np.ones(len(counts)), window, mode="same")
    daily = pd.DataFrame({"day": pd.to_datetime(days), "events": mean})
    axis = alt.Axis(
        format="%b %y", tickCount=4, grid=False, labelOverlap="greedy", labelSeparation=8
    )
    x = alt.X("day:T", title=None, axis=axis)
    y = alt.Y("events:Q", title="events a day", axis=alt.Axis(tickCount=3))
    area = alt.Chart(daily).mark_area(color=ACCENT, opacity=0.18).encode(x=x, y=y)
    line = alt.Chart(daily).mark_line(color=ACCENT, strokeWidth=1.2).encode(x=x, y=y)
    if not changes:
        return area + line
    after_last = days[-1] + np.timedelta64(1, "D")
    ends = [after_last if change.until is None else change.until for change in changes]
    spans = pd.DataFrame(
        {
            "from": pd.to_datetime(np.array([change.since for change in changes])),
            "to": pd.to_datetime(np.array(ends)),
            "colour": [ALARM if change.severity == "warn" else QUIET for change in changes],
        }
    )
    base = alt.Chart(spans)
    shade = base.mark_rect(opacity=0.25).encode(
        x="from:T", x2="to:T", color=alt.Color("colour:N", scale=None)
    )
    edge = base.mark_rule(strokeWidth=1.5).encode(
        x="from:T", color=alt.Color("colour:N", scale=None)
    )
    return shade + area + line + edge


def missing(columns: tuple[ColumnQuality, ...]) -> Picture | None:
    """Return the share of missing values by column, most first; None where nothing is missing."""
    shares = pd.DataFrame(
        {
            "column": [column.column for column in columns],
            "missing": [column.missing_share for column in columns],
        }
    )
    shares = shares[shares["missing"] > 0].nlargest(MOST_COLUMNS, "missing")
    if shares.empty:
        return None
    shares["share"] = [f"{share:.0%}" if share >= 0.01 else "<1%" for share in shares["missing"]]
    base = alt.Chart(shares).encode(
        y=alt.Y("column:N", sort="-x", title=None, axis=alt.Axis(labelLimit=230)),
        x=alt.X(
            "missing:Q",
            title="Missing",
            scale=alt.Scale(domain=[0, 1.1], nice=False),
            axis=alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1]),
        ),
    )
    bars = base.mark_bar(color=ACCENT)
    words = base.mark_text(align="left", dx=4, color=INK).encode(text="share:N")
    fewer = len(columns) > len(shares)
    caption = "Share of rows without a value, by column" + (
        "; columns not shown miss less, or nothing." if fewer else "."
    )
    height = max(60, 18 * len(shares))
    return Picture("Missing values", caption, svg(bars + words, WIDE - 260, height))


def maturity_pictures(maturity: Maturity) -> list[Picture]:
    """Return leads by month, matured or not, and the share of the matured that won."""
    months = pd.DataFrame(
        {
            "month": pd.to_datetime([month.month for month in maturity.months]),
            "matured": [month.matured for month in maturity.months],
            "too young": [month.leads - month.matured for month in maturity.months],
            "won": [month.won for month in maturity.months],
        }
    )
    x = alt.X("yearmonth(month):T", title="Month of creation", axis=alt.Axis(format="%b %y"))
    kinds = ["matured", "too young"]
    long = months.melt("month", kinds, var_name="kind", value_name="leads")
    bars = (
        alt.Chart(long)
        .mark_bar(size=max(3, 300 // max(len(months), 1)))
        .encode(
            x=x,
            y=alt.Y("leads:Q", title="Leads"),
            color=alt.Color(
                "kind:N",
                title=None,
                scale=alt.Scale(domain=kinds, range=[ACCENT, QUIET]),
                legend=alt.Legend(orient="top"),
            ),
            order=alt.Order("kind:N"),
        )
    )
    known = maturity.is_known and maturity.horizon_days is not None
    caption = (
        f"Leads by month of creation. Too young: not {maturity.horizon_days} days in the data yet."
        if known
        else "Rows by month."
    )
    pictures = [Picture("Leads by month", caption, svg(bars))]
    rates = _win_rates(months)
    if not rates.empty:
        won = "won" if maturity.horizon_days is None else f"won within {maturity.horizon_days} days"
        caption = f"Share of the matured leads {won}, by month of creation, 90% intervals."
        pictures.append(Picture("Win rate by month", caption, svg(_rate_chart(rates, x))))
    return pictures


def _win_rates(months: pd.DataFrame) -> pd.DataFrame:
    """Return win rates with Wilson's 90% intervals, of the months with matured leads."""
    known = months[months["matured"] > 0]
    n, won, z = known["matured"], known["won"], 1.645
    rate = won / n
    middle = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    return pd.DataFrame(
        {
            "month": known["month"],
            "rate": rate,
            "low": (middle - half).clip(lower=0),
            "high": (middle + half).clip(upper=1),
        }
    )


def _rate_chart(rates: pd.DataFrame, x: Any) -> Any:
    base = alt.Chart(rates)
    y = alt.Y("rate:Q", title="Won", axis=alt.Axis(format="%"), scale=alt.Scale(zero=True))
    line = base.mark_line(color=QUIET).encode(x=x, y=y)
    bars = base.mark_rule(color=ACCENT).encode(x=x, y="low:Q", y2="high:Q")
    dots = base.mark_circle(color=ACCENT, size=50, opacity=1).encode(x=x, y=y)
    return line + bars + dots
