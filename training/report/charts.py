"""The pictures of the report, as SVG text, rendered without a network."""

from __future__ import annotations

import json
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from models.cutoff import Cutoff
from training.cutoffs.cutoff import Curve
from training.reliability import ACCOUNTS_A_BIN, BINS, rates_by, reliability_bins
from training.replay import Replay, decided
from training.segments import MISSING

WIDTH, HEIGHT = 420, 260
INK, ACCENT, QUIET = "#1f2933", "#0b6e99", "#b6c2cd"
MOST_SEGMENTS = 6
SEGMENT_BINS = 5
SCORE_BANDS = 30
PROBABILITY_MARKS = (0.0001, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 0.9)
_STYLE = {
    "font": "sans-serif",
    "axis": {"labelColor": INK, "titleColor": INK, "gridColor": "#eef2f5", "titleFontWeight": 600},
    "view": {"stroke": None},
}


def svg(chart: Any, width: int = WIDTH, height: int = HEIGHT) -> str:
    """Return the chart as SVG markup with our fonts and colours; sizes in pixels, without axes."""
    import vl_convert

    # Altair would check it against its schema, and copy it whole for every setting: twice the time.
    # The tests check it (tests/test_charts.py).
    spec = chart.to_dict(validate=False)
    spec |= {"width": width, "height": height, "background": "white"}
    spec["config"] |= _STYLE
    return str(vl_convert.vegalite_to_svg(json.dumps(spec, sort_keys=True)))


def reliability(test: pd.DataFrame, bins: int = BINS) -> Any:
    """Return predicted against observed win rate, over bins of about equal expected wins.

    `test`: won, probability, weight, account. The bars are the 90% intervals of
    `training.reliability`; an open dot has too few wins for one.
    """
    points = rates_by(test, reliability_bins(test, bins))
    top = float(np.nanmax(points[["predicted", "observed", "high"]].to_numpy(float)))
    line = pd.DataFrame({"predicted": [0.0, top], "observed": [0.0, top]})
    x = alt.X("predicted:Q", title="Predicted probability", axis=alt.Axis(format="%", tickCount=5))
    y = alt.Y("observed:Q", title="Won", axis=alt.Axis(format="%", tickCount=5))
    diagonal = alt.Chart(line).mark_line(color=QUIET, strokeDash=[4, 4]).encode(x=x, y=y)
    judged = alt.Chart(points[points["low"].notna()])
    bars = judged.mark_rule(color=ACCENT).encode(x="predicted:Q", y="low:Q", y2="high:Q")
    dots = judged.mark_circle(color=ACCENT, size=60, opacity=1).encode(x=x, y=y)
    unknown = alt.Chart(points[points["low"].isna()])
    rings = unknown.mark_point(color=ACCENT, size=60, opacity=1).encode(x=x, y=y)
    return diagonal + bars + dots + rings


def reliability_of_segments(test: pd.DataFrame, segment: pd.Series) -> dict[str, Any]:
    """Return the reliability curve of each of the largest segments, at most six, largest first.

    `segment` holds one category, row by row with `test`. Segments with too few wins for three
    bins are left out: two dots are no curve.
    """
    values = segment.astype("str").fillna(MISSING).to_numpy()
    won_accounts = test["account"].where(test["won"] > 0).groupby(values).nunique()
    told = won_accounts.index[won_accounts >= 3 * ACCOUNTS_A_BIN]
    rows = pd.Series(values).value_counts().sort_index()
    largest = rows[told].sort_values(ascending=False, kind="stable").index[:MOST_SEGMENTS]
    return {str(value): reliability(test[values == value], SEGMENT_BINS) for value in largest}


def segments(rates: pd.DataFrame) -> Any:
    """Return the observed win rate of each segment with its interval, and what was predicted.

    `rates` of `training.segments.segment_rates`, of one attribute. An open dot has too few wins
    for an interval.
    """
    order = rates["value"].tolist()
    y = alt.Y("value:N", sort=order, title=None, axis=alt.Axis(labelLimit=160))
    x = alt.X("observed:Q", title="Won", axis=alt.Axis(format="%", tickCount=5))
    judged, unknown = rates[rates["low"].notna()], rates[rates["low"].isna()]
    bars = alt.Chart(judged).mark_rule(color=ACCENT).encode(y=y, x=alt.X("low:Q"), x2="high:Q")
    dots = alt.Chart(judged).mark_circle(color=ACCENT, size=60, opacity=1).encode(x=x, y=y)
    rings = alt.Chart(unknown).mark_point(color=ACCENT, size=60, opacity=1).encode(x=x, y=y)
    ticks = alt.Chart(rates).mark_tick(color=INK, thickness=2, size=14)
    return bars + dots + rings + ticks.encode(x=alt.X("predicted:Q", title="Won"), y=y)


def distribution(test: pd.DataFrame, cutoff: Cutoff) -> Any:
    """Return which share of the leads that may become an MQL has which probability.

    `test`: probability, weight, is_eligible. Bands are equal in log-odds, as scores are made.
    """
    may = test[test["is_eligible"]]
    log_odds = _log_odds(may["probability"].to_numpy())
    bounds = np.linspace(log_odds.min(), log_odds.max() + 1e-9, SCORE_BANDS + 1)
    share, _ = np.histogram(log_odds, bounds, weights=may["weight"].to_numpy())
    bands = pd.DataFrame({"low": bounds[:-1], "high": bounds[1:], "share": share / share.sum()})
    marks = np.array(
        [mark for mark in PROBABILITY_MARKS if bounds[0] < _log_odds(mark) < bounds[-1]]
    )
    axis = alt.Axis(
        values=_log_odds(marks).tolist(), labelExpr="format(1 / (1 + exp(-datum.value)), '.1~%')"
    )
    bars = (
        alt.Chart(bands)
        .mark_bar(color=ACCENT)
        .encode(
            x=alt.X("low:Q", title="Probability", axis=axis, scale=alt.Scale(zero=False)),
            x2="high:Q",
            y=alt.Y("share:Q", title="Share of leads", axis=alt.Axis(format="%")),
            y2=alt.datum(0),
        )
    )
    if cutoff.value is None or not 0 < cutoff.value < 1:
        return bars
    at = pd.DataFrame({"low": [float(_log_odds(np.float64(cutoff.value)))]})
    rule = alt.Chart(at).mark_rule(color=INK, strokeDash=[4, 4], strokeWidth=2)
    return bars + rule.encode(x="low:Q")


def _log_odds(probability: Any) -> Any:
    return np.log(probability / (1 - probability))


def captured(test: pd.DataFrame) -> Any:
    """Return the share of wins found in the top share of the rows, against chance."""
    share, found = _found_in_top(test)
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


def lift(test: pd.DataFrame) -> Any:
    """Return how many times as often the top share of the rows wins as all do."""
    share, found = _found_in_top(test)
    points = pd.DataFrame({"share": share[1:], "lift": found[1:] / share[1:]})
    x = alt.X("share:Q", title="Share of leads, best first", axis=alt.Axis(format="%"))
    line = alt.Chart(points).mark_line(color=ACCENT)
    line = line.encode(x=x, y=alt.Y("lift:Q", title="Win rate over that of all"))
    one = alt.Chart(pd.DataFrame({"lift": [1.0]})).mark_rule(color=QUIET)
    return one.encode(y="lift:Q") + line


def _found_in_top(test: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return shares of the rows, best first, and the share of the wins found in each."""
    ordered = test.sort_values("probability", ascending=False, kind="stable")
    rows = np.cumsum(ordered["weight"]) / ordered["weight"].sum()
    wins = np.cumsum((ordered["weight"] * ordered["won"]).to_numpy())
    wins = wins / max(float(wins[-1]), 1e-12)
    share = np.linspace(0, 1, 101)
    return share, np.interp(share, np.append(0.0, rows), np.append(0.0, wins))


def replayed_weeks(replay: Replay, cutoff: Cutoff) -> Any:
    """Return MQLs a week of the replay, the won among them marked."""
    tested, number = (replay, np.inf) if cutoff.qualifies_nobody else decided(replay, cutoff)
    weeks = tested.by_week(number)
    weeks["open or lost"] = weeks["mqls"] - weeks["won"]
    long = weeks.melt("week", ["won", "open or lost"], var_name="outcome", value_name="leads")
    return (
        alt.Chart(long)
        .mark_bar()
        .encode(
            x=alt.X(
                "yearmonthdate(week):O",
                title="Week",
                axis=alt.Axis(format="%d %b", labelAngle=0, labelOverlap=True),
            ),
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


def concept_title(concept: str) -> str:
    """Return a concept as a reader knows it.

    >>> [concept_title(concept) for concept in ("any", "account.page_view", "accounts.country")]
    ['activity', 'colleagues: page view', 'company: country']
    """
    of, _, name = concept.rpartition(".")
    title = "activity" if name == "any" else name.replace("_", " ")
    whose = {"account": "colleagues", "accounts": "company"}.get(of)
    return f"{whose}: {title}" if whose else title


def global_reasons(explained: pd.DataFrame, top: int = 15) -> Any:
    """Return the mean absolute contribution, in log-odds, of the strongest concepts."""
    told = explained[explained["family"] != "calibration"]
    leads = max(int((explained["rank"] == 1).sum()), 1)
    sums = told.assign(size=told["log_odds"].abs()).groupby(["concept", "family"])["size"].sum()
    strongest = (sums / leads).nlargest(top).reset_index()
    strongest["concept"] = [concept_title(concept) for concept in strongest["concept"]]
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
