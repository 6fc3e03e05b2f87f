"""`closedwon init`: the drafted configuration can be read, and used where nothing is guessed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from features.config import Config, read_config
from features.errors import InputError
from features.loading.scaffold import draft_config
from features.loading.sources import load_tables


def drafted(folder: Path) -> Config:
    path = folder / "closedwon.toml"
    path.write_text(draft_config(folder))
    return read_config(path)


def test_tables_of_the_contract_need_no_mapping(tmp_path: Path) -> None:
    (tmp_path / "leads.csv").write_text("lead_id,created_at\n1,2024-01-01\n")
    assert drafted(tmp_path) == Config()
    assert "leads.csv is read as the table leads" in draft_config(tmp_path)
    assert "No file for opportunities" in draft_config(tmp_path)


def test_a_crm_export_is_mapped_by_its_column_names_and_loads(tmp_path: Path) -> None:
    (tmp_path / "Contact.csv").write_text(
        'Id,AccountId,CreatedDate,LeadSource,Job "Title"\n003A,001A,2024-01-01T10:00:00Z,Web,CTO\n'
    )
    (tmp_path / "Opportunities.csv").write_text(
        "Id,AccountId,CreatedDate,StageName,CloseDate,Amount\n"
        "006A,001A,2024-02-01T10:00:00Z,Closed Won,2024-03-01,100\n"
    )
    (tmp_path / "Weather.csv").write_text("day,rain\n2024-01-01,3\n")
    config = drafted(tmp_path)
    assert set(config.tables) == {"leads", "opportunities"}
    tables = load_tables(config, tmp_path, now=pd.Timestamp("2024-12-31")).tables
    assert tables.leads.lead_id.tolist() == ["003A"]
    assert tables.attributes("leads") == ["source", 'Job "Title"']
    assert tables.opportunities.amount.tolist() == [100.0]
    assert "Weather.csv: not recognised" in draft_config(tmp_path)


def test_what_is_not_found_is_left_to_be_filled_in(tmp_path: Path) -> None:
    (tmp_path / "leads.parquet").touch()
    pd.DataFrame({"Key": ["1"], "Made": ["2024-01-01"]}).to_parquet(tmp_path / "leads.parquet")
    sql = drafted(tmp_path).tables["leads"].sql
    assert sql is not None
    assert "null as created_at /* which column? */" in sql


def test_a_flat_export_is_recognised_by_its_label(tmp_path: Path) -> None:
    (tmp_path / "export.csv").write_text('Prospect ID,Created on,"Is ""Won""",Size\n1,x,1,2\n')
    flat = drafted(tmp_path).flat
    assert flat is not None
    assert flat.lead_id == "Prospect ID"
    assert flat.label == 'Is "Won"'


def test_every_setting_is_there_with_its_default(tmp_path: Path) -> None:
    (tmp_path / "leads.csv").write_text("lead_id,created_at\n1,2024-01-01\n")
    text = draft_config(tmp_path)
    assert "# horizon_days = 91" in text
    assert "# windows_days = [7, 30, 90]" in text
    settings = text[text.index("# [data]\n") :].splitlines()
    uncommented = [line.removeprefix("# ") for line in settings if " = ..." not in line]
    (tmp_path / "all.toml").write_text("\n".join(uncommented))
    assert read_config(tmp_path / "all.toml") == Config()


def test_a_folder_without_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file of a known kind"):
        draft_config(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        draft_config(tmp_path / "nowhere")
