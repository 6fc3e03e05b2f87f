import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit

from models.calibration import Calibration
from training.fitting.calibrate import PRIOR_WINS, STIFFNESS, choose_half_life, fit_calibration

DAY = np.timedelta64(1, "D")


def drawn(rows, log_odds, seed=0):
    """Raw scores around -2, outcomes drawn from `log_odds` of them, accounts and five folds."""
    random = np.random.default_rng(seed)
    raw = random.normal(-2, 1.5, rows)
    won = (random.random(rows) < expit(log_odds(raw))).astype(float)
    return raw, won, np.ones(rows), np.arange(rows), np.arange(rows) % 5


@pytest.mark.parametrize(("slope", "intercept"), [(0.5, -1.0), (1.0, 0.0), (2.0, 1.5)])
def test_a_known_affine_distortion_is_undone(slope, intercept):
    found = fit_calibration(*drawn(15_000, lambda raw: intercept + slope * raw))
    raw = np.linspace(-4, 0, 9)
    np.testing.assert_allclose(found.apply(raw), intercept + slope * raw, atol=0.15)


def test_a_straight_truth_gets_a_straight_map():
    bent = [len(fit_calibration(*drawn(5_000, lambda raw: raw, seed)).raw) > 1 for seed in range(8)]
    assert sum(bent) <= 2  # one standard error is exceeded by chance in one of six


def test_a_bent_truth_gets_a_bent_map_that_follows_it():
    def truth(raw):
        return -2 + np.where(raw < -2, 2.0, 0.3) * (raw + 2)

    found = fit_calibration(*drawn(15_000, truth))
    assert len(found.raw) > 1
    raw = np.array([-3.0, -2.0, 0.0])
    np.testing.assert_allclose(found.apply(raw), truth(raw), atol=0.25)


@pytest.mark.parametrize(
    ("rows", "low", "high"),
    [
        (60, 0.5, 1.1),  # a handful of wins barely moves the slope from 1
        (20_000, 0.05, 0.25),  # thousands of wins are believed
    ],
)
def test_few_wins_keep_the_slope_near_one(rows, low, high):
    """The truth has a slope of 0.15: scores that claim far too much."""
    found = fit_calibration(*drawn(rows, lambda raw: -2 + 0.15 * raw))
    assert low < found.slope_above < high


def test_a_weight_of_two_counts_as_the_row_twice():
    raw, won, weight, account, fold = drawn(3_000, lambda raw: raw / 2)
    twice = np.append(np.arange(3_000), np.flatnonzero(won > 0))
    weighted = fit_calibration(raw, won, np.where(won > 0, 2.0, weight), account, fold)
    repeated = fit_calibration(
        raw[twice], won[twice], np.ones(len(twice)), account[twice], fold[twice]
    )
    np.testing.assert_allclose(weighted.apply(raw), repeated.apply(raw), atol=1e-3)


def test_the_order_of_rows_changes_nothing():
    columns = drawn(3_000, lambda raw: raw / 2)
    order = np.random.default_rng(1).permutation(3_000)
    shuffled = fit_calibration(*(column[order] for column in columns))
    raw = np.linspace(-8, 4, 50)
    np.testing.assert_allclose(shuffled.apply(raw), fit_calibration(*columns).apply(raw), atol=1e-3)


@st.composite
def scored_rows(draw):
    """Any scores, ties and extremes included, with at least one win and one loss."""
    rows = draw(st.integers(2, 60))
    scores = st.one_of(st.floats(-30, 30), st.sampled_from([-3.0, -3.0 + 1e-15, 0.0, 1e-300]))
    raw = np.array(draw(st.lists(scores, min_size=rows, max_size=rows)))
    won = np.array(draw(st.lists(st.integers(0, 1), min_size=rows, max_size=rows)), float)
    won[:2] = [1.0, 0.0]
    weight = draw(st.lists(st.floats(0.01, 50), min_size=rows, max_size=rows))
    return raw, won, np.array(weight), np.arange(rows) // 2, np.arange(rows) % 3


@settings(max_examples=30, deadline=None, derandomize=True)
@given(scored_rows())
def test_whatever_the_rows_the_map_keeps_the_ranking(rows):
    raw = np.sort(rows[0])
    probability = fit_calibration(*rows).apply(raw)
    assert np.isfinite(probability).all()
    assert (np.diff(probability) >= 0).all()
    assert (np.diff(probability)[np.diff(raw) > 1e-6] > 0).all()


def _objective(raw, won, weight, map_of):
    """The loss as its docstring tells it, written once more and slowly."""

    def loss(parameters):
        calibration = map_of(parameters)
        logs = np.array(parameters[1:])
        likelihood = np.logaddexp(0, calibration.apply(raw)) - won * calibration.apply(raw)
        bends = STIFFNESS * (np.diff(logs) ** 2).sum()
        return weight @ likelihood + PRIOR_WINS * logs.mean() ** 2 + bends

    return loss


@pytest.mark.parametrize("is_bent", [False, True])
def test_no_other_map_of_its_kind_has_a_lower_penalised_loss(is_bent):
    """A wrong gradient would stop the search elsewhere."""
    bend = 0.2 if is_bent else 1.0
    raw, won, weight, account, fold = drawn(
        8_000, lambda raw: -2 + np.where(raw < -2, 2, 2 * bend) * raw
    )
    weight = weight * np.random.default_rng(2).uniform(0.5, 2, len(raw))
    found = fit_calibration(raw, won, weight, account, fold)
    assert (len(found.raw) > 1) == is_bent
    knots = np.array(found.raw)

    def map_of(parameters):
        slopes = np.exp(parameters[1:])
        rises = np.append(0.0, np.cumsum(slopes[1:-1] * np.diff(knots))) if is_bent else [0.0]
        return Calibration(tuple(knots), tuple(parameters[0] + rises), slopes[0], slopes[-1])

    inner = np.diff(found.calibrated) / np.diff(knots) if is_bent else []
    above = [found.slope_above] if is_bent else []
    at = np.array([found.calibrated[0], *np.log([found.slope_below, *inner, *above])])
    loss = _objective(raw, won, weight, map_of)
    better = minimize(loss, at, method="Nelder-Mead", options={"maxfev": 1_500})
    assert loss(at) - better.fun < 1e-3


def _two_years(rates, seed=0):
    """Rows over two years with uninformative scores; `rates` by day gives the win rate."""
    random = np.random.default_rng(seed)
    day = np.sort(random.integers(0, 730, 12_000))
    won = (random.random(len(day)) < rates(day)).astype(float)
    as_of = np.datetime64("2024-01-01", "us") + day * DAY
    return np.full(len(day), -2.0), won, np.ones(len(day)), np.arange(len(day)), as_of


def test_a_recent_shift_of_the_base_rate_shortens_the_memory():
    shifting = _two_years(lambda day: np.where(day < 365, 0.20, 0.05))
    assert choose_half_life(*shifting, gap_days=28) in (91, 182)


def test_a_steady_base_rate_forgets_nothing():
    assert choose_half_life(*_two_years(lambda day: np.full(len(day), 0.1)), gap_days=28) is None


def test_labels_not_known_at_the_time_choose_nothing():
    """With a gap as long as the history nothing was known in time to calibrate with."""
    shifting = _two_years(lambda day: np.where(day < 365, 0.20, 0.05))
    assert choose_half_life(*shifting, gap_days=730) is None
