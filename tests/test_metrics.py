import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from training.metrics import auc, calibration_error, capture_rate, evaluate, log_loss


@st.composite
def outcomes(draw):
    rows = draw(st.integers(2, 60))
    won = draw(st.lists(st.booleans(), min_size=rows, max_size=rows))
    won[:2] = [True, False]
    grid = st.integers(1, 9).map(lambda tenth: tenth / 10)  # so that ties happen
    probability = draw(st.lists(grid, min_size=rows, max_size=rows))
    weight = draw(st.lists(st.integers(1, 3), min_size=rows, max_size=rows))
    return np.array(won, float), np.array(probability), np.array(weight, float)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(outcomes())
def test_metrics_equal_those_of_scikit_learn(drawn):
    won, probability, weight = drawn
    found = evaluate(won, probability, weight, np.arange(len(won)), bootstraps=1, seed=0)
    expected = {
        "log_loss": sklearn_metrics.log_loss(won, probability, sample_weight=weight),
        "brier": sklearn_metrics.brier_score_loss(won, probability, sample_weight=weight),
        "auc": sklearn_metrics.roc_auc_score(won, probability, sample_weight=weight),
        "average_precision": sklearn_metrics.average_precision_score(
            won, probability, sample_weight=weight
        ),
    }
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, abs=1e-12), name


@settings(max_examples=50, deadline=None, derandomize=True)
@given(outcomes(), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_metric(drawn, random):
    order = list(range(len(drawn[0])))
    random.shuffle(order)
    account = np.zeros(len(order), int)
    before = evaluate(*drawn, account, bootstraps=1, seed=0)
    after = evaluate(*(part[order] for part in drawn), account, bootstraps=1, seed=0)
    for name, found in before.items():
        if name != "calibration_error":  # bins of equal mass may cut through ties
            assert after[name].value == pytest.approx(found.value, abs=1e-12), name


def test_fractional_outcomes_are_expected_values():
    probability = np.array([0.2, 0.5, 0.9])
    assert log_loss(probability, probability) < log_loss(probability, np.array([0.3, 0.5, 0.8]))
    doubled = auc(np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.7, 0.7, 0.2, 0.2]))
    assert auc(np.array([0.5, 0.5]), np.array([0.7, 0.2])) == doubled == 0.5


def test_calibrated_probabilities_have_a_small_calibration_error_and_shifted_ones_do_not():
    random = np.random.default_rng(0)
    probability = random.beta(1, 9, 50_000)
    won = (random.random(50_000) < probability).astype(float)
    assert calibration_error(won, probability) < 0.006
    assert calibration_error(won, probability + 0.05) == pytest.approx(0.05, abs=0.006)


def test_one_tie_of_all_rows_captures_in_proportion():
    won, equal = np.array([1.0, 0.0, 0.0, 1.0]), np.full(4, 0.3)
    assert capture_rate(won, equal, 0.25) == pytest.approx(0.25)


def test_intervals_by_account_cover_the_truth_and_are_wider_than_by_row():
    """Ten rows of an account share their outcome, so rows alone claim too much."""
    random = np.random.default_rng(1)
    covered = 0
    for seed in range(60):
        account = np.repeat(np.arange(100), 10)
        won = np.repeat((random.random(100) < 0.3).astype(float), 10)
        probability, weight = np.full(1000, 0.3), np.ones(1000)
        by_account = evaluate(won, probability, weight, account, 100, seed)["brier"]
        covered += by_account.low <= 0.21 <= by_account.high
    assert covered >= 48  # 90% of 60 is 54, two standard errors are 4.6
    by_row = evaluate(won, probability, weight, np.arange(1000), 100, seed)["brier"]
    assert by_account.high - by_account.low > 2 * (by_row.high - by_row.low)  # sqrt(10) in theory
