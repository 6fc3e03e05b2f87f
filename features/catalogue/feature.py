"""One feature: a column of the snapshots as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Family = Literal["fit", "engagement", "account"]

ALL_EVENTS = "events"
"Stream of all engagement events; `events.pricing_view` is the stream of one type."
OTHER_EVENTS = "events.*"
"Stream of the types that have no stream of their own."
GROUPS = "groups"
"`groups.explicit_interest` is the stream of the types of a group."
JOURNEY = "journey"
"`journey.decision` is the stream of the types that mean a stage of the journey."
JOURNEY_STAGES = ("awareness", "consideration", "decision")
"What the codes of `journey_stage` stand for. Types of no other stage mean awareness."

BY_LEAD = (
    "count",
    "value_sum",
    "days_since_last",
    "days_since_first",
    "decayed_count",
    "active_days",
    "distinct_contents",
    "distinct_campaigns",
    "trend",
    "longest_silence",
    "journey_stage",
    "first_touch_channel",
    "last_touch_channel",
)
"Aggregations over the events of the lead."
BY_ACCOUNT = (
    "colleague_count",
    "account_decayed_count",
    "active_colleagues",
    "days_since_colleague",
)
"Aggregations over the events of the account: of colleagues only, or of all."
ENGINEERED = ("email_kind", "seniority", "department", "size_band")
"Categories read off one attribute."
_OPPORTUNITIES = (
    "days_since_opportunity",
    "open_opportunities",
    "lost_opportunities",
    "days_since_lost",
)
_CUSTOMERS = ("account_won_opportunities", "account_days_since_won")
AGGREGATIONS = frozenset(
    (
        *BY_LEAD,
        *BY_ACCOUNT,
        "attribute",
        *ENGINEERED,
        "lead_age_days",
        "account_leads",
        "days_since_stage_change",
        "times_recycled",
        *_OPPORTUNITIES,
        *(f"account_{name}" for name in _OPPORTUNITIES),
        *_CUSTOMERS,
    )
)
"All ways to make a feature."


@dataclass(frozen=True)
class EventGroup:
    """Event types that are counted together, besides in the streams of their own."""

    stream: str
    event_types: tuple[str, ...]


@dataclass(frozen=True)
class Feature:
    """One column of the snapshots: what it is made of, and how to say it.

    The wordings are templates that may hold `{value}`.
    """

    name: str
    "Column of the snapshots, e.g. `pricing_view_count_30d`."
    family: Family
    concept: str
    "Features of one concept are told as one reason, e.g. `pricing_view`."
    aggregation: str
    "How it is made; `attribute` for a column as known at `as_of`."
    stream: str = ""
    """Event stream of the timeline, or `leads.column` / `accounts.column` of an attribute;
    `journey_stage` reads the streams of all stages."""
    window_days: int | None = None
    half_life_days: int | None = None
    dtype: Literal["number", "category"] = "number"
    wording: str = "{value}"
    "Reason text, e.g. `Viewed the pricing page {value} times in the last 30 days`."
    zero_wording: str = ""
    "Reason text for the value 0; empty: use `wording`."
    missing_wording: str = ""
    "Reason text for a missing value: what missing means."
    one_wording: str = ""
    "Reason text for the value 1; empty: use `wording`."
    longer_window_days: int | None = None
    "For `trend`: the window whose earlier part `window_days` is compared with."
