"""The funnel of one data set: conversion, campaigns, personas, segments, and what is left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from features.config import Config
from features.parts.partitions import Part, Partitions
from features.tables import Tables
from training.evaluation import Evaluation
from training.examples import Examples
from training.funnel.campaigns import (
    CampaignFigures,
    Window,
    campaign_figures,
    tally_campaigns,
    window_of,
)
from training.funnel.passes import passes_of, ways_of_wins
from training.funnel.people import came, deals, survivors, touches
from training.funnel.personas import Personas, personas_of
from training.funnel.segment_tree import Segment, segments_of
from training.funnel.stages import Conversion, conversion_of


@dataclass(frozen=True)
class FunnelOverview:
    """What the funnel section of the report shows."""

    conversion: Conversion | None
    campaigns: CampaignFigures | None
    personas: Personas
    segments: tuple[Segment, ...]
    left_out: Mapping[str, str]
    "`conversion`, `campaigns`, `costs`, `sources` -> why it is not there, in a sentence."

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values; NaN becomes None."""
        return {field.name: plain(getattr(self, field.name)) for field in dataclasses.fields(self)}


def funnel_overview(
    tables: Partitions | Tables | None, examples: Examples, evaluation: Evaluation, config: Config
) -> FunnelOverview:
    """Return the overview; of a flat export (`tables` is None) only personas and segments."""
    conversion, campaigns, left_out = funnel_of_tables(tables, config)
    return FunnelOverview(
        conversion=conversion,
        campaigns=campaigns,
        personas=personas_of(examples),
        segments=segments_of(examples, evaluation),
        left_out=left_out,
    )


def funnel_of_tables(
    tables: Partitions | Tables | None, config: Config
) -> tuple[Conversion | None, CampaignFigures | None, dict[str, str]]:
    """Return conversion and campaigns, None where the tables lack what they need, and why.

    The figures do not depend on the parts: each gives its passes and its sums.
    """
    if tables is None:
        why = "A flat export tells neither stages nor campaigns, only who won."
        return None, None, {"conversion": why, "campaigns": why}
    partitions = Partitions.of(tables)
    horizon_days = config.training.horizon_days
    costs = partitions.part(0).tables.campaign_costs  # the same in every part
    first_created = partitions.manifest.first_created
    window = window_of(costs, first_created, partitions.data_until, horizon_days)
    parts = [_part_figures(part, config, window) for part in partitions]
    passes = pd.concat([part.passes for part in parts], ignore_index=True)
    conversion = None
    if len(passes):
        passes = passes.sort_values(["mql_at", "lead_id"], ignore_index=True)
        wins = {name: sum(part.wins[name] for part in parts) for name in parts[0].wins}
        conversion = conversion_of(passes, wins, horizon_days, partitions.data_until)
    campaigns = campaign_figures([part.sums for part in parts], costs, window)
    return conversion, campaigns, _left_out(conversion, campaigns, partitions)


@dataclass(frozen=True)
class _PartFigures:
    passes: pd.DataFrame
    wins: dict[str, int]
    sums: dict[str, pd.DataFrame]


def _part_figures(part: Part, config: Config, window: Window) -> _PartFigures:
    survivor = survivors(part.tables)
    touched = touches(part, survivor)
    people = came(part, config, survivor, touched)
    dealt = deals(part, config, survivor)
    passes = passes_of(part, config, survivor, people, dealt, touched)
    sums = tally_campaigns(people, passes, dealt, touched, window)
    return _PartFigures(passes, ways_of_wins(passes, dealt), sums)


def _left_out(
    conversion: Conversion | None, campaigns: CampaignFigures | None, partitions: Partitions
) -> dict[str, str]:
    left_out = {}
    if conversion is None:
        left_out["conversion"] = (
            "No lead was ever marked as an MQL: stage_changes has no change to mql, so nothing can "
            "be said about what MQLs became."
            if "stage_changes" in partitions.present
            else "There is no table stage_changes, so nobody knows which leads were MQLs, and when."
        )
    if campaigns is None:
        left_out["campaigns"] = (
            "No event up to the creation of a lead names a campaign, so nobody knows what brought "
            "the leads. Fill the column campaign of engagement_events."
        )
    elif campaigns.cost_from is None:
        left_out["costs"] = (
            "No campaign costs for leads old enough to judge, so there is no cost per MQL or win. "
            "Load them as the table campaign_costs."
        )
    return left_out


def plain(value: Any) -> Any:
    """Return dataclasses, mappings and tuples as what JSON has; NaN becomes None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and value != value else value
