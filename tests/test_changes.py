"""What changed since the last score adds up, and each part is what its name says."""

from __future__ import annotations

import json

import numpy as np
import pytest
from live_requests import DAY, body_at, drawn, live, rows_at
from test_live_scores import NOON, answer, small_body

from features.live import LiveSnapshots
from serving.ledger.records import PreviousScore
from serving.live.earlier import earlier

WHATS = ["fields", "time", "new events", "model version"]


def as_previous(record):
    return PreviousScore(
        record.score_id,
        record.as_of,
        record.model_version,
        record.probability,
        record.raw_score,
        record.numbers,
        record.categories,
        record.log_odds,
    )


def change_of(before, after, now=NOON, model=None, older=lambda version: None):
    """Return the record of now, compared with the score of `before` four days ago."""
    then = as_previous(answer(before, now=now - 4 * DAY).records[0])
    [record] = answer(after, now=now, previous={"a": then}, model=model, older=older).records
    return record, record.change


def parts_of(change):
    assert [part["what"] for part in change["parts"]] == WHATS
    return {part["what"]: part["points"] for part in change["parts"]}


def early_body(**changed):
    """What was known four days earlier."""
    leads = [small_body()["tables"]["leads"][0] | {"created_at": "2026-04-20T09:00:00Z"}]
    events = [{"lead_id": "a", "event_type": "page_view", "occurred_at": "2026-04-29T10:00:00Z"}]
    return small_body(**{"leads": leads, "engagement_events": events, **changed})


def test_the_parts_add_up_for_leads_of_the_crm():
    told = 0
    for lead, as_of in drawn(20, seed=1):
        later = as_of + 28 * DAY
        then = as_previous(answer(body_at(lead, as_of)).records[0])
        found = answer(body_at(lead, later), previous={lead: then})
        if not found.records:  # it has left the population since
            continue
        [record] = found.records
        points = parts_of(record.change)
        assert sum(points.values()) == pytest.approx(
            record.probability - then.probability, abs=1e-12
        )
        assert record.change["points"] == record.probability - then.probability
        assert points["model version"] == 0
        json.dumps(record.change, allow_nan=False)
        told += 1
    assert told > 10


def test_nothing_changes_where_nothing_did():
    body = early_body()
    then = answer(body, now=NOON).records[0]
    [record] = answer(body, now=NOON, previous={"a": as_previous(then)}).records
    assert set(parts_of(record.change).values()) == {0}
    assert record.change["text"] == "Unchanged since 4 May 2026"


def test_time_alone_is_told_as_time():
    _, change = change_of(early_body(), early_body())
    points = parts_of(change)
    assert points["fields"] == points["new events"] == points["model version"] == 0
    assert points["time"] == pytest.approx(change["points"], abs=1e-15)


def test_a_new_event_is_told_as_new_events_and_what_was_there_as_time():
    after = early_body()
    after["tables"]["engagement_events"] += [
        {"lead_id": "a", "event_type": "demo_request", "occurred_at": "2026-05-04T11:00:00Z"}
    ]
    _, quiet = change_of(early_body(), early_body())
    record, change = change_of(early_body(), after)
    points = parts_of(change)
    assert points["fields"] == 0
    assert points["time"] == pytest.approx(parts_of(quiet)["time"], abs=1e-15)
    assert points["new events"] == pytest.approx(
        record.probability - answer(early_body(), now=NOON).records[0].probability, abs=1e-15
    )


@pytest.mark.parametrize("is_dated", [False, True])
def test_a_new_attribute_is_told_as_fields_whenever_it_was_recorded(is_dated):
    row = early_body()["tables"]["leads"][0] | {"source": "website"}
    before, renewed = row | {"source": "event"}, row
    rows = [renewed]
    if is_dated:  # after the last score
        rows = [before | {"recorded_at": row["created_at"]},
                renewed | {"recorded_at": "2026-05-04T08:00:00Z"}]  # fmt: skip
    _, change = change_of(early_body(leads=[before]), early_body(leads=rows))
    then = answer(early_body(leads=[renewed]), now=NOON - 4 * DAY).records[0].probability
    points = parts_of(change)
    assert points["fields"] == pytest.approx(then - change["previous"]["probability"], abs=1e-15)
    assert abs(points["fields"]) > 0.001 and points["new events"] == 0


def test_a_row_that_came_late_is_new_and_no_field():
    after = early_body()
    after["tables"]["engagement_events"] += [
        {"lead_id": "a", "event_type": "demo_request", "occurred_at": "2026-04-28T11:00:00Z"}
    ]
    _, change = change_of(early_body(), after)
    points = parts_of(change)
    assert points["fields"] == 0 and abs(points["new events"]) > 0.001
    assert change["parts"][0]["text"] == "No field changed"
    assert sum(points.values()) == pytest.approx(change["points"], abs=1e-12)


def test_a_table_left_out_is_told_as_such():
    _, change = change_of(early_body(), early_body(engagement_events=None))
    points = parts_of(change)
    assert points["fields"] == points["time"] == 0
    assert change["parts"][2]["text"] == "Engagement events were not in the request"


@pytest.mark.parametrize("is_dated", [False, True])
def test_another_account_is_told_as_fields(is_dated):
    row = early_body()["tables"]["leads"][0]
    colleague = row | {"lead_id": "b", "account_id": "Y"}
    account = early_body()["tables"]["accounts"][0]
    moved = [row | {"account_id": "Y"}]
    if is_dated:
        colleague |= {"recorded_at": row["created_at"]}
        moved = [row | {"recorded_at": row["created_at"]},
                 moved[0] | {"recorded_at": "2026-05-02T09:00:00Z"}]  # fmt: skip
        row = moved[0]
    events = early_body()["tables"]["engagement_events"] + [
        {"lead_id": "b", "event_type": "demo_request", "occurred_at": f"2026-04-2{n}T10:00:00Z"}
        for n in range(3, 9)
    ]
    accounts = [account, account | {"account_id": "Y", "employees": 9_000}]
    before = early_body(leads=[row, colleague], engagement_events=events, accounts=accounts)
    after = early_body(leads=[*moved, colleague], engagement_events=events, accounts=accounts)
    _, change = change_of(*({**body, "lead_ids": ["a"]} for body in (before, after)))
    points = parts_of(change)
    there = early_body(
        leads=[row | {"account_id": "Y"}, colleague], engagement_events=events, accounts=accounts
    )
    then = answer({**there, "lead_ids": ["a"]}, now=NOON - 4 * DAY).records[0].probability
    assert points["fields"] == pytest.approx(then - change["previous"]["probability"], abs=1e-15)
    assert abs(points["fields"]) > 1e-4 and points["new events"] == 0


def test_another_model_is_told_as_model_version():
    newer = live(seed=1, version="2")
    record, change = change_of(early_body(), early_body(), model=newer, older={"1": live()}.get)
    points = parts_of(change)
    old = answer(early_body(), now=NOON).records[0].probability
    assert points["model version"] == pytest.approx(record.probability - old, abs=1e-15)
    assert points["time"] == pytest.approx(old - change["previous"]["probability"], abs=1e-15)
    assert change["parts"][3]["text"] == "Model 2 took the place of model 1"


def test_where_the_old_model_is_gone_the_rest_is_the_model_versions():
    newer = live(seed=1, version="2")
    record, change = change_of(early_body(), early_body(), model=newer)
    points = parts_of(change)
    then = answer(early_body(), now=NOON - 4 * DAY, model=newer).records[0].probability
    assert points["fields"] == points["new events"] == 0
    assert points["time"] == pytest.approx(record.probability - then, abs=1e-15)
    assert sum(points.values()) == pytest.approx(change["points"], abs=1e-12)


def test_a_backfill_and_a_first_score_have_no_change():
    assert answer(early_body(), now=NOON).records[0].change is None
    then = as_previous(answer(early_body(), now=NOON - 4 * DAY).records[0])
    body = {**early_body(), "as_of": "2026-05-02T00:00:00Z"}
    assert answer(body, now=NOON, previous={"a": then}).records[0].change is None


def test_leads_of_one_request_change_as_each_does_alone():
    pairs = [pair for pair in drawn(40, seed=2) if pair[1] == drawn(40, seed=2)[0][1]][:8]
    later = pairs[0][1] + 14 * DAY
    bodies = {lead: body_at(lead, later) for lead, _ in pairs}
    previous, together = {}, {}
    for number, (lead, as_of) in enumerate(pairs):
        earlier_body = body_at(lead, as_of - number * DAY)
        if answer(earlier_body).records:
            previous[lead] = as_previous(answer(earlier_body).records[0])
        for name, rows in bodies[lead]["tables"].items():
            kept = together.setdefault(name, [])
            kept += [row for row in rows if row not in kept]
    first = bodies[pairs[0][0]]
    many = answer({**first, "lead_ids": [*bodies], "tables": together}, previous=previous)
    changes = {record.lead_id: record.change for record in many.records}
    assert sum(change is not None for change in changes.values()) > 3
    for lead, change in changes.items():
        [alone] = answer(bodies[lead], previous=previous).records
        assert alone.change == change


def test_rows_of_an_instant_are_those_the_kernel_sees_then():
    """The rows taken away are just those that a snapshot of then does not see."""
    recipe = LiveSnapshots.of(live().scorer.catalogue)
    compared = 0
    for lead, as_of in drawn(25, seed=3):
        rows = rows_at(lead, as_of + 60 * DAY)
        before = earlier(rows, as_of, lead)
        if before is None:
            continue
        seen, cut = (recipe.features(tables, [lead], as_of) for tables in (rows, before))
        assert np.array_equal(seen[0], cut[0], equal_nan=True) and seen[1] == cut[1]
        compared += 1
    assert compared > 10
