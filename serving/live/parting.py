"""The features between two scores: which of the difference is fields, time, and what is new."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.ledger.records import PreviousScore
from serving.live.reads import is_of_account
from serving.live.views import Features

if TYPE_CHECKING:
    from serving.live.live_scores import LiveScorer


def as_scored(model: LiveScorer, previous: PreviousScore, like: Features) -> Features:
    """Return the features that were scored then, laid out as `like`, which they are if unknown."""
    texts = dict(zip(model.model_record.categories, previous.categories, strict=False))
    if len(previous.numbers) != like[0].shape[1] or texts.keys() != like[1].keys():
        return like
    return previous.numbers[np.newaxis], {name: [texts[name]] for name in like[1]}


def parted(
    model: LiveScorer,
    before: Features,
    then: Features,
    renewed: Features | None,
    aged: Features,
    now: Features,
) -> tuple[Features, Features]:
    """Return the features after the fields and after the time, where more than time has passed."""
    was, at_then, later = (_by_name(model, one) for one in (before, then, aged))
    again, last = _by_name(model, renewed or then), _by_name(model, now)
    features = model.scorer.catalogue.features
    if renewed is not None:
        moved = {name for name in was if not _same(again[name], at_then[name])}
    elif all(
        _same(was[f.name], last[f.name]) for f in features if f.stream.startswith("accounts.")
    ):
        moved = set()
    else:
        moved = {f.name for f in features if is_of_account(f)}
    fields = {name: again[name] if name in moved else was[name] for name in was}
    after = with_fields(model, _of_values(fields, before), now)
    fields = _by_name(model, after)
    agreed = {name for name in was if name in moved or _same(was[name], at_then[name])}
    time = {name: later[name] if name in agreed else fields[name] for name in fields}
    return after, _of_values(time, before)


def _by_name(model: LiveScorer, features: Features) -> dict[str, float | str | None]:
    numbers = zip(model.snapshots.plans.number_names, features[0][0].tolist(), strict=True)
    return {**dict(numbers), **{name: texts[0] for name, texts in features[1].items()}}


def _of_values(values: Mapping[str, Any], like: Features) -> Features:
    """Return the reverse of `_by_name`."""
    n_numbers = like[0].shape[1]
    numbers = np.array([[*values.values()][:n_numbers]], np.float32)
    return numbers, {name: [values[name]] for name in like[1]}


def _same(one: Any, other: Any) -> bool:
    return bool(one == other or (one != one and other != other))


def has_fields_of(model: LiveScorer, features: Features, now: Features) -> bool:
    """Return whether one row of features has the attributes of now already, to the bit."""
    plans = model.snapshots.plans
    return all(
        features[1][feature.name] == now[1][feature.name]
        for feature, _ in plans.attribute_categories
    ) and all(
        features[0][:, columns].tobytes() == now[0][:, columns].tobytes()
        for _, _, columns in plans.attribute_numbers
    )


def with_fields(model: LiveScorer, features: Features, now: Features) -> Features:
    """Return one row of features with the attributes, and what is read off them, of now."""
    plans = model.snapshots.plans
    numbers = features[0].copy()
    for _, _, columns in plans.attribute_numbers:
        numbers[:, columns] = now[0][:, columns]
    fields = {feature.name: now[1][feature.name] for feature, _ in plans.attribute_categories}
    return numbers, features[1] | fields
