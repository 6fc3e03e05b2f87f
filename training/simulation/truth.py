"""The best possible probabilities of the demo CRM: exact, given all that is recorded.

A forward filter (Rabiner 1989, section III A) over each account's hidden stage and fit tier. Per
week it sees the stages that show (deals opened and closed, recycling), the counts of every event
type of the account's leads, and the size of new deals. Leads' arrivals, handoffs, merges,
verdicts and enrichment do not depend on the hidden stage, so they carry no likelihood.

Late-recorded events: Poisson counts thinned by the chance to be recorded by `as_of` stay Poisson.
A delay is at most 14 days, so only the last two weeks before an `as_of` are incomplete; the
filter keeps the state at their start and goes through them anew for each `as_of`.

With a handoff effect other than 1 the probability is the one without further handoffs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.simulation.funnel import (
    FREE_MAIL_TIER,
    HORIZON_WEEKS,
    OPEN,
    STAGES,
    WON,
    Bools,
    Floats,
    Funnel,
    Ints,
)
from training.simulation.history import History, presence

LATE_WEEKS = 3
"A week's events are all recorded by the third Monday after its start."


@dataclass(frozen=True)
class Belief:
    """What the record says about the accounts that exist so far, the first ones of all."""

    stage: Floats
    "(tier, account, stage): P(stage | tier, record)"
    log_evidence: Floats
    "(tier, account): log P(record | tier), up to a constant of the account"


@dataclass(frozen=True)
class LeadWeeks:
    """A probability for each lead and Monday."""

    lead: Ints
    monday: Ints
    "Index into `funnel.mondays`."
    probability: Floats


def best_probabilities(
    funnel: Funnel, history: History, horizon_weeks: int = HORIZON_WEEKS
) -> LeadWeeks:
    """Return P(a closed-won deal lists the lead in [as_of, as_of + horizon) | recorded < as_of).

    One row for each lead and Monday from its creation, until its account is won or the lead is
    merged into another; `horizon_weeks` is at most 13.
    """
    record = _Record(funnel, history)
    win, win_now = win_chances(funnel, horizon_weeks)
    leads = history.leads
    listing_chance = np.where(leads.is_primary, 1.0, funnel.listed[leads.role])
    belief = record.nothing()
    rows = []
    for monday in range(1, funnel.weeks + 1):
        first_incomplete = max(monday - LATE_WEEKS + 1, 0)
        if monday >= LATE_WEEKS:
            belief = record.advance(belief, monday - LATE_WEEKS, monday)
        newest = belief
        for week in range(first_incomplete, monday):
            newest = record.advance(newest, week, monday)
        joint = record.tier_shares(newest, monday)[..., None] * newest.stage
        handed = history.handed[: joint.shape[1], monday].astype(np.int64)
        any_win = np.einsum("tas,tas->a", joint, win[monday][:, handed])
        deal_win = np.einsum("ta,ta->a", joint[..., OPEN], win_now[monday][:, handed])
        lead = record.current_leads(monday)
        account = leads.account[lead]
        # The open deal lists the lead or not; a later one lists it by chance.
        later_win = listing_chance[lead] * (any_win - deal_win)[account]
        chance = later_win + record.is_listed(monday)[lead] * deal_win[account]
        rows.append((lead, np.full(len(lead), monday), chance))
    lead, monday_index, probability = (np.concatenate(column) for column in zip(*rows, strict=True))
    return LeadWeeks(lead, monday_index, probability)


def win_chances(funnel: Funnel, horizon_weeks: int) -> tuple[Floats, Floats]:
    """Return the chance of a win in the horizon from each Monday, and of the open deal's win.

    The first is (monday, tier, handed, stage of the week before), the second has no stage.
    """
    tiers = funnel.transition.shape[1]
    win = np.zeros((funnel.weeks + 1, tiers, 2, len(STAGES)))
    win_now = np.zeros((funnel.weeks + 1, tiers, 2))
    for monday in range(funnel.weeks + 1):
        any_deal = np.zeros((tiers, 2, len(STAGES)))
        any_deal[..., WON] = 1
        this_deal = np.zeros((tiers, 2))
        for week in range(monday + horizon_weeks - 1, monday - 1, -1):
            step = funnel.transition[week]
            any_deal = np.einsum("thij,thj->thi", step, any_deal)
            this_deal = step[..., OPEN, WON] + step[..., OPEN, OPEN] * this_deal
        win[monday], win_now[monday] = any_deal, this_deal
    return win, win_now


class _Record:
    """What is recorded of a history, as the filter reads it; hidden stages are never told apart."""

    def __init__(self, funnel: Funnel, history: History) -> None:
        self._funnel = funnel
        self._history = history
        self._mondays = funnel.mondays
        weeks = np.arange(funnel.weeks + 1)
        self._event_bounds = np.searchsorted(history.events.week, weeks)
        deals = history.deals
        self._deal_week = np.searchsorted(self._mondays, deals.created, side="right") - 1
        accounts = history.accounts
        self._fit = np.stack([accounts.industry, accounts.band, accounts.technology], axis=1)
        self._created_week = history.leads.created_week
        self._account_role = history.leads.account * len(funnel.listed) + history.leads.role

    def nothing(self) -> Belief:
        """Return the belief before the first week: no account exists."""
        tiers = self._funnel.transition.shape[1]
        return Belief(np.zeros((tiers, 0, len(STAGES))), np.zeros((tiers, 0)))

    def advance(self, belief: Belief, week: int, monday: int) -> Belief:
        """Return the belief after one more week, as recorded before the Monday."""
        tiers, old, stages = belief.stage.shape
        count = int(np.searchsorted(self._history.accounts.start_week, week, side="right"))
        joint = np.empty((tiers, count, stages))
        step = self._funnel.transition[week]
        handed = self._history.handed[:old, week]
        np.matmul(belief.stage, step[:, 0], out=joint[:, :old])
        joint[:, :old][:, handed] = np.matmul(belief.stage[:, handed], step[:, 1])
        joint[:, old:] = self._funnel.first_stage[self._history.accounts.source[old:count]]
        # Stages that the record rules out have no likelihood; the best of the others gets 1.
        fit = np.where(self._shown(week, count), self._log_likelihood(week, monday, count), -np.inf)
        joint *= np.exp(fit - fit.max(axis=1, keepdims=True))
        evidence = joint.sum(axis=-1)
        joint /= evidence[..., None]
        log_evidence = np.log(evidence)
        log_evidence[:, :old] += belief.log_evidence
        self._weigh_new_deals(log_evidence, week)
        return Belief(joint, log_evidence)

    def _shown(self, week: int, count: int) -> Bools:
        """Return which stages the record of the week allows: (account, stage).

        Deals and recycling are recorded when they happen; without an open, lost or won deal the
        stage is one of the first four. (A recycled account can only be in awareness: the chain
        says so itself.)
        """
        now = self._history.stage[:count, week, None]
        stages = np.arange(len(STAGES))
        shown: Bools = np.where(now < OPEN, stages < OPEN, stages == now)
        return shown

    def _log_likelihood(self, week: int, monday: int, count: int) -> Floats:
        """Return log P(events of the week recorded before the Monday | stage), less a constant."""
        funnel, events = self._funnel, self._history.events
        rate = funnel.event_rate[week]
        rows = slice(self._event_bounds[week], self._event_bounds[week + 1])
        is_seen = events.recorded[rows] < self._mondays[monday]
        account = self._history.leads.account[events.lead[rows][is_seen]]
        types = rate.shape[1]
        place = account * types + events.type[rows][is_seen]
        counts = np.bincount(place, minlength=count * types).reshape(count, types)
        expected = np.zeros((count, len(STAGES)))
        account_role = self._account_role[: np.searchsorted(self._created_week, week, side="right")]
        for is_late, exposure in zip((False, True), self._exposures(week, monday), strict=True):
            chosen = funnel.is_late == is_late
            by_role = np.bincount(
                account_role, weights=exposure, minlength=count * len(funnel.listed)
            ).reshape(count, len(funnel.listed))
            expected += by_role @ (funnel.role_factor[:, chosen] @ rate[:, chosen].T)
        likelihood: Floats = counts @ np.log(rate).T - funnel.activity[week] * expected
        return likelihood

    def _exposures(self, week: int, monday: int) -> tuple[Floats, Floats]:
        """Return which share of its week's prompt and late events each lead shows by then.

        Leads are those created by the end of the week, the first ones of all.
        A late event of weekday d is seen when d + delay < the days from the week's start to the
        Monday: a list is imported on a later day's morning.
        """
        funnel, leads = self._funnel, self._history.leads
        here = slice(np.searchsorted(leads.created_week, week, side="right"))
        low, high = presence(
            funnel, leads.created[here], leads.created_week[here], self._history.merged[here], week
        )
        days = 7 * (monday - week) - np.arange(7)
        arrived = funnel.delay_share.cumsum()[np.minimum(days, len(funnel.delay_share)) - 1]
        day_end = funnel.hour_share[np.arange(1, 8) * 24]
        # Share of late events seen, of those that happen before each point of the week.
        edges = np.concatenate([[0.0], day_end])
        seen = np.concatenate([[0.0], np.cumsum(np.diff(edges) * arrived)])
        return high - low, np.interp(high, edges, seen) - np.interp(low, edges, seen)

    def _weigh_new_deals(self, log_evidence: Floats, week: int) -> None:
        """Add the evidence in the size of the week's new deals: Poisson packs by tier."""
        deals = self._history.deals
        new = np.flatnonzero(self._deal_week == week)
        mean = self._funnel.packs_mean[:, None]
        log_evidence[:, deals.account[new]] += (deals.packs[new] - 1) * np.log(mean) - mean

    def tier_shares(self, belief: Belief, monday: int) -> Floats:
        """Return P(tier | record): (tier, account)."""
        accounts, count = self._history.accounts, belief.log_evidence.shape[1]
        is_known = accounts.known_at[:count] < self._mondays[monday]
        industry, band, technology = np.where(is_known, self._fit[:count], -1).T
        prior = self._funnel.tier_share[industry, band, technology].T.copy()
        prior[:, accounts.is_free_mail[:count]] = (np.arange(len(prior)) == FREE_MAIL_TIER)[:, None]
        evidence = np.where(prior > 0, belief.log_evidence, -np.inf)
        weight = prior * np.exp(evidence - evidence.max(axis=0))
        shares: Floats = weight / weight.sum(axis=0)
        return shares

    def current_leads(self, monday: int) -> Ints:
        """Return the leads created before the Monday, not merged away, of accounts not won."""
        leads = self._history.leads
        is_won = self._history.stage[:, monday - 1] == WON
        is_merged = self._history.merged < self._mondays[monday]
        return np.flatnonzero((leads.created_week < monday) & ~is_merged & ~is_won[leads.account])

    def is_listed(self, monday: int) -> Bools:
        """Return which leads the deal that is open on the Monday lists."""
        deals, instant = self._history.deals, self._mondays[monday]
        is_open = (deals.created < instant) & (deals.closed >= instant)
        rows = is_open[deals.listed_deal] & (deals.listed_at < instant)
        listed = np.zeros(len(self._history.leads.account), dtype=bool)
        listed[deals.listed_lead[rows]] = True
        return listed
