import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import pandas as pd
import pytest
from small_model import small_scorer, small_snapshots

import models.registry
from features.config import TrackingConfig
from features.errors import InputError
from models.bundle import bundle_digest, check_bundle, open_bundle, rescore_golden, write_bundle
from models.cutoff import Estimate
from models.golden import synthesise_rows
from models.registry import connect, fetch_bundle, tracking_uri
from training.tracking import Registered, log_training

TRACKING = TrackingConfig()


@pytest.fixture
def root(tmp_path: Path, migrated_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an empty MLflow store."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / ".closedwon").mkdir()
    shutil.copy(migrated_store, tmp_path / ".closedwon" / "mlflow.db")
    # The same check in this process: a child costs 2 s, and the first test has it.
    monkeypatch.setattr(models.registry, "check_bundle", rescore_golden)
    return tmp_path


def train(
    root: Path,
    cutoff: float = 0.25,
    may_be_champion: bool = True,
    artifacts: Sequence[Path] = (),
) -> Registered:
    scorer = small_scorer(cutoff=cutoff)
    bundle = root / "run" / "bundle"
    write_bundle(scorer, synthesise_rows(small_snapshots(), scorer.encoder), {}, bundle)
    return log_training(
        TRACKING,
        root,
        run_name="train",
        params={"num_leaves": 7},
        metrics={"auc": Estimate(0.8, 0.75, 0.85), "wins": Estimate(200)},
        digests={"data": "abc"},
        artifacts=artifacts,
        bundle=bundle,
        may_be_champion=may_be_champion,
    )


def test_the_first_model_is_champion_and_the_next_its_challenger(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = train(root), train(root, cutoff=0.5)
    assert (first.model_version, first.alias) == ("1", "champion")
    assert (second.model_version, second.alias) == ("2", "challenger")
    with monkeypatch.context() as patch:
        patch.setattr(models.registry, "check_bundle", check_bundle)
        folder, version = fetch_bundle("champion", TRACKING, root)
    assert (folder, version) == (root / "models" / "artifacts" / "closedwon" / "1", "1")
    assert open_bundle(folder).cutoff.value == 0.25
    assert open_bundle(fetch_bundle("challenger", TRACKING, root)[0]).cutoff.value == 0.5
    assert fetch_bundle("2", TRACKING, root)[1] == "2"


def test_where_there_was_a_champion_training_makes_no_other(root: Path) -> None:
    first = train(root)
    connect(TRACKING, root).delete_registered_model_alias("closedwon", "champion")
    second = train(root, cutoff=0.5)
    assert (first.told, second.alias) == (None, "challenger")
    assert second.told == (
        "There is no champion, but version 1 was the last, so this one waits for a person: "
        "closedwon promote 2, or closedwon rollback to go back."
    )
    assert train(root, may_be_champion=False).told is None, "it may not be champion anyway"


def test_a_model_that_may_not_be_champion_leaves_the_place_empty(root: Path) -> None:
    assert train(root, may_be_champion=False).alias == "challenger"
    with pytest.raises(InputError, match=r"no champion. There is: challenger \(version 1\)"):
        fetch_bundle("champion", TRACKING, root)


def test_a_run_tells_params_metrics_with_intervals_digests_and_files(root: Path) -> None:
    report = root / "report.html"
    report.write_text("<p>fine</p>")
    registered = train(root, artifacts=[report])
    client = connect(TRACKING, root)
    run = client.get_run(registered.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"num_leaves": "7"}
    assert run.data.metrics == {"auc": 0.8, "auc_low": 0.75, "auc_high": 0.85, "wins": 200}
    assert run.data.tags["digest.data"] == "abc"
    assert [file.path for file in client.list_artifacts(registered.run_id)] == ["report.html"]


def test_mlflow_loads_the_model_and_scores_as_we_do(root: Path) -> None:
    import mlflow

    train(root)
    connect(TRACKING, root)
    model = mlflow.pyfunc.load_model("models:/closedwon@champion")
    snapshots = small_snapshots(100, seed=6)
    found = pd.DataFrame(model.predict(snapshots))
    expected = small_scorer().score(snapshots)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    logged = [path.name for path in (root / ".closedwon" / "mlartifacts").rglob("*")]
    assert "booster.txt" in logged
    assert not [name for name in logged if Path(name).suffix in {".pkl", ".joblib", ".skops"}]


def test_the_cache_is_used_while_its_digest_is_the_registered_one(root: Path) -> None:
    train(root)
    folder, _ = fetch_bundle("champion", TRACKING, root)
    digest = bundle_digest(folder)
    stores = root / ".closedwon" / "mlartifacts"
    stores.rename(root / "away")
    assert fetch_bundle("champion", TRACKING, root)[0] == folder
    (root / "away").rename(stores)
    (folder / "booster.txt").write_text("damaged")
    assert bundle_digest(fetch_bundle("champion", TRACKING, root)[0]) == digest
    assert "damaged" not in (folder / "booster.txt").read_text()


def test_a_bundle_changed_in_the_store_never_reaches_the_cache(root: Path) -> None:
    train(root)
    stored = next((root / ".closedwon" / "mlartifacts").rglob("manifest.json"))
    stored.write_text(stored.read_text().replace('"format": 1', '"format":  1'))
    with pytest.raises(InputError, match="digest differs"):
        fetch_bundle("champion", TRACKING, root)
    assert not (root / "models" / "artifacts" / "closedwon" / "1").exists()
    assert list((root / "models" / "artifacts" / "closedwon").iterdir()) == []


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ("champion", "Train one first: closedwon train"),
        ("7", "Train one first: closedwon train"),
        ("best", "champion, challenger or a version"),
        ("../1", "champion, challenger or a version"),
        ("0", "champion, challenger or a version"),
    ],
)
def test_without_a_model_the_user_is_told_what_to_do(
    selector: str, message: str, root: Path
) -> None:
    with pytest.raises(InputError, match=message):
        fetch_bundle(selector, TRACKING, root)


def test_an_unknown_version_names_those_there_are(root: Path) -> None:
    train(root)
    with pytest.raises(InputError, match=r"no version 9. There is: champion \(version 1\)"):
        fetch_bundle("9", TRACKING, root)


def test_a_version_registered_by_others_is_refused(root: Path) -> None:
    train(root)
    client = connect(TRACKING, root)
    source = client.get_model_version("closedwon", "1").source
    client.create_model_version("closedwon", source)
    with pytest.raises(InputError, match="was not registered by closedwon"):
        fetch_bundle("2", TRACKING, root)


class Interrupted(Sequence[Path]):
    """Ctrl-C while the artifacts are logged."""

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Path]: ...
    def __getitem__(self, index: int | slice) -> Path | Sequence[Path]:
        raise KeyboardInterrupt

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Path]:
        raise KeyboardInterrupt


def test_ctrl_c_leaves_a_failed_run_and_no_version(root: Path) -> None:
    train(root)
    with pytest.raises(KeyboardInterrupt):
        train(root, artifacts=Interrupted())
    client = connect(TRACKING, root)
    experiment = client.get_experiment_by_name("closedwon")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.status for run in runs) == ["FAILED", "FINISHED"]
    aliases = client.get_registered_model("closedwon").aliases
    assert {alias: str(version) for alias, version in aliases.items()} == {"champion": "1"}
    assert len(client.search_model_versions("name='closedwon'")) == 1


def test_a_model_that_cannot_be_logged_is_the_users_error(root: Path) -> None:
    with pytest.raises(InputError, match="MLflow store"):
        train(root, artifacts=[root / "absent.html"])
    assert connect(TRACKING, root).search_registered_models() == []


def test_a_store_that_cannot_be_reached_is_named_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://marketing:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(InputError, match=r"http://\*\*\*@127\.0\.0\.1:9 failed") as caught:
        fetch_bundle("champion", TRACKING, tmp_path)
    assert "secret" not in str(caught.value)


def test_the_environment_wins_and_is_left_as_it_was(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tracking_uri(TRACKING, root) == f"sqlite:///{root}/.closedwon/mlflow.db"
    connect(TRACKING, root)
    assert "MLFLOW_TRACKING_URI" not in os.environ
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.com")
    assert tracking_uri(TRACKING, root) == "https://mlflow.example.com"
