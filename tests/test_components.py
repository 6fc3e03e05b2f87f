import pytest
from hypothesis import given
from tables_builder import crm, examples, tables_of

from features.facts.components import account_components
from features.facts.identity import know_people


def groups(leads, **tables):
    """The sets of leads that share a component."""
    made = tables_of(leads=leads, **tables)
    component = account_components(know_people(made))
    return sorted(sorted(ids) for ids in component.groupby(component).groups.values())


def lead(lead_id, account_id=None, at=0, merged_into=None):
    return {
        "lead_id": lead_id,
        "created_at": 0,
        "recorded_at": at,
        "account_id": account_id,
        "merged_into": merged_into,
    }


@pytest.mark.parametrize(
    ("leads", "expected"),
    [
        # nobody knows anybody
        ([lead("a"), lead("b", "X")], [["a"], ["b"]]),
        # leads without an account are no colleagues of one another
        ([lead("a"), lead("b")], [["a"], ["b"]]),
        ([lead("a", "X"), lead("b", "X"), lead("c", "Y")], [["a", "b"], ["c"]]),
        # b moved from X to Y and so links the leads of both
        (
            [lead("a", "X"), lead("b", "X"), lead("b", "Y", at=5), lead("c", "Y")],
            [["a", "b", "c"]],
        ),
        # the account a lead left counts as well, even where it has none now
        ([lead("a", "X"), lead("b", "X"), lead("b", None, at=5)], [["a", "b"]]),
        # a merge links two leads of different accounts, and their colleagues
        (
            [lead("a", "X"), lead("b", "Y"), lead("b", "Y", at=5, merged_into="a"), lead("c", "Y")],
            [["a", "b", "c"]],
        ),
        # chains of merges
        (
            [lead("a", merged_into="b"), lead("b", merged_into="c"), lead("c"), lead("d")],
            [["a", "b", "c"], ["d"]],
        ),
    ],
)
def test_leads_linked_by_any_account_or_merge_are_one_component(leads, expected):
    assert groups(leads) == expected


@examples
@given(crm())
def test_components_are_the_closure_of_shared_accounts_and_merges(rows):
    """The slow way: join groups until nothing changes."""
    known = {row["lead_id"] for row in rows["leads"]}
    members = [{lead_id} for lead_id in known]
    links = [
        {row["lead_id"] for row in rows["leads"] if row["account_id"] == account}
        for account in {row["account_id"] for row in rows["leads"]} - {None}
    ]
    first_merge = {}
    # of one lead the first recorded merge counts; rows of one instant are one row
    seen = set()
    for row in sorted(rows["leads"], key=lambda row: row["recorded_at"]):
        if (row["lead_id"], row["recorded_at"]) not in seen and row["merged_into"]:
            first_merge.setdefault(row["lead_id"], row["merged_into"])
        seen.add((row["lead_id"], row["recorded_at"]))
    links += [{gone, survivor} for gone, survivor in first_merge.items()]
    for link in links:
        joined = set().union(*(group for group in members if group & link))
        members = [group for group in members if not group & link] + [joined | link]
    assert groups(rows["leads"]) == sorted(sorted(group) for group in members if group)
