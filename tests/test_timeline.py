"""The kernel against the reference, for every aggregation, and the laws of time."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import Reference
from tables_builder import LEADS, crm, day, examples, tables_of

from features.catalogue.catalogue import Catalogue, build_catalogue, catalogue_of
from features.catalogue.contents import contents_of
from features.catalogue.feature import BY_ACCOUNT
from features.config import FeatureConfig, PopulationConfig
from features.facts.histories import DAY, group_starts
from features.facts.population import standing
from features.kernel import timeline
from features.kernel.ordering import Unordered, order_events
from features.kernel.plan import compile_plan, kinds_of
from features.snapshots import Past, build_snapshots
from features.tables import Tables

CONFIG = FeatureConfig(windows_days=(2, 5, 12), half_lives_days=(1, 6), max_event_types=3)
AS_OF = [day(step) for step in (3, 8, 12, 12.5, 20, 34)]


def index_of(tables: Tables, population: PopulationConfig | None = None) -> pd.DataFrame:
    """Every lead at every instant, in the population or not."""
    pairs = pd.DataFrame(
        [(lead, as_of) for as_of in AS_OF for lead in LEADS], columns=["lead_id", "as_of"]
    ).astype({"lead_id": "str", "as_of": "datetime64[us]"})
    return standing(tables, population or PopulationConfig(), pairs).drop(columns="in_population")


def assert_equals_reference(tables: Tables, catalogue: Catalogue, index: pd.DataFrame) -> None:
    reference = Reference(tables, catalogue.account_from, catalogue.attribution_days)
    snapshots = build_snapshots(tables, catalogue, index)
    assert list(snapshots.columns[4:]) == catalogue.names
    for row in snapshots.to_dict("records"):
        account = None if pd.isna(row["account_id"]) else row["account_id"]
        as_of = int(row["as_of"].asm8.view("int64"))
        expected = reference.snapshot(catalogue, row["lead_id"], account, as_of)
        for name, value in expected.items():
            where = (row["lead_id"], row["as_of"], name, row[name], value)
            if value is None:
                assert pd.isna(row[name]), where
            elif isinstance(value, str):
                assert row[name] == value, where
            else:
                assert row[name] == pytest.approx(value, rel=1e-6, abs=1e-9), where


@examples
@given(rows=crm())
def test_snapshots_equal_the_slow_reference(rows) -> None:
    tables = tables_of(**rows)
    catalogue = build_catalogue(tables, CONFIG, day(1000))
    assert_equals_reference(tables, catalogue, index_of(tables))


@examples
@given(rows=crm(), current_state=st.sampled_from([(), ("leads",), ("accounts",)]))
def test_snapshots_equal_the_reference_with_accounts_from_email(rows, current_state) -> None:
    for owner in current_state:
        key = owner[:-1] + "_id"
        rows[owner] = list({row[key]: row for row in rows[owner]}.values())
    tables = tables_of(current_state, **rows)
    population = PopulationConfig(
        account_from="email_domain", attribution_days=7, customers="include"
    )
    catalogue = build_catalogue(tables, CONFIG, day(1000), population)
    assert_equals_reference(tables, catalogue, index_of(tables, population))


def known_before(tables: Tables, instant: pd.Timestamp) -> Tables:
    """The tables as they were before `instant`: later rows cut, later closings still open."""
    cut = {
        name: getattr(tables, name).loc[lambda rows: rows["recorded_at"] < instant]
        for name in ("engagement_events", "opportunity_leads", "stage_changes", "accounts")
    }
    leads = tables.leads
    first = ~leads["lead_id"].duplicated()
    deals = tables.opportunities[tables.opportunities["created_recorded_at"] < instant]
    is_later = deals["closed_recorded_at"] >= instant
    unclosed = deals.assign(
        stage=deals["stage"].mask(is_later, "open"),
        closed_at=deals["closed_at"].mask(is_later),
        closed_recorded_at=deals["closed_recorded_at"].mask(is_later),
    )
    return dataclasses.replace(
        tables,
        leads=leads[(leads["recorded_at"] < instant) | first],
        opportunities=unclosed,
        **cut,
    )


@examples
@given(rows=crm(), as_of=st.sampled_from(AS_OF))
def test_rows_recorded_at_or_after_as_of_change_nothing(rows, as_of) -> None:
    tables = tables_of(**rows)
    catalogue = build_catalogue(tables, CONFIG, day(1000))
    index = index_of(tables)
    index = index[index["as_of"] == as_of].reset_index(drop=True)
    now = build_snapshots(tables, catalogue, index)
    then = build_snapshots(known_before(tables, as_of), catalogue, index)
    pd.testing.assert_frame_equal(now, then, check_exact=True)


@examples
@given(rows=crm(), seed=st.integers(0, 1000))
def test_the_order_of_rows_changes_no_bit(rows, seed) -> None:
    tables = tables_of(**rows)
    catalogue = build_catalogue(tables, CONFIG, day(1000))
    index = index_of(tables)
    shuffled = dataclasses.replace(
        tables,
        **{
            name: getattr(tables, name).sample(frac=1, random_state=seed)
            for name in ("engagement_events", "opportunities", "opportunity_leads", "stage_changes")
        },
    )
    pd.testing.assert_frame_equal(
        build_snapshots(tables, catalogue, index),
        build_snapshots(shuffled, catalogue, index.sample(frac=1, random_state=seed)),
        check_exact=True,
    )


@examples
@given(rows=crm(), row=st.integers(0, 29))
def test_one_snapshot_and_many_have_the_same_bits(rows, row) -> None:
    tables = tables_of(**rows)
    catalogue = build_catalogue(tables, CONFIG, day(1000))
    many = build_snapshots(tables, catalogue, index_of(tables))
    one = build_snapshots(tables, catalogue, many.iloc[[row]])
    pd.testing.assert_frame_equal(one, many.iloc[[row]].reset_index(drop=True), check_exact=True)


BOUNDARIES = [
    # occurred, recorded, inside the 2-day window at day 10, why
    (9.5, 9.5, 1, "inside"),
    (8.0, 8.0, 1, "exactly at as_of - w is inside"),
    (8.0 - 1 / 86400, 8.0, 0, "a second before as_of - w has left"),
    (10.0, 10.0, 0, "exactly at as_of is not past"),
    (8.0, 9.5, 1, "a late one that enters exactly at as_of - w is inside"),
    (9.5, 10.0, 0, "recorded exactly at as_of is not known"),
    (9.5, 10.0 - 1 / 86400, 1, "recorded a second before as_of is known"),
    (9.5, 12.0, 0, "recorded later"),
    (9.5, 2.0, 1, "recorded ahead counts from its occurrence"),
    (12.0, 2.0, 0, "announced for later has not occurred"),
]


@pytest.mark.parametrize(("occurred", "recorded", "expected", "why"), BOUNDARIES)
def test_events_count_inside_the_window_only(occurred, recorded, expected, why) -> None:
    event = {"lead_id": "a", "event_type": "call", "occurred_at": occurred, "recorded_at": recorded}
    tables = tables_of(
        leads=[{"lead_id": "a", "created_at": 0, "account_id": "X"}], engagement_events=[event]
    )
    catalogue = build_catalogue(tables, CONFIG, day(1000))
    pairs = pd.DataFrame({"lead_id": ["a"] * 2, "as_of": [day(9), day(10)]})
    index = standing(tables, PopulationConfig(), pairs).drop(columns="in_population")
    assert build_snapshots(tables, catalogue, index)["call_count_2d"].iloc[1] == expected, why


def test_a_late_event_may_leave_a_window_before_it_enters() -> None:
    event = {"lead_id": "a", "event_type": "call", "occurred_at": 1, "recorded_at": 9}
    tables = tables_of(leads=[{"lead_id": "a", "created_at": 0}], engagement_events=[event])
    catalogue = build_catalogue(tables, CONFIG, day(1000))
    pairs = pd.DataFrame({"lead_id": ["a"] * 3, "as_of": [day(2), day(8), day(10)]})
    index = standing(tables, PopulationConfig(), pairs).drop(columns="in_population")
    snapshots = build_snapshots(tables, catalogue, index)
    assert snapshots["call_count_5d"].tolist() == [0, 0, 0]
    assert snapshots["call_count_12d"].tolist() == [0, 0, 1]
    assert snapshots["call_days_since_last"].iloc[2] == 9


def snapshots_of(events: list[dict], as_of: list[float], **config: object) -> pd.DataFrame:
    """Snapshots of one lead that did `events`."""
    rows = [{"lead_id": "a", "event_type": "call", **event} for event in events]
    tables = tables_of(leads=[{"lead_id": "a", "created_at": 0}], engagement_events=rows)
    catalogue = build_catalogue(tables, CONFIG.model_copy(update=config), day(9000))
    pairs = pd.DataFrame({"lead_id": ["a"] * len(as_of), "as_of": [day(at) for at in as_of]})
    index = standing(tables, PopulationConfig(), pairs).drop(columns="in_population")
    return build_snapshots(tables, catalogue, index)


def test_a_late_event_splits_the_longest_silence() -> None:
    events = [{"occurred_at": at} for at in (1, 2, 9)]
    events.append({"occurred_at": 5, "recorded_at": 11})
    silence = snapshots_of(events, [1.5, 2.5, 10, 11, 11.5])["longest_silence"]
    assert silence.tolist()[1:] == [1, 7, 7, 4]
    assert np.isnan(silence.iloc[0])


def test_a_late_first_event_opens_a_silence_before_the_others() -> None:
    events = [{"occurred_at": 8}, {"occurred_at": 9}, {"occurred_at": 1, "recorded_at": 10}]
    assert snapshots_of(events, [9.5, 10.5])["longest_silence"].tolist() == [1, 7]


def test_content_is_counted_once_and_leaves_with_its_last_event() -> None:
    events = [{"occurred_at": at, "content": what} for at, what in [(1, "x"), (2, "x"), (2, "y")]]
    events.append({"occurred_at": 2})
    found = snapshots_of(events, [2.5, 3.5, 4.5])["distinct_contents_2d"]
    assert found.tolist() == [2, 2, 0]


@pytest.mark.parametrize(
    ("touches", "first", "last", "why"),
    [
        ([(1, 1, "web"), (2, 2, "ad")], "web", "ad", "by occurrence"),
        ([(2, 2, "ad"), (1, 3, "web")], "web", "ad", "a late one may be the first"),
        ([(1, 1, None), (2, 2, "ad"), (3, 3, None)], "ad", "ad", "none given is no channel"),
        ([(1, 1, "web"), (1, 2, "ad")], "ad", "ad", "of two at one instant the first by name"),
        ([(1, 2, "ad"), (1, 1, "web")], "ad", "ad", "whichever was recorded first"),
        ([(1, 30, "ad")], None, None, "not known yet"),
    ],
)
def test_first_and_last_touch_are_told_by_occurrence(touches, first, last, why) -> None:
    events = [{"occurred_at": a, "recorded_at": b, "channel": c} for a, b, c in touches]
    found = snapshots_of(events, [9.0]).iloc[0][["first_touch_channel", "last_touch_channel"]]
    assert [None if pd.isna(name) else name for name in found] == [first, last], why


JOURNEYS = [
    # types with their day, the stage at day 12.5 with windows up to 12 days, why
    ([("page_view", 5)], "awareness", "what stands in no list is awareness"),
    ([("page_view", 5), ("webinar", 1)], "consideration", "the furthest counts, not the last"),
    ([("page_view", 5), ("demo_request", 0.4)], "awareness", "a request that aged out is over"),
    ([("unsubscribed", 5)], None, "what tells nothing is no stage"),
    ([("Roof inspection", 5), ("unsubscribed", 6)], "awareness", "an unknown type counts"),
]


@pytest.mark.parametrize(("done", "stage", "why"), JOURNEYS)
def test_the_journey_stage_is_the_furthest_of_the_longest_window(done, stage, why) -> None:
    events = [{"event_type": kind, "occurred_at": at} for kind, at in done]
    found = snapshots_of(events, [12.5])["journey_stage"].iloc[0]
    assert (None if pd.isna(found) else found) == stage, why


def test_decayed_counts_hold_over_thousands_of_half_lives() -> None:
    days = [0, 100, 255, 256, 257, 600, 3000, 3001.5]
    found = snapshots_of([{"occurred_at": at} for at in days], [3002.0])["call_decayed_1d"]
    expected = sum(0.5 ** (3002 - at) for at in days)
    assert found.iloc[0] == pytest.approx(expected, rel=1e-6)


def test_an_event_type_first_seen_later_counts_as_other() -> None:
    events = [{"lead_id": "a", "event_type": kind, "occurred_at": 1} for kind in ("call", "new")]
    tables = tables_of(leads=[{"lead_id": "a", "created_at": 0}], engagement_events=events)
    known = tables_of(leads=[{"lead_id": "a", "created_at": 0}], engagement_events=events[:1])
    catalogue = build_catalogue(known, CONFIG, day(1000))
    pairs = pd.DataFrame({"lead_id": ["a"], "as_of": [day(2)]})
    index = standing(tables, PopulationConfig(), pairs).drop(columns="in_population")
    found = build_snapshots(tables, catalogue, index).iloc[0]
    assert found[["call_count_2d", "other_count_2d", "any_count_2d"]].tolist() == [1, 1, 2]


def test_a_merge_of_the_two_colleagues_seen_last_brings_up_the_third() -> None:
    leads = [{"lead_id": lead, "created_at": 0, "account_id": "X"} for lead in "abcd"]
    leads.append({**leads[1], "recorded_at": 6, "merged_into": "c"})
    events = [
        {"lead_id": lead, "event_type": "call", "occurred_at": at}
        for lead, at in [("a", 1), ("b", 2), ("c", 3)]
    ]
    tables = tables_of(leads=leads, engagement_events=events)
    catalogue = build_catalogue(tables, CONFIG, day(1000))
    pairs = pd.DataFrame({"lead_id": ["c", "c", "d"], "as_of": [day(5), day(7), day(7)]})
    index = standing(tables, PopulationConfig(), pairs).drop(columns="in_population")
    snapshots = build_snapshots(tables, catalogue, index)
    assert snapshots["days_since_colleague"].tolist() == [3, 6, 4]
    assert snapshots["active_colleagues_12d"].tolist() == [2, 1, 2]


def test_a_colleague_merged_into_one_never_seen_is_still_found() -> None:
    leads = [{"lead_id": lead, "created_at": 0, "account_id": "X"} for lead in "abcd"]
    leads.append({**leads[1], "recorded_at": 6, "merged_into": "d"})
    events = [
        {"lead_id": lead, "event_type": "call", "occurred_at": at}
        for lead, at in [("a", 1), ("b", 2), ("c", 3)]
    ]
    tables = tables_of(leads=leads, engagement_events=events)
    catalogue = build_catalogue(tables, CONFIG, day(1000))
    pairs = pd.DataFrame({"lead_id": ["c", "c", "d"], "as_of": [day(5), day(7), day(7)]})
    index = standing(tables, PopulationConfig(), pairs).drop(columns="in_population")
    assert build_snapshots(tables, catalogue, index)["days_since_colleague"].tolist() == [3, 5, 4]


def test_timelines_walked_in_parts_give_the_same_bits() -> None:
    rng = np.random.default_rng(3)
    n_events, n_accounts, n_rows = 400, 12, 60
    events = [{"lead_id": "a", "event_type": "call", "occurred_at": 1}]
    tables = tables_of(
        leads=[{"lead_id": "a", "created_at": 0, "account_id": "X"}], engagement_events=events
    )
    catalogue = catalogue_of(contents_of(tables, day(1000)), CONFIG)
    plan = compile_plan(catalogue, BY_ACCOUNT)
    occurred = rng.integers(0, 30 * DAY, n_events)
    none = np.empty(0, np.int32)
    ordered = order_events(
        Unordered(
            rng.integers(0, n_accounts, n_events),
            occurred + rng.integers(0, 3 * DAY, n_events),
            occurred,
            rng.integers(0, len(kinds_of(catalogue)) + 1, n_events).astype(np.int32),
            np.empty(0, np.int64),
            rng.integers(0, 4, n_events).astype(np.int32),
            none,
            none,
            none,
        ),
        n_accounts,
    )
    owners, as_of = np.sort(rng.integers(0, n_accounts, n_rows)), rng.integers(0, 40 * DAY, n_rows)
    rows = np.lexsort((as_of, owners))
    members = rng.integers(0, 4, n_rows).astype(np.int32)
    asked = timeline.Asked(group_starts(owners, n_accounts), as_of[rows], members, rows)
    unmerged = timeline.Merging(np.zeros(n_accounts + 1, np.int64), *[np.empty(0, np.int64)] * 3)
    codes = np.empty((n_rows, 0), np.int32)
    found = []
    for bounds in ([0, n_accounts], [0, 1, 5, n_accounts]):
        matrix = np.full((n_rows, len(catalogue.features)), np.nan, np.float32)
        for first, last in itertools.pairwise(bounds):
            timeline.walk(ordered, unmerged, asked, plan, first, last, matrix, codes)
        found.append(matrix.tobytes())
    assert found[0] == found[1]


def test_value_sums_are_exact_however_many_values() -> None:
    events = [
        {"lead_id": "a", "event_type": "order", "occurred_at": 1 + n / 1000, "value": 0.1}
        for n in range(1000)
    ]
    tables = tables_of(leads=[{"lead_id": "a", "created_at": 0}], engagement_events=events)
    catalogue = build_catalogue(tables, CONFIG, day(1000))
    pairs = pd.DataFrame({"lead_id": ["a"], "as_of": [day(3)]})
    index = standing(tables, PopulationConfig(), pairs).drop(columns="in_population")
    assert build_snapshots(tables, catalogue, index)["order_value_2d"].iloc[0] == np.float32(100)


def test_a_merge_gives_the_events_to_the_survivor_once_it_is_recorded() -> None:
    leads = [
        {"lead_id": "a", "created_at": 0},
        {"lead_id": "b", "created_at": 0},
        {"lead_id": "b", "created_at": 0, "recorded_at": 5, "merged_into": "a"},
    ]
    events = [{"lead_id": "b", "event_type": "call", "occurred_at": 1}]
    tables = tables_of(leads=leads, engagement_events=events)
    catalogue = build_catalogue(tables, CONFIG, day(1000))
    pairs = pd.DataFrame({"lead_id": ["a", "b", "a"], "as_of": [day(5), day(5), day(5.5)]})
    index = standing(tables, PopulationConfig(), pairs).drop(columns="in_population")
    snapshots = build_snapshots(tables, catalogue, index)
    assert snapshots["call_count_12d"].tolist() == [0, 1, 1]


def test_a_colleague_counts_and_the_lead_itself_does_not() -> None:
    leads = [{"lead_id": lead, "created_at": 0, "account_id": "X"} for lead in "abc"]
    events = [
        {"lead_id": lead, "event_type": "call", "occurred_at": at}
        for lead, at in [("a", 1), ("a", 2), ("b", 3), ("c", 0.5)]
    ]
    tables = tables_of(leads=leads, engagement_events=events)
    catalogue = build_catalogue(tables, CONFIG, day(1000))
    pairs = pd.DataFrame({"lead_id": list("abc"), "as_of": [day(4)] * 3})
    index = standing(tables, PopulationConfig(), pairs).drop(columns="in_population")
    snapshots = build_snapshots(tables, catalogue, index)
    assert snapshots["colleagues_any_count_5d"].tolist() == [2, 3, 3]
    assert snapshots["active_colleagues_5d"].tolist() == [2, 2, 2]
    assert snapshots["days_since_colleague"].tolist() == [1, 2, 1]
    assert len(set(snapshots["account_any_decayed_1d"])) == 1


def test_an_event_stays_with_the_account_its_lead_had_then() -> None:
    leads = [
        {"lead_id": "a", "created_at": 0, "account_id": "X"},
        {"lead_id": "b", "created_at": 0, "account_id": "X"},
        {"lead_id": "b", "created_at": 0, "account_id": "Y", "recorded_at": 5},
        {"lead_id": "c", "created_at": 0, "account_id": "Y"},
    ]
    events = [{"lead_id": "b", "event_type": "call", "occurred_at": at} for at in (1, 5, 6)]
    tables = tables_of(leads=leads, engagement_events=events)
    catalogue = build_catalogue(tables, CONFIG, day(1000))
    pairs = pd.DataFrame({"lead_id": ["a", "c"], "as_of": [day(8)] * 2})
    index = standing(tables, PopulationConfig(), pairs).drop(columns="in_population")
    snapshots = build_snapshots(tables, catalogue, index)
    assert snapshots["colleagues_any_count_12d"].tolist() == [1, 2]
    assert snapshots["days_since_colleague"].tolist() == [7, 2]


def test_the_colleague_seen_last_is_found_when_a_late_event_comes_second() -> None:
    leads = [{"lead_id": lead, "created_at": 0, "account_id": "X"} for lead in "abc"]
    events = [
        {"lead_id": lead, "event_type": "call", "occurred_at": at, "recorded_at": recorded}
        for lead, at, recorded in [("c", 1, 1), ("b", 2, 2), ("a", 1.5, 3)]
    ]
    tables = tables_of(leads=leads, engagement_events=events)
    catalogue = build_catalogue(tables, CONFIG, day(1000))
    pairs = pd.DataFrame({"lead_id": ["b"], "as_of": [day(4)]})
    index = standing(tables, PopulationConfig(), pairs).drop(columns="in_population")
    assert build_snapshots(tables, catalogue, index)["days_since_colleague"].tolist() == [2.5]


@examples
@given(rows=crm())
def test_events_put_in_order_beforehand_give_the_same_bits(rows) -> None:
    tables = tables_of(**rows)
    past = Past.of(tables, build_catalogue(tables, CONFIG, day(1000)))
    few = past.timelines
    sizes = {"own": len(few.people.lead_ids), "group": len(few.people.account_ids)}
    ordered = {
        name: order_events(getattr(few, name), size)
        for name, size in sizes.items()
        if getattr(few, name) is not None
    }
    many = dataclasses.replace(past, timelines=dataclasses.replace(few, **ordered))
    index = index_of(tables)
    pd.testing.assert_frame_equal(past.snapshots(index), many.snapshots(index), check_exact=True)
