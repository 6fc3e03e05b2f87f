"""The page of one lead, ready for its template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from math import isnan
from typing import Any

from features.catalogue.wording import phrase_of, start, title
from models.wording import clean_text, number_text
from serving.pages.history_line import HistoryLine, history_line
from serving.pages.waterfall import Waterfall, waterfall
from serving.pages.words import (
    REASON_CODES,
    STATES,
    clock_text,
    day_text,
    due_text,
    instant_text,
    micros,
    percent_text,
    signed_points,
    span_text,
)

ANSWERS = {"accepted": "Accepted", "rejected": "Rejected", "recycled": "Recycled"}
"Verdicts of sales as they are said."

_EVENTS_SHOWN = 8

CONTACTED = "contacted"
"What the form sends for a first contact, which is no verdict."

_WHAT = {
    "fields": "What is known of the lead",
    "time": "Time that passed",
    "new events": "What the lead did since",
    "model version": "A new version of the model",
}
_TRACKS = {
    "hand over": "Hand over to sales",
    "with sales": "With sales already",
    "nurture": "Nurture",
}


@dataclass(frozen=True)
class Stage:
    """One stage of the handoff clock: when it was reached, or when it is due."""

    name: str
    told: str
    state: str
    "done, open, late or stopped: the style."


@dataclass(frozen=True)
class Event:
    """One thing the lead did, in words."""

    instant: str
    clock: str
    text: str
    details: str


@dataclass(frozen=True)
class Day:
    """What a lead did on one day, newest first."""

    name: str
    events: tuple[Event, ...]


@dataclass(frozen=True)
class LeadView:
    """What the template of a lead shows; the numbers are in words already."""

    lead: Mapping[str, Any]
    probability: str
    cutoff: str
    track: str
    state: str | None
    stages: tuple[Stage, ...]
    waterfall: Waterfall
    change_parts: tuple[tuple[str, str, str], ...]
    "What it was, points and text of each part."
    ways: tuple[tuple[str, str], ...]
    "What would carry it over the cutoff: text, and the probability reached."
    days: tuple[Day, ...]
    "The newest days of the timeline, newest first: as many as hold some events together."
    earlier: tuple[Day, ...]
    "The days before."
    line: HistoryLine | None
    history: tuple[Mapping[str, Any], ...]
    verdicts: tuple[tuple[str, str, str], ...]
    "Instant, verdict and reason, newest first."
    values: tuple[tuple[str, str], ...]
    "What the model saw: name and value."


def lead_view(lead: Mapping[str, Any], now: int) -> LeadView:
    """Return the page of what `Ledger.lead` says; `now` in microseconds."""
    state = lead["state"]
    mql = lead["mqls"][0] if lead["mqls"] else None
    change = lead["change"]
    days = _days(lead["timeline"])
    shown = _days_to_show(days)
    return LeadView(
        lead=lead,
        probability=percent_text(lead["probability"]),
        cutoff=_cutoff_text(lead["probability"], lead["cutoff"], bool(lead["qualified"])),
        track=_track_text(lead["track"]),
        state=STATES[state] if state else None,
        stages=() if mql is None else _stages(mql, state, now),
        waterfall=waterfall(
            lead["reasons"], lead["base_probability"], lead["probability"], lead["cutoff"]
        ),
        change_parts=() if change is None else _parts(change),
        ways=_ways(lead["crossing"]),
        days=days[:shown],
        earlier=days[shown:],
        line=history_line(lead["history"]),
        history=tuple(lead["history"]),
        verdicts=tuple(_verdict(verdict) for verdict in lead["verdicts"]),
        values=tuple((title(name), _value(value)) for name, value in lead["features"].items()),
    )


def recorded_text(lead: Mapping[str, Any], asked: str) -> str | None:
    """Return the confirmation of what was recorded last; None unless that is what was asked for.

    It is read from the ledger, so that no link can claim a verdict nobody gave.
    """
    if asked == CONTACTED and lead["mqls"] and lead["mqls"][0]["contacted_at"]:
        return f"Recorded: first contact, {instant_text(lead['mqls'][0]['contacted_at'])}."
    if lead["verdicts"] and asked in ANSWERS and lead["verdicts"][0]["verdict"] == asked:
        instant, verdict, reason = _verdict(lead["verdicts"][0])
        because = f" ({reason})" if reason else ""
        return f"Recorded: {verdict.lower()}{because}, {instant_text(instant)}."
    return None


def _cutoff_text(probability: float, cutoff: float | None, qualified: bool) -> str:
    """Return where the cutoff lies for this lead, in words."""
    if cutoff is None:
        return "No cutoff keeps the promise that was asked for, so no lead qualifies."
    if qualified:
        return f"Qualifies: leads qualify from {percent_text(cutoff)}."
    if probability >= cutoff:
        return f"Over the cutoff of {percent_text(cutoff)}, but it can't become an MQL now."
    return f"Doesn't qualify: leads qualify from {percent_text(cutoff)}."


def _track_text(track: str) -> str:
    name, _, stage = track.partition(": ")
    told = _TRACKS.get(name, start(name))
    return f"{told}, {stage} stage" if stage else told


def _stages(mql: Mapping[str, Any], state: str | None, now: int) -> tuple[Stage, ...]:
    """Return the handoff clock of an MQL: answer and first contact against their due times."""
    began = Stage("MQL", instant_text(mql["mql_at"]), "done")
    has_ended = state not in ("mql", "accepted")
    return (
        began,
        _stage("Accepted", mql["mql_at"], mql["accepted_at"], mql["accept_due"], has_ended, now),
        _stage(
            "First contact", mql["mql_at"], mql["contacted_at"], mql["contact_due"], has_ended, now
        ),
    )


def _stage(
    name: str, since: str, reached: str | None, due: str | None, has_ended: bool, now: int
) -> Stage:
    if reached is not None:
        took = span_text((micros(reached) - micros(since)) / 1_000_000)
        late = due is not None and micros(reached) > micros(due)
        return Stage(name, f"after {took}{', late' if late else ''}", "late" if late else "done")
    if has_ended or due is None:
        return Stage(name, "no longer due", "stopped")
    return Stage(name, due_text(micros(due), now), "late" if micros(due) < now else "open")


def _parts(change: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
    return tuple(
        (
            _WHAT.get(part["what"], start(part["what"])),
            signed_points(part["points"]),
            str(part.get("text") or ""),
        )
        for part in change["parts"]
    )


def _ways(crossing: Mapping[str, Any] | None) -> tuple[tuple[str, str], ...]:
    ways = [] if crossing is None else crossing.get("ways", [])
    return tuple((str(way["text"]), percent_text(way["probability"])) for way in ways)


def _days(timeline: Sequence[Mapping[str, Any]]) -> tuple[Day, ...]:
    newest_first = sorted(timeline, key=lambda event: micros(event["occurred_at"]), reverse=True)
    by_day = groupby(newest_first, key=lambda event: day_text(event["occurred_at"]))
    return tuple(Day(day, tuple(_event(event) for event in events)) for day, events in by_day)


def _days_to_show(days: Sequence[Day]) -> int:
    """Return how many days, from the newest, hold enough events together."""
    for place, total in enumerate(accumulate(len(day.events) for day in days), start=1):
        if total >= _EVENTS_SHOWN:
            return place
    return len(days)


def _event(event: Mapping[str, Any]) -> Event:
    """Return an event in words; `channel`, `campaign`, `content` and `value` where known."""
    known = (event.get(name) for name in ("content", "campaign", "channel"))
    details = [clean_text(str(detail)) for detail in known if detail is not None]
    if event.get("value") is not None:
        details.append(f"value {number_text(float(event['value']))}")
    return Event(
        instant=event["occurred_at"],
        clock=clock_text(event["occurred_at"]),
        text=clean_text(start(phrase_of(event["event_type"]).did)),
        details=" · ".join(details),
    )


def _verdict(verdict: Mapping[str, Any]) -> tuple[str, str, str]:
    code = verdict["reason_code"]
    reason = "" if code is None else REASON_CODES.get(code, clean_text(title(code)))
    name = verdict["verdict"]
    return verdict["decided_at"], ANSWERS.get(name, start(name)), reason


def _value(value: object) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, int | float):
        return "unknown" if isnan(value) else number_text(float(value))
    return clean_text(str(value))
