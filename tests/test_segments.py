"""Segments: which features make them, and whether the probabilities hold in each."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scored_rows import drawn, some_test_rows
from small_crm import small_config, small_demo, small_evaluation, small_examples

from features.catalogue.catalogue import Catalogue, Feature
from features.errors import InputError
from training.comparison.segments import segment_columns
from training.reliability import rates_by, reliability_bins
from training.report import charts
from training.scored_weeks import cutoff_policy
from training.segments import (
    AS_PREDICTED,
    MISSING,
    REPLAY_COLUMNS,
    TOO_HIGH,
    TOO_LOW,
    UNKNOWN,
    category_feature,
    replay_segment,
    segment_rates,
    segments_sentence,
)

CATALOGUE = Catalogue(
    (
        Feature("source", "fit", "leads.source", "attribute", "leads.source", dtype="category"),
        Feature("account_industry", "fit", "accounts.industry", "attribute",
                "accounts.industry", dtype="category"),
        Feature("employees", "fit", "leads.employees", "attribute", "leads.employees"),
        Feature("email_kind", "fit", "leads.email_domain", "email_kind", "leads.email_domain",
                dtype="category"),
    )
)  # fmt: skip


def test_segments_are_judged_by_their_own_rows():
    test = some_test_rows()
    place = np.arange(len(test)) % 3
    region = pd.Series(np.array(["EMEA", "APAC", None], dtype=object)[place], dtype="str")
    odds = test["probability"] / (1 - test["probability"])
    # twice the truth, half of it, the truth
    factor = np.array([2.0, 0.5, 1.0])[place]
    off = test.assign(probability=factor * odds / (1 + factor * odds))
    rare = pd.Series(np.where(np.arange(len(test)) < 9, "rare", "frequent"), dtype="str")
    rates = segment_rates(off, pd.DataFrame({"region": region, "size": rare}))
    verdict = rates.set_index(["attribute", "value"])["verdict"]
    assert verdict["region", "EMEA"] == TOO_HIGH
    assert verdict["region", "APAC"] == TOO_LOW
    assert verdict["region", MISSING] == AS_PREDICTED
    assert verdict["size", "rare"] == UNKNOWN
    assert rates["value"].tolist()[3:] == ["frequent", "rare"]
    emea = rates.iloc[rates.index[rates["value"] == "EMEA"][0]]
    own = off[(region == "EMEA").to_numpy()]
    assert emea["rows"] == len(own)
    assert emea["wins"] == own["won"].sum()
    assert emea["predicted"] == pytest.approx(own["probability"].mean())
    assert emea["observed"] == pytest.approx(own["won"].mean())


def test_without_segments_there_is_nothing_to_judge():
    rates = segment_rates(some_test_rows(20), pd.DataFrame(index=range(20)))
    assert len(rates) == 0
    assert segments_sentence(rates).startswith("No segment")


def test_the_demo_is_told_by_source_and_by_the_companies_attributes():
    evaluation = small_evaluation()
    rates = segment_rates(evaluation.test, evaluation.test_segments)
    assert rates["attribute"].iloc[0] == "source"
    by_attribute = rates.groupby("attribute")["rows"].sum()
    assert (by_attribute == len(evaluation.test)).all()
    truth = small_examples().snapshots[["lead_id", "as_of"]].merge(
        small_demo().truth, on=["lead_id", "as_of"], how="left"
    )["probability"]  # fmt: skip
    best = truth[evaluation.split.is_test].to_numpy()
    ideal = segment_rates(evaluation.test.assign(probability=best), evaluation.test_segments)
    known = rates["low"].notna()
    assert known.sum() >= 5
    inside = ideal["predicted"].between(rates["low"], rates["high"])[known]
    assert inside.mean() >= 0.75  # one small draw; benchmarks/segments.py has twenty


def test_segments_are_drawn_with_what_was_predicted():
    test = some_test_rows()
    rare = pd.Series(np.where(np.arange(len(test)) < 9, "rare", "frequent"), name="size")
    marks = drawn(charts.segments(segment_rates(test, rare.to_frame())))
    assert [row["value"] for row in marks["circle"]] == ["frequent"]
    assert [row["value"] for row in marks["point"]] == ["rare"]
    assert [row["value"] for row in marks["tick"]] == ["frequent", "rare"]


def test_only_segments_with_wins_enough_get_a_curve_the_largest_first():
    test = some_test_rows()
    place = np.arange(len(test))
    values = np.select([place < 60, place < 2_000], ["rare", "some"], "many")
    curves = charts.reliability_of_segments(test, pd.Series(values))
    assert list(curves) == ["many", "some"]
    own = test[values == "some"]
    expected = rates_by(own, reliability_bins(own, charts.SEGMENT_BINS))["observed"].tolist()
    assert [row["observed"] for row in drawn(curves["some"])["circle"]] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("leads.source", "source"),
        ("source", "source"),
        ("accounts.industry", "account_industry"),
        ("industry", "account_industry"),
        ("account_industry", "account_industry"),
        ("email_kind", "email_kind"),
    ],
)
def test_a_segment_is_named_by_attribute_column_or_feature(name, column):
    assert category_feature(CATALOGUE, name, "[training] calibrate_by") == column


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("leads.region", r'calibrate_by names "leads.region", which is no feature'),
        ("employees", r'calibrate_by names "employees", which is a number'),
        # the domain itself is no feature here, only the kind read off it
        ("leads.email_domain", "no feature"),
    ],
)
def test_what_makes_no_segments_is_refused_with_what_would(name, message):
    with pytest.raises(InputError, match=message) as raised:
        category_feature(CATALOGUE, name, "[training] calibrate_by")
    assert "leads.source, accounts.industry, email_kind" in str(raised.value)


def named_like_a_replay_column(name):
    own = Feature(name, "fit", f"leads.{name}", "attribute", f"leads.{name}", dtype="category")
    return Catalogue((*CATALOGUE.features, own))


@pytest.mark.parametrize("name", ["worked", "account", "points", "probability", "is_warm_up"])
def test_segments_named_like_a_column_of_the_replay_are_refused(name):
    catalogue = named_like_a_replay_column(name)
    for written in (name, f"leads.{name}"):
        with pytest.raises(InputError, match=r"another name in the query of \[tables\.leads\]"):
            replay_segment(catalogue, written, "[cutoff] segment_by")
    # the calibration replays nothing
    assert category_feature(catalogue, name, "[training] calibrate_by") == name
    assert replay_segment(catalogue, "leads.source", "[cutoff] segment_by") == "source"


def test_the_reserved_columns_are_those_a_replay_makes():
    weeks = small_evaluation().past_weeks
    made = {*weeks.scored, *weeks.wins, *weeks.replay().moments, *weeks.replay().wins}
    assert made - {*weeks.segments, "best_before"} <= {*REPLAY_COLUMNS}


def test_the_comparison_takes_a_column_named_twice_once_and_no_column_of_the_replay():
    examples = small_examples()
    rows = np.ones(len(examples.snapshots), dtype=bool)
    twice = small_config(compare={"segments": ["source", "leads.source"]})
    assert segment_columns(examples, rows, twice) == ("source",)
    own = replace(examples, catalogue=named_like_a_replay_column("worked"))
    with pytest.raises(InputError, match=r'\[compare\] segments names "worked"'):
        segment_columns(own, rows, small_config(compare={"segments": ["worked"]}))


def test_a_cutoff_by_a_column_of_the_replay_is_refused():
    own = replace(small_examples(), catalogue=named_like_a_replay_column("worked"))
    with pytest.raises(InputError, match=r'\[cutoff\] segment_by names "leads.worked"'):
        cutoff_policy(own, small_config(cutoff={"segment_by": "leads.worked"}))
