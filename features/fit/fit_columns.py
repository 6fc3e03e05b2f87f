"""Engineered fit: what a domain, a job title and a number of employees tell, as categories.

Each is a pure function of one value. Batch maps it over the distinct values of a column, live over
one value: the same code, so the same result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pandas as pd

from features.catalogue.contents import Attribute
from features.catalogue.feature import Feature
from features.config import FeatureConfig
from features.errors import InputError
from features.fit.company_size import SIZE_BANDS
from features.fit.company_size import size_band as size_band
from features.fit.departments import department as department
from features.fit.email_domains import email_kind as email_kind
from features.fit.job_titles import seniority as seniority


@dataclass(frozen=True)
class FitColumn:
    """A kind of column that engineered features are read from."""

    setting: str
    "Of `[features]`: the column's name, where it has an unusual one."
    owners: tuple[str, ...]
    "Tables it may be in, the likelier one first."
    usual_names: tuple[str, ...]
    "In lower case without punctuation, the likeliest first."


FIT_COLUMNS = (
    FitColumn("email_domain", ("leads",), ("emaildomain", "maildomain")),
    FitColumn(
        "job_title",
        ("leads",),
        ("jobtitle", "title", "jobrole", "jobposition", "position", "occupation"),
    ),
    FitColumn(
        "company_size",
        ("accounts", "leads"),
        (
            *("employees", "companysize", "numberofemployees", "numemployees", "employeecount"),
            *("noofemployees", "employeerange", "companyemployees", "headcount"),
        ),
    ),
)


@dataclass(frozen=True)
class _Engineered:
    """One engineered feature."""

    read: Callable[[Any], str | None]
    setting: str
    name: str
    wording: str
    missing_wording: str
    words: dict[str, str]
    "Value -> how it is said, where the value is no plain English."


_ENGINEERED = {
    "email_kind": _Engineered(
        email_kind,
        "email_domain",
        "email_kind",
        "E-mail address {value}",
        "The e-mail domain is not known",
        {
            "free": "at a free mail host",
            "business": "of a company or organisation",
            "education": "of a school or university",
        },
    ),
    "seniority": _Engineered(
        seniority,
        "job_title",
        "job_seniority",
        "Job title of {value}",
        "The job title tells no seniority",
        {
            "c_level": "top management (C level or owner)",
            "vp": "a vice president",
            "director": "a director or head",
            "manager": "a manager",
            "senior": "a senior specialist",
            "individual": "a specialist or staff member",
            "entry": "someone at entry level",
        },
    ),
    "department": _Engineered(
        department,
        "job_title",
        "job_department",
        "Department by job title: {value}",
        "The job title tells no department",
        {
            "it": "IT",
            "hr": "human resources",
            "customer_service": "customer service",
            "executive": "general management",
        },
    ),
    "size_band": _Engineered(
        size_band,
        "company_size",
        "company_size_band",
        "Company of {value}",
        "The company's size is not known",
        {band: f"{band} employees" for band in SIZE_BANDS} | {"5001+": "more than 5,000 employees"},
    ),
}
FIT_AGGREGATIONS = tuple(_ENGINEERED)
"Aggregations that turn one attribute into a category."


def fit_features(attributes: Iterable[Attribute], config: FeatureConfig) -> Iterator[Feature]:
    """Yield the engineered features that the filled columns among `attributes` can give.

    A dropped column gives none: what is derived from a leak leaks. Each shares the concept of its
    column, so that both are told as one reason. Raises InputError for a column named in
    `[features]` that is not there.
    """
    known = {attribute.stream: attribute for attribute in attributes}
    found = {column.setting: _stream_of(column, known, config) for column in FIT_COLUMNS}
    for aggregation, engineered in _ENGINEERED.items():
        stream = found[engineered.setting]
        if stream is None:
            continue
        # A number is no title and no domain.
        is_readable = known[stream].dtype == "category" or aggregation == "size_band"
        if is_readable and known[stream].is_filled and not _is_dropped(known[stream], config):
            yield Feature(
                name=engineered.name,
                family="fit",
                concept=stream,
                aggregation=aggregation,
                stream=stream,
                dtype="category",
                wording=engineered.wording,
                missing_wording=engineered.missing_wording,
            )


def _stream_of(column: FitColumn, known: dict[str, Attribute], config: FeatureConfig) -> str | None:
    named: str | None = getattr(config, column.setting, None)
    if named is not None:
        streams = [named, *(f"{owner}.{named}" for owner in ("leads", "accounts"))]
        found = next((stream for stream in streams if stream in known), None)
        if found is None:
            listed = ", ".join(sorted(known)[:20]) or "none"
            raise InputError(
                f'[features] {column.setting} = "{named}" is no attribute. Known are {listed}.'
            )
        return found
    usual = {
        (attribute.owner, re.sub(r"[\W_]+", "", attribute.column.casefold())): stream
        for stream, attribute in known.items()
        if attribute.is_filled
    }
    places = ((owner, name) for name in column.usual_names for owner in column.owners)
    return next((usual[place] for place in places if place in usual), None)


def _is_dropped(attribute: Attribute, config: FeatureConfig) -> bool:
    return attribute.column in config.drop or attribute.stream in config.drop


@lru_cache(maxsize=1 << 14)  # titles, domains and sizes repeat from lead to lead
def fit_value(aggregation: str, value: str | float | None) -> str | None:
    """Return the category that one value of the column gives; None where it gives none.

    >>> fit_value("size_band", 120.0), fit_value("seniority", "VP Sales")
    ('51-200', 'vp')
    >>> fit_value("seniority", None) is None
    True
    """
    if value is None or value != value:
        return None
    category: str | None = _ENGINEERED[aggregation].read(
        value if aggregation == "size_band" else str(value)
    )
    return category


def fit_values(aggregation: str, values: pd.Series) -> pd.api.extensions.ExtensionArray:
    """Return the categories of a whole column as `str`; each distinct value is read once."""
    codes, distinct = pd.factorize(values)
    read = [fit_value(aggregation, value) for value in distinct]
    array: pd.api.extensions.ExtensionArray = pd.array([*read, None], dtype="str")
    return array.take(np.asarray(codes))


def with_fit_columns(rows: pd.DataFrame, features: Iterable[Feature]) -> pd.DataFrame:
    """Return rows of a flat export with the engineered ones among `features` as further columns."""
    engineered = {
        feature.name: fit_values(feature.aggregation, rows[column_of(feature)])
        for feature in features
        if feature.aggregation in FIT_AGGREGATIONS
    }
    return rows.assign(**engineered) if engineered else rows


def flat_columns(features: Iterable[Feature]) -> dict[str, Literal["number", "category"]]:
    """Return column -> dtype of what a flat file must hold for `features`."""
    columns: dict[str, Literal["number", "category"]] = {}
    for feature in features:
        if feature.aggregation == "attribute":
            columns[column_of(feature)] = feature.dtype
        elif feature.aggregation in FIT_AGGREGATIONS:
            columns.setdefault(column_of(feature), "category")
    return columns


def column_of(feature: Feature) -> str:
    """Return the column that an attribute, or what is engineered from it, stands in."""
    return feature.stream.partition(".")[2]


def said(aggregation: str, value: str) -> str:
    """Return a category of an engineered feature in words; any other value as it is.

    >>> said("seniority", "vp"), said("attribute", "vp")
    ('a vice president', 'vp')
    """
    engineered = _ENGINEERED.get(aggregation)
    return value if engineered is None else engineered.words.get(value, value)
