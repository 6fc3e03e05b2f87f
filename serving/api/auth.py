"""Who may ask for what: API keys for programs, a session made from a key for the pages."""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import Depends, Request
from starlette.responses import Response

from serving.api.errors import ApiError, come_back
from serving.api.limits import TokenBuckets
from serving.ledger.keys import Key, Keys

if TYPE_CHECKING:
    from serving.api.service import Service

COOKIE = "closedwon_session"
SESSION_HOURS = 8
_SECOND = 1_000_000
_WRONG_KEYS_PER_MINUTE = 10
_MAX_SESSIONS = 10_000

SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"api_key": []}]
SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer cw_...`"},
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def secret_of(request: Request) -> str | None:
    """Return the API key that the request's headers carry, None without one."""
    headers = request.headers
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    return headers.get("x-api-key")


def authorise(request: Request, scope: str) -> Key:
    """Return the key of the request; ApiError 401 without a valid one, 403 without the scope."""
    service: Service = request.app.state.service
    secret = secret_of(request)
    key = None if secret is None else service.keys.find(secret, service.now())
    if key is None:
        found = "No API key was given" if secret is None else "The API key is not valid"
        message = f"{found}. Send one as Authorization: Bearer cw_..., or as X-API-Key."
        raise ApiError(401, message, headers={"www-authenticate": "Bearer"})
    request.scope["note"].key_id = key.key_id
    if not key.allows(scope):
        raise ApiError(403, f"The API key has no scope {scope}.")
    wait = service.quota.wait(key.key_id)
    if wait:
        raise come_back(429, "The key's requests of this minute are used up.", wait)
    return key


def needs(scope: str) -> Any:
    """Return the dependency of a route that only keys with `scope` may use."""

    async def authorised(request: Request) -> Key:
        return authorise(request, scope)

    return Depends(authorised)


@dataclass(frozen=True, slots=True)
class Session:
    """A person at the pages, who is what their API key may."""

    key: Key
    csrf_token: str
    "Hidden form field `csrf_token` of every form that changes something."
    is_by_header: bool = False
    "A program with the key in a header: no browser sends that by itself, so no token is needed."

    def can(self, scope: str) -> bool:
        """Return whether the session's key has the scope."""
        return self.key.allows(scope)


@dataclass(slots=True)
class _Open:
    secret: str
    csrf_token: str
    until: int


class Sessions:
    """Sessions of the pages by random id, in memory: a restart logs everybody out."""

    def __init__(self, keys: Keys, now: Callable[[], int]) -> None:
        self._keys = keys
        self._now = now
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._tries = TokenBuckets(_WRONG_KEYS_PER_MINUTE)

    def open(self, secret: str, host: str) -> tuple[str, Session] | None:
        """Return a new session's id and the session; None when `secret` is no valid key.

        ApiError 429 after ten wrong keys in a minute from one `host`.
        """
        wait = self._tries.wait(host)
        if wait:
            raise come_back(429, "Too many attempts to log in. Wait a minute.", wait)
        now = self._now()
        if self._keys.find(secret, now) is None:
            return None
        self._tries.give_back(host)
        while len(self._open) >= _MAX_SESSIONS:
            self._open.popitem(last=False)
        session_id = secrets.token_urlsafe(32)
        until = now + SESSION_HOURS * 3600 * _SECOND
        self._open[session_id] = _Open(secret, secrets.token_urlsafe(32), until)
        found = self.find(session_id)
        return None if found is None else (session_id, found)

    def find(self, session_id: str) -> Session | None:
        """Return the session while it is open and its key is valid."""
        entry, now = self._open.get(session_id), self._now()
        if entry is None:
            return None
        # The key is looked up each time: a revoked key ends its sessions.
        key = self._keys.find(entry.secret, now) if now < entry.until else None
        if key is None:
            self.close(session_id)
            return None
        return Session(key, entry.csrf_token)

    def close(self, session_id: str) -> None:
        """End a session, if it is there."""
        self._open.pop(session_id, None)


def page_session(request: Request) -> Session | None:
    """Return who looks at a page: by session cookie, or by an API key in a header."""
    service: Service = request.app.state.service
    session_id = request.cookies.get(COOKIE)
    found = None if session_id is None else service.sessions.find(session_id)
    if found is None:
        secret = secret_of(request)
        key = None if secret is None else service.keys.find(secret, service.now())
        found = None if key is None else Session(key, "", is_by_header=True)
    if found is not None:
        request.scope["note"].key_id = found.key.key_id
    return found


def csrf_ok(request: Request, session: Session, token: str | None) -> bool:
    """Return whether a form post was made on our own page: same site, and the session's token."""
    if session.is_by_header:
        return True
    is_equal = hmac.compare_digest((token or "").encode(), session.csrf_token.encode())
    return is_equal and is_same_site(request)


def is_same_site(request: Request) -> bool:
    """Return whether a browser sent the request from our own pages; others don't say."""
    return request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def log_in(
    request: Request, response_to: Callable[[Session], Response], secret: str
) -> Response | None:
    """Return `response_to` the new session, its cookie set; None when `secret` is no valid key.

    ApiError 429 after too many tries.
    """
    service: Service = request.app.state.service
    opened = service.sessions.open(secret.strip(), request.client.host if request.client else "")
    if opened is None:
        return None
    session_id, session = opened
    response = response_to(session)
    response.set_cookie(
        COOKIE,
        session_id,
        max_age=SESSION_HOURS * 3600,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


def log_out(request: Request, response: Response) -> Response:
    """End the session of the request and return `response`, which takes the cookie away."""
    session_id = request.cookies.get(COOKIE)
    if session_id is not None:
        request.app.state.service.sessions.close(session_id)
    response.delete_cookie(
        COOKIE, httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )
    return response
