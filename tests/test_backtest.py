"""The backtest: who knew what when, one lead once, and whether never retraining shows."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from small_crm import small_config, small_examples, small_tables

from features.errors import InputError
from features.parts.partitions import Partitions
from models.cutoff import Estimate
from training.backtest.ageing import ageing_of, cadence_name, cadences_of
from training.backtest.backtest import _months, _told
from training.backtest.decisions import (
    Schedule,
    always_aged,
    best_each_week,
    crossings,
    looked_at,
    replayed,
    retrained_every,
)
from training.backtest.intervals import Accounts, auc_influence
from training.backtest.month_cutoffs import choose_cutoffs, past_weeks
from training.backtest.month_models import choose_once, fit_month
from training.backtest.months import known_at, months_of
from training.backtest.notes import notes_of
from training.backtest.outcomes import value_of
from training.backtest.replays import Replays
from training.backtest.rows import score_rows
from training.backtest.scores import by_month, gaps
from training.backtest.words import sentences
from training.fitting.fit import fit_model
from training.metrics import auc
from training.replay import build_replay
from training.report.backtest_page import write_backtest_page
from training.verdicts.work import answers_within
from training.weekly import score_weeks

MONTHS = 3


@cache
def replayed_months():
    """Three months of the small CRM: models, scored rows and cutoffs."""
    config, examples = small_config(), small_examples()
    months = months_of(examples, config, MONTHS)
    choices = choose_once(examples, months, config)
    models = [fit_month(examples, origin, choices, config) for origin in months.starts]
    scored = score_rows(models, months, examples, Partitions.of(small_tables()), config, None)
    cutoffs = choose_cutoffs(scored, models, examples, config, None)
    accounts = Accounts(scored.rows["account"].to_numpy(), 30, 0)
    replays = Replays(scored, months, cutoffs, None, config, accounts)
    return SimpleNamespace(**locals())


def test_no_row_whose_label_was_unknown_is_fitted_on():
    found = replayed_months()
    as_of, gap = found.examples.as_of, np.timedelta64(found.config.gap_days, "D")
    for model in found.models:
        assert (as_of[model.is_fit] + gap <= model.origin).all()
        assert (as_of[~model.is_fit] + gap > model.origin).all()
    deciding = found.scored.rows["month"].to_numpy()
    instants = found.scored.rows["as_of"].to_numpy()
    for month, model in enumerate(found.models):
        assert (instants[deciding == month] > model.newest + gap - np.timedelta64(1, "us")).all()


def test_a_model_of_a_month_is_what_fit_model_gives_on_its_rows():
    found = replayed_months()
    model = found.models[1]
    rows = known_at(found.examples, found.months.starts[1], found.config)
    expected = fit_model(found.examples, rows, found.choices, found.config)
    snapshots = found.examples.snapshots[~rows]
    assert np.array_equal(expected.probability(snapshots), model.fitted.probability(snapshots))


def test_every_model_scores_a_week_as_it_would_alone():
    found = replayed_months()
    instants = np.unique(found.scored.rows["as_of"].to_numpy()[found.scored.rows["month"] == 2])
    for number, model in enumerate(found.models):
        alone = score_weeks(
            small_tables(),
            found.config,
            found.examples.catalogue,
            instants,
            lambda snapshots, _, model=model: model.fitted.probability(snapshots),
        )
        together = found.scored.only((found.scored.rows["month"] == 2).to_numpy(), number)
        columns = ["lead_id", "as_of", "probability", "won_in_horizon"]
        pd.testing.assert_frame_equal(
            together[columns].reset_index(drop=True), alone[columns], check_exact=True
        )


def test_a_model_scores_its_own_past_out_of_fold_and_nothing_older():
    found = replayed_months()
    model, own = found.models[2], found.scored.probability[:, 2]
    as_of = found.scored.rows["as_of"].to_numpy()
    assert np.isnan(own[as_of < model.newest - np.timedelta64(33 * 7, "D")]).all()
    past = past_weeks(found.scored, 2, model)
    assert past.scored["as_of"].max() <= pd.Timestamp(model.newest)
    assert (past.wins["known_at"] < pd.Timestamp(model.origin)).all()
    assert len(past.wins) < len(found.scored.wins)


def test_one_lead_counts_once_although_models_change():
    found = replayed_months()
    schedule = retrained_every(MONTHS, 1, "every month")
    looked = looked_at(found.scored, found.months, schedule, 8)
    is_mql = crossings(found.scored, looked, found.cutoffs)
    mqls = replayed(found.scored, found.months, looked, is_mql).mqls(0.0)
    assert len(mqls) and mqls["lead_id"].is_unique
    # some leads are above the cutoffs of two models
    lead = found.scored.rows["lead_id"].to_numpy()[looked.lines]
    by_two = pd.DataFrame({"lead": lead, "model": looked.model})[is_mql].drop_duplicates()
    assert by_two["lead"].duplicated().any()


@pytest.mark.parametrize("schedule", [retrained_every(3, 1, "m"), always_aged(3, 1)])
def test_the_short_replay_is_that_of_all_rows(schedule):
    found = replayed_months()
    looked = looked_at(found.scored, found.months, schedule, 8)
    is_mql = crossings(found.scored, looked, found.cutoffs)
    short = replayed(found.scored, found.months, looked, is_mql)
    rows = found.scored.rows.iloc[looked.lines].assign(probability=np.where(is_mql, 1.0, -1.0))
    whole = build_replay(
        rows, found.scored.wins, looked.start, pd.Timestamp(found.months.end), False
    )
    columns = ["lead_id", "as_of", "won_in_horizon"]
    one, other = short.mqls(0.0)[columns], whole.mqls(0.0)[columns]
    pd.testing.assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True))
    pd.testing.assert_frame_equal(short.wins, whole.wins)
    assert (short.arrivals == whole.arrivals).all()


def test_at_equal_volume_each_week_hands_over_as_many_new_leads():
    found = replayed_months()
    looked = looked_at(found.scored, found.months, Schedule("first", (0, 0, 0)), 8)
    number = found.scored.probability[looked.lines, looked.model]
    picked = best_each_week(found.scored, looked, number, 5, seed=0)
    rows = found.scored.rows.iloc[looked.lines][picked]
    assert rows["lead_id"].is_unique
    assert (rows["as_of"].value_counts() == 5).all()
    first = (found.scored.rows["as_of"].iloc[looked.lines] == rows["as_of"].min()).to_numpy()
    assert number[first & picked].min() >= number[first & ~picked].max()


def test_a_model_compared_with_itself_differs_in_nothing():
    found = replayed_months()
    scores = by_month(found.scored, found.months)
    same = gaps(scores, [(2, 1, 1)], found.accounts)
    assert all(gap.value == gap.low == gap.high == 0 for gap in same.values())
    monthly = found.replays.as_set(retrained_every(MONTHS, 1, "every month"))
    cadences = cadences_of(found.replays, scores, monthly, 4)
    assert [one.name for one in cadences] == ["every month", "every 2 months", "never"]
    assert [one.models for one in cadences] == [3, 2, 1]
    assert [one.age_months for one in ageing_of(found.replays, scores)] == [1, 2]


def test_the_auc_gap_is_that_of_the_ranks():
    random = np.random.default_rng(0)
    won, probability = (random.random(400) < 0.3).astype(float), np.round(random.random(400), 2)
    value, influence = auc_influence(won, probability)
    assert value == pytest.approx(auc(won, probability), abs=1e-12)
    assert influence.sum() == pytest.approx(0, abs=1e-9)
    # leaving a row out moves the AUC by about its influence
    without = auc(won[1:], probability[1:])
    assert value - without == pytest.approx(influence[0], abs=3e-4)
    assert np.isnan(auc_influence(np.ones(3), np.arange(3.0))[0])


def test_intervals_of_sums_hold_the_truth_nine_times_in_ten():
    random, held = np.random.default_rng(1), 0
    for _ in range(100):
        account = np.repeat(np.arange(80), 5)
        value = random.normal(1, 1, 80)[account]  # whole accounts differ, rows within them do not
        accounts = Accounts(account, 100, 0)
        sums = accounts.sums(account, value, np.ones(len(value)))
        found = accounts.estimates(sums, lambda totals: {"mean": totals[0] / totals[1]})["mean"]
        held += found.low <= 1 <= found.high
    assert 80 <= held <= 97


def test_a_short_or_undated_history_is_refused_with_the_reason():
    examples = small_examples()
    with pytest.raises(InputError, match=r"whole months to replay, and 2 are needed"):
        months_of(examples, small_config(training={"min_wins": 10_000}))
    undated = SimpleNamespace(is_dated=False)
    with pytest.raises(InputError, match=r"The rows have no dates.*\[flat\] as_of"):
        months_of(undated, small_config())


def test_months_are_whole_and_the_newest():
    examples, config = small_examples(), small_config()
    months, all_of_them = months_of(examples, config, 3), months_of(examples, config, 60)
    assert all_of_them.names[-3:] == months.names
    assert months.end <= examples.as_of.max() + np.timedelta64(7, "D")
    wins = [examples.won_leads(known_at(examples, at, config)) for at in all_of_them.starts]
    assert wins == sorted(wins) and wins[0] >= config.training.min_wins


RULED = 50.0
"Points from which the made-up rules hand over."
MONEY = {"win_value": 1000.0, "contact_cost": 20.0}


@cache
def told(has_money: bool):
    """The backtest of three months against rules, whose points are the oldest model's scores."""
    found = replayed_months()
    rows = found.scored.rows.assign(points=200 * found.scored.probability[:, 0])
    replays = replace(
        found.replays,
        scored=replace(found.scored, rows=rows),
        threshold=RULED,
        config=small_config(cutoff=MONEY if has_money else {}),
    )
    scores = by_month(found.scored, found.months)
    described = _months(found.examples, found.months, found.models, found.cutoffs, scores)
    return replays, _told(replays, scores, described, found.choices, found.examples)


def test_value_by_month_is_what_deals_bring_less_contacts_and_adds_up():
    replays, found = told(has_money=True)
    for who, outcome in (("rules", replays.rules_as_set()),
                         ("every month", replays.as_set(retrained_every(3, 1, "m")))):  # fmt: skip
        values = [figures["value_per_week"] for figures in found.by_month[who]]
        assert all(one.low < one.value < one.high for one in values)
        earned = np.array([one.value for one in values]) @ replays.weeks
        assert earned == pytest.approx(outcome.mql_value.sum())
        deals = outcome.mql_deal.sum()
        assert earned == pytest.approx(1000 * deals - 20 * len(outcome.mql_won))
        assert deals > 0
    total = found.rules_totals["value_per_week"].value * replays.weeks.sum()
    assert total == pytest.approx(replays.rules_as_set().mql_value.sum())
    in_json = found.as_dict()["by_month"]["never"][0]["value_per_week"]
    assert set(in_json) == {"value", "low", "high"}


def test_a_month_without_a_deal_may_have_had_one():
    replays, _ = told(has_money=True)
    outcome = replays.rules_as_set()
    dry = replace(outcome, mql_deal=np.zeros(len(outcome.mql_won), bool))
    value = value_of(dry, 4.0, replays.config.cutoff, 1)["value_per_week"]
    assert value.value < 0 < value.high


def test_the_page_shows_money_where_it_is_set_and_no_empty_columns_elsewhere(tmp_path):
    pages = {}
    for has_money in (True, False):
        path = write_backtest_page(told(has_money)[1], tmp_path / f"{has_money}.html")
        pages[has_money] = path.read_text()
    rules = re.search(r"<tr><td>the rules</td>.*?</tr>", pages[True], re.S).group()
    assert rules.count("<td></td>") == 3  # models and what is against every month
    assert re.search(r"<td>-?[\d,]+ \(-?[\d,]+ to -?[\d,]+\)</td><td></td><td></td></tr>", rules)
    assert "Earned a week after contact costs, each with its own cutoff" in pages[True]
    assert "they earn" in pages[True]
    assert not re.search(r"\b[Ee]arn(s|ed)?\b", pages[False])


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((-200.0, 50.0), "with the cutoffs as set, no cadence is clearly behind every month."),
        (
            (-200.0, -50.0),
            "clearly behind every month: every 2 months, 100 a week less (90% interval -200 to "
            "-50); never, 100 a week less (90% interval -200 to -50). So",
        ),
    ],
)
def test_a_cadence_is_told_by_what_it_was_judged_by(ends, expected):
    _, found = told(has_money=True)
    gap = Estimate(-100.0, *ends)
    cadences = [
        replace(one, as_set={**one.as_set, "value_per_week": gap}) if one.as_set else one
        for one in found.cadences
    ]
    cadence = sentences(replace(found, cadences=cadences))["cadence"]
    assert "In what is earned after contact costs, with the cutoffs as set," in cadence
    assert expected in cadence
    assert "In deals found" not in cadence and "fewer deals" not in cadence
    assert "In deals found at" in sentences(told(has_money=False)[1])["cadence"]


def test_boosters_are_told_no_verdict_of_after_their_month_began():
    found = replayed_months()
    tables, origin = small_tables(), found.months.starts[1]
    rows = found.examples.snapshots[found.models[1].is_fit]
    known = {
        name: getattr(tables, name)[getattr(tables, name)["recorded_at"] < origin]
        for name in ("verdicts", "stage_changes")
    }
    assert len(known["verdicts"]) < len(tables.verdicts)
    then = answers_within(replace(tables, **known), rows, found.config)
    now = answers_within(tables, rows, found.config)
    assert all(answers.any() for answers in now)
    np.testing.assert_array_equal(then, now)


def test_a_gap_that_lets_verdicts_of_later_in_is_told():
    short = small_config(training={"gap_days": 7}, verdicts={"use": "weight"})
    assert any("outcomes and verdicts" in note for note in notes_of(small_examples(), short, True))
    told_of = " ".join(notes_of(small_examples(), small_config(verdicts={"use": "weight"}), True))
    assert "nobody could have known" not in told_of


def test_cadences_are_told_in_words():
    assert [cadence_name(count) for count in (1, 6, None)] == [
        "every month", "every 6 months", "never",
    ]  # fmt: skip
