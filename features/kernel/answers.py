"""What one snapshot says: the numbers of a row, read off what is known on its timeline."""

from __future__ import annotations

import numpy as np
from numba import njit

from features.facts.histories import ALWAYS, DAY, NEVER
from features.kernel.state import ALL, FIRST_CHANNEL, LAST_CHANNEL, REFERENCE, SILENCE

# Operations of a plan's steps, each with what the four parts of its steps mean:
COUNT = 0  # cell
VALUE_SUM = 1  # cell
SINCE_LAST = 2  # stream
SINCE_FIRST = 3  # stream
DECAYED = 4  # half-life * streams + stream, half-life
DISTINCT = 5  # thing, window
TREND = 6  # cells of the recent part and of the whole, their windows
LONGEST_SILENCE = 7
OTHERS_COUNT = 8  # cell
OTHERS_ACTIVE = 9  # window, cell of all events in it
OTHERS_SINCE_LAST = 10  # watched stream
# The others fill columns of codes:
JOURNEY = 11  # cells of awareness, consideration and decision
FIRST_TOUCH_CHANNEL = 12
LAST_TOUCH_CHANNEL = 13
N_OPERATIONS = 14
FIRST_OF_CODES = JOURNEY

# Numba compiles a function for the types it is given, so these carry no annotations.


@njit(cache=True, nogil=True, error_model="numpy")
def _days_since(as_of, instant):  # type: ignore[no-untyped-def]
    if instant in (ALWAYS, NEVER):
        return np.nan
    return (as_of - instant) / DAY


@njit(cache=True, nogil=True, error_model="numpy")
def _trend(recent, whole, recent_length, whole_length):  # type: ignore[no-untyped-def]
    if whole == 0:
        return np.nan
    recent_rate = recent / recent_length
    earlier_rate = (whole - recent) / (whole_length - recent_length)
    return (recent_rate - earlier_rate) / (recent_rate + earlier_rate)


@njit(cache=True, nogil=True, error_model="numpy")
def answer(memory, at, starts, steps, windows, as_of, member, numbers):  # type: ignore[no-untyped-def]
    """Fill one row of numbers: one loop per operation, so that none has to be looked up."""
    for step in range(starts[COUNT], starts[COUNT + 1]):
        numbers[steps[step, 4]] = memory[at.tallies + steps[step, 0]]
    for step in range(starts[VALUE_SUM], starts[VALUE_SUM + 1]):
        numbers[steps[step, 4]] = memory[at.tallies + steps[step, 0]] / 1e6
    for step in range(starts[SINCE_LAST], starts[SINCE_LAST + 1]):
        numbers[steps[step, 4]] = _days_since(as_of, memory[at.last + steps[step, 0]])
    for step in range(starts[SINCE_FIRST], starts[SINCE_FIRST + 1]):
        numbers[steps[step, 4]] = _days_since(as_of, memory[at.first + steps[step, 0]])
    for step in range(starts[DISTINCT], starts[DISTINCT + 1]):
        place = at.distinct + steps[step, 0] * at.n_windows + steps[step, 1]
        numbers[steps[step, 4]] = memory[place]
    for step in range(starts[TREND], starts[TREND + 1]):
        recent, whole = memory[at.tallies + steps[step, 0]], memory[at.tallies + steps[step, 1]]
        lengths = windows[steps[step, 2]], windows[steps[step, 3]]
        numbers[steps[step, 4]] = _trend(recent, whole, lengths[0], lengths[1])
    for step in range(starts[LONGEST_SILENCE], starts[LONGEST_SILENCE + 1]):
        silence = memory[at.marks + SILENCE]
        numbers[steps[step, 4]] = silence / DAY if silence >= 0 else np.nan
    own = at.member_tallies + member * at.n_counts
    for step in range(starts[OTHERS_COUNT], starts[OTHERS_COUNT + 1]):
        cell = steps[step, 0]
        numbers[steps[step, 4]] = memory[at.tallies + cell] - memory[own + cell]
    for step in range(starts[OTHERS_ACTIVE], starts[OTHERS_ACTIVE + 1]):
        is_active = memory[own + steps[step, 1]] > 0
        numbers[steps[step, 4]] = memory[at.active + steps[step, 0]] - is_active
    for step in range(starts[OTHERS_SINCE_LAST], starts[OTHERS_SINCE_LAST + 1]):
        watched = steps[step, 0]
        other = memory[at.newest + 2 * watched]
        if other == member:
            other = memory[at.newest + 2 * watched + 1]
        place = at.member_last + other * at.n_watched + watched
        numbers[steps[step, 4]] = np.nan if other < 0 else _days_since(as_of, memory[place])


@njit(cache=True, nogil=True, error_model="numpy")
def answer_decayed(memory, decayed, weights, at, starts, steps, half_lives, as_of, numbers):  # type: ignore[no-untyped-def]
    """Fill the decayed counts of one row: what they were at the reference instant, faded since."""
    age = 0 if memory[at.last + ALL] == ALWAYS else as_of - memory[at.marks + REFERENCE]
    for index in range(at.n_half_lives):
        weights[index] = np.exp2(-age / half_lives[index])
    for step in range(starts[DECAYED], starts[DECAYED + 1]):
        numbers[steps[step, 4]] = decayed[steps[step, 0]] * weights[steps[step, 1]]


@njit(cache=True, nogil=True, error_model="numpy")
def answer_codes(memory, at, starts, steps, codes):  # type: ignore[no-untyped-def]
    """Fill one row of codes."""
    for step in range(starts[JOURNEY], starts[JOURNEY + 1]):
        furthest = -1
        for stage in range(3):
            if memory[at.tallies + steps[step, stage]] > 0:
                furthest = stage
        codes[steps[step, 4]] = furthest
    for step in range(starts[FIRST_TOUCH_CHANNEL], starts[FIRST_TOUCH_CHANNEL + 1]):
        codes[steps[step, 4]] = memory[at.marks + FIRST_CHANNEL]
    for step in range(starts[LAST_TOUCH_CHANNEL], starts[LAST_TOUCH_CHANNEL + 1]):
        codes[steps[step, 4]] = memory[at.marks + LAST_CHANNEL]
