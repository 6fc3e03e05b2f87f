"""Settings of a model's life: retraining, the gate, watching, sales' verdicts, exploration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from features.config_section import PositiveInt, Section


class GateConfig(Section):
    """What a challenger must show before it may be champion."""

    min_wins: PositiveInt = 200
    "Fewer won leads than this among the compared rows: not enough evidence."
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    "How sure it must be that the challenger is not worse by more than a margin."


class RetrainConfig(Section):
    """How a challenger is made."""

    search: Literal["fresh", "champion"] = "fresh"
    "`fresh` searches the parameters anew; `champion` takes those of the champion."


class MonitorConfig(Section):
    """What the watch looks at."""

    weeks: PositiveInt = 13
    "Newest weeks that are compared with the champion's training window."


class VerdictConfig(Section):
    """How sales' verdicts are used. They are never a feature."""

    use: Literal["report", "weight", "auxiliary"] = "report"


class ExplorationConfig(Section):
    """Leads below the cutoff that are handed over all the same, to keep the labels honest."""

    share: Annotated[float, Field(ge=0, le=0.2)] = 0.0
    "Share of the leads below the cutoff, drawn at random; 0 hands over none."
