import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from small_model import CATALOGUE, small_scorer, small_snapshots

from features.errors import InputError
from models.bundle import (
    bundle_digest,
    canonical_json,
    check_bundle,
    checking_bundle,
    example_rows,
    open_bundle,
    write_bundle,
)
from models.golden import synthesise_rows

FACTS = {"data": "0" * 64, "seed": 0, "training_window": ["2023-01-02", "2024-05-06"]}


def write(folder: Path) -> Path:
    scorer = small_scorer()
    write_bundle(scorer, synthesise_rows(small_snapshots(), scorer.encoder), FACTS, folder)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def sign_again(folder: Path) -> None:
    """Make the manifest right again after a file was changed: damage no digest can find."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, entry in manifest["files"].items():
        content = (folder / name).read_bytes()
        entry.update(sha256=hashlib.sha256(content).hexdigest(), size=len(content))
    (folder / "manifest.json").write_bytes(canonical_json(manifest))


def test_a_bundle_scores_as_the_scorer_it_was_written_from(tmp_path: Path) -> None:
    snapshots = small_snapshots(500, seed=4)
    opened = open_bundle(write(tmp_path / "bundle"))
    pd.testing.assert_frame_equal(opened.score(snapshots), small_scorer().score(snapshots))
    expected = small_scorer()
    assert opened == expected


def test_equal_scorers_give_equal_bytes_also_after_a_round_trip(tmp_path: Path) -> None:
    first, second = write(tmp_path / "one"), write(tmp_path / "elsewhere" / "two")
    assert contents(first) == contents(second)
    write_bundle(open_bundle(first), example_rows(first), FACTS, tmp_path / "three")
    assert contents(first) == contents(tmp_path / "three")


def test_a_bundle_is_text_without_path_clock_or_code(tmp_path: Path) -> None:
    text = b"".join(contents(write(tmp_path / "bundle")).values()).decode()
    assert str(tmp_path) not in text
    assert str(Path(__file__).parents[1]) not in text
    assert "pickle" not in text


def test_golden_rows_are_nobodys(tmp_path: Path) -> None:
    folder = write(tmp_path / "bundle")
    text = "".join(content.decode() for content in contents(folder).values())
    assert "Jane Miller" not in text  # a rare value of the training rows
    assert not re.search(r"(lead|account)-\d", text)
    real = small_snapshots()[CATALOGUE.names].to_csv(header=False, index=False).splitlines()
    made_up = example_rows(folder)[CATALOGUE.names].to_csv(header=False, index=False).splitlines()
    assert not set(real) & set(made_up)


def test_golden_rows_reach_every_kind_of_value(tmp_path: Path) -> None:
    rows = example_rows(write(tmp_path / "bundle"))
    known = small_scorer().encoder.vocabularies["industry"]
    assert len(rows) == 32
    assert rows["industry"].isna().any()
    assert (~rows["industry"].dropna().isin(known)).any()
    assert rows["visit_recency"].isna().any()
    assert set(rows["is_eligible"]) == {True, False}


def test_a_sound_bundle_passes_in_a_child_process(tmp_path: Path) -> None:
    check_bundle(write(tmp_path / "bundle"))


def test_a_folder_called_models_where_the_user_stands_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "bundle")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    check_bundle(folder)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def change_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", [truncate, change_a_byte, Path.unlink])
@pytest.mark.parametrize("name", ["booster.txt", "scorer.json", "catalog.json", "golden.json"])
def test_damage_is_found_before_the_file_is_parsed(
    name: str, damage: Callable[[Path], None], tmp_path: Path
) -> None:
    folder = write(tmp_path / "bundle")
    damage(folder / name)
    with pytest.raises(InputError, match=f"{name} of the bundle"):
        open_bundle(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 1, "files": {"x": 1}}', "["])
def test_a_damaged_manifest_is_named(content: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "bundle")
    (folder / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=r"manifest\.json of the bundle"):
        open_bundle(folder)


def test_a_manifest_reaches_no_file_outside_its_bundle(tmp_path: Path) -> None:
    folder = write(tmp_path / "bundle")
    (tmp_path / "secret.txt").write_text("secret")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["../secret.txt"] = {"sha256": "0", "size": 6}
    (folder / "manifest.json").write_bytes(canonical_json(manifest))
    with pytest.raises(InputError, match="outside the bundle"):
        open_bundle(folder)


def test_a_later_format_is_refused_with_the_way_out(tmp_path: Path) -> None:
    folder = write(tmp_path / "bundle")
    manifest = json.loads((folder / "manifest.json").read_text()) | {"format": 99}
    (folder / "manifest.json").write_bytes(canonical_json(manifest))
    with pytest.raises(InputError, match="format 99; this closedwon reads 1"):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("scorer.json", '"slope_above": 1.2', '"slope_above": -1.2'),
        ("scorer.json", '"horizon_days": 91', '"horizon_days": "soon"'),
        ("scorer.json", '"base_rate"', '"base"'),
        ("catalog.json", '"family": "fit"', '"family": "fitness"'),
        ("catalog.json", '"employees"', '"workers"'),
    ],
)
def test_wrong_content_is_named_even_when_the_digest_agrees(
    name: str, old: str, new: str, tmp_path: Path
) -> None:
    folder = write(tmp_path / "bundle")
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))
    sign_again(folder)
    with pytest.raises(InputError, match=r"(scorer|catalog)\.json of the bundle"):
        open_bundle(folder)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("left_child=", "left_child=77 "),
        lambda text: text.replace("split_feature=", "split_feature=9"),
    ],
)
def test_a_model_that_would_kill_lightgbm_is_named(
    damage: Callable[[str], str], tmp_path: Path
) -> None:
    folder = write(tmp_path / "bundle")
    path = folder / "booster.txt"
    path.write_text(damage(path.read_text()))
    sign_again(folder)
    with pytest.raises(InputError, match=r"booster\.txt of the bundle .* is damaged"):
        open_bundle(folder)


def test_a_model_with_one_other_leaf_is_not_the_one_that_was_trained(tmp_path: Path) -> None:
    folder = write(tmp_path / "bundle")
    path = folder / "booster.txt"
    text = path.read_text()
    digit = text.index(".", text.index("leaf_value=")) + 1
    path.write_text(text[:digit] + ("9" if text[digit] != "9" else "8") + text[digit + 1 :])
    sign_again(folder)
    with pytest.raises(InputError, match="the base raw score is not that of the forest"):
        check_bundle(folder)


def test_a_model_with_one_other_threshold_is_not_the_one_that_was_trained(tmp_path: Path) -> None:
    folder = write(tmp_path / "bundle")
    path = folder / "booster.txt"
    text = path.read_text()
    start = text.index("threshold=") + len("threshold=")
    first = text[start:].split()[0]
    other = "9" * first.index(".") + first[first.index(".") :]
    path.write_text(text[:start] + other + text[start + len(first) :])
    sign_again(folder)
    with pytest.raises(InputError, match=r"golden rows the expected raw_score"):
        check_bundle(folder)


def test_a_check_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    folder = write(tmp_path / "bundle")
    with pytest.raises(InputError, match=r"took over 0\.01 s"):
        check_bundle(folder, timeout_seconds=0.01)


def children() -> set[str]:
    """The processes that this one has started and that are still there."""
    tasks = Path("/proc/self/task").iterdir()
    return {pid for task in tasks for pid in (task / "children").read_text().split()}


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are listed by Linux")
def test_a_check_that_nobody_waits_for_leaves_no_child(tmp_path: Path) -> None:
    folder, before = write(tmp_path / "bundle"), children()
    started = set()
    with pytest.raises(KeyboardInterrupt), checking_bundle(folder):
        started = children() - before
        raise KeyboardInterrupt
    assert len(started) == 1 and not children() & started


def test_a_bundle_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = write(tmp_path / "bundle")
    before = contents(folder)
    scorer = replace(small_scorer(cutoff=0.1), facts={"precision": float("nan")})
    rows = synthesise_rows(small_snapshots(), scorer.encoder)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_bundle(scorer, rows, FACTS, folder)
    assert contents(folder) == before
    digest = write_bundle(small_scorer(cutoff=0.1), rows, FACTS, folder)
    assert open_bundle(folder).cutoff.value == 0.1
    assert bundle_digest(folder) == digest
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_no_bundle_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="closedwon train"):
        open_bundle(tmp_path / "none")
