"""What the OpenAPI document says of bodies.

Score requests are not read with these: `serving.live.requests` reads them, faster and with our own
words for what is wrong. Their schema is made from the contract.
"""

from __future__ import annotations

from typing import Any

from features.tables import CONTRACT, Kind, TableSpec

_KINDS: dict[Kind, dict[str, Any]] = {
    "id": {"type": ["string", "integer"]},
    "text": {"type": ["string", "number", "boolean", "null"]},
    "instant": {
        "type": "string",
        "description": "ISO 8601, UTC unless it has an offset; a date alone is known a day later.",
        "examples": ["2026-05-03T10:00:00Z"],
    },
    "number": {"type": ["number", "string", "null"]},
}
_NOT_SENT = ("verdicts", "campaign_costs")
"Tables that only training reads."

EXAMPLE: dict[str, Any] = {
    "reasons": 5,
    "tables": {
        "leads": [
            {
                "lead_id": "L-1",
                "created_at": "2026-05-01T09:00:00Z",
                "account_id": "A-1",
                "source": "web",
            }
        ],
        "accounts": [{"account_id": "A-1", "industry": "software", "employees": 120}],
        "engagement_events": [
            {
                "lead_id": "L-1",
                "event_type": "pricing_view",
                "occurred_at": "2026-05-03T10:00:00Z",
            },
            {
                "lead_id": "L-1",
                "event_type": "demo_request",
                "occurred_at": "2026-05-04T08:30:00Z",
            },
        ],
        "opportunities": [],
        "opportunity_leads": [],
        "stage_changes": [],
    },
}
_DURABLE = {**EXAMPLE, "reasons": "all", "durable": True, "crossing": True}


def json_body(schema: dict[str, Any], examples: dict[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI description of a JSON body."""
    told = {name: {"summary": name, "value": value} for name, value in examples.items()}
    return {
        "required": True,
        "content": {"application/json": {"schema": schema, "examples": told}},
    }


def scores_body() -> dict[str, Any]:
    """Return the OpenAPI description of the body of POST /v1/scores, made from the contract."""
    tables = {name: _table(spec) for name, spec in CONTRACT.items() if name not in _NOT_SENT}
    nothing = {"type": "null"}
    schema = {
        "type": "object",
        "required": ["tables"],
        "additionalProperties": False,
        "properties": {
            "as_of": {
                "anyOf": [_KINDS["instant"], nothing],
                "description": "Score as of this instant; just after the newest row unless given."
                " A score as of the past is never qualified.",
            },
            "lead_ids": {
                "anyOf": [{"type": "array", "items": {"type": "string"}}, nothing],
                "description": "Score these only; their colleagues may be sent along.",
            },
            "reasons": {
                "anyOf": [{"type": "integer", "minimum": 0, "maximum": 50}, {"const": "all"}],
                "default": 5,
            },
            "require_complete": {
                "type": "boolean",
                "default": False,
                "description": "Refuse the request if a table or column that the model reads is"
                " not there.",
            },
            "durable": {
                "type": "boolean",
                "default": False,
                "description": "Answer once the scores are in the ledger.",
            },
            "crossing": {
                "type": "boolean",
                "default": False,
                "description": "Tell what would carry a lead over the cutoff.",
            },
            "tables": {
                "type": "object",
                "required": ["leads"],
                "additionalProperties": False,
                "properties": tables,
                "description": "A table that is not there is unknown; an empty one is empty."
                " Without `stage_changes` and `opportunities` none is eligible.",
            },
        },
    }
    return json_body(schema, {"one lead": EXAMPLE, "kept for sure, all reasons": _DURABLE})


def _table(spec: TableSpec) -> dict[str, Any]:
    columns: dict[str, Any] = {name: _KINDS[kind] for name, kind in spec.required.items()}
    for name, kind in {**spec.optional, "recorded_at": "instant"}.items():
        columns[name] = {"anyOf": [_KINDS[kind], {"type": "null"}]}
    if spec.name == "opportunities":
        columns["stage"] = {"enum": ["open", "closed_won", "closed_lost"]}
    row: dict[str, Any] = {
        "type": "object",
        "required": list(spec.required),
        "properties": columns,
        "description": "Further columns are ignored.",
    }
    if spec.has_attributes:
        row["additionalProperties"] = {"type": ["string", "number", "boolean", "null"]}
        row["description"] = "Further columns are attributes."
    return {"type": "array", "items": row}
