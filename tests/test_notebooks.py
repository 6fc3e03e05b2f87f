"""The notebooks: stored without outputs, run from any folder, and what they find is so."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
NAMES = ("01_demo_crm", "02_train_and_read", "03_model_against_rules")
MARKS = re.compile(r'class="mark-(?:rect|symbol|line|rule|area)[^"]* role-mark')


def read(name: str) -> Any:
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run in; nothing of the person who runs the tests is read or written."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def executed(name: str, folder: Path, asked: dict[str, str]) -> tuple[dict[str, Any], int]:
    """Run a notebook in `folder`; return what it knows of `asked` and how many pictures it drew.

    `asked`: name -> Python expression over the notebook's own variables, with a JSON value.
    """
    notebook, before = read(name), sorted(NOTEBOOKS.iterdir())
    told = ", ".join(f"{fact!r}: {expression}" for fact, expression in asked.items())
    question = nbformat.v4.new_code_cell(f"import json\nprint(json.dumps({{{told}}}))")
    notebook.cells.append(question)
    NotebookClient(
        notebook,
        timeout=300,
        resources={"metadata": {"path": str(folder)}},
        extra_arguments=["--log-level=ERROR"],
    ).execute()

    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    complaints = [out.text for out in outputs if out.get("name") == "stderr"]
    assert not complaints, complaints
    assert list(folder.iterdir()) == []
    assert sorted(NOTEBOOKS.iterdir()) == before
    drawn = [output.get("data", {}).get("image/svg+xml") for output in outputs]
    pictures = [picture for picture in drawn if picture is not None]
    assert all(MARKS.search(picture) for picture in pictures)
    assert all(text not in picture for picture in pictures for text in ("NaN", "undefined"))
    facts: dict[str, Any] = json.loads(cells[-1].outputs[0].text)
    return facts, len(pictures)


def test_there_are_no_other_notebooks() -> None:
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")) == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_stored_without_outputs(name: str) -> None:
    notebook = read(name)
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    assert cells
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)
    assert all(cell.metadata == {} for cell in notebook.cells)
    assert notebook.metadata.kernelspec.name == "python3"
    stored = (NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8")
    assert stored == nbformat.writes(notebook, indent=1) + "\n"  # so that a change is a small diff


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_says_what_to_see_before_every_cell_that_shows_something(name: str) -> None:
    cells = read(name).cells
    assert cells[0].cell_type == "markdown"
    assert cells[0].source.startswith("# ")
    in_a_row = [
        (one.id, other.id, third.id)
        for one, other, third in zip(cells, cells[1:], cells[2:], strict=False)
        if {one.cell_type, other.cell_type, third.cell_type} == {"code"}
    ]
    assert not in_a_row, in_a_row


def test_the_first_notebook_finds_what_it_broke_and_planted(elsewhere: Path) -> None:
    asked = {
        "planted": "sorted(demo.planted)",
        "blocked": "sorted(checked.audit.blocked())",
        "rejected": "{rule: n for t in checked.load.tables for rule, n in t.rejected.items()}",
        "warned": "[f.subject for f in checked.quality.findings if f.severity == 'warn']",
        "ceiling": "ceiling",
        "wins": "float(examples.won.mean() / best['probability'].mean())",
        "rise": "float(before['a week'].iloc[:3].mean() / anyone)",
    }
    facts, pictures = executed("01_demo_crm", elsewhere, asked)
    assert facts["blocked"] == facts["planted"] != []
    assert facts["rejected"] == {"event_of_unknown_lead": 25, "closed_before_created": 3}
    assert facts["warned"] == ["page_view"]
    assert 0.9 < facts["ceiling"] < 0.95
    assert 0.85 < facts["wins"] < 1.15
    assert facts["rise"] > 3
    assert pictures == 8


def test_the_second_notebook_reads_a_model_that_is_near_the_truth(
    elsewhere: Path, tmp_path: Path, migrated_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = shutil.copy(migrated_store, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}")
    asked = {
        "alias": "trained.registered.alias",
        "here": "(root / '.closedwon' / 'mlflow.db').exists()",
        "sum": "float(steps['points'].sum())",
        "probability": "float(probability)",
        "cutoff": "cutoff.value",
        "share_of_skill": "float(share_of_skill)",
        "leads": "len(both)",
        "off": "evaluation.metrics['calibration_error'].value",
    }
    facts, pictures = executed("02_train_and_read", elsewhere, asked)
    assert facts["alias"] == "champion"
    assert not facts["here"]  # but in the store that the environment names, as promised
    assert facts["sum"] == pytest.approx(facts["probability"], abs=1e-6)
    assert facts["probability"] >= facts["cutoff"] > 0.05
    assert 0.7 < facts["share_of_skill"] < 1
    assert facts["leads"] > 2_000
    assert facts["off"] < 0.02
    assert pictures == 7


def test_the_third_notebook_compares_on_equal_terms_and_names_the_work_of_sales(
    elsewhere: Path,
) -> None:
    equal = "comparison.pairs['equal_volume']"
    group = "worked.comparison.swaps.groups"
    asked = {
        "mqls": f"[len(evaluation.test_weeks.replay().mqls({equal}.model_cutoff)),"
        f" len(evaluation.test_weeks.rules_replay().mqls({equal}.rules_threshold))]",
        "swaps": "[comparison.swaps.groups[name].leads for name in ('swap_ins', 'swap_outs')]",
        "examples": "[example.by for example in against.examples]",
        "cutoffs": "{asked: cutoff.value for asked, cutoff in chosen.items()}",
        "worked": f"[{group}[name].worked_share.value for name in ('swap_ins', 'swap_outs')]",
        "words": "worked_words['work']",
        "without": "rows",
    }
    facts, pictures = executed("03_model_against_rules", elsewhere, asked)
    model, rules = facts["mqls"]
    assert facts["swaps"][0] - facts["swaps"][1] == model - rules
    assert abs(model - rules) <= 0.05 * rules
    assert set(facts["examples"]) == {"model", "rules"}
    cutoffs = facts["cutoffs"]
    assert cutoffs["40% of them close, 90% sure"] is None
    assert 0 < cutoffs["10% of them close, 90% sure"] < cutoffs["the volume of the rules"] < 1
    assert facts["worked"][0] < facts["worked"][1]
    assert "lower bound" in facts["words"]
    assert [row["leads"] for row in facts["without"]] == ["swapped in", "swapped out"]
    assert pictures == 4
