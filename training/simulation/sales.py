"""What marketing and sales do in the demo CRM: points, MQLs, verdicts, handoffs.

All of it follows from what is recorded, or from chance; never from the hidden stage. So it says
nothing about the stage that the record does not say already.
"""

from __future__ import annotations

import numpy as np

from features.exploration import REASON_CODE
from training.simulation.funnel import DAY_US, EVENT_TYPES, Bools, Ints
from training.simulation.people import NEVER, Leads

POINTS = {
    "page_view": 1.0,
    "pricing_view": 4.0,
    "case_study_view": 2.0,
    "email_open": 0.5,
    "email_click": 3.0,
    "content_download": 5.0,
    "chat": 6.0,
    "call_answered": 5.0,
    "demo_request": 30.0,
    "trial_started": 20.0,
    "trial_active": 2.0,
    "unsubscribed": -10.0,
}
"Late types give no points: the automation that counts them never sees attendance lists."
MQL_POINTS = 48.0
_WEEKLY_FADE = 0.8

CHANGE_STAGES = ("mql", "sal", "sql", "disqualified", "recycled")
MQL, SAL, SQL, DISQUALIFIED, RECYCLED = range(5)
ACTORS = ("marketing_automation", "sdr_1", "sdr_2", "sdr_3", "sdr_4")
REASONS = ("no_budget", "bad_timing", "wrong_person", "student", "competitor", "no_answer")
CHANGE_REASONS = (*REASONS, REASON_CODE)
EXPLORED = len(REASONS)
VERDICTS = ("accepted", "rejected")


class SalesTeam:
    """The points of every lead, the MQLs they make and what sales does with them."""

    def __init__(self, leads: Leads, accounts: int, mondays: Ints, is_drawn: Bools) -> None:
        self._leads = leads
        self._may_explore = is_drawn.copy()
        self._mondays = mondays
        self._weights = np.array([POINTS.get(name, 0.0) for name in EVENT_TYPES])
        self._points = np.zeros(len(leads.account))
        self._is_mql = np.zeros(len(leads.account), dtype=bool)
        self._handed_at = np.full(accounts, NEVER)
        self.changes: list[tuple[Ints, ...]] = []
        "lead, stage, changed at, actor, reason (-1: none)"
        self.verdicts: list[tuple[Ints, ...]] = []
        "lead, verdict, decided at, reason"

    def handed(self, week: int) -> Bools:
        """Return which accounts have a handoff (`sal`) recorded before the week's Monday."""
        is_handed: Bools = self._handed_at < self._mondays[week]
        return is_handed

    def recycle(self, account_at: Ints, week: int, is_here: Bools) -> None:
        """Recycle the leads of accounts with an instant (not NEVER) in `account_at`."""
        at = account_at[self._leads.account]
        lead = np.flatnonzero((at < NEVER) & is_here & (self._leads.created < at))
        actor = np.zeros(len(lead), dtype=np.int64)
        self.changes.append((lead, np.full(len(lead), RECYCLED), at[lead], actor, actor - 1))
        self._is_mql[lead] = False
        self._points[lead] = 0
        # Only handoffs before the recycling end with it.
        is_over = (account_at < NEVER) & (self._handed_at < self._mondays[week + 1])
        self._handed_at[is_over] = NEVER

    def review(
        self, week: int, lead: Ints, event_type: Ints, may_qualify: Bools, rng: np.random.Generator
    ) -> None:
        """Count the week's events, then make MQLs on the Monday after it and work them."""
        points = np.bincount(lead, weights=self._weights[event_type], minlength=len(self._points))
        self._points = np.maximum(_WEEKLY_FADE * self._points + points, 0)
        if week + 1 >= len(self._mondays) - 1:
            return
        is_above = self._points >= MQL_POINTS
        chosen = np.flatnonzero(is_above & ~self._is_mql & may_qualify)
        self._hand_over(chosen, -1, week, rng)
        # Drawn leads go to sales once, when they are first seen below the threshold.
        explored = np.flatnonzero(self._may_explore & ~is_above & may_qualify)
        if len(explored):
            self._hand_over(explored, EXPLORED, week, rng)

    def _hand_over(self, chosen: Ints, reason: int, week: int, rng: np.random.Generator) -> None:
        """Make MQLs of the chosen leads, with a reason code (-1: none), and let sales work them."""
        self._is_mql[chosen] = True
        self._may_explore[chosen] = False
        # The automation runs on Monday morning.
        at = self._mondays[week + 1] + rng.integers(6 * 3600, 9 * 3600, len(chosen)) * 1_000_000
        nobody = np.zeros(len(chosen), dtype=np.int64)
        self.changes.append((chosen, nobody + MQL, at, nobody, nobody + reason))
        self._work(chosen, at, rng)

    def _work(self, lead: Ints, mql_at: Ints, rng: np.random.Generator) -> None:
        """Let sales accept, reject or ignore new MQLs, some days later."""
        actor = rng.integers(1, len(ACTORS), len(lead))
        decided_at = _later(mql_at, 0.5, 9, rng)
        fate = rng.random(len(lead))
        is_accepted, is_rejected = fate < 0.6, (fate >= 0.6) & (fate < 0.87)
        reason = rng.integers(0, len(REASONS), len(lead))
        is_worked = is_accepted | is_rejected
        self.verdicts.append(
            (
                lead[is_worked],
                is_rejected[is_worked].astype(np.int64),
                decided_at[is_worked],
                np.where(is_rejected, reason, -1)[is_worked],
            )
        )
        no_reason = np.full(len(lead), -1)
        self._record(SAL, lead, decided_at, actor, no_reason, is_accepted)
        np.minimum.at(
            self._handed_at, self._leads.account[lead[is_accepted]], decided_at[is_accepted]
        )
        is_sql = is_accepted & (rng.random(len(lead)) < 0.45)
        self._record(SQL, lead, _later(decided_at, 3, 21, rng), actor, no_reason, is_sql)
        is_out = is_rejected & (rng.random(len(lead)) < 0.35)
        self._record(DISQUALIFIED, lead, decided_at, actor, reason, is_out)

    def _record(
        self, stage: int, lead: Ints, at: Ints, actor: Ints, reason: Ints, chosen: Bools
    ) -> None:
        stages = np.full(int(chosen.sum()), stage)
        self.changes.append((lead[chosen], stages, at[chosen], actor[chosen], reason[chosen]))


def _later(at: Ints, least_days: float, most_days: float, rng: np.random.Generator) -> Ints:
    """Return instants some days after `at`, at the minute, in working hours."""
    days = (rng.uniform(least_days, most_days, len(at)) * DAY_US).astype(np.int64)
    moved = at + days
    day = moved - moved % DAY_US
    # 1970-01-05 was a Monday: a weekend's work is done on the Monday after.
    weekday = (day // DAY_US + 3) % 7
    day = np.where(weekday >= 5, day + (7 - weekday) * DAY_US, day)
    at_hour = day + rng.integers(8 * 60, 18 * 60, len(at)) * 60_000_000
    later: Ints = np.maximum(at_hour, at + 60_000_000)
    return later
