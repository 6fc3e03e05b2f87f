"""A request is read as a file would be, told by lead what is wrong, and never echoed."""

from __future__ import annotations

import json
import math

import pytest

from serving.live.cells import (
    CellError,
    read_category,
    read_id,
    read_instant,
    read_instants,
    read_number,
)
from serving.live.requests import Limits, RequestError, parse_request

NOW = 1_777_896_000_000_000  # 2026-05-04T12:00:00Z
LEAD = {"lead_id": "a", "created_at": "2026-05-01T09:00:00Z"}
SECRET = "Zanzibar-4711"


LIMITS = Limits()


def parse(body, limits=LIMITS):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_request(content, NOW, limits)


def tables(**named):
    return {"tables": {"leads": [LEAD], **named}}


def event(**columns):
    row = {"lead_id": "a", "event_type": "visit", "occurred_at": "2026-05-03T10:00:00Z"}
    return {name: cell for name, cell in (row | columns).items() if cell is not ...}


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-05-04T12:00:00Z", NOW),
        ("2026-05-04 12:00:00", NOW),  # without an offset: UTC
        ("2026-05-04T14:00:00+02:00", NOW),
        ("2026-05-04T14:00+02", NOW),
        ("2026-05-04T12:00:00.000001Z", NOW + 1),
        ("2026-05-04T12:00:00.0000019Z", NOW + 1),
        (" 2026-5-4 12:00 ", NOW),
        ("2026/05/04 12:00 UTC", NOW),
        ("2026-05-04", NOW - 43_200_000_000),
        ("2026-05-04 12:00:00.5Z", NOW + 500_000),
        ("", None),
        ("  ", None),
    ],
)
def test_an_instant_is_read_as_in_a_file(text, instant):
    assert read_instant(text) == instant


@pytest.mark.parametrize(
    "cell",
    [1777896000, 1777896000.0, True, "now", "15/07/16", "05-04-2026", "2026-W19-1", "20260504",
     "2026-05-04T12Z", "2026-05-04T120000Z", "2026-05-04 12", "2026-05-04Z", "2026-05-04T120000.5Z",
     "2026-05-04T25:00:00Z", "2026-02-30", "1970-01-01", "0001-01-01T00:00:00+14:00",
     "2026-05-04T12:00:00Z; drop table leads", "٢٠٢٦-05-04", [], {}],
)  # fmt: skip
def test_what_is_no_instant_is_an_error_without_the_cell(cell):
    with pytest.raises(CellError):
        read_instants([cell])
    with pytest.raises(CellError) as error:
        read_instant(cell)
    assert not isinstance(cell, str) or cell not in str(error.value)


@pytest.mark.parametrize(
    ("cell", "read", "value"),
    [
        (10803, read_id, "10803"),
        (10803.0, read_id, "10803"),
        ("10803.0", read_id, "10803"),
        ("v1.0", read_id, "v1.0"),
        ("\u00a0x \t", read_id, "x"),
        (" ", read_id, None),
        (True, read_category, "true"),
        ("TRUE", read_category, "true"),
        (0.5, read_category, "0.5"),
        ("12.5", read_number, 12.5),
        (True, read_number, 1.0),
        ("NaN", read_number, None),
    ],
)
def test_a_cell_is_read_as_in_a_file(cell, read, value):
    assert read(cell) == value


@pytest.mark.parametrize(
    ("cell", "read"),
    [
        (True, read_id),
        ("x" * 256, read_id),
        ("a\0b", read_id),
        (10**60, read_id),
        ([1], read_category),
        (math.inf, read_category),
        ("1_000", read_number),
        ("١٢", read_number),
        ("1,5", read_number),
        ("inf", read_number),
        (1e300, read_number),  # features are 32 bits wide
        (10**400, read_number),
        ({}, read_number),
    ],
)
def test_what_cannot_be_read_is_an_error(cell, read):
    with pytest.raises(CellError):
        read(cell)


HOSTILE = [
    b"",
    b"null",
    b"[]",
    b"NaN",
    b'{"tables": NaN}',
    b'{"tables": {"leads": [{"lead_id": Infinity}]}}',
    b'{"tables": {"leads": [{"lead_id": "\\ud800"}]}}',
    b'{"tables": {"leads": [{"lead_id": "\xff"}]}}',
    b'{"tables": {"leads": ' + b"[" * 5_000 + b"]" * 5_000 + b"}}",
    b"[" * 100_000,
    b'{"tables": {"leads": [{"lead_id": ' + b"9" * 5_000 + b"}]}}",
    b'\xef\xbb\xbf{"tables": {}}',
    {},
    {"tables": None},
    {"tables": []},
    {"tables": {}},
    {"tables": {"leads": []}},
    {"tables": {"leads": {}}},
    {"tables": {"leads": SECRET}},
    {"tables": {"leads": [LEAD], SECRET: []}},
    {"tables": {"leads": [LEAD], "verdicts": []}},
    {**tables(), SECRET: 1},
    {**tables(), "as_of": SECRET},
    {**tables(), "as_of": 1777896000},
    {**tables(), "as_of": "2026-05-04T12:05:01Z"},
    {**tables(), "as_of": "9999-12-31"},
    {**tables(), "reasons": 51},
    {**tables(), "reasons": -1},
    {**tables(), "reasons": True},
    {**tables(), "reasons": SECRET},
    {**tables(), "durable": 1},
    {**tables(), "lead_ids": []},
    {**tables(), "lead_ids": SECRET},
    {**tables(), "lead_ids": [SECRET]},
    {**tables(), "lead_ids": [[SECRET]]},
    {**tables(), "lead_ids": [None]},
    tables(engagement_events=[event(lead_id=None)]),
    tables(engagement_events=[event(lead_id=...)]),
    tables(engagement_events=[event(lead_id={"$ne": SECRET})]),
    tables(engagement_events=[SECRET]),
    tables(opportunities=[{"opportunity_id": SECRET, "stage": "open"}]),
    tables(accounts=[{"account_id": None, "name": SECRET}]),
]


@pytest.mark.parametrize("body", HOSTILE)
def test_a_request_that_cannot_be_answered_says_why_and_echoes_nothing(body):
    with pytest.raises(RequestError) as error:
        parse(body)
    assert error.value.problems
    for problem in error.value.problems:
        assert set(problem) == {"where", "problem"}
    assert SECRET not in str(error.value.problems)


@pytest.mark.parametrize(
    ("named", "where"),
    [
        ({"leads": [{**LEAD, "created_at": SECRET}]}, "leads[0].created_at"),
        ({"leads": [{**LEAD, "created_at": None}]}, "leads[0].created_at"),
        ({"leads": [{**LEAD, "created_at": "2026-05-04T12:05:01Z"}]}, "leads[0].created_at"),
        ({"leads": [{**LEAD, "recorded_at": "2099-01-01"}]}, "leads[0].recorded_at"),
        ({"leads": [{**LEAD, "lead_id": [SECRET]}]}, "leads[0].lead_id"),
        ({"leads": [{**LEAD, SECRET: {"a": 1}}]}, "leads[0]"),
        ({"leads": [{**LEAD, SECRET: "a\0b"}]}, "leads[0]"),
        ({"leads": [{**LEAD, SECRET: "x" * 10_001}]}, "leads[0]"),
        ({"leads": [{**LEAD, SECRET: 10**50}]}, "leads[0]"),
        ({"leads": [SECRET]}, "leads[0]"),
        ({"engagement_events": [event(), event(occurred_at=SECRET)]},
         "engagement_events[1].occurred_at"),
        ({"engagement_events": [event(occurred_at="2026-05-04T12:05:01Z")]},
         "engagement_events[0].occurred_at"),
        ({"engagement_events": [event(value=SECRET)]}, "engagement_events[0].value"),
        ({"engagement_events": [event(event_type="")]}, "engagement_events[0].event_type"),
        ({"stage_changes": [{"lead_id": "a", "stage": "mql"}]}, "stage_changes[0].changed_at"),
        ({"opportunities": [{"opportunity_id": "o", "lead_id": "a", "stage": SECRET,
                             "created_at": "2026-05-02"}]}, "opportunities[0].stage"),
        ({"opportunities": [{"opportunity_id": "o", "lead_id": "a", "stage": "Closed Won",
                             "created_at": "2026-05-02"}]}, "opportunities[0].closed_at"),
        ({"opportunities": [{"opportunity_id": "o", "lead_id": "a", "stage": "closed_lost",
                             "created_at": "2026-05-02", "closed_at": "2026-05-01"}]},
         "opportunities[0].closed_at"),
        ({"opportunities": [{"opportunity_id": "o", "stage": "x", "created_at": "2026-05-02"}],
          "opportunity_leads": [{"opportunity_id": "o", "lead_id": "a"}]},
         "opportunities[0].stage"),
        ({"leads": [{**LEAD, "account_id": "X"}], "accounts": [{"account_id": "X", "size": []}]},
         "accounts[0]"),
        ({"leads": [{**LEAD, "account_id": "X"}],
          "accounts": [{"account_id": "X", "size": 1}, {"account_id": "X", "size": 2}]},
         "accounts[1].account_id"),
    ],
)  # fmt: skip
def test_a_bad_row_is_an_error_of_the_lead_it_names(named, where):
    good = {"lead_id": "good", "created_at": "2026-05-01"}
    named = {"leads": [LEAD], **named}
    named["leads"] = [*named["leads"], good]
    found = parse({"tables": named})
    assert found.lead_ids == ["good"]
    [error] = found.slice.errors
    assert error["index"] == 0 and error["where"] == f"tables.{where}"
    assert SECRET not in str(error)


def test_a_body_of_1e999_gives_an_error_and_no_infinity():
    body = b'{"tables": {"leads": [{"lead_id": "a", "created_at": "2026-05-01", "seats": 1e999}]}}'
    [error] = parse(body).slice.errors
    assert error["problem"] == "an attribute is no finite number"


def test_the_second_of_two_rows_of_a_lead_is_an_error_unless_they_are_its_history():
    found = parse(tables(leads=[LEAD, {**LEAD, "source": "web"}]))
    assert found.lead_ids == ["a"] and [e["index"] for e in found.slice.errors] == [1]
    assert found.slice.tables["leads"].rows == [LEAD]
    found = parse(tables(leads=[LEAD, {**LEAD, "lead_id": " a", "source": ""}]))
    assert found.slice.tables["leads"].rows == [LEAD] and found.slice.errors == []
    history = [
        {**LEAD, "recorded_at": "2026-05-01T09:00:00Z"},
        {**LEAD, "recorded_at": "2026-05-02T09:00:00Z"},
    ]
    found = parse(tables(leads=history))
    assert found.lead_ids == ["a"] and found.slice.errors == []
    # without its own, a row is of its creation
    found = parse(tables(leads=[LEAD | {"source": "web"}, *history]))
    assert [e["index"] for e in found.slice.errors] == [1]


def test_of_the_same_event_twice_the_first_recorded_counts():
    events = [
        event(event_id=7, recorded_at="2026-05-03T12:00:00Z", value=2),
        event(event_id="7.0", recorded_at="2026-05-03T11:00:00Z", value=1),
        event(),
        event(),
    ]
    columns = parse(tables(engagement_events=events)).slice.tables["engagement_events"].columns
    assert columns["value"] == [1, None, None]
    # recorded before it happened is recorded when it happened; a bad row stands for nothing
    events = [
        event(event_id=7, recorded_at="2026-05-03T09:00:00Z", value=2),
        event(event_id=7, recorded_at="2026-05-03T10:00:00Z", value=1),
        event(event_id=7, lead_id="z", event_type="", recorded_at="2026-05-03T10:00:00Z"),
    ]
    columns = parse(tables(engagement_events=events)).slice.tables["engagement_events"].columns
    assert columns["value"] == [1]


def test_of_the_same_deal_twice_the_one_recorded_last_counts():
    row = {"opportunity_id": "o", "lead_id": "a", "created_at": "2026-05-01T10:00:00Z"}
    lost = {**row, "stage": "closed_lost", "closed_at": "2026-05-02T10:00:00Z"}
    # a day is over, and recorded, at the next midnight
    deals = [
        {**row, "stage": "open", "recorded_at": "2026-05-02T12:00:00Z"},
        {**lost, "recorded_at": "2026-05-02"},
    ]
    assert _stages(deals) == ["closed_lost"]
    # at once: the least by content in the contract's order, where closed_at comes before the owner
    later = {**lost, "closed_at": "2026-05-03T10:00:00Z", "lead_id": None, "account_id": "X"}
    leads = [{**LEAD, "account_id": "X"}]
    found = parse(tables(leads=leads, opportunities=[later, lost]))
    assert found.slice.tables["opportunities"].columns["lead_id"] == ["a"]


def _stages(deals):
    return parse(tables(opportunities=deals)).slice.tables["opportunities"].columns["stage"]


def test_an_account_sent_with_each_of_its_leads_is_one_account():
    row = {"account_id": "X", "industry": "software"}
    found = parse(tables(accounts=[row, {**row, "industry": " software", "size": None}]))
    assert len(found.slice.tables["accounts"].rows) == 1 and found.slice.errors == []


def test_a_day_is_over_and_known_at_the_next_midnight():
    found = parse(tables(engagement_events=[event(occurred_at="2026-05-03"), event()]))
    columns = found.slice.tables["engagement_events"].columns
    midnight = NOW - 43_200_000_000
    assert columns["occurred_at"][0] == midnight - 86_400_000_000
    assert columns["recorded_at"] == [midnight, None]


def test_a_closing_is_known_once_it_is_recorded():
    row = {"opportunity_id": "o", "lead_id": "a", "created_at": "2026-05-01T10:00:00Z"}
    lost = {**row, "stage": "closed_lost", "closed_at": "2026-05-02T10:00:00Z"}
    columns = parse(tables(opportunities=[lost])).slice.tables["opportunities"].columns
    assert columns["closed_recorded_at"] == columns["closed_at"]
    late = {**lost, "recorded_at": "2026-05-03T10:00:00Z"}
    columns = parse(tables(opportunities=[late])).slice.tables["opportunities"].columns
    assert columns["closed_recorded_at"] == columns["created_recorded_at"]
    assert columns["closed_recorded_at"][0] == columns["closed_at"][0] + 86_400_000_000


def test_a_deal_may_close_on_the_day_of_its_creation():
    row = {"opportunity_id": "o", "lead_id": "a", "created_at": "2026-05-02T10:00:00Z"}
    lost = {**row, "stage": "closed_lost", "closed_at": "2026-05-02"}
    assert parse(tables(opportunities=[lost])).slice.errors == []


@pytest.mark.parametrize(
    ("row", "kept"),
    [
        ({"email": "Ann@Example.com"}, {"email_domain": "example.com"}),
        ({"note": "mailto:ann@x.org"}, {"email_domain": "x.org"}),
        ({"alt": "a@y.com", "E-Mail": "a@x.com"}, {"email_domain": "x.com"}),
        ({"email": "a@x.com", "email_domain": "z.com"}, {"email_domain": "z.com"}),
        ({"email": None, "referrer": "a@x.com"}, {"email": None, "email_domain": None}),
        ({"mail": "yes", "work_email": "a@x.com"}, {"mail": "yes", "email_domain": "x.com"}),
        ({"handle": "@ann"}, {"handle": "@ann"}),
    ],
)  # fmt: skip
def test_of_an_address_only_the_domain_stays(row, kept):
    [found] = parse(tables(leads=[LEAD | row])).slice.tables["leads"].rows
    assert found == LEAD | kept


def test_columns_of_the_contract_are_known_in_any_case():
    rows = [{"Lead_ID": "a", "CREATED_AT": LEAD["created_at"], "Account_Id": "X", "Seats": 1}]
    found = parse(tables(leads=rows, stage_changes=[]))
    assert found.slice.tables["leads"].columns["account_id"] == ["X"]
    assert found.slice.tables["leads"].rows == [{**LEAD, "account_id": "X", "Seats": 1}]
    assert not parse({"tables": {"leads": rows}}).is_flat
    event_rows = [event(Recorded_At="2026-05-04T10:00:00Z")]
    columns = parse(tables(engagement_events=event_rows)).slice.tables["engagement_events"].columns
    assert columns["recorded_at"] == [NOW - 7_200_000_000]


def test_a_bad_row_is_set_aside_alone_and_told_to_those_it_may_concern():
    leads = [
        {**LEAD, "account_id": "X"},
        {**LEAD, "lead_id": "b", "account_id": "X"},
        {**LEAD, "lead_id": "c", "account_id": "Y", "created_at": "yesterday"},
        {**LEAD, "lead_id": "d", "account_id": "Y"},
        {**LEAD, "lead_id": "e", "merged_into": "c"},
        {**LEAD, "lead_id": "f", "account_id": "Z"},
    ]
    events = [event(lead_id="b"), event(lead_id="b", occurred_at=SECRET), event(lead_id="d")]
    found = parse(tables(leads=leads, engagement_events=events))
    assert found.lead_ids == ["a", "d", "f"]
    assert [(e["index"], e["where"]) for e in found.slice.errors] == [
        (1, "tables.engagement_events[1].occurred_at"),
        (2, "tables.leads[2].created_at"),
        (4, "tables.leads[4].merged_into"),
    ]
    assert found.slice.tables["engagement_events"].columns["lead_id"] == ["b", "d"]
    assert found.slice.tables["leads"].columns["lead_id"] == ["a", "b", "d", "e", "f"]
    partial = {lead: found.slice.partial.get(lead) for lead in found.lead_ids}
    assert partial == {"a": {"engagement_events"}, "d": {"leads"}, "f": None}
    # whose account a row has cannot be told where that is what is wrong with it
    leads[2] = {**leads[2], "account_id": []}
    assert parse(tables(leads=leads)).slice.partial["f"] == {"leads"}


def test_merges_that_lead_nowhere_are_ignored_and_into_a_lead_not_sent_are_errors():
    leads = [
        {**LEAD, "merged_into": "b"},
        {**LEAD, "lead_id": "b", "merged_into": "a"},
        {**LEAD, "lead_id": "c", "merged_into": "c"},
        {**LEAD, "lead_id": "d", "merged_into": "gone"},
        {**LEAD, "lead_id": "e", "merged_into": "d"},
    ]
    found = parse(tables(leads=leads))
    columns = found.slice.tables["leads"].columns
    assert columns["merged_into"] == [None, None, None, None, "d"]
    assert [e["where"] for e in found.slice.errors] == ["tables.leads[3].merged_into"]
    # of a history the newest row tells, for all of them
    history = [
        {**LEAD, "merged_into": "a", "recorded_at": "2026-05-03"},
        {**LEAD, "merged_into": "b", "recorded_at": "2026-05-02"},
        {**LEAD, "lead_id": "b", "recorded_at": "2026-05-02"},
    ]
    columns = parse(tables(leads=history)).slice.tables["leads"].columns
    assert columns["merged_into"] == [None, None, None]


def test_rows_about_leads_that_were_not_sent_are_ignored_even_bad_ones():
    found = parse(
        tables(
            engagement_events=[event(lead_id="z", occurred_at="2099-01-01")],
            stage_changes=[{"lead_id": "z", "stage": "mql", "changed_at": "2026-05-01"}],
        )
    )
    assert found.lead_ids == ["a"] and found.slice.errors == []
    assert found.slice.tables["stage_changes"].columns["lead_id"] == []


def test_as_of_is_just_after_the_newest_row_or_now():
    assert parse(tables(engagement_events=[event()])).as_of == NOW
    ahead = parse(tables(engagement_events=[event(occurred_at="2026-05-04T12:05:00Z")]))
    assert (ahead.as_of, ahead.is_backfill) == (NOW + 300_000_001, False)
    # the day of today is known tomorrow, which is no reason to score as of tomorrow
    assert parse(tables(engagement_events=[event(occurred_at="2026-05-04")])).as_of == NOW
    past = parse({**tables(), "as_of": "2026-05-02"})
    assert past.is_backfill and past.as_of == NOW - int(2.5 * 86_400_000_000)


def test_limits_hold():
    leads = [{**LEAD, "lead_id": n} for n in range(3)]
    assert parse(tables(leads=leads), Limits(max_leads=3, max_rows=3)).lead_ids == ["0", "1", "2"]
    with pytest.raises(RequestError, match="more than 2 leads"):
        parse(tables(leads=leads), Limits(max_leads=2))
    with pytest.raises(RequestError, match="more than 3 rows"):
        parse(tables(leads=leads, engagement_events=[event()]), Limits(max_rows=3))
    # colleagues may be sent without being scored
    found = parse({**tables(leads=leads), "lead_ids": [1.0]}, Limits(max_leads=1))
    assert found.lead_ids == ["1"]
    many = {**tables(leads=[{**LEAD, "lead_id": n} for n in range(21)]), "crossing": True}
    with pytest.raises(RequestError, match="at most 20"):
        parse(many)


def test_many_errors_of_one_lead_are_told_in_part():
    found = parse(tables(engagement_events=[event(value="x") for _ in range(1_000)]))
    assert found.lead_ids == [] and len(found.slice.errors) == 20
