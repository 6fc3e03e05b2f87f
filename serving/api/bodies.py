"""What a body must say of itself before it is read."""

from __future__ import annotations

from fastapi import Request

from serving.api.errors import ApiError


def require_json(request: Request) -> None:
    """Refuse a body of another type than JSON: ApiError 415. Without a type it is taken for JSON.

    It also keeps other sites' forms out, which cannot send this type unasked.
    """
    kind = request.headers.get("content-type")
    if kind is None or kind == "application/json":
        return
    if kind.partition(";")[0].strip().lower() != "application/json":
        raise ApiError(415, "Send the body as Content-Type: application/json.")
