"""What the comparison says where figures are missing, volumes differ or work was not alike."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_comparison import drawn_weeks
from small_crm import small_config

from models.cutoff import Cutoff, Estimate, cutoff_text
from training.comparison.comparison import Band, compare_weeks
from training.comparison.figures import sides
from training.comparison.record import comparison_lines, comparison_record
from training.comparison.tuned import _captures, tune_threshold
from training.comparison.words import _looseness, sentences
from training.report.comparison_section import comparison_section
from training.report.pages import write_page

SET = Cutoff("fixed", {}, 0.3)


def compared(weeks, past=None, cutoff=SET, threshold=50.0, bootstraps=4):
    config = small_config(training={"bootstraps": bootstraps})
    return compare_weeks(past or weeks, weeks, cutoff, threshold, config)


def changed(weeks, **columns):
    return replace(weeks, scored=weeks.scored.assign(**columns))


def swapped(weeks):
    leads = compared(weeks).swaps.leads
    return [set(leads.loc[leads["by"] == who, "lead_id"]) for who in ("model", "rules")]


def with_work(weeks, leads):
    worked = weeks.scored["lead_id"].isin(leads).astype(float)
    return changed(weeks, worked=worked, account_worked=worked)


def overturn(weeks, worked, ins_won=None):
    """What is said of leads swapped in and out, `worked` of them; `ins_won`: who swaps in wins."""
    told = with_work(weeks, worked)
    if ins_won is not None:
        ins = weeks.scored["lead_id"].isin(swapped(weeks)[0])
        is_winner = weeks.scored["lead_id"].isin(ins_won).astype(float)
        won = np.where(ins, is_winner, weeks.scored["won_in_horizon"])
        told = changed(told, won_in_horizon=won)
    return sentences(compared(told)).get("overturn", "")


def test_the_worst_case_for_the_model_is_said_only_where_every_swap_out_was_worked():
    weeks = drawn_weeks(seed=2)
    ins, outs = swapped(weeks)
    assert "worst case for the model" in overturn(weeks, outs)
    some = sorted(outs)[: len(outs) // 2]
    for worked in (ins, ins | set(some), some):
        assert overturn(weeks, worked) == "", "the rules' leads got less work, or nobody can tell"


def test_like_with_like_is_said_only_where_both_were_worked_alike():
    weeks = drawn_weeks(seed=2)
    ins, outs = swapped(weeks)
    others = set(weeks.scored["lead_id"]) - ins - outs
    for worked in (ins | outs, others):
        assert "like with like" in overturn(weeks, worked)
    assert "like with like" not in overturn(weeks, ins) + overturn(weeks, outs)


def test_how_many_wins_would_turn_the_order_is_counted_in_whole_wins():
    weeks = drawn_weeks(seed=2)
    ins, outs = swapped(weeks)
    groups = compared(weeks).swaps.groups
    rate = groups["swap_outs"].won / groups["swap_outs"].leads
    for won in range(0, len(ins) + 1, 3):
        told = overturn(weeks, outs, ins_won=sorted(ins)[:won])
        level = rate * len(ins)
        if won > level:
            fewer = next(n for n in range(1, len(ins)) if won - n < level)
            assert (f"cost {fewer} of their {won} win" in told) or fewer > won
        elif won < level:
            more = next(n for n in range(1, len(ins)) if won + n >= level)
            assert f"bring {more} more win" in told
        assert "-0" not in told and " 0 more" not in told
        assert "1 more wins" not in told and "their 1 wins" not in told


def test_one_lead_is_told_in_the_singular_and_nobody_as_no_lead():
    weeks = drawn_weeks(seed=2)
    ins, _ = swapped(weeks)
    gone = weeks.scored["lead_id"].isin(sorted(ins)[1:])
    told = sentences(compared(replace(weeks, scored=weeks.scored[~gone].reset_index(drop=True))))
    assert "1 leads" not in " ".join(told.values())
    alike = weeks.with_points(100 * weeks.scored["probability"].to_numpy())
    told = sentences(compared(alike, threshold=30))
    assert "no lead" in told["swaps"] and "overturn" not in told
    lines = comparison_lines(comparison_record(compared(alike, threshold=30), "digest"))
    assert "\n\n\n" not in "\n".join(lines)


def coarse(weeks):
    return changed(weeks, probability=0.1)


def test_a_model_of_few_scores_is_not_compared_at_equal_volume_and_nobody_wins(tmp_path):
    weeks, past = drawn_weeks(seed=2), drawn_weeks(seed=1)
    found = compared(coarse(weeks), past=past, threshold=60)
    told = sentences(found)
    assert "too few different scores" in told["verdict"] and " 24 against " in told["verdict"]
    assert "beats" not in told["verdict"] and "better" not in told["verdict"]
    assert found.swaps is None and not found.segments and "swaps" not in told
    record = comparison_record(found, "digest")
    assert record["equal_volume"]["is_equal"] is False
    assert record["equal_capture"]["is_equal"] is False
    assert record["as_set"]["is_equal"] is True
    lines = "\n".join(comparison_lines(record))
    assert "at equal volume  " not in lines and "at the nearest volume" in lines
    content = comparison_section(found)
    assert content["cards"] == []
    page = write_page("comparison_section.html.j2", {"comparison": content}, tmp_path / "page.html")
    assert "The dots: equal volume" not in page.read_text(encoding="utf-8")


def test_rules_at_their_best_have_no_winner_where_volumes_differ_and_so_have_weeks_before():
    weeks, past = drawn_weeks(seed=2), drawn_weeks(seed=6)
    found = compared(coarse(weeks), past=coarse(past), threshold=60)
    pair = found.pairs["tuned_rules"]
    mqls = [side["mqls_per_week"].value for side in (pair.model, pair.rules)]
    assert pair.is_equal == (abs(mqls[0] - mqls[1]) <= max(0.1 * mqls[1], 0.2))
    assert not pair.is_equal
    assert "too few different scores" in sentences(found)["tuned_rules"]
    assert not found.pairs["equal_volume_from_past"].is_equal
    assert "too few different scores" in sentences(found)["equal_volume_from_past"]


def test_a_pair_near_enough_is_equal():
    record = comparison_record(compared(drawn_weeks(seed=2)), "digest")
    assert record["equal_volume"]["is_equal"] and record["equal_capture"]["is_equal"]


def test_cutoffs_by_segment_are_named_and_no_probability_of_zero_is():
    own = {"web": 0.3, "event": 0.22}
    for value, rest in ((0.25, "25.0% elsewhere"), (None, "nobody elsewhere")):
        cutoff = Cutoff("fixed", {}, value, segment_by="source", segments=own)
        found = compared(drawn_weeks(seed=2), cutoff=cutoff)
        assert f"by source: event 22.0%, web 30.0%, {rest}" in sentences(found)["as_set"]
        assert "probability of 0.0%" not in " ".join(sentences(found).values())
        assert comparison_record(found, "digest")["as_set"]["model_cutoff"] == value


def test_of_many_segments_six_are_named_and_the_others_counted():
    own = {f"s{number}": 0.2 for number in range(8)}
    told = cutoff_text(Cutoff("fixed", {}, 0.1, segment_by="region", segments=own))
    assert "s5 20.0%, 2 more of their own, 10.0% elsewhere" in told
    assert "s0 nobody" in cutoff_text(replace(SET, segment_by="region", segments={"s0": None}))


def without_wins(weeks):
    lost = weeks.scored.assign(won_in_horizon=0.0, days_to_win=np.nan)
    lost = lost.assign(opportunity_id=pd.array([None] * len(lost), dtype="str"))
    return replace(weeks, scored=lost, wins=weeks.wins[:0])


@pytest.mark.parametrize("is_dated", [True, False])
@pytest.mark.parametrize("kind", ["no wins", "silent model", "silent rules", "nobody"])
def test_what_is_undefined_is_a_dash_and_said_in_words(kind, is_dated, tmp_path):
    weeks, past = (drawn_weeks(seed, is_dated=is_dated) for seed in (2, 1))
    cutoff, threshold = SET, 50.0
    if kind == "no wins":
        weeks = without_wins(weeks)
    elif kind == "silent model":
        cutoff = Cutoff("fixed", {}, 0.999)
    else:
        weeks = weeks.with_points(np.full(len(weeks.scored), -np.inf))
        cutoff = Cutoff("fixed", {}, 0.999) if kind == "nobody" else SET
    found = compared(weeks, past=past, cutoff=cutoff, threshold=threshold)
    record, told = comparison_record(found, "digest"), sentences(found)
    said = "\n".join(comparison_lines(record)) + "\n".join(told.values())
    assert "nan" not in said.lower() and "not known)" not in said
    expected = {
        "no wins": "no deal was won",
        "silent model": "the model flags nobody",
        "silent rules": "the rules flag nobody",
        "nobody": "the model flags nobody and the rules flag nobody",
    }[kind]
    assert expected in told["as_set"]
    assert "zero" not in told["as_set"]
    if kind == "no wins":
        assert expected in told["verdict"] and "cannot be told apart" not in told["verdict"]
        assert "rules_qualifies" not in told
    content = {"comparison": comparison_section(found)}
    page = write_page("comparison_section.html.j2", content, tmp_path / "page.html")
    assert "nan" not in page.read_text(encoding="utf-8").lower()
    json.dumps(record, allow_nan=False)


def test_only_intervals_that_exist_are_counted():
    weeks = drawn_weeks(seed=2)
    verdict = sentences(compared(replace(weeks, wins=weeks.wins[:0])))["verdict"]
    assert "Both intervals" not in verdict and "The interval" in verdict
    assert "of the wins" not in verdict


def test_without_dates_no_week_is_named():
    found = compared(drawn_weeks(4, is_dated=False), past=drawn_weeks(3, is_dated=False))
    assert "equal_volume_from_past" not in found.pairs
    told = {name: told for name, told in sentences(found).items() if name != "undated"}
    assert "tuned_rules" in told
    assert not [name for name, sentence in told.items() if "week" in sentence]
    lines = comparison_lines(comparison_record(found, "digest"))
    table = [line for line in lines if "no weeks" not in line]
    assert "week" not in "\n".join(table)


def test_the_tuned_rules_get_no_credit_for_wins_flagged_before_the_replay_began():
    weeks = drawn_weeks(seed=1)
    replay = weeks.rules_replay()
    thresholds = np.unique(replay.moments["probability"])[::7]
    captures = _captures(replay, thresholds)
    scored = replay.wins.loc[replay.wins["best_before"].notna(), "opportunity_id"]
    for threshold, capture in zip(thresholds, captures, strict=True):
        mqls = replay.mqls(threshold)
        # one lead a deal here, and the deal is named after it
        when = mqls.set_index("lead_id")["as_of"]
        created = weeks.wins.set_index("opportunity_id")["created_at"]
        found = [deal for deal in scored if deal in when and when[deal] <= created[deal]]
        assert capture == pytest.approx(len(found) / len(scored))
    assert captures[0] < 1, "some were flagged in the warm-up"


def test_a_bar_at_the_bottom_is_not_the_best_when_its_wins_were_flagged_before():
    """100 leads are there before the weeks begin, and 70 of them climb to 60 points within; 40
    arrive and stay at 0. At the bottom those 40 alone are MQLs: 30 of them win, of 80 who do.
    """
    start, week = np.datetime64("2025-01-20", "us"), np.timedelta64(7, "D")
    names = np.array([f"lead-{number:03d}" for number in range(140)])
    won = (np.r_[np.arange(100) < 50, np.arange(40) < 30]).astype(float)
    climbs = np.r_[np.arange(100) < 70, np.zeros(40, bool)] & (np.arange(140) >= 5)
    leads = pd.DataFrame(
        {
            "lead_id": pd.array(names, dtype="str"), "account": np.arange(140),
            "probability": 0.1, "won_in_horizon": won, "days_to_win": np.where(won > 0, 30, np.nan),
            "opportunity_id": pd.array(np.where(won > 0, names, None), dtype="str"),
            "worked": np.nan, "account_worked": np.nan, "points": 0.0,
        }
    )  # fmt: skip
    known = leads[:100].assign(as_of=start - week)
    within = leads.assign(as_of=start + week, points=np.where(climbs, 60.0, 0.0))
    wins = leads.loc[won > 0, ["opportunity_id", "lead_id", "account"]]
    wins = wins.assign(created_at=start + 3 * week, amount=np.nan)
    past = replace(
        drawn_weeks(seed=1), scored=pd.concat([known, within], ignore_index=True), wins=wins,
        segments=(),
    )  # fmt: skip
    replays = past.replay(), past.rules_replay()
    side = sides(*replays, pd.Series(dtype=float), small_config().cutoff)[1]
    np.testing.assert_allclose(_captures(replays[1], np.array([0.0, 60.0])), [30 / 80, 45 / 80])
    assert tune_threshold(replays[1], side)[0] == 60


@pytest.mark.parametrize(
    ("weakest", "next_below", "capture", "quarter", "told"),
    [
        ((0.05, 0.01, 0.10), (0.04, 0.0, 0.1), 0.9, 40, "is too loose"),
        ((0.05, 0.01, 0.25), (0.04, 0.0, 0.1), 0.9, 40, "is not clearly"),  # may be as good as all
        ((0.20, 0.15, 0.25), (0.18, 0.12, 0.25), 0.6, 40, "is too strict"),
        ((0.20, 0.15, 0.25), (0.18, 0.08, 0.30), 0.6, 40, "is not clearly"),  # too few to tell
        ((0.20, 0.15, 0.25), (0.18, 0.12, 0.25), 0.8, 40, "is not clearly"),  # misses little
        ((0.05, 0.01, 0.10), (0.18, 0.12, 0.25), 0.6, 40, "ranks too poorly"),
        ((0.05, 0.01, 0.10), (0.18, 0.12, 0.25), 0.6, 19, "has too few MQLs"),
        ((0.20, 0.15, 0.25), None, 0.6, 40, "is not clearly"),
    ],
)
def test_a_bar_is_called_loose_or_strict_only_if_intervals_say_so(
    weakest, next_below, capture, quarter, told
):
    below = None if next_below is None else Estimate(*next_below)
    band = Band(0.2, Estimate(*weakest), quarter, below, any_lead=0.03)
    assert _looseness(band, Estimate(capture)).startswith(told)


def test_mqls_that_close_no_more_often_than_any_lead_are_no_better_than_chance():
    some = Estimate(0.5, 0.4, 0.6)
    assert "no better than chance" in _looseness(Band(0.5, some, 40, some, 0.55), Estimate(0.5))
