"""The shapes of requests and answers, for the OpenAPI document.

Score requests are not read with these: `serving.live.requests` reads them, faster and with our own
words for what is wrong. Their schema is made from the contract.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from features.tables import CONTRACT, Kind, TableSpec


class Shape(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(use_attribute_docstrings=True, protected_namespaces=())


class Problem(Shape):
    """One thing that is wrong with a request."""

    where: str
    "The place, such as `engagement_events[3].occurred_at`."
    problem: str


class ErrorDetail(Shape):
    """What went wrong."""

    code: str
    message: str
    problems: list[Problem] = []


class Error(Shape):
    """The answer to every request that is not answered as asked."""

    error: ErrorDetail


class Reason(Shape):
    """What a concept adds to the score, or takes from it: an association, not a cause."""

    concept: str
    family: str
    text: str
    points: float
    "On the scale of the probability: 0.12 is +12 points."
    log_odds: float


class OtherReasons(Shape):
    """All reasons that are not told: with them, points add up to probability - base_probability."""

    points: float
    log_odds: float


class Result(Shape):
    """The score of one lead."""

    index: int
    "Place of the lead among those asked for."
    lead_id: str
    score_id: str
    as_of: str
    probability: float
    "Calibrated chance that the lead closes within the model's horizon."
    grade: Literal["A", "B", "C", "D"]
    qualified: bool
    "Eligible, and the probability reaches the cutoff: an MQL."
    is_eligible: bool
    cutoff: float | None
    "The probability from which a lead like this is an MQL; null: nobody is."
    track: str
    "What to do: hand over, with sales, or nurture in awareness, consideration or decision."
    why: str
    "The strongest reasons in at most 255 characters, for a CRM field."
    reasons: list[Reason]
    other_reasons: OtherReasons
    complete: bool
    "Whether the request had every table and column that the model reads."
    unknown: list[str]
    "The tables and columns it lacked."
    backfill: bool
    "Scored as of the past: such a score never makes an MQL."
    change: dict[str, Any] | None
    "What changed since the last score: four parts, in points, that add up."
    crossing: dict[str, Any] | None
    "What would carry the lead over the cutoff, where that was asked for: no promise."


class LeadProblem(Shape):
    """Why a lead has no score."""

    index: int
    where: str
    problem: str


class Scores(Shape):
    """The answer to POST /v1/scores: good leads are scored, bad ones have an error by index."""

    model_version: str
    as_of: str
    base_probability: float
    "Where the reasons start from."
    results: list[Result]
    errors: list[LeadProblem]


class LeadItem(Shape):
    """A lead with its newest score."""

    lead_id: str
    account_id: str | None
    score_id: str
    as_of: str
    probability: float
    grade: str
    qualified: bool
    cutoff: float | None
    track: str
    why: str
    model_version: str
    mql_at: str | None
    state: str | None
    "mql (waiting for sales), accepted, contacted, rejected, recycled; null: never an MQL."
    accepted_at: str | None
    contacted_at: str | None
    is_overdue: bool


class LeadList(Shape):
    """A page of the ranked list."""

    items: list[LeadItem]
    next: str | None
    "Give it as `after` for the next page; null on the last."


class Lead(LeadItem):
    """A lead with everything that is kept of it."""

    reasons: list[dict[str, Any]]
    base_probability: float
    horizon_days: int
    change: dict[str, Any] | None
    crossing: dict[str, Any] | None
    timeline: list[dict[str, Any]]
    history: list[dict[str, Any]]
    verdicts: list[dict[str, Any]]
    mqls: list[dict[str, Any]]
    features: dict[str, Any]


class VerdictRequest(Shape):
    """What sales says of an MQL."""

    model_config = ConfigDict(extra="forbid")

    verdict: Literal["accepted", "rejected", "recycled"]
    reason_code: str | None = Field(default=None, max_length=100)
    score_id: str | None = Field(default=None, max_length=100)
    "The score that was looked at."


REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": Error, "description": "No API key, or none that is valid"},
    403: {"model": Error, "description": "The key has not the scope"},
    422: {"model": Error, "description": "The request is not valid"},
    429: {"model": Error, "description": "The key's quota is used up: see Retry-After"},
}
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": Error, "description": "Not known"}}
BODY_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Error, "description": "The request cannot be read"},
    413: {"model": Error, "description": "The body is too long"},
    415: {"model": Error, "description": "The body is not plain JSON"},
}
UNAVAILABLE: dict[int | str, dict[str, Any]] = {
    503: {"model": Error, "description": "No model yet, or too much work: see Retry-After"}
}

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
                "description": "Score as of this instant; just after the newest row unless given.",
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
                "description": "A table that is not there is unknown; an empty one is empty.",
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
        "additionalProperties": False,
    }
    if spec.has_attributes:
        row["additionalProperties"] = {"type": ["string", "number", "boolean", "null"]}
        row["description"] = "Further columns are attributes."
    return {"type": "array", "items": row}
