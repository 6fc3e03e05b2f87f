"""The total order of events: the same timelines, bit for bit, whatever order rows come in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from features.facts.histories import Bools, Int32s, Int64s, group_starts
from features.threads import in_threads

# Numba compiles a function for the types it is given, so these carry no annotations.

_BUCKET, _BUCKETS = 1 << 15, 256
"""Events that are put in order at once: they fit into the processor's cache, unless that would be
more buckets than it can write to in turns."""


class Events(NamedTuple):
    """Events in total order: timeline, visible, occurred, then the other columns as they stand."""

    starts: Int64s
    "Slice of each timeline, length n_timelines + 1."
    visible: Int64s
    occurred: Int64s
    kinds: Int32s
    "Which event type, as the plan numbers them."
    values: Int64s
    "Millionths of the unit."
    members: Int32s
    "Who did it: position among the members of the timeline; empty where there is but one."
    contents: Int32s
    "Which content, campaign and channel, -1 for none; empty where no feature reads them."
    campaigns: Int32s
    channels: Int32s
    "In the order of their names."
    by_occurrence: Int32s
    "Positions of the events by timeline and occurrence."


class Unordered(NamedTuple):
    """Events in any order, with the timeline of each; the columns are those of `Events`."""

    timelines: Int64s
    visible: Int64s
    occurred: Int64s
    kinds: Int32s
    values: Int64s
    members: Int32s
    contents: Int32s
    campaigns: Int32s
    channels: Int32s

    def rows(self, chosen: Int64s | Bools) -> Unordered:
        """Return the chosen events."""

        def taken(codes: Int32s) -> Int32s:
            return codes[chosen] if len(codes) else codes

        return Unordered(
            self.timelines[chosen],
            self.visible[chosen],
            self.occurred[chosen],
            self.kinds[chosen],
            self.values[chosen],
            taken(self.members),
            taken(self.contents),
            taken(self.campaigns),
            taken(self.channels),
        )


def order_events(events: Unordered, n_timelines: int) -> Events:
    """Return the events of `n_timelines` timelines in total order, whatever their order was."""
    starts = group_starts(events.timelines, n_timelines)
    ordered = Events(
        starts,
        np.empty_like(events.visible),
        np.empty_like(events.occurred),
        np.empty_like(events.kinds),
        np.empty_like(events.values),
        np.empty_like(events.members),
        np.empty_like(events.contents),
        np.empty_like(events.campaigns),
        np.empty_like(events.channels),
        np.empty(len(events.timelines), np.int32),
    )

    def order_part(first: int, last: int) -> None:
        _order(events, first, last, ordered)

    in_threads(order_part, starts)
    return ordered


@njit(cache=True, nogil=True)
def ordered_at_once(events, n_timelines):  # type: ignore[no-untyped-def]
    """Return what `order_events` returns, to callers that are compiled themselves."""
    n_events = len(events.timelines)
    ordered = Events(
        group_starts(events.timelines, n_timelines),
        np.empty(n_events, np.int64),
        np.empty(n_events, np.int64),
        np.empty(n_events, np.int32),
        np.empty(n_events, np.int64),
        np.empty_like(events.members),
        np.empty_like(events.contents),
        np.empty_like(events.campaigns),
        np.empty_like(events.channels),
        np.empty(n_events, np.int32),
    )
    _order(events, 0, n_timelines, ordered)
    return ordered


@njit(cache=True, nogil=True)
def _order(events, first, last, ordered):  # type: ignore[no-untyped-def]
    """Fill the slices of the timelines [first, last) of `ordered`."""
    if ordered.starts[last] - ordered.starts[first] <= _BUCKET:
        _order_few(events, first, last, ordered)
    else:
        _order_many(events, first, last, ordered)


@njit(cache=True, nogil=True)
def _order_few(events, first, last, ordered):  # type: ignore[no-untyped-def]
    starts = ordered.starts
    low, high = starts[first], starts[last]
    order, spare = np.empty(high - low, np.int32), np.empty(high - low, np.int32)
    free = starts[first:last] - low
    for event in range(len(events.timelines)):
        timeline = events.timelines[event] - first
        if 0 <= timeline < len(free):
            order[free[timeline]] = event
            free[timeline] += 1
    _sort_each(events, starts[first : last + 1] - low, order, spare)
    _take(events.visible, order, ordered.visible[low:high])
    _take(events.occurred, order, ordered.occurred[low:high])
    _take(events.kinds, order, ordered.kinds[low:high])
    _take(events.values, order, ordered.values[low:high])
    _take(events.members, order, ordered.members[low:high])
    _take(events.contents, order, ordered.contents[low:high])
    _take(events.campaigns, order, ordered.campaigns[low:high])
    _take(events.channels, order, ordered.channels[low:high])
    _order_by_occurrence(ordered, first, last, spare)


@njit(cache=True, nogil=True)
def _order_many(events, first, last, ordered):  # type: ignore[no-untyped-def]
    """Order events that go to buckets of neighbouring timelines first, column by column.

    Looking for them one timeline after the other would wait for memory each time.
    """
    starts = ordered.starts
    size = max(_BUCKET, (starts[last] - starts[first]) // _BUCKETS)
    bounds, bucket_of = _buckets(starts, first, last, size)
    _to_buckets(events, first, starts[bounds[:-1]], bucket_of, ordered)
    largest = 0
    for bucket in range(len(bounds) - 1):
        largest = max(largest, starts[bounds[bucket + 1]] - starts[bounds[bucket]])
    order, spare = np.empty(largest, np.int32), np.empty(largest, np.int32)
    aside, aside_32 = np.empty(largest, np.int64), np.empty(largest, np.int32)
    for bucket in range(len(bounds) - 1):
        begin, end = bounds[bucket], bounds[bucket + 1]
        _order_bucket(ordered, first, begin, end, order, spare)
        low, high = starts[begin], starts[end]
        _permute(ordered.visible, order, low, high, aside)
        _permute(ordered.occurred, order, low, high, aside)
        _permute(ordered.kinds, order, low, high, aside_32)
        _permute(ordered.values, order, low, high, aside)
        _permute(ordered.members, order, low, high, aside_32)
        _permute(ordered.contents, order, low, high, aside_32)
        _permute(ordered.campaigns, order, low, high, aside_32)
        _permute(ordered.channels, order, low, high, aside_32)
        _order_by_occurrence(ordered, begin, end, spare)


@njit(cache=True, nogil=True)
def _buckets(starts, first, last, size):  # type: ignore[no-untyped-def]
    """Return at which timelines buckets of about `size` events begin, and the bucket of each."""
    bounds = np.empty(last - first + 2, np.int64)  # one bucket even of no timelines
    bucket_of = np.empty(last - first, np.int32)
    bounds[0], bucket = first, 0
    for timeline in range(first, last):
        if starts[timeline] - starts[bounds[bucket]] >= size:
            bucket += 1
            bounds[bucket] = timeline
        bucket_of[timeline - first] = bucket
    bounds[bucket + 1] = last
    return bounds[: bucket + 2], bucket_of


@njit(cache=True, nogil=True)
def _to_buckets(events, first, free, bucket_of, ordered):  # type: ignore[no-untyped-def]
    """Move the events of our timelines to their buckets, whose free places are given.

    `by_occurrence` holds until it is made which timeline each event belongs to.
    """
    has_values = len(events.values) > 0
    has_members, has_contents = len(events.members) > 0, len(events.contents) > 0
    has_campaigns, has_channels = len(events.campaigns) > 0, len(events.channels) > 0
    for event in range(len(events.timelines)):
        timeline = events.timelines[event] - first
        if not 0 <= timeline < len(bucket_of):
            continue
        place = free[bucket_of[timeline]]
        free[bucket_of[timeline]] += 1
        ordered.by_occurrence[place] = timeline
        ordered.visible[place] = events.visible[event]
        ordered.occurred[place] = events.occurred[event]
        ordered.kinds[place] = events.kinds[event]
        if has_values:
            ordered.values[place] = events.values[event]
        if has_members:
            ordered.members[place] = events.members[event]
        if has_contents:
            ordered.contents[place] = events.contents[event]
        if has_campaigns:
            ordered.campaigns[place] = events.campaigns[event]
        if has_channels:
            ordered.channels[place] = events.channels[event]


@njit(cache=True, nogil=True)
def _order_bucket(ordered, first, begin, end, order, spare):  # type: ignore[no-untyped-def]
    """Fill `order` with the positions of the events of the timelines [begin, end), in order."""
    starts = ordered.starts
    low = starts[begin]
    free = starts[begin:end] - low
    for position in range(low, starts[end]):
        timeline = ordered.by_occurrence[position] + first - begin
        order[free[timeline]] = position
        free[timeline] += 1
    _sort_each(ordered, starts[begin : end + 1] - low, order, spare)


@njit(cache=True, nogil=True)
def _sort_each(events, starts, order, spare):  # type: ignore[no-untyped-def]
    """Put each slice of `order` into total order; most are in it, and looking at that is quick."""
    visible, occurred = events.visible, events.occurred
    for timeline in range(len(starts) - 1):
        low, high = starts[timeline], starts[timeline + 1]
        for place in range(low + 1, high):
            one, two = order[place - 1], order[place]
            if visible[one] > visible[two] or (
                visible[one] == visible[two]
                and (
                    occurred[one] > occurred[two]
                    or (occurred[one] == occurred[two] and _follows(one, two, events, False))
                )
            ):
                _sort(order, low, high, spare, events, False)
                break


@njit(cache=True, nogil=True)
def _permute(column, order, low, high, aside):  # type: ignore[no-untyped-def]
    if len(column):
        _take(column, order[: high - low], aside)
        column[low:high] = aside[: high - low]


@njit(cache=True, nogil=True)
def _take(column, order, taken):  # type: ignore[no-untyped-def]
    if len(column):
        for place in range(len(order)):
            taken[place] = column[order[place]]


@njit(cache=True, nogil=True)
def _order_by_occurrence(ordered, begin, end, spare):  # type: ignore[no-untyped-def]
    starts, occurred, by_occurrence = ordered.starts, ordered.occurred, ordered.by_occurrence
    for position in range(starts[begin], starts[end]):
        by_occurrence[position] = position
    for timeline in range(begin, end):
        for position in range(starts[timeline] + 1, starts[timeline + 1]):
            if occurred[position - 1] > occurred[position]:
                _sort(by_occurrence, starts[timeline], starts[timeline + 1], spare, ordered, True)
                break


@njit(cache=True, nogil=True)
def _follows(a, b, events, by_occurrence):  # type: ignore[no-untyped-def]
    """Return whether event a comes after event b, in total order or by occurrence alone."""
    if by_occurrence:
        return events.occurred[a] > events.occurred[b]
    if events.visible[a] != events.visible[b]:
        return events.visible[a] > events.visible[b]
    if events.occurred[a] != events.occurred[b]:
        return events.occurred[a] > events.occurred[b]
    if events.kinds[a] != events.kinds[b]:
        return events.kinds[a] > events.kinds[b]
    if events.values[a] != events.values[b]:
        return events.values[a] > events.values[b]
    # what they are about does not count: no order of those tells
    return len(events.members) > 0 and events.members[a] > events.members[b]


@njit(cache=True, nogil=True)
def _sort(order, low, high, spare, events, by_occurrence):  # type: ignore[no-untyped-def]
    """Sort order[low:high], stable: by insertion while few are out of place, else by merging."""
    moves = 8 * (high - low)
    for position in range(low + 1, high):
        event, place = order[position], position
        while place > low and _follows(order[place - 1], event, events, by_occurrence):
            order[place] = order[place - 1]
            place -= 1
        order[place] = event
        moves -= position - place
        if moves < 0:
            _merge_sort(order, low, high, spare, events, by_occurrence)
            return


@njit(cache=True, nogil=True)
def _merge_sort(order, low, high, spare, events, by_occurrence):  # type: ignore[no-untyped-def]
    """Merge sort order[low:high], bottom up and stable; `spare` is as long or longer."""
    width = 1
    while width < high - low:
        for left in range(low, high, 2 * width):
            middle = min(left + width, high)
            right = min(left + 2 * width, high)
            a, b = left, middle
            for position in range(left, right):
                is_left = a < middle and (
                    b >= right or not _follows(order[a], order[b], events, by_occurrence)
                )
                if is_left:
                    spare[position - low] = order[a]
                    a += 1
                else:
                    spare[position - low] = order[b]
                    b += 1
        for position in range(low, high):
            order[position] = spare[position - low]
        width *= 2
