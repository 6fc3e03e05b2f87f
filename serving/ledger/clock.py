"""The handoff clock: how long sales may take from MQL to answer and to first contact."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, or_

from serving.ledger.schema import latest

_HOUR = 3_600_000_000


def now_us() -> int:
    """Return the present in microseconds since 1970, UTC."""
    return time.time_ns() // 1000


@dataclass(frozen=True)
class ServiceLevel:
    """What sales promised, in hours."""

    accept_within_hours: float = 24
    contact_within_hours: float = 48

    def accept_due(self, mql_at: int) -> int:
        """Return the instant by which sales should have answered."""
        return mql_at + round(self.accept_within_hours * _HOUR)

    def contact_due(self, mql_at: int) -> int:
        """Return the instant by which sales should have contacted the lead."""
        return mql_at + round(self.contact_within_hours * _HOUR)

    def is_overdue(
        self, state: str | None, mql_at: int | None, contacted_at: int | None, now: int
    ) -> bool:
        """Whether an MQL waits for longer than promised; rejected and recycled ones don't wait.

        >>> level = ServiceLevel(accept_within_hours=1, contact_within_hours=2)
        >>> [level.is_overdue("mql", 0, None, now) for now in (_HOUR, _HOUR + 1)]
        [False, True]
        >>> [level.is_overdue("accepted", 0, None, now) for now in (2 * _HOUR, 2 * _HOUR + 1)]
        [False, True]
        """
        if mql_at is None or contacted_at is not None:
            return False
        if state == "mql":
            return now > min(self.accept_due(mql_at), self.contact_due(mql_at))
        return state == "accepted" and now > self.contact_due(mql_at)

    def is_overdue_row(self, now: int) -> ColumnElement[bool]:
        """Return the same as a condition on `latest`."""
        accept, contact = now - self.accept_due(0), now - self.contact_due(0)
        is_late = or_(
            and_(latest.c.state == "mql", latest.c.mql_at < max(accept, contact)),
            and_(latest.c.state == "accepted", latest.c.mql_at < contact),
        )
        # Said again so that the index of handoffs can be used.
        return and_(
            latest.c.state.in_(("mql", "accepted")), latest.c.contacted_at.is_(None), is_late
        )
