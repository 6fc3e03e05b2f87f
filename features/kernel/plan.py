"""From the catalogue to the kernel's plan: which numbers to keep, and which column each fills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.catalogue.catalogue import Catalogue
from features.catalogue.feature import (
    ALL_EVENTS,
    BY_ACCOUNT,
    BY_LEAD,
    JOURNEY,
    JOURNEY_STAGES,
    Feature,
)
from features.facts.funnel import FUNNEL
from features.facts.histories import DAY, Int64s
from features.kernel import answers
from features.kernel.state import CAMPAIGNS, CONTENTS, DAYS
from features.kernel.timeline import Plan

_OPERATIONS = {
    "count": answers.COUNT,
    "value_sum": answers.VALUE_SUM,
    "days_since_last": answers.SINCE_LAST,
    "days_since_first": answers.SINCE_FIRST,
    "decayed_count": answers.DECAYED,
    "account_decayed_count": answers.DECAYED,
    "active_days": answers.DISTINCT,
    "distinct_contents": answers.DISTINCT,
    "distinct_campaigns": answers.DISTINCT,
    "trend": answers.TREND,
    "longest_silence": answers.LONGEST_SILENCE,
    "colleague_count": answers.OTHERS_COUNT,
    "active_colleagues": answers.OTHERS_ACTIVE,
    "days_since_colleague": answers.OTHERS_SINCE_LAST,
    "journey_stage": answers.JOURNEY,
    "first_touch_channel": answers.FIRST_TOUCH_CHANNEL,
    "last_touch_channel": answers.LAST_TOUCH_CHANNEL,
}
_THINGS = {"active_days": DAYS, "distinct_contents": CONTENTS, "distinct_campaigns": CAMPAIGNS}
_READS = {
    "value_sum": "value",
    "distinct_contents": "content",
    "distinct_campaigns": "campaign",
    "first_touch_channel": "channel",
    "last_touch_channel": "channel",
}
_DATED = (
    "days_since_last",
    "days_since_first",
    "decayed_count",
    "account_decayed_count",
    "days_since_colleague",
)
"What is kept by stream; what has a window is kept by cell."
OTHER_KIND = 0
"Kind of every event type the catalogue does not name."


def kinds_of(catalogue: Catalogue) -> dict[str, int]:
    """Return event type -> kind of event, of all types the catalogue names."""
    named = {name for group in catalogue.groups for name in group.event_types}
    named |= catalogue.own_types
    return {name: kind for kind, name in enumerate(sorted(named), start=OTHER_KIND + 1)}


def timeline_categories(catalogue: Catalogue) -> list[Feature]:
    """Return the features whose codes the kernel fills, in the order of the codes' columns.

    `journey_stage` is a code of JOURNEY_STAGES, the others are channels as the events number them.
    """
    by_timeline = BY_LEAD + BY_ACCOUNT
    return [
        feature
        for feature in catalogue.features
        if feature.dtype == "category" and feature.aggregation in by_timeline
    ]


def compile_plan(catalogue: Catalogue, aggregations: tuple[str, ...]) -> Plan:
    """Return the plan for the features made by `aggregations`, BY_LEAD or BY_ACCOUNT.

    A step's column is the feature's place among the catalogue's numbers, or that of
    `timeline_categories`. Kinds are those of `kinds_of`.
    """
    columns = {
        feature.name: column
        for part in (
            [feature for feature in catalogue.features if feature.dtype == "number"],
            timeline_categories(catalogue),
        )
        for column, feature in enumerate(part)
    }
    features = [f for f in catalogue.features if f.aggregation in aggregations]
    layout = _Layout(catalogue, features)
    steps = sorted(
        (_OPERATIONS[feature.aggregation], columns[feature.name], layout.parts(feature))
        for feature in features
    )
    operations = np.array([step[0] for step in steps], np.int64)
    per_operation = np.bincount(operations, minlength=answers.N_OPERATIONS)
    return layout.plan(
        np.array([(*parts, column) for _, column, parts in steps], np.int64).reshape(-1, 5),
        np.append(0, np.cumsum(per_operation)).astype(np.int64),
    )


@dataclass(frozen=True)
class Plans:
    """All that a catalogue asks of the events, compiled once."""

    own: Plan
    "Over what the lead did."
    group: Plan
    "Over what its account did."
    kinds: dict[str, int]
    event_columns: frozenset[str]
    "Columns of the events that are read besides the required ones."
    categories: tuple[Feature, ...]
    "What the columns of the codes are."
    funnel_columns: Int64s
    funnel_rows: Int64s
    "Columns of the numbers of the funnel, and which row of FUNNEL each is."
    attribute_numbers: tuple[tuple[str, tuple[str, ...], Int64s], ...]
    "The number features that are an attribute: by table their streams and columns."
    attribute_categories: tuple[tuple[Feature, str], ...]
    "The category features read off an attribute, and of which table it is."
    number_names: tuple[str, ...]
    own_columns: Int64s
    group_columns: Int64s
    "Columns of the numbers that each of the two fills."

    @classmethod
    def of(cls, catalogue: Catalogue) -> Plans:
        """Return the plans of `catalogue`."""
        reads = frozenset(
            _READS[f.aggregation] for f in catalogue.features if f.aggregation in _READS
        )
        numbers = [feature for feature in catalogue.features if feature.dtype == "number"]
        others = [f for f in catalogue.features if f.aggregation not in BY_LEAD + BY_ACCOUNT]
        return cls(
            compile_plan(catalogue, BY_LEAD),
            compile_plan(catalogue, BY_ACCOUNT),
            kinds_of(catalogue),
            reads,
            tuple(timeline_categories(catalogue)),
            np.array([n for n, f in enumerate(numbers) if f.aggregation in FUNNEL], np.int64),
            np.array(
                [FUNNEL.index(f.aggregation) for f in numbers if f.aggregation in FUNNEL], np.int64
            ),
            _attribute_numbers(numbers),
            tuple((f, f.stream.partition(".")[0]) for f in others if f.dtype == "category"),
            tuple(feature.name for feature in numbers),
            np.array([n for n, f in enumerate(numbers) if f.aggregation in BY_LEAD], np.int64),
            np.array([n for n, f in enumerate(numbers) if f.aggregation in BY_ACCOUNT], np.int64),
        )


def _attribute_numbers(
    numbers: Sequence[Feature],
) -> tuple[tuple[str, tuple[str, ...], Int64s], ...]:
    """Return table, streams and columns of the number features that are an attribute."""
    of_table: dict[str, list[int]] = {}
    for column, feature in enumerate(numbers):
        if feature.aggregation == "attribute":
            of_table.setdefault(feature.stream.partition(".")[0], []).append(column)
    return tuple(
        (table, tuple(numbers[column].stream for column in columns), np.array(columns, np.int64))
        for table, columns in of_table.items()
    )


class _Layout:
    """Numbers the streams, windows and cells that some features need, and no others."""

    def __init__(self, catalogue: Catalogue, features: list[Feature]) -> None:
        self._catalogue = catalogue
        self._features = features
        days = {d for f in features for d in (f.window_days, f.longer_window_days)} - {None}
        self._windows = sorted(d for d in days if d is not None)
        self._half_lives = sorted({f.half_life_days for f in features if f.half_life_days})
        needed = [pair for feature in features for pair in _counted(feature)]
        summed = [(f.stream, f.window_days) for f in features if f.aggregation == "value_sum"]
        self._counts = {pair: cell for cell, pair in enumerate(dict.fromkeys(needed))}
        self._sums = {
            pair: cell for cell, pair in enumerate(dict.fromkeys(summed), len(self._counts))
        }
        streams = [ALL_EVENTS, *(f.stream for f in features if f.aggregation in _DATED)]
        self._streams = {name: number for number, name in enumerate(dict.fromkeys(streams))}
        watched = [f.stream for f in features if f.aggregation == "days_since_colleague"]
        self._watched = {name: number for number, name in enumerate(dict.fromkeys(watched))}

    def parts(self, feature: Feature) -> tuple[int, int, int, int]:
        """Return the four parts of the feature's step, as answers.py reads them."""
        stream, days, name = feature.stream, feature.window_days, feature.aggregation
        if name in ("count", "colleague_count"):
            return self._counts[stream, days], 0, 0, 0
        if name == "value_sum":
            return self._sums[stream, days], 0, 0, 0
        if name in ("days_since_last", "days_since_first"):
            return self._streams[stream], 0, 0, 0
        if feature.half_life_days is not None:
            half_life = self._half_lives.index(feature.half_life_days)
            return half_life * len(self._streams) + self._streams[stream], half_life, 0, 0
        if name in _THINGS:
            return _THINGS[name], self._window(days), 0, 0
        if name == "trend":
            longer = feature.longer_window_days
            cells = self._counts[stream, days], self._counts[stream, longer]
            return *cells, self._window(days), self._window(longer)
        if name == "active_colleagues":
            return self._window(days), self._counts[stream, days], 0, 0
        if name == "days_since_colleague":
            return self._watched[stream], 0, 0, 0
        if name == "journey_stage":
            awareness, consideration, decision = (self._counts[p] for p in _counted(feature))
            return awareness, consideration, decision, 0
        return 0, 0, 0, 0

    def _window(self, days: int | None) -> int:
        assert days is not None
        return self._windows.index(days)

    def plan(self, steps: Int64s, step_starts: Int64s) -> Plan:
        """Return the whole plan."""
        kinds = [None, *kinds_of(self._catalogue)]
        stream_lists, cell_lists = [], []
        for kind in kinds:
            mine = self._catalogue.streams_of(kind)
            stream_lists.append([n for name, n in self._streams.items() if name in mine])
            for days in self._windows:
                cells = [*self._counts.items(), *self._sums.items()]
                cell_lists.append([c for (name, d), c in cells if name in mine and d == days])
        all_cells = [self._counts.get((ALL_EVENTS, days), -1) for days in self._windows]
        made_by = {feature.aggregation for feature in self._features}
        return Plan(
            windows=np.array(self._windows, np.int64) * DAY,
            half_lives=np.array(self._half_lives, np.int64) * DAY,
            n_streams=len(self._streams),
            streams=_joined(stream_lists),
            watched=np.array([self._watched.get(name, -1) for name in self._streams], np.int64),
            n_watched=len(self._watched),
            cells=_joined(cell_lists),
            n_counts=len(self._counts),
            n_cells=len(self._counts) + len(self._sums),
            all_cells=np.array(all_cells, np.int64),
            has_members=bool(made_by & set(BY_ACCOUNT)),
            has_silence="longest_silence" in made_by,
            tracked=np.array([name in made_by for name in _THINGS]),
            steps=steps,
            step_starts=step_starts,
        )


def _counted(feature: Feature) -> list[tuple[str, int | None]]:
    """Return the (stream, window) pairs whose events the feature counts."""
    if feature.aggregation in ("count", "colleague_count", "active_colleagues"):
        return [(feature.stream, feature.window_days)]
    if feature.aggregation == "trend":
        return [
            (feature.stream, days) for days in (feature.window_days, feature.longer_window_days)
        ]
    if feature.aggregation == "journey_stage":
        return [(f"{JOURNEY}.{stage}", feature.window_days) for stage in JOURNEY_STAGES]
    return []


def _joined(lists: list[list[int]]) -> Int64s:
    """Return the lists as one array: where each starts in it and the last ends, then their items.

    >>> _joined([[7], [], [8, 9]]).tolist()
    [4, 5, 5, 7, 7, 8, 9]
    """
    ends = len(lists) + 1 + np.cumsum([0, *(len(part) for part in lists)])
    return np.append(ends, [item for part in lists for item in part]).astype(np.int64)
