from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_model import booster_of, small_scorer, small_snapshots

from features.catalogue.catalogue import Catalogue
from models.calibration import sigmoid
from models.cutoff import Cutoff

quick = settings(max_examples=100, deadline=None, derandomize=True)
probabilities = st.floats(0, 1)


def test_a_score_is_the_calibrated_probability_of_lightgbms_raw_score() -> None:
    scorer, snapshots = small_scorer(), small_snapshots(300, seed=2)
    scores = scorer.score(snapshots)
    raw = booster_of(scorer).predict(scorer.encoder.transform(snapshots), raw_score=True)
    assert list(scores.columns) == [
        "lead_id", "account_id", "as_of", "probability", "raw_score", "grade", "qualified",
    ]  # fmt: skip
    np.testing.assert_array_equal(scores["raw_score"], raw)
    np.testing.assert_array_equal(
        scores["probability"], sigmoid(scorer.calibration.apply(np.asarray(raw)))
    )
    pd.testing.assert_frame_equal(
        scores[["lead_id", "account_id", "as_of"]], snapshots[["lead_id", "account_id", "as_of"]]
    )


def test_one_lead_gets_the_same_bits_alone_and_among_others_whatever_the_threads() -> None:
    scorer, snapshots = small_scorer(), small_snapshots(50, seed=2)
    together = scorer.score(snapshots, num_threads=2)
    alone = pd.concat([scorer.score(snapshots.iloc[[row]]) for row in range(len(snapshots))])
    pd.testing.assert_frame_equal(alone, together)


def test_no_leads_give_no_scores() -> None:
    scores = small_scorer().score(small_snapshots(5).iloc[:0])
    assert len(scores) == 0
    assert scores["probability"].dtype == np.float64


def test_only_eligible_leads_from_the_cutoff_up_qualify() -> None:
    scorer, snapshots = small_scorer(), small_snapshots()
    scores = scorer.score(snapshots)
    expected = snapshots["is_eligible"] & (scores["probability"] >= 0.25)
    assert scores["qualified"].tolist() == expected.tolist()
    assert 0 < scores["qualified"].sum() < (scores["probability"] >= 0.25).sum()


def test_without_a_cutoff_nobody_qualifies_and_no_grade_says_so() -> None:
    scores = small_scorer(cutoff=None).score(small_snapshots())
    assert not scores["qualified"].any()
    assert set(scores["grade"]) == {"C", "D"}


@quick
@given(st.lists(probabilities, min_size=1), probabilities, probabilities)
def test_a_higher_cutoff_never_qualifies_more(
    scores: list[float], one: float, other: float
) -> None:
    low, high = sorted((one, other))
    of_low = Cutoff("fixed", {}, low).qualifies(scores)
    assert (of_low | ~Cutoff("fixed", {}, high).qualifies(scores)).all()


@quick
@given(st.lists(probabilities, min_size=2), probabilities, probabilities)
def test_a_higher_probability_never_gets_a_worse_grade(
    scores: list[float], cutoff: float, base_rate: float
) -> None:
    rule = Cutoff("fixed", {}, cutoff)
    grades = list(rule.grades(sorted(scores), base_rate))
    assert grades == sorted(grades, reverse=True)
    is_qualified = [grade in "AB" for grade in rule.grades(scores, base_rate)]
    assert is_qualified == rule.qualifies(scores).tolist()


@pytest.mark.parametrize(
    ("probability", "grade"),
    [
        (0.40, "A"),  # twice the cutoff
        (0.39, "B"),
        (0.20, "B"),  # the cutoff itself qualifies
        (0.19, "C"),
        (0.05, "C"),  # the base rate
        (0.04, "D"),
        (0.00, "D"),
    ],
)
def test_grades_begin_at_their_bounds(probability: float, grade: str) -> None:
    assert Cutoff("fixed", {}, 0.2).grades([probability], base_rate=0.05)[0] == grade


@pytest.mark.parametrize("cutoff", [0.3, 0.5, 0.9, 0.999])
def test_grade_a_is_within_reach_of_any_cutoff(cutoff: float) -> None:
    assert cutoff < Cutoff("fixed", {}, cutoff).grade_bounds(0.1)["A"] < 1


def test_a_cutoff_is_a_probability() -> None:
    with pytest.raises(ValueError, match=r"not 1\.2"):
        Cutoff("fixed", {}, 1.2)


def test_parts_that_do_not_fit_together_are_refused() -> None:
    scorer = small_scorer()
    fewer = Catalogue(scorer.catalogue.features[:-1])
    with pytest.raises(ValueError, match="not those of the catalogue"):
        replace(scorer, catalogue=fewer)
    encoder = replace(scorer.encoder, columns=tuple(fewer.names))
    with pytest.raises(ValueError, match="7 features, the catalogue 6"):
        replace(scorer, catalogue=fewer, encoder=encoder)
    with pytest.raises(ValueError, match="base rate"):
        replace(scorer, base_rate=1.5)
    with pytest.raises(ValueError, match="base raw score"):
        replace(scorer, base_raw_score=scorer.base_raw_score + 1e-8)
