"""Replays in an evaluation: who is in them, with which score, label and warm-up."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_crm import (
    small_config,
    small_demo,
    small_evaluation,
    small_examples,
    small_tables,
)
from tables_builder import day, tables_of

from features.errors import InputError
from features.snapshots import build_snapshots, lead_weeks, mondays
from models.rules import RulesScorer
from models.rules_table import RulesTable
from training.comparison.segments import segment_columns
from training.cutoffs.cutoff import cutoff_curve
from training.evaluation import evaluate_recipe, split_examples
from training.examples import Examples, examples_from_tables
from training.metrics import log_loss
from training.part_examples import ACCOUNT
from training.replay import build_replay
from training.scored_weeks import PAST_WEEKS, WARM_UP_WEEKS
from training.steps import Steps
from training.verdicts.work import work_of_sales, worked_within
from training.weekly import score_weeks, scored_examples, won_examples, won_opportunities

WEEK = pd.Timedelta(days=7)


def score_all_alike(snapshots, account):
    return np.full(len(snapshots), 0.5)


@pytest.fixture(scope="module")
def scored():
    instants = mondays(pd.Timestamp("2025-03-03"), pd.Timestamp("2025-06-02"))
    return score_weeks(
        small_tables(), small_config(), small_examples().catalogue, instants, score_all_alike
    )


def test_every_eligible_lead_is_scored_every_week_and_nobody_else(scored):
    population = lead_weeks(small_tables(), small_config().population, scored["as_of"].unique())
    eligible = population[population["is_eligible"]]
    assert 0 < len(eligible) < len(population)
    found = pd.MultiIndex.from_frame(scored[["lead_id", "as_of"]])
    assert found.is_unique
    assert set(found) == set(pd.MultiIndex.from_frame(eligible[["lead_id", "as_of"]]))


def test_weekly_labels_and_accounts_are_those_of_the_examples(scored):
    examples = small_examples()
    known = examples.snapshots[["lead_id", "as_of"]].assign(
        won=examples.won, days=examples.days_to_win, component=examples.account
    )
    both = scored.merge(known, on=["lead_id", "as_of"])
    assert len(both) > 200
    assert both["won"].sum() > 5
    np.testing.assert_array_equal(both["won_in_horizon"], both["won"])
    np.testing.assert_array_equal(both["days_to_win"], both["days"])
    np.testing.assert_array_equal(both["account"], both["component"])


@pytest.mark.parametrize(
    ("worked_day", "stage", "expected"),
    [
        (7, "sal", 1.0),  # on the Monday itself, after it was looked at
        (97, "sql", 1.0),  # 90 days later, within the horizon of 91
        (98, "sql", 0.0),  # a day too late
        (6, "sal", 0.0),  # before: that was another time
        (20, "mql", 0.0),  # marketing alone
        (20, "disqualified", 0.0),
        (20, None, 1.0),  # a verdict
    ],
)
def test_worked_is_sales_taking_the_lead_up_within_the_horizon(worked_day, stage, expected):
    change = {"lead_id": "a", "stage": stage, "changed_at": worked_day}
    verdict = {"lead_id": "a", "verdict": "rejected", "decided_at": worked_day}
    tables = tables_of(
        until=700,
        leads=[{"lead_id": name, "created_at": 0} for name in "ab"],
        stage_changes=[change] if stage else [],
        verdicts=[] if stage else [verdict],
    )
    as_of = pd.Series([day(7)] * 2, dtype="datetime64[us]")
    rows = pd.DataFrame({"lead_id": pd.Series(["b", "a"], dtype="str"), "as_of": as_of})
    work = work_of_sales(tables, pd.Series({"a": 0, "b": 0}))
    assert worked_within(work, rows, 91, "lead_id").tolist() == [0.0, expected]
    # b's colleague was worked, so its account was
    rows[ACCOUNT] = [0, 0]
    assert worked_within(work, rows, 91, ACCOUNT).tolist() == [expected, expected]
    rows[ACCOUNT] = [1, 0]
    assert worked_within(work, rows, 91, ACCOUNT).tolist() == [0.0, expected]


def test_rows_carry_points_segments_and_whether_sales_worked_them():
    rules = points_of_days()
    instants = mondays(pd.Timestamp("2025-03-03"), pd.Timestamp("2025-03-31"))
    scored = score_weeks(
        small_tables(), small_config(), small_examples().catalogue, instants,
        score_all_alike, rules, ("source",),
    )  # fmt: skip
    assert scored["worked"].isin([0.0, 1.0]).all()
    assert 0 < scored["worked"].mean() < 0.9
    snapshots = build_snapshots(
        small_tables(),
        small_examples().catalogue,
        scored[["lead_id", "as_of"]].assign(account_id=None, is_eligible=True),
    )
    both = scored.merge(snapshots, on=["lead_id", "as_of"])
    assert both["source_x"].equals(both["source_y"])
    np.testing.assert_array_equal(both["points"], 10.0 * (both["lead_age_days"] >= 30))


def points_of_days():
    table = RulesTable.model_validate(
        {
            "mql_threshold": 10,
            "fit": {
                "rules": [{"name": "Old", "feature": "lead_age_days", "at_least": 30, "points": 10}]
            },
        }
    )
    return RulesScorer.of(table, small_examples().catalogue)


def test_segments_are_the_source_and_attributes_of_few_values_unless_set():
    examples = small_examples()
    rows = np.ones(len(examples.won), bool)
    chosen = segment_columns(examples, rows, small_config())
    assert chosen[0] == "source" and len(chosen) == 4
    assert all(3 <= examples.snapshots[name].nunique() <= 12 for name in chosen)
    named = small_config(compare={"segments": ["leads.country", "accounts.industry"]})
    assert segment_columns(examples, rows, named) == ("country", "account_industry")
    with pytest.raises(InputError, match="shoe_size"):
        segment_columns(examples, rows, small_config(compare={"segments": ["shoe_size"]}))


def test_weeks_without_anyone_eligible_are_empty_but_have_their_columns():
    leads = [{"lead_id": f"l{n}", "created_at": 0} for n in range(50)]
    changes = [{"lead_id": f"l{n}", "stage": "mql", "changed_at": 0} for n in range(50)]
    tables = tables_of(until=700, leads=leads, stage_changes=changes)
    scored = score_weeks(
        tables,
        small_config(),
        small_examples().catalogue,
        mondays(day(7), day(70)),
        score_all_alike,
    )
    assert scored.empty
    assert scored["as_of"].dtype == "datetime64[us]"


def test_won_opportunities_are_the_closed_won_ones_with_all_their_leads():
    found = won_opportunities(small_tables(), small_config())
    raw = small_demo().tables["opportunities"]
    won = set(raw.loc[raw["stage"] == "closed_won", "opportunity_id"])
    assert set(found["opportunity_id"]) <= won
    assert len(set(found["opportunity_id"])) > 0.9 * len(won)
    listed = small_demo().tables["opportunity_leads"]
    several = listed[listed["opportunity_id"].isin(set(found["opportunity_id"]))]
    known = set(zip(found["opportunity_id"], found["lead_id"], strict=True))
    assert set(zip(several["opportunity_id"], several["lead_id"], strict=True)) <= known


def test_the_test_replay_counts_from_the_first_test_monday_after_a_warm_up():
    evaluation = small_evaluation()
    replay, test_from = evaluation.replay, evaluation.split.test_from
    assert test_from is not None
    assert test_from <= replay.start < test_from + WEEK
    moments = replay.moments
    assert moments["as_of"].min() <= replay.start - (WARM_UP_WEEKS - 1) * WEEK
    assert (moments["is_warm_up"] == (moments["as_of"] < replay.start)).all()
    assert moments["is_warm_up"].any()
    eligible = lead_weeks(
        small_tables(), small_config().population, np.array([replay.start - WEEK], "M8[us]")
    )["is_eligible"]
    assert replay.backlog(0.0) == eligible.sum()
    for cutoff in (0.02, 0.1, 0.3):
        assert (replay.mqls(cutoff)["as_of"] >= replay.start).all()
    newest = pd.Timestamp(small_examples().as_of.max())
    assert replay.start + (replay.weeks - 1) * WEEK == newest


def test_the_weeks_that_choose_the_cutoff_end_with_the_fit_rows_and_have_their_own_warm_up():
    evaluation = small_evaluation()
    past = evaluation.past
    newest_fit = pd.Timestamp(small_examples().as_of[evaluation.split.is_fit].max())
    assert past.weeks == PAST_WEEKS
    assert past.moments["as_of"].max() == newest_fit
    assert past.start == newest_fit - (PAST_WEEKS - 1) * WEEK
    warm_up = past.moments.loc[past.moments["is_warm_up"], "as_of"]
    assert past.start - WARM_UP_WEEKS * WEEK <= warm_up.min()
    assert warm_up.max() < past.start


def test_the_cutoff_is_chosen_on_scores_of_boosters_that_left_the_week_out():
    evaluation = small_evaluation()
    fitted, moments = evaluation.fitted, evaluation.past.moments
    monday = moments["as_of"].max() - 8 * WEEK
    index = lead_weeks(
        small_tables(), small_config().population, np.array([monday.to_datetime64()])
    )
    snapshots = build_snapshots(small_tables(), small_examples().catalogue, index)
    apart = fitted.out_of_fold_probability(snapshots, np.zeros(len(snapshots)))
    together = fitted.probability(snapshots)
    by_lead = pd.DataFrame(
        {"lead_id": snapshots["lead_id"], "apart": apart, "together": together}
    ).merge(moments[moments["as_of"] == monday], on="lead_id")
    assert len(by_lead) > 10
    np.testing.assert_array_equal(by_lead["probability"], by_lead["apart"])
    assert (by_lead["probability"] != by_lead["together"]).all()


def test_a_higher_cutoff_never_qualifies_more_leads():
    """Volume alone may rise: a lead that crossed in the warm-up may cross a higher one later."""
    replay = small_evaluation().replay
    moments = replay.moments
    lower, before = None, None
    for cutoff in np.linspace(0, 1, 40):
        warm_up = moments[moments["is_warm_up"] & (moments["probability"] >= cutoff)]
        qualified = {*warm_up["lead_id"], *replay.mqls(cutoff)["lead_id"]}
        assert lower is None or qualified <= lower
        assert before is None or replay.backlog(cutoff) <= before
        lower, before = qualified, replay.backlog(cutoff)
    assert not lower


def test_the_promise_of_the_cutoff_is_what_its_replay_counts():
    evaluation = small_evaluation()
    cutoff = evaluation.cutoff
    assert cutoff.value is not None
    mqls = evaluation.past.mqls(cutoff.value)
    assert cutoff.evidence["mqls_per_week"].value == pytest.approx(len(mqls) / PAST_WEEKS)
    assert cutoff.evidence["mqls_per_week"].value <= 4
    assert len(cutoff_curve(evaluation.past).cutoff) > 50
    tested = evaluation.replay.mqls(cutoff.value)
    assert evaluation.replayed["precision"].value == pytest.approx(tested["won_in_horizon"].mean())


def test_the_outcomes_of_the_test_rows_choose_nothing():
    """Were every second test row won, all that was fitted or chosen would stay as it is."""
    examples, before = small_examples(), small_evaluation()
    won = examples.won.copy()
    won[np.flatnonzero(before.split.is_test)[::2]] = 1.0
    turned = replace(examples, won=won)
    after = evaluate_recipe(turned, small_tables(), small_config(), before.split, Steps())
    assert after.choices == before.choices
    assert after.fitted.calibration == before.fitted.calibration
    assert after.fitted.booster.model_to_string() == before.fitted.booster.model_to_string()
    assert after.cutoff == before.cutoff
    assert after.metrics["log_loss"].value > before.metrics["log_loss"].value + 0.1


def test_the_base_rate_to_beat_is_that_of_the_fit_rows():
    evaluation, examples = small_evaluation(), small_examples()
    fit_rate = examples.won[evaluation.split.is_fit].mean()
    test_won = examples.won[evaluation.split.is_test]
    expected = log_loss(test_won, np.full(len(test_won), fit_rate))
    assert evaluation.baselines["base_rate"]["log_loss"].value == pytest.approx(expected)
    assert evaluation.skill.value == pytest.approx(
        1 - evaluation.metrics["log_loss"].value / expected
    )


def test_with_leads_looked_at_once_there_is_no_backlog_and_every_week_counts():
    config = small_config(snapshots={"at": "age", "age_days": 14})
    examples = examples_from_tables(small_tables(), config)
    assert examples.snapshots["lead_id"].is_unique
    split = split_examples(examples, config)
    evaluation = evaluate_recipe(examples, small_tables(), config, split, Steps())
    assert evaluation.replay.backlog(0.0) == 0
    eligible = examples.snapshots["is_eligible"].to_numpy() & split.is_test
    assert len(evaluation.replay.mqls(0.0)) == eligible.sum()


def test_without_a_gap_the_first_test_week_is_backlog():
    """There is no week between fit and test to warm up on."""
    config = small_config(training={"gap_days": 0, "folds": 2})
    split = split_examples(small_examples(), config)
    evaluation = evaluate_recipe(small_examples(), small_tables(), config, split, Steps())
    first_monday = mondays(split.test_from, split.test_until)[0]
    assert evaluation.replay.start == pd.Timestamp(first_monday) + WEEK
    moments = evaluation.replay.moments
    assert set(moments.loc[moments["is_warm_up"], "as_of"]) == {first_monday}


def test_wins_count_from_the_first_counted_week_to_before_the_end():
    """Of deals opened on each Monday, those of the backlog week and of the end are left out."""
    monday = pd.Timestamp("2025-01-06")
    as_of = pd.Series([monday + n * WEEK for n in range(4)], dtype="datetime64[us]")
    scored = pd.DataFrame({"lead_id": "a", "as_of": as_of, "account": 0, "days_to_win": np.nan})
    scored = scored.assign(probability=[0.1, 0.2, 0.3, 0.4], won_in_horizon=0.0)
    deals = pd.Series([monday + n * WEEK for n in range(5)], dtype="datetime64[us]")
    wins = pd.DataFrame({"opportunity_id": list("vwxyz"), "lead_id": "a", "account": 0})
    wins = wins.assign(created_at=deals)
    strings = {"lead_id": "str"}
    replay = build_replay(
        scored.astype(strings), wins.astype(strings), monday, monday + 4 * WEEK, True
    )
    assert replay.weeks == 3
    assert replay.wins["opportunity_id"].tolist() == ["w", "x", "y"]
    assert replay.wins["best_before"].tolist() == [0.2, 0.3, 0.4]


def flat_examples(is_dated):
    """Three leads, one of them won after ten days and one nobody may qualify."""
    as_of = pd.Series(["2025-01-06", "2025-01-07", "2025-01-08"], dtype="datetime64[us]")
    snapshots = pd.DataFrame(
        {
            "lead_id": pd.Series(["a", "b", "c"], dtype="str"),
            "account_id": pd.Series([None, None, None], dtype="str"),
            "as_of": as_of if is_dated else pd.Series([pd.NaT] * 3, dtype="datetime64[us]"),
            "is_eligible": [True, True, False],
        }
    )
    return Examples(
        catalogue=small_examples().catalogue,
        snapshots=snapshots,
        won=np.array([0.0, 1.0, 0.0]),
        days_to_win=np.array([np.nan, 10.0, np.nan]),
        weight=np.ones(3),
        account=np.arange(3),
        opportunity=np.array(["", "deal", ""]),
        is_dated=is_dated,
    )


@pytest.mark.parametrize("is_dated", [True, False])
def test_flat_rows_are_replayed_once_each_and_a_win_is_an_opportunity_of_its_own(is_dated):
    examples = flat_examples(is_dated)
    rows = np.array([True, True, True])
    scored = scored_examples(examples, rows, np.array([0.1, 0.2, 0.3]))
    assert scored["lead_id"].tolist() == ["a", "b"]
    assert scored["won_in_horizon"].tolist() == [0.0, 1.0]
    won = won_examples(examples)
    assert won["lead_id"].tolist() == ["b"]
    seen_at = scored["as_of"][1]
    assert won["created_at"].tolist() == [seen_at + pd.Timedelta(days=10)]
