"""The contract: which tables and columns closedwon reads, and the tables once they are checked.

Every instant is UTC, `datetime64[us]` without a zone; ids and categories are pandas `str`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

Kind = Literal["id", "text", "instant", "number"]
EMAIL_HASH = "email_hash"
"Attribute that tells whether two leads are one person. It is never a feature."


@dataclass(frozen=True)
class TableSpec:
    """One table of the contract: column -> kind, and which column names a row."""

    name: str
    key: str | None
    required: dict[str, Kind]
    optional: dict[str, Kind] = field(default_factory=dict)
    has_attributes: bool = False
    "Further columns are attributes of the lead or account."
    own_time: str | None = None
    "The column that `recorded_at` defaults to; None: always visible."


CONTRACT: dict[str, TableSpec] = {
    spec.name: spec
    for spec in (
        TableSpec(
            "leads",
            key="lead_id",
            required={"lead_id": "id", "created_at": "instant"},
            optional={"account_id": "id", "source": "text", "merged_into": "id"},
            has_attributes=True,
            own_time="created_at",
        ),
        TableSpec(
            "accounts",
            key="account_id",
            required={"account_id": "id"},
            has_attributes=True,
        ),
        TableSpec(
            "engagement_events",
            key=None,
            required={"lead_id": "id", "event_type": "text", "occurred_at": "instant"},
            optional={
                "event_id": "id",
                "channel": "text",
                "campaign": "text",
                "content": "text",
                "value": "number",
            },
            own_time="occurred_at",
        ),
        TableSpec(
            "opportunities",
            key="opportunity_id",
            required={"opportunity_id": "id", "created_at": "instant", "stage": "text"},
            optional={
                "closed_at": "instant",
                "lead_id": "id",
                "account_id": "id",
                "amount": "number",
            },
            own_time="created_at",
        ),
        TableSpec(
            "opportunity_leads",
            key=None,
            required={"opportunity_id": "id", "lead_id": "id"},
            optional={"role": "text"},
        ),
        TableSpec(
            "stage_changes",
            key=None,
            required={"lead_id": "id", "stage": "text", "changed_at": "instant"},
            optional={"actor": "text", "reason_code": "text"},
            own_time="changed_at",
        ),
        TableSpec(
            "verdicts",
            key=None,
            required={"lead_id": "id", "verdict": "text", "decided_at": "instant"},
            optional={"reason_code": "text", "score_id": "id"},
            own_time="decided_at",
        ),
        TableSpec(
            "campaign_costs",
            key=None,
            required={"campaign": "text", "day": "instant", "cost": "number"},
            own_time="day",
        ),
    )
}


@dataclass(frozen=True)
class Tables:
    """The checked tables. Every one is there, empty where the user has none.

    Each table has its contract columns (optional ones filled with missing values) and
    `recorded_at`, never missing: the instant from which the row is known. `leads` and `accounts`
    hold one row per id and `recorded_at` (attribute history, sorted by both), with the attribute
    columns (numbers as float64, everything else as str). `opportunities` has
    `created_recorded_at` and `closed_recorded_at` (NaT while open) besides.
    """

    leads: pd.DataFrame
    accounts: pd.DataFrame
    engagement_events: pd.DataFrame
    opportunities: pd.DataFrame
    opportunity_leads: pd.DataFrame
    stage_changes: pd.DataFrame
    verdicts: pd.DataFrame
    campaign_costs: pd.DataFrame
    data_until: pd.Timestamp
    "UTC, no zone. Nothing later is known."
    present: frozenset[str] = frozenset()
    "Tables the user has."
    current_state: frozenset[str] = frozenset()
    "Of leads and accounts: one row per id and no `recorded_at`, so they cannot be dated."

    def attributes(self, name: Literal["leads", "accounts"]) -> list[str]:
        """Return the attribute columns of `name` that may be features, in file order."""
        spec = CONTRACT[name]
        known = {*spec.required, *spec.optional, "recorded_at", EMAIL_HASH} - {"source"}
        return [str(column) for column in getattr(self, name).columns if column not in known]
