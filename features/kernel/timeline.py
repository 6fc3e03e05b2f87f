"""One pass over each timeline: everything its snapshots count, sum, date or fade.

A timeline is what one lead, or one account, did. Plain arrays in, float32 matrix out, for any set
of whole timelines, so that everything (batch), one lead (live) and one partition get the same bits:
counts and value sums are integers, and decay state changes only at events, never at snapshots.
features/kernel/ordering.py makes the events, features/kernel/plan.py the plan.

An event is visible from `visible` on (never before it occurred) and in a window of `w` days while
`as_of - w <= occurred`. It may leave a window before it enters. Instants are int64 microseconds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from features.facts.histories import ALWAYS, DAY, Bools, Int64s
from features.kernel.answers import (
    FIRST_OF_CODES,
    FIRST_TOUCH_CHANNEL,
    N_OPERATIONS,
    answer,
    answer_codes,
    answer_decayed,
)
from features.kernel.state import (
    CAMPAIGNS,
    CONTENTS,
    DAYS,
    N_THINGS,
    SILENCE,
    SILENCE_IS_STALE,
    change_window,
    clear,
    lay_out,
    merge,
    note_member,
    note_silence,
    note_streams,
    note_touch,
    owner_of,
)

# Numba compiles a function for the types it is given, so these carry no annotations.


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
    """What to compute. Every kind of event belongs to some streams, that of all events first.

    A cell is a number kept of one stream and window: how many events, or the sum of their values.
    """

    windows: Int64s
    "Lengths in microseconds, shortest first."
    half_lives: Int64s
    n_streams: int
    streams: Int64s
    "Where the streams of each kind start in this array, then the streams."
    watched: Int64s
    "By stream: its number among those whose newest members are kept, or -1."
    n_watched: int
    cells: Int64s
    "Where those of each kind and window start, at kind * windows + window, then the cells."
    n_counts: int
    "Cells before this one count, the others are sums."
    n_cells: int
    all_cells: Int64s
    "By window: the cell of all events where active members are counted, or -1."
    has_members: bool
    "Whether any step asks for what others did."
    has_silence: bool
    tracked: Bools
    "Whether distinct days, contents and campaigns are counted."
    steps: Int64s
    "(four parts as the operation reads them, column), sorted by operation."
    step_starts: Int64s
    "Slice of `steps` of each operation."


@njit(cache=True, nogil=True, error_model="numpy")
def _most(starts, members, low, high):  # type: ignore[no-untyped-def]
    """Return how many numbers the members, or codes, of timelines [low, high) go up to."""
    most = np.int64(1)
    for row in range(starts[low], starts[high]):
        most = max(most, np.int64(members[row]) + 1)
    return most


@njit(cache=True, nogil=True, error_model="numpy")
def _layout(events, merging, asked, plan, first, last):  # type: ignore[no-untyped-def]
    """Return the layout with room for the largest of these timelines."""
    n_events, n_members, n_codes = np.int64(0), np.int64(1), np.int64(0)
    starts = events.starts
    for timeline in range(first, last):
        n_events = max(n_events, starts[timeline + 1] - starts[timeline])
    if plan.has_members:
        n_members = _most(starts, events.members, first, last)
        n_members = max(n_members, _most(asked.starts, asked.members, first, last))
        n_members = max(n_members, _most(merging.starts, merging.gone, first, last))
        n_members = max(n_members, _most(merging.starts, merging.survivor, first, last))
    if plan.tracked[CONTENTS]:
        n_codes = _most(starts, events.contents, first, last)
    if plan.tracked[CAMPAIGNS]:
        n_codes = max(n_codes, _most(starts, events.campaigns, first, last))
    return lay_out(plan, n_events, n_members, n_codes)


@njit(cache=True, nogil=True, error_model="numpy")
def _number_codes(memory, at, codes, low, high, thing, n_slots):  # type: ignore[no-untyped-def]
    """Give each distinct code of the timeline a slot, from `n_slots` on; return the next free."""
    for event in range(low, high):
        slot = -1
        if codes[event] >= 0:
            place = at.slot_of_code + codes[event]
            if memory[place] < 0:
                memory[place] = n_slots
                n_slots += 1
            slot = memory[place]
        memory[at.slots + (event - low) * N_THINGS + thing] = slot
    for event in range(low, high):
        if codes[event] >= 0:
            memory[at.slot_of_code + codes[event]] = -1
    return n_slots


@njit(cache=True, nogil=True, error_model="numpy")
def _number_days(memory, at, occurred, by_occurrence, low, high):  # type: ignore[no-untyped-def]
    """Give each day of the timeline a slot; return how many there are."""
    n_slots, ends = 0, ALWAYS
    for position in range(low, high):
        event = by_occurrence[position]
        if occurred[event] >= ends:
            ends = (occurred[event] // DAY + 1) * DAY
            n_slots += 1
        memory[at.slots + (event - low) * N_THINGS + DAYS] = n_slots - 1
    return n_slots


@njit(cache=True, nogil=True, error_model="numpy")
def _measure_silence(memory, at, occurred, by_occurrence, entered, low, high):  # type: ignore[no-untyped-def]
    """Find the longest gap between visible neighbours again: a late event has split one."""
    longest, previous = -1, ALWAYS
    for position in range(low, high):
        event = by_occurrence[position]
        if event < entered:
            if previous != ALWAYS:
                longest = max(longest, occurred[event] - previous)
            previous = occurred[event]
    memory[at.marks + SILENCE] = longest
    memory[at.marks + SILENCE_IS_STALE] = 0


@njit(cache=True, nogil=True, error_model="numpy")
def _begin(memory, decayed, at, events, merging, asked, tracked, timeline):  # type: ignore[no-untyped-def]
    """Make the memory ready for a timeline; return how many members it has."""
    n_members, n_slots = np.int64(0), np.int64(0)
    following = timeline + 1
    if at.has_members:
        n_members = max(
            _most(events.starts, events.members, timeline, following),
            _most(asked.starts, asked.members, timeline, following),
            _most(merging.starts, merging.gone, timeline, following),
            _most(merging.starts, merging.survivor, timeline, following),
        )
    low, high = events.starts[timeline], events.starts[following]
    if tracked[DAYS]:
        n_slots = _number_days(memory, at, events.occurred, events.by_occurrence, low, high)
    for thing, codes in ((CONTENTS, events.contents), (CAMPAIGNS, events.campaigns)):
        if tracked[thing]:
            n_slots = _number_codes(memory, at, codes, low, high, np.int64(thing), n_slots)
    clear(memory, decayed, at, n_slots, n_members)
    return n_members


@njit(cache=True, nogil=True, error_model="numpy")
def walk(events, merging, asked, plan, first, last, matrix, codes):  # type: ignore[no-untyped-def]
    """Fill the rows of timelines [first, last) in place: whole timelines, any part of all.

    `matrix` (n_rows, n_columns) takes the numbers, float32, `codes` (n_rows, n_category_columns)
    the categories, int32: a channel as `events` number it, a journey stage from 0; -1 is missing.
    """
    at = _layout(events, merging, asked, plan, first, last)
    memory = np.full(at.end, -1)
    decayed, weights = np.empty(at.n_half_lives * at.n_streams), np.empty(at.n_half_lives)
    leaving = np.empty(at.n_windows, np.int64)
    # One long function and plain variables, since numba counts references to arrays wherever they
    # are taken out of a tuple or handed on; that took four times as long as all the rest.
    starts, visible, occurred, kinds = events.starts, events.visible, events.occurred, events.kinds
    values, members, channels = events.values, events.members, events.channels
    by_occurrence, all_cells, tracked = events.by_occurrence, plan.all_cells, plan.tracked
    asked_starts, instants, asked_members, rows = asked
    merge_starts, merged, gone, survivor = merging
    windows, half_lives, streams, watched = (
        plan.windows,
        plan.half_lives,
        plan.streams,
        plan.watched,
    )
    cells, steps, step_starts = plan.cells, plan.steps, plan.step_starts
    has_touches = step_starts[FIRST_TOUCH_CHANNEL] < step_starts[N_OPERATIONS]
    has_codes = step_starts[FIRST_OF_CODES] < step_starts[N_OPERATIONS]
    value, member, enters = np.int64(0), np.int64(-1), np.int64(1)
    for timeline in range(first, last):
        if asked_starts[timeline] == asked_starts[timeline + 1]:
            continue
        n_members = _begin(memory, decayed, at, events, merging, asked, tracked, timeline)
        low, high = starts[timeline], starts[timeline + 1]
        leaving[:] = low
        entered, next_merge = low, merge_starts[timeline]
        for snapshot in range(asked_starts[timeline], asked_starts[timeline + 1]):
            as_of = instants[snapshot]
            for window in range(at.n_windows):
                opens = as_of - windows[window]
                while leaving[window] < high:
                    event = by_occurrence[leaving[window]]
                    if occurred[event] >= opens:
                        break
                    leaving[window] += 1
                    if event >= entered:  # it never enters this window
                        continue
                    if at.has_members:
                        member = owner_of(memory, at, np.int64(members[event]))
                    if at.has_values:
                        value = values[event]
                    change_window(
                        memory,
                        at,
                        cells,
                        all_cells,
                        window,
                        -enters,
                        kinds[event],
                        value,
                        event - low,
                        member,
                    )
            while next_merge < merge_starts[timeline + 1] and merged[next_merge] < as_of:
                merge(memory, at, all_cells, gone[next_merge], survivor[next_merge], n_members)
                next_merge += 1
            while entered < high and visible[entered] < as_of:
                instant, kind = occurred[entered], kinds[entered]
                if at.has_members:
                    member = owner_of(memory, at, np.int64(members[entered]))
                if at.has_values:
                    value = values[entered]
                for window in range(at.n_windows):
                    if instant >= as_of - windows[window]:
                        change_window(
                            memory,
                            at,
                            cells,
                            all_cells,
                            window,
                            enters,
                            kind,
                            value,
                            entered - low,
                            member,
                        )
                if plan.has_silence:
                    note_silence(memory, at, instant)
                note_streams(memory, decayed, weights, at, half_lives, streams, kind, instant)
                if has_touches:
                    note_touch(memory, at, instant, channels[entered])
                if at.n_watched:
                    note_member(memory, at, streams, watched, kind, member, instant)
                entered += 1
            if plan.has_silence and memory[at.marks + SILENCE_IS_STALE]:
                _measure_silence(memory, at, occurred, by_occurrence, entered, low, high)
            if at.has_members:
                member = owner_of(memory, at, np.int64(asked_members[snapshot]))
            numbers = matrix[rows[snapshot]]
            answer(memory, at, step_starts, steps, windows, as_of, member, numbers)
            answer_decayed(
                memory, decayed, weights, at, step_starts, steps, half_lives, as_of, numbers
            )
            if has_codes:
                answer_codes(memory, at, step_starts, steps, codes[rows[snapshot]])
