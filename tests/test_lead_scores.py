"""A few leads without pandas: the same scores and the same reasons as in batch."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_model import BENT, booster_of, small_scorer, small_snapshots

from models.calibration import Calibration
from models.cutoff import Cutoff
from models.lead_scores import LeadScore, LeadScorer
from models.reasons import CALIBRATION, point_factor, point_factor_of_one, reasons, why_text
from models.scorer import Scorer

SHIFTED = replace(BENT, segment_by="industry", shifts={"Software": 0.7, "Retail": -0.4})
BY_INDUSTRY = Cutoff(
    "precision", {}, 0.2, segment_by="industry", segments={"Software": 0.3, "Energy": None}
)


def scored(scorer: Scorer, snapshots: pd.DataFrame) -> list[LeadScore]:
    """The snapshots' scores, from plain values."""
    lead_scorer = LeadScorer.of(scorer)
    numbers = snapshots[list(lead_scorer.number_names)].to_numpy(np.float32)
    categories = {
        name: [None if pd.isna(value) else str(value) for value in snapshots[name]]
        for name in lead_scorer.category_names
    }
    return lead_scorer.score(numbers, categories, snapshots["is_eligible"].tolist())


@pytest.fixture(scope="module")
def snapshots() -> pd.DataFrame:
    rows = small_snapshots(300, seed=21)
    rows.loc[:4, "industry"] = "never seen"
    return rows


@pytest.mark.parametrize(
    "scorer",
    [
        small_scorer(),
        small_scorer(Calibration.identity()),
        small_scorer(Calibration.affine(3, 4), cutoff=None),
        replace(small_scorer(SHIFTED), cutoff=BY_INDUSTRY),
    ],
)
def test_a_few_leads_are_scored_as_in_batch(scorer: Scorer, snapshots: pd.DataFrame) -> None:
    batch, told = scorer.score(snapshots), reasons(scorer, snapshots)
    cutoffs = scorer.cutoff.values_for(snapshots)
    found = scored(scorer, snapshots)
    for name in ("raw_score", "probability", "grade", "qualified"):
        assert [getattr(score, name) for score in found] == batch[name].tolist()
    assert [np.inf if s.cutoff is None else s.cutoff for s in found] == cutoffs.tolist()
    assert {score.qualified for score in found} == set(batch["qualified"])
    by_lead = dict(iter(told.groupby("lead_id", sort=False)))
    for lead_id, score in zip(snapshots["lead_id"], found, strict=True):
        mine, expected = pd.DataFrame(score.reasons()), by_lead[lead_id]
        for name in ("concept", "family", "text"):
            assert mine[name].tolist() == expected[name].tolist()
        for name in ("points", "log_odds"):
            np.testing.assert_allclose(mine[name], expected[name], rtol=0, atol=1e-12)
        of_batch = expected[expected["family"] != CALIBRATION]
        assert score.why() == why_text(of_batch["text"], of_batch["points"])


def test_all_contributions_add_up_to_the_score(snapshots: pd.DataFrame) -> None:
    scorer = replace(small_scorer(SHIFTED), cutoff=BY_INDUSTRY)
    lead_scorer = LeadScorer.of(scorer)
    assert lead_scorer.concepts[-1] == lead_scorer.families[-1] == CALIBRATION
    assert len(lead_scorer.concepts) == len(lead_scorer.families)
    for score in scored(scorer, snapshots):
        assert len(score.points) == len(score.contributions) == len(lead_scorer.concepts)
        gain = score.log_odds - lead_scorer.base_log_odds
        assert score.contributions.sum() == pytest.approx(gain, abs=1e-9)
        points = score.probability - lead_scorer.base_probability
        assert score.points.sum() == pytest.approx(points, abs=1e-9)


def test_one_lead_gets_the_same_bits_alone_and_among_others(snapshots: pd.DataFrame) -> None:
    together = scored(small_scorer(), snapshots)
    for row in range(0, len(snapshots), 7):
        (alone,) = scored(small_scorer(), snapshots.iloc[[row]])
        assert alone.raw_score == together[row].raw_score
        np.testing.assert_array_equal(alone.points, together[row].points)
        assert alone.reasons() == together[row].reasons()


def test_the_top_reasons_are_the_first_of_all_without_the_calibration(
    snapshots: pd.DataFrame,
) -> None:
    for score in scored(small_scorer(), snapshots.head(40)):
        complete = score.reasons()
        assert complete[-1]["concept"] == CALIBRATION
        for top in (0, 1, 3, 50):
            assert score.reasons(top) == complete[:-1][:top]
        assert score.reasons() == complete


def test_what_is_unknown_is_told_in_other_words_than_what_is_missing() -> None:
    lead = small_snapshots(1, seed=3).assign(
        visit_recency=np.float32(np.nan), industry=pd.array([None], dtype="str")
    )
    (score,) = scored(small_scorer(), lead)
    texts = [reason["text"] for reason in score.reasons()]
    assert "No visit so far" in texts
    assert "Industry is not known" in texts
    unknown = {"visit_recency": "Visits were not sent", "employees": "never used"}
    texts = [reason["text"] for reason in score.reasons(missing_text=unknown)]
    assert "Visits were not sent" in texts
    assert "No visit so far" not in texts
    assert "Industry is not known" in texts
    assert ("Visits were not sent" in score.why(unknown)) == ("No visit so far" in score.why())


def test_no_leads_have_no_scores() -> None:
    assert scored(small_scorer(), small_snapshots(3).iloc[:0]) == []


def test_numbers_of_other_columns_are_refused() -> None:
    lead_scorer = LeadScorer.of(small_scorer())
    with pytest.raises(ValueError, match="5 numbers for 6 columns"):
        lead_scorer.score(np.zeros((1, 5), np.float32), {"industry": [None]}, [True])


def test_plain_values_make_the_same_matrix_as_snapshots(snapshots: pd.DataFrame) -> None:
    encoder = small_scorer().encoder
    numbers = snapshots[list(encoder.number_columns)].to_numpy(np.float32)
    values = [None if pd.isna(value) else value for value in snapshots["industry"]]
    np.testing.assert_array_equal(
        encoder.transform_values(numbers, {"industry": values}), encoder.transform(snapshots)
    )


# Without care rounding lifts its scores just below the second knot above those at the knot.
STEEP = Calibration((-2.0, 0.6369616873214543), (-1e6, 2.697867137638703e-07))


@pytest.mark.parametrize(
    "calibration",
    [Calibration.identity(), Calibration.affine(0.3, -2), BENT, STEEP],
)
def test_one_score_is_calibrated_to_the_bits_of_many(calibration: Calibration) -> None:
    generator = np.random.default_rng(8)
    raw = np.concatenate([generator.normal(0, 4, 3_000), calibration.raw, [-np.inf, np.inf, 1e7]])
    raw = np.concatenate([raw, np.nextafter(calibration.raw, -np.inf)])
    one = calibration.of_one()
    calibrated = calibration.apply(raw)
    assert [one(score) for score in raw.tolist()] == calibrated.tolist()
    factors = point_factor(calibrated, -1.2)
    assert [point_factor_of_one(z, -1.2) for z in calibrated.tolist()] == factors.tolist()


def test_scoring_a_lead_imports_neither_lightgbm_nor_mlflow_nor_shap() -> None:
    heavy = {"lightgbm", "mlflow", "shap", "sklearn", "matplotlib", "duckdb"}
    code = "import models.bundle, models.lead_scores, sys; print(*sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    imported = set(answer.stdout.split())
    assert "models.lead_scores" in imported
    assert not heavy & imported


def test_the_raw_score_is_lightgbms(snapshots: pd.DataFrame) -> None:
    scorer = small_scorer()
    expected = booster_of(scorer).predict(scorer.encoder.transform(snapshots), raw_score=True)
    assert [score.raw_score for score in scored(scorer, snapshots)] == expected.tolist()
