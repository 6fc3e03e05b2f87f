"""What is known on one timeline so far, and how one event or merge changes it.

It is kept in one block of integers, `memory`, with a `Layout` that says where each part starts:
numba counts references to every array it hands on, which cost more than the counting itself.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from features.facts.histories import ALWAYS, NEVER

ALL = 0
"Stream of all events; it has every kind."
DAYS, CONTENTS, CAMPAIGNS, N_THINGS = range(4)
"What is counted once however often it occurs."
# Places from Layout.marks on: instants and codes of which a timeline has one each.
REFERENCE, SILENCE, SILENCE_IS_STALE, FIRST_TOUCH, FIRST_CHANNEL, LAST_TOUCH, LAST_CHANNEL = range(
    7
)
_N_MARKS = 7
# Decayed counts refer to one instant. Half-lives an event may lie after it: 2**256 is far from
# overflow, and what underflows is nothing in float32 either.
_FARTHEST = 256

# Numba compiles a function for the types it is given, so these carry no annotations.


class Layout(NamedTuple):
    """Where the parts of the memory start. Shapes: w windows, s streams, c cells that count."""

    n_windows: int
    n_streams: int
    n_half_lives: int
    n_counts: int
    n_watched: int
    has_members: bool
    has_things: bool
    has_values: bool
    tallies: int
    "(cells,) events inside a window, then sums of their values; the plan numbers the cells."
    first: int
    last: int
    "(s,) oldest and newest occurrence."
    distinct: int
    "(3, w) days, contents and campaigns inside each window."
    active: int
    "(w,) members with events inside each window."
    newest: int
    "(watched streams, 2) the members seen last, -1 for none."
    marks: int
    joined: int
    "(members,) the member each was merged into, -1 for none."
    member_last: int
    "(members, watched streams) newest occurrence."
    member_tallies: int
    "(members, c) the part of the tallies that is each member's."
    slot_tallies: int
    "(slots, w) events of a day, content or campaign inside each window."
    slots: int
    "(events, 3) the slots of an event's day, content and campaign, -1 for none."
    slot_of_code: int
    "(codes,) scratch, -1 between timelines."
    end: int


@njit(cache=True, nogil=True, error_model="numpy")
def lay_out(plan, n_events, n_members, n_codes):  # type: ignore[no-untyped-def]
    """Return the layout of a memory with room for the largest timeline."""
    n_windows, n_tracked = len(plan.windows), plan.tracked.sum()
    first = plan.n_cells
    last = first + plan.n_streams
    distinct = last + plan.n_streams
    active = distinct + N_THINGS * n_windows
    newest = active + n_windows
    marks = newest + 2 * plan.n_watched
    joined = marks + _N_MARKS
    member_last = joined + n_members
    member_tallies = member_last + n_members * plan.n_watched
    slot_tallies = member_tallies + (n_members * plan.n_counts if plan.has_members else 0)
    slots = slot_tallies + n_tracked * n_events * n_windows
    slot_of_code = slots + (N_THINGS * n_events if n_tracked else 0)
    return Layout(
        n_windows,
        plan.n_streams,
        len(plan.half_lives),
        plan.n_counts,
        plan.n_watched,
        plan.has_members,
        n_tracked > 0,
        plan.n_cells > plan.n_counts,
        0,
        first,
        last,
        distinct,
        active,
        newest,
        marks,
        joined,
        member_last,
        member_tallies,
        slot_tallies,
        slots,
        slot_of_code,
        slot_of_code + n_codes,
    )


@njit(cache=True, nogil=True, error_model="numpy")
def clear(memory, decayed, at, n_slots, n_members):  # type: ignore[no-untyped-def]
    """Forget everything: the start of a timeline of this size."""
    memory[at.tallies : at.first] = 0
    memory[at.first : at.last] = NEVER
    memory[at.last : at.distinct] = ALWAYS
    memory[at.distinct : at.newest] = 0
    memory[at.newest : at.marks] = -1
    decayed[:] = 0.0
    if at.has_members:
        memory[at.joined : at.joined + n_members] = -1
        memory[at.member_last : at.member_last + n_members * at.n_watched] = ALWAYS
        memory[at.member_tallies : at.member_tallies + n_members * at.n_counts] = 0
    memory[at.slot_tallies : at.slot_tallies + n_slots * at.n_windows] = 0
    memory[at.marks + REFERENCE] = 0
    memory[at.marks + SILENCE] = -1
    memory[at.marks + SILENCE_IS_STALE] = 0
    memory[at.marks + FIRST_TOUCH], memory[at.marks + FIRST_CHANNEL] = NEVER, -1
    memory[at.marks + LAST_TOUCH], memory[at.marks + LAST_CHANNEL] = ALWAYS, -1


@njit(cache=True, nogil=True, error_model="numpy")
def owner_of(memory, at, member):  # type: ignore[no-untyped-def]
    """Return who a member is after all merges so far."""
    while memory[at.joined + member] >= 0:
        member = memory[at.joined + member]
    return member


@njit(cache=True, nogil=True, error_model="numpy")
def change_window(memory, at, cells, all_cells, window, sign, kind, value, position, member):  # type: ignore[no-untyped-def]
    """Let an event enter (sign 1) or leave (sign -1) a window."""
    place = kind * at.n_windows + window
    own = at.member_tallies + member * at.n_counts
    for index in range(cells[place], cells[place + 1]):
        cell = cells[index]
        if cell >= at.n_counts:
            memory[at.tallies + cell] += sign * value
        else:
            memory[at.tallies + cell] += sign
            if at.has_members:
                memory[own + cell] += sign
    if at.has_members and all_cells[window] >= 0:
        now = memory[own + all_cells[window]]
        if now == 0 or now == sign:
            memory[at.active + window] += sign
    if at.has_things:
        _change_things(memory, at, window, sign, position)


@njit(cache=True, nogil=True, error_model="numpy")
def _change_things(memory, at, window, sign, position):  # type: ignore[no-untyped-def]
    """Count the event's day, content and campaign in or out of a window."""
    for thing in range(N_THINGS):
        slot = memory[at.slots + position * N_THINGS + thing]
        if slot >= 0:
            place = at.slot_tallies + slot * at.n_windows + window
            memory[place] += sign
            if memory[place] == 0 or memory[place] == sign:
                memory[at.distinct + thing * at.n_windows + window] += sign


@njit(cache=True, nogil=True, error_model="numpy")
def note_streams(memory, decayed, weights, at, half_lives, streams, kind, occurred):  # type: ignore[no-untyped-def]
    """Count an event in the first, last and decayed counts of its streams."""
    if at.n_half_lives:
        if memory[at.last + ALL] == ALWAYS:
            memory[at.marks + REFERENCE] = occurred
        elif occurred - memory[at.marks + REFERENCE] > _FARTHEST * half_lives[0]:
            _move_reference(memory, decayed, at, half_lives, occurred)
        for index in range(at.n_half_lives):
            age = memory[at.marks + REFERENCE] - occurred
            weights[index] = np.exp2(-age / half_lives[index])
    for index in range(streams[kind], streams[kind + 1]):
        stream = streams[index]
        memory[at.last + stream] = max(memory[at.last + stream], occurred)
        memory[at.first + stream] = min(memory[at.first + stream], occurred)
        for half_life in range(at.n_half_lives):
            decayed[half_life * at.n_streams + stream] += weights[half_life]


@njit(cache=True, nogil=True, error_model="numpy")
def _move_reference(memory, decayed, at, half_lives, instant):  # type: ignore[no-untyped-def]
    for index in range(at.n_half_lives):
        fading = np.exp2((memory[at.marks + REFERENCE] - instant) / half_lives[index])
        for stream in range(at.n_streams):
            decayed[index * at.n_streams + stream] *= fading
    memory[at.marks + REFERENCE] = instant


@njit(cache=True, nogil=True, error_model="numpy")
def note_silence(memory, at, occurred):  # type: ignore[no-untyped-def]
    """Keep the longest gap between neighbours; an event within one makes it unknown for now."""
    first, last = memory[at.first + ALL], memory[at.last + ALL]
    if last == ALWAYS:
        return
    place = at.marks + SILENCE
    if occurred >= last:
        memory[place] = max(memory[place], occurred - last)
    elif occurred <= first:
        memory[place] = max(memory[place], first - occurred)
    else:
        memory[at.marks + SILENCE_IS_STALE] = 1


@njit(cache=True, nogil=True, error_model="numpy")
def note_touch(memory, at, occurred, channel):  # type: ignore[no-untyped-def]
    """Keep the channels of the first and the last touch.

    Of several at one instant that first by name counts, so that their order plays no part.
    """
    if channel < 0:
        return
    instant, kept = memory[at.marks + FIRST_TOUCH], memory[at.marks + FIRST_CHANNEL]
    if occurred < instant or (occurred == instant and channel < kept):
        memory[at.marks + FIRST_TOUCH], memory[at.marks + FIRST_CHANNEL] = occurred, channel
    instant, kept = memory[at.marks + LAST_TOUCH], memory[at.marks + LAST_CHANNEL]
    if occurred > instant or (occurred == instant and channel < kept):
        memory[at.marks + LAST_TOUCH], memory[at.marks + LAST_CHANNEL] = occurred, channel


@njit(cache=True, nogil=True, error_model="numpy")
def note_member(memory, at, streams, watched, kind, member, occurred):  # type: ignore[no-untyped-def]
    """Keep when a member was last seen in the watched streams."""
    for index in range(streams[kind], streams[kind + 1]):
        number = watched[streams[index]]
        place = at.member_last + member * at.n_watched + number
        if number >= 0 and occurred > memory[place]:
            memory[place] = occurred
            _note_newest(memory, at, number, member)


@njit(cache=True, nogil=True, error_model="numpy")
def _note_newest(memory, at, watched, member):  # type: ignore[no-untyped-def]
    """Keep the two members seen last, so that either can be left out."""
    place = at.newest + 2 * watched
    best, second = memory[place], memory[place + 1]
    if member == best:
        return
    seen = at.member_last + watched
    if best < 0 or memory[seen + member * at.n_watched] > memory[seen + best * at.n_watched]:
        memory[place], memory[place + 1] = member, best
    elif second < 0 or memory[seen + member * at.n_watched] > memory[seen + second * at.n_watched]:
        memory[place + 1] = member


@njit(cache=True, nogil=True, error_model="numpy")
def merge(memory, at, all_cells, gone, survivor, n_members):  # type: ignore[no-untyped-def]
    """Let the member `gone` become one with `survivor`."""
    gone, survivor = owner_of(memory, at, gone), owner_of(memory, at, survivor)
    if gone == survivor:
        return
    theirs = at.member_tallies + gone * at.n_counts
    own = at.member_tallies + survivor * at.n_counts
    for window in range(at.n_windows):
        cell = all_cells[window]
        if cell >= 0 and memory[theirs + cell] > 0 and memory[own + cell] > 0:
            memory[at.active + window] -= 1
    for cell in range(at.n_counts):
        memory[own + cell] += memory[theirs + cell]
        memory[theirs + cell] = 0
    memory[at.joined + gone] = survivor
    for watched in range(at.n_watched):
        _merge_newest(memory, at, watched, gone, survivor, n_members)


@njit(cache=True, nogil=True, error_model="numpy")
def _merge_newest(memory, at, watched, gone, survivor, n_members):  # type: ignore[no-untyped-def]
    seen, newest = at.member_last + watched, at.newest + 2 * watched
    seen_gone, seen_survivor = seen + gone * at.n_watched, seen + survivor * at.n_watched
    if memory[seen_gone] == ALWAYS:
        return
    memory[seen_survivor] = max(memory[seen_survivor], memory[seen_gone])
    memory[seen_gone] = ALWAYS
    best, second = memory[newest], memory[newest + 1]
    if gone not in (best, second):
        _note_newest(memory, at, watched, survivor)
    elif survivor not in (best, second):
        memory[newest if gone == best else newest + 1] = survivor
    else:  # one of the two is free: whoever comes third may be anyone
        memory[newest] = memory[newest + 1] = -1
        for member in range(n_members):
            if memory[seen + member * at.n_watched] != ALWAYS:
                _note_newest(memory, at, watched, member)
