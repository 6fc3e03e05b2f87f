"""The total order of events: the same timelines, bit for bit, whatever order rows come in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from features.histories import Int32s, Int64s, group_starts

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
    "Who did it: position among the members of the timeline."
    contents: Int32s
    """Which content, campaign and channel, in the order of their names; -1 for none. Empty where
    no feature reads them."""
    campaigns: Int32s
    channels: Int32s
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
    if events.members[a] != events.members[b]:
        return events.members[a] > events.members[b]
    if len(events.contents) and events.contents[a] != events.contents[b]:
        return events.contents[a] > events.contents[b]
    if len(events.campaigns) and events.campaigns[a] != events.campaigns[b]:
        return events.campaigns[a] > events.campaigns[b]
    return len(events.channels) > 0 and events.channels[a] > events.channels[b]


@njit(cache=True, nogil=True)
def _merge_sort(order, low, high, spare, events, by_occurrence):  # type: ignore[no-untyped-def]
    """Merge sort order[low:high], bottom up and stable; `spare` is as long as `order`."""
    width = 1
    while width < high - low:
        for left in range(low, high, 2 * width):
            middle = min(left + width, high)
            right = min(left + 2 * width, high)
            a, b = left, middle
            for position in range(left, right):
                if a < middle and (
                    b >= right or not _follows(order[a], order[b], events, by_occurrence)
                ):
                    spare[position] = order[a]
                    a += 1
                else:
                    spare[position] = order[b]
                    b += 1
        for position in range(low, high):
            order[position] = spare[position]
        width *= 2


@njit(cache=True, nogil=True)
def _sort_slices(order, starts, events, by_occurrence):  # type: ignore[no-untyped-def]
    """Sort each timeline's slice of `order`. Exports mostly arrive in order: those cost a look."""
    spare = np.empty(0, np.int64)
    for timeline in range(len(starts) - 1):
        low, high = starts[timeline], starts[timeline + 1]
        for position in range(low + 1, high):
            if _follows(order[position - 1], order[position], events, by_occurrence):
                if not len(spare):
                    spare = np.empty(len(order), np.int64)
                _merge_sort(order, low, high, spare, events, by_occurrence)
                break


@njit(cache=True, nogil=True)
def _total_order(events, starts):  # type: ignore[no-untyped-def]
    order = np.empty(len(events.timelines), np.int64)
    free = starts.copy()
    for event in range(len(order)):
        timeline = events.timelines[event]
        order[free[timeline]] = event
        free[timeline] += 1
    _sort_slices(order, starts, events, False)
    return order


@njit(cache=True, nogil=True)
def _by_occurrence(starts, events):  # type: ignore[no-untyped-def]
    positions = np.arange(len(events.occurred))
    _sort_slices(positions, starts, events, True)
    return positions


def order_events(events: Unordered, n_timelines: int) -> Events:
    """Return the events of `n_timelines` timelines in total order, whatever their order was."""
    starts = group_starts(events.timelines, n_timelines)
    order = _total_order(events, starts)
    ordered = Unordered(*(column[order] if len(column) else column for column in events))
    return Events(starts, *ordered[1:], by_occurrence=_by_occurrence(starts, ordered))
