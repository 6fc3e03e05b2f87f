"""A frozen forest's calibration, corrected from outcomes that are known in part."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.special import expit

from models.calibration import Calibration
from training.fitting.recalibrate import Outcomes, recalibrate
from training.fitting.time_to_win import TimeToWin

HORIZON, WEEKS, PER_WEEK = 91, 52, 400


@cache
def outcomes(rate: float = 1.0, changed_weeks: int = 13, seed: int = 0) -> Outcomes:
    """Weekly snapshots; wins of the newest weeks come at `rate` times the chance of the score."""
    generator = np.random.default_rng(seed)
    age = np.repeat(np.arange(WEEKS), PER_WEEK) * 7.0
    raw = np.round(2 * generator.normal(-3.0, 1.0, len(age))) / 2  # rows that agree are quick
    days = generator.beta(1.3, 1.3, len(age)) * HORIZON
    is_after = age - days < changed_weeks * 7
    chance = expit(raw) * np.where(is_after, rate, 1.0)
    exposure = np.minimum(age, HORIZON)
    won = (generator.random(len(age)) < chance) & (days < exposure)
    return Outcomes(
        raw, won.astype(float), np.where(won, days, np.nan), exposure, np.ones(len(age)),
        np.arange(len(age)), age,
    )  # fmt: skip


def timing_of(known: Outcomes) -> TimeToWin:
    assert known.age_days is not None
    old = known.age_days >= 26 * 7
    return TimeToWin.of(known.days_to_win[old], known.weight[old], HORIZON, known.raw_score[old])


@cache
def corrected(rate: float, seed: int = 0) -> Calibration:
    known = outcomes(rate, seed=seed)
    return recalibrate(Calibration.identity(), known, HORIZON, timing_of(known))


def mean_now(calibration: Calibration, known: Outcomes) -> float:
    assert known.age_days is not None
    return float(calibration.probability(known.raw_score[known.age_days < 28]).mean())


@pytest.mark.parametrize("rate", [0.5, 2.0, 3.0])
def test_a_change_is_learnt_from_horizons_that_are_half_over(rate: float) -> None:
    known = outcomes(rate)
    truth = rate * mean_now(Calibration.identity(), known)
    assert mean_now(corrected(rate), known) == pytest.approx(truth, rel=0.15)


def test_without_a_clear_change_the_map_stays_as_it_is() -> None:
    for seed in (2, 3):
        assert corrected(1.0, seed) == Calibration.identity()


def test_early_wins_do_not_make_young_rows_look_better_or_worse() -> None:
    """Only half of each horizon is over: counting the rest as lost would halve the mean."""
    known = outcomes(seed=1)
    assert known.age_days is not None
    young = (known.age_days < HORIZON) & (known.age_days > 0)
    kept = Outcomes(*(None if c is None else c[young] for c in vars(known).values()))
    newer = recalibrate(Calibration.identity(), kept, HORIZON, timing_of(known))
    before = mean_now(Calibration.identity(), known)
    assert mean_now(newer, known) == pytest.approx(before, rel=0.15)


def test_few_wins_change_little() -> None:
    known = outcomes(3.0)
    some = np.random.default_rng(0).permutation(len(known.won))[:150]
    kept = Outcomes(*(None if c is None else c[some] for c in vars(known).values()))
    newer = recalibrate(Calibration.identity(), kept, HORIZON, timing_of(known))
    ratio = mean_now(newer, known) / mean_now(Calibration.identity(), known)
    assert 0.8 < ratio < 1.6


def test_nothing_known_changes_nothing() -> None:
    known = outcomes()
    none = Outcomes(*(None if c is None else c[:PER_WEEK] for c in vars(known).values()))
    old = Calibration((-4.0, -1.0), (-5.0, -1.5), 0.7, 1.2)
    assert recalibrate(old, none, HORIZON, timing_of(known)) == old


def test_the_order_of_leads_stays_and_shifts_are_kept() -> None:
    known = outcomes(0.5)
    old = Calibration((-4.0, -1.0), (-4.2, -1.5), 0.7, 1.2, "region", {"EMEA": 0.5})
    newer = recalibrate(old, known, HORIZON, timing_of(known))
    grid = np.linspace(-9, 4, 200)
    assert (np.diff(newer.apply(grid)) > 0).all()
    assert newer.raw == old.raw
    assert newer.segment_by == "region"
    shift = newer.apply([0.0], ["EMEA"])[0] - newer.apply([0.0])[0]
    slope = newer.slope_above / old.slope_above
    assert shift == pytest.approx(0.5 * slope)


def test_wins_of_one_account_are_less_evidence_than_those_of_many() -> None:
    known = outcomes(2.0)
    alone = corrected(2.0)
    together = replace(known, account=np.where(known.won > 0, 0, 1 + np.arange(len(known.won))))
    moved = recalibrate(Calibration.identity(), together, HORIZON, timing_of(known))
    before = mean_now(Calibration.identity(), known)
    assert mean_now(moved, known) - before < 0.3 * (mean_now(alone, known) - before)
