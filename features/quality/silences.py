"""Runs of days on which a type of event, expected to go on, all but stopped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

QUIET_SHARE = 0.05
"A day below this share of the usual is quiet: a dead tracker leaves a few late events."
FEWEST_EXPECTED = 20.0
"Poisson(20) is 0 once in half a billion; the rest of the margin is for events in bursts."
FEWEST_ACTIVE_DAYS = 3
"Public holidays silence a working day or two."
DAILY = 3.0
"Events a day from which the median day says something."
WEEKS = 6
"Weeks before and after that say what was to be expected."
MONTH = 28
RARITY = 0.001
"How often, over the whole series, quiet days may line up that long by chance."
OFTEN = 5
"A type with more silences than this has them by nature; only far longer ones count."


@dataclass(frozen=True)
class Silence:
    """Quiet days `start` to before `end`, in days of the whole volume."""

    start: int
    end: int
    expected: float
    observed: float
    to_end: bool
    may_be_holiday: bool


def find_silences(
    own: Floats,
    others: list[tuple[int, Floats]],
    offset: int,
    first_day: np.datetime64,
) -> list[Silence]:
    """Return the silences of `own` (events a day), whose first day is day `offset`.

    `others` are the first day and the events a day of the other types: where they went down as
    well (a holiday), less was to be expected. What is expected on a day is the lower of the median
    weeks before and after, spread over the weekdays as they usually are.
    """
    found: list[Silence] = []
    if len(own) < 5 * 7:
        return found
    quiet = _quiet(own)
    for start, end in _runs(quiet):
        # cheap first: most runs are a weekend, or a rare type's day
        before = own[max(0, start - WEEKS * 7) : start]
        if end - start < FEWEST_ACTIVE_DAYS or len(before) < 14 or not before.any():
            continue
        daily = _expected(own, start, end)
        active = daily >= 0.25 * daily.mean()
        observed = float(own[start:end].sum())
        expected = float(daily.sum()) * _shared_dip(others, start + offset, end + offset)
        if active.sum() < FEWEST_ACTIVE_DAYS or expected < FEWEST_EXPECTED:
            continue
        if observed > 2 * QUIET_SHARE * expected or not _is_rare(own, quiet, start, end, active):
            continue
        first = first_day + offset + start
        silence = Silence(
            start + offset,
            end + offset,
            expected,
            observed,
            to_end=end == len(own),
            may_be_holiday=_over_new_year(first, first + (end - start)),
        )
        found.append(silence)
    if len(found) > OFTEN:
        usual = float(np.median([silence.expected for silence in found]))
        found = [silence for silence in found if silence.expected >= 3 * usual]
    return found


def _quiet(own: Floats) -> npt.NDArray[np.bool_]:
    """Return the days far below the mean of the month before or after, the higher one."""
    sums = np.append(0.0, np.cumsum(own))
    day = np.arange(len(own))
    low, high = np.maximum(day - MONTH, 0), np.minimum(day + 1 + MONTH, len(own))
    before = (sums[day] - sums[low]) / np.maximum(day - low, 1)
    after = (sums[high] - sums[day + 1]) / np.maximum(high - day - 1, 1)
    usual = np.maximum(before, after)
    return np.asarray(own <= QUIET_SHARE * usual)


def _runs(flags: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return first and one-past-last position of each run of true.

    >>> _runs(np.array([True, False, True, True]))
    [(0, 1), (2, 4)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _expected(own: Floats, start: int, end: int) -> Floats:
    """Return the events to be expected on each quiet day, by the weeks around."""
    weekday = np.arange(len(own)) % 7
    outside = np.ones(len(own), dtype=bool)
    outside[start:end] = False
    by_weekday = np.bincount(weekday[outside], own[outside], 7)
    days = np.maximum(np.bincount(weekday[outside], minlength=7), 1)
    profile = by_weekday / days
    profile = profile / max(float(profile.sum()), 1e-9)
    sides = [slice(max(0, start - WEEKS * 7), start), slice(end, end + WEEKS * 7)]
    level = min(
        _usual_week(own[side], profile[weekday[side]]) for side in sides if len(own[side]) >= 14
    )
    return np.asarray(level * profile[weekday[start:end]])


def _usual_week(days: Floats, profile: Floats) -> float:
    """Return the events of a usual week: the median week, or 7 median days where that is less.

    A type that comes in bursts has many in its median week and few on its median day; only for
    rare types the median day says nothing.
    """
    weeks = len(days) // 7
    by_week = float(np.median(days[-weeks * 7 :].reshape(weeks, 7).sum(axis=1)))
    if by_week < 7 * DAILY:
        return by_week
    active = profile >= profile.mean() / 4
    return min(by_week, float(np.median(days[active] / profile[active])))


def is_alive(own: Floats, start: int, end: int) -> bool:
    """Return whether a type went on, at a fifth of its usual volume or more, in those days."""
    if start < 14 or len(own) < end:
        return False
    expected = float(_expected(own, start, end).sum())
    return expected >= 5 and float(own[start:end].sum()) >= 0.2 * expected


def _shared_dip(others: list[tuple[int, Floats]], start: int, end: int) -> float:
    """Return the median share of the usual that other types kept in those days, at most 1.

    Types that are silent too say nothing: whatever silenced this one may have silenced them.
    """
    kept = []
    for offset, events in others:
        first, last = start - offset, min(end - offset, len(events))
        if first < 14 or last - first < end - start:
            continue
        expected = float(_expected(events, first, last).sum())
        observed = float(events[first:last].sum())
        if expected >= FEWEST_EXPECTED and observed > QUIET_SHARE * expected:
            kept.append(observed / expected)
    return min(1.0, float(np.median(kept))) if len(kept) >= 2 else 1.0


def _is_rare(
    own: Floats,
    quiet: npt.NDArray[np.bool_],
    start: int,
    end: int,
    active: npt.NDArray[np.bool_],
) -> bool:
    """Return whether so many quiet active days in a row are more than chance makes."""
    weekdays = np.unique((np.arange(start, end) % 7)[active])
    outside = np.isin(np.arange(len(own)) % 7, weekdays)
    outside[start:end] = False
    often = (quiet[outside].sum() + 1) / (outside.sum() + 2)
    return bool(len(own) * often ** int(active.sum()) < RARITY)


def _over_new_year(first: np.datetime64, last: np.datetime64) -> bool:
    """Return whether the days lie between 20 December and 7 January.

    >>> _over_new_year(np.datetime64("2024-12-24"), np.datetime64("2025-01-02"))
    True
    """
    year = first.astype("datetime64[Y]").astype(int) + 1970
    if first.astype("datetime64[M]").astype(int) % 12 == 0:  # January
        year -= 1
    opens, closes = np.datetime64(f"{year}-12-20"), np.datetime64(f"{year + 1}-01-08")
    return bool(first >= opens and last <= closes)
