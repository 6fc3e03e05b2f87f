"""A store that was moved, copied or emptied or lost its files, and what rollback does then."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from command_line import refused, run
from small_registry import CONFIG, copied, digest_of, empty_folder, register

import models.registry
from features.errors import InputError
from models.bundle import bundle_digest, rescore_golden
from models.local_store import places_of
from models.registry import connect, fetch_bundle
from training.promotion import promote, rollback
from training.promotion_records import LONGEST_WHY, Record, gone_back_from
from training.promotion_standing import history
from training.run_files import run_file


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> Path:
    """A champion, version 1, and version 2, which the gate let pass."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        root = empty_folder(tmp_path_factory.mktemp("moved") / "made", migrated_store)
        register(root, 0.21)
        register(root, 0.22, "pass")
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the whole folder: its store names the places of the original."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    # The same check in this process: a child costs 2 s each time, and test_registry has it.
    monkeypatch.setattr(models.registry, "check_bundle", rescore_golden)
    return Path(shutil.copytree(made, tmp_path / "cop y"))


def files_of(root: Path) -> Path:
    return root / ".closedwon" / "mlartifacts"


def without_original(root: Path) -> Path:
    """Let the store name places that are nowhere, as after a move."""
    with sqlite3.connect(root / ".closedwon" / "mlflow.db") as store:
        store.execute(
            "update model_versions set storage_location = 'file:///nowhere/at%20all' || "
            "substr(storage_location, instr(storage_location, '/.closedwon/'))"
        )
    store.close()
    return root


def test_a_moved_folder_finds_its_bundles_beside_its_store(root: Path) -> None:
    without_original(root)
    folder, _ = fetch_bundle("champion", CONFIG.tracking, root)
    assert bundle_digest(folder) == digest_of(root, "1")
    promote(CONFIG, root, "2")
    assert rollback(CONFIG, root, None, "no good").told == (
        "Version 1 is champion again, in place of version 2."
    )


def test_what_a_run_kept_moves_with_the_folder(root: Path, tmp_path: Path) -> None:
    run_id = connect(CONFIG.tracking, root).get_model_version("closedwon", "1").run_id
    written = connect(CONFIG.tracking, root).get_run(run_id).info.artifact_uri
    within = written.rpartition("/mlartifacts/")[2]
    with sqlite3.connect(root / ".closedwon" / "mlflow.db") as store:
        store.execute(
            "update runs set artifact_uri = ?",
            (f"file:///nowhere/.closedwon/mlartifacts/{within}",),
        )
    store.close()
    kept = files_of(root) / within / "choice.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text("{}")
    assert run_file(run_id, "choice.json", CONFIG.tracking, root, tmp_path) == kept
    assert run_file(run_id, "gate.json", CONFIG.tracking, root, tmp_path) is None


def test_a_copied_folder_uses_its_own_files_and_the_originals_where_it_has_none(
    root: Path, made: Path, tmp_path: Path
) -> None:
    for manifest in files_of(root).rglob("manifest.json"):
        manifest.write_text("{}")
    with pytest.raises(InputError, match="digest differs"):
        fetch_bundle("1", CONFIG.tracking, root)
    bare = copied(made, tmp_path / "bare")
    assert bundle_digest(fetch_bundle("1", CONFIG.tracking, bare)[0]) == digest_of(made, "1")


def test_a_training_in_a_copied_folder_leaves_the_original_as_it_is(root: Path, made: Path) -> None:
    before = sorted(made.rglob("*"))
    shutil.rmtree(root / "run")
    digest = register(root, 0.23)
    assert sorted(made.rglob("*")) == before
    assert bundle_digest(fetch_bundle("3", CONFIG.tracking, root)[0]) == digest
    location = connect(CONFIG.tracking, root).get_model_version_download_uri("closedwon", "3")
    assert location.startswith(files_of(root).as_uri())


def test_files_that_are_nowhere_are_named_with_what_to_do(root: Path) -> None:
    without_original(root)
    shutil.rmtree(files_of(root))
    with pytest.raises(InputError) as caught:
        fetch_bundle("1", CONFIG.tracking, root)
    told = str(caught.value)
    assert told.startswith(f"The store has no files of version 1 at {files_of(root)}/models/")
    assert told.endswith("use another version, or train again: closedwon train")


@pytest.mark.parametrize(
    ("location", "beside"),
    [
        ("file:///old/.closedwon/mlartifacts/models/m-1/artifacts", True),
        ("/old%20/.closedwon/mlartifacts/models/m-1/artifacts", True),
        ("file:///old/mlruns/models/m-1/artifacts", False),  # not of a store's folder
        ("s3://leads/.closedwon/mlartifacts/models/m-1/artifacts", None),  # not of this machine
    ],
)
def test_only_what_was_beside_a_store_is_looked_for_there(
    location: str, beside: bool | None
) -> None:
    root = Path("/now")
    here = root / ".closedwon/mlartifacts/models/m-1/artifacts"
    found = places_of(location, root / ".closedwon/mlflow.db", root)
    assert (here in found if found else None) == beside
    assert here not in places_of(location, Path("/shared/mlflow.db"), root)


def test_a_rollback_needs_no_more_than_the_checked_copy_of_this_folder(root: Path) -> None:
    without_original(root)
    fetch_bundle("1", CONFIG.tracking, root)
    promote(CONFIG, root, "2")
    shutil.rmtree(files_of(root))
    back = rollback(CONFIG, root, None, "no good")
    assert (back.champion, history(CONFIG, root).champion) == ("1", "1")
    assert "Only the copy in this folder could be checked" in back.told
    assert "The store has no files of version 1" in back.told
    with pytest.raises(InputError, match="no files of version 2"):
        promote(CONFIG, root, "2", override="a promotion is in no such hurry")
    shutil.rmtree(root / "models" / "artifacts")
    with pytest.raises(InputError, match="no files of version 2"):
        rollback(CONFIG, root, "2", "there is no copy of it here")


def test_a_copy_whose_check_fails_is_no_way_back(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: Path) -> None:
        raise InputError("its golden rows come out otherwise")

    without_original(root)
    fetch_bundle("1", CONFIG.tracking, root)
    promote(CONFIG, root, "2")
    shutil.rmtree(files_of(root))
    monkeypatch.setattr(models.registry, "check_bundle", failing)
    with pytest.raises(InputError, match="golden rows come out otherwise"):
        rollback(CONFIG, root, None, "no good")
    assert history(CONFIG, root).champion == "2"


@pytest.mark.parametrize("table", [None, "create table other (id integer)"])
def test_an_emptied_store_is_not_taken_for_a_new_one(table: str | None, root: Path) -> None:
    store = root / ".closedwon" / "mlflow.db"
    store.write_bytes(b"")
    if table is not None:
        emptied = sqlite3.connect(store)
        emptied.execute(table)
        emptied.close()
    before = store.read_bytes()
    for asked in (
        lambda: history(CONFIG, root),
        lambda: fetch_bundle("champion", CONFIG.tracking, root),
        lambda: register(root, 0.3),
    ):
        with pytest.raises(InputError, match=r"mlflow\.db was emptied: it has .* from a backup"):
            asked()
    assert store.read_bytes() == before


def test_the_history_tells_what_was_overridden(root: Path) -> None:
    promote(CONFIG, root, "2")
    rollback(CONFIG, root, None, "too many MQLs", who="ann@crm")
    refusal = promote(CONFIG, root, "2").told
    promote(CONFIG, root, "2", override="put it back", who="bo@crm")
    record = history(CONFIG, root).records[-1]
    assert record.refusal is not None and refusal.startswith(record.refusal)
    line = history(CONFIG, root).lines()[-1]
    assert "by bo@crm: put it back [gate: pass, overridden: Version 2 was champion until" in line
    assert line.endswith("when ann@crm went back from it: too many MQLs.]")


def test_a_long_refusal_is_kept_short(root: Path) -> None:
    promote(CONFIG, root, "2")
    rollback(CONFIG, root, None, "\N{LATIN SMALL LETTER SHARP S}" * LONGEST_WHY)
    why = "\N{LATIN SMALL LETTER SHARP S}" * LONGEST_WHY
    promote(CONFIG, root, "2", override=why, who="u" * 256 + "@" + "h" * 64)
    tags = connect(CONFIG.tracking, root).get_registered_model("closedwon").tags
    assert max(len(value) for value in tags.values()) < 5_000


def changes(*moves: tuple[str, str, str]) -> list[Record]:
    first = Record("first", None, "1", "ann@crm", "why", state="done")
    return [
        first,
        *(
            Record(action, before, version, "ann@crm", "why", state="done")  # type: ignore[arg-type]
            for action, before, version in moves
        ),
    ]


BACK = ("rollback", "2", "1")


@pytest.mark.parametrize(
    ("moves", "version", "is_gone"),
    [
        ([("promote", "1", "2"), BACK], "2", True),
        # Brought back by an override, then followed by another: nobody went back from it since.
        ([("promote", "1", "2"), BACK, ("promote", "1", "2"), ("promote", "2", "3")], "2", False),
        # Forward again: version 1 did nothing wrong.
        ([("promote", "1", "2"), BACK, ("rollback", "1", "2")], "1", False),
        ([("promote", "1", "2"), BACK, ("rollback", "1", "2")], "2", False),
        # Sideways: version 4 was left for one that came in before it.
        ([("promote", "1", "2"), BACK, ("promote", "1", "4"), ("rollback", "4", "2")], "4", True),
        # Version 1 came in again, after version 2: to go to 2 is to go back.
        ([("promote", "1", "2"), ("promote", "2", "1"), ("rollback", "1", "2")], "1", True),
    ],
)
def test_who_was_gone_back_from_is_who_made_way_for_an_earlier_champion(
    moves: list[tuple[str, str, str]], version: str, is_gone: bool
) -> None:
    assert (gone_back_from(changes(*moves), version) is not None) == is_gone


def test_a_version_that_is_not_there_is_said_not_to_be(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    (root / "closedwon.toml").write_text("")
    told = refused(run("rollback", "7", "--reason", "ok"))
    assert "closedwon has no version 7. The newest there are: 1, 2." in told
    assert "closedwon promote 7" not in told
