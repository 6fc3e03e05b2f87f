"""Leads handed over by lot: the draw, the ledger, the file, the exports, and the effect found."""

from __future__ import annotations

import sqlite3
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_crm import small_config
from small_ledger import DAY, HOUR, MODEL, MONDAY, URL, open_ledger, record, write
from small_model import small_scorer, small_snapshots
from tables_builder import day, tables_of
from test_partitions import in_parts

from features.catalogue.catalogue import Catalogue
from features.exploration import REASON_CODE, are_drawn, is_drawn
from features.life_config import ExplorationConfig
from features.loading.sources import load_tables
from features.parts.partitions import Partitions
from features.tables import Tables
from models.cutoff import Cutoff
from models.lead_scores import LeadScorer
from serving.batch import score_leads
from serving.batch_records import BatchLedger
from serving.ledger.database import open_database
from serving.ledger.exports import export_tables
from serving.ledger.ledger import Ledger
from serving.ledger.records import ModelRecord
from training.part_examples import catalogue_of_parts
from training.report.verdicts_section import exploration_lines
from training.simulate import simulate, write_demo
from training.verdicts.exploration import ExplorationEffect, effect_of, entries, exploration_effect

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


# --- the ledger


def low(lead_id: str, at: int = MONDAY, **values):
    return record(lead_id, at, **{"probability": 0.1, "account_id": DRAWN, **values})


def state(ledger: Ledger, lead_id: str) -> tuple[str | None, bool]:
    lead = ledger.lead(lead_id)
    assert lead is not None
    return lead["state"], lead["is_exploration"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ("mql", True)),
        ({"account_id": OTHER}, (None, False)),  # not drawn
        ({"probability": 0.3}, ("mql", False)),  # qualifies by itself
        ({"is_eligible": False}, (None, False)),  # with sales already, or a customer
        ({"cutoff": None}, (None, False)),  # no cutoff, so nothing is below it
    ],
)
def test_only_an_eligible_drawn_lead_below_the_cutoff_is_handed_over(
    tmp_path: Path, values: dict, expected: tuple
) -> None:
    ledger = open_ledger(tmp_path, exploration=LOT)
    write(ledger, low("L-1", **values))
    assert state(ledger, "L-1") == expected
    ledger.close()


def test_a_backfill_never_explores_and_a_share_of_0_changes_nothing(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path, exploration=LOT)
    write(ledger, low("L-1", is_backfill=True))
    assert ledger.lead("L-1") is None
    ledger.close()
    ledger = open_ledger(tmp_path, exploration=ExplorationConfig())
    write(ledger, low("L-2"))
    assert state(ledger, "L-2") == (None, False)
    ledger.close()


def test_a_drawn_lead_is_handed_over_once(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path, exploration=LOT)
    write(ledger, low("L-1"))
    ledger.add_verdict("L-1", "recycled", "bad_timing", MONDAY + HOUR)
    write(ledger, low("L-1", MONDAY + DAY), low("L-1", MONDAY + 2 * DAY))
    lead = ledger.lead("L-1")
    assert lead is not None
    assert [mql["is_exploration"] for mql in lead["mqls"]] == [True]
    assert lead["state"] == "recycled"
    ledger.close()


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (None, ("mql", False)),
        ("rejected", ("mql", False)),  # it was below the cutoff then
        ("accepted", ("accepted", True)),  # sales has it
    ],
)
def test_an_explored_lead_that_qualifies_later_is_an_mql_unless_sales_took_it(
    tmp_path: Path, verdict: str | None, expected: tuple
) -> None:
    ledger = open_ledger(tmp_path, exploration=LOT)
    write(ledger, low("L-1"))
    if verdict is not None:
        ledger.add_verdict("L-1", verdict, None, MONDAY + HOUR)
    write(ledger, low("L-1", MONDAY + DAY, probability=0.3))
    assert state(ledger, "L-1") == expected
    ledger.close()


def test_the_list_and_the_exports_carry_the_mark(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path, exploration=LOT)
    write(ledger, low("L-1"), record("L-2"))
    waiting = {one["lead_id"]: one["is_exploration"] for one in ledger.leads(state="mql").items}
    assert waiting == {"L-1": True, "L-2": False}
    export_tables(ledger.engine, tmp_path / "out")
    ledger.close()
    changes = pd.read_parquet(tmp_path / "out" / "stage_changes.parquet")
    marked = changes.set_index("lead_id")
    assert marked["stage"].tolist() == ["mql", "mql"]
    assert marked["reason_code"]["L-1"] == REASON_CODE
    assert marked["reason_code"].isna()["L-2"]


def test_a_ledger_of_before_keeps_its_mqls_unmarked(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    write(ledger, record("L-1"))
    ledger.close()
    with sqlite3.connect(tmp_path / "ledger.db") as connection:  # back to v002
        for table in ("mqls", "latest"):
            connection.execute(f"ALTER TABLE {table} DROP COLUMN is_exploration")
        connection.execute("UPDATE closedwon_ledger_version SET version_num = 'v002'")
    connection.close()
    open_database(URL, tmp_path).dispose()
    ledger = open_ledger(tmp_path)
    assert state(ledger, "L-1") == ("mql", False)
    ledger.close()


def test_a_batch_marks_whom_the_ledger_hands_over(tmp_path: Path) -> None:
    scorer, snapshots = small_scorer(), small_snapshots(300, seed=8)
    model = ModelRecord.of(LeadScorer.of(scorer), "1", MODEL.digest)
    ledger = Ledger.open(URL, tmp_path, exploration=LOT)
    ledger.know_model(model)
    batch = BatchLedger(model, lambda records: write(ledger, *records), MONDAY)
    path = tmp_path / "scores.parquet"
    summary = score_leads(scorer, snapshots, path, ledger=batch, exploration=LOT)
    rows = pd.read_parquet(path)
    explored = {one for one in rows["lead_id"] if state(ledger, one) == ("mql", True)}
    ledger.close()
    assert explored == set(rows.loc[rows["is_exploration"], "lead_id"])
    assert summary.explored == len(explored) > 0
    assert not (rows["is_exploration"] & rows["qualified"]).any()


def test_without_a_share_a_batch_has_no_mark(tmp_path: Path) -> None:
    score_leads(small_scorer(), small_snapshots(5), tmp_path / "scores.parquet")
    assert "is_exploration" not in pd.read_parquet(tmp_path / "scores.parquet")


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
