"""Calibration by segment: a shift on top of the map of all leads."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy.special import expit, logit
from small_crm import small_config, small_examples
from small_model import BENT, small_scorer, small_snapshots

from features.errors import InputError
from models.bundle import open_bundle, write_bundle
from models.calibration import Calibration, sigmoid
from models.golden import synthesise_rows
from models.reasons import CALIBRATION, reasons
from training.fitting.boost import DEFAULTS
from training.fitting.calibrate import with_shifts
from training.fitting.fit import Choices, choose, fit_model

SHIFTED = replace(BENT, segment_by="industry", shifts={"Retail": -1.2, "Energy": 0.8})


def test_a_segments_shift_is_added_and_all_others_keep_the_map_of_all():
    raw = np.linspace(-6, 3, 6)
    segments = ["Retail", "Energy", "Software", "never seen", np.nan, None]
    np.testing.assert_allclose(
        SHIFTED.apply(raw, segments) - BENT.apply(raw), [-1.2, 0.8, 0, 0, 0, 0], atol=1e-12
    )


def test_shifts_of_0_change_no_bit():
    raw = np.random.default_rng(0).normal(-2, 3, 200)
    zero = replace(BENT, segment_by="industry", shifts={"Retail": 0.0})
    np.testing.assert_array_equal(
        zero.probability(raw, ["Retail"] * 200), BENT.probability(raw, ["Energy"] * 200)
    )
    np.testing.assert_array_equal(zero.probability(raw, ["Retail"] * 200), BENT.probability(raw))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.floats(-5, 5), st.lists(st.floats(-20, 20), min_size=2, max_size=20, unique=True))
def test_the_ranking_within_a_segment_stays(shift, scores):
    raw = np.sort(np.round(scores, 6))
    shifted = replace(BENT, segment_by="industry", shifts={"Retail": shift})
    probability = shifted.probability(raw, ["Retail"] * len(raw))
    assert ((probability > 0) & (probability < 1)).all()
    # two scores may round to one probability near 1, but never change places
    assert (np.diff(probability)[np.diff(raw) > 0] >= 0).all()
    assert (np.diff(shifted.apply(raw, ["Retail"] * len(raw)))[np.diff(raw) > 1e-5] > 0).all()


def test_a_bundle_written_before_there_were_segments_still_opens():
    old = {"raw": [-4.0, -1.0], "calibrated": [-5.0, -1.5], "slope_below": 0.7, "slope_above": 1.2}
    assert TypeAdapter(Calibration).validate_python(old) == BENT


@pytest.mark.parametrize(
    "settings",
    [
        {"shifts": {"Retail": 1.0}},  # of which feature?
        {"shifts": {"Retail": np.inf}, "segment_by": "industry"},
        {"shifts": {"Retail": np.nan}, "segment_by": "industry"},
    ],
)
def test_damaged_shifts_are_refused(settings):
    with pytest.raises(ValueError, match="a calibration"):
        replace(BENT, **settings)


@pytest.mark.parametrize("name", ["employees", "no_such_feature"])
def test_a_scorer_refuses_segments_of_no_category(name):
    with pytest.raises(ValueError, match="segments are those of no category"):
        small_scorer(replace(BENT, segment_by=name))


def test_the_scorer_shifts_each_lead_by_its_own_segment(tmp_path):
    snapshots = small_snapshots(300, seed=5)
    pooled, shifted = small_scorer(BENT), small_scorer(SHIFTED)
    before, after = pooled.score(snapshots), shifted.score(snapshots)
    np.testing.assert_array_equal(before["raw_score"], after["raw_score"])
    expected = snapshots["industry"].map(SHIFTED.shifts).fillna(0.0)
    moved = logit(after["probability"]) - logit(before["probability"])
    np.testing.assert_allclose(moved, expected, atol=1e-9)
    assert set(expected.round(6)) == {-1.2, 0.0, 0.8}
    # one snapshot and many give the same bits, and so does the bundle
    one = pd.concat([shifted.score(snapshots[row : row + 1]) for row in range(5)])
    pd.testing.assert_frame_equal(one, after.head(5))
    golden = synthesise_rows(snapshots, shifted.encoder, seed=0)
    write_bundle(shifted, golden, {}, tmp_path / "bundle")
    pd.testing.assert_frame_equal(open_bundle(tmp_path / "bundle").score(snapshots), after)


def test_reasons_add_up_with_shifts():
    snapshots = small_snapshots(300, seed=5)
    scorer = small_scorer(SHIFTED)
    scores, told = scorer.score(snapshots), reasons(scorer, snapshots)
    sums = told.groupby("lead_id", sort=False)[["log_odds", "points"]].sum()
    base = float(SHIFTED.apply(scorer.base_raw_score))
    np.testing.assert_allclose(sums["log_odds"], logit(scores["probability"]) - base, atol=1e-6)
    np.testing.assert_allclose(sums["points"], scores["probability"] - sigmoid(base), atol=1e-6)


def test_the_shift_is_told_as_part_of_its_attributes_reason():
    snapshots = small_snapshots(300, seed=5)
    keys = ["lead_id", "concept"]
    before, after = (
        reasons(small_scorer(calibration), snapshots).set_index(keys)["log_odds"]
        for calibration in (BENT, SHIFTED)
    )
    before, after = before.align(after, fill_value=0.0)
    moved = (after - before).rename("moved").reset_index()
    own = moved[moved["concept"] == "industry"].set_index("lead_id")["moved"]
    expected = snapshots.set_index("lead_id")["industry"].map(SHIFTED.shifts).fillna(0.0)
    np.testing.assert_allclose(own.reindex(expected.index).fillna(0.0), expected, atol=1e-9)
    np.testing.assert_allclose(moved.loc[moved["concept"] != "industry", "moved"], 0.0, atol=1e-12)
    texts = reasons(small_scorer(SHIFTED), snapshots[snapshots["industry"] == "Retail"])
    told = texts[texts["concept"] == "industry"]
    assert (told["text"] == "Industry: Retail").all()
    assert (texts.groupby("lead_id")["family"].last() == CALIBRATION).all()


def drawn_rows(shifts, rows=20_000, seed=0, size=1):
    """Rows of segments with these true shifts; `size` rows an account, which share one outcome."""
    random = np.random.default_rng(seed)
    accounts = rows // size
    account = np.repeat(np.arange(accounts), size)
    names = np.array(list(shifts))
    segment = names[random.integers(0, len(names), accounts)]
    raw = random.normal(-2.5, 1, accounts)
    log_odds = raw + np.array([shifts[name] for name in segment])
    won = (random.random(accounts) < expit(log_odds)).astype(float)
    segments = pd.Series(segment[account], dtype="str", name="region")
    return raw[account], won[account], np.ones(len(account)), account, segments


REGIONS = {"A": -0.8, "B": 0.0, "C": 0.6, "D": 0.2}


def test_true_shifts_are_found():
    rows = drawn_rows(REGIONS)
    found = with_shifts(Calibration.identity(), *rows, list(REGIONS))
    assert found.segment_by == "region"
    assert found.shifts == pytest.approx(REGIONS, abs=0.15)


def test_segments_that_differ_by_luck_only_get_no_shift():
    none = dict.fromkeys("ABCDEFGH", 0.0)
    largest = []
    for seed in range(20):
        found = with_shifts(Calibration.identity(), *drawn_rows(none, 4_000, seed), list(none))
        largest.append(max(map(abs, found.shifts.values())))
    assert sum(shift > 0 for shift in largest) <= 3  # about one of twenty, by luck
    assert max(largest) < 0.4


def test_outcomes_shared_by_an_account_are_not_taken_for_evidence():
    """Rows of twelve an account: taken one by one, luck would look like sure differences."""
    none = dict.fromkeys("ABCDEFGH", 0.0)
    found, naive = [], []
    for seed in range(10):
        raw, won, weight, account, segments = drawn_rows(none, 6_000, seed, size=12)
        for kept, accounts in ((found, account), (naive, np.arange(len(account)))):
            fitted = with_shifts(
                Calibration.identity(), raw, won, weight, accounts, segments, list(none)
            )
            kept.append(max(map(abs, fitted.shifts.values())))
    assert np.median(found) < 0.1
    assert np.median(naive) > 0.3


@pytest.mark.parametrize("wins", [0, 1, 6, 15])
def test_a_segment_of_few_rows_is_pulled_towards_the_others(wins):
    """Fifteen rows that expect about one win; no or all wins alone would mean an infinite shift."""
    raw, won, weight, account, segments = drawn_rows(REGIONS)
    is_tiny = np.arange(len(segments)) < 15
    outcome = np.where(is_tiny, np.arange(len(segments)) < wins, won)
    with_tiny = segments.where(~is_tiny, "tiny")
    rows = (raw, outcome, weight, account, with_tiny)
    found = with_shifts(Calibration.identity(), *rows, [*REGIONS, "tiny"]).shifts["tiny"]
    alone = logit(np.clip(wins / 15, 0.001, 0.999)) - logit(expit(raw[is_tiny]).mean())
    assert 0 < found / alone < 0.8


def test_a_value_without_rows_gets_no_shift():
    found = with_shifts(Calibration.identity(), *drawn_rows(REGIONS), [*REGIONS, "nowhere"])
    assert found.shifts["nowhere"] == pytest.approx(0.0, abs=1e-9)


def test_shifts_lower_the_loss_of_rows_they_have_not_seen():
    def loss(calibration, rows):
        log_odds = calibration.apply(rows[0], rows[4])
        return np.mean(np.logaddexp(0, log_odds) - rows[1] * log_odds)

    new = drawn_rows(REGIONS, seed=1)
    found = with_shifts(Calibration.identity(), *drawn_rows(REGIONS), list(REGIONS))
    true = Calibration(segment_by="region", shifts=REGIONS)
    gain = loss(Calibration.identity(), new) - loss(found, new)
    assert gain > 0.8 * (loss(Calibration.identity(), new) - loss(true, new)) > 0


def test_missing_values_get_no_shift():
    raw, won, weight, account, segments = drawn_rows(REGIONS)
    gone = segments.where(segments != "A")
    found = with_shifts(Calibration.identity(), raw, won, weight, account, gone, ["B", "C", "D"])
    assert set(found.shifts) == {"B", "C", "D"}
    assert found.apply([0.0], [np.nan]).tolist() == [0.0]


def test_a_model_is_calibrated_by_the_configured_attribute():
    examples = small_examples()
    everything = np.ones(len(examples.won), dtype=bool)
    config = small_config(training={"calibrate_by": "leads.source"})
    fitted = fit_model(examples, everything, Choices(DEFAULTS, None), config)
    assert fitted.calibration.segment_by == "source"
    assert set(fitted.calibration.shifts) == set(examples.snapshots["source"].dropna())
    # a shift that is certainly there
    strong = replace(fitted.calibration, shifts={"webinar": 1.0})
    shifted, pooled = (
        replace(fitted, calibration=calibration)
        for calibration in (strong, replace(strong, shifts={}))
    )
    of_segment = (examples.snapshots["source"] == "webinar").to_numpy(float)
    for score in (
        lambda model: model.probability(examples.snapshots),
        lambda model: model.out_of_fold_probability(examples.snapshots, examples.account),
    ):
        moved = logit(score(shifted)) - logit(score(pooled))
        np.testing.assert_allclose(moved, of_segment, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "message"), [("leads.regoin", "no feature"), ("any_count_30d", "is a number")]
)
def test_a_mistaken_setting_is_told_before_the_search(name, message):
    examples = small_examples()
    config = small_config(training={"calibrate_by": name, "trials": 50})
    with pytest.raises(InputError, match=rf"\[training\] calibrate_by .*{message}"):
        choose(examples, np.ones(len(examples.won), dtype=bool), config)
