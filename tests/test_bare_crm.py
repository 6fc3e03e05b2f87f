"""A CRM of leads, events and opportunities alone, as most begin: the life of a model on it."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import run
from small_crm import small_demo
from small_registry import empty_folder

from training.simulate import write_demo

CONFIG = """
[data]
data_until = "{until}"
[snapshots]
every_days = 56
[features]
windows_days = [30]
half_lives_days = [30]
[training]
trials = 0
folds = 2
min_wins = 20
bootstraps = 20
num_threads = 1
[cutoff]
mqls_per_week = 4
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> Path:
    made = empty_folder(tmp_path_factory.mktemp("bare"), migrated_store)
    write_demo(small_demo(), made / "crm")
    for table in (made / "crm").glob("*.parquet"):
        if table.stem not in ("leads", "engagement_events", "opportunities"):
            table.unlink()
    return made


def test_a_life_of_a_model_needs_no_stage_changes_accounts_or_verdicts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(folder)
    until = "2025-11-03"
    for command, ends in (
        ("train", {0}),
        ("score", {0}),
        ("check", {0, 3}),
        ("monitor", {0, 3}),
        ("retrain", {0, 3}),
    ):
        if command == "monitor":  # nine weeks on
            until = "2026-01-05"
        Path("closedwon.toml").write_text(CONFIG.format(until=until))
        ran = run(command, "--data", "crm")
        assert ran.code in ends, (command, ran)
