import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import refused, run
from small_comparison import drawn_weeks
from small_ledger import MONDAY, URL, open_ledger, record, write

from features.config import Config
from models.cutoff import Cutoff
from models.registry import connect
from serving.ledger.clock import now_us
from serving.ledger.database import open_database, writing
from serving.ledger.erasing import erase_leads
from serving.ledger.schema import OF_A_LEAD
from training.comparison.kept_leads import versions_with_leads
from training.comparison.store import EVALUATION, StoredWeeks, write_weeks

SECRET = "jane.miller@example.com"


def test_nothing_of_a_forgotten_lead_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "closedwon.toml").write_text('[serving]\nledger = "sqlite:///ledger.db"\n')
    ledger = open_ledger(tmp_path)
    seen = {"event_type": ["visit"], "content": [f"{SECRET} {'x' * 9_000}"]}
    others = [record(f"L-{number}") for number in range(50)]
    write(ledger, record(SECRET, timeline=seen), *others)
    # Written over: the old timeline lies in pages that nothing points to.
    write(ledger, record(SECRET, MONDAY + 1, why=f"{SECRET} viewed a page"))
    ledger.add_verdict(SECRET, "accepted", None, MONDAY + 2)
    ledger.add_contact(SECRET, MONDAY + 3)
    ledger.close()
    told = run("forget", SECRET, "L-7", "--json")
    assert json.loads(told.out) == {
        "erased": {"scores": 3, "mqls": 2, "verdicts": 1, "contacts": 1, "latest": 2},
        "versions_with_leads": [],
    }
    for path in tmp_path.glob("ledger.db*"):
        assert SECRET.encode() not in path.read_bytes()
    connection = sqlite3.connect(tmp_path / "ledger.db")
    left = {table: connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]
            for table in (*OF_A_LEAD, "erasing")}  # fmt: skip
    assert left == {
        "scores": 49, "mqls": 49, "verdicts": 0, "contacts": 0, "latest": 49, "erasing": 0,
    }  # fmt: skip
    # And the others are guarded again.
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute("DELETE FROM scores")
    connection.close()


def test_what_waited_does_not_bring_an_erased_lead_back(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    write(ledger, record("L-1"), record("L-2"))
    other = open_database(URL, tmp_path)
    erase_leads(other, ["L-1"])
    erase_leads(other, ["L-2"])
    now = now_us()
    write(ledger, record("L-1", MONDAY + 1), record("L-2", now), record("L-3", MONDAY + 1))
    assert {lead["lead_id"] for lead in ledger.leads().items} == {"L-2", "L-3"}
    assert (ledger.erased, ledger.written, ledger.mqls_opened) == (1, 4, 4)
    # After a day nothing tells that there was such a lead.
    with writing(other) as connection:
        connection.exec_driver_sql("UPDATE erased SET erased_at = erased_at - 86400000000")
    write(ledger, record("L-3", MONDAY + 2))
    with other.connect() as connection:
        assert connection.exec_driver_sql("SELECT COUNT(*) FROM erased").scalar() == 0
    other.dispose()
    ledger.close()


def test_unknown_leads_erase_nothing_and_are_not_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "closedwon.toml").write_text('[serving]\nledger = "sqlite:///ledger.db"\n')
    ledger = open_ledger(tmp_path)
    write(ledger, record("L-1"))
    message = refused(run("forget", "L-1", SECRET))
    assert "no score of 1 of the 2 leads: number 2 of your list. Nothing was erased" in message
    assert SECRET not in message
    assert "no score of this lead" in refused(run("forget", SECRET))
    assert ledger.lead("L-1") is not None
    ledger.close()


def test_evaluations_that_hold_a_lead_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, migrated_store: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / ".closedwon").mkdir()
    shutil.copy(migrated_store, tmp_path / ".closedwon" / "mlflow.db")
    config = Config()
    client = connect(config.tracking, tmp_path)
    client.create_registered_model(config.tracking.model_name)
    place = (tmp_path / "artifacts").as_uri()
    experiment = client.create_experiment("closedwon", artifact_location=place)
    weeks = drawn_weeks(seed=0)
    first, both = weeks.scored["lead_id"].iloc[0], weeks.scored["lead_id"].iloc[-1]
    for unknown in ("nobody", first):
        run = client.create_run(experiment).info
        scored, wins = (
            rows[rows["lead_id"] != unknown] if "lead_id" in rows else rows
            for rows in (weeks.scored, weeks.wins)
        )
        kept = replace(weeks, scored=scored, wins=wins)
        write_weeks(StoredWeeks(kept, kept, Cutoff("fixed", {}, 0.2)), tmp_path / EVALUATION)
        client.log_artifacts(run.run_id, str(tmp_path / EVALUATION), EVALUATION)
        client.create_model_version(
            config.tracking.model_name, f"{run.artifact_uri}/model", run.run_id
        )
    assert versions_with_leads([both, "nobody"], config, tmp_path) == ["1", "2"]
    assert versions_with_leads([first], config, tmp_path) == ["1"]
    assert versions_with_leads(["nobody"], config, tmp_path) == []
