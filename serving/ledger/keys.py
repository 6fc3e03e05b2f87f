"""API keys: made and revoked on the command line, checked with every request."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, insert, select, update

from features.errors import InputError
from serving.ledger.clock import now_us
from serving.ledger.database import database_errors, writing
from serving.ledger.errors import LedgerUnavailable
from serving.ledger.schema import api_keys

SCOPES = ("read", "score", "verdict", "admin")
_PREFIX = "cw"
_ID_BYTES, _SECRET_BYTES = 6, 32
_LONGEST_SECRET = 200
_LONGEST_NAME = 100
_CACHED_US = 5_000_000
"How long a revoked key may still pass."
_CACHED_KEYS = 10_000
_DAY = 86_400_000_000
_DUMMY = "0" * 64


@dataclass(frozen=True, slots=True)
class Key:
    """A key without its secret. Instants are microseconds since 1970, UTC."""

    key_id: str
    name: str
    scopes: frozenset[str]
    created_at: int
    expires_at: int | None
    revoked_at: int | None

    def allows(self, scope: str) -> bool:
        """Whether the key may do what needs `scope`; `admin` may do everything.

        >>> Key("k", "crm", frozenset({"read"}), 0, None, None).allows("score")
        False
        """
        return scope in self.scopes or "admin" in self.scopes

    def is_usable(self, now: int) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class Keys:
    """The keys in a ledger's database. Methods may be called from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # key_id -> when it was looked up, what it is, sha256 of its secret.
        self._cached: dict[str, tuple[int, Key | None, str]] = {}

    def create(
        self, scopes: Collection[str], name: str, expires_at: int | None = None
    ) -> tuple[Key, str]:
        """Make a key; returns it and its secret, which is told this once and stored nowhere.

        Raises InputError for no or unknown scopes, and for a name that is empty or too long.
        """
        unknown = sorted(set(scopes) - set(SCOPES))
        if unknown or not scopes:
            found = f'"{unknown[0]}" is no scope' if unknown else "A key needs a scope"
            raise InputError(f"{found}. Known: {', '.join(SCOPES)}.")
        if not (0 < len(name) <= _LONGEST_NAME and name.isprintable()):
            raise InputError(f"A key needs a name of up to {_LONGEST_NAME} printable characters.")
        now = now_us()
        if expires_at is not None and expires_at <= now:
            raise InputError("The key would have expired already. Choose a later end.")
        key_id = secrets.token_hex(_ID_BYTES)
        secret = f"{_PREFIX}_{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
        key = Key(key_id, name, frozenset(scopes), now, expires_at, None)
        row = {
            "key_id": key_id,
            "name": name,
            "secret_sha256": _sha256(secret),
            "scopes": " ".join(sorted(key.scopes)),
            "created_at": now,
            "expires_at": expires_at,
        }
        with database_errors(), writing(self._engine) as connection:
            connection.execute(insert(api_keys).values(row))
        return key, secret

    def create_for_days(
        self, scopes: Collection[str], name: str, days: int | None
    ) -> tuple[Key, str]:
        """Make a key that works for some days from now; None: for ever. As `create` else."""
        return self.create(scopes, name, None if days is None else now_us() + days * _DAY)

    def revoke(self, key_id: str) -> Key:
        """End a key, within 5 seconds everywhere. Raises InputError where there is none such."""
        change = update(api_keys).where(
            api_keys.c.key_id == key_id, api_keys.c.revoked_at.is_(None)
        )
        with database_errors(), writing(self._engine) as connection:
            connection.execute(change.values(revoked_at=now_us()))
            row = connection.execute(select(api_keys).where(api_keys.c.key_id == key_id)).first()
        self._cached.pop(key_id, None)
        if row is None:
            raise InputError("There is no such key. See them with: closedwon keys list")
        return _key(row)

    def all(self) -> list[Key]:
        """Return every key, the oldest first; revoked and expired ones too."""
        with database_errors(), self._engine.connect() as connection:
            asked = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.key_id)
            return [_key(row) for row in connection.execute(asked)]

    def find(self, secret: str, now: int) -> Key | None:
        """Return the usable key with this secret at `now`, microseconds since 1970.

        A known key is looked up every 5 seconds. While the database does not answer, what was
        known of it last goes on; for others LedgerUnavailable is raised.
        """
        parts = secret.split("_", 2)
        if len(secret) > _LONGEST_SECRET or len(parts) != 3 or parts[0] != _PREFIX:
            return None
        key_id = parts[1]
        cached = self._cached.get(key_id)
        if cached is None or not 0 <= now - cached[0] < _CACHED_US:
            cached = self._look_up(key_id, now, cached)
        _, key, expected = cached
        # Compared even where the id is unknown, so that time tells nothing.
        is_right = hmac.compare_digest(_sha256(secret), expected)
        return key if key is not None and is_right and key.is_usable(now) else None

    def _look_up(
        self, key_id: str, now: int, known: tuple[int, Key | None, str] | None
    ) -> tuple[int, Key | None, str]:
        if len(key_id) != 2 * _ID_BYTES or not key_id.isalnum() or not key_id.isascii():
            return now, None, _DUMMY
        asked = select(api_keys).where(api_keys.c.key_id == key_id)
        try:
            with database_errors(), self._engine.connect() as connection:
                row: Any = connection.execute(asked).first()
        except LedgerUnavailable:
            if known is None:
                raise
            return known
        if row is None:
            return now, None, _DUMMY  # not kept: whoever guesses ids would fill the memory
        if len(self._cached) >= _CACHED_KEYS:
            self._cached.clear()
        found = (now, _key(row), str(row.secret_sha256))
        self._cached[key_id] = found
        return found


def _sha256(secret: str) -> str:
    # A slow hash protects what people think up. These are 32 random bytes: there is nothing to
    # guess, and the hash runs with every request.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _key(row: Any) -> Key:
    scopes = frozenset(row.scopes.split())
    return Key(row.key_id, row.name, scopes, row.created_at, row.expires_at, row.revoked_at)
