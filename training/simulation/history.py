"""The demo CRM's 104 weeks, played week by week: stages, deals, events, merges, handoffs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.simulation.funnel import (
    AWARENESS,
    DAY_US,
    LOST,
    OPEN,
    WON,
    Bools,
    Floats,
    Funnel,
    Ints,
)
from training.simulation.people import (
    NEVER,
    Accounts,
    Leads,
    draw_moment,
    moment,
    share_passed,
)
from training.simulation.sales import SalesTeam


@dataclass(frozen=True)
class Events:
    """What leads did, by week of occurrence."""

    lead: Ints
    type: Ints
    week: Ints
    occurred: Ints
    recorded: Ints


@dataclass(frozen=True)
class Deals:
    """Opportunities, in order of creation week, and whom they list."""

    account: Ints
    created: Ints
    closed: Ints
    "NEVER while open."
    is_won: Bools
    packs: Ints
    listed_deal: Ints
    listed_lead: Ints
    listed_at: Ints


@dataclass(frozen=True)
class History:
    """All that happened. Codes and row numbers; instants in microseconds."""

    accounts: Accounts
    leads: Leads
    stage: Ints
    "(accounts, weeks): hidden stage, -1 before the account exists."
    handed: Bools
    "(accounts, weeks + 1): whether a handoff is recorded before each Monday."
    merged: Ints
    "(leads,): when the lead was merged; NEVER for most."
    events: Events
    deals: Deals
    changes: tuple[Ints, ...]
    verdicts: tuple[Ints, ...]


def play(
    funnel: Funnel,
    accounts: Accounts,
    leads: Leads,
    rng: np.random.Generator,
    is_drawn: Bools | None = None,
) -> History:
    """Return a history drawn from the funnel's laws; `is_drawn`: which leads sales may explore."""
    count = len(accounts.tier)
    stage = np.full((count, funnel.weeks), -1)
    handed = np.zeros((count, funnel.weeks + 1), dtype=bool)
    merged = np.full(len(leads.account), NEVER)
    if is_drawn is None:
        is_drawn = np.zeros(len(leads.account), dtype=bool)
    sales = SalesTeam(leads, count, funnel.mondays, is_drawn)
    pipeline = _Pipeline(funnel, accounts, leads)
    events: list[tuple[Ints, ...]] = []
    for week in range(funnel.weeks):
        handed[:, week] = sales.handed(week)
        before = stage[:, week - 1] if week else np.full(count, -1)
        now = _step(funnel, accounts, week, before, handed[:, week], rng)
        stage[:, week] = now
        _merge(funnel, leads, week, now, merged, rng)
        is_here = (leads.created_week <= week) & (merged > funnel.mondays[week])
        pipeline.advance(week, before, now, is_here, rng)
        is_recycled = (before == LOST) & (now == AWARENESS)
        if is_recycled.any():
            drawn = draw_moment(funnel, np.full(count, week), rng)
            sales.recycle(np.where(is_recycled, drawn, NEVER), week, is_here)
        batch = _emit(funnel, leads, week, now, merged, rng)
        events.append(batch)
        may_qualify = is_here & (merged == NEVER) & ((now < OPEN) & (now >= 0))[leads.account]
        is_prompt = ~funnel.is_late[batch[1]]
        sales.review(week, batch[0][is_prompt], batch[1][is_prompt], may_qualify, rng)
    handed[:, funnel.weeks] = sales.handed(funnel.weeks)
    return History(
        accounts=accounts,
        leads=leads,
        stage=stage,
        handed=handed,
        merged=merged,
        events=Events(*_joined(events)),
        deals=pipeline.deals(),
        changes=_as_written(_joined(sales.changes), leads, merged, funnel),
        verdicts=_as_written(_joined(sales.verdicts), leads, merged, funnel),
    )


def _joined(batches: list[tuple[Ints, ...]]) -> tuple[Ints, ...]:
    return tuple(np.concatenate(column) for column in zip(*batches, strict=True))


def _as_written(
    columns: tuple[Ints, ...], leads: Leads, merged: Ints, funnel: Funnel
) -> tuple[Ints, ...]:
    """Return rows (lead, code, instant, ...) before the end; a merged lead's go to its survivor."""
    lead, code, at, *rest = columns
    lead = np.where(at < merged[lead], lead, leads.survivor[lead])
    is_inside = at < funnel.mondays[-1]
    return tuple(column[is_inside] for column in (lead, code, at, *rest))


def _step(
    funnel: Funnel,
    accounts: Accounts,
    week: int,
    before: Ints,
    handed: Bools,
    rng: np.random.Generator,
) -> Ints:
    """Return the stage of every account in `week`, -1 for those that do not exist yet."""
    chance = funnel.transition[week, accounts.tier, handed.astype(np.int64), before]
    starts = accounts.start_week == week
    chance[starts] = funnel.first_stage[accounts.source[starts]]
    now = _pick(chance, rng)
    return np.where(accounts.start_week > week, -1, now)


def _pick(chance: Floats, rng: np.random.Generator) -> Ints:
    """Return one column per row, drawn by its chance."""
    steps = chance.cumsum(axis=1)
    # Rounding must not reach the last column when its chance is 0.
    picked: Ints = (rng.random(len(chance))[:, None] * steps[:, -1:] >= steps).sum(axis=1)
    return picked


def _merge(
    funnel: Funnel, leads: Leads, week: int, now: Ints, merged: Ints, rng: np.random.Generator
) -> None:
    """Set `merged` for the leads whose merge is due, unless their account is in a deal.

    A merge during a deal would join two listings, and the lead's chance of the win with them.
    """
    due = np.flatnonzero(leads.merge_week == week)
    due = due[now[leads.account[due]] < OPEN]
    merged[due] = draw_moment(funnel, np.full(len(due), week), rng)


def presence(
    funnel: Funnel, created: Ints, created_week: Ints, merged: Ints, week: int
) -> tuple[Floats, Floats]:
    """Return from which to which share of the week's activity each lead can act (0, 0: none).

    A lead acts from its creation until it is merged into another.
    """
    low = np.zeros(len(created))
    high = np.ones(len(created))
    new = np.flatnonzero(created_week == week)
    low[new] = share_passed(funnel, created[new], created_week[new])
    ends = (merged >= funnel.mondays[week]) & (merged < funnel.mondays[week + 1])
    leaving = np.flatnonzero(ends)
    high[leaving] = share_passed(funnel, merged[leaving], np.full(len(leaving), week))
    is_absent = (created_week > week) | (merged < funnel.mondays[week])
    low[is_absent] = high[is_absent] = 0.0
    return low, high


def _emit(
    funnel: Funnel, leads: Leads, week: int, now: Ints, merged: Ints, rng: np.random.Generator
) -> tuple[Ints, ...]:
    """Return the week's events: lead, type, week, occurred, recorded."""
    low, high = presence(funnel, leads.created, leads.created_week, merged, week)
    rates = funnel.event_rate[week][:, None, :] * funnel.role_factor  # stage, role, type
    stage = now[leads.account]
    weekly = rates.sum(axis=-1)[stage, leads.role] * funnel.activity[week]
    lead = np.repeat(np.arange(len(leads.account)), rng.poisson(weekly * (high - low)))
    event_type = _pick(rates[stage[lead], leads.role[lead]], rng)
    share = low[lead] + (high - low)[lead] * rng.random(len(lead))
    occurred = moment(funnel, np.full(len(lead), week), share)
    # The share is inverted in floats: a second may be lost at the edge.
    occurred = np.maximum(occurred, leads.created[lead])
    recorded = _recorded(funnel, occurred, event_type, rng)
    return lead, event_type, np.full(len(lead), week), occurred, recorded


def _recorded(funnel: Funnel, occurred: Ints, event_type: Ints, rng: np.random.Generator) -> Ints:
    """Return when each event was recorded: at once, or with a list imported at 06:00 some day."""
    delay_days = rng.choice(len(funnel.delay_share), size=len(occurred), p=funnel.delay_share)
    delay_days[~funnel.is_late[event_type]] = 0
    imported = occurred - occurred % DAY_US + delay_days * DAY_US + 6 * 3_600_000_000
    return np.where(delay_days > 0, imported, occurred)


class _Pipeline:
    """Opportunities as they open, list contacts and close."""

    def __init__(self, funnel: Funnel, accounts: Accounts, leads: Leads) -> None:
        self._funnel = funnel
        self._accounts = accounts
        self._leads = leads
        self._chance = np.where(leads.is_primary, 1.0, funnel.listed[leads.role])
        self._current = np.full(len(accounts.tier), -1)
        self._opened: list[tuple[Ints, ...]] = []
        self._closed: list[tuple[Ints, ...]] = []
        self._listed: list[tuple[Ints, ...]] = []
        self._count = 0

    def advance(
        self, week: int, before: Ints, now: Ints, is_here: Bools, rng: np.random.Generator
    ) -> None:
        """Open, extend and close the deals of one week."""
        leads = self._leads
        opens = np.flatnonzero((now == OPEN) & (before != OPEN))
        created_at = np.full(len(now), 0)
        created_at[opens] = draw_moment(self._funnel, np.full(len(opens), week), rng)
        packs = 1 + rng.poisson(self._funnel.packs_mean[self._accounts.tier[opens]])
        self._current[opens] = self._count + np.arange(len(opens))
        self._count += len(opens)
        self._opened.append((opens, created_at[opens], packs))

        # A deal lists people when it opens, and newcomers when they arrive.
        is_new_deal = np.zeros(len(now), dtype=bool)
        is_new_deal[opens] = True
        is_asked = is_new_deal[leads.account] | (leads.created_week == week)
        is_asked &= (now == OPEN)[leads.account] & is_here
        asked = np.flatnonzero(is_asked)
        chosen = asked[rng.random(len(asked)) < self._chance[asked]]
        listed_at = np.maximum(created_at[leads.account[chosen]], leads.created[chosen])
        self._listed.append((self._current[leads.account[chosen]], chosen, listed_at))

        closes = np.flatnonzero((before == OPEN) & (now != OPEN))
        closed_at = draw_moment(self._funnel, np.full(len(closes), week), rng)
        self._closed.append(
            (self._current[closes], closed_at, (now[closes] == WON).astype(np.int64))
        )

    def deals(self) -> Deals:
        """Return all opportunities."""
        account, created, packs = _joined(self._opened)
        place, closed_at, is_won = _joined(self._closed)
        closed = np.full(len(account), NEVER)
        closed[place] = closed_at
        won = np.zeros(len(account), dtype=bool)
        won[place] = is_won == 1
        return Deals(account, created, closed, won, packs, *_joined(self._listed))
