import numpy as np
import pytest

from features.config import TrainingConfig
from features.errors import InputError
from training.fitting.folds import account_folds, split_by_account, split_by_time, time_folds

AS_OF = np.datetime64("2024-01-01", "us") + np.arange(700) * np.timedelta64(1, "D")


@pytest.mark.parametrize("gap_days", [0, 30, 91])
def test_a_fit_rows_label_was_known_when_the_test_starts(gap_days):
    split = split_by_time(AS_OF, TrainingConfig(), gap_days)
    start = np.datetime64(split.test_from, "us")
    assert (AS_OF[split.is_fit] + np.timedelta64(gap_days, "D") <= start).all()
    assert (AS_OF[split.is_test] >= start).all()
    assert split.is_test[-1]


def test_a_set_test_window_is_half_open():
    training = TrainingConfig(test_from="2025-06-01", test_until="2025-07-01")
    split = split_by_time(AS_OF, training, 91)
    assert AS_OF[split.is_test].min() == np.datetime64("2025-06-01")
    assert AS_OF[split.is_test].max() == np.datetime64("2025-06-30")


def test_a_test_start_without_older_rows_is_refused_with_the_span():
    with pytest.raises(InputError, match=r"No fit rows.*2024-01-01.*91 days older"):
        split_by_time(AS_OF, TrainingConfig(test_from="2024-02-01"), 91)


@pytest.mark.parametrize("gap_days", [0, 30, 91])
def test_no_fold_trains_on_a_row_whose_label_window_meets_the_validated_block(gap_days):
    folds = time_folds(AS_OF, 5, gap_days)
    assert len(folds) == 5
    for train, valid in folds:
        distance = np.abs(AS_OF[train][:, None] - AS_OF[valid][None, :]).min(axis=1)
        assert (distance >= np.timedelta64(gap_days, "D")).all()
    validated = np.concatenate([valid for _, valid in folds])
    assert sorted(validated) == list(range(len(AS_OF)))


def test_rows_of_one_instant_stay_in_one_time_block():
    as_of = np.repeat(AS_OF[:10], 40)
    for _, valid in time_folds(as_of, 5, 0):
        others = np.setdiff1d(np.arange(len(as_of)), valid)
        assert not np.isin(as_of[others], as_of[valid]).any()


def test_accounts_stay_whole_in_split_and_folds():
    account = np.random.default_rng(0).integers(0, 100, 1000)
    split = split_by_account(account, TrainingConfig(test_share=0.2))
    assert not set(account[split.is_fit]) & set(account[split.is_test])
    assert len(set(account[split.is_test])) == 20
    for train, valid in account_folds(account, 5, seed=0):
        assert not set(account[train]) & set(account[valid])
        assert len(set(account[valid])) == 20
