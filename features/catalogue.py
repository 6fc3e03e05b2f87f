"""The catalogue: features as data, all that is needed to compute them again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, get_args

import pandas as pd

from features.config import FeatureConfig, PopulationConfig
from features.errors import InputError
from features.families import account_engagement, engagement, funnel
from features.feature import AGGREGATIONS
from features.feature import Family as Family
from features.feature import Feature as Feature
from features.identity import AccountFrom
from features.tables import Tables
from features.wording import title

INDEX_COLUMNS = ("lead_id", "account_id", "as_of", "is_eligible")


@dataclass(frozen=True)
class Catalogue:
    """All features, in column order."""

    features: tuple[Feature, ...]
    account_from: AccountFrom = "account_id"
    attribution_days: int = 90
    "Both as in PopulationConfig: account and opportunity features depend on them."
    undated: tuple[str, ...] = ()
    "Attributes of current-state exports (`leads.column`): used, but nobody knows since when."

    @property
    def names(self) -> list[str]:
        """Feature columns in matrix order."""
        return [feature.name for feature in self.features]

    def to_dict(self) -> dict[str, Any]:
        """Return the catalogue as plain JSON values."""
        values = asdict(self)
        return {**values, "features": list(values["features"]), "undated": list(self.undated)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Catalogue:
        """Return the catalogue that `to_dict` wrote; anything else is a ValueError."""
        _expect_keys(values, {field.name for field in fields(cls)}, "catalogue")
        catalogue = cls(
            features=tuple(_read_feature(entry) for entry in _entries(values["features"])),
            account_from=values["account_from"],
            attribution_days=values["attribution_days"],
            undated=tuple(_entries(values["undated"])),
        )
        if catalogue.account_from not in get_args(AccountFrom):
            raise ValueError(f"catalogue: unknown account_from {catalogue.account_from!r}")
        days = catalogue.attribution_days
        if (
            type(days) is not int
            or days <= 0
            or not all(isinstance(u, str) for u in catalogue.undated)
        ):
            raise ValueError("catalogue: attribution_days or undated is damaged")
        if len(set(catalogue.names)) != len(catalogue.names):
            raise ValueError("catalogue: two features of one name")
        return catalogue


def _entries(values: object) -> list[Any]:
    if not isinstance(values, list):
        raise ValueError("catalogue: a list is expected")
    return values


def _expect_keys(values: object, expected: set[str], what: str) -> None:
    if not isinstance(values, dict) or set(values) != expected:
        raise ValueError(f"{what}: expected exactly the keys {', '.join(sorted(expected))}")


def _read_feature(values: dict[str, Any]) -> Feature:
    _expect_keys(values, {field.name for field in fields(Feature)}, "feature")
    for name, value in values.items():
        if name.endswith("_days"):
            is_damaged = value is not None and (type(value) is not int or value <= 0)
        else:
            is_damaged = not isinstance(value, str)
        if is_damaged:
            raise ValueError(f"feature {values['name']!r}: {name} is damaged")
    feature = Feature(**values)
    if feature.family not in get_args(Family) or feature.dtype not in ("number", "category"):
        raise ValueError(f"feature {feature.name!r}: unknown family or dtype")
    if feature.aggregation not in AGGREGATIONS:
        raise ValueError(f"feature {feature.name!r}: unknown aggregation {feature.aggregation!r}")
    return feature


def build_catalogue(
    tables: Tables,
    config: FeatureConfig,
    until: pd.Timestamp,
    population: PopulationConfig | None = None,
) -> Catalogue:
    """Return the features that what was recorded before `until` can fill.

    Later rows change nothing: a new event type or a column first filled after `until` is in no
    catalogue. `population` says where accounts come from and how opportunities find their leads.
    """
    population = population or PopulationConfig()
    _refuse_unknown(
        config.drop,
        [f"{owner}.{name}" for owner in ("leads", "accounts") for name in tables.attributes(owner)],
    )
    features: list[Feature] = []
    for owner in ("leads", "accounts"):
        rows = getattr(tables, owner)
        is_known = (rows["recorded_at"] < until) | (owner in tables.current_state)
        features += _attributes(rows[is_known], tables.attributes(owner), owner, config)
    has_accounts = bool(tables.leads["account_id"].notna().any())
    has_accounts = has_accounts or population.account_from == "email_domain"
    events = tables.engagement_events
    events = events[(events["recorded_at"] < until) & (events["occurred_at"] < until)]
    if len(events):
        features += engagement(events, config)
        if has_accounts:
            features += account_engagement(events, config)
    features += funnel(tables, until, bool(has_accounts))
    return Catalogue(
        features=_with_unique_names(features),
        account_from=population.account_from,
        attribution_days=population.attribution_days,
        undated=tuple(
            feature.stream
            for feature in features
            if feature.stream.partition(".")[0] in tables.current_state
        ),
    )


def flat_catalogue(rows: pd.DataFrame, config: FeatureConfig) -> Catalogue:
    """Return attribute features only: the columns of a flat export (`rows`) beside the index."""
    columns = [str(column) for column in rows.columns if column not in INDEX_COLUMNS]
    _refuse_unknown(config.drop, [f"leads.{column}" for column in columns])
    return Catalogue(_with_unique_names(_attributes(rows, columns, "leads", config)))


def _refuse_unknown(dropped: tuple[str, ...], streams: list[str]) -> None:
    """Raise InputError for names in [features] drop that are no attribute: a typo keeps a leak."""
    known = {*streams, *(stream.partition(".")[2] for stream in streams)}
    unknown = [name for name in dropped if name not in known]
    if unknown:
        raise InputError(
            f"[features] drop names {len(unknown)} unknown attributes: {', '.join(unknown[:3])}. "
            f"Known are {', '.join(sorted(streams)[:20])}."
        )


def _with_unique_names(features: Iterable[Feature]) -> tuple[Feature, ...]:
    taken = set(INDEX_COLUMNS)
    unique = []
    for feature in features:
        name, number = feature.name, 2
        while name in taken:
            name, number = f"{feature.name}_{number}", number + 1
        taken.add(name)
        unique.append(replace(feature, name=name))
    return tuple(unique)


def _attributes(
    rows: pd.DataFrame, columns: list[str], owner: str, config: FeatureConfig
) -> Iterator[Feature]:
    """Yield a feature per attribute column that holds any value in `rows`."""
    for column in columns:
        stream = f"{owner}.{column}"
        if column in config.drop or stream in config.drop or rows[column].isna().all():
            continue
        is_number = pd.api.types.is_numeric_dtype(rows[column])
        of_account = owner == "accounts" and not column.startswith("account")
        heading = title(f"account {column}" if of_account else column)
        yield Feature(
            name=f"account_{column}" if of_account else column,
            family="fit",
            concept=stream,
            aggregation="attribute",
            stream=stream,
            dtype="number" if is_number else "category",
            wording=f"{heading}: {{value}}",
            missing_wording=f"{heading} is not known",
        )
