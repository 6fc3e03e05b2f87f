"""Which campaigns bring leads that close, and what an MQL and a win cost."""

import pandas as pd
import pytest
from small_crm import small_config
from tables_builder import day, tables_of

from training.funnel.campaigns import LEAST_WINS, window_of
from training.funnel.overview import funnel_of_tables
from training.funnel.people import NO_CAMPAIGN

HORIZON = 91


def touch(lead, campaign, at, name="page_view"):
    return {"lead_id": lead, "event_type": name, "occurred_at": at, "campaign": campaign}


def won(name, lead, at, amount=100.0, **more):
    return {
        **{"opportunity_id": name, "lead_id": lead, "created_at": at, "closed_at": at},
        **{"stage": "closed_won", "amount": amount, **more},
    }


def figures(until=150, **rows):
    """Short histories, so that leads are followed for one horizon."""
    found = funnel_of_tables(tables_of(until=until, **rows), small_config())[1]
    return None if found is None else {each.campaign: each for each in found.campaigns}


def test_the_first_campaign_up_to_the_creation_brought_the_lead():
    leads = [{"lead_id": name, "created_at": 10.5} for name in "abcde"]
    events = [
        touch("a", "fair", 3.5),
        touch("a", "search", 10.5),  # at the creation, but not the first
        touch("b", "search", 10.5),
        touch("c", "newsletter", 10.6),  # after the creation: brought nobody
        touch("d", None, 3.5),
        touch("e", "fair", 10),  # a day without a time: that of the creation
    ]
    found = figures(leads=leads, engagement_events=events)
    brought = {name: campaign.leads for name, campaign in found.items()}
    assert brought == {"fair": 2, "search": 1, NO_CAMPAIGN: 2}


def test_an_mql_is_touched_last_by_the_newest_campaign_before_it():
    tables = {
        "leads": [{"lead_id": "a", "created_at": 10.5}],
        "engagement_events": [
            touch("a", "fair", 9.5),
            touch("a", "newsletter", 20.5),
            touch("a", "search", 30.5),
        ],
        "stage_changes": [{"lead_id": "a", "stage": "mql", "changed_at": 25.5}],
    }
    found = figures(**tables)
    assert (found["fair"].leads, found["fair"].mqls, found["fair"].mqls_touched) == (1, 1, 0)
    assert (found["newsletter"].leads, found["newsletter"].mqls_touched) == (0, 1)
    assert "search" not in found


def test_a_deal_of_several_leads_is_shared_and_counts_once():
    """Three contacts on a deal of 900: two came by the fair, one by search; search won another."""
    leads = [{"lead_id": name, "created_at": 1.5, "account_id": "X"} for name in "abc"]
    leads.append({"lead_id": "d", "created_at": 1.5})
    campaigns = {"a": "fair", "b": "fair", "c": "search", "d": "search"}
    found = figures(
        leads=leads,
        engagement_events=[touch(lead, name, 1.5) for lead, name in campaigns.items()],
        opportunities=[won("o", None, 20.5, 900.0, account_id="X"), won("p", "d", 20.5, 50.0)],
        opportunity_leads=[{"opportunity_id": "o", "lead_id": lead} for lead in "abc"],
    )
    fair, search = found["fair"], found["search"]
    assert (fair.won_leads, fair.wins, fair.value) == (2, pytest.approx(2 / 3), pytest.approx(600))
    assert (search.won_leads, search.wins) == (2, pytest.approx(4 / 3))
    assert search.value == pytest.approx(350)


def test_young_leads_are_counted_but_not_judged():
    until = 150
    edge = until - HORIZON
    leads = [{"lead_id": "old", "created_at": edge}, {"lead_id": "young", "created_at": edge + 0.5}]
    found = figures(
        until,
        leads=leads,
        engagement_events=[touch("old", "x", edge), touch("young", "x", edge + 0.5)],
        opportunities=[won("o", "young", edge + 2)],
    )
    assert (found["x"].leads, found["x"].matured_leads, found["x"].won_leads) == (2, 1, 0)
    assert found["x"].win_rate.value == 0.0


def test_wins_after_the_follow_up_do_not_count_and_their_share_is_told():
    leads = [{"lead_id": name, "created_at": 0.5} for name in "ab"]
    tables = tables_of(
        until=150,
        leads=leads,
        engagement_events=[touch("a", "x", 0.5), touch("b", "x", 0.5)],
        opportunities=[won("1", "a", 0.5 + HORIZON - 1), won("2", "b", 0.5 + HORIZON)],
    )
    found = funnel_of_tables(tables, small_config())[1]
    assert (found.follow_up_days, found.campaigns[0].won_leads) == (HORIZON, 1)
    assert found.won_in_time_share == 0.5


def costly(wins, leads=40):
    """A campaign that cost 1,200 in 12 days, with one lead a day and `wins` of them won."""
    names = [f"l{n}" for n in range(leads)]
    at = {name: n % 12 + 0.5 for n, name in enumerate(names)}
    return {
        "leads": [{"lead_id": name, "created_at": at[name]} for name in names],
        "engagement_events": [touch(name, "fair", at[name]) for name in names],
        "stage_changes": [
            {"lead_id": name, "stage": "mql", "changed_at": 20.5} for name in names[:10]
        ],
        "opportunities": [won(f"o{n}", names[n], 30.5) for n in range(wins)],
        "campaign_costs": [{"campaign": "fair", "day": n, "cost": 100.0} for n in range(12)],
    }


def test_costs_are_divided_by_what_they_brought():
    fair = figures(**costly(wins=6))["fair"]
    assert fair.cost == 1200
    assert fair.cost_per_mql.value == pytest.approx(120)
    assert fair.cost_per_win.value == pytest.approx(200)
    assert fair.cost_per_win.low < 200 < fair.cost_per_win.high
    assert fair.why_no_cost == ""


def test_few_wins_give_no_cost_per_win():
    fair = figures(**costly(wins=LEAST_WINS - 1))["fair"]
    assert fair.cost_per_win is None
    assert "too few" in fair.why_no_cost
    assert fair.cost_per_mql is not None


def test_costs_and_leads_outside_of_the_common_window_stay_out():
    """Costs before the first lead, and leads before and after the costs, would skew the ratio."""
    rows = costly(wins=6)
    early = {"lead_id": "early", "created_at": -20.5}
    late = {"lead_id": "late", "created_at": 30.5}
    rows["leads"] += [early, late]
    rows["engagement_events"] += [touch("early", "fair", -20.5), touch("late", "fair", 30.5)]
    rows["opportunities"] += [won("e", "early", -10), won("l", "late", 40)]
    fair = figures(**rows)["fair"]
    assert (fair.matured_leads, fair.won_leads) == (42, 8)
    assert fair.cost_per_win.value == pytest.approx(200)
    rows["campaign_costs"].append({"campaign": "fair", "day": -40, "cost": 9999.0})
    window = window_of(tables_of(**rows).campaign_costs, day(-20.5), day(150), HORIZON)
    assert (window.cost_from, window.cost_until) == (day(-21), day(12))
    assert figures(**rows)["fair"].cost == 1200


def test_costs_under_a_name_no_event_has_are_told():
    rows = costly(wins=6)
    rows["campaign_costs"].append({"campaign": "Fair!", "day": 1, "cost": 5.0})
    tables = tables_of(until=150, **rows)
    assert funnel_of_tables(tables, small_config())[1].unknown_costs == ("Fair!",)


def test_without_costs_the_rest_is_there_and_the_gap_is_named():
    rows = costly(wins=6)
    del rows["campaign_costs"]
    _, found, left_out = funnel_of_tables(tables_of(until=150, **rows), small_config())
    (fair,) = found.campaigns
    assert (fair.cost, fair.cost_per_win, found.cost_from) == (None, None, None)
    assert fair.win_rate.value == pytest.approx(6 / 40)
    assert "campaign_costs" in left_out["costs"]


def test_amounts_nobody_knows_give_no_value():
    rows = costly(wins=6)
    for row in rows["opportunities"]:
        row["amount"] = None
    assert figures(**rows)["fair"].value is None


@pytest.mark.parametrize(
    ("history", "follow_up"),
    [
        (1092, 364),  # a third of it is four horizons
        (1091, 182),
        (545, 91),
        (30, 91),  # never less than one
    ],
)
def test_leads_are_followed_for_as_long_as_the_history_allows(history, follow_up):
    costs = pd.DataFrame({"campaign": [], "day": pd.to_datetime([]), "cost": []})
    window = window_of(costs, day(0), day(history), HORIZON)
    assert window.follow_up_days == follow_up
    assert window.matured_until == day(history - follow_up)
