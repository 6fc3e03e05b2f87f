"""Events a day and type: trackers that fell silent, lost most events, or fire twice.

What is honest must not alarm: weekends, seasons and holidays that all types share, growth, rare
and bursty types, a type introduced later. So a type is held against its own weeks around, against
what the other types did at the time, and against how restless it is anyway.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.quality.findings import Finding
from features.quality.level_shifts import Shift, find_shifts
from features.quality.silences import Silence, find_silences, is_alive
from features.quality.volume_changes import ALL, VolumeChange, change_findings

Floats = npt.NDArray[np.float64]

MOST_TYPES = 60
"The most frequent types that are looked at; the others are in the total only."
LAG_SAMPLE = 200_000
LONGEST_LAG_DAYS = 14
"Recorded later than this is an import of the past: it says nothing about the newest days."
EARLY_SHARE = 0.0005
"Events before the day that this share came by are strays, of a wrong clock for instance."
FEWEST_EXPECTED = 50.0
"Fewer events than this missing from a type's past is no introduction."
FEWEST_DAYS_BEFORE = 28
EARLIER_SHARE = 0.02
"Where the first leads have just come, types that need time are not there yet."
MANY_TYPES = 200
# Without other types to compare with, a season or a new campaign looks like a jump too.
CLEAR_FACTOR = 2.5
NEXT_TO_NOTHING = 20.0
CAMPAIGN_DAYS = 42


@dataclass(frozen=True)
class EventVolume:
    """Events of each type on each day, and where they changed."""

    types: tuple[str, ...]
    "Most frequent first, `MOST_TYPES` at most."
    distinct_types: int
    first_day: np.datetime64
    counts: Floats
    "types x days, whole days only."
    total: Floats
    "Events a day of all types."
    changes: tuple[VolumeChange, ...] = ()

    @property
    def days(self) -> npt.NDArray[np.datetime64]:
        """Each day, UTC, one a column of `counts`."""
        return self.first_day + np.arange(len(self.total))

    def findings(self) -> list[Finding]:
        """Return what is odd, as findings."""
        found = change_findings(self.changes)
        if self.distinct_types > MANY_TYPES:
            text = (
                f"{self.distinct_types:,} distinct values: ids or texts among the event types? "
                "Map them to a few kinds of event in SQL"
            )
            subject = "engagement_events.event_type"
            found.append(Finding("many_event_types", "warn", subject, self.distinct_types, text))
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return events a type and the changes, for JSON."""
        return {
            "from": str(self.first_day),
            "days": len(self.total),
            "events_by_type": dict(
                zip(self.types, self.counts.sum(axis=1).astype(int).tolist(), strict=True)
            ),
            "changes": [change.as_dict() for change in self.changes],
        }


def event_volume(events: pd.DataFrame, data_until: pd.Timestamp) -> EventVolume | None:
    """Return the daily volume of `engagement_events`, and its changes; None without events.

    The day that `data_until` cuts is left out, and of each type the newest days whose events may
    not have been recorded yet.
    """
    if events.empty:
        return None
    codes, types = pd.factorize(events["event_type"])
    day = events["occurred_at"].to_numpy("datetime64[us]").astype("datetime64[D]").view(np.int64)
    by_volume = np.argsort(-np.bincount(codes, minlength=len(types)), kind="stable")
    row_of = np.full(len(types), MOST_TYPES)
    row_of[by_volume[:MOST_TYPES]] = np.arange(min(len(types), MOST_TYPES))
    first, end = int(day.min()), data_until.to_datetime64().astype("datetime64[D]").astype(int)
    width = max(int(end), int(day.max()) + 1) - first
    cells = np.bincount(row_of[codes] * width + (day - first), minlength=(MOST_TYPES + 1) * width)
    matrix = cells.reshape(MOST_TYPES + 1, width)[:, : max(int(end) - first, 0)].astype(float)
    total = matrix.sum(axis=0)
    if not total.any():
        return None
    start = int(np.argmax(np.cumsum(total) > EARLY_SHARE * total.sum()))
    names = tuple(str(types[code]) for code in by_volume[:MOST_TYPES])
    volume = EventVolume(
        types=names,
        distinct_types=len(types),
        first_day=np.datetime64(first + start, "D"),
        counts=matrix[: len(names), start:],
        total=total[start:],
    )
    return replace(volume, changes=_changes(volume, _lag_days(events, codes, by_volume)))


def _lag_days(
    events: pd.DataFrame, codes: npt.NDArray[np.intp], by_volume: npt.NDArray[np.intp]
) -> list[int]:
    """Return by type within how many days nine of ten events were recorded, 0 if at once."""
    step = max(1, len(events) // LAG_SAMPLE)
    sample = events.iloc[::step]
    late = (sample["recorded_at"] - sample["occurred_at"]).dt.total_seconds() / 86_400
    by_code = late.groupby(codes[::step]).quantile(0.9)
    lags = by_code.reindex(by_volume[:MOST_TYPES]).fillna(0.0).to_numpy()
    return [int(np.ceil(lag - 0.01)) if lag <= LONGEST_LAG_DAYS else 0 for lag in lags]


def _changes(volume: EventVolume, lags: list[int]) -> tuple[VolumeChange, ...]:
    """Return every change, those of all types together first, then by type."""
    days = len(volume.total)
    starts = [_first_day(row) for row in volume.counts]
    ends = [max(days - lag, start) for lag, start in zip(lags, starts, strict=True)]
    series = [row[a:b] for row, a, b in zip(volume.counts, starts, ends, strict=True)]
    whole = volume.total[: days - min(lags)]
    gaps = [
        gap
        for gap in find_silences(whole, [], 0, volume.first_day)
        if len(series) > 1
        and not any(
            is_alive(own, gap.start - a, gap.end - a) for own, a in zip(series, starts, strict=True)
        )
    ]
    changes = [_silent(volume, ALL, gap) for gap in gaps]
    filled = []
    for number, own in enumerate(series):
        others = [(starts[k], series[k]) for k in range(len(series)) if k != number]
        found = find_silences(own, others, starts[number], volume.first_day)
        mended = own.copy()
        for silence in found:
            span = slice(silence.start - starts[number], silence.end - starts[number])
            mended[span] = silence.expected / (silence.end - silence.start)
        filled.append(mended)
        changes += [
            _silent(volume, volume.types[number], silence)
            for silence in found
            if not _within(silence, gaps)
        ]
        changes += _introduced(volume, number, starts[number])
    shifts = find_shifts(filled, starts, volume.first_day)
    changes += [_shifted(volume, shift, len(series)) for shift in shifts]
    return tuple(changes)


def _first_day(row: Floats) -> int:
    """Return the day from which a type is used: strays before it are less than 0.2% of it."""
    return int(np.argmax(np.cumsum(row) > 0.002 * row.sum()))


def _within(silence: Silence, gaps: list[Silence]) -> bool:
    """Return whether the silence is that of all types."""
    shared = sum(max(0, min(silence.end, gap.end) - max(silence.start, gap.start)) for gap in gaps)
    return shared >= 0.8 * (silence.end - silence.start)


def _silent(volume: EventVolume, name: str, silence: Silence) -> VolumeChange:
    to_end = silence.to_end
    return VolumeChange(
        name,
        "silent_since" if to_end else "silent",
        "note" if silence.may_be_holiday else "warn",
        volume.days[silence.start],
        None if to_end else volume.first_day + silence.end,
        silence.expected,
        silence.observed,
    )


def _shifted(volume: EventVolume, shift: Shift, types: int) -> VolumeChange:
    """Return a jump as a change.

    A note only where no other types say that it is this one's alone, where it may be a campaign
    that is not over, and where all rose: that is what more leads do. From next to nothing, the type
    was introduced.
    """
    name = ALL if shift.row is None else volume.types[shift.row]
    since = volume.days[shift.day]
    ratio = shift.after / max(shift.before, 1e-9)
    if ratio > NEXT_TO_NOTHING and shift.row is not None:
        expected = shift.after
        return VolumeChange(name, "introduced", "note", volume.first_day, since, expected, 0.0)
    is_large = ratio >= CLEAR_FACTOR or ratio <= 1 / CLEAR_FACTOR
    is_compared = shift.row is not None and types > 2
    is_growth = ratio > 1 and (shift.days_after < CAMPAIGN_DAYS or shift.row is None)
    return VolumeChange(
        name,
        "rose" if ratio > 1 else "fell",
        "warn" if (is_compared or is_large) and not is_growth else "note",
        since,
        None,
        shift.before,
        shift.after,
    )


def _introduced(volume: EventVolume, number: int, start: int) -> list[VolumeChange]:
    """Return a note if a type is missing from the earlier data although others are there."""
    earlier = volume.total[:start].sum()
    if start < FEWEST_DAYS_BEFORE or earlier < EARLIER_SHARE * volume.total.sum():
        return []
    own, total = volume.counts[number, start:], volume.total[start:]
    # the lower of two shares: the first weeks may be a burst, and later ones may have grown
    share = min(own[:42].sum() / max(total[:42].sum(), 1.0), own.sum() / total.sum())
    expected = float(share * earlier)
    if expected < FEWEST_EXPECTED:
        return []
    observed = float(volume.counts[number, :start].sum())
    change = VolumeChange(
        volume.types[number],
        "introduced",
        "note",
        volume.first_day,
        volume.days[start],
        expected,
        observed,
    )
    return [change]
