"""The live path takes rows as a CRM sends them, with the defaults of the contract."""

from __future__ import annotations

import math

import pytest
from tables_builder import day, tables_of

from features.catalogue.catalogue import build_catalogue
from features.config import FeatureConfig, PopulationConfig
from features.facts.histories import DAY
from features.live import LiveSnapshots, _coded, _numbered

NOW = 40 * DAY


@pytest.fixture(scope="module")
def live() -> LiveSnapshots:
    tables = tables_of(
        leads=[
            {"lead_id": "a", "created_at": 0, "account_id": "X", "seats": 3.0, "employees": 8.0}
        ],
        engagement_events=[{"lead_id": "a", "event_type": "page_view", "occurred_at": 1}],
        opportunities=[
            {"opportunity_id": "o", "lead_id": "a", "created_at": 2, "stage": "open"},
        ],
        stage_changes=[{"lead_id": "a", "stage": "mql", "changed_at": 2}],
    )
    config = FeatureConfig()
    return LiveSnapshots.of(build_catalogue(tables, config, day(100), PopulationConfig()))


def rows(**changed):
    """The rows of one lead; a column given as `table__column` replaces that of the table."""
    tables = {
        "leads": {
            "lead_id": ["a"], "created_at": [0], "account_id": ["X"], "seats": [3.0],
            "employees": [8.0],
        },
        "engagement_events": {
            "lead_id": ["a", "a"],
            "event_type": ["page_view", "page_view"],
            "occurred_at": [30 * DAY, 35 * DAY],
        },
        "opportunities": {
            "opportunity_id": ["o"], "lead_id": ["a"], "created_at": [20 * DAY], "stage": ["open"],
        },
        "opportunity_leads": {"opportunity_id": [], "lead_id": []},
        "stage_changes": {"lead_id": [], "stage": [], "changed_at": []},
    }  # fmt: skip
    for name, values in changed.items():
        table, _, column = name.partition("__")
        tables[table][column] = values
    return tables


def test_the_expected_closing_of_an_open_deal_does_not_close_it(live) -> None:
    found = live.snapshot(rows(opportunities__closed_at=[25 * DAY]), "a", NOW)
    assert (found["open_opportunities"], found["lost_opportunities"]) == (1, 0)


def test_a_deal_is_known_to_be_lost_when_that_was_recorded(live) -> None:
    lost = rows(
        opportunities__closed_at=[25 * DAY],
        opportunities__stage=["closed_lost"],
        opportunities__recorded_at=[39 * DAY],
    )
    assert live.snapshot(lost, "a", NOW)["lost_opportunities"] == 1
    before = live.snapshot(lost, "a", 39 * DAY)
    assert (before["open_opportunities"], before["lost_opportunities"]) == (0, 0)


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        ([None, None], 2),  # known when they occurred
        ([None, 41 * DAY], 1),  # one is not known yet
        ([1 * DAY, 1 * DAY], 2),  # a clock ahead: not before they occurred
    ],
)
def test_an_event_without_a_recorded_time_is_known_when_it_occurred(live, recorded, expected):
    asked = rows(engagement_events__recorded_at=recorded)
    assert live.snapshot(asked, "a", NOW)["page_view_count_30d"] == expected
    asked = rows(leads__recorded_at=[None])
    assert live.snapshot(asked, "a", NOW)["lead_age_days"] == 40


def test_a_text_where_a_number_belongs_is_missing_and_in_no_error(live) -> None:
    found = live.snapshot(rows(leads__seats=["call Bob 555"]), "a", NOW)
    assert math.isnan(found["seats"])


def test_a_table_that_was_not_sent_is_unknown_and_an_empty_one_is_empty(live) -> None:
    asked = rows()
    del asked["opportunities"]
    assert math.isnan(live.snapshot(asked, "a", NOW)["open_opportunities"])
    empty = rows(
        opportunities__opportunity_id=[],
        opportunities__lead_id=[],
        opportunities__created_at=[],
        opportunities__stage=[],
    )
    assert live.snapshot(empty, "a", NOW)["open_opportunities"] == 0


@pytest.mark.parametrize("distinct", [1, 254, 255, 256, 300])
def test_texts_have_the_codes_they_come_in_however_many(distinct):
    texts = [None, *(f"page {number}" for number in range(distinct)), None, "page 0"]
    found = _coded(texts, _numbered())
    assert found.tolist() == [-1, *range(distinct), -1, 0]
