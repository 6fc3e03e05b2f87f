"""What a retraining offers, in which words, and what is told again of a run on the same data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from replay_cases import drawn_replay

from features.config import CutoffConfig
from models.cutoff import Estimate
from training.cutoffs.cutoff import choose_cutoff
from training.retrain.choice import _chosen, _Found, _why
from training.retrain.recalibrated import KEEPS_ITS_CUTOFF
from training.retrain.retraining import Retraining
from training.retrain.unseen import account_fold

CALM = _Found(
    wins=120,
    losses={},
    gain=Estimate(-0.004, -0.02, 0.012),
    recalibration_gain=Estimate(-0.0008, -0.003, 0.001),
    is_ranked_better=False,
    is_recalibrated_better=False,
)
UNSURE = replace(CALM, gain=Estimate(-0.004, -0.06, 0.05))
LEVEL_LOST = replace(
    CALM, recalibration_gain=Estimate(0.05, 0.03, 0.07), is_recalibrated_better=True
)
WAITING = Retraining(
    outcome="nothing_new",
    version="2",
    alias="challenger",
    champion="1",
    choice=None,
    decision="refuse",
    verdict=None,
    is_skilled=True,
    report=None,
    seconds={},
)


@pytest.mark.parametrize(
    ("found", "chosen", "told"),
    [
        (CALM, "champion", "fine as it is"),
        (LEVEL_LOST, "recalibrated", "still holds"),
        (replace(LEVEL_LOST, gain=UNSURE.gain), "recalibrated", "not shown to be worse"),
        (UNSURE, "trained", "the gate decides"),
        (replace(CALM, gain=Estimate(0.0, None, None)), "trained", "the gate decides"),
        (replace(LEVEL_LOST, is_ranked_better=True), "trained", "no longer holds"),
    ],
)
def test_the_champion_is_replaced_or_recalibrated_only_where_that_helps(found, chosen, told):
    assert _chosen(found) == chosen
    assert told in _why(found)


def test_a_ranking_is_said_to_hold_only_where_its_interval_shows_it():
    for found in (UNSURE, replace(UNSURE, is_recalibrated_better=True)):
        assert "still holds" not in _why(found)
    assert "the same log loss" in _why(replace(CALM, recalibration_gain=Estimate(0.0, 0.0, 0.0)))


@pytest.mark.parametrize(
    ("saved", "is_better", "told"),
    [
        (Estimate(-0.003, -0.007, -0.0002), False, "0.3% more log loss (90% interval: 0.0% to 0.7% "
         "more) there, which is clearly worse."),
        (Estimate(-0.003, -0.007, 0.002), False, "0.3% more log loss (90% interval: 0.2% less to "
         "0.7% more) there, which is not clearly better."),
        (Estimate(0.05, 0.03, 0.07), True, "5.0% less log loss (90% interval: 3.0% less to 7.0% "
         "less) there, which is clearly better."),
        (Estimate(0.004, -0.002, 0.01), True, "0.4% less log loss (90% interval: 0.2% more to "
         "1.0% less) there, which is better by more than one standard error."),
        (Estimate(-0.0002, -0.001, 0.001), False, "about the same log loss (90% interval: 0.1% "
         "less to 0.1% more) there, which is not clearly better."),
    ],
)  # fmt: skip
def test_a_new_calibration_is_told_in_one_direction_and_judged_by_its_interval(
    saved, is_better, told
):
    found = replace(CALM, recalibration_gain=saved, is_recalibrated_better=is_better)
    assert f"A new calibration gives the champion {told}" in _why(found)
    assert "-0.0%" not in _why(found)


@pytest.mark.parametrize("decision", ["refuse", "not_enough_evidence"])
def test_a_refusal_is_told_again_as_long_as_the_challenger_waits(decision):
    waiting = replace(WAITING, decision=decision)
    assert waiting.is_refused
    assert not replace(waiting, alias=None).is_refused
    assert not replace(waiting, decision="pass").is_refused


def test_a_champion_that_stays_is_no_refusal_and_says_why():
    stays = replace(
        WAITING,
        outcome="champion_stays",
        version="1",
        alias="champion",
        choice={"chosen": "champion", "why": _why(CALM)},
        decision=None,
    )
    assert not stays.is_refused
    assert not stays.may_be_promoted
    assert (stays.as_dict()["outcome"], stays.as_dict()["chosen"]) == ("champion_stays", "champion")
    told = " ".join(stays.lines())
    assert "no version was made" in told
    assert "fine as it is" in told


def test_folds_keep_whole_account_components_together():
    component = np.repeat(np.arange(400), 3)
    fold = account_fold(component)
    assert (fold.reshape(400, 3) == fold[::3, None]).all()
    assert np.bincount(fold, minlength=4).min() > 200


def test_a_promise_is_proven_anew_with_a_new_calibration():
    assert not {"precision", "capture", "capacity", "rules_volume"} & set(KEEPS_ITS_CUTOFF)


def test_a_kept_cutoff_keeps_its_value_and_gets_new_evidence():
    policy = CutoffConfig(policy="money", win_value=1000, contact_cost=150)
    before = choose_cutoff(drawn_replay(np.random.default_rng(5)), policy, 20, 0)
    past = drawn_replay(np.random.default_rng(6))
    anew = choose_cutoff(past, policy, 20, 0)
    kept = choose_cutoff(past, policy, 20, 0, kept=replace(before, value=0.111))
    assert (kept.value, kept.reason == anew.reason) == (0.111, False)
    assert kept.evidence["precision"] != before.evidence["precision"]
    assert kept.evidence.keys() == anew.evidence.keys()
    assert kept.forecast.value > anew.forecast.value
    # what the settings ask for now goes first, and a cutoff that qualified nobody is no cutoff
    dearer = policy.model_copy(update={"contact_cost": 151.0})
    for asked, old in ((dearer, before), (policy, replace(before, value=None))):
        assert choose_cutoff(past, asked, 20, 0, kept=old) == choose_cutoff(past, asked, 20, 0)
