"""Scored weeks made by hand, and those of a demo CRM scored by its truth, for the comparison."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from small_crm import small_config

from features.catalogue.catalogue import build_catalogue
from features.snapshots import mondays
from models.rules import RulesScorer, read_rules
from training.demo import demo_rules
from training.simulate import simulate, write_demo
from training.weekly import ScoredWeeks, score_weeks, won_opportunities

MONDAY = pd.Timestamp("2025-01-06")
WEEK = pd.Timedelta(days=7)


def drawn_weeks(
    seed: int, leads: int = 300, weeks: int = 10, rules_noise: float = 1.5, is_dated: bool = True
) -> ScoredWeeks:
    """Leads that wander through the weeks; the rules see the same wish to buy through more noise.

    Two leads an account, one deal a won lead, opened half-way to the win; two warm-up weeks.
    """
    random = np.random.default_rng(seed)
    wish = random.normal(-2, 1, leads)[:, None] + random.normal(0, 0.5, (leads, weeks + 2))
    won_at = np.where(random.random(leads) < 1 / (1 + np.exp(-wish.mean(axis=1))), 1.0, 0.0)
    first = random.integers(0, weeks, leads)
    week = np.arange(weeks + 2)
    is_there = week >= first[:, None]
    lead, when = np.nonzero(is_there)
    names = np.array([f"lead-{number:04d}" for number in range(leads)])
    win_day = MONDAY + pd.to_timedelta(7 * (first + random.integers(2, 10, leads)), unit="D")
    as_of = MONDAY + pd.to_timedelta(7 * when, unit="D")
    days = (win_day[lead] - as_of).days.to_numpy(float)
    won = (won_at[lead] > 0) & (days >= 0)
    worked = (random.random(leads) < 0.4).astype(float)
    scored = pd.DataFrame(
        {
            "lead_id": pd.array(names[lead], dtype="str"),
            "account": lead // 2,
            "as_of": as_of.to_numpy().astype("datetime64[us]"),
            "probability": 1 / (1 + np.exp(-wish[lead, when])),
            "won_in_horizon": won.astype(float),
            "days_to_win": np.where(won, days, np.nan),
            "opportunity_id": pd.array(np.where(won, names[lead], None), dtype="str"),
            "worked": worked[lead],
            "account_worked": np.maximum.reduceat(worked, np.arange(0, leads, 2))[lead // 2],
            "points": np.round(40 + 10 * (wish + random.normal(0, rules_noise, wish.shape)))[
                lead, when
            ],
            "source": pd.array(np.array(["web", "event", None])[lead % 3], dtype="str"),
        }
    )
    scored = scored[~won | (days >= 7)].sort_values(["as_of", "lead_id"], ignore_index=True)
    winners = np.flatnonzero(won_at > 0)
    wins = pd.DataFrame(
        {
            "opportunity_id": pd.array(names[winners], dtype="str"),
            "lead_id": pd.array(names[winners], dtype="str"),
            "created_at": (win_day[winners] - 4 * pd.Timedelta(days=1)).astype("datetime64[us]"),
            "amount": 1_000.0 + winners,
            "account": winners // 2,
        }
    )
    start, until = MONDAY + 2 * WEEK, MONDAY + (weeks + 2) * WEEK
    if is_dated:
        return ScoredWeeks(scored, wins, start, until, False, True, ("source",))
    epoch = np.datetime64(0, "us")
    once = scored.drop_duplicates("lead_id").assign(as_of=epoch, worked=np.nan)
    once = once.reset_index(drop=True)
    own = wins[wins["lead_id"].isin(once["lead_id"])].assign(created_at=epoch)
    day_zero = pd.Timestamp(0)
    return ScoredWeeks(once, own, day_zero, day_zero + WEEK, False, False, ("source",))


@cache
def true_weeks(handoff_effect: float) -> tuple[ScoredWeeks, ScoredWeeks, float, pd.DataFrame]:
    """A demo CRM scored by its own truth: past and test weeks, the rules' threshold, the truth."""
    from features.loading.sources import load_tables

    demo = simulate(leads=3_000, seed=1, handoff_effect=handoff_effect)
    config = small_config()
    with tempfile.TemporaryDirectory() as folder:
        write_demo(demo, Path(folder))
        (Path(folder) / "rules.toml").write_text(demo_rules(), encoding="utf-8")
        table = read_rules(Path(folder) / "rules.toml")
        tables = load_tables(config, Path(folder)).tables
    catalogue = build_catalogue(tables, config.features, tables.data_until, config.population)
    rules = RulesScorer.of(table, catalogue)
    truth = demo.truth.set_index(["lead_id", "as_of"])["probability"]

    def probability_of(snapshots: pd.DataFrame, _: np.ndarray) -> np.ndarray:
        rows = pd.MultiIndex.from_frame(snapshots[["lead_id", "as_of"]])
        return truth.reindex(rows).fillna(0).to_numpy()

    wins = won_opportunities(tables, config)
    made = []
    for start, until in (("2025-01-06", "2025-05-05"), ("2025-06-02", "2025-10-06")):
        first, end = pd.Timestamp(start), pd.Timestamp(until)
        instants = mondays(first - 4 * WEEK, end - WEEK)
        scored = score_weeks(
            tables, config, catalogue, instants, probability_of, rules, ("source",)
        )
        made.append(ScoredWeeks(scored, wins, first, end, False, True, ("source",)))
    return made[0], made[1], 60.0, demo.truth
