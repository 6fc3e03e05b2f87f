import numpy as np
import pytest

from training.fitting.baselines import baseline_probabilities, best_feature, logistic_regression
from training.fitting.boost import Rows
from training.metrics import auc, log_loss


def drawn(rows, seed, weight=1.0):
    """Three features: noise, one that moves the outcome without order, one that helps a little."""
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(rows, 3))
    log_odds = -2 + 1.5 * np.abs(matrix[:, 1]) + 0.3 * matrix[:, 2]
    won = (random.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(float)
    matrix[random.random(rows) < 0.2, 1] = np.nan
    return Rows(matrix, won, np.where(won > 0, 1.0, weight))


NAMES = ["noise", "strong", "weak"]


def halves(rows):
    """One fold: the first half to train on, the second to validate on."""
    return np.arange(rows // 2), np.arange(rows // 2, rows)


def test_the_base_rate_is_that_of_the_weighted_fit_rows_and_never_of_the_test_rows():
    fit, test = drawn(2_000, 0, weight=4.0), drawn(500, 1)
    test.won[:] = 1.0
    found = baseline_probabilities(fit, test, NAMES, halves(2_000))["base_rate"]
    wins = fit.won.sum()
    np.testing.assert_allclose(found, np.full(500, wins / (wins + 4 * (2_000 - wins))))


def test_the_best_single_feature_is_found_and_named():
    name, probability = best_feature(drawn(4_000, 0), drawn(1_000, 1), NAMES)
    assert name == "strong"
    assert auc(drawn(1_000, 1).won, probability) > 0.6


def test_missing_values_have_a_bin_of_their_own():
    """Leads without the value win four times as often."""
    random = np.random.default_rng(0)
    value = np.where(random.random(4_000) < 0.3, np.nan, random.normal(size=4_000))
    won = (random.random(4_000) < np.where(np.isnan(value), 0.4, 0.1)).astype(float)
    rows = Rows(value[:, None], won, np.ones(4_000))
    asked = Rows(np.array([[np.nan], [0.0]]), np.zeros(2), np.ones(2))
    _, probability = best_feature(rows, asked, ["value"])
    assert probability == pytest.approx([0.4, 0.1], abs=0.04)


def test_a_bin_of_few_rows_is_pulled_to_the_base_rate():
    value = np.append(np.zeros(999), np.nan)
    won = np.append(np.arange(999) % 10 == 0, 1).astype(float)
    rows = Rows(value[:, None], won, np.ones(1_000))
    _, probability = best_feature(rows, rows, ["value"])
    assert probability[-1] == pytest.approx((1 + 20 * 0.101) / 21)


def test_a_feature_that_is_always_missing_is_no_obstacle():
    fit, test = drawn(1_000, 0), drawn(200, 1)
    fit.matrix[:, 0] = test.matrix[:, 0] = np.nan
    for probability in baseline_probabilities(fit, test, NAMES, halves(1_000)).values():
        assert np.isfinite(probability).all()


def test_logistic_regression_recovers_a_logistic_truth_and_counts_weights():
    random = np.random.default_rng(0)
    matrix = random.normal(size=(20_000, 1))
    truth = 1 / (1 + np.exp(2 - np.sign(matrix[:, 0]) * np.sqrt(np.abs(matrix[:, 0]))))
    won = (random.random(20_000) < truth).astype(float)
    rows = Rows(matrix, won, np.ones(20_000))
    found = logistic_regression(rows, rows, halves(20_000))
    assert log_loss(truth, found) - log_loss(truth, truth) < 1e-3
    thinned = Rows(matrix, won, np.where(won > 0, 1.0, 5.0))
    found = logistic_regression(thinned, rows, halves(20_000))
    assert np.average(found, weights=thinned.weight) == pytest.approx(
        np.average(won, weights=thinned.weight), rel=0.01
    )
