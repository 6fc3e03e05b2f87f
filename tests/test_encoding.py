import numpy as np
import pandas as pd
import pytest
from small_model import CATALOGUE, small_scorer, small_snapshots

from features.errors import InputError
from models.encoding import Encoder, fit_encoder


def one_category(values: list[str | None]) -> pd.DataFrame:
    snapshots = small_snapshots(len(values))
    return snapshots.assign(industry=pd.array(values, dtype="str"))


def test_categories_are_coded_by_frequency_and_ties_by_value() -> None:
    rows = one_category(["c"] * 3 + ["b"] * 5 + ["a"] * 3 + ["rare"])
    encoder = fit_encoder(rows, CATALOGUE, min_count=2)
    assert encoder.vocabularies == {"industry": ("b", "a", "c")}


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("b", 0.0),
        ("a", 1.0),
        ("rare", 2.0),  # in training, but not often enough
        ("never seen", 2.0),
        ("", 2.0),  # an empty text is a value; missing is missing
        (None, np.nan),
    ],
)
def test_each_value_has_its_code(value: str | None, code: float) -> None:
    encoder = fit_encoder(one_category(["b"] * 5 + ["a"] * 3 + ["rare"]), CATALOGUE, min_count=2)
    matrix = encoder.transform(one_category([value]))
    np.testing.assert_array_equal(matrix[0, 0], code)


def test_numbers_pass_unchanged_and_keep_their_column() -> None:
    snapshots = small_snapshots(200)
    matrix = fit_encoder(snapshots, CATALOGUE).transform(snapshots)
    assert matrix.dtype == np.float64
    for place, feature in enumerate(CATALOGUE.features[1:], start=1):
        np.testing.assert_array_equal(matrix[:, place], snapshots[feature.name].to_numpy())


def test_row_order_changes_no_code() -> None:
    snapshots = small_snapshots()
    shuffled = snapshots.sample(frac=1, random_state=3)
    assert fit_encoder(shuffled, CATALOGUE) == fit_encoder(snapshots, CATALOGUE)


def test_columns_may_come_in_any_order() -> None:
    snapshots = small_snapshots(50)
    encoder = small_scorer().encoder
    turned = snapshots[snapshots.columns[::-1]]
    np.testing.assert_array_equal(encoder.transform(turned), encoder.transform(snapshots))


def test_a_rare_value_is_not_kept_since_it_may_name_a_person() -> None:
    assert "Jane Miller Consulting" not in str(small_scorer().encoder)


def test_a_code_of_its_own_for_unknown_values_would_change_no_score() -> None:
    scorer = small_scorer()
    matrix = scorer.encoder.transform(small_snapshots(500, seed=5))
    other = float(len(scorer.encoder.vocabularies["industry"]))
    matrix[:, 0] = other
    beyond = matrix.copy()
    beyond[:, 0] = other + 1
    forest = scorer.forest
    np.testing.assert_array_equal(forest.raw_scores(beyond), forest.raw_scores(matrix))
    np.testing.assert_array_equal(forest.contributions(beyond), forest.contributions(matrix))


def test_absent_features_are_named() -> None:
    snapshots = small_snapshots(5).drop(columns=["employees", "industry"])
    with pytest.raises(InputError, match="lack 2 of 7 features of the model: industry, employees"):
        small_scorer().encoder.transform(snapshots)


def test_text_in_a_number_is_refused_by_name() -> None:
    snapshots = small_snapshots(5).assign(employees="many")
    with pytest.raises(InputError, match="feature employees holds str"):
        small_scorer().encoder.transform(snapshots)


def test_a_vocabulary_must_be_of_a_column_and_name_each_value_once() -> None:
    with pytest.raises(ValueError, match="no column"):
        Encoder(("employees",), {"industry": ("a",)})
    with pytest.raises(ValueError, match="repeats"):
        Encoder(("industry",), {"industry": ("a", "a")})


def test_many_rows_of_one_account_do_not_make_its_value_frequent():
    rows = one_category(["acme.example"] * 50 + ["gmail.com"] * 3)
    rows["account_id"] = pd.Series(["acme"] * 50 + [None] * 3, dtype="str")
    rows["lead_id"] = pd.Series([f"lead {n}" for n in range(53)], dtype="str")
    encoder = fit_encoder(rows, CATALOGUE, min_count=2)
    assert next(iter(encoder.vocabularies.values())) == ("gmail.com",)
