"""Broken trackers are found, and what is honest about event volume raises no alarm."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from features.quality.event_volume import ALL, EventVolume, event_volume
from features.quality.table_quality import date_findings

RATES = {"page_view": 300, "email_open": 120, "pricing_view": 40, "demo_request": 6, "chat": 2}
FIRST = np.datetime64("2023-07-03")  # a Monday
DAYS = 500
WEEK = np.array([1, 1, 1, 1, 1, 0.3, 0.2])
Change = Callable[[str, np.ndarray], np.ndarray]
"""Type and days, counted from the first -> factor on its rate by day."""


def made(
    *changes: Change, rates: dict[str, float] | None = None, days: int = DAYS, seed: int = 0
) -> pd.DataFrame:
    """Events of a CRM with a weekly rhythm and restless days, as recorded at once."""
    random = np.random.default_rng(seed)
    day = np.arange(days)
    parts = []
    for name, rate in (RATES if rates is None else rates).items():
        expected = rate * WEEK[day % 7] * random.gamma(25, 1 / 25, days)
        for change in changes:
            expected = expected * change(name, day)
        counts = random.poisson(expected)
        seconds = random.integers(0, 86_400, counts.sum()).astype("timedelta64[s]")
        occurred = np.repeat(FIRST + day, counts).astype("datetime64[us]") + seconds
        types = pd.array(np.full(len(occurred), name), dtype="str")
        parts.append(pd.DataFrame({"event_type": types, "occurred_at": occurred}))
    events = pd.concat(parts, ignore_index=True)
    return events.assign(recorded_at=events["occurred_at"])


def volume(events: pd.DataFrame, days: int = DAYS) -> EventVolume:
    found = event_volume(events, pd.Timestamp(FIRST + days))
    assert found is not None
    return found


def during(names: str, first: int, end: int, factor: float) -> Change:
    """A factor on the types in `names`, from day `first` to before `end`."""
    named = names.split()
    return lambda name, day: np.where(
        (name in named or not named) & (day >= first) & (day < end), factor, 1.0
    )


def always(of_day: Callable[[np.ndarray], np.ndarray]) -> Change:
    return lambda name, day: of_day(day)


def told(events: pd.DataFrame) -> list[tuple[str, str, str]]:
    return [(c.event_type, c.kind, c.severity) for c in volume(events).changes]


CHRISTMAS = int((np.datetime64("2023-12-23") - FIRST).astype(int))
HONEST = {
    "weekends and restless days": [],
    "slow growth": [always(lambda day: np.exp(day / 250))],
    "slow decline of one type": [
        lambda name, day: np.exp(-day / 200) if name == "page_view" else np.ones(len(day))
    ],
    "a first year from nothing": [always(lambda day: day / DAYS)],
    "seasons": [always(lambda day: 1 + 0.5 * np.sin(day / 365 * 2 * np.pi))],
    "a quiet Christmas": [during("", CHRISTMAS, CHRISTMAS + 12, 0.1)],
    "a Christmas without any event": [during("", CHRISTMAS, CHRISTMAS + 9, 0.0)],
    "public holidays": [during("", day, day + 1, 0.03) for day in (60, 149, 150, 302, 323)],
    "half the volume in August": [during("", 394, 425, 0.5)],
    "a campaign of two weeks": [during("page_view", 200, 214, 2.5)],
    "a quiet Christmas in a first year": [
        always(lambda day: day / DAYS),
        during("", CHRISTMAS, CHRISTMAS + 12, 0.05),
    ],
    "three times the leads": [during("", 300, 999, 3.0)],
    "a week and a half of holidays": [during("", 200, 210, 0.07)],
    "an outage of two days": [during("page_view", 200, 202, 0.0)],
    "a campaign of three weeks": [during("page_view", 200, 221, 4.0)],
    "fourfold within two months": [
        lambda name, day: (
            1 + 3 * np.clip((day - 200) / 56, 0, 1) if name == "page_view" else 1.0 + 0 * day
        )
    ],
    "a type seen on one day in three": [
        lambda name, day: (
            4.0 * (np.random.default_rng(4).random(len(day)) < 0.3)
            if name == "chat"
            else 1.0 + 0 * day
        )
    ],
    "a webinar every month": [
        lambda name, day: (day % 28 == 9) * 28.0 if name == "chat" else np.ones(len(day))
    ],
    "a newsletter every other week": [
        lambda name, day: np.exp(-(day % 14) / 2) * 6 if name == "email_open" else np.ones(len(day))
    ],
}


@pytest.mark.parametrize("changes", HONEST.values(), ids=HONEST.keys())
def test_what_is_honest_raises_no_warning(changes: list[Change]) -> None:
    for seed in range(2):
        warned = [found for found in told(made(*changes, seed=seed)) if found[2] == "warn"]
        assert warned == []


def test_a_start_six_weeks_before_christmas_is_no_jump_after_it() -> None:
    start = always(lambda day: np.clip((day - 135) / 100, 0, 3))
    events = made(start, during("", CHRISTMAS, CHRISTMAS + 12, 0.1))
    assert [found for found in told(events) if found[1] in ("rose", "fell")] == []


def test_a_large_type_that_comes_in_bursts_may_pause() -> None:
    is_burst = np.random.default_rng(1).random(DAYS) < 1 / 30

    def bursts(name: str, day: np.ndarray) -> np.ndarray:
        return 25.0 * is_burst + 0.02 if name == "mailing_open" else np.ones(len(day))

    rates = {"mailing_open": 900.0, "email_open": 120, "demo_request": 30}
    assert told(made(bursts, rates=rates)) == []


@pytest.mark.parametrize("name", ["page_view", "pricing_view", "demo_request"])
def test_a_type_silent_for_nine_days_is_found_with_its_days(name: str) -> None:
    (found,) = volume(made(during(name, 200, 209, 0.0))).changes
    assert (found.event_type, found.kind, found.severity) == (name, "silent", "warn")
    # quiet weekends may join
    assert abs((found.since - FIRST).astype(int) - 200) <= 2
    assert abs((found.until - FIRST).astype(int) - 209) <= 2
    assert found.observed < 0.1 * found.expected


@pytest.mark.parametrize("name", ["page_view", "pricing_view", "demo_request"])
@pytest.mark.parametrize(("factor", "kind"), [(0.2, "fell"), (2.0, "rose")])
def test_a_tracker_that_loses_most_or_fires_twice_is_found_with_its_day(
    name: str, factor: float, kind: str
) -> None:
    (found,) = volume(made(during(name, 300, 999, factor))).changes
    assert (found.event_type, found.kind, found.severity) == (name, kind, "warn")
    assert abs((found.since - FIRST).astype(int) - 300) <= 7
    assert found.observed / found.expected == pytest.approx(factor, rel=0.4)


def test_a_type_that_stops_for_good_is_silent_since_then() -> None:
    (found,) = volume(made(during("pricing_view", 440, 999, 0.0))).changes
    assert (found.event_type, found.kind, found.until) == ("pricing_view", "silent_since", None)


def test_a_type_introduced_later_is_a_note() -> None:
    assert told(made(during("pricing_view", 0, 250, 0.0))) == [
        ("pricing_view", "introduced", "note")
    ]


def test_events_exported_earlier_than_the_rest_are_one_finding_with_the_way_out() -> None:
    (found,) = volume(made(during("", 460, 999, 0.0))).findings()
    assert found.subject == ALL
    assert "set data.data_until" in found.text.lower()


def test_types_that_fall_silent_together_are_one_finding_that_names_them() -> None:
    (found,) = volume(made(during("page_view email_open", 200, 214, 0.0))).findings()
    assert found.subject == "page_view, email_open"
    assert found.name == "event_volume_silent"


def test_a_shared_dip_does_not_make_the_types_that_went_on_look_raised() -> None:
    broken = during("page_view email_open pricing_view", 300, 999, 0.2)
    warned = {found[:2] for found in told(made(broken)) if found[2] == "warn"}
    assert not {("demo_request", "rose"), ("chat", "rose")} & warned


def test_most_types_at_a_fifth_at_once_are_told_as_one_jump_of_all() -> None:
    names = "page_view email_open pricing_view demo_request chat"
    (found,) = volume(made(during(names, 300, 999, 0.2))).findings()
    assert (found.subject, found.name) == (ALL, "event_volume_fell")


def test_a_rare_type_may_be_silent_for_weeks() -> None:
    rates = {**RATES, "rare": 0.4}
    assert told(made(during("rare", 200, 225, 0.0), rates=rates)) == []


def test_a_recent_rise_may_still_be_a_campaign() -> None:
    assert told(made(during("page_view", 475, 999, 2.0))) == [("page_view", "rose", "note")]


def test_a_jump_without_other_types_to_compare_with_warns_only_if_it_is_large() -> None:
    alone = {"login": 200.0}
    assert told(made(during("login", 300, 999, 2.0), rates=alone)) == [("login", "rose", "note")]
    assert told(made(during("login", 300, 999, 0.2), rates=alone)) == [("login", "fell", "warn")]


def test_events_that_are_recorded_days_later_do_not_look_missing_at_the_end() -> None:
    events = made()
    is_late = (events["event_type"] == "email_open").to_numpy()
    late = events["occurred_at"] + pd.Timedelta(days=5)
    events = events.assign(recorded_at=events["recorded_at"].where(~is_late, late))
    until = pd.Timestamp(FIRST + DAYS)
    known = events[events["recorded_at"] <= until]
    assert len(known) < len(events)
    assert volume(known).changes == ()
    # the same events, recorded at once, did stop
    stopped = volume(known.assign(recorded_at=known["occurred_at"]))
    assert [(c.event_type, c.kind) for c in stopped.changes] == [("email_open", "silent_since")]


def test_the_day_that_the_data_end_in_is_left_out() -> None:
    events = made()
    noon = pd.Timestamp(FIRST + DAYS - 1) + pd.Timedelta(hours=12)
    found = event_volume(events[events["occurred_at"] < noon], noon)
    assert found is not None
    assert len(found.total) == DAYS - 1
    assert found.changes == ()


def test_counts_add_up_and_the_order_of_rows_changes_nothing() -> None:
    events = made(during("page_view", 300, 999, 0.2))
    one, other = volume(events), volume(events.sample(frac=1, random_state=1))
    assert one.total.sum() == len(events)
    assert dict(zip(one.types, one.counts.sum(axis=1), strict=True)) == dict(
        events["event_type"].value_counts()
    )
    assert one.as_dict() == other.as_dict()


def test_stray_dates_do_not_stretch_the_days() -> None:
    events = made()
    strays = events.iloc[:3].assign(occurred_at=pd.Timestamp("1985-05-05"))
    found = volume(pd.concat([events, strays]))
    assert found.first_day == FIRST
    assert found.changes == ()


def test_ids_among_the_event_types_are_named_without_showing_one() -> None:
    events = made(days=60)
    types = [f"order {number}" for number in range(len(events))]
    events = events.assign(event_type=pd.array(types, dtype="str"))
    found = [f for f in volume(events, 60).findings() if f.name == "many_event_types"]
    assert [f.count for f in found] == [len(events)]
    assert "order" not in found[0].text


def test_no_events_have_no_volume() -> None:
    assert event_volume(made(days=1).iloc[:0], pd.Timestamp(FIRST)) is None


def test_five_million_events_take_seconds() -> None:
    events = made(rates={name: 5 * rate for name, rate in RATES.items()})
    events = pd.concat([events] * 5, ignore_index=True)
    assert len(events) > 4_000_000
    start = time.process_time()
    volume(events)
    assert time.process_time() - start < 5


def test_dates_before_1990_and_long_before_the_rest_are_counted() -> None:
    days = pd.to_datetime(["1985-01-01"] * 2 + ["2001-01-01"] + ["2024-03-01"] * 4_000)
    days = days.append(pd.date_range("2024-01-01", periods=20_000, freq="h"))
    found = {f.name: (f.severity, f.count) for f in date_findings("x", pd.Series(days))}
    assert found["before_1990"] == ("warn", 2)
    assert found["long_before_the_rest"] == ("note", 1)
    assert "one_day_import" not in found


def test_an_import_that_stamps_its_own_date_is_noted_but_no_busy_day_of_events() -> None:
    spread = pd.date_range("2024-01-01", periods=700, freq="D").to_series()
    days = pd.concat([spread, pd.Series([pd.Timestamp("2024-06-01")] * 300)])
    assert [f.name for f in date_findings("x", days)] == ["one_day_import"]
    assert date_findings("x", days, is_event=True) == []
    assert date_findings("x", days[days < "2024-03-01"]) == []
