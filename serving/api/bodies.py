"""Reading a JSON body: what it must say of itself, and how many a key may send at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import Request
from starlette.requests import ClientDisconnect

from serving.api.errors import ApiError, come_back

if TYPE_CHECKING:
    from serving.api.service import Service


def require_json(request: Request) -> None:
    """Refuse a body of another type than JSON: ApiError 415. Without a type it is taken for JSON.

    It also keeps other sites' forms out, which cannot send this type unasked.
    """
    kind = request.headers.get("content-type")
    if kind is None or kind == "application/json":
        return
    if kind.partition(";")[0].strip().lower() != "application/json":
        raise ApiError(415, "Send the body as Content-Type: application/json.")


async def read_json(request: Request) -> bytes:
    """Return the body; ApiError 415 for another type, 429 for too many of one key at once.

    What is too long is a 413 of the outermost layer, what is too late a 408 of the connection.
    """
    require_json(request)
    service: Service = request.app.state.service
    key_id, receive = request.scope["note"].key_id or "", request.receive
    if not service.bodies.take(key_id):
        raise come_back(429, "The key is sending too many bodies at once. Try again.", 1)
    try:
        parts, is_more = [], True
        while is_more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            parts.append(message.get("body", b""))
            is_more = message.get("more_body", False)
    finally:
        service.bodies.give_back(key_id)
    return parts[0] if len(parts) == 1 else b"".join(parts)
