"""The section of the report about the funnel, for marketing first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from models.cutoff import Estimate
from training.funnel.campaigns import Campaign, CampaignFigures
from training.funnel.overview import FunnelOverview
from training.funnel.people import NO_CAMPAIGN
from training.funnel.personas import Personas, Trait
from training.funnel.segment_tree import Segment
from training.funnel.stages import Conversion, Group, Step
from training.report.data_charts import Picture
from training.report.funnel_charts import (
    STAGE_NAMES,
    campaigns_picture,
    cohort_pictures,
    segments_picture,
    stages_picture,
    traits_picture,
)

MOST_CAMPAIGNS = 15
NOTHING = "-"


def funnel_section(overview: FunnelOverview) -> dict[str, Any]:
    """Return what `funnel_section.html.j2` shows."""
    conversion, campaigns = overview.conversion, overview.campaigns
    return {
        "left_out": list(dict.fromkeys(overview.left_out.values())),
        "conversion": None if conversion is None else _conversion(conversion),
        "campaigns": None if campaigns is None else _campaigns(campaigns),
        "personas": _personas(overview.personas),
        "segments": _segments(overview.segments),
    }


def percent(found: Estimate | None) -> str:
    """Return a share with its interval for people.

    >>> percent(Estimate(0.2, 0.15, 0.26)), percent(Estimate(0.034, 0.021, 0.051)), percent(None)
    ('20% (15% to 26%)', '3.4% (2.1% to 5.1%)', '-')
    """
    if found is None or found.value != found.value:
        return NOTHING
    digits = 0 if found.value >= 0.1 else 1
    low, high = f"{found.low:.{digits}%}", f"{found.high:.{digits}%}"
    return f"{found.value:.{digits}%} ({low} to {high})"


def money(found: Estimate | float | None) -> str:
    """Return an amount for people, without a currency, which no table names.

    >>> money(Estimate(1234.5, 980.0, 1510.2)), money(48100.0), money(None)
    ('1,234 (980 to 1,510)', '48,100', '-')
    """
    if found is None:
        return NOTHING
    if isinstance(found, Estimate):
        return f"{found.value:,.0f} ({found.low:,.0f} to {found.high:,.0f})"
    return f"{found:,.0f}"


def _conversion(conversion: Conversion) -> dict[str, Any]:
    days = conversion.horizon_days
    won = conversion.steps[-1]
    lines = [
        f"{conversion.matured:,} of {conversion.mqls:,} MQLs are at least {days} days old; only "
        "they have rates. The younger ones may still close, so they are counted but not judged."
    ]
    if conversion.matured:
        lines[:0] = [
            f"Of {conversion.matured:,} MQLs {percent(won.of_mqls)} closed within {days} days of "
            f"becoming an MQL. {conversion.won_later:,} more closed later."
        ]
    if conversion.came_again:
        lines.append(
            f"{conversion.came_again:,} times a lead became an MQL again after it was recycled: "
            "each time counts as a new MQL."
        )
    return {
        "days": days,
        "lines": [*lines, _ways_of_wins(conversion.wins)],
        "steps": [_step(step, before) for step, before in _with_before(conversion.steps)]
        if conversion.matured
        else [],
        "pictures": _marked([stages_picture(conversion)] if conversion.matured else []),
        "cohorts": _marked(cohort_pictures(conversion.months)),
        "groups": [
            (title, [_group(group) for group in groups])
            for title, groups in (
                ("Month", conversion.months),
                ("Source", conversion.sources),
                ("Campaign that brought the lead", conversion.campaigns),
            )
            if len(groups) > 1
        ],
    }


def _ways_of_wins(wins: dict[str, int]) -> str:
    total = sum(wins.values())
    return (
        f"Of {total:,} won deals {wins['in_pass']:,} were opened while one of their leads was an "
        f"MQL, {wins['after_pass']:,} after it had been given back, and {wins['without_mql']:,} "
        "without any MQL."
    )


def _with_before(steps: tuple[Step, ...]) -> list[tuple[Step, str]]:
    before = ["MQL", *(STAGE_NAMES[step.stage] for step in steps)]
    return list(zip(steps, before, strict=False))


def _step(step: Step, before: str) -> dict[str, str]:
    return {
        "stage": STAGE_NAMES[step.stage],
        "reached": f"{step.reached:,}",
        "skipped": f"{step.skipped:,}",
        "of_previous": f"{percent(step.of_previous)} of {before}",
        "of_mqls": percent(step.of_mqls),
        "days_from_previous": _days(step.days_from_previous),
        "days_from_mql": _days(step.days_from_mql),
    }


def _days(quartiles: tuple[float, float, float] | None) -> str:
    if quartiles is None:
        return NOTHING
    low, middle, high = quartiles
    return f"{middle:.0f} ({low:.0f} to {high:.0f})"


def _group(group: Group) -> dict[str, Any]:
    rates = group.rates or {}
    return {
        "name": group.name,
        "mqls": f"{group.mqls:,}",
        "young": f"{group.mqls - group.matured:,}",
        "sal": percent(rates.get("sal")),
        "opportunity": percent(rates.get("opportunity")),
        "won": percent(rates.get("won")),
        "won_count": f"{group.reached['won']:,}",
        "why": group.why_no_rates,
    }


def _campaigns(figures: CampaignFigures) -> dict[str, Any]:
    judged = [campaign for campaign in figures.campaigns if campaign.matured_leads]
    kept = sorted(judged, key=lambda campaign: -campaign.matured_leads)[:MOST_CAMPAIGNS]
    # Leads that no campaign brought come last, to compare with.
    shown = [campaign for campaign in judged if campaign in kept]
    shown.sort(key=lambda campaign: campaign.campaign == NO_CAMPAIGN)
    young = [c for c in figures.campaigns if c.leads and not c.matured_leads]
    named = [c for c in figures.campaigns if not c.leads and c.mqls_touched]
    named.sort(key=lambda campaign: -campaign.mqls_touched)
    lines = [
        f"Leads are followed for {figures.follow_up_days} days from their creation, so that an old "
        "campaign has no head start."
        + (
            f" {figures.won_in_time_share:.0%} of their wins so far came in that time."
            if figures.won_in_time_share is not None
            else ""
        ),
        "The win rates differ by more than luck: the order below means something."
        if figures.do_differ
        else "The win rates differ no more than luck would make them: do not move money on this "
        "order alone.",
    ]
    return {
        "lines": lines,
        "no_campaign": NO_CAMPAIGN,
        "rows": [_campaign(campaign) for campaign in shown],
        "left_out": len(judged) - len(shown),
        "young": [campaign.campaign for campaign in young],
        "touched": [(c.campaign, f"{c.mqls_touched:,}") for c in named[:MOST_CAMPAIGNS]],
        "cost_from": figures.cost_from,
        "cost_until": figures.cost_until,
        "unknown_costs": figures.unknown_costs,
        "pictures": _marked([campaigns_picture(shown)] if shown else []),
    }


def _campaign(campaign: Campaign) -> dict[str, str]:
    return {
        "name": campaign.campaign,
        "leads": f"{campaign.matured_leads:,}",
        "mqls": f"{campaign.mqls:,}",
        "touched": f"{campaign.mqls_touched:,}",
        "won": f"{campaign.won_leads:,}",
        "wins": f"{campaign.wins:.1f}",
        "rate": percent(campaign.win_rate),
        "value": money(campaign.value),
        "cost": money(campaign.cost),
        "per_mql": money(campaign.cost_per_mql),
        "per_win": money(campaign.cost_per_win) if campaign.cost_per_win else campaign.why_no_cost,
    }


def _personas(personas: Personas) -> dict[str, Any]:
    def told(title: str, traits: tuple[Trait, ...]) -> dict[str, Any]:
        return {
            "title": title,
            "traits": [_trait(trait) for trait in traits],
            "picture": _marked([traits_picture(title, traits)])[0] if traits else None,
        }

    return {
        "looked_at": f"{personas.looked_at:,}",
        "leads": f"{personas.leads:,}",
        "won_leads": f"{personas.won_leads:,}",
        "is_repeated": personas.is_repeated,
        "parts": [
            *([told("Who they are", personas.are)] if personas.looked_at_are else []),
            *([told("What they did", personas.did)] if personas.looked_at_did else []),
        ],
    }


def _trait(trait: Trait) -> dict[str, str]:
    low, high = trait.times.low or 0.0, trait.times.high or 0.0
    if high < 1:  # as the sentence tells it: so many times less often
        low, high = 1 / high, 1 / low if low > 0.01 else float("inf")
    reach = f"{low:.1f} or more" if high == float("inf") else f"{low:.1f} to {high:.1f}"
    return {
        "sentence": trait.sentence(),
        "interval": f"{reach} times",
        "size": f"{trait.leads:,} leads had it at some time",
    }


def _segments(segments: tuple[Segment, ...]) -> dict[str, Any]:
    return {
        "rows": [
            {
                "rule": segment.rule or ("All leads",),
                "rows": f"{segment.rows:,}",
                "share": f"{segment.share:.1%}",
                "share_of_wins": f"{segment.share_of_wins:.0%}",
                "score": f"{segment.mean_score:.1%}" if segment.rows else NOTHING,
                "rate": percent(segment.win_rate),
            }
            for segment in segments
        ],
        "pictures": _marked([segments_picture(segments)] if len(segments) > 1 else []),
    }


def _marked(pictures: list[Picture]) -> list[Picture]:
    """Return the pictures with their SVG trusted: our own markup, in which Vega escapes names."""
    import markupsafe

    return [replace(picture, markup=markupsafe.Markup(picture.markup)) for picture in pictures]
