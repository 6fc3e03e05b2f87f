"""What a batch leaves in the ledger is what it wrote to the file, with the leads' timelines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_model import small_scorer, small_snapshots
from tables_builder import day, tables_of

from features.catalogue.catalogue import Catalogue
from features.config import Config, PopulationConfig
from features.errors import InputError
from features.facts.histories import DAY
from features.live import LiveSnapshots
from models.lead_scores import LeadScorer
from serving.batch import score_leads
from serving.batch_records import BatchLedger, open_batch_ledger
from serving.ledger.ledger import Ledger
from serving.ledger.records import ModelRecord, ScoreRecord
from serving.live.requests import Limits, parse_request
from serving.live.views import View

SCORED_AT = 1_777_900_000_000_000


def kept(tmp_path: Path, snapshots: pd.DataFrame, **about) -> tuple[pd.DataFrame, list]:
    """The file's rows and the records of a batch."""
    scorer, records = small_scorer(), list[ScoreRecord]()
    model = ModelRecord.of(LeadScorer.of(scorer), "1", "ab" * 32)
    ledger = BatchLedger(model, records.extend, SCORED_AT, **about)
    score_leads(scorer, snapshots, tmp_path / "scores.parquet", ledger=ledger)
    return pd.read_parquet(tmp_path / "scores.parquet"), records


def test_the_ledger_and_the_file_hold_the_same_scores(tmp_path: Path) -> None:
    snapshots = small_snapshots(300, seed=8)
    rows, records = kept(tmp_path, snapshots)
    for name in ("lead_id", "probability", "raw_score", "grade", "qualified", "track", "why"):
        assert [getattr(record, name) for record in records] == rows[name].tolist()
    accounts = [None if pd.isna(account) else account for account in rows["account_id"]]
    assert [record.account_id for record in records] == accounts
    as_of = rows["as_of"].astype("datetime64[us]").astype(np.int64)
    assert [record.as_of for record in records] == as_of.tolist()
    assert {(one.scored_at, one.source, one.model_version) for one in records} == {
        (SCORED_AT, "batch", "1")
    }


def test_kept_reasons_add_up_and_values_are_those_that_were_scored(tmp_path: Path) -> None:
    snapshots = small_snapshots(100, seed=8)
    rows, records = kept(tmp_path, snapshots)
    scorer = LeadScorer.of(small_scorer())
    for place, record in enumerate(records):
        explained = record.probability - scorer.base_probability
        assert record.points.sum() == pytest.approx(explained, abs=1e-12)
        assert record.reasons[0]["text"] == rows["reason_1"][place]
        expected = snapshots[list(scorer.number_names)].iloc[place].to_numpy(np.float32)
        np.testing.assert_array_equal(record.numbers, expected)
        industry = snapshots["industry"].iloc[place]
        assert record.categories == (None if pd.isna(industry) else industry,)


def test_a_lead_keeps_its_newest_events_of_before_the_score(tmp_path: Path) -> None:
    monday = (pd.Timestamp("2024-05-06") - day(0)).days
    events = [
        {"lead_id": "lead-0", "event_type": "late", "occurred_at": monday - 1,
         "recorded_at": monday},
        {"lead_id": "lead-0", "event_type": "after", "occurred_at": monday},
        {"lead_id": "lead-2", "event_type": "visit", "occurred_at": monday - 1, "channel": "web"},
        *({"lead_id": "lead-0", "event_type": f"seen {n}", "occurred_at": monday - n}
          for n in range(1, 60)),
    ]  # fmt: skip
    tables = tables_of(
        leads=[{"lead_id": f"lead-{n}", "created_at": 0} for n in range(3)],
        engagement_events=events,
    )
    _, records = kept(tmp_path, small_snapshots(3), tables=tables)
    first = records[0].timeline
    assert first["event_type"] == [f"seen {n}" for n in range(1, 51)]
    as_of = records[0].as_of
    assert first["occurred_at"] == [as_of - n * DAY for n in range(1, 51)]
    assert records[1].timeline == {}
    assert records[2].timeline["channel"] == ["web"]


def test_when_a_lead_was_recycled_is_told_as_live() -> None:
    leads = [{"lead_id": lead, "created_at": str(day(0))} for lead in "abc"]
    changes = [
        {"lead_id": lead, "stage": stage, "changed_at": str(day(on))}
        for lead, stage, on in (("a", "mql", 1), ("a", "recycled", 2), ("a", "recycled", 3),
                                ("a", "recycled", 9), ("b", "mql", 2))
    ]  # fmt: skip
    as_of = int(day(5).timestamp()) * 1_000_000
    body = {"tables": {"leads": leads, "stage_changes": changes}}
    now = as_of + 9 * DAY
    request = parse_request(json.dumps(body).encode(), now, Limits())
    rows = {name: table.columns for name, table in request.slice.tables.items()}
    view = View(LiveSnapshots.of(Catalogue(())), rows, PopulationConfig())
    told = [view.recycled_at(lead, as_of) for lead in "abc"]
    assert told == [as_of - 2 * DAY, None, None]
    tables = tables_of(
        leads=[{**lead, "created_at": 0} for lead in leads],
        stage_changes=[
            {**row, "changed_at": pd.Timestamp(row["changed_at"][:-1])} for row in changes
        ],
    )
    model = ModelRecord.of(LeadScorer.of(small_scorer()), "1", "ab" * 32)
    batch = BatchLedger(model, print, SCORED_AT, tables)
    assert batch._recycled(pd.Series(["a", "b", "c"], dtype="str"), [as_of] * 3) == told


def test_a_batch_gives_up_on_a_ledger_in_trouble_and_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    config = Config.model_validate({"serving": {"ledger": "sqlite:///ledger.db"}})
    scorer, snapshots, output = small_scorer(), small_snapshots(200), tmp_path / "scores.csv"
    opened = open_batch_ledger(scorer, "1", tmp_path, config, tmp_path, None, wait_seconds=0.1)
    told = r"took no scores for 0.1 seconds: its file was removed .* It holds 200 of this run"
    with pytest.raises(InputError, match=told), opened as ledger:
        score_leads(scorer, snapshots, tmp_path / "first.csv", ledger=ledger)
        (tmp_path / "ledger.db").rename(tmp_path / "moved.db")
        score_leads(scorer, snapshots, output, ledger=ledger)
    assert not output.exists()


def test_a_batch_makes_mqls_in_a_real_ledger(tmp_path: Path) -> None:
    scorer, snapshots = small_scorer(), small_snapshots(200, seed=8)
    model = ModelRecord.of(LeadScorer.of(scorer), "1", "ab" * 32)
    ledger = Ledger.open("sqlite:///ledger.db", tmp_path)
    try:
        ledger.know_model(model)
        batch = BatchLedger(model, lambda records: ledger.submit(records).result(10), SCORED_AT)
        summary = score_leads(scorer, snapshots, tmp_path / "scores.csv", ledger=batch)
        waiting = ledger.leads(state="mql", limit=200).items
        assert len(waiting) == summary.qualified > 0
        assert all(item["qualified"] for item in waiting)
        assert len(ledger.leads(limit=200).items) == 200
    finally:
        ledger.close()
