"""Whose opportunities are, from when that is known, and what was known of them."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import Reference
from tables_builder import crm, day, examples, tables_of

from features.facts.active_leads import active_leads
from features.facts.columns import Columns, links_of
from features.facts.deal_facts import OwnedOpportunities
from features.facts.deals import Links, asks_events, link, opportunity_accounts
from features.facts.histories import ALWAYS, DAY, NEVER, History, Int64s
from features.facts.identity import Merges, People, people_of
from features.facts.records import ContactRows, OpportunityRows, records_of

random_tables = settings(examples, max_examples=300)


def known_by_account(rows: dict) -> dict:
    """Return `rows` with all opportunities on one account, naming no lead but late contacts."""
    opportunities = [{**row, "lead_id": None, "account_id": "X"} for row in rows["opportunities"]]
    listed = [{**row, "recorded_at": row["recorded_at"] + 8} for row in rows["opportunity_leads"]]
    return {**rows, "opportunities": opportunities, "opportunity_leads": listed[:1]}


deal_tables = given(
    rows=st.one_of(crm(), crm().map(known_by_account)),
    days=st.sampled_from([1, 5, 90]),
    account_from=st.sampled_from(["account_id", "email_domain"]),
    half_days=st.lists(st.integers(0, 90), min_size=5, max_size=5),
)


def micros(days: float) -> int:
    return int(day(days).as_unit("us").asm8.view("int64"))


@examples
@deal_tables
def test_whose_opportunities_are_equals_the_slow_reference(
    rows, days, account_from, half_days
) -> None:
    tables = tables_of(**rows)
    reference = Reference(tables, account_from, days)
    records = records_of(tables, account_from)
    people = people_of(records.lead_ids, records.account_ids, records.leads)
    links = links_of(records, people, days)
    owned = opportunity_accounts(records.opportunities, links, people, account_from)
    assert (links.known_at < links.until).all()
    assert (owned.known_at < owned.until).all()
    for as_of in [micros(half / 2) for half in half_days]:
        for found, ids, expected in (
            (links, people.lead_ids, reference.links),
            (owned, people.account_ids, reference.accounts_of),
        ):
            columns = zip(*(column.tolist() for column in found), strict=True)
            now = [
                (row, ids[owner], known_at)
                for row, owner, known_at, until in columns
                if known_at < as_of <= until
            ]
            assert sorted(now) == sorted(
                (row, owner, known_at)
                for row, opportunity in enumerate(reference.opportunities)
                for owner, known_at in expected(opportunity, as_of).items()
                if known_at < as_of
            )


@examples
@deal_tables
def test_what_is_known_of_opportunities_equals_the_slow_reference(
    rows, days, account_from, half_days
) -> None:
    tables = tables_of(**rows)
    reference = Reference(tables, account_from, days)
    columns = Columns.of(records_of(tables, account_from), account_from, days)
    for as_of in [micros(half / 2) for half in half_days]:
        for owned, ids, of_account in (
            (columns.by_lead, columns.people.lead_ids, False),
            (columns.by_account, columns.people.account_ids, True),
        ):
            facts = owned.at(np.arange(len(ids)), np.full(len(ids), as_of))
            found = np.column_stack(facts).tolist()
            for owner, row in zip(ids, found, strict=True):
                deals = reference.known_opportunities(owner, as_of, of_account)
                assert row == expected_facts(deals), owner


def expected_facts(deals: list[dict]) -> list[int]:
    def newest(column: str, stages: set[str]) -> int:
        return max((deal[column] for deal in deals if deal["now"] in stages), default=ALWAYS)

    stages = [deal["now"] for deal in deals]
    return [
        stages.count("open"),
        stages.count("closed_lost"),
        stages.count("closed_won"),
        newest("created_at", {"open", "closed_lost", "closed_won"}),
        newest("closed_at", {"closed_lost"}),
        newest("closed_at", {"closed_won"}),
    ]


@random_tables
@given(seed=st.integers(0, 10**6))
def test_active_leads_are_those_of_a_look_at_every_event(seed) -> None:
    rng = np.random.default_rng(seed)
    n_deals, n_events, window = rng.integers(0, 6), rng.integers(0, 12), 5
    created, accounts = rng.integers(0, 15, n_deals), rng.integers(-1, 2, n_deals)
    leads, occurred = rng.integers(0, 2, n_events), rng.integers(0, 15, n_events)
    belongs, visible = rng.integers(-1, 2, n_events), occurred + rng.integers(0, 9, n_events)
    expected: dict[tuple[int, int], int] = {}
    for deal, event in itertools.product(range(n_deals), range(n_events)):
        is_inside = created[deal] - window <= occurred[event] < created[deal]
        if is_inside and accounts[deal] == belongs[event] >= 0:
            pair = (deal, leads[event])
            expected[pair] = min(visible[event], expected.get(pair, NEVER))
    found: dict[tuple[int, int], int] = {}
    active = active_leads(created, accounts, leads, occurred, belongs, visible, 2, 2, window)
    for deal, lead, since in zip(*active, strict=True):
        found[deal, lead] = min(since, found.get((deal, lead), NEVER))
    assert found == expected


@random_tables
@given(seed=st.integers(0, 10**6))
def test_facts_are_those_of_a_look_at_every_opportunity(seed) -> None:
    rng = np.random.default_rng(seed)
    n_deals, n_owners = rng.integers(0, 7), 3
    created, closed = rng.integers(0, 9, n_deals), rng.integers(0, 15, n_deals)
    closed[rng.random(n_deals) < 0.3] = NEVER
    is_won = (closed < NEVER) & (rng.random(n_deals) < 0.5)
    nobody = np.full(n_deals, -1)
    rows = OpportunityRows(created, created, closed, closed, is_won, nobody, nobody)
    known_at = created + rng.integers(0, 4, n_deals)
    until = known_at + rng.integers(1, 9, n_deals)
    until[rng.random(n_deals) < 0.4] = NEVER
    owners = rng.integers(0, n_owners, n_deals)
    links = Links(np.arange(n_deals), owners, known_at, until)
    asked = np.tile(np.arange(-1, n_owners), 25)
    instants = np.repeat(np.arange(25), n_owners + 1)
    facts = np.column_stack(OwnedOpportunities.of_leads(rows, links, n_owners).at(asked, instants))
    for found, owner, as_of in zip(facts.tolist(), asked, instants, strict=True):
        known = np.flatnonzero((owners == owner) & (known_at < as_of) & (as_of <= until))
        stages = np.where(closed >= as_of, "open", np.where(is_won, "closed_won", "closed_lost"))
        deals = [
            {"now": stages[n], "created_at": int(created[n]), "closed_at": int(closed[n])}
            for n in known
        ]
        assert found == expected_facts(deals)


def people(accounts: Int64s, merges: Merges | None = None) -> People:
    """Return leads that were always known, on `accounts`."""
    leads = np.arange(len(accounts))
    nothing = np.empty(0, np.int64)
    return People(
        lead_ids=[f"lead {n}" for n in leads],
        account_ids=[f"account {n}" for n in range(accounts.max(initial=-1) + 1)],
        created=np.zeros(len(accounts), np.int64),
        recorded=np.zeros(len(accounts), np.int64),
        accounts=History.of(leads, len(accounts), np.full(len(accounts), ALWAYS), accounts),
        merges=merges or Merges(nothing, nothing, nothing),
    )


def open_opportunities(created: Int64s, leads: Int64s, accounts: Int64s) -> OpportunityRows:
    never = np.full(len(created), NEVER)
    is_won = np.zeros(len(created), dtype=bool)
    return OpportunityRows(created, created, never, never, is_won, leads, accounts)


def contacts(*rows: tuple[int, int, int]) -> ContactRows:
    """Return rows of opportunity, lead and recorded instant."""
    return ContactRows(*np.array(rows, np.int64).reshape(-1, 3).T.copy())


@pytest.mark.parametrize(
    ("lead", "account", "contact", "expected", "why"),
    [
        (-1, 0, None, True, "nothing but its account"),
        (0, 0, None, False, "it names its lead"),
        (-2, 0, None, False, "it names a lead, though nobody knows that one"),
        (-1, -1, None, False, "it names nothing"),
        (-1, 0, 50, False, "its contact was recorded when it was"),
        (-1, 0, 40, False, "its contact was recorded before it was"),
        (-1, 0, 51, True, "before its contact was recorded, only the account was known"),
    ],
)
def test_events_are_read_only_for_opportunities_known_by_account(
    lead, account, contact, expected, why
) -> None:
    rows = open_opportunities(np.array([50]), np.array([lead]), np.array([account]))
    named = contacts() if contact is None else contacts((0, -1, contact))
    assert asks_events(rows, named) == expected, why


def test_contacts_recorded_late_take_the_opportunity_from_the_active_leads() -> None:
    tables = tables_of(
        leads=[
            {"lead_id": name, "created_at": 0, "account_id": "X"} for name in ("active", "contact")
        ],
        engagement_events=[{"lead_id": "active", "event_type": "call", "occurred_at": 2}],
        opportunities=[
            {"opportunity_id": "1", "stage": "open", "created_at": 3, "lead_id": "active"},
            {
                "opportunity_id": "2",
                "stage": "closed_lost",
                "created_at": 5,
                "closed_at": 7,
                "account_id": "X",
            },
        ],
        opportunity_leads=[{"opportunity_id": "2", "lead_id": "contact", "recorded_at": 9}],
    )
    owned = Columns.of(records_of(tables), "account_id", 90).by_lead

    def known(lead: int, at: float) -> tuple[int, ...]:
        facts = owned.at(np.array([lead]), np.array([micros(at)]))
        return (facts.open[0], facts.lost[0], facts.created[0], facts.lost_at[0])

    assert known(0, 6) == (2, 0, micros(5), ALWAYS)
    assert known(0, 9) == (1, 1, micros(5), micros(7)), "recorded at that instant: not known"
    assert known(0, 9.5) == (1, 0, micros(3), ALWAYS)
    assert known(1, 9) == (0, 0, ALWAYS, ALWAYS)
    assert known(1, 9.5) == (0, 1, micros(5), micros(7))


def test_merges_in_a_circle_are_one_person() -> None:
    # The loader ignores circles; a caller who brings one still gets an answer.
    circle = Merges(np.array([0, 1, 2]), np.array([1, 2, 0]), np.array([60, 70, 80]))
    rows = open_opportunities(np.array([50]), np.array([0]), np.array([-1]))
    nothing = np.empty(0, np.int64)
    links = link(
        rows, contacts(), nothing, nothing, nothing, nothing, people(np.zeros(4, int), circle), 90
    )
    assert dict(zip(links.leads.tolist(), links.known_at.tolist(), strict=True)) == {
        0: 50,
        1: 60,
        2: 70,  # by way of 1; straight from 0 only at 80
    }


def test_whoever_is_merged_with_several_contacts_is_known_with_the_first() -> None:
    # 3 into 0 into 1, and 2 into 1: the contact 0 is met first, but 2 was recorded before.
    merges = Merges(np.array([0, 2, 3]), np.array([1, 1, 0]), np.array([10, 10, 10]))
    rows = open_opportunities(np.array([50]), np.array([-1]), np.array([-1]))
    named = contacts((0, 0, 100), (0, 2, 60))
    nothing = np.empty(0, np.int64)
    everyone = people(np.zeros(4, int), merges)
    links = link(rows, named, nothing, nothing, nothing, nothing, everyone, 90)
    assert sorted(links.leads.tolist()) == [0, 1, 2, 3]
    assert links.known_at.tolist() == [60] * 4


def seconds_of(n_accounts: int, n_deals: int = 20_000, n_events: int = 200_000) -> float:
    """Return how long the road takes with deals and events spread over accounts of one lead."""
    rng = np.random.default_rng(0)
    everyone = people(np.arange(n_accounts))
    created = rng.integers(0, 700 * DAY, n_deals)
    rows = open_opportunities(created, np.full(n_deals, -1), rng.integers(0, n_accounts, n_deals))
    occurred, leads = rng.integers(0, 700 * DAY, n_events), rng.integers(0, n_accounts, n_events)
    start = time.process_time()
    links = link(rows, contacts(), leads, occurred, leads, occurred, everyone, 90)
    owned = opportunity_accounts(rows, links, everyone, "account_id")
    for facts in (
        OwnedOpportunities.of_leads(rows, links, n_accounts).at(leads, occurred),
        OwnedOpportunities.of_accounts(rows, owned, n_accounts).at(leads, occurred),
    ):
        assert facts.open.max() > 0
    return time.process_time() - start


def test_an_account_that_holds_everything_costs_little_more_than_many() -> None:
    # CRMs keep such accounts ("unknown company"); pairing all with all would take 100 times longer.
    seconds_of(10, n_deals=100, n_events=100)  # compiles
    assert seconds_of(1) < 10 * seconds_of(1000) + 0.1
