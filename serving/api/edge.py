"""The outermost layer: body limits, headers, log line, metrics, the last word on any failure."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.errors import ApiError, error_response
from serving.api.logs import Note, write_failure, write_line

if TYPE_CHECKING:
    from serving.api.service import Service

_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; script-src 'self'; "
    "connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", _POLICY.encode()),
]
_NO_STORE = (b"cache-control", b"no-store")
_NAMES = {name for name, _ in _HEADERS} | {_NO_STORE[0]}

SCORES_PATH = "/v1/scores"
_OTHER_BODIES = 64 * 1024
"Verdicts and forms are short."


class Edge:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        self._scores_limit = service.config.serving.max_body_megabytes * 1024 * 1024
        self._ids = (f"{secrets.token_hex(4)}-{number:x}" for number in itertools.count(1))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever goes wrong inside becomes a 500 that says nothing."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        note = scope["note"] = Note(next(self._ids))
        answer = _Answer(send, note.request_id)
        limit = self._scores_limit if scope["path"] == SCORES_PATH else _OTHER_BODIES
        try:
            refused = _refused(scope["headers"], limit)
            if refused is not None:
                await refused.response()(scope, receive, answer.send)
            else:
                await self._app(scope, _counted(receive, limit), answer.send)
        except ClientDisconnect:
            pass  # nobody is there to be told, or the connection has refused a slow body
        except Exception as error:
            write_failure(error, request_id=note.request_id)
            if answer.status is None:
                said = f"Something failed here; it is in the log as {note.request_id}."
                failed = error_response(500, said)
                await failed(scope, receive, answer.send)
        finally:
            self._tell(
                scope,
                note,
                answer.status or scope.get("refused", 499),
                time.perf_counter() - started,
            )

    def _tell(self, scope: Scope, note: Note, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "(none)")
        self._service.metrics.answered(route, status, seconds)
        if self._service.is_logging and not (route in _QUIET and status < 400):
            write_line(
                "request",
                method=scope["method"] if scope["method"] in _METHODS else "(other)",
                route=route,
                status=status,
                ms=round(seconds * 1000, 3),
                key_id=note.key_id,
                leads=note.leads,
                model_version=note.model_version,
                request_id=note.request_id,
            )


_QUIET = {"/healthz", "/readyz", "/static/{name}"}
"Asked all the time: only what goes wrong is worth a line."
_METHODS = {"GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"}


class _Answer:
    """Adds our headers to the answer and remembers its status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id.encode()
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = message["headers"]
            is_plain = all(name not in _NAMES for name, _ in own)
            more = [*_HEADERS, _NO_STORE] if is_plain else _missing(own)
            message["headers"] = [*own, *more, (b"x-request-id", self._request_id)]
        await self._send(message)


def _missing(own: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return our headers but those that a page set by itself."""
    there = {name for name, _ in own}
    return [header for header in [*_HEADERS, _NO_STORE] if header[0] not in there]


def _refused(headers: Iterable[tuple[bytes, bytes]], limit: int) -> ApiError | None:
    """Return what is wrong with a body before it is read: too long, or packed."""
    for name, value in headers:
        if name == b"content-length" and value.isdigit() and int(value[:20]) > limit:
            return _too_large(limit)
        if name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            return ApiError(415, "Packed bodies are not taken. Send plain JSON.")
    return None


def _too_large(limit: int) -> ApiError:
    return ApiError(413, f"The body is longer than {limit:,} bytes. Send less at a time.")


def _counted(receive: Receive, limit: int) -> Receive:
    """Return `receive`, ending in an ApiError 413 once a body without a length grows too long."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message: Message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise _too_large(limit)
        return message

    return counted
