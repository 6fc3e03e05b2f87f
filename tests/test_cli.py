"""The command line and what people do to it: one clear message, the right exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from command_line import CONFIG, in_folder, leftovers, refused, run
from small_model import small_scorer

import closedwon
from features.config import Config
from features.errors import InputError
from serving.open_leads import read_open_leads
from training.demo import DEMO_MARK

PERSON = "jane.doe@customer.example"
LEADS = b"lead_id,created_at,mail\n" + b"".join(
    f"{number},2024-01-{1 + number % 28:02d},{PERSON}\n".encode() for number in range(100)
)
OPPORTUNITIES = b"opportunity_id,created_at,stage,closed_at,lead_id\n1,2024-02-01,open,,1\n"
TABLES = '[tables.leads]\npath = "l.csv"\n[tables.opportunities]\npath = "o.csv"\n'


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> Path:
    """A folder with a flat export and a champion."""
    folder = in_folder(tmp_path_factory.mktemp("trained") / "here", migrated_store)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(folder)
        ran = run("train", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["alias"] == "champion"
    return folder


@pytest.fixture
def at_trained(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(trained)
    return trained


@pytest.mark.parametrize("command", ["check", "features", "train", "score"])
def test_without_settings_every_command_says_how_to_write_some(command: str) -> None:
    assert "closedwon.toml does not exist. Write one with: closedwon init" in refused(run(command))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[training]\nhorizn_days = 3\n", "training.horizn_days is no setting; known: horizon_"),
        (b"[tables.leads]\npth = 'l.csv'\n", "tables.leads.pth is no setting; known: path, sql"),
        (b"[flat]\npth = 'l.csv'\n", "flat.pth is no setting; known: path, sql, lead_id"),
        (b"[training]\nhorizon_days = -1\n", "training.horizon_days: Input should be greater"),
        (b"[cutoff]\npolicy = 'money'\n", "cutoff: policy money needs win_value"),
        (b"once upon a time", "is not valid TOML"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b"[tables.lead]\npath = 'l.csv'\n", "[tables] has unknown names: lead. Known: leads,"),
        (b"", "No source for leads"),
    ],
)
def test_a_mistake_in_the_settings_is_named(here: Path, content: bytes, message: str) -> None:
    (here / "closedwon.toml").write_bytes(content)
    assert message in refused(run("check"))


def test_a_folder_is_no_settings_file(here: Path) -> None:
    (here / "folder").mkdir()
    assert "folder cannot be read: Is a directory." in refused(run("train", "--config", "folder"))


@pytest.mark.parametrize(
    ("leads", "opportunities", "message"),
    [
        (None, OPPORTUNITIES, "the file l.csv does not exist"),
        (b"", OPPORTUNITIES, "the file l.csv is empty"),
        (b"lead_id,created_at\n", OPPORTUNITIES, "leads (l.csv) has no rows"),
        (b"lead_id,mail\n1,x\n", OPPORTUNITIES, "lacks the column created_at. Found: lead_id"),
        (LEADS.replace(b"2024-01-0", b"January "), OPPORTUNITIES, "leads.created_at: "),
        (LEADS + LEADS.replace(b"2024", b"2023"), OPPORTUNITIES, "rule duplicate_id"),
        (LEADS, OPPORTUNITIES.replace(b"open", b"Verbal"), '1 unknown value: "Verbal"'),
        (LEADS.replace(b"@", b"\x00"), OPPORTUNITIES, "rule text_has_nul"),
        (LEADS + b"7,2024-01-01," + b"x" * 50_000_000, OPPORTUNITIES, "longer than 8 MB (line 102"),
        (LEADS + b"7,2024-01-01,\xe9\n", OPPORTUNITIES, "is not UTF-8 text"),
        (LEADS + b'7,2024-01-01,"open quote\n', OPPORTUNITIES, "opens a quote"),
    ],
    ids=[
        *("missing file", "empty file", "header only", "missing column", "bad dates"),
        *("duplicate ids", "unknown stage", "NUL", "50 MB line", "not UTF-8", "open quote"),
    ],
)
def test_bad_tables_are_refused_in_one_line_without_a_persons_data(
    here: Path, leads: bytes | None, opportunities: bytes, message: str
) -> None:
    (here / "closedwon.toml").write_text(TABLES)
    (here / "o.csv").write_bytes(opportunities)
    if leads is not None:
        (here / "l.csv").write_bytes(leads)
    told = refused(run("check"))
    assert message in told
    assert PERSON.partition("@")[0] not in told
    assert not (here / ".closedwon" / "mlflow.db").exists()


@pytest.mark.parametrize("command", ["check", "train", "features"])
def test_a_folder_is_no_table(here: Path, command: str) -> None:
    (here / "closedwon.toml").write_text(TABLES)
    (here / "l.csv").mkdir()
    assert "l.csv is a folder. Name a file in it." in refused(run(command))


@pytest.mark.parametrize("command", ["check", "train"])
def test_rows_set_aside_are_kept_and_named_also_when_the_load_stops(
    here: Path, command: str
) -> None:
    (here / "closedwon.toml").write_text(TABLES)
    (here / "l.csv").write_bytes(LEADS.replace(b"2024-01-0", b"January "))
    (here / "o.csv").write_bytes(OPPORTUNITIES)
    assert "Rows set aside are in .closedwon/rejects/leads.csv." in refused(run(command))
    rejects = here / ".closedwon" / "rejects" / "leads.csv"
    assert len(pd.read_csv(rejects)) == LEADS.count(b"2024-01-0")
    assert rejects.stat().st_mode & 0o077 == 0


def test_check_takes_an_export_that_cannot_be_trained_on_yet(here: Path) -> None:
    (here / "closedwon.toml").touch()
    (here / "leads.csv").write_bytes(LEADS + b",2024-01-01,\n")
    ran = run("check")
    assert ran.code == 0, ran.err
    assert "leads (leads.csv): 100 of 101 rows" in ran.out
    assert "Rows set aside are in .closedwon/rejects/leads.csv." in ran.out
    assert "There is no table opportunities yet: training needs it." in ran.out
    found = json.loads(run("check", "--json").out)
    assert found["missing_to_train"] == ["opportunities"]
    assert found["tables"]["leads"]["rejected"] == {"missing_id:lead_id": 1}
    assert "No source for opportunities" in refused(run("train"))


@pytest.mark.parametrize(
    ("won", "message"),
    [
        ([0] * 1_500, "label won has no won lead"),
        ([1] * 1_500, "label won has only won leads"),
        ([1, *[0] * 49] * 30, "won leads in the fit rows; 50 are needed, so "),
        (["Gewonnen", "no"] * 750, '[flat] label won holds "gewonnen", "no". Known: 1/0'),
    ],
)
def test_labels_that_teach_nothing_are_refused_before_anything_is_written(
    here: Path, won: list[object], message: str
) -> None:
    (here / "closedwon.toml").write_text(CONFIG.replace('drop = ["seen", "won_on"]', ""))
    rows = range(len(won))
    pd.DataFrame({"person": rows, "firm": rows, "visits": 1, "won": won}).to_csv(
        here / "export.csv", index=False
    )
    assert message in refused(run("train"))
    assert not (here / ".closedwon").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["score", "--output", "no/s.csv"], "no/s.csv cannot be written: the folder no does not"),
        (["score", "--output", "s.xlsx"], "s.xlsx must end in .csv or .parquet"),
        (["score", "--output", "folder.csv"], "folder.csv is a folder; name a file"),
        (["score", "--output", "export.csv"], "export.csv is an input of this run"),
        (["score"], "There is no model closedwon yet. Train one first: closedwon train"),
        (["features", "--output", "f.csv"], "f.csv must end in .parquet"),
        (["features", "--output", "no/f.parquet"], "the folder no does not exist"),
        (["init", "--output", "closedwon.toml"], "closedwon.toml is already there"),
        (["init", "--data", "no", "--output", "new.toml"], "The folder no does not exist"),
        (["init", "--data", "folder.csv", "--output", "new.toml"], "has no file of a known kind"),
    ],
)
def test_a_bad_output_is_refused_before_the_work(
    here: Path, arguments: list[str], message: str
) -> None:
    (here / "closedwon.toml").write_text(CONFIG)
    (here / "export.csv").write_text("person,firm,visits,won\n1,1,1,1\n")
    (here / "folder.csv").mkdir()
    assert message in refused(run(*arguments))
    assert sorted(path.name for path in here.iterdir()) == [
        *("closedwon.toml", "export.csv", "folder.csv"),
    ]


def test_a_disk_that_says_no_is_no_bug(here: Path) -> None:
    (here / ".closedwon").write_text("in the way")
    assert refused(run("demo", "--leads", 1000)).endswith(": Not a directory.\n")


@pytest.mark.parametrize("arguments", [["train", "--confg", "x"], ["nope"], ["demo", "--leads=1"]])
def test_a_usage_error_exits_2(arguments: list[str]) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "7"], "closedwon has no version 7. There is: champion (version 1)"),
        (["--model", "best"], 'There is no model "best"'),
        (["--input", "lacking.csv"], "lacking.csv lacks 1 column that the model needs: visits"),
        (["--input", "header.csv"], "header.csv has no rows"),
        (["--input", "nowhere.csv"], "the file nowhere.csv does not exist"),
        (["--input", "new.csv", "--output", "new.csv"], "new.csv is an input of this run"),
        (["--config", "tables.toml"], "The model was trained on a flat export"),
    ],
)
def test_score_says_what_it_cannot_score(
    at_trained: Path, arguments: list[str], message: str
) -> None:
    (at_trained / "lacking.csv").write_text("person,industry\n1,steel\n")
    (at_trained / "header.csv").write_text("person,industry,visits\n")
    (at_trained / "new.csv").write_text("person,industry,visits\n1,steel,3\n")
    (at_trained / "tables.toml").touch()
    assert message in refused(run("score", *arguments))
    assert (at_trained / "new.csv").read_text() == "person,industry,visits\n1,steel,3\n"


def test_score_ends_with_one_json_object_and_whole_files(at_trained: Path) -> None:
    ran = run("score", "--json", "--all-reasons", "--output", "out.parquet")
    assert (ran.code, ran.err, ran.out.count("\n")) == (0, "", 1)
    told = json.loads(ran.out)
    export = pd.read_csv(at_trained / "export.csv")
    assert told["leads"] == (export["won"] == "no").sum()  # a won lead is not open
    assert told["output"] == "out.parquet"
    scores = pd.read_parquet("out.parquet")
    every = pd.read_parquet(told["reasons_output"])
    assert len(scores) == told["leads"] == sum(told["grades"].values())
    assert set(every["lead_id"]) == set(scores["lead_id"]) <= set(export["person"])
    assert run("score").code == 0
    pd.testing.assert_series_equal(
        pd.read_csv("scores.csv")["probability"], scores["probability"], rtol=1e-12
    )
    assert leftovers(at_trained / ".closedwon") == []


def test_score_keeps_the_champions_scores_in_the_ledger_unless_told_not_to(
    at_trained: Path,
) -> None:
    def rows_kept() -> int:
        return json.loads(run("export", "--output", "kept", "--json").out)["rows"]["scores.parquet"]

    told = json.loads(run("score", "--json").out)
    before = rows_kept()
    assert told["in_ledger"] and before >= told["leads"]
    for further in (("--no-ledger",), ("--model", "1")):
        assert not json.loads(run("score", "--json", *further).out)["in_ledger"]
    assert rows_kept() == before


def test_features_writes_parquet_and_train_and_check_take_the_same_export(at_trained: Path) -> None:
    told = json.loads(run("features", "--json").out)
    snapshots = pd.read_parquet("snapshots.parquet")
    expected = {"rows": 1500, "features": 2, "parts": 1, "parts_reused": 0}
    assert told == {**expected, "output": "snapshots.parquet"}
    assert len(snapshots) == 1500
    assert "won" not in snapshots
    assert json.loads(run("check", "--json").out)["tables"]["flat"]["rows_kept"] == 1500


def test_a_model_of_tables_refuses_a_flat_file_and_tables_that_lack_what_it_learnt_from(
    here: Path,
) -> None:
    (here / "leads.csv").write_bytes(LEADS)
    with pytest.raises(InputError, match="Leave out --input"):
        read_open_leads(small_scorer(), Config(), here, Path("new.csv"))
    flat = Config.model_validate({"flat": {"path": "export.csv"}})
    with pytest.raises(InputError, match=r"has a \[flat\] section"):
        read_open_leads(small_scorer(), flat, here)
    with pytest.raises(InputError, match="No source for engagement_events"):
        read_open_leads(small_scorer(), Config(), here)


def test_init_and_demo_keep_settings_of_ones_own_and_replace_the_demos(here: Path) -> None:
    (here / "leads.csv").write_bytes(LEADS)
    assert closedwon._leave_demo_config(1000) == Path("closedwon.toml")
    ran = run("init")
    assert ran.code == 0, ran.err
    assert "closedwon check\n" in ran.out
    own = (here / "closedwon.toml").read_text()
    assert not own.startswith(DEMO_MARK)
    assert closedwon._leave_demo_config(1000) == Path(".closedwon/demo.toml")
    assert (here / "closedwon.toml").read_text() == own


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"]])
def test_help_answers_at_once_without_heavy_imports(arguments: list[str]) -> None:
    script = (
        "import sys, closedwon\n"
        f"try: closedwon.main({arguments})\n"
        "except SystemExit as ended: assert not ended.code\n"
        "heavy = {'pandas', 'numpy', 'mlflow', 'duckdb', 'lightgbm'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    seconds = []
    for _ in range(3):
        before = os.times()
        subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)
        spent = os.times()
        seconds.append(
            spent.children_user
            + spent.children_system
            - before.children_user
            - before.children_system
        )
    # Half a second is promised. Time on the processor, since other tests share the machine, and
    # half as much again for what they do to its caches.
    assert min(seconds) < 0.75


def test_a_reader_that_went_away_is_no_error(here: Path) -> None:
    (here / "leads.csv").write_bytes(LEADS)
    reading, writing = os.pipe()
    os.close(reading)
    ran = subprocess.run(
        [sys.executable, "-c", "import closedwon; closedwon.main(['init'])"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert (here / "closedwon.toml").exists()
