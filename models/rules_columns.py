"""Which feature of the catalogue each line of the points table reads."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from features.catalogue.catalogue import Catalogue
from features.catalogue.feature import ALL_EVENTS, GROUPS, Feature
from features.errors import InputError
from models.rules_table import Condition, Rule

ANY_EVENT = "any"
"As an event: all events together."
_OWN_EVENTS = ("count", "decayed_count")


@dataclass(frozen=True)
class Column:
    """The column of the snapshots that a line reads."""

    name: str
    concept: str
    "As in the catalogue, so that reasons of rules and model can be put side by side."
    dtype: Literal["number", "category"]


def column_of(condition: Condition, catalogue: Catalogue) -> Column:
    """Return the column of a line; InputError where the catalogue has none, or of another kind."""
    feature = (
        _named(condition, condition.feature, catalogue)
        if condition.feature is not None
        else _counted(condition, catalogue)
    )
    asks_number = condition.at_least is not None or condition.below is not None
    asks_number |= isinstance(condition, Rule) and condition.points_each is not None
    if feature.dtype == "number" and condition.one_of is not None:
        raise InputError(
            f"{_line(condition)}: {feature.name} is a number; ask with at_least and below, not in."
        )
    if feature.dtype == "category" and asks_number:
        raise InputError(
            f"{_line(condition)}: {feature.name} is a category, no number; list values with in."
        )
    return Column(feature.name, feature.concept, feature.dtype)


def _line(condition: Condition) -> str:
    return f'Rule "{condition.name}"'


def _named(condition: Condition, name: str, catalogue: Catalogue) -> Feature:
    """Return the feature of this name, or of the attribute `leads.column` or `accounts.column`."""
    known = {f.stream: f for f in catalogue.features if f.aggregation == "attribute"}
    known |= {feature.name: feature for feature in catalogue.features}
    if name in known:
        return known[name]
    near = get_close_matches(name, known, n=3, cutoff=0.5) or sorted(known)[:10]
    raise InputError(
        f'{_line(condition)}: no feature is called "{name}". {_nearest(near)} A column that is'
        " empty, dropped in [features] or blocked by the leakage audit is no feature."
    )


def _counted(condition: Condition, catalogue: Catalogue) -> Feature:
    """Return the feature that counts the line's event in its window, or as it fades."""
    assert condition.event is not None
    stream = _stream(condition, condition.event, catalogue)
    counts = [f for f in catalogue.features if f.stream == stream and f.aggregation in _OWN_EVENTS]
    window, half_life = condition.window_days, condition.half_life_days
    for feature in counts:
        if (feature.window_days, feature.half_life_days) == (window, half_life):
            return feature
    if window is not None:
        setting, days = "windows_days", sorted(f.window_days for f in counts if f.window_days)
    else:
        setting = "half_lives_days"
        days = sorted(f.half_life_days for f in counts if f.half_life_days)
    asked = f"window_days = {window}" if window is not None else f"half_life_days = {half_life}"
    listed = ", ".join(map(str, days)) or "none"
    raise InputError(
        f"{_line(condition)}: {condition.event} has no count with {asked}; it has {listed}."
        f" Use one of these, or add yours to [features] {setting}."
    )


def _stream(condition: Condition, event: str, catalogue: Catalogue) -> str:
    own = {name: f"{ALL_EVENTS}.{name}" for name in sorted(catalogue.own_types)}
    streams = {feature.stream for feature in catalogue.features}
    groups = {}
    for group in catalogue.groups:
        kind, _, name = group.stream.partition(".")
        if kind == GROUPS:
            seen = [own[member] for member in group.event_types if member in own]
            # a group with a single type that occurs is counted as that type only
            groups[name] = group.stream if group.stream in streams or not seen else seen[0]
    known = ({ANY_EVENT: ALL_EVENTS} if ALL_EVENTS in streams else {}) | groups | own
    if event in known:
        return known[event]
    if event in catalogue.other_types:
        raise InputError(
            f"{_line(condition)}: {event} is too rare to be counted by itself. Raise [features]"
            " max_event_types, or put it into a group under [features] groups."
        )
    near = get_close_matches(event, known, n=3, cutoff=0.5) or sorted(known)[:10]
    raise InputError(f'{_line(condition)}: no event type is called "{event}". {_nearest(near)}')


def _nearest(names: list[str]) -> str:
    return f"Nearest are {', '.join(names)}." if names else "There is none at all."
