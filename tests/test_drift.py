"""Drift between the fit and the test window."""

from __future__ import annotations

import dataclasses

import numpy as np
from small_crm import small_config, small_examples

from training.drift import NOTABLE, drift_of, population_stability
from training.evaluation import split_examples


def moved(**columns):
    """Return the drift of the small CRM with some columns replaced, and the split."""
    examples, config = small_examples(), small_config()
    split = split_examples(examples, config)
    snapshots = examples.snapshots.copy()
    for name, change in columns.items():
        snapshots[name] = change(snapshots[name], split.is_test)
    return {found.name: found for found in drift_of(
        dataclasses.replace(examples, snapshots=snapshots), split)}  # fmt: skip


def test_a_value_that_takes_over_is_found():
    changed = moved(source=lambda values, test: values.mask(test, "new_partner"))
    assert changed["source"].psi > 1
    assert changed["source"].size == "large"


def test_a_feed_that_stops_is_told_by_what_is_missing():
    changed = moved(account_employees=lambda values, test: values.mask(test))
    assert changed["account_employees"].missing_after == 1
    assert changed["account_employees"].missing_before < 1


def test_a_shuffled_column_does_not_drift():
    def shuffled(values, _):
        return values.sample(frac=1, random_state=1).set_axis(values.index)

    assert "account_employees" not in moved(account_employees=shuffled)


def test_few_accounts_drift_by_luck_and_are_not_named():
    rng = np.random.default_rng(0)
    examples, config = small_examples(), small_config()
    split = split_examples(examples, config)
    # a number drawn once per account, of 30 accounts: any two windows of it look unlike
    account = examples.account % 30
    snapshots = examples.snapshots.assign(account_employees=rng.normal(size=30)[account])
    few = dataclasses.replace(examples, snapshots=snapshots, account=account)
    drawn = np.array([np.isin(few.account, rng.permutation(30)[:20]) for _ in range(2)])
    halves = dataclasses.replace(split, is_fit=drawn[0], is_test=drawn[1])
    before, after = (np.bincount(account[rows], minlength=30) for rows in drawn)
    assert population_stability(before.astype(float), after.astype(float)) > NOTABLE
    assert "account_employees" not in {found.name for found in drift_of(few, halves)}
