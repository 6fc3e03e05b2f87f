"""Requests that are scored together get what each gets alone, to the bit."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from live_requests import DAY, POPULATION, body_at, drawn, live, snapshots
from small_crm import small_config, small_tables

from features.catalogue.catalogue import build_catalogue
from features.facts.histories import micros
from features.live import LiveSnapshots
from features.request_tables import likeness, own_id, plain_id, together
from serving.ledger.packing import previous_of_record
from serving.live.answers import Answer
from serving.live.requests import RequestError, parse_request

LATEST = int(micros(snapshots()["as_of"]).max())
NOW = LATEST


def parsed(bodies):
    return [parse_request(json.dumps(body).encode(), NOW) for body in bodies]


def told(answer: Answer | RequestError) -> Any:
    """All of an answer but the ids that are new each time."""
    if isinstance(answer, RequestError):
        return answer.problems
    found = json.loads(answer.to_json())
    for result in found["results"]:
        del result["score_id"]
    arrays = [
        [array.tobytes() for array in (record.numbers, record.log_odds, record.points)]
        for record in answer.records
    ]
    kept = [(r.account_id, r.categories, r.timeline, r.recycled_at) for r in answer.records]
    return found, arrays, kept, answer.places


def alone(model, requests, previous, older=lambda version: None):
    found = []
    for request in requests:
        try:
            found.append(model.score(request, NOW, previous, older))
        except RequestError as error:
            found.append(error)
    return found


def assert_same(model, bodies, previous=None, older=lambda version: None):
    """Return the answers, which are the same alone and together."""
    expected = alone(model, parsed(bodies), previous or {}, older)
    found = model.score_together(parsed(bodies), NOW, previous or {}, older)
    assert [told(one) for one in found] == [told(one) for one in expected]
    return found


def bodies_of_accounts() -> list[dict[str, Any]]:
    """Requests as of one instant, several of them about leads of one account."""
    return json.loads(_bodies_of_accounts())


@cache
def _bodies_of_accounts() -> str:
    rows = snapshots()[micros(snapshots()["as_of"]) == LATEST]
    shared = rows.groupby("account_id")["lead_id"].transform("size").sort_values(ascending=False)
    leads = rows["lead_id"].loc[shared.index[:24]].tolist()
    leads += [lead for lead, at in drawn(60) if at == LATEST and lead not in leads]
    return json.dumps([body_at(lead, LATEST, reasons="all") for lead in leads])


def test_leads_of_one_account_are_nothing_to_one_another():
    bodies = bodies_of_accounts()
    accounts = [row["account_id"] for b in bodies for row in b["tables"]["leads"][:1]]
    assert len(bodies) > 30 and len({*accounts}) < len(accounts)
    found = assert_same(live(), bodies)
    assert sum(len(one.records) for one in found) == len(bodies)
    # what one request says of an account, another need not say
    first = told(found[1])
    bodies[0]["tables"]["engagement_events"] = bodies[0]["tables"]["accounts"] = []
    found = assert_same(live(), bodies[:2])
    assert told(found[1]) == first


def test_what_changed_is_told_of_each_lead_against_its_own_last_score():
    bodies = bodies_of_accounts()[:12]
    older = live(3, "old")
    previous = {}
    for place, request in enumerate(parsed(bodies)):
        model = (live(), older)[place % 2]
        request.as_of = LATEST - (1 + place**2 * 8) * DAY // 24
        for record in model.score(request, NOW, {}, lambda version: None).records:
            previous[record.lead_id] = previous_of_record(record)
    for body in bodies[::3]:
        body["tables"]["engagement_events"] += [
            {
                "lead_id": body["lead_ids"][0],
                "event_type": "demo_request",
                "occurred_at": str(np.datetime64(LATEST - DAY, "us")) + "Z",
            }
        ]
    found = assert_same(live(), bodies, previous, {"old": older}.get)
    changes = [record.change for one in found for record in one.records]
    assert sum(one is not None for one in changes) > 8
    texts = {part["what"]: part["points"] for one in changes if one for part in one["parts"]}
    assert texts.keys() == {"fields", "time", "new events", "model version"}


def without(body, *tables, **changed):
    kept = {name: rows for name, rows in body["tables"].items() if name not in tables}
    return {**body, **changed, "tables": kept}


def test_requests_that_lack_something_or_are_wrong_stand_beside_others():
    a, b, c, d, e, f, g, h, j = bodies_of_accounts()[:9]
    for row in d["tables"]["leads"]:
        row.pop("recorded_at", None)
    f["tables"]["leads"][0]["created_at"] = "soon"
    for row in g["tables"]["engagement_events"]:
        for name in ("channel", "value", "recorded_at"):
            row.pop(name, None)
    bodies = [
        a,
        without(b, "opportunities"),
        without(c, "accounts", "engagement_events", require_complete=True),
        d,
        {**e, "as_of": "2025-08-20T00:00:00Z"},
        f,
        g,
        {"tables": {"leads": [{"lead_id": "flat", "source": "website"}]}},
        {**h, "crossing": True, "reasons": 2},
        without(j, "opportunities"),
    ]
    found = assert_same(live(), bodies)
    assert [isinstance(one, RequestError) for one in found].count(True) == 2
    kinds = {likeness(live().view(one)[0].tables) for one in parsed(bodies[:7])}
    assert len(kinds) == 4
    assert sum(not one.records for one in found if isinstance(one, Answer)) >= 1


def test_a_domain_that_makes_accounts_makes_one_for_each_request():
    population = POPULATION.model_copy(update={"account_from": "email_domain"})
    tables = small_tables()
    domains = tables.leads["lead_id"].str[-1] + ".example"
    tables = replace(tables, leads=tables.leads.assign(email_domain=domains))
    config = small_config().features.model_copy(update={"windows_days": (7, 30)})
    catalogue = build_catalogue(tables, config, tables.data_until, population)
    assert catalogue.account_from == "email_domain"
    path = LiveSnapshots.of(catalogue)
    lead = {"created_at": 0, "email_domain": "Acme.example", "merged_into": None}
    event = {"event_type": "page_view", "occurred_at": NOW - DAY}
    parts = [
        {
            "leads": columns([{"lead_id": one, **lead}, {"lead_id": "same", **lead}]),
            "engagement_events": columns([{"lead_id": one, **event}] * n),
            "accounts": columns([{"account_id": "acme.example"}]),
        }
        for n, one in enumerate(("x", "same", "z"), start=1)
    ]
    common = path.past(*parts)
    people = common.columns.people
    assert {*map(plain_id, people.account_ids)} == {"acme.example"} and len(people.account_ids) == 3
    for part, tables_of_one in enumerate(parts):
        [lead_id] = {*tables_of_one["engagement_events"]["lead_id"]}
        expected = path.past(tables_of_one)
        ids = expected.columns.people.lead_ids
        numbers, texts = expected.features(np.array([ids.index(lead_id)]), np.array([NOW]))
        code = people.lead_ids.index(own_id(part, lead_id))
        beside, others = common.features(np.array([code]), np.array([NOW]))
        assert beside.tobytes() == numbers.tobytes() and others == texts


def columns(rows):
    return {name: [row[name] for row in rows] for name in rows[0]}


def test_tables_that_differ_in_what_is_unknown_are_not_put_together():
    leads = {"leads": {"lead_id": ["a"], "account_id": ["X"], "created_at": [0]}}
    dated = {"leads": {**leads["leads"], "recorded_at": [0]}}
    with pytest.raises(ValueError, match="not put together"):
        together([leads, dated])
    with pytest.raises(ValueError, match="not put together"):
        together([leads, {**leads, "accounts": {"account_id": []}}])
    found = together([dated, {"leads": {**dated["leads"], "account_id": [None], "seats": [3]}}])
    assert found["leads"]["lead_id"] == ["0000a", "0001a"]
    assert found["leads"]["account_id"] == ["0000X", None] and found["leads"]["seats"] == [None, 3]


def test_nothing_asked_is_nothing_answered():
    assert live().score_together([], NOW, {}, lambda version: None) == []
