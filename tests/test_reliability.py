"""Intervals of win rates that hold the truth, the bins of the reliability curve, its picture."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scored_rows import drawn, some_test_rows

from training.reliability import LEAST_ACCOUNTS, observed_rate, rates_by, reliability_bins
from training.report import charts


def drawn_segment(random, accounts, known):
    """Rows of accounts that win or lose together, most of it; their true and predicted chances.

    Every account has a chance of its own. The model knows the `known` share of what moves it; the
    truth of a row is its account's chance. Rows of an account follow its outcome, but for one in
    five, drawn anew.
    """
    sizes = random.geometric(0.3, accounts)
    account = np.repeat(np.arange(accounts), sizes)
    seen, hidden = random.normal(size=(2, accounts))
    chance = expit(-3 + 1.2 * (np.sqrt(known) * seen + np.sqrt(1 - known) * hidden))
    together = (random.random(accounts) < chance).astype(float)
    alone = (random.random(len(account)) < chance[account]).astype(float)
    won = np.where(random.random(len(account)) < 0.8, together[account], alone)
    predicted = expit(-2.9 + 1.2 * np.sqrt(known) * seen)
    return won, predicted[account], np.ones(len(account)), account, chance[account]


@pytest.mark.parametrize("accounts", [150, 1_000])
def test_ninety_of_a_hundred_intervals_hold_the_rate_the_rows_were_due(accounts):
    random = np.random.default_rng(0)
    held = []
    for _ in range(400):
        *rows, chance = drawn_segment(random, accounts, known=0.9)
        found = observed_rate(*rows)
        if found.low is not None:
            held.append(found.low <= chance.mean() <= found.high)
    assert len(held) > 250
    assert 0.86 <= np.mean(held) <= 0.94


def test_intervals_of_thinned_rows_hold_the_rate_of_all():
    """Only every fourth lost row is left and stands for four."""
    random = np.random.default_rng(1)
    held = []
    for _ in range(300):
        won, predicted, weight, account, chance = drawn_segment(random, 600, known=0.9)
        kept = (won > 0) | (random.random(len(won)) < 0.25)
        weight = np.where(won > 0, 1.0, 4.0)
        found = observed_rate(won[kept], predicted[kept], weight[kept], account[kept])
        held.append(found.low <= chance.mean() <= found.high)
    assert 0.86 <= np.mean(held) <= 0.95


def test_rows_of_one_account_are_no_independent_evidence():
    won, predicted, weight, account, _ = drawn_segment(np.random.default_rng(2), 500, known=0.5)
    together = observed_rate(won, predicted, weight, account)
    alone = observed_rate(won, predicted, weight, np.arange(len(won)))
    assert together.value == alone.value
    assert together.high - together.low > 1.3 * (alone.high - alone.low)


def test_what_the_model_knows_is_not_luck():
    random = np.random.default_rng(3)
    chance = expit(-1 + 3 * random.normal(size=2_000))
    won, one = (random.random(2_000) < chance).astype(float), np.ones(2_000)
    knowing = observed_rate(won, chance, one, np.arange(2_000))
    ignorant = observed_rate(won, np.full(2_000, 0.5), one, np.arange(2_000))
    assert knowing.high - knowing.low < 0.8 * (ignorant.high - ignorant.low)


def test_a_model_that_is_off_for_all_rows_changes_the_interval_little():
    """Its mean is moved to the win rate first: a wrong mean is no luck of the accounts."""
    random = np.random.default_rng(3)
    log_odds = -1 + random.normal(size=2_000)
    won, one = (random.random(2_000) < expit(log_odds)).astype(float), np.ones(2_000)
    honest = observed_rate(won, expit(log_odds), one, np.arange(2_000))
    off = observed_rate(won, expit(log_odds + 3), one, np.arange(2_000))
    assert off.high - off.low == pytest.approx(honest.high - honest.low, rel=1e-3)


@pytest.mark.parametrize(
    ("winning", "losing", "is_told"),
    [
        (LEAST_ACCOUNTS, 50, True),
        (LEAST_ACCOUNTS - 1, 50, False),  # too few won
        (0, 50, False),
        (50, LEAST_ACCOUNTS, True),
        (50, LEAST_ACCOUNTS - 1, False),  # too few lost
        (50, 0, False),
    ],
)
def test_too_few_accounts_get_no_interval(winning, losing, is_told):
    won = np.repeat([1.0, 0.0], [winning, losing])
    rows = len(won)
    found = observed_rate(won, np.full(rows, 0.1), np.ones(rows), np.arange(rows))
    assert (found.low is not None) == (found.high is not None) == is_told
    assert found.value == winning / rows


def test_many_wins_of_few_accounts_are_too_few():
    won = np.repeat([1.0, 0.0], [40, 60])
    account = np.append(np.arange(40) % (LEAST_ACCOUNTS - 1), np.arange(60) + 100)
    assert observed_rate(won, np.full(100, 0.3), np.ones(100), account).low is None


quick = settings(max_examples=80, deadline=None, derandomize=True)


@st.composite
def any_rows(draw):
    count = draw(st.integers(1, 60))
    won = np.array(draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=count, max_size=count)))
    chances = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0, 1e-12]))
    predicted = np.array(draw(st.lists(chances, min_size=count, max_size=count)))
    weight = np.array(draw(st.lists(st.floats(0.01, 50), min_size=count, max_size=count)))
    account = np.array(draw(st.lists(st.integers(0, 30), min_size=count, max_size=count)))
    return won, predicted, weight, account


@quick
@given(any_rows())
def test_an_interval_lies_in_0_to_1_around_the_rate_and_knows_no_order(rows):
    found = observed_rate(*rows)
    order = np.random.default_rng(0).permutation(len(rows[0]))
    other = observed_rate(*(values[order] for values in rows))
    if found.low is None:
        assert other.low is None
        return
    assert 0 <= found.low <= found.value <= found.high <= 1
    np.testing.assert_allclose([other.low, other.high], [found.low, found.high], atol=1e-6)


def test_bins_expect_the_same_number_of_wins():
    test = some_test_rows()
    bins = reliability_bins(test)
    expected = test["probability"].groupby(bins).sum()
    assert len(expected) == 10
    assert expected.max() < 1.1 * expected.min()
    assert (np.diff(test["probability"].groupby(bins).mean()) > 0).all()


def test_few_wins_make_fewer_bins_and_equal_probabilities_share_one():
    few = some_test_rows(600)
    won_accounts = few.loc[few["won"] > 0, "account"].nunique()
    assert len(np.unique(reliability_bins(few))) == won_accounts // 10 < 10
    flat = some_test_rows().assign(probability=0.1)
    assert len(np.unique(reliability_bins(flat))) == 1
    assert (reliability_bins(flat.assign(won=0.0)) == 0).all()


def test_the_order_of_rows_changes_no_rate():
    test = some_test_rows(3_000)
    shuffled = test.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(
        rates_by(shuffled, reliability_bins(shuffled)), rates_by(test, reliability_bins(test))
    )


def test_the_reliability_curve_draws_every_bin_with_its_interval():
    test = some_test_rows()
    rates = rates_by(test, reliability_bins(test))
    marks = drawn(charts.reliability(test))
    assert [row["observed"] for row in marks["circle"]] == pytest.approx(rates["observed"].tolist())
    bars = [(row["low"], row["high"]) for row in marks["rule"]]
    assert bars == [pytest.approx(bar) for bar in zip(rates["low"], rates["high"], strict=True)]
    assert marks["point"] == []


def test_a_bin_without_an_interval_is_an_open_dot():
    few = some_test_rows(60)
    few["won"] = np.where(few.index < 4, 1.0, 0.0)
    marks = drawn(charts.reliability(few))
    assert marks["circle"] == marks["rule"] == []
    assert len(marks["point"]) == 1
    assert charts.svg(charts.reliability(few)).startswith("<svg")
