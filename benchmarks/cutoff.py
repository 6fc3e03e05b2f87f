"""Does the cutoff keep its word: 300 simulated pasts whose law is known.

python benchmarks/cutoff.py [--json] [--pasts 300] [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from features.config import CutoffConfig
from models.cutoff import Cutoff
from training.cutoffs.cutoff import choose_cutoff, cutoff_curve
from training.replay import Replay, build_replay

WARM_UP, PAST, HORIZON, AHEAD = 8, 26, 13, 13
"""Weeks: before the replay, of the replay, until its outcomes are known, and forecast."""
BURN_IN = 22
"""Weeks before all that, so that the pool of open leads is in balance."""
WEEKS = BURN_IN + WARM_UP + PAST + HORIZON + AHEAD
START = pd.Timestamp("2024-01-01")
WEEK = pd.Timedelta(days=7)
DORMANT, AWARE, INTERESTED, DECIDING, OPEN, WON, GONE = range(7)
STATES = 7
MOVING_SPREAD, MOVING_GROWTH = 0.12, 0.006
"""Where weeks move: standard deviation of their log volume, and its growth a week (37% a year)."""
SPEEDS = np.array([0.6, 0.85, 1.1, 1.4])
KEPT = {"good": 1.0, "middling": 0.6, "bad": 0.25}
"""Where segments differ: share of an account's wins left, which the probabilities don't know."""


@dataclass(frozen=True)
class Regime:
    """A law: accounts that arrive in a week, how likely they close, how much weeks differ."""

    accounts_a_week: float
    speed: float
    week_spread: float = 0.0
    "Standard deviation of the weeks' log intensity, an autoregression of 0.8."
    growth: float = 0.0
    "Of the log intensity, a week."


REGIMES = {
    "small, few close": Regime(30, 0.6),
    "small, many close": Regime(15, 1.4),
    "large, few close": Regime(120, 0.6),
    "large, many close": Regime(60, 1.4),
}


def steps_of(regime: Regime) -> np.ndarray:
    """Return the weekly transitions of an account: (speed tier, from, to), rows sum to 1."""
    step = np.zeros((len(SPEEDS), STATES, STATES))
    fast = SPEEDS * regime.speed
    forward = ((DORMANT, 0.04), (AWARE, 0.08), (INTERESTED, 0.10), (DECIDING, 0.16))
    for state, chance in forward:
        step[:, state, state + 1] = np.minimum(chance * fast, 0.6)
    for state, back in ((AWARE, 0.06), (INTERESTED, 0.08), (DECIDING, 0.10)):
        step[:, state, state - 1] = back
    step[:, :OPEN, GONE] = 0.03
    step[:, OPEN, WON], step[:, OPEN, GONE] = 0.12, 0.10
    stay = np.arange(STATES)
    step[:, stay, stay] = 1 - step.sum(axis=-1)
    return step


def chances_of(step: np.ndarray) -> np.ndarray:
    """Return the chance of a win in the next `HORIZON` weeks: (speed tier, state)."""
    ahead = np.linalg.matrix_power(step, HORIZON)
    return np.asarray(ahead[:, :, WON])


@dataclass(frozen=True)
class World:
    """One drawn history: what a replay reads."""

    scored: pd.DataFrame
    wins: pd.DataFrame

    def replay(self, first: int, weeks: int) -> Replay:
        """Return the replay of `weeks` from week `first`, warmed up on the weeks before."""
        start = START + first * WEEK
        rows = self.scored[self.scored["as_of"] >= start - WARM_UP * WEEK]
        return build_replay(rows, self.wins, start, start + weeks * WEEK, False)


def draw_world(regime: Regime, random: np.random.Generator, times: float = 1.0) -> World:
    """Return a history of `times` as many accounts as the regime's."""
    step = steps_of(regime)
    chance, cumulated = chances_of(step), step.cumsum(axis=-1)
    effect = np.zeros(WEEKS)
    for week in range(1, WEEKS):
        effect[week] = 0.8 * effect[week - 1] + 0.6 * regime.week_spread * random.normal()
    effect += regime.growth * np.arange(WEEKS)
    arrived = np.repeat(
        np.arange(WEEKS), random.poisson(times * regime.accounts_a_week * np.exp(effect))
    )
    accounts = len(arrived)
    tier = random.integers(0, len(SPEEDS), accounts)
    state = np.full((accounts, WEEKS), GONE)
    now = random.choice(3, accounts, p=[0.5, 0.35, 0.15])
    for week in range(WEEKS):
        here = arrived <= week
        moved = (cumulated[tier, now] < random.random((accounts, 1))).sum(axis=1)
        now = np.where(arrived < week, np.minimum(moved, GONE), now)
        state[here, week] = now[here]
    # Leads: one to five of an account, each on its deal with a chance of its own.
    size = random.choice(5, accounts, p=[0.4, 0.28, 0.17, 0.1, 0.05]) + 1
    account = np.repeat(np.arange(accounts), size)
    listed_chance = random.beta(4, 1.5, len(account))
    is_listed = random.random(len(account)) < listed_chance
    created = np.minimum(arrived[account] + random.geometric(0.2, len(account)) - 1, WEEKS - 1)
    opened = _first(state == OPEN)
    won = _first(state == WON)
    eligible = (state < OPEN)[account] & (np.arange(WEEKS) >= created[:, None])
    lead, week = np.nonzero(eligible)
    of = account[lead]
    wins_in = np.where(is_listed[lead], won[of] - week, WEEKS)
    is_won = (wins_in <= HORIZON).astype(float)
    scored = pd.DataFrame(
        {
            "lead_id": lead,
            "account": of,
            "as_of": (START + week * WEEK).astype("datetime64[us]"),
            "probability": chance[tier[of], state[of, week]] * listed_chance[lead],
            "won_in_horizon": is_won,
            "days_to_win": np.where(is_won > 0, 7.0 * wins_in, np.nan),
            "opportunity_id": of,
        }
    )
    deals = np.flatnonzero(is_listed & (won[account] < WEEKS) & (opened[account] < WEEKS))
    wins = pd.DataFrame(
        {
            "opportunity_id": account[deals],
            "lead_id": deals,
            "account": account[deals],
            "created_at": (START + opened[account[deals]] * WEEK).astype("datetime64[us]"),
        }
    )
    return World(scored, wins)


def in_segments(world: World) -> World:
    """Return the world with a `segment` of three a row, of which two win less than predicted."""
    names, left = np.array([*KEPT]), np.array([*KEPT.values()])

    def lost(account: pd.Series) -> np.ndarray:
        chance = np.random.default_rng(7).random(int(world.scored["account"].max()) + 1)
        return np.asarray(chance[account] >= left[account % len(left)])

    scored, is_lost = world.scored, lost(world.scored["account"])
    scored = scored.assign(
        segment=pd.array(names[scored["account"] % len(names)], dtype="str"),
        won_in_horizon=np.where(is_lost, 0.0, scored["won_in_horizon"]),
        days_to_win=scored["days_to_win"].where(~is_lost),
    )
    return World(scored, world.wins[~lost(world.wins["account"])])


def _first(is_so: np.ndarray) -> np.ndarray:
    return np.where(is_so.any(axis=1), is_so.argmax(axis=1), 9 * WEEKS)


@dataclass(frozen=True)
class Law:
    """A regime, its truth from a large draw, and what the policies are asked for."""

    regime: Regime
    truth: Replay
    times: float
    asked: dict[str, CutoffConfig]
    segments: dict[str, Replay]
    "The truth of each segment, from `in_segments`."

    @classmethod
    def of(cls, regime: Regime, random: np.random.Generator) -> Law:
        """Return the law; what is asked for can be had, but not easily."""
        times = 1800 / regime.accounts_a_week
        drawn = draw_world(regime, random, times)
        truth = drawn.replay(BURN_IN + WARM_UP, PAST)
        apart = in_segments(drawn).replay(BURN_IN + WARM_UP, PAST)
        segments = {name: apart.of((apart.scored["segment"] == name).to_numpy()) for name in KEPT}
        curve = cutoff_curve(truth)
        arrivals = truth.arrivals_a_week / times
        near = int(np.argmin(np.abs(curve.mqls / truth.weeks / times - 0.15 * arrivals)))
        reached = curve.precision[near]
        best = curve.precision[curve.mqls > 0.01 * curve.mqls.max()].max()
        asked = {
            "capacity": CutoffConfig(share=0.12),
            "precision": CutoffConfig(policy="precision", target_precision=0.75 * reached),
            "impossible": CutoffConfig(policy="precision", target_precision=min(1.1 * best, 0.99)),
            "capture": CutoffConfig(policy="capture", min_capture=0.6),
            "money": CutoffConfig(policy="money", win_value=1, contact_cost=0.8 * reached),
            "fixed": CutoffConfig(policy="fixed", value=float(curve.cutoff[near])),
        }
        return cls(regime, truth, times, asked, segments)

    def true_mix(self, cutoff: Cutoff) -> dict[str, float]:
        """Return what segment cutoffs bring in truth, all segments together."""
        values = cutoff.values([*self.segments])
        pairs = list(zip(self.segments.values(), values, strict=True))
        won = np.concatenate([part.mqls(value)["won_in_horizon"] for part, value in pairs])
        flagged = [part.wins["best_before"].dropna() >= value for part, value in pairs]
        return {"precision": float(won.mean()), "capture": float(np.concatenate(flagged).mean())}

    def true_figures(self, cutoff: float) -> dict[str, float]:
        """Return what `cutoff` brings in truth."""
        mqls = self.truth.mqls(cutoff)
        best = self.truth.wins["best_before"].dropna()
        return {
            "volume": len(mqls) / self.truth.weeks / self.times,
            "precision": float(mqls["won_in_horizon"].mean()),
            "capture": float((best >= cutoff).mean()),
        }


Hits = defaultdict[str, list[bool]]
NAMES = {"volume": "mqls_per_week", "precision": "precision", "capture": "capture"}


def try_past(name: str, law: Law, random: np.random.Generator, hits: Hits) -> None:
    """Draw a past, let every policy choose, and note what held."""
    world = draw_world(law.regime, random)
    first = BURN_IN + WARM_UP
    past, recent = world.replay(first, PAST), world.replay(first + PAST, HORIZON)
    for policy, asked in law.asked.items():
        cutoff = choose_cutoff(past, asked, bootstraps=2, seed=0, recent=recent)
        if policy == "impossible":
            hits["precision_wrongly_chosen"].append(cutoff.value is not None)
            continue
        if policy in ("precision", "capture"):
            hits[f"{policy}_chosen"].append(cutoff.value is not None)
        if cutoff.value is None:
            continue
        true = law.true_figures(cutoff.value)
        if policy == "precision":
            hits["precision_kept"].append(true["precision"] >= asked.target_precision)
        if policy == "capture":
            hits["capture_kept"].append(true["capture"] >= asked.min_capture)
        for figure, key in NAMES.items():
            found = cutoff.evidence[key]
            held = found.low <= true[figure] <= found.high
            for kind in ("", f" ({policy})", f" ({name})"):
                hits[f"{figure}_coverage{kind}"].append(held)
        forecast_hits(world, cutoff, hits, "forecast_coverage")
    try_segments(law, world, hits)


def try_segments(law: Law, world: World, hits: Hits) -> None:
    """Let the policies with a promise choose by segment, and note whether the mix keeps it."""
    past = in_segments(world).replay(BURN_IN + WARM_UP, PAST)
    for policy in ("precision", "capture"):
        given = law.asked[policy]
        lower = {"target_precision": 0.7 * given.target_precision, "segment_by": "segment"}
        asked = given.model_copy(update=lower)
        least = asked.target_precision if policy == "precision" else asked.min_capture
        cutoff = choose_cutoff(past, asked, bootstraps=2, seed=0)
        hits[f"segment_{policy}_chosen"].append(not cutoff.qualifies_nobody)
        hits[f"segment_{policy}_apart"].append(bool(cutoff.segments))
        if not cutoff.qualifies_nobody:
            hits[f"segment_{policy}_kept"].append(law.true_mix(cutoff)[policy] >= least)


def forecast_hits(world: World, cutoff: Cutoff, hits: Hits, name: str) -> None:
    """Note whether the forecast holds the mean of the weeks after the newest."""
    ahead = world.replay(BURN_IN + WARM_UP + PAST + HORIZON, AHEAD)
    came = len(ahead.mqls(cutoff.value)) / ahead.weeks
    hits[name].append(cutoff.forecast.low <= came <= cutoff.forecast.high)
    hits[f"{name}: width"].append(cutoff.forecast.high / max(cutoff.forecast.low, 0.01))
    hits[f"{name}: over forecast"].append(came / max(cutoff.forecast.value, 0.01))


def try_regime(task: tuple[str, int, int]) -> dict[str, list[bool]]:
    """Return what held in so many pasts of a regime, and in half as many where weeks move."""
    name, pasts, seed = task
    random = np.random.default_rng(seed)
    law = Law.of(REGIMES[name], random)
    hits: Hits = defaultdict(list)
    for _ in range(pasts):
        try_past(name, law, random, hits)
    moving = replace(law.regime, week_spread=MOVING_SPREAD, growth=MOVING_GROWTH)
    for _ in range(pasts // 2):
        world = draw_world(moving, random)
        past = world.replay(BURN_IN + WARM_UP, PAST)
        recent = world.replay(BURN_IN + WARM_UP + PAST, HORIZON)
        cutoff = choose_cutoff(past, law.asked["capacity"], 2, 0, recent=recent)
        forecast_hits(world, cutoff, hits, "forecast_coverage_moving")
    return dict(hits)


def main() -> None:
    """Simulate, choose, hold against the truth, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--pasts", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    begun = time.perf_counter()
    each = arguments.pasts // len(REGIMES)
    tasks = [(name, each, arguments.seed + place) for place, name in enumerate(REGIMES)]
    hits: Hits = defaultdict(list)
    with ProcessPoolExecutor(arguments.processes) as pool:
        for found in pool.map(try_regime, tasks):
            for name, held in found.items():
                hits[name] += held
    figures = {name: float(np.mean(held)) for name, held in sorted(hits.items())}
    figures["pasts"] = each * len(REGIMES)
    figures["seconds"] = time.perf_counter() - begun
    if not arguments.json:
        for name, value in figures.items():
            print(f"{name:>48}  {value:,.3f}")
    print(json.dumps({"figures": figures}))


if __name__ == "__main__":
    main()
