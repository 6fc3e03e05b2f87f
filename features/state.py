"""What is known on one timeline so far, and how one event or merge changes it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from features.histories import ALWAYS, NEVER, Int64s

ANY_STREAM = 0
"Stream of all events; an event of no stream of its own counts here only."

# Numba compiles a function for the types it is given, so these carry no annotations.


@njit(cache=True, nogil=True)
def owner_of(member, joined):  # type: ignore[no-untyped-def]
    """Return who a member is after all merges so far."""
    while joined[member] >= 0:
        member = joined[member]
    return member


class State(NamedTuple):
    """What is known on one timeline so far; cleared for the next. Shapes: w windows, s streams."""

    counts: Int64s
    "(w, s) events inside each window."
    sums: Int64s
    "(w, s) their values."
    last: Int64s
    "(s,) newest occurrence; the instant the decayed counts refer to."
    first: Int64s
    decayed: npt.NDArray[np.float64]
    "(half-lives, s) decayed counts as of `last`."
    day_counts: Int64s
    "(w, days) events inside each window by day."
    active_days: Int64s
    "(w,) days with events."
    member_counts: Int64s
    "(members, w, s)."
    active_members: Int64s
    "(w,) members with events."
    member_last: Int64s
    joined: Int64s
    "(members,) the member each was merged into, -1 for none."
    newest: Int64s
    "(2,) the members seen last, -1 for none."


@njit(cache=True, nogil=True)
def new_state(plan, n_days, n_members):  # type: ignore[no-untyped-def]
    """Return room for the largest timeline; `clear` it before use."""
    n_windows, n_streams = len(plan.windows), plan.n_streams
    return State(
        np.empty((n_windows, n_streams), np.int64),
        np.empty((n_windows, n_streams), np.int64),
        np.empty(n_streams, np.int64),
        np.empty(n_streams, np.int64),
        np.empty((len(plan.half_lives), n_streams)),
        np.empty((n_windows, n_days), np.int64),
        np.empty(n_windows, np.int64),
        np.empty((n_members, n_windows, n_streams), np.int64),
        np.empty(n_windows, np.int64),
        np.empty(n_members, np.int64),
        np.empty(n_members, np.int64),
        np.empty(2, np.int64),
    )


@njit(cache=True, nogil=True)
def clear(state, n_days, n_members):  # type: ignore[no-untyped-def]
    """Forget everything: the start of a timeline of this size."""
    n_windows, n_streams = state.counts.shape
    for window in range(n_windows):
        state.active_days[window] = 0
        state.active_members[window] = 0
        for stream in range(n_streams):
            state.counts[window, stream] = 0
            state.sums[window, stream] = 0
        for day in range(n_days):
            state.day_counts[window, day] = 0
    for stream in range(n_streams):
        state.last[stream] = ALWAYS
        state.first[stream] = NEVER
        for half_life in range(len(state.decayed)):
            state.decayed[half_life, stream] = 0.0
    for member in range(n_members):
        state.member_last[member] = ALWAYS
        state.joined[member] = -1
        for window in range(n_windows):
            for stream in range(n_streams):
                state.member_counts[member, window, stream] = 0
    state.newest[0] = state.newest[1] = -1


@njit(cache=True, nogil=True)
def change_window(state, window, sign, stream, value, day, member):  # type: ignore[no-untyped-def]
    """Let an event enter (sign 1) or leave (sign -1) a window."""
    state.counts[window, ANY_STREAM] += sign
    state.sums[window, ANY_STREAM] += sign * value
    before = state.day_counts[window, day]
    state.day_counts[window, day] = before + sign
    if before == 0 or before + sign == 0:
        state.active_days[window] += sign
    before = state.member_counts[member, window, ANY_STREAM]
    state.member_counts[member, window, ANY_STREAM] = before + sign
    if before == 0 or before + sign == 0:
        state.active_members[window] += sign
    if stream != ANY_STREAM:
        state.counts[window, stream] += sign
        state.sums[window, stream] += sign * value
        state.member_counts[member, window, stream] += sign


@njit(cache=True, nogil=True)
def note_newest(state, member):  # type: ignore[no-untyped-def]
    """Keep the two members seen last, so that either can be left out."""
    best, second = state.newest[0], state.newest[1]
    seen = state.member_last[member]
    if member == best:
        return
    if best < 0 or seen > state.member_last[best]:
        state.newest[0], state.newest[1] = member, best
    elif second < 0 or seen > state.member_last[second]:
        state.newest[1] = member


@njit(cache=True, nogil=True)
def note(state, stream, occurred, half_lives):  # type: ignore[no-untyped-def]
    """Count an event in first, last and the decayed counts of one stream."""
    last = state.last[stream]
    for index in range(len(half_lives)):
        if last == ALWAYS:
            state.decayed[index, stream] = 1.0
        elif occurred >= last:
            fading = np.exp2((last - occurred) / half_lives[index])
            state.decayed[index, stream] = state.decayed[index, stream] * fading + 1.0
        else:
            state.decayed[index, stream] += np.exp2((occurred - last) / half_lives[index])
    state.last[stream] = max(last, occurred)
    state.first[stream] = min(state.first[stream], occurred)


@njit(cache=True, nogil=True)
def merge(state, gone, survivor, n_members):  # type: ignore[no-untyped-def]
    """Let the member `gone` become one with `survivor`."""
    gone, survivor = owner_of(gone, state.joined), owner_of(survivor, state.joined)
    if gone == survivor:
        return
    for window in range(len(state.active_members)):
        both = state.member_counts[gone, window, ANY_STREAM] > 0
        both = both and state.member_counts[survivor, window, ANY_STREAM] > 0
        if both:
            state.active_members[window] -= 1
        for stream in range(state.counts.shape[1]):
            moved = state.member_counts[gone, window, stream]
            state.member_counts[survivor, window, stream] += moved
            state.member_counts[gone, window, stream] = 0
    state.member_last[survivor] = max(state.member_last[survivor], state.member_last[gone])
    state.member_last[gone] = ALWAYS
    state.joined[gone] = survivor
    state.newest[0] = state.newest[1] = -1
    for member in range(n_members):
        if state.member_last[member] != ALWAYS:
            note_newest(state, member)
