"""POST /v1/scores: parse, score, hand to the ledger, answer."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from fastapi import APIRouter, Request
from starlette.responses import Response

from serving.api.auth import SECURITY, needs
from serving.api.batches import Batches
from serving.api.bodies import read_json
from serving.api.errors import JSON, ApiError, come_back
from serving.api.model import champion_of
from serving.api.request_schemas import scores_body
from serving.api.schemas import BODY_REFUSALS, REFUSALS, UNAVAILABLE, Scores
from serving.api.service import Service
from serving.champion.champion import Champion
from serving.ledger.errors import LedgerUnavailable
from serving.live.live_scores import Answer
from serving.live.requests import RequestError, ScoreRequest, parse_request

if TYPE_CHECKING:
    from serving.api.logs import Note

T = TypeVar("T")
router = APIRouter(prefix="/v1", tags=["scores"])

_SMALL_BYTES = 64 * 1024
_SMALL_LEADS = 10
_PROBLEMS_TOLD = 100
_COMMIT_SECONDS = 30.0
"After this a durable request gets a 503: its scores may still be written."


class Answered(NamedTuple):
    """An answer, and the promise that its scores are in the ledger."""

    content: bytes
    written: concurrent.futures.Future[None]


@router.post(
    "/scores",
    dependencies=[needs("score")],
    response_model=None,
    responses={200: {"model": Scores}, **REFUSALS, **BODY_REFUSALS, **UNAVAILABLE},
    openapi_extra={"security": SECURITY, "requestBody": scores_body()},
)
async def post_scores(request: Request) -> Response:
    """Score leads from a slice of the contract's tables, with the reasons.

    Good leads are scored even where others of the request are bad: those get an entry in
    `errors`, by their place in the request.
    """
    service: Service = request.app.state.service
    # Before it takes a place: who sends slowly must not keep others from theirs.
    body = await read_json(request)
    with service.admission.place():
        champion = champion_of(request)
        if len(body) > _SMALL_BYTES:
            asked = await _in_thread(service, lambda: _parse(service, body))
        else:
            asked = _parse(service, body)
        is_large = len(body) > _SMALL_BYTES or len(asked.lead_ids) > _SMALL_LEADS
        if is_large or asked.crossing:
            answered = await _in_thread(service, lambda: _score_alone(service, champion, asked))
        else:
            batches: Batches[Answered] = request.app.state.batches
            answered = await batches.score(champion, asked)
    if asked.durable:
        await _committed(answered.written)
    note: Note = request.scope["note"]
    note.leads, note.model_version = len(asked.lead_ids), champion.version
    return Response(answered.content, media_type=JSON)


async def _in_thread(service: Service, work: Callable[[], T]) -> T:
    """Do the work of a large request aside, so that health and small requests are answered."""
    return await asyncio.get_running_loop().run_in_executor(service.large_requests, work)


def _parse(service: Service, body: bytes) -> ScoreRequest:
    try:
        return parse_request(body, service.now(), service.limits)
    except RequestError as error:
        raise _not_valid(error) from None


def score_together(
    service: Service, champion: Champion, requests: Sequence[ScoreRequest]
) -> list[Answered | Exception]:
    """Score requests, no lead for two of them, hand them to the ledger and return the answers.

    A request that gets no answer gets an exception instead.
    """
    try:
        previous = service.ledger.latest([lead for one in requests for lead in one.lead_ids])
        answers = champion.live.score_together(
            requests, service.now(), previous, service.watch.older
        )
    except Exception as error:
        if len(requests) == 1:
            return [error]
        # One of them is at fault: the others do not have to suffer.
        alone = [score_together(service, champion, [request]) for request in requests]
        return [outcome for [outcome] in alone]
    return [
        _written(service, champion, request, answer)
        for request, answer in zip(requests, answers, strict=True)
    ]


def _written(
    service: Service, champion: Champion, asked: ScoreRequest, answer: Answer | RequestError
) -> Answered | Exception:
    if isinstance(answer, RequestError):
        return _not_valid(answer)
    try:
        written = service.ledger.submit(answer.records, durable=asked.durable)
        _count(service, champion, asked, answer)
        return Answered(answer.to_json(), written)
    except Exception as error:
        return error


def _score_alone(service: Service, champion: Champion, asked: ScoreRequest) -> Answered:
    [outcome] = score_together(service, champion, [asked])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _not_valid(error: RequestError) -> ApiError:
    return ApiError(422, "The request is not valid.", error.problems[:_PROBLEMS_TOLD])


async def _committed(written: concurrent.futures.Future[None]) -> None:
    """Wait until the scores are in the ledger; ApiError 503 when they cannot be written."""
    try:
        await asyncio.wait_for(asyncio.wrap_future(written), _COMMIT_SECONDS)
    except (LedgerUnavailable, TimeoutError):
        raise come_back(503, "The scores could not be written to the ledger.", 5) from None


def _count(service: Service, champion: Champion, asked: ScoreRequest, answer: Answer) -> None:
    metrics = service.metrics
    metrics.scored(answer.records)
    if answer.errors:
        metrics.lead_errors.inc(len(answer.errors))
    for feature in champion.unknown_categories(answer.records):
        metrics.unknown_category(feature)
    events = asked.slice.tables.get("engagement_events")
    event_types = [] if events is None else events.columns["event_type"]
    if not champion.event_types.issuperset(event_types):
        unknown = sum(name not in champion.event_types for name in event_types)
        metrics.unknown_event_types.inc(unknown)
