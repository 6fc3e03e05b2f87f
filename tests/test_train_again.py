"""A second training, in a folder whose champion is damaged while somebody moves an alias."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Ran, in_folder, refused, run
from small_registry import register

import models.registry
from features.config import Config
from models.bundle import rescore_golden
from models.registry import connect
from training.run_lock import run_lock

FEW_SECONDS = 1.0


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, migrated_store: Path
) -> Iterator[tuple[Path, Ran]]:
    """The folder, and how `closedwon train` ended there."""
    folder = in_folder(tmp_path_factory.mktemp("again") / "here", migrated_store)
    stored = folder / ".closedwon" / "mlartifacts"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(models.registry, "check_bundle", rescore_golden)
        patch.chdir(folder)
        register(folder, 0.25)
        damaged = next(stored.rglob("booster.txt"))
        damaged.write_text("damaged")
        held, is_over = threading.Event(), threading.Event()

        def promoting() -> None:
            with run_lock(folder, "promote"):
                held.set()
                # Until the model is logged and only its registration is left, and a little longer.
                while len(list(stored.rglob("booster.txt"))) < 2 and not is_over.is_set():
                    time.sleep(0.05)
                is_over.wait(FEW_SECONDS)

        other = threading.Thread(target=promoting)
        other.start()
        held.wait()
        try:
            ran = run("train", "--json")
        finally:
            is_over.set()
            other.join()
        yield folder, ran


def test_the_work_of_minutes_waits_for_whoever_moves_an_alias(trained: tuple[Path, Ran]) -> None:
    _, ran = trained
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["seconds"]["register"] > FEW_SECONDS


def test_a_damaged_champion_is_not_in_the_way_of_its_successor(trained: tuple[Path, Ran]) -> None:
    folder, ran = trained
    told = json.loads(ran.out)
    assert (told["model_version"], told["alias"], told["gate"]) == ("2", "challenger", None)
    assert len(told["notes"]) == 1
    assert told["notes"][0].startswith(
        "The gate has not judged this model. The champion, version 1, cannot be read: "
    )
    assert "gate" not in connect(Config().tracking, folder).get_model_version("closedwon", "2").tags


def test_it_is_promoted_by_a_person_only(trained: tuple[Path, Ran]) -> None:
    no = run("promote", "2")
    assert no.code == 3
    assert "never judged against the champion" in no.out
    assert "The champion, version 1, cannot be read" in refused(run("retrain"))
    assert run("promote", "2", "--override", "version 1 is damaged").code == 0
