import json
from pathlib import Path

import pandas as pd
import pytest
from command_line import leftovers, refused, run
from small_ledger import DAY, HOUR, MODEL, MONDAY, open_ledger, record, write

from features.config import Config
from features.loading.sources import load_tables
from serving.ledger.exports import SCORE_COLUMNS, Format, export_tables
from serving.ledger.ledger import Ledger

LEADS = "lead_id,created_at\nL-1,2026-05-01T08:00:00Z\n=L-2,2026-05-02\n"


def add_crm(folder: Path) -> None:
    """What a CRM would export beside the ledger's tables."""
    (folder / "leads.csv").write_text(LEADS)
    (folder / "opportunities.csv").write_text(
        "opportunity_id,created_at,stage,lead_id\nO-1,2026-05-10,open,L-1\n"
    )


def filled(folder: Path) -> Ledger:
    ledger = open_ledger(folder)
    change = {"points": 0.05, "parts": []}
    write(ledger, record("L-1"), record("=L-2"), record("L-1", MONDAY + DAY, change=change))
    ledger.add_verdict("L-1", "accepted", None, MONDAY + HOUR)
    ledger.add_verdict("=L-2", "recycled", "bad_timing", MONDAY + 2 * HOUR)
    write(ledger, record("=L-2", MONDAY + 3 * HOUR))
    ledger.add_verdict("=L-2", "rejected", "no_budget", MONDAY + 4 * HOUR)
    # A late answer to the MQL before: no stage change any more.
    ledger.add_verdict("=L-2", "recycled", "late", MONDAY + 5 * HOUR, f"=L-2@{MONDAY}")
    return ledger


def test_what_is_exported_loads_as_the_contract(tmp_path: Path) -> None:
    ledger = filled(tmp_path)
    out = tmp_path / "out"
    assert export_tables(ledger.engine, out) == {
        "verdicts.parquet": 4, "stage_changes.parquet": 5, "scores.parquet": 4,
    }  # fmt: skip
    ledger.close()
    add_crm(out)
    config = Config.model_validate({"data": {"data_until": "2026-06-01", "max_rejected_share": 0}})
    loaded = load_tables(config, out)
    changes = loaded.tables.stage_changes.sort_values("changed_at")
    assert changes[["lead_id", "stage"]].to_numpy().tolist() == [
        ["=L-2", "mql"], ["L-1", "mql"], ["L-1", "sal"], ["=L-2", "recycled"], ["=L-2", "mql"],
    ]  # fmt: skip
    assert changes["changed_at"].iloc[2] == pd.Timestamp("2026-05-04T01:00:00")
    assert (changes["recorded_at"] == changes["changed_at"]).all()
    told = loaded.tables.verdicts.sort_values("decided_at")
    assert told["verdict"].tolist() == ["accepted", "recycled", "rejected", "recycled"]
    assert told["reason_code"].tolist()[1:] == ["bad_timing", "no_budget", "late"]
    assert told["score_id"].iloc[2] == f"=L-2@{MONDAY + 3 * HOUR}"


@pytest.mark.parametrize("file_format", ["parquet", "csv"])
def test_an_empty_ledger_makes_empty_tables(tmp_path: Path, file_format: Format) -> None:
    ledger = open_ledger(tmp_path)
    export_tables(ledger.engine, tmp_path / "out", file_format)
    ledger.close()
    add_crm(tmp_path / "out")
    config = Config.model_validate({"data": {"data_until": "2026-06-01"}})
    assert load_tables(config, tmp_path / "out").tables.verdicts.empty


def test_scores_tell_the_model_and_the_features(tmp_path: Path) -> None:
    ledger = filled(tmp_path)
    rows = export_tables(ledger.engine, tmp_path, with_features=True)
    ledger.close()
    assert rows["score_features_1.parquet"] == 4
    scores = pd.read_parquet(tmp_path / "scores.parquet").set_index("score_id")
    assert [scores.index.name, *scores.columns] == list(SCORE_COLUMNS)
    newest = scores.loc[f"L-1@{MONDAY + DAY}"]
    assert (newest["model_version"], newest["model_digest"]) == ("1", MODEL.digest)
    assert newest["as_of"] == pd.Timestamp("2026-05-05")
    assert (newest["change_points"], newest["is_complete"]) == (0.05, True)
    assert json.loads(newest["reasons"])[0]["concept"] == "pricing_view"
    features = pd.read_parquet(tmp_path / "score_features_1.parquet")
    assert list(features.columns[3:]) == [*MODEL.numbers, *MODEL.categories]
    assert features["employees"].isna().all()
    assert set(features["pricing_view_count_30d"]) == {4.0}


def test_the_command_writes_csv_that_no_spreadsheet_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "closedwon.toml").write_text('[serving]\nledger = "sqlite:///ledger.db"\n')
    assert "There is no ledger" in refused(run("export", "--output", "out"))
    filled(tmp_path).close()
    told = run("export", "--output", "out", "--format", "csv")
    assert told.out == (
        "Wrote to out: verdicts.csv (4 rows), stage_changes.csv (5 rows), scores.csv (4 rows).\n"
    )
    lines = (tmp_path / "out" / "verdicts.csv").read_text().splitlines()
    assert lines[1] == f"L-1,accepted,2026-05-04T01:00:00Z,,L-1@{MONDAY},2026-05-04T01:00:00Z"
    assert lines[2].startswith("'=L-2,recycled,")
    assert "ledger.db: " not in told.err
    (tmp_path / "file").write_text("")
    assert "file cannot be made" in refused(run("export", "--output", "file"))
    assert leftovers(tmp_path) == []
