"""Leads of the ledger: the ranked list, one lead, and what sales says of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from serving.api.auth import SECURITY, needs
from serving.api.bodies import read_json
from serving.api.errors import ApiError, json_response, problems_of
from serving.api.request_schemas import json_body
from serving.api.schemas import (
    BODY_REFUSALS,
    NOT_FOUND,
    REFUSALS,
    UNAVAILABLE,
    Lead,
    LeadList,
    VerdictRequest,
)
from serving.api.service import Service
from serving.ledger.errors import UnknownLead

router = APIRouter(prefix="/v1/leads", tags=["leads"])

# Any text may be an id, slashes too; no CRM has ids of a page's length.
LeadId = Annotated[str, Path(max_length=500, description="The lead's id, percent-encoded.")]
Text = Annotated[str | None, Query(max_length=500)]
_SECURED: dict[str, Any] = {"openapi_extra": {"security": SECURITY}}


@router.get(
    "",
    dependencies=[needs("read")],
    response_model=LeadList,
    responses={**REFUSALS, **UNAVAILABLE},
    **_SECURED,
)
def list_leads(
    request: Request,
    qualified: bool | None = None,
    grade: Literal["A", "B", "C", "D"] | None = None,
    state: Literal["mql", "accepted", "contacted", "rejected", "recycled", "overdue"] | None = None,
    search: Text = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: Text = None,
) -> Response:
    """Return the newest score of each lead, the highest probability first."""
    page = _service(request).ledger.leads(
        qualified=qualified, grade=grade, state=state, search=search, limit=limit, after=after
    )
    return json_response({"items": page.items, "next": page.next})


@router.get(
    "/{lead_id:path}",
    dependencies=[needs("read")],
    response_model=Lead,
    responses={**REFUSALS, **NOT_FOUND, **UNAVAILABLE},
    **_SECURED,
)
def one_lead(request: Request, lead_id: LeadId) -> Response:
    """Return a lead: newest score, all reasons, timeline, history, verdicts."""
    found = _service(request).lead(_storable(lead_id))
    if found is None:
        raise _unknown()
    return json_response(found)


@router.post(
    "/{lead_id:path}/verdicts",
    dependencies=[needs("verdict")],
    status_code=201,
    response_model=dict[str, Any],
    responses={**REFUSALS, **NOT_FOUND, **BODY_REFUSALS, **UNAVAILABLE},
    openapi_extra={
        "security": SECURITY,
        "requestBody": json_body(
            VerdictRequest.model_json_schema(),
            {
                "accepted": {"verdict": "accepted"},
                "rejected": {"verdict": "rejected", "reason_code": "no_budget"},
            },
        ),
    },
)
async def add_verdict(request: Request, lead_id: LeadId) -> Response:
    """Record what sales says of an MQL: accepted, rejected or recycled, with a reason code."""
    body = await read_json(request)
    try:
        said = VerdictRequest.model_validate_json(body)
    except ValidationError as error:
        problems = problems_of(error.errors(include_input=False, include_context=False))
        raise ApiError(422, "The verdict is not valid.", problems) from None
    service, key_id = _service(request), request.scope["note"].key_id
    reason_code, score_id = _storable_text(said.reason_code), _storable_text(said.score_id)

    def add() -> dict[str, Any]:
        return service.ledger.add_verdict(
            lead_id, said.verdict, reason_code, service.now(), score_id, key_id
        )

    return await _recorded(lead_id, add)


@router.post(
    "/{lead_id:path}/contacts",
    dependencies=[needs("verdict")],
    status_code=201,
    response_model=dict[str, Any],
    responses={**REFUSALS, **NOT_FOUND, **BODY_REFUSALS, **UNAVAILABLE},
    **_SECURED,
)
async def add_contact(request: Request, lead_id: LeadId) -> Response:
    """Record the first contact with an MQL: it stops the handoff clock."""
    service, key_id = _service(request), request.scope["note"].key_id
    return await _recorded(
        lead_id, lambda: service.ledger.add_contact(lead_id, service.now(), key_id)
    )


async def _recorded(lead_id: str, add: Callable[[], dict[str, Any]]) -> Response:
    _storable(lead_id)
    try:
        return json_response(await run_in_threadpool(add), 201)
    except UnknownLead:
        raise _unknown() from None


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _unknown() -> ApiError:
    return ApiError(404, "The lead was never scored.")


def _storable(lead_id: str) -> str:
    """Return an id that may be in the ledger; ApiError 404 for one that no database keeps."""
    if "\0" in lead_id:
        raise _unknown()
    return lead_id


def _storable_text(text: str | None) -> str | None:
    if text is not None and "\0" in text:
        raise ApiError(422, "The verdict is not valid: a text holds a NUL character.")
    return text
