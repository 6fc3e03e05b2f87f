"""The total order of events: the same timelines, bit for bit, whatever order rows come in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from features.histories import Int64s, group_starts

# Numba compiles a function for the types it is given, so these carry no annotations.


class Events(NamedTuple):
    """Events in total order: timeline, visible, occurred, stream, value, member."""

    starts: Int64s
    "Slice of each timeline, length n_timelines + 1."
    visible: Int64s
    occurred: Int64s
    streams: Int64s
    "0 (no stream of its own) or 1..n_streams - 1."
    values: Int64s
    "Millionths of the unit."
    members: Int64s
    "Who did it: position among the members of the timeline."
    by_occurrence: Int64s
    "Positions of the events by timeline and occurrence."


@njit(cache=True, nogil=True)
def _follows(a, b, visible, occurred, streams, values, members):  # type: ignore[no-untyped-def]
    """Return whether event a comes after event b."""
    if visible[a] != visible[b]:
        return visible[a] > visible[b]
    if occurred[a] != occurred[b]:
        return occurred[a] > occurred[b]
    if streams[a] != streams[b]:
        return streams[a] > streams[b]
    if values[a] != values[b]:
        return values[a] > values[b]
    return members[a] > members[b]


@njit(cache=True, nogil=True)
def _sort_slice(order, low, high, spare, visible, occurred, streams, values, members):  # type: ignore[no-untyped-def]
    """Merge sort order[low:high], bottom up; `spare` is as long as `order`."""
    width = 1
    while width < high - low:
        for left in range(low, high, 2 * width):
            middle = min(left + width, high)
            right = min(left + 2 * width, high)
            a, b = left, middle
            for position in range(left, right):
                take_left = a < middle and (
                    b >= right
                    or not _follows(order[a], order[b], visible, occurred, streams, values, members)
                )
                if take_left:
                    spare[position] = order[a]
                    a += 1
                else:
                    spare[position] = order[b]
                    b += 1
        for position in range(low, high):
            order[position] = spare[position]
        width *= 2


@njit(cache=True, nogil=True)
def _total_order(owners, starts, visible, occurred, streams, values, members):  # type: ignore[no-untyped-def]
    n_events = len(owners)
    order = np.empty(n_events, np.int64)
    free = starts.copy()
    for event in range(n_events):
        owner = owners[event]
        order[free[owner]] = event
        free[owner] += 1
    spare = np.empty(n_events, np.int64)
    for timeline in range(len(starts) - 1):
        low, high = starts[timeline], starts[timeline + 1]
        for position in range(low + 1, high):
            # Exports mostly arrive in order: sort only the timelines that are not.
            if _follows(
                order[position - 1], order[position], visible, occurred, streams, values, members
            ):
                _sort_slice(order, low, high, spare, visible, occurred, streams, values, members)
                break
    return order


def ordered_events(
    owners: Int64s,
    n_owners: int,
    visible: Int64s,
    occurred: Int64s,
    streams: Int64s,
    values: Int64s,
    members: Int64s,
) -> Events:
    """Return events in total order, whatever their order was. All arrays have one length."""
    starts = group_starts(owners, n_owners)
    order = _total_order(owners, starts, visible, occurred, streams, values, members)
    occurred = occurred[order]
    return Events(
        starts,
        visible[order],
        occurred,
        streams[order],
        values[order],
        members[order],
        np.lexsort((occurred, owners[order])),
    )
