"""One pass over each timeline: all counts, recencies, decays and sums of its snapshots.

A timeline is what one lead, or one account, did. Plain arrays in, float32 matrix out, for any set
of whole timelines, so that everything (batch), one lead (live) and one partition get the same bits:
counts and value sums are integers, and decay state changes only at events, never at snapshots.

An event is visible from `visible` on (never before it occurred) and in a window of `w` days while
`as_of - w <= occurred`. It may leave a window before it enters. Instants are int64 microseconds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from features.histories import ALWAYS, DAY, NEVER, Int64s
from features.ordering import Events
from features.state import (
    ANY_STREAM,
    change_window,
    clear,
    merge,
    new_state,
    note,
    note_newest,
    owner_of,
)

# Numba compiles a function for the types it is given, so these carry no annotations.
COUNT, VALUE_SUM, SINCE_LAST, SINCE_FIRST, DECAYED, ACTIVE_DAYS, TREND = range(7)
OTHERS_COUNT, OTHERS_ACTIVE, OTHERS_SINCE_LAST = range(7, 10)


class Merging(NamedTuple):
    """Members that become one: from `recorded` on, what `gone` did was done by `survivor`."""

    starts: Int64s
    recorded: Int64s
    gone: Int64s
    survivor: Int64s


class Asked(NamedTuple):
    """Snapshots, sorted by timeline and instant."""

    starts: Int64s
    as_of: Int64s
    members: Int64s
    "The member the snapshot is about; only the OTHERS steps look at it."
    rows: Int64s
    "Row of the matrix to fill."


class Plan(NamedTuple):
    """What to compute: one step per column."""

    windows: Int64s
    "Lengths in microseconds, shortest first."
    half_lives: Int64s
    n_streams: int
    steps: npt.NDArray[np.int64]
    "(operation, stream, window or half-life, longer window, column), one row per column."


def fill(
    events: Events, merging: Merging, asked: Asked, plan: Plan, matrix: npt.NDArray[np.float32]
) -> None:
    """Fill the planned columns of the asked rows of `matrix` (n_rows, n_columns), in place."""
    if len(asked.rows) and len(plan.steps):
        walk(events, merging, asked, plan, 0, len(asked.starts) - 1, matrix)


@njit(cache=True, nogil=True)
def _size(events, asked, merging, timeline):  # type: ignore[no-untyped-def]
    """Return how many days and members a timeline has, and its first day."""
    low, high = events.starts[timeline], events.starts[timeline + 1]
    n_days, n_members, first_day = 1, 1, 0
    if high > low:
        oldest, newest = events.by_occurrence[low], events.by_occurrence[high - 1]
        first_day = events.occurred[oldest] // DAY
        n_days = events.occurred[newest] // DAY - first_day + 1
    for event in range(low, high):
        n_members = max(n_members, events.members[event] + 1)
    for snapshot in range(asked.starts[timeline], asked.starts[timeline + 1]):
        n_members = max(n_members, asked.members[snapshot] + 1)
    for row in range(merging.starts[timeline], merging.starts[timeline + 1]):
        n_members = max(n_members, merging.gone[row] + 1, merging.survivor[row] + 1)
    return n_days, n_members, first_day


@njit(cache=True, nogil=True)
def _days_since(as_of, instant):  # type: ignore[no-untyped-def]
    if instant in (ALWAYS, NEVER):
        return np.nan
    return (as_of - instant) / DAY


@njit(cache=True, nogil=True)
def _trend(recent, earlier, recent_length, earlier_length):  # type: ignore[no-untyped-def]
    if recent + earlier == 0:
        return np.nan
    recent_rate = recent / recent_length
    earlier_rate = earlier / earlier_length
    return (recent_rate - earlier_rate) / (recent_rate + earlier_rate)


@njit(cache=True, nogil=True)
def _answer(state, plan, as_of, member, answers):  # type: ignore[no-untyped-def]
    """Fill one row of the matrix."""
    counts, sums, last, decayed = state.counts, state.sums, state.last, state.decayed
    own_counts = state.member_counts[member]
    windows, steps = plan.windows, plan.steps
    for index in range(len(steps)):
        operation, stream, span = steps[index, 0], steps[index, 1], steps[index, 2]
        answer = 0.0
        if operation == COUNT:
            answer = float(counts[span, stream])
        elif operation == VALUE_SUM:
            answer = sums[span, stream] / 1e6
        elif operation == SINCE_LAST:
            answer = _days_since(as_of, last[stream])
        elif operation == SINCE_FIRST:
            answer = _days_since(as_of, state.first[stream])
        elif operation == DECAYED:
            if last[stream] != ALWAYS:
                fading = np.exp2((last[stream] - as_of) / plan.half_lives[span])
                answer = decayed[span, stream] * fading
        elif operation == ACTIVE_DAYS:
            answer = float(state.active_days[span])
        elif operation == TREND:
            longer, recent = steps[index, 3], counts[span, stream]
            earlier = counts[longer, stream] - recent
            answer = _trend(recent, earlier, windows[span], windows[longer] - windows[span])
        elif operation == OTHERS_COUNT:
            answer = float(counts[span, stream] - own_counts[span, stream])
        elif operation == OTHERS_ACTIVE:
            answer = float(state.active_members[span] - (own_counts[span, ANY_STREAM] > 0))
        elif operation == OTHERS_SINCE_LAST:
            other = state.newest[1] if state.newest[0] == member else state.newest[0]
            answer = np.nan if other < 0 else _days_since(as_of, state.member_last[other])
        answers[steps[index, 4]] = answer


@njit(cache=True, nogil=True)
def _leave(state, events, plan, as_of, first_day, entered, high, leaving):  # type: ignore[no-untyped-def]
    """Let the events whose occurrence has aged out leave, window by window."""
    occurred = events.occurred
    for window in range(len(plan.windows)):
        opens = as_of - plan.windows[window]
        position = leaving[window]
        while position < high:
            event = events.by_occurrence[position]
            if occurred[event] >= opens:
                break
            position += 1
            if event < entered:  # else it never enters this window
                member = owner_of(events.members[event], state.joined)
                day = occurred[event] // DAY - first_day
                stream, value = events.kinds[event], events.values[event]
                change_window(state, window, -1, stream, value, day, member)
        leaving[window] = position


@njit(cache=True, nogil=True)
def _enter(state, events, plan, as_of, first_day, entered, high):  # type: ignore[no-untyped-def]
    """Let the events visible by now enter; return the position of the first that is not."""
    windows, half_lives = plan.windows, plan.half_lives
    while entered < high and events.visible[entered] < as_of:
        occurred, stream = events.occurred[entered], events.kinds[entered]
        member = owner_of(events.members[entered], state.joined)
        day = occurred // DAY - first_day
        for window in range(len(windows)):
            if occurred >= as_of - windows[window]:
                change_window(state, window, 1, stream, events.values[entered], day, member)
        note(state, ANY_STREAM, occurred, half_lives)
        if stream != ANY_STREAM:
            note(state, stream, occurred, half_lives)
        state.member_last[member] = max(state.member_last[member], occurred)
        note_newest(state, member)
        entered += 1
    return entered


@njit(cache=True, nogil=True)
def walk(events, merging, asked, plan, first, last, matrix):  # type: ignore[no-untyped-def]
    """Fill the rows of timelines [first, last): whole timelines, any part of all."""
    most_days, most_members = 1, 1
    for timeline in range(first, last):
        n_days, n_members, _ = _size(events, asked, merging, timeline)
        most_days = max(most_days, n_days)
        most_members = max(most_members, n_members)
    state = new_state(plan, most_days, most_members)
    leaving = np.empty(len(plan.windows), np.int64)
    for timeline in range(first, last):
        if asked.starts[timeline] == asked.starts[timeline + 1]:
            continue
        n_days, n_members, first_day = _size(events, asked, merging, timeline)
        low, high = events.starts[timeline], events.starts[timeline + 1]
        clear(state, n_days, n_members)
        for window in range(len(leaving)):
            leaving[window] = low
        entered, next_merge = low, merging.starts[timeline]
        for snapshot in range(asked.starts[timeline], asked.starts[timeline + 1]):
            as_of = asked.as_of[snapshot]
            _leave(state, events, plan, as_of, first_day, entered, high, leaving)
            while (
                next_merge < merging.starts[timeline + 1] and merging.recorded[next_merge] < as_of
            ):
                merge(state, merging.gone[next_merge], merging.survivor[next_merge], n_members)
                next_merge += 1
            entered = _enter(state, events, plan, as_of, first_day, entered, high)
            member = owner_of(asked.members[snapshot], state.joined)
            _answer(state, plan, as_of, member, matrix[asked.rows[snapshot]])
