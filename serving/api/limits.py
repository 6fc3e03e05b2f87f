"""How much is taken in: requests at once, requests a minute, bytes of a body."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serving.api.errors import come_back

_MAX_BUCKETS = 10_000


class Admission:
    """Counts the score requests at work or waiting, and turns away those over the limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.at_work = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place; ApiError 503 with Retry-After when all are taken."""
        if self.at_work >= self.limit:
            raise come_back(503, "The server has as much work as it takes. Try again.", 1)
        self.at_work += 1
        try:
            yield
        finally:
            self.at_work -= 1


class PlacesByName:
    """As many places for each name; who has taken them all keeps out nobody else.

    >>> bodies = PlacesByName(2)
    >>> bodies.take("crm"), bodies.take("crm"), bodies.take("other")
    (True, True, True)
    >>> bodies.take("crm"), bodies.give_back("crm"), bodies.take("crm")
    (False, None, True)
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken: dict[str, int] = {}

    def take(self, name: str) -> bool:
        """Take one of `name`'s places, if there is one."""
        taken = self._taken.get(name, 0)
        if taken >= self._limit:
            return False
        self._taken[name] = taken + 1
        return True

    def give_back(self, name: str) -> None:
        """Give a place back that was taken."""
        self._taken[name] -= 1
        if not self._taken[name]:
            del self._taken[name]


class TokenBuckets:
    """A quota for each name: `per_minute` at once, then as they come back; None is no quota.

    >>> at = [0.0]
    >>> quota = TokenBuckets(2, clock=lambda: at[0])
    >>> quota.wait("crm"), quota.wait("crm"), quota.wait("crm"), quota.wait("other")
    (0.0, 0.0, 30.0, 0.0)
    >>> at[0] = 30.0
    >>> quota.wait("crm"), quota.give_back("crm"), quota.wait("crm"), quota.wait("crm")
    (0.0, None, 0.0, 30.0)
    """

    def __init__(self, per_minute: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, name: str) -> float:
        """Take one of `name`'s tokens and return 0, or the seconds until there is one."""
        if self._per_minute is None:
            return 0.0
        now = self._clock()
        left, since = self._left.pop(name, (float(self._per_minute), now))
        left = min(float(self._per_minute), left + (now - since) * self._per_minute / 60)
        wait = 0.0 if left >= 1 else (1 - left) * 60 / self._per_minute
        self._left[name] = (left if wait else left - 1, now)
        if len(self._left) > _MAX_BUCKETS:
            self._left.popitem(last=False)
        return wait

    def give_back(self, name: str) -> None:
        """Return the token that was taken last: what was asked for is not to count."""
        left, since = self._left.pop(name, (0.0, self._clock()))
        self._left[name] = (left + 1, since)
