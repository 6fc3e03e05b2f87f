"""Leads handed over by lot: the ledger, the file of a batch, the exports."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pytest
from small_crm import small_config
from small_ledger import DAY, HOUR, MONDAY, URL, open_ledger, record, write
from small_model import small_scorer, small_snapshots

from features.config import Config
from features.exploration import REASON_CODE, is_drawn
from features.life_config import ExplorationConfig
from serving.batch import score_leads
from serving.batch_records import open_batch_ledger
from serving.ledger.database import open_database
from serving.ledger.exports import export_tables
from serving.ledger.ledger import Ledger

LOT = ExplorationConfig(share=0.2)
DRAWN, OTHER = (
    next(name for name in (f"A-{n}" for n in range(99)) if is_drawn(LOT, "L", name) is wanted)
    for wanted in (True, False)
)


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


def marked_by_batch(folder: Path, config: Config | None) -> set[str]:
    """Whom the file of a batch marks; without `config` it has no ledger."""
    scorer, snapshots, path = small_scorer(), small_snapshots(300, seed=8), folder / "s.parquet"
    (folder / "manifest.json").write_text("{}")
    with ExitStack() as stack:
        opened = None if config is None else open_batch_ledger(
            scorer, "1", folder, config, folder, None
        )  # fmt: skip
        ledger = None if opened is None else stack.enter_context(opened)
        summary = score_leads(scorer, snapshots, path, ledger=ledger, exploration=LOT)
    rows = pd.read_parquet(path)
    assert summary.explored == rows["is_exploration"].sum()
    assert not (rows["is_exploration"] & rows["qualified"]).any()
    return set(rows.loc[rows["is_exploration"], "lead_id"])


def test_a_batch_marks_whom_the_ledger_hands_over_and_only_then(tmp_path: Path) -> None:
    config = small_config(exploration={"share": 0.2}, serving={"ledger": URL})
    drawn = marked_by_batch(tmp_path, None)
    assert len(drawn) > 2
    ledger = open_ledger(tmp_path, exploration=LOT)
    before = low(min(drawn))
    write(ledger, before)  # handed over through the API
    ledger.close()
    assert marked_by_batch(tmp_path, config) == drawn - {before.lead_id}
    ledger = open_ledger(tmp_path)
    assert {one for one in drawn if state(ledger, one) == ("mql", True)} == drawn
    ledger.close()
    assert marked_by_batch(tmp_path, config) == set()  # the night after
    assert marked_by_batch(tmp_path, None) == drawn  # nothing remembers without a ledger


def test_without_a_share_a_batch_has_no_mark(tmp_path: Path) -> None:
    score_leads(small_scorer(), small_snapshots(5), tmp_path / "scores.parquet")
    assert "is_exploration" not in pd.read_parquet(tmp_path / "scores.parquet")
