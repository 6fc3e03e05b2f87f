"""`closedwon check`: one command for rows set aside, data quality and leakage, with a page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import CONFIG, leftovers, refused, run
from flat_files import write_flat
from test_report import IMAGE, SCRIPT, Tags, assert_harmless

PAGE = Path(".closedwon/check.html")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a flat export that is in order, and its settings."""
    monkeypatch.chdir(tmp_path)
    write_flat(tmp_path / "export.csv", rows=1_500)
    (tmp_path / "closedwon.toml").write_text(CONFIG)
    return tmp_path


def with_leak(here: Path) -> None:
    rows = pd.read_csv(here / "export.csv")
    rows["invoice"] = np.where(rows["won"] == "yes", rows["industry"], None)
    rows.to_csv(here / "export.csv", index=False)


def test_a_clean_export_passes_also_when_strict_and_leaves_a_page(here: Path) -> None:
    ran = run("check", "--strict")
    assert ran.code == 0, ran
    assert re.match(r"Leakage audit of 2 columns: 0 blocked, 0 to look at\.", ran.out)
    assert "With pictures: .closedwon/check.html" in ran.out
    html = PAGE.read_text(encoding="utf-8")
    assert "No column of 2 shows signs of knowing the outcome." in html
    assert leftovers(here) == []


def test_a_leak_is_told_first_and_fails_only_when_strict(here: Path) -> None:
    with_leak(here)
    ran = run("check")
    assert ran.code == 0, ran
    parts = [ran.out.index(part) for part in ("block: leads.invoice", "\nData quality", "\nLoaded")]
    assert parts == sorted(parts)
    assert run("check", "--strict").code == 3
    html = PAGE.read_text(encoding="utf-8")
    assert "leads.invoice" in html
    assert "blocked" in html


def test_json_is_one_object_with_load_quality_and_audit(here: Path) -> None:
    with_leak(here)
    ran = run("check", "--json", "--strict")
    assert ran.code == 3
    found = json.loads(ran.out)
    assert found["tables"]["flat"]["rows_kept"] == 1_500
    blocked = [f["column"] for f in found["audit"]["findings"] if f["level"] == "block"]
    assert blocked == ["leads.invoice"]
    columns = {column["column"] for column in found["quality"]["columns"]}
    assert columns == {"leads.visits", "leads.industry", "leads.invoice"}
    assert found["audit_missing"] is None
    assert found["page"] == str(PAGE)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (lambda rows: rows, "[flat] names neither label nor won_at"),
        (lambda rows: rows.assign(won="no"), "0 were won; 10 are needed"),
        (
            lambda rows: rows.assign(won=["yes"] * 9 + ["no"] * (len(rows) - 9)),
            "9 were won; 10 are needed",
        ),
        (lambda rows: rows.assign(won="yes"), "all but 0 were won; 10 are needed"),
    ],
)
def test_too_few_outcomes_are_no_mistake_but_fail_a_strict_check(
    here: Path, changed: object, why: str
) -> None:
    rows = changed(pd.read_csv(here / "export.csv"))
    rows.to_csv(here / "export.csv", index=False)
    if why.startswith("[flat]"):
        (here / "closedwon.toml").write_text(
            CONFIG.replace('label = "won"', "").replace('"won_on"', '"won_on", "won"')
        )
    ran = run("check")
    assert ran.code == 0, ran
    assert ran.out.startswith("No leakage audit: ") and why in ran.out
    assert json.loads(run("check", "--json").out)["audit"] is None
    # an audit that was not made proves nothing
    assert run("check", "--strict").code == 3
    assert "Not run: " in PAGE.read_text(encoding="utf-8")


def test_tables_whose_leads_are_all_too_young_are_checked_without_an_audit(here: Path) -> None:
    (here / "closedwon.toml").write_text('[data]\ndata_until = "2024-03-01"\n')
    (here / "leads.csv").write_text(
        "lead_id,created_at\n" + "".join(f"l{n},2024-02-{1 + n % 28:02d}\n" for n in range(90))
    )
    (here / "opportunities.csv").write_text(
        "opportunity_id,created_at,stage,closed_at,lead_id\no1,2024-02-20,closed_won,2024-02-21,l1\n"
    )
    ran = run("check")
    assert ran.code == 0, ran
    assert "No leakage audit: No lead has been known for a whole horizon" in ran.out
    assert "note: outcomes: 90 of 90 leads were created less than 91 days" in ran.out


def test_wrong_input_is_the_users_mistake_and_leaves_no_page(here: Path) -> None:
    (here / "export.csv").unlink()
    assert "does not exist" in refused(run("check", "--strict"))
    assert not PAGE.exists()


def test_hostile_names_on_the_page_are_text(here: Path) -> None:
    rows = pd.read_csv(here / "export.csv").rename(columns={"visits": SCRIPT, "industry": IMAGE})
    rows[SCRIPT] = rows[SCRIPT].where(rows.index % 3 > 0)
    rows["leak"] = np.where(rows["won"] == "yes", SCRIPT, None)
    rows.to_csv(here / "export.csv", index=False)
    assert run("check").code == 0
    html = PAGE.read_text(encoding="utf-8")
    assert_harmless(html)
    assert SCRIPT in "".join(Tags(html).text)
    assert "<svg" in html
    addresses = set(re.findall(r"https?://[^\s\"'<>]+", html))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
