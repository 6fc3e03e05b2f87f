"""Settings of a model's life: retraining, the gate, watching, sales' verdicts, exploration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from features.config_section import PositiveInt, Section, Share

Margin = Annotated[float, Field(gt=0, lt=1)]


class GateConfig(Section):
    """What a challenger must show before it may be champion.

    A margin is how much worse than the champion it may be at most. The statistical ones are as
    small as 600 won leads can tell: see `benchmarks/gate.py`.
    """

    min_wins: PositiveInt = 200
    """Fewer won accounts than this among the compared rows: not enough evidence. A lead without an
    account is one of its own."""
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    "How sure it must be that the challenger is not worse by more than a margin."
    bootstraps: Annotated[int, Field(ge=200)] = 1000
    "Resamples of the accounts."
    log_loss_margin: Margin = 0.015
    "Of the log loss, as a share of the champion's."
    calibration_margin: Margin = 0.005
    "Of the part of the log loss that a better calibration would save, as a share of the whole."
    precision_margin: Margin = 0.02
    "Of the share of MQLs that close, each model at its own cutoff: 0.02 are two points."
    capture_margin: Margin = 0.04
    "Of the share of wins found, likewise; never more than a fifth of the champion's share."
    segment_margin: Margin = 0.05
    "Of the log loss within one segment, as a share of the champion's there."
    segment_min_wins: PositiveInt = 100
    "Segments with fewer won accounts are looked at together."
    promise_share: Share = 0.15
    """Where the champion's recipe stood in: the most that may be missing, even at the unfavourable
    limit, of the skill that the champion showed when it was trained, as a share of it."""
    reasons_overlap: Share = 0.5
    "Least share of what moves the scores that champion and challenger have in common."
    new_reason_share: Share = 0.3
    """Most of the scores' spread that concepts the champion hardly reads may make more than in it,
    together."""
    new_columns_gain: Share = 0.05
    """Most log loss that a challenger may save by what the champion hardly reads, as a share,
    before it is a person's turn. On three demos of 3,000 leads all honest columns together saved
    1.8% at most; a leak in three or six columns, each set for a quarter to two fifths of the
    winners, 7% to 26%."""
    latency_ratio: Annotated[float, Field(ge=1)] = 3.0
    "How many times the champion's time one lead may take; below a millisecond any time is fine."
    size_ratio: Annotated[float, Field(ge=1)] = 3.0
    "How many times as large as the champion it may be; below 2 MB any size is fine."


class RetrainConfig(Section):
    """How a challenger is made."""

    search: Literal["fresh", "champion"] = "fresh"
    "`fresh` searches the parameters anew; `champion` takes those of the champion."
    min_new_wins: PositiveInt = 30
    """The champion is recalibrated only where so many won leads have matured since it was
    trained."""


class MonitorConfig(Section):
    """What the watch looks at."""

    reference_weeks: PositiveInt = 52
    "Weeks before the champion's data ended that they are compared with."
    tolerated: Annotated[float, Field(ge=0, lt=1)] = 0.1
    "Wins that part from the expected ones by no more than this share need no one."


class VerdictConfig(Section):
    """How sales' verdicts are used. They are never a feature."""

    use: Literal["report", "weight", "auxiliary"] = "report"
    """`report` shows them. The other two also tell the boosters, and nothing else: `weight` counts
    lost leads that sales never worked less, `auxiliary` counts lost leads that sales accepted as
    part of a win. Calibration, cutoff and evaluation always use what was won."""
    unworked_weight: Annotated[float, Field(gt=0, le=1)] = 0.5
    "weight: what a lost lead that sales never worked weighs, against 1 for one that it worked."
    accepted_as: Annotated[float, Field(ge=0, lt=1)] = 0.1
    "auxiliary: the part of a win that a lost lead counts as where sales accepted it."


class ExplorationConfig(Section):
    """Leads below the cutoff that are handed over all the same, to keep the labels honest."""

    share: Annotated[float, Field(ge=0, le=0.2)] = 0.0
    """Share of the accounts whose leads below the cutoff are handed over, each once; 0: of none.
    Keep it, too: a higher one makes training count as drawn who was not."""
    salt: Annotated[str, Field(max_length=16)] = "closedwon"
    "Another one draws other accounts. Keep it, so that training can tell who was not drawn."
