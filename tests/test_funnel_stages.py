"""From MQL to win: passes, maturity, skipped stages, shares, parts."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from small_crm import small_config, small_tables
from tables_builder import crm, day, examples, tables_of
from test_partitions import in_parts

from features.parts.partitions import Partitions
from training.funnel.overview import funnel_of_tables
from training.funnel.passes import passes_of
from training.funnel.people import came, deals, survivors, touches
from training.funnel.rates import added, design_effect, shrunk, tallies, wilson, with_rates

HORIZON = 91


def change(lead, stage, at, **more):
    return {"lead_id": lead, "stage": stage, "changed_at": at, **more}


def deal(name, lead, created, stage="open", closed=None, **more):
    row = {"opportunity_id": name, "lead_id": lead, "created_at": created, "stage": stage}
    return {**row, "closed_at": closed, **more}


def leads_of(*names, **more):
    return [{"lead_id": name, "created_at": 0, **more} for name in names]


def passes(tables, **population):
    config = small_config(population=population)
    part = Partitions.of(tables).part(0)
    survivor = survivors(tables)
    touched = touches(part, survivor)
    people = came(part, config, survivor, touched)
    return passes_of(part, config, survivor, people, deals(part, config, survivor), touched)


def days(found, column):
    return [None if pd.isna(at) else (at - day(0)) / pd.Timedelta(days=1) for at in found[column]]


def conversion(tables, **sections):
    return funnel_of_tables(tables, small_config(**sections))[0]


def test_a_pass_holds_what_came_after_the_mql_and_the_first_of_each():
    tables = tables_of(
        leads=leads_of("a"),
        stage_changes=[
            change("a", "sal", 5.5),  # before the MQL: of no pass
            change("a", "mql", 10.5),
            change("a", "mql", 11.5),  # an MQL already
            change("a", "sal", 12.5),
            change("a", "sal", 13.5),
            change("a", "sql", 20.5),
        ],
        opportunities=[
            deal("early", "a", 3.5, "closed_won", 50.5),
            deal("first", "a", 30.5, "closed_lost", 40.5),
            deal("second", "a", 35.5, "closed_won", 60.5),
        ],
    )
    found = passes(tables)
    assert days(found, "mql_at") == [10.5]
    assert days(found, "sal_at") == [12.5]
    assert days(found, "sql_at") == [20.5]
    assert days(found, "opportunity_at") == [30.5]
    assert days(found, "won_at") == [60.5]
    assert not found["is_lost"].any()


def test_a_recycled_lead_that_is_an_mql_again_makes_another_pass():
    tables = tables_of(
        leads=leads_of("a"),
        stage_changes=[
            change("a", "mql", 10.5),
            change("a", "sal", 12.5),
            change("a", "recycled", 40.5),
            change("a", "sql", 45.5),  # nobody's: given back, and no MQL again yet
            change("a", "mql", 60.5),
            change("a", "sql", 70.5),
        ],
        opportunities=[
            deal("between", "a", 50.5, "closed_won", 55.5),
            deal("after", "a", 75.5, "closed_won", 80.5),
        ],
    )
    found = passes(tables)
    assert days(found, "mql_at") == [10.5, 60.5]
    assert days(found, "sal_at") == [12.5, None]
    assert days(found, "sql_at") == [None, 70.5]
    assert days(found, "ended_at") == [40.5, None]
    assert days(found, "won_at") == [None, 80.5]
    told = conversion(tables)
    assert (told.mqls, told.leads, told.came_again) == (2, 1, 1)
    assert told.wins == {"in_pass": 1, "after_pass": 1, "without_mql": 0}


@pytest.mark.parametrize(
    ("rest", "mqls"),
    [
        (None, [10.5]),  # without a rest only recycling makes an MQL anew
        (30, [10.5, 50.5]),  # 30 days after the SAL
        (31, [10.5]),  # one day too few
    ],
)
def test_an_mql_may_come_again_after_the_rest_the_population_asks_for(rest, mqls):
    changes = [change("a", "mql", 10.5), change("a", "sal", 20.5), change("a", "mql", 50.5)]
    found = passes(tables_of(leads=leads_of("a"), stage_changes=changes), requalify_after_days=rest)
    assert days(found, "mql_at") == mqls


def test_dates_without_a_time_of_day_keep_the_order_of_the_funnel():
    """All on day 10, the MQL alone with its time: the rest lies at 00:00, and came after it."""
    tables = tables_of(
        leads=leads_of("a"),
        stage_changes=[change("a", "sal", 10), change("a", "mql", 10.4)],
        opportunities=[deal("o", "a", 10, "closed_won", 10)],
    )
    found = passes(tables)
    assert (days(found, "sal_at"), days(found, "opportunity_at")) == ([10], [10])
    steps = {step.stage: step for step in conversion(tables).steps}
    assert steps["won"].reached == 1
    assert steps["sal"].days_from_mql == (0, 0, 0)


def test_a_merged_lead_is_one_person_with_its_survivor():
    leads = [*leads_of("a", "b"), {"lead_id": "a", "created_at": 0, "recorded_at": 30}]
    leads[-1]["merged_into"] = "b"
    tables = tables_of(
        leads=leads,
        stage_changes=[change("a", "mql", 10.5), change("b", "sal", 35.5)],
        opportunities=[deal("o", "a", 20.5, "closed_won", 25.5)],
    )
    found = passes(tables)
    assert found["lead_id"].tolist() == ["b"]
    assert (days(found, "sal_at"), days(found, "won_at")) == ([35.5], [25.5])
    assert conversion(tables).wins["in_pass"] == 1


def test_stages_that_were_skipped_count_as_passed_and_are_counted():
    """Two leads with every stage, one with an opportunity only, one with nothing."""
    changes = [change(lead, "mql", 10.5) for lead in "abcd"]
    changes += [
        change(lead, stage, at) for lead in "ab" for stage, at in (("sal", 12.5), ("sql", 20.5))
    ]
    tables = tables_of(
        leads=leads_of(*"abcd"),
        stage_changes=changes,
        opportunities=[deal(lead, lead, 30.5) for lead in "abc"],
    )
    steps = {step.stage: step for step in conversion(tables).steps}
    assert [steps[s].reached for s in ("sal", "sql", "opportunity", "won")] == [3, 3, 3, 0]
    assert [steps[s].skipped for s in ("sal", "sql", "opportunity", "won")] == [1, 1, 0, 0]
    assert steps["sal"].of_mqls.value == 0.75
    assert steps["opportunity"].of_previous.value == 1.0
    assert steps["won"].of_previous.value == 0.0
    assert steps["sal"].days_from_mql == (2, 2, 2)
    assert steps["sql"].days_from_previous == (8, 8, 8)  # of the two that have both
    assert steps["won"].days_from_mql is None


def test_only_mqls_a_horizon_old_have_rates_whatever_the_young_became():
    until = 300
    edge = until - HORIZON
    changes = [change("old", "mql", edge), change("young", "mql", edge + 0.5)]
    tables = tables_of(
        until=until,
        leads=leads_of("old", "young"),
        stage_changes=changes,
        opportunities=[deal("o", "young", edge + 1.5, "closed_won", edge + 2.5)],
    )
    told = conversion(tables)
    assert (told.mqls, told.matured) == (2, 1)
    assert told.steps[-1].of_mqls.value == 0.0


def test_a_month_with_one_young_mql_is_too_young_to_tell():
    """22 MQLs on 1 March and one on the 30th; the data end 91 days after the 1st, then the 30th."""
    early, late = 60.5, 89.5
    names = [f"l{n}" for n in range(23)]
    changes = [change(name, "mql", early) for name in names[1:]] + [change("l0", "mql", late)]
    opportunities = [deal("o", "l1", early + 1, "closed_won", early + 2)]
    for until, rate in ((early + HORIZON, None), (late + HORIZON, 1 / 23)):
        tables = tables_of(
            until=until, leads=leads_of(*names), stage_changes=changes, opportunities=opportunities
        )
        (month,) = conversion(tables).months
        assert (month.name, month.mqls, month.reached["won"]) == ("2024-03", 23, 1)
        assert (month.rates["won"].value if month.rates else None) == rate


def test_a_win_after_the_horizon_is_counted_apart():
    won = {"in_time": HORIZON - 0.5, "late": HORIZON}  # half-open
    tables = tables_of(
        leads=leads_of(*won),
        stage_changes=[change(lead, "mql", 10) for lead in won],
        opportunities=[deal(n, n, 20, "closed_won", 10 + after) for n, after in won.items()],
    )
    told = conversion(tables)
    assert (told.steps[-1].reached, told.won_later) == (1, 1)


def test_wins_nobody_called_an_mql_before_are_told_as_such():
    tables = tables_of(
        leads=leads_of("a", "b", "c"),
        stage_changes=[change("a", "mql", 10.5), change("b", "mql", 40.5)],
        opportunities=[
            deal("1", "a", 20.5, "closed_won", 30.5),
            deal("2", "b", 20.5, "closed_won", 30.5),  # an MQL only after its deal was opened
            deal("3", "c", 20.5, "closed_won", 30.5),
            deal("4", "c", 20.5, "closed_lost", 30.5),
        ],
    )
    assert conversion(tables).wins == {"in_pass": 1, "after_pass": 0, "without_mql": 2}


def test_sources_with_few_mqls_have_counts_but_no_rates():
    names = [f"l{n}" for n in range(25)]
    leads = [{"lead_id": n, "created_at": 0, "source": "fair"} for n in names]
    leads[0]["source"] = "web"
    changes = [change(name, "mql", 10.5) for name in names]
    fair, web = conversion(tables_of(leads=leads, stage_changes=changes)).sources
    assert (fair.name, fair.mqls, fair.rates["won"].value) == ("fair", 24, 0.0)
    assert (web.name, web.mqls, web.rates) == ("web", 1, None)
    assert web.why_no_rates


def test_what_is_missing_is_said():
    told, campaigns, left_out = funnel_of_tables(None, small_config())
    assert told is None and campaigns is None
    assert "flat export" in left_out["conversion"]
    tables = tables_of(leads=leads_of("a"))
    told, campaigns, left_out = funnel_of_tables(tables, small_config())
    assert told is None and campaigns is None
    assert "stage_changes" in left_out["conversion"]
    assert "campaign" in left_out["campaigns"]


@settings(examples, max_examples=6, phases=[Phase.generate])
@given(crm(), st.integers(2, 5))
def test_parts_give_what_the_whole_gives(tmp_path_factory, rows, parts):
    rows["campaign_costs"] = [
        {"campaign": name, "day": at, "cost": 10.0} for name in ("spring", "x") for at in (0, 9)
    ]
    tables = tables_of(until=60, **rows)
    config = small_config(training={"horizon_days": 10}, population={"attribution_days": 10})
    split = in_parts(tables, tmp_path_factory.mktemp("local"), parts, config.population)
    assert funnel_of_tables(split, config) == funnel_of_tables(tables, config)


def test_the_demo_reads_sensibly():
    told, campaigns, left_out = funnel_of_tables(small_tables(), small_config())
    assert left_out == {}
    assert 0 < told.matured < told.mqls
    rates = [step.of_mqls.value for step in told.steps]
    assert rates == sorted(rates, reverse=True)
    assert sum(month.mqls for month in told.months) == told.mqls
    assert sum(group.mqls for group in told.campaigns) == told.mqls
    won = small_tables().opportunities["stage"] == "closed_won"
    assert sum(told.wins.values()) <= won.sum()
    assert campaigns.cost_from is not None


def test_leads_of_one_account_are_less_evidence_than_strangers():
    hits = np.tile([1.0, 0.0], 50)
    group = pd.Series(["all"] * 100)
    strangers = with_rates(tallies(group, np.arange(100), hits))
    # 20 accounts of five leads: all five won or none did
    together = with_rates(tallies(group, np.repeat(np.arange(20), 5), np.sort(hits)))
    assert strangers["rate"].item() == together["rate"].item() == 0.5
    assert together["low"].item() < strangers["low"].item() - 0.05
    low, high = wilson(np.array([50 / 5]), np.array([100 / 5]))
    assert together["low"].item() == pytest.approx(low.item())
    assert together["high"].item() == pytest.approx(high.item())


def test_intervals_of_rates_hold_as_often_as_they_say():
    """Accounts of 1 to 6 leads whose chances differ; 90% of the intervals should hold the mean."""
    generator = np.random.default_rng(4)
    holds = 0
    for _ in range(200):
        account = np.repeat(np.arange(120), generator.integers(1, 7, 120))
        chance = generator.beta(1, 4, 120)[account]
        hits = (generator.random(len(account)) < chance).astype(float)
        found = with_rates(tallies(pd.Series(["all"] * len(account)), account, hits)).loc["all"]
        holds += found["low"] <= 0.2 <= found["high"]
    assert 0.86 <= holds / 200 <= 0.94


def test_tallies_of_parts_add_up_to_those_of_the_whole():
    generator = np.random.default_rng(0)
    group = pd.Series(generator.choice(["a", "b"], 200))
    account, hits = np.sort(generator.integers(0, 40, 200)), generator.integers(0, 2, 200)
    first = account < 20
    parts = [tallies(group[rows], account[rows], hits[rows]) for rows in (first, ~first)]
    pd.testing.assert_frame_equal(added(parts), tallies(group, account, hits))
    assert design_effect(added(parts)) >= 1


def test_small_groups_are_drawn_towards_the_mean_and_luck_is_named():
    def of(rows, hits):
        columns = {
            "rows": rows,
            "hits": hits,
            "rows_rows": rows,
            "rows_hits": hits,
            "hits_hits": hits,
        }
        return shrunk(pd.DataFrame(columns, index=[f"g{n}" for n in range(len(rows))], dtype=float))

    clear = of([1000, 1000, 1000, 10], [50, 100, 200, 3])
    assert clear.do_differ
    assert clear.rates["g0"] == pytest.approx(0.05, abs=0.005)
    assert 0.12 < clear.rates["g3"] < 0.25  # three of ten are hardly 30%
    alike = of([500] * 6, [50, 52, 47, 49, 55, 51])
    assert not alike.do_differ
    assert max(alike.rates.values()) - min(alike.rates.values()) < 0.005
