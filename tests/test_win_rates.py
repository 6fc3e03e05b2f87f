"""What points are worth: a map that always rises, whatever the past looked like."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.win_rates import MOST_GROUPS, fit_win_rates


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 400), st.floats(-0.2, 0.2), st.booleans())
def test_more_points_are_always_worth_more(
    seed: int, rows: int, slope: float, has_disqualified: bool
) -> None:
    generator = np.random.default_rng(seed)
    points = np.round(generator.normal(30, 20, rows), generator.integers(-1, 2))
    if has_disqualified:
        points[generator.random(rows) < 0.3] = -np.inf
    won = generator.random(rows) < 1 / (1 + np.exp(-slope * np.nan_to_num(points, neginf=0)))
    rates = fit_win_rates(points, won.astype(float), generator.uniform(0.1, 5, rows))
    assert len(rates.points) <= MOST_GROUPS
    worth = rates.probability(np.linspace(-200, 300, 401))
    assert ((worth > 0) & (worth < 1)).all()
    assert (np.diff(worth) > 0).all()
    assert 0 <= rates.probability(np.array([-np.inf]))[0] <= 1


def test_the_rates_are_those_of_the_rows() -> None:
    generator = np.random.default_rng(1)
    points = np.repeat([0.0, 20.0, 50.0, 80.0], 5_000)
    true = np.repeat([0.01, 0.05, 0.2, 0.4], 5_000)
    won = (generator.random(20_000) < true).astype(float)
    rates = fit_win_rates(points, won, np.ones(20_000))
    np.testing.assert_allclose(
        rates.probability(np.array([0.0, 20.0, 50.0, 80.0])), [0.01, 0.05, 0.2, 0.4], atol=0.015
    )


def test_a_row_of_weight_three_counts_as_three() -> None:
    points, won = np.array([0.0, 0.0, 50.0]), np.array([0.0, 1.0, 1.0])
    weighted = fit_win_rates(points, won, np.array([3.0, 1.0, 2.0]))
    repeated = np.repeat(np.arange(3), [3, 1, 2])
    assert weighted == fit_win_rates(points[repeated], won[repeated], np.ones(6))


def test_the_disqualified_have_their_own_rate_shrunk_to_that_of_few_points() -> None:
    points = np.r_[np.full(2_000, -np.inf), np.zeros(1_000), np.full(1_000, 50.0)]
    won = (np.arange(4_000) % 100 < np.repeat([30, 10, 40], [2_000, 1_000, 1_000])).astype(float)
    rates = fit_win_rates(points, won, np.ones(4_000))
    # those shut out won more often than those with no points, and that is said
    assert rates.disqualified == pytest.approx(0.3, abs=0.005)
    assert fit_win_rates(points[2_000:], won[2_000:], np.ones(2_000)).disqualified == pytest.approx(
        0.1, abs=0.005
    )


def test_everybody_disqualified_is_worth_the_base_rate() -> None:
    rates = fit_win_rates(np.full(100, -np.inf), np.arange(100) % 4 == 0, np.ones(100))
    assert rates.disqualified == pytest.approx(0.25, abs=0.01)
    assert rates.probability(np.array([10.0]))[0] == pytest.approx(0.25, abs=0.01)


def test_rows_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="of one length"):
        fit_win_rates(np.zeros(2), np.zeros(3), np.ones(3))
    with pytest.raises(ValueError, match="at least one row"):
        fit_win_rates(np.zeros(0), np.zeros(0), np.ones(0))
