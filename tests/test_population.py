"""Who is scored and who is eligible, against the reference and at the boundaries."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import Reference
from tables_builder import LEADS, crm, day, examples, tables_of

from features.config import PopulationConfig
from features.errors import InputError
from features.facts.population import standing
from features.snapshots import at_lead_age, lead_weeks, mondays

AS_OF = [day(step / 2) for step in range(0, 90, 3)]
populations = st.builds(
    PopulationConfig,
    customers=st.sampled_from(["exclude", "include"]),
    requalify_after_days=st.sampled_from([None, 3]),
    attribution_days=st.sampled_from([5, 90]),
    account_from=st.sampled_from(["account_id", "email_domain"]),
)


def pairs_of(leads: list[str], instants: list[pd.Timestamp]) -> pd.DataFrame:
    return pd.DataFrame(
        [(lead, as_of) for as_of in instants for lead in leads], columns=["lead_id", "as_of"]
    ).astype({"lead_id": "str", "as_of": "datetime64[us]"})


@examples
@given(rows=crm(), population=populations)
def test_standing_equals_the_slow_reference(rows, population) -> None:
    tables = tables_of(**rows)
    reference = Reference(tables, population.account_from, population.attribution_days)
    for row in standing(tables, population, pairs_of(LEADS, AS_OF)).to_dict("records"):
        as_of = int(row["as_of"].asm8.view("int64"))
        expected = reference.standing(row["lead_id"], as_of, population)
        assert (row["in_population"], row["is_eligible"]) == expected, row
        account = None if pd.isna(row["account_id"]) else row["account_id"]
        assert account == reference.account_at(row["lead_id"], as_of)


@examples
@given(rows=crm(), population=populations)
def test_lead_weeks_are_the_population_at_each_monday(rows, population) -> None:
    tables = tables_of(**rows)
    weeks = mondays(day(0), day(60))
    expected = standing(tables, population, pairs_of(LEADS, list(pd.to_datetime(weeks))))
    expected = expected[expected["in_population"]].reset_index(drop=True)
    index = lead_weeks(tables, population, weeks)
    assert list(index.columns) == ["lead_id", "account_id", "as_of", "is_eligible"]
    pd.testing.assert_frame_equal(index, expected[index.columns])


def one_lead(**rows) -> pd.DataFrame:
    tables = tables_of(
        leads=[{"lead_id": "a", "created_at": 0, "account_id": "X"}, *rows.pop("leads", [])], **rows
    )
    population = PopulationConfig(requalify_after_days=rows.pop("requalify", None))
    found = standing(tables, population, pairs_of(["a"], [day(10)]))
    return found["in_population"].iloc[0], found["is_eligible"].iloc[0]


def change(stage: str, changed: float, recorded: float | None = None) -> dict[str, object]:
    return {"lead_id": "a", "stage": stage, "changed_at": changed, "recorded_at": recorded}


def deal(stage: str, created: float, closed: float | None = None, **more) -> dict[str, object]:
    return {
        "opportunity_id": f"o{created}",
        "stage": stage,
        "created_at": created,
        "closed_at": closed,
        "lead_id": "a",
        **more,
    }


@pytest.mark.parametrize(
    ("rows", "expected", "why"),
    [
        ({}, (True, True), "a lead without history"),
        ({"stage_changes": [change("mql", 5)]}, (True, False), "sales has it"),
        ({"stage_changes": [change("mql", 10)]}, (True, True), "becomes an MQL at as_of: later"),
        ({"stage_changes": [change("mql", 5, 10)]}, (True, True), "recorded at as_of: not known"),
        ({"stage_changes": [change("mql", 5), change("recycled", 6)]}, (True, True), "given back"),
        (
            {"stage_changes": [change("recycled", 5), change("sql", 6)]},
            (True, False),
            "taken again",
        ),
        ({"stage_changes": [change("nurture", 5)]}, (True, True), "a stage of no meaning here"),
        ({"stage_changes": [change("disqualified", 5)]}, (False, False), "disqualified"),
        (
            {"stage_changes": [change("disqualified", 5), change("recycled", 5)]},
            (True, True),
            "both at one instant: recycled",
        ),
        (
            {"stage_changes": [change("recycled", 7, 8), change("disqualified", 5, 9)]},
            (True, True),
            "order of change, not of recording",
        ),
        ({"opportunities": [deal("open", 5)]}, (True, False), "an open opportunity"),
        ({"opportunities": [deal("open", 10)]}, (True, True), "created at as_of: later"),
        ({"opportunities": [deal("closed_won", 5, 9)]}, (False, False), "won"),
        ({"opportunities": [deal("closed_won", 5, 10)]}, (True, False), "won at as_of: still open"),
        (
            {"opportunities": [deal("closed_won", 5, 9, closed_recorded_at=11)]},
            (True, False),
            "won, but nobody knew: still open",
        ),
        ({"opportunities": [deal("closed_lost", 5, 9)]}, (False, False), "lost"),
        (
            {"opportunities": [deal("closed_lost", 1, 3), deal("open", 5)]},
            (True, False),
            "a new opportunity after a lost one",
        ),
        (
            {
                "opportunities": [deal("closed_lost", 1, 3)],
                "stage_changes": [change("recycled", 4)],
            },
            (True, True),
            "recycled after the loss",
        ),
        (
            {
                "opportunities": [deal("closed_lost", 1, 5)],
                "stage_changes": [change("recycled", 4)],
            },
            (False, False),
            "recycled before the loss",
        ),
        (
            {"opportunities": [deal("closed_won", 1, 5, lead_id="z", account_id="X")]},
            (False, False),
            "a customer's lead",
        ),
        (
            {
                "leads": [
                    {"lead_id": "b", "created_at": 0},
                    {"lead_id": "a", "created_at": 0, "recorded_at": 9, "merged_into": "b"},
                ]
            },
            (False, False),
            "merged away",
        ),
        (
            {
                "leads": [
                    {"lead_id": "b", "created_at": 0},
                    {"lead_id": "a", "created_at": 0, "recorded_at": 10, "merged_into": "b"},
                ]
            },
            (True, True),
            "merged at as_of: not yet",
        ),
    ],
)
def test_standing_at_the_boundaries(rows, expected, why) -> None:
    assert one_lead(**rows) == expected, why


@pytest.mark.parametrize(("changed", "expected"), [(7, True), (7.5, False)])
def test_an_mql_can_be_one_again_after_requalify_days(changed, expected) -> None:
    tables = tables_of(
        leads=[{"lead_id": "a", "created_at": 0}], stage_changes=[change("mql", changed)]
    )
    population = PopulationConfig(requalify_after_days=3)
    assert (
        standing(tables, population, pairs_of(["a"], [day(10)]))["is_eligible"].item() is expected
    )


def test_a_lead_enters_at_its_creation_and_not_before_it_is_recorded() -> None:
    leads = [
        {"lead_id": "a", "created_at": 7},
        {"lead_id": "b", "created_at": 7, "recorded_at": 7.5},
        {"lead_id": "c", "created_at": 7.5},
    ]
    index = lead_weeks(tables_of(leads=leads), PopulationConfig(), mondays(day(0), day(14)))
    assert [(row.lead_id, row.as_of) for row in index.itertuples()] == [
        ("a", day(14)),  # recorded at day 7 is not known before day 7
        ("b", day(14)),
        ("c", day(14)),
    ]


def test_leads_on_free_mail_have_no_account() -> None:
    domains = ["gmail.com", "Acme.com ", None]
    leads = [{"lead_id": str(n), "created_at": 0, "email_domain": d} for n, d in enumerate(domains)]
    tables = tables_of(leads=leads)
    index = lead_weeks(
        tables, PopulationConfig(account_from="email_domain"), mondays(day(7), day(7))
    )
    assert index["account_id"].isna().tolist() == [True, False, True]
    assert index["account_id"].iloc[1] == "acme.com"


def test_accounts_from_email_need_the_column() -> None:
    tables = tables_of(leads=[{"lead_id": "a", "created_at": 0}])
    with pytest.raises(InputError, match="email_domain"):
        lead_weeks(tables, PopulationConfig(account_from="email_domain"), mondays(day(7), day(7)))


def test_at_lead_age_leaves_out_leads_that_are_not_that_old_yet() -> None:
    leads = [{"lead_id": "a", "created_at": 1}, {"lead_id": "b", "created_at": 9}]
    index = at_lead_age(tables_of(leads=leads, until=20), PopulationConfig(), 14)
    assert index[["lead_id", "as_of"]].to_numpy().tolist() == [["a", day(15)]]
    a_day_old = at_lead_age(tables_of(leads=leads, until=20), PopulationConfig(), 1)
    assert a_day_old["as_of"].tolist() == [day(2), day(10)]


def test_active_leads_stand_for_the_contacts_until_a_contact_is_recorded() -> None:
    tables = tables_of(
        leads=[{"lead_id": lead, "created_at": 0, "account_id": "X"} for lead in "ab"],
        engagement_events=[{"lead_id": "a", "event_type": "call", "occurred_at": 9}],
        opportunities=[
            {"opportunity_id": "o", "stage": "open", "created_at": 10, "account_id": "X"}
        ],
        opportunity_leads=[{"opportunity_id": "o", "lead_id": "b", "recorded_at": 12}],
    )
    found = standing(tables, PopulationConfig(), pairs_of(["a", "b"], [day(12), day(12.5)]))
    assert found["is_eligible"].tolist() == [False, True, True, False]
