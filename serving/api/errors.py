"""Errors of the API: one shape, our own words, and nothing of what the request held."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.responses import Response

from features.errors import InputError
from serving.ledger.errors import LedgerFull, LedgerUnavailable

JSON = "application/json"
Problems = Sequence[Mapping[str, str]]

_CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "too_slow",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid_request",
    429: "too_many_requests",
    431: "headers_too_large",
    500: "internal_error",
    503: "unavailable",
}


class ApiError(Exception):
    """An answer other than the one asked for; its message is ours and names no person's data."""

    def __init__(
        self,
        status: int,
        message: str,
        problems: Problems | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.problems = problems
        self.headers = headers

    def response(self) -> Response:
        """Return the error as JSON."""
        return error_response(self.status, self.message, self.problems, self.headers)


def come_back(status: int, message: str, seconds: float) -> ApiError:
    """Return a 429 or 503 that says after how many seconds to try again."""
    return ApiError(status, message, headers={"retry-after": str(max(1, math.ceil(seconds)))})


def error_response(
    status: int,
    message: str,
    problems: Problems | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return `{"error": {"code", "message", "problems"?}}`."""
    error: dict[str, Any] = {"code": _CODES.get(status, "error"), "message": message}
    if problems:
        error["problems"] = [dict(one) for one in problems]
    return json_response({"error": error}, status, headers)


def json_response(
    content: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return `content`, plain values without NaN, as JSON."""
    return Response(to_json(content), status, headers, media_type=JSON)


def install_handlers(app: FastAPI) -> None:
    """Give `app` our answers for every kind of error; FastAPI's would repeat the request."""

    @app.exception_handler(ApiError)
    async def _of_api_error(_: Request, error: ApiError) -> Response:
        return error.response()

    @app.exception_handler(InputError)
    async def _of_input_error(_: Request, error: InputError) -> Response:
        return error_response(422, str(error))

    @app.exception_handler(LedgerFull)
    async def _of_full_ledger(_: Request, __: LedgerFull) -> Response:
        return come_back(503, "The ledger is busy. Try again.", 1).response()

    @app.exception_handler(LedgerUnavailable)
    async def _of_missing_ledger(_: Request, __: LedgerUnavailable) -> Response:
        return come_back(503, "The ledger does not answer. Try again.", 5).response()

    @app.exception_handler(RequestValidationError)
    async def _of_validation(_: Request, error: RequestValidationError) -> Response:
        return error_response(422, "The request is not valid.", problems_of(error.errors()))

    @app.exception_handler(HTTPException)
    async def _of_http(_: Request, error: HTTPException) -> Response:
        message = HTTPStatus(error.status_code).phrase
        return error_response(error.status_code, f"{message}.", headers=error.headers)


def problems_of(errors: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return pydantic's errors as places and problems, at most ten, without the input.

    >>> problems_of([{"type": "int_parsing", "loc": ("query", "limit"), "msg": "No integer",
    ...               "input": "secret"}])
    [{'where': 'query.limit', 'problem': 'No integer'}]
    """
    return [{"where": _place(one), "problem": str(one["msg"])} for one in errors[:10]]


def _place(error: Mapping[str, Any]) -> str:
    # The name of a field that we don't know is the sender's text.
    is_unknown = error["type"] == "extra_forbidden"
    parts = [*error["loc"][:-1], "(unknown field)"] if is_unknown else error["loc"]
    return ".".join(str(part) for part in parts)
