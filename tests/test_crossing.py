"""What would carry a lead over the cutoff is what scoring it again with those events says."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from live_requests import POPULATION, live, scorer
from test_live_scores import NOON, answer, small_body

from models.cutoff import Cutoff, Estimate
from serving.live.crossing import event_types_ahead
from serving.live.live_scores import LiveScorer


def with_cutoff(value):
    cutoff = Cutoff("fixed", {"value": value}, value, evidence={"precision": Estimate(0.3)})
    return LiveScorer.of(replace(scorer(), cutoff=cutoff), "1", "digest", POPULATION)


def asked(model, body=None):
    body = {**(small_body() if body is None else body), "crossing": True}
    [record] = answer(body, now=NOON, model=model).records
    return record


def body_after(way):
    """The request with the events of a way, that have happened now."""
    body = small_body()
    body["tables"]["engagement_events"] += [
        {"lead_id": "a", "event_type": one["event_type"], "occurred_at": "2026-05-04T12:00:00Z"}
        for one in way["events"]
        for _ in range(one["count"])
    ]
    return body


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_way_over_the_cutoff_is_the_score_after_those_events(share):
    """The lead, scored again with the events, has the probability that was told."""
    now = answer(small_body(), now=NOON).records[0].probability
    best = max(_after({name: 1}) for name in event_types_ahead(scorer().catalogue))
    assert best > now
    found = asked(with_cutoff(now + share * (best - now))).crossing
    json.dumps(found, allow_nan=False)
    assert found["reached"] and 1 <= len(found["ways"]) <= 3
    told = [way["probability"] for way in found["ways"]]
    assert told == sorted(told, reverse=True)
    for way in found["ways"]:
        assert sum(one["count"] for one in way["events"]) == 1  # the smallest sets
        [record] = answer(body_after(way), now=NOON).records
        assert record.probability == way["probability"]
        assert way["text"].startswith("If it ")
    assert found["ways"][0]["probability"] == best
    assert "no promise" in found["text"]


def test_two_events_are_told_where_one_is_not_enough():
    types = event_types_ahead(scorer().catalogue)
    single = max(_after({name: 1}) for name in types)
    pairs = [{one: 1, two: 1} for one, two in combinations(types, 2)]
    double = max(_after(way) for way in [*pairs, *({name: 2} for name in types)])
    assert double > single
    found = asked(with_cutoff(double)).crossing
    assert found["reached"] and found["ways"][0]["probability"] == double
    for way in found["ways"]:
        assert sum(one["count"] for one in way["events"]) == 2


def _after(way):
    events = [{"event_type": name, "count": count} for name, count in way.items()]
    return answer(body_after({"events": events}), now=NOON).records[0].probability


def test_none_reaches_a_cutoff_out_of_reach():
    found = asked(with_cutoff(1.0)).crossing
    assert not found["reached"] and found["ways"] == [] and found["text"].startswith("None of")


def test_a_lead_over_the_cutoff_or_with_sales_is_told_so():
    assert asked(with_cutoff(0.0)).crossing["text"] == "The lead is over the cutoff already."
    changes = [{"lead_id": "a", "stage": "mql", "changed_at": "2026-05-03T00:00:00Z"}]
    found = asked(with_cutoff(0.0), small_body(stage_changes=changes)).crossing
    assert not found["reached"] and "with sales" in found["text"]
    found = asked(with_cutoff(1.0), small_body(engagement_events=None)).crossing
    assert not found["reached"] and "not in the request" in found["text"]


def test_trying_what_could_happen_changes_no_score():
    plain = answer(small_body(), now=NOON, model=live()).records[0]
    tried = asked(live())
    assert tried.probability == plain.probability
    assert np.array_equal(tried.numbers, plain.numbers, equal_nan=True)
    assert plain.crossing is None


def test_in_each_try_only_the_lead_does_something():
    """What is tried in one copy of the account is not seen by the leads of another."""
    lead = small_body()["tables"]["leads"][0]
    body = {**small_body(leads=[lead, {**lead, "lead_id": "b"}]), "lead_ids": ["a"]}
    now = answer(body, now=NOON).records[0].probability
    found = asked(with_cutoff(now + 1e-4), body).crossing
    assert found["ways"]
    for way in found["ways"]:
        after = {**body, "tables": {**body_after(way)["tables"], "leads": body["tables"]["leads"]}}
        assert answer(after, now=NOON).records[0].probability == way["probability"]


def test_no_way_is_what_speaks_against_a_lead():
    types = event_types_ahead(scorer().catalogue)
    assert "unsubscribed" not in types and "demo_request" in types
