"""The shapes of answers, and of a verdict, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


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
    "Row of the lead in `tables.leads`, from 0."
    lead_id: str
    score_id: str
    as_of: str
    probability: float
    "Calibrated chance that the lead closes within the model's horizon."
    grade: Literal["A", "B", "C", "D"]
    qualified: bool
    "Eligible, no backfill, and the probability reaches the cutoff. Handed over before? /v1/leads."
    is_eligible: bool
    "May become an MQL. Only known with `stage_changes` and `opportunities`, which may be empty."
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
    "Scored as of the past: such a score is never qualified."
    change: dict[str, Any] | None
    "What changed since the last score: four parts, in points, that add up."
    crossing: dict[str, Any] | None
    "What would carry the lead over the cutoff, where that was asked for: no promise."


class LeadProblem(Shape):
    """Why a lead has no score."""

    index: int
    "Row of the lead in `tables.leads`, from 0."
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
    is_exploration: bool
    "Whether the MQL is below the cutoff, and was handed over by lot."
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
    429: {"model": Error, "description": "The key asks for too much: see Retry-After"},
}
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": Error, "description": "Not known"}}
BODY_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Error, "description": "The request cannot be read"},
    408: {"model": Error, "description": "The body did not arrive in time"},
    413: {"model": Error, "description": "The body is too long"},
    415: {"model": Error, "description": "The body is not plain JSON"},
}
UNAVAILABLE: dict[int | str, dict[str, Any]] = {
    503: {"model": Error, "description": "No model yet, or too much work: see Retry-After"}
}
