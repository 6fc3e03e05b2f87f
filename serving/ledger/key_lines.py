"""Keys as the command line tells them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from serving.ledger.clock import now_us
from serving.ledger.keys import Key
from serving.ledger.packing import iso


def key_as_dict(key: Key) -> dict[str, Any]:
    """Return a key for machines; it never holds the secret."""
    return {
        "key_id": key.key_id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "created_at": iso(key.created_at),
        "expires_at": iso(key.expires_at),
        "revoked_at": iso(key.revoked_at),
        "is_usable": key.is_usable(now_us()),
    }


def key_lines(keys: Sequence[Key]) -> list[str]:
    """Return a line for each key, for people."""
    if not keys:
        return ["There is no key yet. Make one: closedwon keys create --name crm --scope score"]
    return [
        f"{key.key_id}  {_standing(key)}  {', '.join(sorted(key.scopes))}  {key.name}"
        for key in keys
    ]


def _standing(key: Key) -> str:
    if key.revoked_at is not None:
        return f"revoked {_day(key.revoked_at)}"
    if key.expires_at is None:
        return "works for ever"
    return f"{'works until' if key.is_usable(now_us()) else 'expired'} {_day(key.expires_at)}"


def _day(instant: int) -> str:
    return str(iso(instant))[:10]
