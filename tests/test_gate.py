"""The gate's statistics: laws of the verdict on rows made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit

from features.life_config import GateConfig
from training.gate.calibration import fit_line
from training.gate.checks import Check, decision_of, holm, non_inferiority
from training.gate.paired import own_check, paired_checks
from training.gate.resampling import resampled
from training.gate.rows import GateRows, MqlRows, mqls_of_rows
from training.metrics import row_log_loss

GATE = GateConfig(min_wins=50, bootstraps=300, segment_min_wins=40)
ROWS = 6_000


def leads(seed: int = 0, rows: int = ROWS) -> tuple[GateRows, np.ndarray]:
    """Rows in accounts of two whose chances are known, scored rightly by both, and the log-odds."""
    random = np.random.default_rng(seed)
    log_odds = -3 + 1.5 * random.standard_normal(rows)
    chance = expit(log_odds)
    return (
        GateRows(
            won=(random.random(rows) < chance).astype(float),
            weight=np.ones(rows),
            account=np.arange(rows) // 2,
            champion=chance,
            challenger=chance,
            segments={"source": random.choice(["web", "event", "partner"], rows)},
        ),
        log_odds,
    )


def with_challenger(rows: GateRows, probability: np.ndarray) -> GateRows:
    return replace(rows, challenger=probability)


def checks_of(rows: GateRows, gate: GateConfig = GATE, cutoff: float = 0.2) -> list[Check]:
    everyone = np.ones(len(rows.won), dtype=bool)
    return paired_checks(rows, mqls_of_rows(rows, everyone, cutoff, cutoff), gate)


def named(checks: list[Check], name: str) -> Check:
    return next(check for check in checks if check.name == name)


def test_the_same_model_shows_nothing_unless_there_is_other_evidence():
    rows, _ = leads()
    checks = checks_of(rows)
    assert {check.name: check.result for check in checks} == {
        "log_loss": "unclear",
        "calibration": "unclear",
        "precision": "unclear",
        "capture": "unclear",
        "log_loss where source is web": "unclear",
        "log_loss where source is event": "unclear",
        "log_loss where source is partner": "unclear",
    }
    mqls = mqls_of_rows(rows, np.ones(ROWS, dtype=bool), 0.2, 0.2)
    assert decision_of(paired_checks(rows, mqls, GATE, where_same="note")) == "pass"


def test_cutoffs_of_the_same_scores_are_compared_all_the_same():
    rows, _ = leads()
    mqls = mqls_of_rows(rows, np.ones(ROWS, dtype=bool), 0.1, 0.4)
    checks = paired_checks(rows, mqls, GATE, where_same="note")
    assert named(checks, "capture").result == "fail"
    assert named(paired_checks(rows, mqls, GATE), "precision").result == "pass"
    assert named(paired_checks(rows, mqls, GATE), "log_loss").result == "unclear"


def test_a_noisier_challenger_is_refused_and_the_champion_of_it_passes():
    rows, log_odds = leads()
    noisy = expit(log_odds + 1.5 * np.random.default_rng(1).standard_normal(ROWS))
    assert decision_of(checks_of(with_challenger(rows, noisy))) == "refuse"
    assert decision_of(checks_of(replace(rows, champion=noisy))) == "pass"


@pytest.mark.parametrize("shift", [-0.6, 0.6])
def test_a_shifted_challenger_fails_the_calibration_though_it_ranks_alike(shift):
    rows, log_odds = leads()
    checks = checks_of(with_challenger(rows, expit(log_odds + shift)))
    found = named(checks, "calibration")
    assert found.result == "fail"
    assert found.champion is not None
    assert found.challenger is not None
    assert found.challenger > 10 * found.champion
    assert decision_of(checks) == "refuse"


def test_what_the_line_saves_is_the_calibration_check():
    rows, log_odds = leads()
    timid = expit(0.6 * log_odds - 1.0)
    found = named(checks_of(with_challenger(rows, timid)), "calibration")
    intercept, slope = fit_line(logit(timid), rows.won, rows.weight)
    fitted = expit(intercept + slope * logit(timid))
    saved = (row_log_loss(rows.won, timid) - row_log_loss(rows.won, fitted)).sum()
    loss = row_log_loss(rows.won, rows.champion).sum()
    assert found.challenger == pytest.approx(saved / loss)


def test_one_broken_segment_is_found_where_the_whole_looks_alike():
    rows, log_odds = leads()
    is_broken = rows.segments["source"] == "partner"
    flat = np.where(is_broken, logit(rows.won[is_broken].mean()), log_odds)
    gate = GATE.model_copy(update={"log_loss_margin": 0.5, "capture_margin": 0.5})
    checks = checks_of(with_challenger(rows, expit(flat)), gate)
    assert named(checks, "log_loss where source is partner").result == "fail"
    assert named(checks, "log_loss where source is web").result == "pass"
    assert named(checks, "log_loss").result == "pass"
    assert decision_of(checks) == "refuse"


def test_below_the_stated_wins_there_is_not_enough_evidence_whatever_the_scores():
    rows, log_odds = leads()
    noisy = expit(log_odds + 2 * np.random.default_rng(1).standard_normal(ROWS))
    gate = GATE.model_copy(update={"min_wins": int(rows.won.sum()) + 1})
    for challenger in (rows.champion, noisy, rows.won * 0.9 + 0.05):
        checks = checks_of(with_challenger(rows, challenger), gate)
        assert decision_of(checks) == "not_enough_evidence"
    nearly = with_challenger(rows, expit(1.001 * log_odds))
    assert decision_of(checks_of(nearly, GATE.model_copy(update={"min_wins": 50}))) == "pass"
    assert decision_of(checks_of(nearly, gate)) == "not_enough_evidence"


def test_the_leads_of_one_account_are_one_win():
    rows, _ = leads()
    won = rows.won > 0
    assert rows.won_accounts() == len(set(rows.account[won])) < won.sum()
    # as many won leads as are asked for, of too few accounts
    gate = GATE.model_copy(update={"min_wins": int(won.sum())})
    noisy = with_challenger(rows, expit(logit(rows.champion) * 0.99))
    assert "won accounts" in named(checks_of(noisy, gate), "won_accounts").told
    alone = replace(noisy, account=np.arange(ROWS))
    assert "won_accounts" not in {check.name for check in checks_of(alone, gate)}


def test_few_rows_leave_a_small_difference_open():
    rows, log_odds = leads(rows=1_500)
    other = expit(log_odds + 0.8 * np.random.default_rng(2).standard_normal(1_500))
    checks = checks_of(with_challenger(rows, other))
    assert decision_of(checks) in ("not_enough_evidence", "refuse")
    assert any(check.result == "unclear" for check in checks)


def test_worse_challengers_pass_no_more_often_than_better_ones():
    rows, log_odds = leads()
    champion = expit(log_odds + 0.4 * np.random.default_rng(3).standard_normal(ROWS))
    noise = np.random.default_rng(4).standard_normal(ROWS)
    highs = []
    for size in (0.0, 0.4, 0.8, 1.2, 1.6):
        challenger = expit(log_odds + size * noise)
        checks = checks_of(replace(rows, champion=champion, challenger=challenger))
        highs.append(named(checks, "log_loss").high)
    assert highs == sorted(highs)


def test_the_order_of_rows_and_the_names_of_accounts_change_nothing():
    rows, log_odds = leads()
    rows = with_challenger(
        rows, expit(log_odds + 0.5 * np.random.default_rng(5).standard_normal(ROWS))
    )
    order = np.random.default_rng(6).permutation(ROWS)
    mixed = GateRows(
        rows.won[order],
        rows.weight[order],
        rows.account[order] * 7 + 1_000,
        rows.champion[order],
        rows.challenger[order],
        {"source": rows.segments["source"][order]},
    )
    for one, other in zip(checks_of(rows), checks_of(mixed), strict=True):
        assert (one.name, one.result) == (other.name, other.result)
        assert (one.worse_by, one.low, one.high) == pytest.approx(
            (other.worse_by, other.low, other.high)
        )


def test_resampled_sums_are_those_of_whole_accounts():
    account = np.array([5, 5, 9, 9, 9])
    value = np.array([1.0, 1.0, 10.0, 10.0, 10.0])
    sums = resampled([(account, {"value": value})], 400, seed=1)
    assert sums.total["value"] == 32.0
    assert {round(drawn % 30) % 2 for drawn in sums.drawn["value"]} == {0}
    assert sums.drawn["value"].mean() == pytest.approx(32, rel=0.1)
    assert sums.drawn["value"].var() == pytest.approx(2**2 + 30**2, rel=0.25)


def test_accounts_make_the_limits_wider():
    rows, log_odds = leads()
    other = expit(log_odds + 0.5 * np.random.default_rng(5).standard_normal(ROWS))
    rows = with_challenger(rows, other)
    alone = named(checks_of(replace(rows, account=np.arange(ROWS))), "log_loss")
    # the same rows five times, as five contacts of one account, are no more evidence
    five = GateRows(
        *(
            np.repeat(getattr(rows, name), 5)
            for name in ("won", "weight", "account", "champion", "challenger")
        )
    )
    together = named(checks_of(replace(five, account=np.repeat(np.arange(ROWS), 5))), "log_loss")
    assert (together.low, together.high) == pytest.approx((alone.low, alone.high), abs=4e-3)
    apart = named(checks_of(replace(five, account=np.arange(5 * ROWS))), "log_loss")
    assert apart.high - apart.low < 0.6 * (together.high - together.low)


def test_a_challenger_that_hands_nobody_over_fails():
    rows, log_odds = leads()
    rows = with_challenger(rows, expit(1.001 * log_odds))
    everyone = np.ones(ROWS, dtype=bool)
    checks = paired_checks(rows, mqls_of_rows(rows, everyone, 0.2, None), GATE)
    assert named(checks, "capture").result == "fail"
    assert named(checks, "precision").result == "fail"
    # a champion that finds less than the margin of the capture does not excuse it
    checks = paired_checks(rows, mqls_of_rows(rows, everyone, 0.8, None), GATE)
    assert named(checks, "capture").champion < GATE.capture_margin
    assert decision_of(checks) == "refuse"
    neither = paired_checks(rows, mqls_of_rows(rows, everyone, None, None), GATE)
    assert named(neither, "precision").result == "note"
    assert decision_of(neither) == "pass"


def test_where_the_champion_hands_nobody_over_the_challenger_brings_what_was_asked_for():
    rows, log_odds = leads()
    rows = with_challenger(rows, expit(1.001 * log_odds))
    mqls = mqls_of_rows(rows, np.ones(ROWS, dtype=bool), None, 0.2)
    brought = named(paired_checks(rows, mqls, GATE), "precision")
    assert brought.result == "unclear"
    for asked, result in ((brought.challenger - 0.01, "pass"), (0.9, "unclear")):
        held = replace(mqls, asked_precision=asked)
        assert named(paired_checks(rows, held, GATE), "precision").result == result


def test_a_fifth_of_the_capture_is_the_most_that_may_be_lost():
    rows, log_odds = leads()
    rows = with_challenger(rows, expit(1.001 * log_odds))
    everyone = np.ones(ROWS, dtype=bool)
    for cutoff in (0.2, 0.6):
        checks = paired_checks(rows, mqls_of_rows(rows, everyone, cutoff, cutoff), GATE)
        capture = named(checks, "capture")
        assert capture.margin == pytest.approx(min(GATE.capture_margin, capture.champion / 5))
    assert capture.margin < GATE.capture_margin


def test_too_few_rows_of_the_champion_itself_can_only_refuse():
    rows, log_odds = leads()
    noisy = with_challenger(
        rows, expit(log_odds + 1.5 * np.random.default_rng(1).standard_normal(ROWS))
    )
    assert own_check(noisy, GATE, "2025-01-01").result == "fail"
    assert own_check(replace(noisy, champion=noisy.challenger), GATE, "x").result == "note"
    few = GateRows(*(getattr(noisy, name)[:200] for name in
                     ("won", "weight", "account", "champion", "challenger")))  # fmt: skip
    assert "too few" in own_check(few, GATE, "2025-01-01").told


def test_only_eligible_rows_are_mqls():
    rows, _ = leads()
    none = mqls_of_rows(rows, np.zeros(ROWS, dtype=bool), 0.2, 0.2)
    assert isinstance(none, MqlRows)
    assert none.wins.sum() == none.champion.mqls.sum() == 0


def test_small_segments_are_looked_at_together_or_named():
    rows, _ = leads()
    values = np.array(["web"] * (ROWS - 200) + ["a"] * 100 + ["b"] * 100)
    small = replace(rows, segments={"source": values})
    told = named(checks_of(small), "segments")
    assert told.result == "note"
    assert "source (2 values)" in told.told
    enough = min(small.won_accounts(values == name) for name in ("a", "b")) + 1
    assert small.won_accounts(values != "web") >= enough
    pooled = checks_of(small, GATE.model_copy(update={"segment_min_wins": 2 * enough - 2}))
    assert {check.name for check in pooled if "source" in check.name} == {
        "log_loss where source is web",
        "log_loss where source is (other)",
    }
    whole = replace(rows, segments={"source": np.array([f"s{n % 200}" for n in range(ROWS)])})
    assert not [check for check in checks_of(whole) if "source" in check.name]


def test_one_of_many_segments_is_refused_only_by_evidence_that_survives_their_number():
    drawn = np.random.default_rng(0).normal(0.06, 0.03, 4000)
    one = non_inferiority("a", (1.0, 1.06, 0.06), drawn, 0.05, 0.95)
    assert one.check.result == "fail"
    assert [check.result for check in holm([one], 0.95)] == ["fail"]
    flat = non_inferiority("b", (1.0, 1.0, 0.0), np.linspace(-0.01, 0.01, 4000), 0.05, 0.95)
    assert holm([one, *[flat] * 9], 0.95)[0].result == "unclear"


@pytest.mark.parametrize(
    ("point", "spread", "result"),
    [
        (0.0, 0.005, "pass"),  # even the upper limit is below the margin
        (0.0, 0.05, "unclear"),  # too wide to tell
        (0.015, 0.005, "unclear"),  # worse for sure, by less than the margin; perhaps more
        (0.03, 0.005, "fail"),  # worse for sure, and by more than the margin
        (0.03, 0.05, "unclear"),  # may be luck
        (-0.03, 0.005, "pass"),
    ],
)
def test_a_check_passes_or_fails_only_on_evidence(point, spread, result):
    drawn = np.random.default_rng(0).normal(point, spread, 2000)
    assert non_inferiority("x", (1.0, 1.0, point), drawn, 0.02, 0.95).check.result == result
