"""Cross-fitted boosters, the search, and the fitted model's out-of-fold scores."""

import numpy as np
import pandas as pd
import pytest

from features.catalogue.catalogue import Catalogue, Feature
from features.config import Config
from training.examples import Examples
from training.fitting.boost import (
    DEFAULTS,
    Rows,
    booster_parameters,
    cross_fit,
    raw_scores,
    refit,
    search_parameters,
)
from training.fitting.fit import Choices, choose, fit_model, make_folds
from training.fitting.folds import account_folds
from training.metrics import auc

PARAMETERS = booster_parameters(DEFAULTS, seed=0, num_threads=1) | {"learning_rate": 0.1}
DAY = np.timedelta64(1, "D")


def random_rows(rows=2_000, seed=0, noise_only=False):
    """Rows of four features, the first of which moves the outcome, and their 200 accounts."""
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(rows, 4))
    log_odds = -1.5 + (0 if noise_only else 1) * matrix[:, 0]
    won = (random.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(float)
    return Rows(matrix, won, np.ones(rows)), random.integers(0, 200, rows)


def test_a_feature_that_memorises_accounts_cannot_reach_their_out_of_fold_scores():
    """All rows of an account share one outcome, and the feature is the account's number."""
    random = np.random.default_rng(0)
    account = np.repeat(np.arange(60), 30)
    won = np.repeat((random.random(60) < 0.3).astype(float), 30)
    won = np.where(random.random(1_800) < 0.1, 1.0, won)  # noise, so that growing stops
    rows = Rows(random.permutation(60)[account][:, None].astype(float), won, np.ones(1_800))
    quick = {**PARAMETERS, "learning_rate": 0.3}
    apart = cross_fit(rows, account_folds(account, 3, seed=0), quick)
    torn = cross_fit(rows, account_folds(np.arange(1_800), 3, seed=0), quick)
    assert auc(won, apart.raw_score) < 0.6
    assert auc(won, torn.raw_score) > 0.8  # what the folds protect from


def test_each_rows_score_comes_from_the_booster_that_left_it_out():
    rows, account = random_rows()
    fitted = cross_fit(rows, account_folds(account, 4, seed=0), PARAMETERS)
    assert np.isfinite(fitted.raw_score).all()
    for booster, (train, valid) in zip(fitted.boosters, fitted.folds, strict=True):
        scores = raw_scores(booster, rows.matrix, fitted.trees, PARAMETERS)
        np.testing.assert_array_equal(scores[valid], fitted.raw_score[valid])
        assert not np.isin(train, valid).any()


def test_the_outcomes_of_a_fold_do_not_touch_its_booster():
    rows, account = random_rows()
    folds = account_folds(account, 4, seed=0)
    turned = rows.won.copy()
    turned[folds[0][1]] = 1 - turned[folds[0][1]]
    before = cross_fit(rows, folds, PARAMETERS).boosters
    after = cross_fit(Rows(rows.matrix, turned, rows.weight), folds, PARAMETERS).boosters
    first, second = (
        [raw_scores(boosters[k], rows.matrix, 10, PARAMETERS) for k in (0, 1)]
        for boosters in (before, after)
    )
    np.testing.assert_array_equal(first[0], second[0])
    assert not np.array_equal(first[1], second[1])


def test_weights_move_both_the_boosters_and_the_refit():
    """Half of the rows always win and hardly count."""
    rows, account = random_rows(noise_only=True)
    half = np.arange(len(rows.won)) % 2 == 0
    won = np.where(half, 1.0, rows.won)
    weighted = Rows(rows.matrix, won, np.where(half, 1e-3, 1.0))
    rate = won[~half].mean()
    fitted = cross_fit(weighted, account_folds(account, 4, seed=0), PARAMETERS)
    refitted = raw_scores(refit(weighted, PARAMETERS, 5), rows.matrix, 5, PARAMETERS)
    for scores in (fitted.raw_score, refitted):
        assert abs(1 / (1 + np.exp(-scores.mean())) - rate) < 0.03


def test_the_refit_gives_the_same_text_twice_and_another_for_another_seed():
    rows, _ = random_rows()
    first, second = (refit(rows, PARAMETERS, 10).model_to_string() for _ in range(2))
    assert first == second
    assert refit(rows, {**PARAMETERS, "seed": 1}, 10).model_to_string() != first


def test_the_search_keeps_the_defaults_where_there_is_nothing_to_find():
    rows, account = random_rows(noise_only=True)
    folds = account_folds(account, 3, seed=0)
    assert search_parameters(rows, account, folds, trials=4, seed=0, num_threads=1) == DEFAULTS


def test_the_search_finds_parameters_that_clearly_beat_the_defaults():
    """Islands of 30 rows: the defaults may not split as fine as that."""
    random = np.random.default_rng(0)
    island = random.integers(0, 20, 600)
    won = np.where(random.random(600) < 0.2, 1.0, island % 2)  # noise, so that growing stops
    rows = Rows(island[:, None].astype(float), won, np.ones(600))
    folds = account_folds(np.arange(600), 3, seed=0)
    found = search_parameters(rows, np.arange(600), folds, trials=6, seed=0, num_threads=1)
    assert found["min_data_in_leaf"] < DEFAULTS["min_data_in_leaf"]


CATALOGUE = Catalogue(
    (
        Feature("visits", "engagement", "visits", "count"),
        Feature("industry", "fit", "industry", "attribute", dtype="category"),
    )
)


def dated_examples(days, rate_of_day=lambda day: np.full(len(day), 0.2), rows=3_000, weight=1.0):
    """Leads of 600 accounts on random days; negatives stand for `weight` rows each."""
    random = np.random.default_rng(0)
    day = np.sort(random.integers(0, days, rows))
    lead = random.integers(0, 1_000, rows)
    visits = random.poisson(1, rows).astype(np.float32)
    rate = rate_of_day(day)
    odds = rate / (1 - rate) * np.exp(0.8 * (visits - 1))
    won = (random.random(rows) < odds / (1 + odds)).astype(float)
    snapshots = pd.DataFrame(
        {
            "lead_id": pd.Series([f"lead-{n}" for n in lead], dtype="str"),
            "account_id": pd.Series([f"account-{n % 600}" for n in lead], dtype="str"),
            "as_of": np.datetime64("2024-01-01", "us") + day * DAY,
            "is_eligible": True,
            "visits": visits,
            "industry": pd.Series(random.choice(["steel", "paper"], rows), dtype="str"),
        }
    )
    return Examples(
        catalogue=CATALOGUE,
        snapshots=snapshots,
        won=won,
        days_to_win=np.where(won > 0, 30.0, np.nan),
        weight=np.where(won > 0, 1.0, weight),
        account=lead % 600,
        opportunity=np.where(won > 0, snapshots["lead_id"], "").astype(str),
        is_dated=True,
    )


def config_of(**training):
    settings = {"trials": 0, "num_threads": 1, "horizon_days": 91, **training}
    return Config.model_validate({"training": settings})


def everything(examples):
    return np.ones(len(examples.won), dtype=bool)


@pytest.mark.parametrize(("gap_days", "purged"), [(None, 91), (28, 28)])
def test_the_folds_of_a_long_history_are_time_blocks_purged_by_the_gap(gap_days, purged):
    examples = dated_examples(900)
    folds, in_time = make_folds(examples, everything(examples), config_of(gap_days=gap_days))
    assert in_time
    for train, valid in folds:
        block = examples.as_of[valid]
        before, after = (examples.as_of[train] < block.min(), examples.as_of[train] > block.max())
        assert (before | after).all()
        assert (examples.as_of[train][before] <= block.min() - purged * DAY).all()
        assert (examples.as_of[train][after] >= block.max() + purged * DAY).all()


def test_a_gap_below_the_horizon_still_shares_no_lead_between_both_sides_of_a_fold():
    examples = dated_examples(900, rows=1_500)
    lead = examples.snapshots["lead_id"].to_numpy()
    folds, in_time = make_folds(examples, everything(examples), config_of(gap_days=0))
    assert in_time
    assert not any(np.isin(lead[train], lead[valid]).any() for train, valid in folds)


def test_a_short_history_is_folded_by_account_where_the_purge_would_leave_nothing():
    examples = dated_examples(170)
    folds, in_time = make_folds(examples, everything(examples), config_of())
    assert not in_time
    for train, valid in folds:
        assert not np.isin(examples.account[train], examples.account[valid]).any()


@pytest.mark.parametrize("days", [900, 170])
def test_out_of_fold_probabilities_are_those_of_the_booster_that_left_the_row_out(days):
    """In time blocks and in folds of accounts alike; the scores made while fitting are known."""
    examples = dated_examples(days)
    fitted = fit_model(examples, everything(examples), Choices(DEFAULTS, None), config_of())
    assert (len(fitted.fold_starts) == 0) == (days == 170)
    found = fitted.out_of_fold_probability(examples.snapshots, examples.account)
    known = fitted.calibration.probability(fitted.cross_fit.raw_score)
    np.testing.assert_array_equal(found, known)
    assert not np.array_equal(found, fitted.probability(examples.snapshots))
    unseen = fitted.out_of_fold_probability(examples.snapshots[:3], np.full(3, 10_000))
    assert np.isfinite(unseen).all()


def test_probabilities_meet_the_rate_of_the_rows_before_thinning():
    examples = dated_examples(900, weight=5.0)
    fitted = fit_model(examples, everything(examples), Choices(DEFAULTS, None), config_of())
    before = np.average(examples.won, weights=examples.weight)
    assert before < 0.7 * examples.won.mean()
    found = np.average(fitted.probability(examples.snapshots), weights=examples.weight)
    assert found == pytest.approx(before, rel=0.05)


def test_after_a_shift_the_model_believes_the_newest_rows():
    """The win rate fell from 30% to 8% at two thirds of the history."""
    examples = dated_examples(1_200, lambda day: np.where(day < 800, 0.30, 0.08), rows=8_000)
    choices = choose(examples, everything(examples), config_of(trials=1))
    assert choices.half_life_days is not None
    fitted = fit_model(examples, everything(examples), choices, config_of())
    newest = examples.as_of > examples.as_of.max() - 200 * DAY
    found = fitted.probability(examples.snapshots[newest]).mean()
    assert abs(found - examples.won[newest].mean()) < abs(found - examples.won.mean()) / 2


def test_the_chosen_recency_reaches_the_boosters():
    examples = dated_examples(1_200, lambda day: np.where(day < 800, 0.30, 0.08))
    alike, recent = (
        fit_model(examples, everything(examples), Choices(DEFAULTS, half_life), config_of())
        for half_life in (None, 182)
    )
    matrix = alike.encoder.transform(examples.snapshots)
    refitted = [
        raw_scores(fitted.booster, matrix, 10, PARAMETERS).mean() for fitted in (alike, recent)
    ]
    out_of_fold = [fitted.cross_fit.raw_score.mean() for fitted in (alike, recent)]
    for before, after in (refitted, out_of_fold):
        assert after < before - 0.2


def test_a_steady_history_weighs_all_rows_alike():
    examples = dated_examples(900)
    assert choose(examples, everything(examples), config_of(trials=1)).half_life_days is None


def test_without_dates_nothing_is_weighed_by_age():
    examples = dated_examples(900)
    undated = Examples(**{**vars(examples), "is_dated": False})
    choices = choose(undated, everything(undated), config_of(trials=1))
    fitted = fit_model(undated, everything(undated), choices, config_of())
    assert choices.half_life_days is None
    assert fitted.calibration_half_life_days is None
    assert len(fitted.fold_starts) == 0
