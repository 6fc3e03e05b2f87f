"""The pictures of the funnel: stages, cohorts, campaigns, traits, segments."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from models.cutoff import Estimate
from training.funnel.campaigns import Campaign
from training.funnel.personas import Trait
from training.funnel.segment_tree import Segment
from training.funnel.stages import Conversion, Group
from training.report.charts import ACCENT, INK, QUIET, svg
from training.report.data_charts import Picture

STAGE_NAMES = {"sal": "SAL", "sql": "SQL", "opportunity": "Opportunity", "won": "Won"}
FIT, BEHAVIOUR = "#7a5195", ACCENT
"As the families of the global reasons."
ROW = 24
"Pixels a bar or a dot takes."


def stages_picture(conversion: Conversion) -> Picture:
    """Return the share of the matured MQLs that reached each stage."""
    rows = pd.DataFrame(
        [{"stage": "MQL", "share": 1.0, "low": 1.0, "high": 1.0, "leads": conversion.matured}]
        + [
            {"stage": STAGE_NAMES[step.stage], **_interval(step.of_mqls), "leads": step.reached}
            for step in conversion.steps
        ]
    )
    rows["told"] = [
        f"{leads:,} ({share:.0%})"
        for leads, share in zip(rows["leads"], rows["share"], strict=True)
    ]
    order = list(rows["stage"])
    y = alt.Y("stage:N", sort=order, title=None)
    x = alt.X(
        "share:Q",
        title="Share of MQLs",
        scale=alt.Scale(domain=[0, 1.3], nice=False),
        axis=alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1]),
    )
    base = alt.Chart(rows).encode(y=y)
    bars = base.mark_bar(color=ACCENT, opacity=0.85).encode(x=x)
    spans = base.mark_rule(color=INK, strokeWidth=2).encode(x="low:Q", x2="high:Q")
    words = base.mark_text(align="left", dx=5, color=INK).encode(x="high:Q", text="told:N")
    caption = (
        f"MQLs at least {conversion.horizon_days} days old, and how many of them got to each stage "
        f"or further within {conversion.horizon_days} days; lines are 90% intervals."
    )
    return Picture("From MQL to win", caption, svg(bars + spans + words, height=180))


def cohort_pictures(months: tuple[Group, ...]) -> list[Picture]:
    """Return the MQLs by month, the young ones marked, and the share of the others that won."""
    counts = pd.DataFrame(
        {
            "month": pd.to_datetime([group.name for group in months]),
            "won": [group.reached["won"] for group in months],
            "not won": [_lost(group) for group in months],
            "too young to tell": [
                group.mqls - group.reached["won"] - _lost(group) for group in months
            ],
        }
    )
    kinds = ["won", "not won", "too young to tell"]
    x = alt.X(
        "yearmonth(month):T",
        title="Month of the MQL",
        axis=alt.Axis(format="%b %y"),
        scale=alt.Scale(padding=12),  # whole bars and dots at both ends
    )
    bars = (
        alt.Chart(counts.melt("month", kinds, var_name="kind", value_name="mqls"))
        .mark_bar(size=max(3, 300 // max(len(months), 1)))
        .encode(
            x=x,
            y=alt.Y("mqls:Q", title="MQLs"),
            color=alt.Color(
                "kind:N",
                title=None,
                scale=alt.Scale(domain=kinds, range=[ACCENT, "#7d8c99", "#dfe6ec"]),
                legend=alt.Legend(orient="top"),
            ),
            order=alt.Order("kind:N", sort="descending"),
        )
    )
    caption = "MQLs by month. Months whose MQLs are too young to tell have no rate."
    pictures = [Picture("MQLs by month", caption, svg(bars))]
    rates = pd.DataFrame(
        [
            {"month": pd.Timestamp(group.name), **_interval(group.rates["won"])}
            for group in months
            if group.rates is not None
        ]
    )
    if len(rates) > 1:
        caption = "Share of each month's MQLs that won within the horizon, 90% intervals."
        pictures.append(Picture("Win rate by month of the MQL", caption, svg(_dated(rates, x))))
    return pictures


def _lost(group: Group) -> int:
    """Return the MQLs of a matured month that did not win; 0 while it is young."""
    return group.mqls - group.reached["won"] if group.matured == group.mqls else 0


def _dated(rates: pd.DataFrame, x: Any) -> Any:
    base = alt.Chart(rates)
    y = alt.Y("share:Q", title="Won", axis=alt.Axis(format="%"), scale=alt.Scale(zero=True))
    line = base.mark_line(color=QUIET).encode(x=x, y=y)
    spans = base.mark_rule(color=ACCENT).encode(x=x, y="low:Q", y2="high:Q")
    return line + spans + base.mark_circle(color=ACCENT, size=50, opacity=1).encode(x=x, y=y)


def campaigns_picture(campaigns: list[Campaign]) -> Picture:
    """Return each campaign's win rate as counted and as ranked."""
    rows = pd.DataFrame(
        [
            {"name": campaign.campaign, **_interval(campaign.win_rate), "shrunk": shrunk}
            for campaign in campaigns
            if campaign.win_rate is not None and (shrunk := campaign.win_rate_shrunk) is not None
        ]
    )
    y = alt.Y("name:N", sort=list(rows["name"]), title=None, axis=alt.Axis(labelLimit=170))
    x = alt.X("share:Q", title="Share of leads that won", axis=alt.Axis(format="%"))
    base = alt.Chart(rows).encode(y=y)
    spans = base.mark_rule(color=QUIET, strokeWidth=2).encode(x=alt.X("low:Q"), x2="high:Q")
    dots = base.mark_circle(color=QUIET, size=60, opacity=1).encode(x=x)
    ticks = base.mark_tick(color=ACCENT, thickness=4, size=16).encode(x="shrunk:Q")
    caption = (
        "Win rate of the leads each campaign brought: as counted (grey, 90% interval), and with "
        "the luck of small numbers taken out (blue)."
    )
    return Picture("Campaigns", caption, svg(spans + dots + ticks, 360, max(60, ROW * len(rows))))


def traits_picture(title: str, traits: tuple[Trait, ...]) -> Picture:
    """Return how many times as often leads with each trait close, on a scale of ratios."""
    rows = pd.DataFrame(
        [
            {
                "name": f"{number}",
                "colour": FIT if trait.family == "fit" else BEHAVIOUR,
                **_interval(trait.times),
            }
            for number, trait in enumerate(traits, start=1)
        ]
    )
    # A trait that never closed has no lower end worth drawing.
    rows[["share", "low"]] = rows[["share", "low"]].clip(lower=0.01)
    y = alt.Y("name:N", sort=list(rows["name"]), title=None)
    x = alt.X(
        "share:Q",
        title="Closes so many times as often as the rest",
        scale=alt.Scale(type="log"),
        axis=alt.Axis(values=[0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50], format="~g"),
    )
    base = alt.Chart(rows).encode(y=y, color=alt.Color("colour:N", scale=None))
    spans = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q"), x2="high:Q")
    dots = base.mark_circle(size=70, opacity=1).encode(x=x)
    one = alt.Chart(pd.DataFrame({"share": [1.0]})).mark_rule(color=INK, strokeDash=[4, 4])
    caption = "The traits of the list, by number; the dashed line is the rest."
    chart = one.encode(x="share:Q") + spans + dots
    return Picture(title, caption, svg(chart, height=max(60, ROW * len(rows))))


def segments_picture(segments: tuple[Segment, ...]) -> Picture:
    """Return the win rate of each segment beside the mean score the model gave it."""
    rows = pd.DataFrame(
        [
            {"name": f"{number}", **_interval(segment.win_rate), "score": segment.mean_score}
            for number, segment in enumerate(segments, start=1)
            if segment.win_rate is not None
        ]
    )
    y = alt.Y("name:N", sort=list(rows["name"]), title="Segment")
    x = alt.X("share:Q", title="Share that won", axis=alt.Axis(format="%"))
    base = alt.Chart(rows).encode(y=y)
    spans = base.mark_rule(color=ACCENT, strokeWidth=2).encode(x=alt.X("low:Q"), x2="high:Q")
    dots = base.mark_circle(color=ACCENT, size=70, opacity=1).encode(x=x)
    ticks = base.mark_tick(color=INK, thickness=3, size=16).encode(x="score:Q")
    caption = (
        "Win rate on test rows (blue, 90% interval) and the mean probability the model gave "
        "(black), by segment."
    )
    return Picture("Segments", caption, svg(spans + dots + ticks, height=max(60, ROW * len(rows))))


def _interval(found: Estimate | None) -> dict[str, float]:
    assert found is not None and found.low is not None and found.high is not None
    return {"share": found.value, "low": found.low, "high": found.high}
