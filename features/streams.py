"""From records to timelines: the arrays the kernel walks, by lead and by account."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from features import timeline
from features.feature import ALL_EVENTS, BY_ACCOUNT, BY_LEAD, OTHER_EVENTS, Feature
from features.histories import DAY, Int32s, Int64s
from features.identity import Members, People, with_merged
from features.ordering import Events, Unordered, order_events
from features.records import EventRows, Records
from features.state import ANY_STREAM

Matrix = npt.NDArray[np.float32]

_OPERATIONS = {
    "count": timeline.COUNT,
    "value_sum": timeline.VALUE_SUM,
    "days_since_last": timeline.SINCE_LAST,
    "days_since_first": timeline.SINCE_FIRST,
    "decayed_count": timeline.DECAYED,
    "active_days": timeline.ACTIVE_DAYS,
    "trend": timeline.TREND,
    "colleague_count": timeline.OTHERS_COUNT,
    "account_decayed_count": timeline.DECAYED,
    "active_colleagues": timeline.OTHERS_ACTIVE,
    "days_since_colleague": timeline.OTHERS_SINCE_LAST,
}


def compile_plan(
    features: list[Feature], aggregations: tuple[str, ...], streams: dict[str, int]
) -> timeline.Plan:
    """Return the plan for the `features` made by `aggregations`; a column is a position in them."""
    chosen = [
        (n, feature) for n, feature in enumerate(features) if feature.aggregation in aggregations
    ]
    lengths = {(f.window_days, f.longer_window_days) for _, f in chosen}
    windows = sorted({days for pair in lengths for days in pair if days is not None})
    half_lives = sorted({f.half_life_days for _, f in chosen if f.half_life_days is not None})

    def step(column: int, feature: Feature) -> tuple[int, int, int, int, int]:
        span = longer = 0
        if feature.half_life_days is not None:
            span = half_lives.index(feature.half_life_days)
        elif feature.window_days is not None:
            span = windows.index(feature.window_days)
        if feature.longer_window_days is not None:
            longer = windows.index(feature.longer_window_days)
        return _OPERATIONS[feature.aggregation], streams[feature.stream], span, longer, column

    steps = [step(column, feature) for column, feature in chosen]
    return timeline.Plan(
        np.array(windows, np.int64) * DAY,
        np.array(half_lives, np.int64) * DAY,
        len(streams),
        np.array(steps, np.int64).reshape(-1, 5),
    )


_READS = {
    "value_sum": "value",
    "distinct_contents": "content",
    "distinct_campaigns": "campaign",
    "first_touch_channel": "channel",
    "last_touch_channel": "channel",
}
THREADS = min(os.cpu_count() or 1, 8)
_WORTH_A_THREAD = 20_000
"Fewer snapshots than this are walked by one thread."


@dataclass(frozen=True)
class Timelines:
    """All that the leads did, and their accounts, in total order, ready to be walked."""

    people: People
    own: Events
    group: Events
    own_plan: timeline.Plan
    group_plan: timeline.Plan

    def fill(self, leads: Int64s, as_of: Int64s, matrix: Matrix) -> None:
        """Fill the columns of `matrix` that come from engagement events, in place.

        Row i is the snapshot of lead code `leads[i]` at `as_of[i]`. The account columns of a lead
        without account stay missing.
        """
        n_leads = len(self.people.lead_ids)
        if len(self.own_plan.steps):
            nobody = np.zeros(len(leads), np.int32)
            asked = _asked(leads, n_leads, as_of, nobody)
            _walk(self.own, _no_merging(n_leads), asked, self.own_plan, matrix)
        if len(self.group_plan.steps):
            history, members = self.people.accounts, self.people.members
            rows = history.rows(leads, as_of)
            accounts = np.append(history.values, -1)[rows]  # not pandas
            numbers = np.append(members.of_row, 0)[rows].astype(np.int32)
            asked = _asked(accounts, len(self.people.account_ids), as_of, numbers)
            _walk(self.group, _merging(members), asked, self.group_plan, matrix)


def event_columns(features: Iterable[Feature]) -> frozenset[str]:
    """Return the columns of the events that `features` read besides the required ones."""
    return frozenset(_READS[f.aggregation] for f in features if f.aggregation in _READS)


def timelines_of(records: Records, people: People, catalogue: Iterable[Feature]) -> Timelines:
    """Return the timelines that the features of `catalogue` are made of."""
    features = [feature for feature in catalogue if feature.dtype == "number"]
    streams = {ALL_EVENTS: ANY_STREAM}
    for feature in features:
        if feature.aggregation in BY_LEAD + BY_ACCOUNT:
            streams.setdefault(feature.stream, len(streams))
    own_plan = compile_plan(features, BY_LEAD, streams)
    group_plan = compile_plan(features, BY_ACCOUNT, streams)
    if not len(records.events.leads) and "engagement_events" not in records.present:
        own_plan = own_plan._replace(steps=own_plan.steps[:0])
        group_plan = group_plan._replace(steps=group_plan.steps[:0])
    kinds = _kind_of_type(records.event_types, streams)
    own = _own_events(records.events, people, kinds) if len(own_plan.steps) else _no_events()
    group = _group_events(records.events, people, kinds) if len(group_plan.steps) else _no_events()
    return Timelines(people, own, group, own_plan, group_plan)


def _kind_of_type(event_types: Sequence[str], streams: dict[str, int]) -> Int32s:
    other = streams.get(OTHER_EVENTS, ANY_STREAM)
    return np.array([streams.get(f"{ALL_EVENTS}.{name}", other) for name in event_types], np.int32)


def _own_events(events: EventRows, people: People, kinds: Int32s) -> Events:
    """Return what each lead did, with what it did under a name it was merged from."""
    nobody = np.zeros(len(events.leads), np.int32)
    unordered = _unordered(events, kinds, events.leads, events.visible, nobody)
    if len(people.merges.gone):
        event, leads, visible = with_merged(events, people)
        columns = (column[event] if len(column) else column for column in unordered[3:])
        unordered = Unordered(leads, visible, events.occurred[event], *columns)
    return order_events(unordered, len(people.lead_ids))


def _group_events(events: EventRows, people: People, kinds: Int32s) -> Events:
    """Return what the leads of each account did while they were its leads."""
    history = people.accounts
    rows = people.event_rows(events.leads, events.occurred)
    accounts = history.values[rows]  # not pandas
    visible = np.maximum(events.visible, history.known_at[rows])
    members = people.members.of_row[rows].astype(np.int32)
    unordered = _unordered(events, kinds, accounts, visible, members)
    if (accounts < 0).any():
        has_account = accounts >= 0
        columns = (column[has_account] if len(column) else column for column in unordered)
        unordered = Unordered(*columns)
    return order_events(unordered, len(people.account_ids))


def _unordered(
    events: EventRows, kinds: Int32s, timelines: Int64s, visible: Int64s, members: Int32s
) -> Unordered:
    return Unordered(
        timelines,
        visible,
        events.occurred,
        kinds[events.types],
        events.values,
        members,
        events.contents,
        events.campaigns,
        events.channels,
    )


def _no_events() -> Events:
    nothing, codes = np.empty(0, np.int64), np.empty(0, np.int32)
    return Events(
        np.zeros(1, np.int64), nothing, nothing, codes, nothing, codes, codes, codes, codes, nothing
    )


def _asked(timelines: Int64s, n_timelines: int, as_of: Int64s, members: Int32s) -> timeline.Asked:
    starts, order = _asked_order(timelines, n_timelines, as_of)
    return timeline.Asked(starts, as_of[order], members[order], order)


@njit(cache=True, nogil=True)
def _asked_order(timelines, n_timelines, as_of):  # type: ignore[no-untyped-def]
    """Return the slice of each timeline and the rows that ask about it, by instant.

    Rows come by instant already from every caller but a test, so insertion is all it takes.
    """
    starts = np.zeros(n_timelines + 1, np.int64)
    for timeline_of_row in timelines:
        if timeline_of_row >= 0:
            starts[timeline_of_row + 1] += 1
    for number in range(n_timelines):
        starts[number + 1] += starts[number]
    free = starts[:-1].copy()
    order = np.empty(starts[-1], np.int64)
    for row in range(len(timelines)):
        if timelines[row] < 0:
            continue
        place = free[timelines[row]]
        free[timelines[row]] += 1
        while place > starts[timelines[row]] and as_of[order[place - 1]] > as_of[row]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = row
    return starts, order


def _walk(
    events: Events,
    merging: timeline.Merging,
    asked: timeline.Asked,
    plan: timeline.Plan,
    matrix: Matrix,
) -> None:
    """Walk all timelines, in equal parts on all cores; how they are cut changes no bit."""
    n_timelines = len(asked.starts) - 1
    if len(asked.rows) < _WORTH_A_THREAD or THREADS == 1:
        timeline.walk(events, merging, asked, plan, 0, n_timelines, matrix)
        return
    # events and snapshots cost about the same each
    work = events.starts + asked.starts
    cuts = np.searchsorted(work, np.linspace(0, work[-1], 4 * THREADS + 1)[1:-1])
    bounds = np.concatenate([[0], cuts, [n_timelines]])
    with ThreadPoolExecutor(THREADS) as pool:
        parts = [
            pool.submit(timeline.walk, events, merging, asked, plan, first, last, matrix)
            for first, last in zip(bounds[:-1], bounds[1:], strict=True)
            if first < last
        ]
    for part in parts:
        part.result()


def _no_merging(n_timelines: int) -> timeline.Merging:
    nothing = np.empty(0, np.int64)
    return timeline.Merging(np.zeros(n_timelines + 1, np.int64), nothing, nothing, nothing)


def _merging(members: Members) -> timeline.Merging:
    return timeline.Merging(members.starts, members.recorded, members.gone, members.survivor)
