"""The catalogue: features as data, all that is needed to compute them again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any, get_args

import pandas as pd

from features.catalogue.contents import Attribute, Contents, attributes_of, contents_of
from features.catalogue.event_groups import event_groups, refuse_unknown_types
from features.catalogue.families import account_engagement, engagement, other_types, streams_of
from features.catalogue.feature import (
    AGGREGATIONS,
    ALL_EVENTS,
    BY_ACCOUNT,
    BY_LEAD,
    GROUPS,
    JOURNEY,
    JOURNEY_STAGES,
    OTHER_EVENTS,
    EventGroup,
)
from features.catalogue.feature import Family as Family
from features.catalogue.feature import Feature as Feature
from features.catalogue.funnel import funnel
from features.catalogue.wording import title
from features.config import FeatureConfig, PopulationConfig
from features.errors import InputError
from features.facts.identity import AccountFrom
from features.fit.fit_columns import fit_features
from features.tables import Tables

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
    groups: tuple[EventGroup, ...] = ()
    "Streams of several event types, and the types that mean a stage of the journey."
    other_types: tuple[str, ...] = ()
    "Event types known from the start that are too rare for a stream of their own."

    @property
    def names(self) -> list[str]:
        """Feature columns in matrix order."""
        return [feature.name for feature in self.features]

    @cached_property
    def own_types(self) -> frozenset[str]:
        """The event types that have a stream of their own."""
        prefix = f"{ALL_EVENTS}."
        streams = {f.stream for f in self.features if f.aggregation in BY_LEAD + BY_ACCOUNT}
        return frozenset(
            stream.removeprefix(prefix)
            for stream in streams
            if stream.startswith(prefix) and stream != OTHER_EVENTS
        )

    def streams_of(self, event_type: str | None) -> set[str]:
        """Return the streams an event type belongs to; None stands for types not named here."""
        own = f"{ALL_EVENTS}.{event_type}" if event_type in self.own_types else OTHER_EVENTS
        groups = {group.stream for group in self.groups if event_type in group.event_types}
        if not any(stream.startswith(f"{JOURNEY}.") for stream in groups):
            groups.add(f"{JOURNEY}.{JOURNEY_STAGES[0]}")
        return {ALL_EVENTS, own, *groups}

    def to_dict(self) -> dict[str, Any]:
        """Return the catalogue as plain JSON values."""
        groups = [{**asdict(g), "event_types": list(g.event_types)} for g in self.groups]
        return {
            **asdict(self),
            "features": [asdict(feature) for feature in self.features],
            "undated": list(self.undated),
            "groups": groups,
            "other_types": list(self.other_types),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Catalogue:
        """Return the catalogue that `to_dict` wrote; anything else is a ValueError."""
        _expect_keys(values, {field.name for field in fields(cls)}, "catalogue")
        catalogue = cls(
            features=tuple(_read_feature(entry) for entry in _entries(values["features"])),
            account_from=values["account_from"],
            attribution_days=values["attribution_days"],
            undated=tuple(_texts(values["undated"])),
            groups=tuple(_read_group(entry) for entry in _entries(values["groups"])),
            other_types=tuple(_texts(values["other_types"])),
        )
        if catalogue.account_from not in get_args(AccountFrom):
            raise ValueError(f"catalogue: unknown account_from {catalogue.account_from!r}")
        days = catalogue.attribution_days
        if type(days) is not int or days <= 0:
            raise ValueError("catalogue: attribution_days is damaged")
        if len(set(catalogue.names)) != len(catalogue.names):
            raise ValueError("catalogue: two features of one name")
        return catalogue


def _entries(values: object) -> list[Any]:
    if not isinstance(values, list):
        raise ValueError("catalogue: a list is expected")
    return values


def _texts(values: object) -> list[str]:
    if not all(isinstance(value, str) for value in _entries(values)):
        raise ValueError("catalogue: a list of texts is expected")
    return _entries(values)


def _read_group(values: dict[str, Any]) -> EventGroup:
    _expect_keys(values, {field.name for field in fields(EventGroup)}, "group")
    stream = values["stream"]
    if not isinstance(stream, str) or not stream.startswith((f"{GROUPS}.", f"{JOURNEY}.")):
        raise ValueError("group: stream is damaged")
    return EventGroup(stream, tuple(_texts(values["event_types"])))


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
    refuse_unknown_types(config, set(tables.engagement_events["event_type"].unique()))
    return catalogue_of(contents_of(tables, until), config, population)


def catalogue_of(
    contents: Contents, config: FeatureConfig, population: PopulationConfig | None = None
) -> Catalogue:
    """Return the features that tables of these contents can fill; see `build_catalogue`."""
    population = population or PopulationConfig()
    _refuse_unknown(config, [attribute.stream for attribute in contents.attributes])
    features = [*_attributes(contents.attributes, config)]
    features += fit_features(contents.attributes, config)
    has_accounts = contents.has_accounts or population.account_from == "email_domain"
    groups = event_groups(contents.event_types, config)
    if contents.event_types:
        streams = streams_of(contents, config, groups)
        features += engagement(streams, contents, config)
        if has_accounts:
            features += account_engagement(streams, config)
    features += funnel(contents, has_accounts, population.customers == "include")
    return Catalogue(
        features=_with_unique_names(features),
        account_from=population.account_from,
        attribution_days=population.attribution_days,
        undated=tuple(
            dict.fromkeys(
                feature.stream
                for feature in features
                if feature.stream.partition(".")[0] in contents.current_state
            )
        ),
        groups=groups,
        other_types=other_types(contents, config),
    )


def flat_catalogue(rows: pd.DataFrame, config: FeatureConfig) -> Catalogue:
    """Return the features of attributes only: the columns of a flat export beside the index."""
    columns = [str(column) for column in rows.columns if column not in INDEX_COLUMNS]
    attributes = attributes_of(rows, columns, "leads")
    _refuse_unknown(config, [attribute.stream for attribute in attributes])
    features = [*_attributes(attributes, config), *fit_features(attributes, config)]
    return Catalogue(_with_unique_names(features))


def unknown_event_types(event_types: Iterable[str], catalogue: Catalogue) -> list[str]:
    """Return the types that the catalogue was made without: new since, and counted as `other`.

    >>> unknown_event_types(["chat", "fax"], Catalogue((), other_types=("fax",)))
    ['chat']
    """
    known = {*catalogue.own_types, *catalogue.other_types}
    known.update(*(group.event_types for group in catalogue.groups))
    return sorted(set(event_types) - known)


def _refuse_unknown(config: FeatureConfig, streams: list[str]) -> None:
    """Raise InputError for settings that name no attribute: a typo keeps a leak."""
    known = {*streams, *(stream.partition(".")[2] for stream in streams)}
    for setting in ("drop", "known_at_creation"):
        unknown = [name for name in getattr(config, setting) if name not in known]
        if unknown:
            raise InputError(
                f"[features] {setting} names {len(unknown)} unknown attributes: "
                f"{', '.join(unknown[:3])}. Known are {', '.join(sorted(streams)[:20])}."
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


def _attributes(attributes: Iterable[Attribute], config: FeatureConfig) -> Iterator[Feature]:
    """Yield a feature per attribute column that holds any value."""
    for attribute in attributes:
        owner, column, stream = attribute.owner, attribute.column, attribute.stream
        if column in config.drop or stream in config.drop or not attribute.is_filled:
            continue
        of_account = owner == "accounts" and not column.startswith("account")
        heading = title(f"account {column}" if of_account else column)
        yield Feature(
            name=f"account_{column}" if of_account else column,
            family="fit",
            concept=stream,
            aggregation="attribute",
            stream=stream,
            dtype=attribute.dtype,
            wording=f"{heading}: {{value}}",
            missing_wording=f"{heading} is not known",
        )
