"""A registered bundle made again, byte for byte; or the reason why it cannot be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import CONFIG, in_folder, leftovers, refused, run
from small_model import small_scorer, small_snapshots
from small_registry import empty_folder, register

import models.registry
from models.bundle import rescore_golden, write_bundle
from models.golden import synthesise_rows
from models.scorer import Scorer
from training import recipe
from training.reproduce import Reproduction, compare_bundles


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> Iterator[Path]:
    """A folder with a champion, where the tests below stand."""
    made = in_folder(tmp_path_factory.mktemp("reproduced") / "here", migrated_store)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(made)
        assert run("train").code == 0
        yield made


def test_a_bundle_is_made_again_byte_for_byte(folder: Path) -> None:
    # by the settings of the bundle, not those of today
    settings = folder / "other.toml"
    settings.write_text(CONFIG.replace("folds = 2", "folds = 3\nseed = 7"))
    before = {path for path in folder.rglob("*") if "models" not in path.parts}
    try:
        ran = run("reproduce", "champion", "--config", settings)
        assert {path for path in folder.rglob("*") if "models" not in path.parts} == before
    finally:
        settings.unlink()
    assert ran.code == 0, ran
    first, *files = ran.out.splitlines()
    assert first == "Version 1 was made again, byte for byte."
    assert {"  booster.txt    equal", "  manifest.json  equal"} < set(files)
    assert all(line.endswith("  equal") for line in files), files
    assert leftovers(folder) == []


def test_other_data_are_refused_and_named(folder: Path) -> None:
    export = folder / "export.csv"
    kept = export.read_bytes()
    export.write_bytes(kept[: kept[:-1].rfind(b"\n") + 1])  # the last lead is gone
    try:
        message = refused(run("reproduce", "1"))
    finally:
        export.write_bytes(kept)
    assert "not those version 1 was trained on: flat (changed)" in message
    assert leftovers(folder) == []


def test_a_bundle_from_before_settings_were_recorded_says_so(
    folder: Path, migrated_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = empty_folder(tmp_path / "old", migrated_store)
    register(old, 0.25)
    # The same check in this process: a child costs 2 s, and test_registry has it.
    monkeypatch.setattr(models.registry, "check_bundle", rescore_golden)
    (old / "closedwon.toml").write_text("")
    monkeypatch.chdir(old)
    assert "holds no config.json: it was trained by an older closedwon" in refused(
        run("reproduce", "1")
    )


def test_a_difference_is_shown_by_file(tmp_path: Path) -> None:
    for name, cutoff in (("then", 0.25), ("now", 0.3)):
        scorer = small_scorer(cutoff=cutoff)
        golden = synthesise_rows(small_snapshots(), scorer.encoder)
        write_bundle(scorer, golden, {}, tmp_path / name, {f"{name}.json": {}})
    files = compare_bundles(tmp_path / "then", tmp_path / "now")
    assert files["booster.txt"] == files["catalog.json"] == "equal"
    assert files["scorer.json"] == files["manifest.json"] == "differs"
    assert (files["then.json"], files["now.json"]) == ("not made again", "not in the original")
    found = Reproduction("3", files, {"numpy": ("2.4.5", "2.4.6")}, {})
    assert not found.is_equal
    assert found.lines()[0] == "Version 3 was not made again byte for byte."
    assert found.lines()[-1] == "Other versions: numpy 2.4.5 then, 2.4.6 now."
    same = Reproduction("3", files, {}, {})
    assert "closedwon's own code has changed" in same.lines()[-1]


def test_a_difference_ends_as_a_gate_does(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As if the code had changed since: the same recipe now ships another base rate.
    refit = recipe.refit_on_everything

    def changed(*given: Any, **named: Any) -> Scorer:
        scorer = refit(*given, **named)
        return replace(scorer, base_rate=scorer.base_rate / 2)

    monkeypatch.setattr(recipe, "refit_on_everything", changed)
    ran = run("reproduce", "1", "--json")
    told = json.loads(ran.out)
    assert (ran.code, told["is_equal"], told["versions"]) == (3, False, {})
    differs = {name for name, found in told["files"].items() if found == "differs"}
    assert differs == {"manifest.json", "scorer.json", "golden.json"}
    assert told["files"]["booster.txt"] == "equal"
