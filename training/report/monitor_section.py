"""The watch as a page, and as a section of the report: from one result of `closedwon monitor`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from training.monitor.history import read_latest
from training.report.charts import ACCENT, INK, QUIET, svg
from training.report.pages import write_page

WARN = "#b3541e"
TYPES_SHOWN = 6
SHORT_DAYS = 200
"Ticks of fewer days tell the day; the month would be told twice."


def write_monitor_page(result: Mapping[str, Any], page: Path) -> Path:
    """Write the page of one result, as `Monitored.as_dict` gives it, and return its path."""
    return write_page("monitor.html.j2", {"watch": monitor_section(result)}, page)


def latest_section(root: Path, champion: str) -> dict[str, Any] | None:
    """Return the section of the newest result under `root`; None unless it is `champion`'s."""
    result = read_latest(root)
    if result is None or result["model_version"] != champion:
        return None
    return monitor_section(result)


def monitor_section(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the template needs."""
    import markupsafe

    course = result["course"]
    charts = {
        "wins": ("Wins of each week, as recorded (bars) and as the scores before them expect "
                 "(line). The dotted line marks the end of the training data: left of it the model "
                 "knew the outcomes, so that it expects them well is no merit.", wins(course)),
        "evidence": ("Do wins differ from the promise? An alarm at this height would be false "
                     "about once in so many weeks. Above the dashed line, "
                     f"{course['threshold']:,.0f} weeks, it needs a person.", evidence(course)),
        "scores": ("Mean probability of all open leads, by week.", scores(course)),
        "mqls": ("Leads that crossed the cutoff for the first time, by week.", mqls(course)),
        "drifted": ("What is spread otherwise than in training, told by the feature that moved "
                    "furthest. From the line on it needs a person.", drifted(course)),
        "events": ("Events by type, as multiples of the last weeks before the training data ended: "
                   "those that moved furthest.", events(course)),
        "months": ("Observed over expected wins of each month's scores, with 90% intervals. "
                   "Open dots: not all is known yet.", months(result["months"])),
    }  # fmt: skip
    return {
        **{name: result[name] for name in ("model_version", "in_use", "data_until", "data_age",
                                           "trained_until", "weeks", "alarms", "notes")},
        "estimated": result["estimated"],
        "months": result["months"],
        "pictures": [
            # our own markup, rendered from numbers and names that Vega escapes
            {"caption": caption, "markup": markupsafe.Markup(svg(chart, height=200))}
            for caption, chart in charts.values()
            if chart is not None
        ],
    }  # fmt: skip


def _weeks(course: Mapping[str, Any], **columns: list[Any]) -> pd.DataFrame:
    n = min(len(values) for values in columns.values())
    return pd.DataFrame(
        {"week": pd.to_datetime(course["mondays"][:n]), **{k: v[:n] for k, v in columns.items()}}
    )


def _end_of_training(course: Mapping[str, Any]) -> Any:
    at = pd.DataFrame({"week": pd.to_datetime([course["mondays"][course["reference"] - 1]])})
    return alt.Chart(at).mark_rule(color=INK, strokeDash=[2, 3]).encode(x="week:T")


def _x(weeks: pd.Series | pd.DatetimeIndex) -> Any:
    """Return the axis of these weeks: a month has several ticks where they are few."""
    is_short = (weeks.max() - weeks.min()).days < SHORT_DAYS
    axis = alt.Axis(format="%-d %b" if is_short else "%b %y", tickCount=6, labelOverlap=True)
    return alt.X("week:T", title=None, axis=axis)


def wins(course: Mapping[str, Any]) -> Any:
    """Return observed (bars) and expected (line) wins by week."""
    rows = _weeks(course, observed=course["observed_wins"], expected=course["expected_wins"])
    rows = rows.dropna()
    if rows.empty:
        return None
    bars = alt.Chart(rows).mark_bar(color=QUIET, size=4).encode(
        x=_x(rows["week"]), y=alt.Y("observed:Q", title="Wins a week")
    )  # fmt: skip
    line = alt.Chart(rows).mark_line(color=ACCENT).encode(x="week:T", y="expected:Q")
    return bars + line + _end_of_training(course)


def evidence(course: Mapping[str, Any]) -> Any:
    """Return the e-values of every comparison by week, on a log scale."""
    n = max((len(values) for values in course["evidence"].values()), default=0)
    if n == 0:
        return None
    first = course["reference"]
    rows = pd.DataFrame(
        [
            {"week": course["mondays"][first + number], "what": name, "e": max(value, 0.01)}
            for name, values in course["evidence"].items()
            for number, value in enumerate(values)
        ]
    ).assign(week=lambda frame: pd.to_datetime(frame["week"]))
    lines = alt.Chart(rows).mark_line(point=n < 3).encode(
        x=_x(rows["week"]),
        y=alt.Y("e:Q", title="Weeks for one false alarm", scale=alt.Scale(type="log")),
        color=alt.Color("what:N", title=None, legend=alt.Legend(orient="bottom", columns=2)),
    )  # fmt: skip
    limit = alt.Chart(pd.DataFrame({"e": [course["threshold"]]}))
    return lines + limit.mark_rule(color=WARN, strokeDash=[5, 4]).encode(y="e:Q")


def scores(course: Mapping[str, Any]) -> Any:
    """Return the mean probability by week."""
    rows = _weeks(course, mean=course["mean_probability"])
    y = alt.Y("mean:Q", title="Mean probability", axis=alt.Axis(format=".1%"),
              scale=alt.Scale(zero=False))  # fmt: skip
    line = alt.Chart(rows).mark_line(color=ACCENT).encode(x=_x(rows["week"]), y=y)
    return line + _end_of_training(course)


def mqls(course: Mapping[str, Any]) -> Any:
    """Return first crossings by week."""
    rows = _weeks(course, mqls=course["mqls"])
    if not rows["mqls"].any():
        return None
    bars = alt.Chart(rows).mark_bar(color=QUIET, size=4).encode(
        x=_x(rows["week"]), y=alt.Y("mqls:Q", title="MQLs a week")
    )  # fmt: skip
    return bars + _end_of_training(course)


def drifted(course: Mapping[str, Any]) -> Any:
    """Return the PSI of what moved furthest."""
    if not course["drifted"]:
        return None
    rows = pd.DataFrame({"feature": list(course["drifted"]), "psi": course["drifted"].values()})
    rows = rows.sort_values("psi", ascending=False).head(10)
    bars = alt.Chart(rows).mark_bar(color=ACCENT).encode(
        x=alt.X("psi:Q", title="Population stability index"),
        y=alt.Y("feature:N", sort="-x", title=None, axis=alt.Axis(labelLimit=220)),
    )  # fmt: skip
    limit = alt.Chart(pd.DataFrame({"psi": [0.25]})).mark_rule(color=WARN, strokeDash=[5, 4])
    return bars + limit.encode(x="psi:Q")


def events(course: Mapping[str, Any]) -> Any:
    """Return events by type over their usual number; the types that moved furthest."""
    first = course["reference"]
    levels = {}
    for name, counts in course["events"].items():
        usual = float(np.median(counts[max(first - 13, 0) : first] or [0]))
        if usual > 0:
            levels[name] = [count / usual for count in counts]
    if not levels:
        return None
    moved = sorted(levels, key=lambda name: -abs(np.log(max(np.mean(levels[name][-4:]), 0.01))))
    shown = moved[:TYPES_SHOWN]
    weeks = pd.to_datetime(course["mondays"])
    rows = pd.concat(
        pd.DataFrame({"week": weeks, "type": name, "level": levels[name]}) for name in shown
    )
    lines = alt.Chart(rows).mark_line().encode(
        x=_x(weeks),
        y=alt.Y("level:Q", title="Times as usual"),
        color=alt.Color("type:N", title=None, sort=shown,
                        legend=alt.Legend(orient="bottom", columns=3)),
    )  # fmt: skip
    return lines + _end_of_training(course)


def months(cohorts: list[dict[str, Any]]) -> Any:
    """Return observed over expected wins by month of the scores."""
    rows = pd.DataFrame([month for month in cohorts if month["ratio"] is not None])
    if rows.empty:
        return None
    rows["known"] = np.where(rows["matured"] >= 1, "all known", "in part")
    x = alt.X("month:N", title=None, axis=alt.Axis(labelAngle=-60))
    one = alt.Chart(pd.DataFrame({"y": [1.0]})).mark_rule(color=QUIET).encode(y="y:Q")
    bars = alt.Chart(rows).mark_rule(color=ACCENT).encode(x=x, y="ratio_low:Q", y2="ratio_high:Q")
    dots = alt.Chart(rows).mark_point(size=60, color=ACCENT, opacity=1).encode(
        x=x,
        y=alt.Y("ratio:Q", title="Observed / expected"),
        fill=alt.Fill("known:N", legend=None,
                      scale=alt.Scale(domain=["all known", "in part"], range=[ACCENT, "white"])),
    )  # fmt: skip
    return one + bars + dots
