"""The pictures of the comparison: MQLs week by week, what every volume brings, the swaps."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from training.comparison.comparison import EQUAL_VOLUME, Comparison
from training.comparison.swaps import SWAP_INS, SWAP_OUTS
from training.report.charts import ACCENT, svg
from training.report.data_charts import Picture

RULES_COLOUR = "#ef8a17"
WHO = ["model", "rules"]
COLOURS = alt.Scale(domain=WHO, range=[ACCENT, RULES_COLOUR])
LEGEND = alt.Legend(orient="top", symbolType="square", symbolOpacity=1)
LEAST_ON_CURVE = 30
"MQLs; the share won of fewer jumps too much to be drawn."


def pictures(comparison: Comparison) -> dict[str, Picture]:
    """Return the pictures there is something to show in."""
    curves = {"precision": "Share of MQLs that close", "capture": "Share of wins found"}
    drawn = {name: _curve_picture(comparison, name, title) for name, title in curves.items()}
    found = {name: picture for name, picture in drawn.items() if picture is not None}
    if len(comparison.by_week) > 1:
        found["weeks"] = Picture(
            "Week by week",
            "MQLs of each week at equal volume, and the dark part of them that closed.",
            svg(_week_chart(comparison.by_week)),
        )
    if comparison.swaps is not None and len(comparison.swaps.leads):
        found["swaps"] = Picture(
            "Leads that only one of them flags",
            "Share that closed with its 90% interval, of all and by whether sales worked them.",
            svg(_swap_chart(comparison), height=200),
        )
    return found


def _curve_picture(comparison: Comparison, figure: str, title: str) -> Picture | None:
    """Return a figure over every volume; None where no volume has it."""
    name = "mqls_per_week" if comparison.is_dated else "mqls"
    volume = "MQLs a week" if comparison.is_dated else "MQLs"
    weeks = comparison.weeks if comparison.is_dated else 1
    points = pd.concat(
        [
            _falling(curve.rename(columns={name: "volume"})).assign(who=who)
            for who, curve in comparison.curves.items()
        ]
    )
    points = points[points["volume"] * weeks >= LEAST_ON_CURVE].dropna(subset=[figure])
    # Down to where even the rules find nearly everything; beyond, both lines run together.
    pair = comparison.pairs.get(EQUAL_VOLUME)
    if pair is not None:
        points = points[points["volume"] <= 4 * pair.rules[name].value]
    if points.empty:
        return None
    x = alt.X("volume:Q", title=volume)
    y = alt.Y(f"{figure}:Q", title=title, axis=alt.Axis(format="%"), scale=alt.Scale(zero=True))
    color = alt.Color("who:N", title=None, scale=COLOURS, legend=LEGEND)
    lines = alt.Chart(points).mark_line(strokeWidth=2.5).encode(
        x=x, y=y, color=color, order="cutoff:Q"
    )  # fmt: skip
    caption = f"{title}, for every cutoff of the model and every threshold of the rules"
    if pair is None or not pair.is_equal or not (figure in pair.model and figure in pair.rules):
        return Picture(title, f"{caption}.", svg(lines))
    dots = pd.DataFrame(
        {
            "volume": [side[name].value for side in (pair.model, pair.rules)],
            figure: [side[figure].value for side in (pair.model, pair.rules)],
            "who": WHO,
        }
    )
    marks = alt.Chart(dots).mark_circle(size=110, opacity=1).encode(x=x, y=y, color=color)
    return Picture(title, f"{caption}. The dots: equal volume.", svg(lines + marks))


def _falling(curve: pd.DataFrame) -> pd.DataFrame:
    """Return the cutoffs whose volume falls as they rise.

    Lower ones make fewer MQLs: their leads were above them before the weeks began.
    """
    return curve.iloc[int(curve["volume"].argmax()) :] if len(curve) else curve


def _week_chart(by_week: pd.DataFrame) -> Any:
    long = pd.concat(
        [
            pd.DataFrame(
                {
                    "week": by_week["week"],
                    "who": who,
                    "mqls": by_week[f"{who}_mqls"],
                    "won": by_week[f"{who}_won"],
                }
            )
            for who in WHO
        ]
    )
    base = alt.Chart(long).encode(
        x=alt.X(
            "yearmonthdate(week):O",
            title="Week",
            axis=alt.Axis(format="%d %b", labelOverlap="greedy", labelAngle=0, labelSeparation=6),
        ),
        xOffset=alt.XOffset("who:N", sort=WHO),
        color=alt.Color("who:N", title=None, scale=COLOURS, legend=LEGEND),
    )
    everything = base.mark_bar(opacity=0.35).encode(y=alt.Y("mqls:Q", title="MQLs"))
    return everything + base.mark_bar().encode(y="won:Q")


def _swap_chart(comparison: Comparison) -> Any:
    assert comparison.swaps is not None
    kinds = {
        "precision": "all",
        "precision_worked": "worked by sales",
        "precision_unworked": "not worked",
    }
    rows = []
    for group, who in ((SWAP_INS, WHO[0]), (SWAP_OUTS, WHO[1])):
        for rate, kind in kinds.items():
            found = getattr(comparison.swaps.groups[group], rate)
            if found is not None and found.low is not None:
                rows.append(
                    {"who": who, "kind": kind, "rate": found.value, "low": found.low,
                     "high": found.high}
                )  # fmt: skip
    base = alt.Chart(pd.DataFrame(rows)).encode(
        y=alt.Y("kind:N", sort=list(kinds.values()), title=None),
        yOffset=alt.YOffset("who:N", sort=WHO),
        color=alt.Color(
            "who:N",
            title=None,
            scale=COLOURS,
            legend=alt.Legend(
                orient="top",
                symbolType="circle",
                symbolOpacity=1,
                labelExpr="datum.label == 'model' ? 'swapped in' : 'swapped out'",
            ),
        ),
    )
    x = alt.X("low:Q", title="Share that closed", axis=alt.Axis(format="%"))
    spans = base.mark_rule(strokeWidth=3, opacity=0.5).encode(x=x, x2="high:Q")
    return spans + base.mark_circle(size=90, opacity=1).encode(x="rate:Q")
