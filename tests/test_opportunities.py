"""Which leads an opportunity labels."""

from __future__ import annotations

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from reference import Reference
from tables_builder import crm, day, examples, tables_of

from features.facts.opportunities import attribute, unattributed

WON = {"opportunity_id": "o", "stage": "closed_won", "created_at": 10, "closed_at": 20}


def lead(lead_id: str, account: str | None = None, **more) -> dict[str, object]:
    return {"lead_id": lead_id, "created_at": 0, "account_id": account, **more}


def call(lead_id: str, occurred: float, recorded: float | None = None) -> dict[str, object]:
    return {
        "lead_id": lead_id,
        "event_type": "call",
        "occurred_at": occurred,
        "recorded_at": recorded,
    }


def labelled(days: int = 5, **rows) -> dict[str, pd.Timestamp]:
    found = attribute(tables_of(**rows), days)
    return dict(zip(found["lead_id"], found["known_at"], strict=True))


@examples
@given(rows=crm(), days=st.sampled_from([5, 90]))
def test_attribution_equals_the_slow_reference(rows, days) -> None:
    tables = tables_of(**rows)
    reference = Reference(tables, days=days)
    expected = {
        (opportunity["opportunity_id"], lead): known
        for opportunity in reference.opportunities
        for lead, known in reference.links(opportunity).items()
    }
    found = attribute(tables, days)
    known = found["known_at"].to_numpy().view("int64")
    pairs = zip(found["opportunity_id"], found["lead_id"], strict=True)
    assert dict(zip(pairs, known.tolist(), strict=True)) == expected
    assert len(found) == len(expected)
    named = set(unattributed(tables, days)["opportunity_id"])
    everyone = {opportunity["opportunity_id"] for opportunity in reference.opportunities}
    assert named == everyone - {opportunity for opportunity, _ in expected}


def test_its_lead_comes_before_contacts_and_contacts_before_the_account() -> None:
    rows = {
        "leads": [lead("a", "X"), lead("b", "X"), lead("c", "X")],
        "engagement_events": [call("c", 9)],
        "opportunity_leads": [{"opportunity_id": "o", "lead_id": "b", "recorded_at": 12}],
    }
    assert labelled(**rows, opportunities=[{**WON, "lead_id": "a"}]) == {"a": day(10)}
    assert labelled(**rows, opportunities=[{**WON, "account_id": "X"}]) == {"b": day(12)}
    del rows["opportunity_leads"]
    assert labelled(**rows, opportunities=[{**WON, "account_id": "X"}]) == {"c": day(10)}


def test_the_account_labels_leads_active_before_the_opportunity() -> None:
    rows = {
        "leads": [lead(name, "X") for name in "abcde"] + [lead("f", "Y")],
        "engagement_events": [
            call("a", 5),  # exactly attribution_days before: inside
            call("b", 4.9),  # before that
            call("c", 10),  # exactly at the creation: after it
            call("d", 9, recorded=15),  # known late
            call("f", 9),  # of another account
        ],
    }
    found = labelled(**rows, opportunities=[{**WON, "account_id": "X"}])
    assert found == {"a": day(10), "d": day(15)}


def test_an_event_belongs_to_the_account_its_lead_had_then() -> None:
    rows = {
        "leads": [lead("a", "X"), lead("a", "Y", recorded_at=8)],
        "engagement_events": [call("a", 7)],
    }
    assert labelled(**rows, opportunities=[{**WON, "account_id": "X"}]) == {"a": day(10)}
    assert labelled(**rows, opportunities=[{**WON, "account_id": "Y"}]) == {}


def test_leads_merged_before_the_closing_are_labelled_together() -> None:
    def merged(recorded: float) -> list[dict[str, object]]:
        return [lead("a"), lead("b"), lead("b", recorded_at=recorded, merged_into="a")]

    to_survivor, to_gone = [{**WON, "lead_id": "a"}], [{**WON, "lead_id": "b"}]
    both = {"a": day(12), "b": day(10)}
    assert labelled(leads=merged(12), opportunities=to_gone) == both
    assert labelled(leads=merged(12), opportunities=to_survivor) == {"a": day(10), "b": day(12)}
    assert labelled(leads=merged(20), opportunities=to_survivor) == {"a": day(10)}


def test_opportunities_that_label_nobody_are_named_with_the_reason() -> None:
    opportunities = [
        {**WON, "opportunity_id": "1"},
        {**WON, "opportunity_id": "2", "lead_id": "nobody"},
        {**WON, "opportunity_id": "3", "account_id": "X"},
        {**WON, "opportunity_id": "4", "account_id": "X"},
        {**WON, "opportunity_id": "5", "lead_id": "a"},
    ]
    tables = tables_of(
        leads=[lead("a", "X")],
        opportunities=opportunities,
        opportunity_leads=[{"opportunity_id": "4", "lead_id": "nobody"}],
    )
    found = unattributed(tables, 90)
    assert found["opportunity_id"].tolist() == ["1", "2", "3", "4"]
    assert found["reason"].tolist() == [
        "names no lead and no account",
        "its lead is not in leads",
        "no lead of its account had an event in the 90 days before",
        "none of its opportunity_leads is in leads",
    ]
