"""The section of the report about sales' verdicts, and about the leads handed over at random."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from features.loading.rules import VERDICTS
from models.cutoff import Estimate
from training.report.charts import ACCENT, svg
from training.report.data_charts import Picture
from training.report.funnel_section import NOTHING, percent
from training.verdicts.exploration import Arm, ExplorationEffect
from training.verdicts.overview import NOT_SCORED, Answers, VerdictOverview
from training.verdicts.verdicts import SalesVerdicts

COLOURS = dict(zip(VERDICTS, (ACCENT, "#c05621", "#b8c4ce"), strict=True))


def verdicts_section(verdicts: SalesVerdicts) -> dict[str, Any]:
    """Return what `verdicts_section.html.j2` shows."""
    overview, exploration = verdicts.overview, verdicts.exploration
    return {
        "overview": None if overview is None else _overview(overview),
        "exploration": None if exploration is None else _exploration(exploration),
    }


def _overview(overview: VerdictOverview) -> dict[str, Any]:
    import markupsafe

    given = [verdict for verdict in VERDICTS if overview.total.shares[verdict].value > 0]
    picture = _picture(overview.grades, given)
    groups = (("Grade", overview.grades), ("Source", overview.sources))
    return {
        "days": overview.horizon_days,
        "lines": overview.lines,
        "given": given,
        # our own markup, in which Vega escapes what it is told
        "picture": {"caption": picture.caption, "markup": markupsafe.Markup(picture.markup)},
        "groups": [(title, [_group(one, given) for one in found]) for title, found in groups],
        "reasons": [
            {
                "verdict": reason.verdict,
                "code": reason.code.replace("_", " "),
                "verdicts": f"{reason.verdicts:,}",
                "share": percent(reason.share),
            }
            for reason in overview.reasons
        ],
        "outcomes": [
            {
                "verdict": outcome.verdict,
                "verdicts": f"{outcome.verdicts:,}",
                "young": f"{outcome.verdicts - outcome.matured:,}",
                "rate": percent(outcome.win_rate),
            }
            for outcome in overview.outcomes
        ],
        "not_scored": any(answers.name == NOT_SCORED for answers in overview.grades),
    }


def _group(answers: Answers, given: list[str]) -> dict[str, Any]:
    reason = NOTHING
    if answers.main_reason is not None:
        reason = f"{answers.main_reason.replace('_', ' ')} ({answers.main_reason_share:.0%})"
    return {
        "name": answers.name,
        "verdicts": f"{answers.verdicts:,}",
        "shares": [percent(answers.shares[verdict]) for verdict in given],
        "reason": reason,
    }


def _picture(grades: tuple[Answers, ...], given: list[str]) -> Picture:
    """Return the shares of the verdicts by grade."""
    rows = pd.DataFrame(
        [
            {
                "grade": f"{answers.name} ({answers.verdicts:,})",
                "verdict": verdict,
                "share": answers.shares[verdict].value,
                "place": place,
            }
            for answers in grades
            for place, verdict in enumerate(given)
        ]
    )
    bars = (
        alt.Chart(rows)
        .mark_bar()
        .encode(
            y=alt.Y("grade:N", sort=None, title=None, axis=alt.Axis(labelLimit=200)),
            x=alt.X(
                "share:Q",
                title="Share of the verdicts",
                scale=alt.Scale(domain=[0, 1]),
                axis=alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1]),
            ),
            order="place:Q",
            color=alt.Color(
                "verdict:N",
                title=None,
                scale=alt.Scale(domain=given, range=[COLOURS[verdict] for verdict in given]),
                legend=alt.Legend(orient="top"),
            ),
        )
    )
    caption = "Sales' verdicts by the grade of the lead before it was handed over."
    return Picture("Verdicts by grade", caption, svg(bars, height=34 * len(grades)))


def _exploration(effect: ExplorationEffect) -> dict[str, Any]:
    arms = (("Drawn: handed over all the same", effect.drawn), ("Not drawn", effect.others))
    return {
        "days": effect.horizon_days,
        "start": effect.start,
        "left_out": drawn_otherwise(effect),
        "lines": exploration_lines(effect),
        "arms": [_arm(name, arm) for name, arm in arms],
        "difference": points(effect.difference),
        "of_working": points(effect.of_working),
    }


def _arm(name: str, arm: Arm) -> dict[str, str]:
    return {
        "name": name,
        "leads": f"{arm.leads:,}",
        "handed_over": f"{arm.handed_over:,}",
        "worked": NOTHING if arm.worked != arm.worked else f"{arm.worked:.0%}",
        "won": f"{arm.won:,}",
        "rate": percent(arm.win_rate),
        "probability": f"{arm.probability:.1%}",
    }


def points(found: Estimate | None) -> str:
    """Return a difference of two shares for people.

    >>> points(Estimate(0.021, -0.002, 0.043)), points(None)
    ('+2.1 points (-0.2 to +4.3)', '-')
    """
    if found is None or found.low is None or found.high is None:
        return NOTHING
    value, low, high = (100 * one for one in (found.value, found.low, found.high))
    return f"{value:+.1f} points ({low:+.1f} to {high:+.1f})"


def drawn_otherwise(effect: ExplorationEffect) -> str:
    """Return what to tell of leads with two tries; empty where there is none."""
    count, stray = effect.drawn_otherwise, effect.others.handed_over
    told = []
    if count:
        told.append(
            f"{count:,} leads are in neither group: at another time they had another account, or "
            "none, and were drawn then."
        )
    if stray:
        told.append(
            f"{stray:,} of the not drawn were handed over by lot all the same, by a share, a salt "
            "or an account that is not known here; the true difference is rather larger."
        )
    return " ".join(told)


def exploration_lines(effect: ExplorationEffect) -> list[str]:
    """Return what the comparison means for the labels, in sentences."""
    difference = effect.difference
    if difference.low is None or difference.high is None:
        return ["One of the two groups is empty, so nothing can be compared yet."]
    told = (
        "Which leads below the cutoff were handed over was decided by lot, so the two groups below "
        f"differ by nothing else. Handing them over changed the win rate by {points(difference)}."
    )
    if not effect.is_clear:
        most = 100 * max(abs(difference.low), abs(difference.high))
        return [
            told,
            "That may be chance: there is no sign that unworked leads are lost because nobody "
            f"worked them. An effect of up to {most:.1f} points cannot be ruled out.",
        ]
    if difference.value < 0:
        return [told, "Drawn leads close less often. Ask sales how these leads are approached."]
    lines = [
        told,
        "Contact helps: some leads that count as lost would have closed had sales worked them. The "
        "model learnt from that past, so below the cutoff its probabilities, and the win rate of "
        "unworked leads that a comparison shows, are lower bounds.",
    ]
    if effect.of_working is not None:
        lines.append(
            f"Per lead that sales worked and would not have worked otherwise that is "
            f"{points(effect.of_working)}: about as much is missing from the win rate of an "
            "unworked lead below the cutoff. Above the cutoff nothing was tried."
        )
    return lines
