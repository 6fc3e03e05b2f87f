"""The pictures of the report, as SVG text, rendered without a network."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from models.cutoff import Cutoff
from training.cutoff import Curve
from training.replay import Replay

WIDTH, HEIGHT = 420, 260
INK, ACCENT, QUIET = "#1f2933", "#0b6e99", "#b6c2cd"
BINS = 10


def svg(chart: Any, width: int = WIDTH, height: int = HEIGHT) -> str:
    """Return the chart as SVG markup with our fonts and colours; sizes in pixels, without axes."""
    import vl_convert

    styled = (
        chart.properties(width=width, height=height, background="white")
        .configure(font="sans-serif")
        .configure_axis(labelColor=INK, titleColor=INK, gridColor="#eef2f5", titleFontWeight=600)
        .configure_view(stroke=None)
    )
    return str(vl_convert.vegalite_to_svg(styled.to_json()))


def reliability(test: pd.DataFrame) -> Any:
    """Return predicted against observed win rate over ten bins of equal row counts.

    `test`: won, probability, weight. The bars span two standard errors of the observed rate.
    """
    ordered = test.sort_values("probability", kind="stable")
    place = np.cumsum(ordered["weight"]) / ordered["weight"].sum()
    ordered = ordered.assign(bin=np.minimum((place * BINS).astype(int), BINS - 1))
    rows = []
    for _, part in ordered.groupby("bin"):
        weight = part["weight"].to_numpy()
        rate = float(np.average(part["won"], weights=weight))
        error = float(np.sqrt(max(rate * (1 - rate), 1e-9) / weight.sum()))
        rows.append(
            {
                "predicted": float(np.average(part["probability"], weights=weight)),
                "observed": rate,
                "low": max(rate - 2 * error, 0.0),
                "high": min(rate + 2 * error, 1.0),
            }
        )
    points = pd.DataFrame(rows)
    top = float(max(points["predicted"].max(), points["high"].max()))
    line = pd.DataFrame({"predicted": [0.0, top], "observed": [0.0, top]})
    x = alt.X("predicted:Q", title="Predicted probability", axis=alt.Axis(format="%"))
    y = alt.Y("observed:Q", title="Won", axis=alt.Axis(format="%"))
    diagonal = alt.Chart(line).mark_line(color=QUIET, strokeDash=[4, 4]).encode(x=x, y=y)
    base = alt.Chart(points)
    bars = base.mark_rule(color=ACCENT).encode(x="predicted:Q", y="low:Q", y2="high:Q")
    dots = base.mark_circle(color=ACCENT, size=60, opacity=1).encode(x=x, y=y)
    return diagonal + bars + dots


def captured(test: pd.DataFrame) -> Any:
    """Return the share of wins found in the top share of the rows, against chance."""
    ordered = test.sort_values("probability", ascending=False, kind="stable")
    rows = np.cumsum(ordered["weight"]) / ordered["weight"].sum()
    wins = np.cumsum((ordered["weight"] * ordered["won"]).to_numpy())
    wins = wins / max(float(wins[-1]), 1e-12)
    share = np.linspace(0, 1, 101)
    found = np.interp(share, np.append(0.0, rows), np.append(0.0, wins))
    names = ["model", "chance"]
    lines = pd.DataFrame(
        {
            "share": np.tile(share, 2),
            "found": np.append(found, share),
            "by": np.repeat(names, len(share)),
        }
    )
    return (
        alt.Chart(lines)
        .mark_line()
        .encode(
            x=alt.X("share:Q", title="Share of leads, best first", axis=alt.Axis(format="%")),
            y=alt.Y("found:Q", title="Share of wins among them", axis=alt.Axis(format="%")),
            color=alt.Color(
                "by:N",
                title=None,
                scale=alt.Scale(domain=names, range=[ACCENT, QUIET]),
                legend=alt.Legend(orient="bottom-right"),
            ),
        )
    )


def replayed_weeks(replay: Replay, cutoff: Cutoff) -> Any:
    """Return MQLs a week of the replay, the won among them marked."""
    weeks = replay.by_week(1.1 if cutoff.value is None else cutoff.value)
    weeks["open or lost"] = weeks["mqls"] - weeks["won"]
    long = weeks.melt("week", ["won", "open or lost"], var_name="outcome", value_name="leads")
    return (
        alt.Chart(long)
        .mark_bar(size=max(4, WIDTH // (2 * replay.weeks)))
        .encode(
            x=alt.X("yearmonthdate(week):T", title="Week"),
            y=alt.Y("leads:Q", title="MQLs"),
            color=alt.Color(
                "outcome:N",
                title=None,
                scale=alt.Scale(domain=["won", "open or lost"], range=[ACCENT, QUIET]),
                legend=alt.Legend(orient="top"),
            ),
            order=alt.Order("outcome:N", sort="descending"),
        )
    )


def cutoffs(curve: Curve, weeks: int, cutoff: Cutoff) -> Any:
    """Return precision over MQLs a week for every cutoff, the chosen one marked."""
    known = curve.mqls >= 5
    points = pd.DataFrame(
        {"volume": curve.mqls[known] / weeks, "precision": curve.precision[known]}
    )
    lines = alt.Chart(points).mark_line(color=QUIET, strokeWidth=3)
    lines = lines.encode(
        x=alt.X("volume:Q", title="MQLs a week (first crossings)"),
        y=alt.Y("precision:Q", title="Share of them won", axis=alt.Axis(format="%")),
        order="volume:Q",
    )
    if cutoff.value is None:
        return lines
    nearest = int(np.argmin(np.abs(curve.cutoff - cutoff.value)))
    chosen = pd.DataFrame(
        {"volume": [curve.mqls[nearest] / weeks], "precision": [curve.precision[nearest]]}
    )
    dot = alt.Chart(chosen).mark_circle(color=ACCENT, size=120, opacity=1)
    return lines + dot.encode(x="volume:Q", y="precision:Q")


def global_reasons(explained: pd.DataFrame, top: int = 15) -> Any:
    """Return the mean absolute contribution, in log-odds, of the strongest concepts."""
    told = explained[explained["family"] != "calibration"]
    leads = max(int((explained["rank"] == 1).sum()), 1)
    sums = told.assign(size=told["log_odds"].abs()).groupby(["concept", "family"])["size"].sum()
    strongest = (sums / leads).nlargest(top).reset_index()
    strongest["concept"] = strongest["concept"].str.replace("_", " ").str.replace(".", ": ")
    return (
        alt.Chart(strongest)
        .mark_bar()
        .encode(
            x=alt.X("size:Q", title="Mean size of the contribution (log-odds)"),
            y=alt.Y("concept:N", sort="-x", title=None, axis=alt.Axis(labelLimit=220)),
            color=alt.Color(
                "family:N",
                title=None,
                scale=alt.Scale(
                    domain=["fit", "engagement", "account"], range=["#7a5195", ACCENT, "#ef8a17"]
                ),
                legend=alt.Legend(orient="bottom-right"),
            ),
        )
    )
