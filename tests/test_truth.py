"""The exact probabilities against brute force: all hidden paths, from the raw tables alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import lgamma, log

import numpy as np
import pandas as pd
import pytest

from training.simulation.crm import crm_tables
from training.simulation.funnel import (
    BAND_SHARES,
    BANDS,
    DAY_US,
    EVENT_TYPES,
    FREE_MAIL_TIER,
    INDUSTRIES,
    INDUSTRY_SHARES,
    PACK_PRICE,
    ROLES,
    SOURCES,
    STAGES,
    TECHNOLOGIES,
    Funnel,
    make_funnel,
    technology_share,
    tier_of,
)
from training.simulation.history import History, play
from training.simulation.people import NEVER, draw_people
from training.simulation.truth import LeadWeeks, best_probabilities

WEEKS, HORIZON = 6, 3
AWARENESS, OPEN, LOST, WON = 1, 4, 5, 6
HIDDEN = (0, 1, 2, 3)


def _fast_funnel(handoff_effect: float, drift: bool = False) -> Funnel:
    """Return a funnel in which every possible step is frequent, and events are many."""
    funnel = make_funnel(WEEKS, drift, handoff_effect)
    possible = funnel.transition > 0
    even = possible / possible.sum(axis=-1, keepdims=True)
    # Enough for handoffs in the first weeks, and for late events.
    more = np.where(funnel.is_late, 20.0, 2.0)
    more[[EVENT_TYPES.index("demo_request"), EVENT_TYPES.index("trial_started")]] = 40.0
    return replace(
        funnel,
        transition=0.5 * funnel.transition + 0.5 * even,
        event_rate=funnel.event_rate * more,
    )


class BruteForce:
    """One account's record as a reader of the export sees it, and the sum over all its paths."""

    def __init__(self, funnel: Funnel, tables: dict[str, pd.DataFrame], leads: list[str]) -> None:
        self.funnel = funnel
        people = tables["leads"][tables["leads"]["lead_id"].isin(leads)]
        self.people = people.drop_duplicates("lead_id", keep="first").set_index("lead_id")
        self.merged = people.dropna(subset=["merged_into"]).set_index("lead_id")["recorded_at"]
        account = self.people["account_id"].iloc[0]
        self.is_free_mail = pd.isna(account)
        self.fit = tables["accounts"][tables["accounts"]["account_id"] == account]
        deals = tables["opportunities"]
        is_ours = (deals["account_id"] == account) | deals["lead_id"].isin(leads)
        self.deals = deals[is_ours].sort_values("created_at")
        self.listings = tables["opportunity_leads"]
        events = tables["engagement_events"]
        self.events = events[events["lead_id"].isin(leads)]
        changes = tables["stage_changes"]
        self.changes = changes[changes["lead_id"].isin(leads)]

    def probability(self, lead_id: str, monday: int) -> float:
        first = self._first_week()
        weight = np.zeros((5, len(STAGES)))
        stages = [self._stages(week) for week in range(first, monday)]
        likelihood = [self._log_likelihood(week, monday) for week in range(first, monday)]
        prior = self._tier_prior(monday) * self._deal_likelihood(monday)
        paths = np.array(list(product(*stages)))
        for tier in range(5):
            source = SOURCES.index(self._primary()["source"])
            chance = prior[tier] * self.funnel.first_stage[source, paths[:, 0]]
            for place, week in enumerate(range(first, monday)):
                if place:
                    step = self.funnel.transition[week, tier, int(self._handed(week))]
                    chance = chance * step[paths[:, place - 1], paths[:, place]]
                chance = chance * np.exp(likelihood[place][paths[:, place]])
            np.add.at(weight[tier], paths[:, -1], chance)
        weight /= weight.sum()
        return sum(
            weight[tier, stage] * self._future(lead_id, monday, tier, stage)
            for tier, stage in zip(*np.nonzero(weight), strict=True)
        )

    def _future(self, lead_id: str, monday: int, tier: int, stage: int) -> float:
        """Return the chance of a win that lists the lead, over all paths of the horizon."""
        lead = self.people.loc[lead_id]
        role = "unknown" if pd.isna(lead["buying_role"]) else lead["buying_role"]
        by_chance = (
            1.0 if lead["primary_contact"] == "yes" else self.funnel.listed[ROLES.index(role)]
        )
        steps = self.funnel.transition[monday : monday + HORIZON, tier, int(self._handed(monday))]
        total = 0.0
        for path in product(range(len(STAGES)), repeat=HORIZON):
            if WON not in path:
                continue
            walk = (stage, *path)
            chance = np.prod([step[a, b] for step, a, b in zip(steps, walk, path, strict=False)])
            # Until the win the account never left the deal it was in.
            is_same_deal = set(walk[: walk.index(WON)]) == {OPEN}
            if chance > 0:
                listed = self._is_listed(lead_id, monday) if is_same_deal else by_chance
                total += float(chance) * listed
        return total

    def _instant(self, week: int) -> pd.Timestamp:
        return pd.Timestamp(self.funnel.mondays[week], unit="us")

    def _first_week(self) -> int:
        first = self._primary()["created_at"]
        return int((first - self._instant(0)) // pd.Timedelta(days=7))

    def _primary(self) -> pd.Series:
        return self.people[self.people["primary_contact"] == "yes"].iloc[0]

    def _stages(self, week: int) -> tuple[int, ...]:
        """Return the stages the deals and recyclings up to the week's end allow."""
        end = self._instant(week + 1)
        deals = self.deals[self.deals["created_at"] < end]
        if deals.empty:
            return HIDDEN
        newest = deals.iloc[-1]
        if pd.isna(newest["closed_at"]) or newest["closed_at"] >= end:
            return (OPEN,)
        if newest["stage"] == "closed_won":
            return (WON,)
        recycled = self.changes[self.changes["stage"] == "recycled"]["changed_at"]
        recycled = recycled[(recycled > newest["closed_at"]) & (recycled < end)]
        if recycled.empty:
            return (LOST,)
        return (AWARENESS,) if recycled.max() >= self._instant(week) else HIDDEN

    def _handed(self, week: int) -> bool:
        sal = self.changes[self.changes["stage"] == "sal"]["changed_at"]
        return bool((sal < self._instant(week)).any())

    def _is_listed(self, lead_id: str, monday: int) -> bool:
        newest = self.deals[self.deals["created_at"] < self._instant(monday)].iloc[-1]
        if newest["lead_id"] == lead_id:
            return True
        rows = self.listings[self.listings["opportunity_id"] == newest["opportunity_id"]]
        rows = rows[rows["recorded_at"] < self._instant(monday)]
        return lead_id in set(rows["lead_id"])

    def _tier_prior(self, monday: int) -> np.ndarray:
        if self.is_free_mail:
            return np.eye(5)[FREE_MAIL_TIER]
        known = self.fit[self.fit["recorded_at"] < self._instant(monday)].iloc[-1]
        prior = np.zeros(5)
        for industry, band, technology in product(range(8), range(4), range(4)):
            low, high = BANDS[band]
            if pd.notna(known["industry"]) and known["industry"] != INDUSTRIES[industry]:
                continue
            if pd.notna(known["employees"]) and not low <= known["employees"] <= high:
                continue
            if pd.notna(known["crm_in_use"]) and known["crm_in_use"] != TECHNOLOGIES[technology]:
                continue
            share = INDUSTRY_SHARES[industry] * BAND_SHARES[band]
            share *= technology_share(np.array([industry]))[0, technology]
            prior[tier_of(np.array([industry]), np.array([band]))[0]] += share
        return prior

    def _deal_likelihood(self, monday: int) -> np.ndarray:
        likelihood = np.ones(5)
        for amount in self.deals[self.deals["created_at"] < self._instant(monday)]["amount"]:
            more = round(amount / PACK_PRICE) - 1
            for tier, mean in enumerate(self.funnel.packs_mean):
                likelihood[tier] *= np.exp(-mean + more * log(mean) - lgamma(more + 1))
        return likelihood

    def _log_likelihood(self, week: int, monday: int) -> np.ndarray:
        """Return log P(what the export holds of the week before the Monday | stage)."""
        start, end = self._instant(week), self._instant(week + 1)
        rows = self.events[self.events["recorded_at"] < self._instant(monday)]
        rows = rows[(rows["occurred_at"] >= start) & (rows["occurred_at"] < end)]
        total = np.zeros(len(STAGES))
        for lead_id, lead in self.people.iterrows():
            role = "unknown" if pd.isna(lead["buying_role"]) else lead["buying_role"]
            types = rows[rows["lead_id"] == lead_id]["event_type"]
            shares = [self._share(lead_id, week, monday, is_late) for is_late in (False, True)]
            for place, event_type in enumerate(EVENT_TYPES):
                share = shares[int(self.funnel.is_late[place])]
                mean = (
                    self.funnel.event_rate[week, :, place]
                    * self.funnel.role_factor[ROLES.index(role), place]
                    * self.funnel.activity[week]
                    * share
                )
                count = int((types == event_type).sum())
                if share == 0:
                    assert count == 0
                    continue
                total += count * np.log(mean) - mean - lgamma(count + 1)
        return total

    def _share(self, lead_id: str, week: int, monday: int, is_late: bool) -> float:
        """Return the share of the lead's week that is in the record, hour by hour."""
        microsecond = pd.Timedelta(microseconds=1)
        created = (self.people.loc[lead_id, "created_at"] - self._instant(week)) / microsecond
        merged = np.inf
        if lead_id in self.merged:
            merged = (self.merged[lead_id] - self._instant(week)) / microsecond
        hour_us = DAY_US / 24
        begins = hour_us * np.arange(168)
        present = np.minimum(begins + hour_us, merged) - np.maximum(begins, created)
        share = np.diff(self.funnel.hour_share) * np.clip(present / hour_us, 0, 1)
        if is_late:
            for hour in range(168):
                in_time = hour // 24 + np.arange(len(self.funnel.delay_share)) < 7 * (monday - week)
                share[hour] *= self.funnel.delay_share[in_time].sum()
        return float(share.sum())


def _drawn(funnel: Funnel, seed: int) -> tuple[History, dict[str, pd.DataFrame], LeadWeeks]:
    rng = np.random.default_rng(seed)
    accounts, leads = draw_people(funnel, 600, rng)
    accounts.known_at[np.arange(len(accounts.tier)) % 4 > 0] = (
        NEVER  # so that the tier is hidden more often
    )
    history = play(funnel, accounts, leads, rng)
    return history, crm_tables(funnel, history, rng), best_probabilities(funnel, history, HORIZON)


@pytest.mark.parametrize(("handoff_effect", "drift", "seed"), [(1.0, False, 3), (2.5, True, 4)])
def test_the_truth_is_the_sum_over_all_hidden_paths(
    handoff_effect: float, drift: bool, seed: int
) -> None:
    funnel = _fast_funnel(handoff_effect, drift)
    history, tables, truth = _drawn(funnel, seed)
    rng = np.random.default_rng(seed)
    account, leads = history.leads.account[truth.lead], history.leads
    kinds = {
        "any": np.ones(len(account), dtype=bool),
        "near a merge": np.isin(account, leads.account[history.merged < NEVER]),
        "handed over": history.handed[account, truth.monday],
        "unknown fit, known deal": (history.accounts.known_at[account] == NEVER).all(axis=1)
        & (history.stage[account, truth.monday - 1] == OPEN)
        & ~history.accounts.is_free_mail[account],
    }
    chosen = np.concatenate([rng.permutation(np.flatnonzero(k))[:6] for k in kinds.values()])
    for kind, is_in in kinds.items():
        assert is_in.any(), f"{kind}: none is checked"
    for row in chosen:
        number, monday = truth.lead[row], int(truth.monday[row])
        colleagues = np.flatnonzero(history.leads.account == history.leads.account[number])
        created = history.leads.created_week[colleagues]
        ids = [f"L{colleague + 1:06d}" for colleague in colleagues[created < monday]]
        oracle = BruteForce(funnel, tables, ids)
        expected = oracle.probability(f"L{number + 1:06d}", monday)
        assert truth.probability[row] == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_what_is_recorded_later_changes_no_earlier_probability() -> None:
    funnel = _fast_funnel(1.0)
    history, _, truth = _drawn(funnel, 5)
    cut = int(funnel.mondays[4])
    events = history.events
    known = events.recorded < cut
    assert (events.occurred[~known] < cut).any(), "no late event is tested"
    kept = type(events)(
        *(column[known] for column in (events.lead, events.type, events.week, events.occurred)),
        recorded=events.recorded[known],
    )
    again = best_probabilities(funnel, replace(history, events=kept), HORIZON)
    early = truth.monday <= 4
    np.testing.assert_array_equal(again.probability[early], truth.probability[early])


def test_the_filter_never_reads_a_hidden_stage() -> None:
    funnel = _fast_funnel(1.0)
    history, _, truth = _drawn(funnel, 6)
    is_hidden = (history.stage >= 0) & (history.stage < OPEN)
    masked = replace(history, stage=np.where(is_hidden, 0, history.stage))
    again = best_probabilities(funnel, masked, HORIZON)
    np.testing.assert_array_equal(again.probability, truth.probability)


def test_steps_and_shares_are_probabilities() -> None:
    funnel = make_funnel(104, drift=True, handoff_effect=3.0)
    assert (funnel.transition >= 0).all()
    np.testing.assert_allclose(funnel.transition.sum(axis=-1), 1)
    np.testing.assert_allclose(funnel.first_stage.sum(axis=-1), 1)
    np.testing.assert_allclose(funnel.tier_share.sum(axis=-1), 1)
    assert funnel.delay_share.sum() == pytest.approx(1)
    assert funnel.mondays[-1] - funnel.mondays[0] == 104 * 7 * DAY_US
