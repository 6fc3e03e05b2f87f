"""Leads handed over by lot: the draw, and the effect found."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_crm import small_config
from tables_builder import day, tables_of
from test_partitions import in_parts

from features.catalogue.catalogue import Catalogue
from features.exploration import REASON_CODE, are_drawn, is_drawn
from features.life_config import ExplorationConfig
from features.loading.sources import load_tables
from features.parts.partitions import Partitions
from features.tables import Tables
from models.cutoff import Cutoff
from training.part_examples import catalogue_of_parts
from training.report.verdicts_section import (
    drawn_otherwise,
    exploration_lines,
    verdicts_section,
)
from training.simulate import simulate, write_demo
from training.verdicts.exploration import ExplorationEffect, effect_of, entries, exploration_effect
from training.verdicts.verdicts import SalesVerdicts

LOT = ExplorationConfig(share=0.2)
DRAWN, OTHER = (
    next(name for name in (f"A-{n}" for n in range(99)) if is_drawn(LOT, "L", name) is wanted)
    for wanted in (True, False)
)
NOBODY_QUALIFIES = Cutoff("fixed", {}, 0.9)


def ids(prefix: str, count: int) -> pd.Series:
    return pd.Series([f"{prefix}-{n}" for n in range(count)], dtype="str")


# --- the draw


def test_about_the_share_of_the_accounts_is_drawn() -> None:
    drawn = are_drawn(LOT, ids("L", 20_000), ids("A", 20_000))
    assert abs(drawn.mean() - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 20_000)


def test_colleagues_are_drawn_together_and_leads_without_account_alone() -> None:
    leads, account = ids("L", 400), pd.Series(["A-1"] * 400, dtype="str")
    assert len(set(are_drawn(LOT, leads, account))) == 1
    alone = are_drawn(LOT, leads, pd.Series([None] * 400, dtype="str"))
    assert alone.tolist() == [is_drawn(LOT, lead, None) for lead in leads]
    assert 0 < alone.mean() < 1
    # a lead that is called as an account is no account
    assert alone.tolist() != are_drawn(LOT, leads, leads).tolist()


def test_a_higher_share_keeps_whom_the_lower_one_drew() -> None:
    few, many = (
        are_drawn(ExplorationConfig(share=share), ids("L", 2_000), ids("A", 2_000))
        for share in (0.05, 0.2)
    )
    assert (few <= many).all()
    assert few.sum() < many.sum()


def test_another_salt_draws_others_and_a_share_of_0_nobody() -> None:
    leads, accounts = ids("L", 2_000), ids("A", 2_000)
    first = are_drawn(LOT, leads, accounts)
    other = are_drawn(ExplorationConfig(share=0.2, salt="spring"), leads, accounts)
    assert abs((first & other).mean() - 0.04) < 0.02  # independent: 0.2 * 0.2
    assert not are_drawn(ExplorationConfig(share=0), leads, accounts).any()


# --- its effect


@cache
def explored_crm(handoff_effect: float) -> tuple[Tables, Catalogue]:
    """A CRM whose points rule leaves out most leads, and that hands a fifth over by lot."""
    demo = simulate(leads=3_500, seed=11, handoff_effect=handoff_effect, exploration_share=0.2)
    with tempfile.TemporaryDirectory() as folder:
        write_demo(demo, Path(folder))
        tables = load_tables(explored_config(), Path(folder)).tables
    return tables, catalogue_of_parts(Partitions.of(tables), explored_config())


def explored_config():
    return small_config(exploration={"share": 0.2})


def nobody(snapshots: pd.DataFrame, account: np.ndarray) -> np.ndarray:
    return np.zeros(len(snapshots))


@cache
def found_effect(handoff_effect: float) -> ExplorationEffect:
    tables, catalogue = explored_crm(handoff_effect)
    found = exploration_effect(tables, explored_config(), catalogue, NOBODY_QUALIFIES, nobody)
    assert found is not None
    return found


TRUE_EFFECT = 0.031
"""Of handing every lead over against none, where a handoff doubles the forward rates: the mean of
five pairs of worlds of 15,000 leads each (standard error 0.002)."""


def test_the_interval_holds_the_true_effect_and_excludes_none_where_contact_helps() -> None:
    found = found_effect(2.0)
    assert found.is_clear
    assert found.difference.low < TRUE_EFFECT < found.difference.high
    assert found.of_working.value > found.difference.value  # not all that were drawn are worked
    assert any("lower bounds" in line for line in exploration_lines(found))


def test_the_interval_holds_zero_where_contact_changes_nothing() -> None:
    found = found_effect(1.0)
    assert found.difference.low < 0 < found.difference.high
    assert any("may be chance" in line for line in exploration_lines(found))


def test_who_enters_has_nothing_to_do_with_the_draw() -> None:
    tables, catalogue = explored_crm(2.0)
    entered = entries(tables, explored_config(), catalogue, NOBODY_QUALIFIES, nobody)
    assert entered["lead_id"].is_unique
    company = entered[entered["lead_id"].isin(_with_account(tables))]
    by_account = company.groupby("account")["is_drawn"].first()
    assert company.groupby("account")["is_drawn"].nunique().max() == 1
    assert abs(by_account.mean() - 0.2) < 3 * np.sqrt(0.16 / len(by_account))
    assert not entered.loc[~entered["is_drawn"], "is_explored"].any()
    assert entered.loc[entered["is_drawn"], "is_explored"].mean() > 0.9


def test_parts_change_nothing_of_the_effect(tmp_path: Path) -> None:
    tables, catalogue = explored_crm(2.0)
    parts = in_parts(tables, tmp_path, 3, explored_config().population)
    found = exploration_effect(parts, explored_config(), catalogue, NOBODY_QUALIFIES, nobody)
    assert len(parts) == 3
    assert found == found_effect(2.0)


def _with_account(tables: Tables) -> pd.Series:
    return tables.leads.loc[tables.leads["account_id"].notna(), "lead_id"]


def test_a_lead_handed_over_before_its_first_monday_still_enters() -> None:
    """What follows the handover must not keep the drawn out, and them alone."""
    leads = [
        {"lead_id": lead, "created_at": created, "account_id": account}
        for lead, created, account in (("a", 8, DRAWN), ("b", 8, OTHER), ("c", 1, OTHER))
    ]
    changes = [
        {"lead_id": lead, "stage": stage, "changed_at": at, "reason_code": reason}
        for lead, stage, at, reason in (
            ("a", "mql", 9, REASON_CODE),
            ("a", "sal", 10, None),
            ("a", "disqualified", 11, "no_budget"),
            ("c", "mql", 2, None),  # was with sales before the exploration began
            ("c", "recycled", 3, None),
        )
    ]
    tables = tables_of(leads=leads, stage_changes=changes)
    catalogue = catalogue_of_parts(Partitions.of(tables), explored_config())
    entered = entries(tables, explored_config(), catalogue, NOBODY_QUALIFIES, nobody)
    assert entered["lead_id"].tolist() == ["a", "b"]
    assert entered["as_of"].tolist() == [day(14)] * 2  # the Monday after their creation
    assert entered["is_drawn"].tolist() == entered["is_explored"].tolist() == [True, False]


def test_leads_with_two_tries_are_in_neither_group_if_another_account_drew_them() -> None:
    """As a lead without account drawn, then as one of an account, or the other way round."""
    numbers = [f"L-{n}" for n in range(99)]
    alone, plain = (
        next(one for one in numbers if is_drawn(LOT, one, None) is wanted)
        for wanted in (True, False)
    )
    histories = {
        alone: [(8, None), (13, OTHER)],  # drawn by itself before its first Monday
        plain: [(8, OTHER), (20, DRAWN)],  # by an account after it
        "both": [(8, DRAWN)],
        "never": [(8, OTHER), (13, None), (20, OTHER)],
    }
    assert not is_drawn(LOT, "never", None)
    leads = [
        {"lead_id": lead, "created_at": 8, "recorded_at": day(at), "account_id": account}
        for lead, history in histories.items()
        for at, account in history
    ]
    changes = [
        {"lead_id": lead, "stage": "mql", "changed_at": at, "reason_code": REASON_CODE}
        for lead, at in ((alone, 9), (plain, 21), ("both", 15))
    ]
    tables = tables_of(leads=leads, stage_changes=changes)
    catalogue = catalogue_of_parts(Partitions.of(tables), explored_config())
    entered = entries(tables, explored_config(), catalogue, NOBODY_QUALIFIES, nobody)
    assert entered is not None
    tries = entered.set_index("lead_id")[["is_drawn", "is_drawn_otherwise"]]
    assert tries.loc[[alone, plain, "both", "never"]].to_numpy().tolist() == [
        [False, True], [False, True], [True, False], [False, False],
    ]  # fmt: skip
    found = effect_of(entered, 91)
    assert [found.drawn.leads, found.others.leads, found.others.handed_over] == [1, 1, 0]
    told = verdicts_section(SalesVerdicts(None, found))["exploration"]["left_out"]
    assert told.startswith("2 leads are in neither group")


def test_others_that_were_handed_over_by_lot_all_the_same_are_told() -> None:
    entered = arms((400, 60), (1_600, 80))
    entered.loc[entered.index[-3:], "is_explored"] = True
    assert drawn_otherwise(effect_of(entered, 91)).startswith("3 of the not drawn were handed over")
    assert drawn_otherwise(effect_of(arms((400, 60), (1_600, 80)), 91)) == ""


def test_the_demo_hands_over_drawn_leads_once_and_nobody_by_default() -> None:
    tables, _ = explored_crm(2.0)
    changes = tables.stage_changes
    by_lot = changes[changes["reason_code"] == REASON_CODE]
    people = tables.leads.drop_duplicates("lead_id").set_index("lead_id")
    accounts = people["account_id"].loc[by_lot["lead_id"]]
    assert are_drawn(LOT, by_lot["lead_id"], accounts).all()
    own = simulate(leads=200, seed=2, weeks=40)
    same = simulate(leads=200, seed=2, weeks=40, exploration_share=0.0)
    for name, table in own.tables.items():
        pd.testing.assert_frame_equal(table, same.tables[name])
    assert not (own.tables["stage_changes"]["reason_code"] == REASON_CODE).any()


def arms(drawn: tuple[int, int], others: tuple[int, int], worked: float = 0.5) -> pd.DataFrame:
    """Entries of single leads: (leads, won) of the drawn, all of them worked, and the others."""
    leads = drawn[0] + others[0]
    is_drawn_row = np.arange(leads) < drawn[0]
    place = np.where(is_drawn_row, np.arange(leads), np.arange(leads) - drawn[0])
    return pd.DataFrame(
        {
            "account": np.arange(leads),
            "as_of": pd.Timestamp("2025-01-06"),
            "won_in_horizon": (place < np.where(is_drawn_row, drawn[1], others[1])).astype(float),
            "account_worked": np.where(is_drawn_row, 1.0, place < worked * others[0]),
            "probability": 0.05,
            "is_drawn": is_drawn_row,
            "is_explored": is_drawn_row,
            "is_drawn_otherwise": False,
        }
    )


def test_the_effect_of_working_is_the_difference_over_the_share_that_it_moved() -> None:
    found = effect_of(arms((400, 60), (1_600, 80)), 91)
    assert found.difference.value == pytest.approx(0.1)
    assert found.of_working.value == pytest.approx(0.2)
    assert found.is_clear
    assert found.start == "2025-01-06"


def test_nothing_is_said_of_working_where_sales_worked_no_more_of_the_drawn() -> None:
    assert effect_of(arms((400, 60), (1_600, 80), worked=1.0), 91).of_working is None


def test_an_empty_arm_compares_nothing() -> None:
    found = effect_of(arms((0, 0), (50, 3)), 91)
    assert not found.is_clear
    assert exploration_lines(found) == [
        "One of the two groups is empty, so nothing can be compared yet."
    ]


def test_without_a_share_or_a_handover_there_is_no_comparison() -> None:
    tables, catalogue = explored_crm(2.0)
    config = small_config()
    assert exploration_effect(tables, config, catalogue, NOBODY_QUALIFIES, nobody) is None
