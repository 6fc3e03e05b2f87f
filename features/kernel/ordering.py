"""The total order of events: the same timelines, bit for bit, whatever order rows come in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from features.facts.histories import Bools, Int32s, Int64s, group_starts
from features.threads import in_threads

# Numba compiles a function for the types it is given, so these carry no annotations.


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
    by_occurrence: Int64s
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
    order = np.empty(len(events.timelines), np.int64)
    by_occurrence = np.empty_like(order)
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
        by_occurrence,
    )

    def order_part(first: int, last: int) -> None:
        _order(events, first, last, order, ordered)

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
        np.empty(n_events, np.int64),
    )
    _order(events, 0, n_timelines, np.empty(n_events, np.int64), ordered)
    return ordered


@njit(cache=True, nogil=True)
def _order(events, first, last, order, ordered):  # type: ignore[no-untyped-def]
    """Fill the slices of the timelines [first, last) of `order` and `ordered`."""
    starts, by_occurrence = ordered.starts, ordered.by_occurrence
    free = starts[first:last].copy()
    for event in range(len(events.timelines)):
        timeline = events.timelines[event] - first
        if 0 <= timeline < len(free):
            order[free[timeline]] = event
            free[timeline] += 1
    low, high = starts[first], starts[last]
    # The two that nearly always decide come first, so that sorting looks at neighbours in memory.
    _take(events.visible, order, low, high, ordered.visible)
    _take(events.occurred, order, low, high, ordered.occurred)
    spare = np.empty(0, np.int64)
    for timeline in range(first, last):
        start, end = starts[timeline], starts[timeline + 1]
        if _is_sorted(events, order, ordered, start, end):
            continue
        if len(spare) < end - start:
            spare = np.empty(2 * (end - start), np.int64)
        _sort(order, start, end, spare, events, False)
        _take(events.visible, order, start, end, ordered.visible)
        _take(events.occurred, order, start, end, ordered.occurred)
    _take(events.kinds, order, low, high, ordered.kinds)
    _take(events.values, order, low, high, ordered.values)
    _take(events.members, order, low, high, ordered.members)
    _take(events.contents, order, low, high, ordered.contents)
    _take(events.campaigns, order, low, high, ordered.campaigns)
    _take(events.channels, order, low, high, ordered.channels)
    for position in range(low, high):
        by_occurrence[position] = position
    for timeline in range(first, last):
        start, end = starts[timeline], starts[timeline + 1]
        for position in range(start + 1, end):
            if ordered.occurred[position - 1] > ordered.occurred[position]:
                if len(spare) < end - start:
                    spare = np.empty(2 * (end - start), np.int64)
                _sort(by_occurrence, start, end, spare, ordered, True)
                break


@njit(cache=True, nogil=True)
def _take(column, order, low, high, taken):  # type: ignore[no-untyped-def]
    if len(column):
        for position in range(low, high):
            taken[position] = column[order[position]]


@njit(cache=True, nogil=True)
def _is_sorted(events, order, ordered, low, high):  # type: ignore[no-untyped-def]
    for position in range(low + 1, high):
        if ordered.visible[position - 1] > ordered.visible[position]:
            return False
        if ordered.visible[position - 1] == ordered.visible[position] and _follows(
            order[position - 1], order[position], events, False
        ):
            return False
    return True


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
