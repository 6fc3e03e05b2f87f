"""Model against rules: laws, tables of cases, and the truth of a simulated CRM."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_comparison import drawn_weeks, true_weeks
from small_crm import small_config

from models.cutoff import Cutoff
from training.comparison.comparison import PAIRS, compare_weeks
from training.comparison.figures import accounts_of, draws, everybody, paired, sides
from training.comparison.record import comparison_lines, comparison_record
from training.comparison.swaps import find_swaps
from training.comparison.telling import direction
from training.comparison.tuned import _captures, tune_threshold
from training.comparison.words import sentences
from training.replay import decided

THRESHOLD = 40.0
SET = Cutoff("fixed", {}, 0.25)


def compared(weeks, past=None, cutoff=SET, threshold=THRESHOLD, **sections):
    settings = {"training": {"bootstraps": 40}, **sections}
    return compare_weeks(past or weeks, weeks, cutoff, threshold, small_config(**settings))


@pytest.fixture(scope="module")
def comparison():
    return compared(drawn_weeks(seed=1), past=drawn_weeks(seed=2))


def test_model_and_rules_see_the_same_leads_in_the_same_weeks():
    weeks = drawn_weeks(seed=1)
    seen = [
        replay.scored[["lead_id", "as_of"]] for replay in (weeks.replay(), weeks.rules_replay())
    ]
    pd.testing.assert_frame_equal(*seen)
    wins = [replay.wins["opportunity_id"] for replay in (weeks.replay(), weeks.rules_replay())]
    pd.testing.assert_series_equal(*wins)


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 1_000), cutoff=st.floats(0.02, 0.6), threshold=st.floats(20, 70)
)  # fmt: skip
def test_swap_ins_less_swap_outs_is_the_difference_of_the_volumes(seed, cutoff, threshold):
    weeks = drawn_weeks(seed, leads=60, weeks=4)
    model, rules = weeks.replay(), weeks.rules_replay()
    groups = find_swaps(model, rules, cutoff, threshold).groups
    assert groups["swap_ins"].leads - groups["swap_outs"].leads == (
        len(model.mqls(cutoff)) - len(rules.mqls(threshold))
    )


def test_figures_are_those_of_the_replay():
    weeks = drawn_weeks(seed=3)
    model, rules = weeks.replay(), weeks.rules_replay()
    found = compared(weeks).pairs["as_set"]
    for replay, bar, figures in ((model, 0.25, found.model), (rules, THRESHOLD, found.rules)):
        mqls = replay.mqls(bar)
        assert figures["mqls_per_week"].value == pytest.approx(len(mqls) / replay.weeks)
        assert figures["precision"].value == pytest.approx(mqls["won_in_horizon"].mean())
        flagged = replay.wins["best_before"].dropna() >= bar
        assert figures["capture"].value == pytest.approx(flagged.mean())
        assert figures["lead_time_days"].value == mqls["days_to_win"].median()
        won = mqls.loc[mqls["won_in_horizon"] > 0, "opportunity_id"].unique()
        worth = weeks.wins.set_index("opportunity_id")["amount"][won].sum()
        assert figures["won_value_per_week"].value == pytest.approx(worth / replay.weeks)


def test_a_deal_of_two_leads_is_worth_its_amount_once():
    weeks = drawn_weeks(seed=3)
    first = weeks.scored["opportunity_id"].dropna().iloc[0]
    twin = weeks.scored[weeks.scored["opportunity_id"] == first].assign(lead_id="twin")
    twin = twin.astype({"lead_id": "str"})
    with_twin = pd.concat([weeks.scored, twin], ignore_index=True)
    both = replace(weeks, scored=with_twin.sort_values(["as_of", "lead_id"], ignore_index=True))
    low = Cutoff("fixed", {}, 0.0)
    before, after = (
        compared(w, cutoff=low).pairs["as_set"].model["won_value_per_week"].value
        for w in (weeks, both)
    )
    assert after == before > 0


def test_at_equal_volume_both_make_as_many_mqls_and_no_outcome_chose_the_cutoff(comparison):
    pair = comparison.pairs["equal_volume"]
    assert abs(pair.difference["mqls_per_week"].value) <= 1 / comparison.weeks
    weeks = drawn_weeks(seed=1)
    turned = weeks.scored.assign(won_in_horizon=1 - weeks.scored["won_in_horizon"])
    found = compared(replace(weeks, scored=turned), past=drawn_weeks(seed=2)).pairs
    assert found["equal_volume"].model_cutoff == pair.model_cutoff
    assert found["equal_volume_from_past"].model_cutoff == (
        comparison.pairs["equal_volume_from_past"].model_cutoff
    )
    assert found["tuned_rules"].rules_threshold == comparison.tuned_threshold


def test_at_equal_capture_the_model_finds_at_least_as_many_wins(comparison):
    pair = comparison.pairs["equal_capture"]
    assert pair.model["capture"].value >= pair.rules["capture"].value
    assert pair.difference["capture"].low >= 0
    assert pair.difference["mqls_per_week"].high < 0


def test_each_resample_draws_the_same_accounts_for_both_so_that_equals_do_not_differ():
    weeks = drawn_weeks(seed=4)
    alike = weeks.with_points(100 * weeks.scored["probability"].to_numpy())
    pair = compared(alike, cutoff=Cutoff("fixed", {}, 0.4), threshold=40).pairs["as_set"]
    assert pair.model["precision"].low < pair.model["precision"].high
    for name, difference in pair.difference.items():
        assert (difference.value, difference.low, difference.high) == (0, 0, 0), name


def test_a_better_ranking_wins_and_one_as_good_does_not():
    better = compared(drawn_weeks(seed=5, leads=1_500, rules_noise=3.0))
    difference = better.pairs["equal_volume"].difference
    assert direction(difference["precision"]) == direction(difference["capture"]) == 1
    assert "beats the rules on both counts" in sentences(better)["verdict"]
    equal = compared(drawn_weeks(seed=5, leads=1_500, rules_noise=0.0))
    assert "cannot be told apart" in sentences(equal)["verdict"]


def test_the_difference_has_the_coverage_it_states():
    """Rules and model of one quality: the true difference is 0, and 90% intervals cover it."""
    covered, no_amounts = 0, pd.Series(dtype=float)
    for seed in range(60):
        weeks = drawn_weeks(1_000 + seed, leads=300, weeks=6, rules_noise=1.0)
        noise = np.random.default_rng(seed).normal(0, 1.0, len(weeks.scored))
        points = np.log(weeks.scored["probability"] / (1 - weeks.scored["probability"])) + noise
        noisy = replace(weeks, scored=weeks.scored.assign(probability=points))
        model, rules = sides(
            noisy.replay(), noisy.rules_replay(), no_amounts, small_config().cutoff
        )  # fmt: skip
        cutoff = model.cutoff_for(len(rules.at(THRESHOLD).reached))
        pair = paired(model, rules, cutoff, THRESHOLD, bootstraps=60, seed=seed)
        covered += direction(pair.difference["precision"]) == 0
    assert 48 <= covered <= 59


def test_tuned_rules_do_at_least_as_well_on_the_past_as_those_set():
    past = drawn_weeks(seed=6)
    amounts = past.wins.set_index("opportunity_id")["amount"]
    for policy in ({}, {"win_value": 500.0, "contact_cost": 20.0}):
        cutoff_config = small_config(cutoff=policy).cutoff
        _, side = sides(past.replay(), past.rules_replay(), amounts, cutoff_config)
        tuned, told = tune_threshold(past.rules_replay(), side)
        assert tuned is not None
        one, other = (side.figures(t, everybody(side)) for t in (tuned, THRESHOLD))
        if policy:
            assert told == "profit"
            assert one["profit_per_week"] >= other["profit_per_week"]
        else:
            found = [_captures(past.rules_replay(), np.array([t]))[0] for t in (tuned, THRESHOLD)]
            pairs = zip((one, other), found, strict=True)
            balance = [2 / (1 / f["precision"] + 1 / capture) for f, capture in pairs]
            assert balance[0] >= balance[1]


def test_rules_too_strict_to_flag_anyone_leave_nothing_to_compare_and_it_says_so():
    found = compared(drawn_weeks(seed=1), threshold=1e6)
    assert "equal_volume" not in found.pairs and found.swaps is None
    assert "no MQL" in sentences(found)["verdict"]
    json.dumps(comparison_record(found, "digest"), allow_nan=False)
    assert comparison_lines(comparison_record(found, "digest"))


def test_disqualified_leads_are_never_flagged_by_the_rules_however_low_the_threshold():
    weeks = drawn_weeks(seed=1)
    out = weeks.scored["lead_id"] < "lead-0100"
    found = compared(weeks.with_points(np.where(out, -np.inf, weeks.scored["points"])))
    swapped = found.swaps.leads
    assert not (swapped.loc[swapped["by"] == "rules", "lead_id"] < "lead-0100").any()


def test_without_a_cutoff_the_model_is_not_compared_as_set():
    found = compared(drawn_weeks(seed=1), cutoff=Cutoff("precision", {}, None))
    assert "as_set" not in found.pairs and "equal_volume" in found.pairs
    assert "No cutoff is set" in sentences(found)["as_set"]


def test_with_cutoffs_by_segment_as_set_means_those():
    weeks = drawn_weeks(seed=7)
    own = Cutoff("fixed", {}, 0.3, segment_by="source", segments={"web": 0.1, "event": 0.5})
    found = compared(weeks, cutoff=own).pairs["as_set"]
    replay, bar = decided(weeks.replay(), own)
    assert found.model["mqls_per_week"].value == pytest.approx(len(replay.mqls(bar)) / replay.weeks)
    pooled = compared(weeks, cutoff=Cutoff("fixed", {}, 0.3)).pairs["as_set"]
    assert found.model["mqls_per_week"] != pooled.model["mqls_per_week"]


def test_segments_add_up_to_the_whole(comparison):
    pair = comparison.pairs["equal_volume"]
    assert {segment.value for segment in comparison.segments} == {"web", "event", "(not known)"}
    for who in ("model", "rules"):
        volumes = [getattr(segment, who)["mqls_per_week"].value for segment in comparison.segments]
        assert sum(volumes) == pytest.approx(getattr(pair, who)["mqls_per_week"].value)


def test_weeks_add_up_to_the_whole(comparison):
    pair = comparison.pairs["equal_volume"]
    assert len(comparison.by_week) == comparison.weeks
    for who, figures in (("model", pair.model), ("rules", pair.rules)):
        mean = comparison.by_week[f"{who}_mqls"].mean()
        assert mean == pytest.approx(figures["mqls_per_week"].value)


def test_curves_hold_at_most_200_cutoffs_and_capture_falls_as_they_rise(comparison):
    for curve in comparison.curves.values():
        assert 20 < len(curve) <= 200
        assert curve["cutoff"].is_monotonic_increasing
        assert curve["capture"].is_monotonic_decreasing


def test_without_dates_it_is_a_single_comparison_and_says_so():
    found = compared(drawn_weeks(seed=8, is_dated=False))
    told = sentences(found)
    assert "no dates" in told["undated"]
    assert not any("a week" in sentence for sentence in told.values())
    assert found.by_week.empty
    assert set(found.pairs) == set(PAIRS) - {"equal_volume_from_past"}
    assert set(found.pairs["equal_volume"].model) == {"mqls", "precision", "capture", "won_value"}
    assert "tells which leads sales worked" in told["work"]
    record = comparison_record(found, "digest")
    assert record["window"] == {"from": None, "until": None, "weeks": 1}
    assert "0.0" not in record["by_week"]


def test_the_record_is_deterministic_plain_and_names_no_lead(comparison):
    again = compared(drawn_weeks(seed=1), past=drawn_weeks(seed=2))
    first, second = (
        json.dumps(comparison_record(found, "digest"), allow_nan=False)
        for found in (comparison, again)
    )
    assert first == second
    assert "lead-0" not in first
    told = json.loads(first)["equal_volume"]["precision_difference"]
    assert set(told) == {"value", "low", "high"}


def test_a_seed_draws_the_same_accounts_each_time():
    model, rules = sides(
        drawn_weeks(1).replay(), drawn_weeks(1).rules_replay(),
        pd.Series(dtype=float), small_config().cutoff,
    )  # fmt: skip
    accounts = accounts_of(model, rules)
    one, other = (np.array(list(draws(accounts, 5, seed=3))) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert one.shape == (5, accounts)


def test_the_truth_without_work_lies_inside_what_the_comparison_says():
    past, test, threshold, truth = true_weeks(2.0)
    found = compared(test, past=past, threshold=threshold, training={"bootstraps": 200})
    known = truth.rename(columns={"probability": "truth"})
    swapped = found.swaps.leads.merge(known, on=["lead_id", "as_of"])
    true = swapped.groupby("by")["truth"].mean()
    for name, who in (("swap_ins", "model"), ("swap_outs", "rules")):
        said = found.swaps.groups[name].without_work
        assert said.low <= true[who] <= said.high, name
    said = found.swaps.difference_without_work
    assert said.low <= true["model"] - true["rules"] <= said.high


def test_worked_and_unworked_leads_are_counted_apart():
    weeks = drawn_weeks(seed=9)
    swaps = compared(weeks).swaps
    for name, who in (("swap_ins", "model"), ("swap_outs", "rules")):
        leads, group = swaps.leads[swaps.leads["by"] == who], swaps.groups[name]
        assert group.worked == (leads["worked"] == 1).sum()
        for worked, rate in ((1, group.precision_worked), (0, group.precision_unworked)):
            assert rate.value == leads.loc[leads["worked"] == worked, "won"].mean()
        least = (leads["won"] * (leads["account_worked"] == 0)).mean()
        assert group.without_work.value == pytest.approx(least)
        assert group.without_work.low <= least <= group.precision.value <= group.without_work.high


def test_the_handoff_effect_is_named_worked_leads_of_the_rules_close_more_often():
    past, test, threshold, _ = true_weeks(2.0)
    found = compared(test, past=past, threshold=threshold, training={"bootstraps": 200})
    groups, told = found.swaps.groups, sentences(found)
    assert groups["rules"].worked_share.value > groups["swap_ins"].worked_share.value + 0.1
    assert groups["rules"].precision_worked.value > groups["rules"].precision_unworked.value
    assert "lower bound" in told["work"] and "Sales worked" in told["work"]
    assert "Had sales worked nobody" in told["work"]
    assert "overturn" not in told, "sales worked neither all of them nor none"
