"""Engineered fit: domains, sizes, and which columns they are read from."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.catalogue.contents import Attribute
from features.config import FeatureConfig
from features.errors import InputError
from features.fit.company_size import SIZE_BANDS
from features.fit.fit_columns import (
    FIT_AGGREGATIONS,
    email_kind,
    fit_features,
    fit_value,
    fit_values,
    said,
    size_band,
)
from models.wording import tell

SIZES = [
    # size, band, why
    (1, "1-10", ""),
    (10, "1-10", "the last of its band"),
    (11.0, "11-50", "the first of its band"),
    (50.5, "11-50", "half a person changes no band"),
    (1000, "501-1000", ""),
    (5000, "1001-5000", ""),
    (5001, "5001+", ""),
    (np.float32(120), "51-200", ""),
    (0, None, "stands for not known"),
    (-5, None, ""),
    (float("inf"), None, ""),
    ("51-200", "51-200", ""),
    ("51 \u2013 200 employees", "51-200", ""),
    ("501 to 1000 employees", "501-1000", ""),
    ("between 51 and 200", "51-200", ""),
    ("2-10", "1-10", ""),
    ("10,001+", "5001+", ""),
    ("1,000+", "1001-5000", "an open end is just above"),
    ("more than 1000", "1001-5000", ""),
    ("5001+", "5001+", ""),
    ("10k", "5001+", ""),
    ("1.5K", "1001-5000", ""),
    ("10-50k", "5001+", "both are thousands"),
    ("1.000", "501-1000", "no company has fractions of a person"),
    ("1 000 - 5 000", "1001-5000", "999 in 1000 of it"),
    ("1'200 Mitarbeiter", "1001-5000", ""),
    ("ca. 50", "11-50", ""),
    ("~50", "11-50", ""),
    ("51~200", "51-200", ""),
    ("<10", "1-10", ""),
    ("less than 10", "1-10", ""),
    ("über 500", "501-1000", ""),
    ("10-49", "11-50", "94% of it on a log scale"),
    ("50-249", "51-200", "85% of it on a log scale"),
    ("250-999", None, "half in one band, half in the next"),
    ("1-100", None, "two bands"),
    ("up to 500", None, "many bands"),
    ("5-1", None, ""),
    ("Enterprise", None, "no number"),
    ("founded 1998", None, "another number"),
    ("2024-05-31", None, "a date"),
    ("Oct-50", None, "what a spreadsheet makes of 10-50"),
    ("-", None, ""),
    ("", None, ""),
]
DOMAINS = [
    ("gmail.com", "free"),
    (" GMail.com ", "free"),
    ("hotmail.co.uk", "free"),
    ("yahoo.com.br", "free"),
    ("live.nl", "free"),
    ("mailinator.com", "free"),
    ("outlook.example", "business"),
    ("gmail.company.com", "business"),
    ("acme.com", "business"),
    ("company000001.example", "business"),
    ("m\u00fcller.de", "business"),
    ("unicredit.it", "business"),
    ("universitypartners.com", "business"),
    ("tu-tech.com", "business"),
    ("mit.edu", "education"),
    ("cs.ox.ac.uk", "education"),
    ("unimelb.edu.au", "education"),
    ("uni-koeln.de", "education"),
    ("stud.tu-dresden.de", "education"),
    ("ethz.ch", "education"),
    ("student.tudelft.nl", "education"),
    ("univ-lyon1.fr", "education"),
    ("singularity-university.org", "education"),
    ("localhost", None),
    ("n/a", None),
    ("someone@acme.com", None),
    ("", None),
]


@pytest.mark.parametrize(("size", "band", "why"), SIZES)
def test_a_size_falls_into_its_band(size, band, why) -> None:
    assert size_band(size) == band, why


@pytest.mark.parametrize(("domain", "kind"), DOMAINS)
def test_a_domain_is_anyones_a_schools_or_an_organisations(domain, kind) -> None:
    assert email_kind(domain) == kind


@settings(max_examples=300, derandomize=True, database=None, deadline=None)
@given(st.integers(1, 100_000))
def test_a_number_and_its_text_have_one_band_that_holds_it(employees) -> None:
    band = size_band(employees)
    assert size_band(str(employees)) == size_band(f"{employees:,} employees") == band
    low, _, high = str(band).rstrip("+").partition("-")
    assert int(low) <= employees and (not high or employees <= int(high))


@settings(max_examples=300, derandomize=True, database=None, deadline=None)
@given(st.text(max_size=30))
def test_no_text_is_too_odd(text) -> None:
    assert size_band(text) in (*SIZE_BANDS, None)
    assert email_kind(text) in ("free", "business", "education", None)


def test_a_column_and_its_single_values_give_the_same() -> None:
    titles = pd.Series(["CEO", None, "Intern", "CEO", "?"], dtype="str")
    sizes = pd.Series([5.0, np.nan, 300.0])
    for aggregation, values in (("seniority", titles), ("size_band", sizes)):
        column = pd.Series(fit_values(aggregation, values))
        single = [fit_value(aggregation, value) for value in values]
        assert column.dtype == "str"
        assert column.astype(object).where(column.notna(), None).tolist() == single
    assert pd.Series(fit_values("department", titles[:0])).dtype == "str"


def attribute(stream: str, dtype: str = "category", is_filled: bool = True) -> Attribute:
    owner, _, column = stream.partition(".")
    return Attribute(owner, column, dtype, is_filled)


def streams(*attributes: Attribute, **config: object) -> dict[str, str]:
    found = fit_features(attributes, FeatureConfig.model_validate(config))
    return {feature.aggregation: feature.stream for feature in found}


def test_columns_of_usual_names_are_found() -> None:
    found = streams(
        attribute("leads.email_domain"),
        attribute("leads.Job Title"),
        attribute("leads.employees"),
        attribute("accounts.Number_of_Employees", "number"),
    )
    assert found == {
        "email_kind": "leads.email_domain",
        "seniority": "leads.Job Title",
        "department": "leads.Job Title",
        "size_band": "leads.employees",
    }
    assert set(found) == set(FIT_AGGREGATIONS)


def test_of_two_columns_the_accounts_size_counts() -> None:
    both = attribute("leads.employees", "number"), attribute("accounts.employees")
    assert streams(*both) == {"size_band": "accounts.employees"}


def test_empty_dropped_and_numeric_columns_give_nothing() -> None:
    assert streams(attribute("leads.job_title", is_filled=False)) == {}
    assert streams(attribute("leads.job_title"), drop=["job_title"]) == {}
    assert streams(attribute("leads.job_title"), drop=["leads.job_title"]) == {}
    assert streams(attribute("leads.title", "number")) == {}
    assert streams(attribute("leads.country")) == {}


@pytest.mark.skipif("job_title" not in FeatureConfig.model_fields, reason="setting not there yet")
def test_a_column_may_be_named_and_a_wrong_name_is_refused() -> None:
    function, title = attribute("leads.Funktion"), attribute("leads.title")
    assert streams(function, title, job_title="Funktion")["seniority"] == "leads.Funktion"
    assert streams(function, title, job_title="leads.Funktion")["seniority"] == "leads.Funktion"
    with pytest.raises(
        InputError, match=r'job_title = "Function" is no attribute. Known are leads'
    ):
        streams(function, job_title="Function")


def test_each_feature_is_told_in_plain_english() -> None:
    columns = [attribute(f"leads.{name}") for name in ("email_domain", "job_title", "employees")]
    found = {f.aggregation: f for f in fit_features(columns, FeatureConfig())}
    assert tell(found["email_kind"], "free") == "E-mail address at a free mail host"
    assert tell(found["seniority"], "vp") == "Job title of a vice president"
    assert tell(found["department"], "it") == "Department by job title: IT"
    assert tell(found["department"], "sales") == "Department by job title: sales"
    assert tell(found["size_band"], "51-200") == "Company of 51-200 employees"
    assert tell(found["size_band"], "5001+", {"1-10"}) == (
        "Company of more than 5,000 employees (rare or new)"
    )
    assert said("attribute", "vp") == "vp"
