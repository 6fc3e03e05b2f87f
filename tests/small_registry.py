"""A working folder with registered versions of a tiny model, as the gate judged them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from small_model import small_scorer, small_snapshots

import models.registry
from features.config import Config
from models.bundle import bundle_digest, rescore_golden, write_bundle
from models.cutoff import Estimate
from models.golden import synthesise_rows
from models.registry import GATE_TAG
from training.tracking import log_training

CONFIG = Config()


def empty_folder(root: Path, store: Path) -> Path:
    """Lay a copy of the empty MLflow `store` into `root`."""
    (root / ".closedwon").mkdir(parents=True)
    shutil.copy(store, root / ".closedwon" / "mlflow.db")
    return root


def register(
    root: Path, cutoff: float, decision: str | None = None, against: str = "1", skilled: bool = True
) -> str:
    """Register a version with this cutoff, judged `against` a version; return its digest."""
    tags = {}
    if decision is not None:
        verdict = {
            "decision": decision,
            "champion": against,
            "champion_digest": digest_of(root, against),
        }
        tags[GATE_TAG] = json.dumps(verdict)
    bundle = root / "run" / "bundle"
    scorer = small_scorer(cutoff=cutoff)
    write_bundle(scorer, synthesise_rows(small_snapshots(), scorer.encoder), {}, bundle)
    registered = log_training(
        CONFIG.tracking,
        root,
        run_name="train",
        params={},
        metrics={"auc": Estimate(0.8)},
        digests={},
        artifacts=(),
        bundle=bundle,
        may_be_champion=skilled,
        tags=tags,
    )
    shutil.copytree(bundle, root / "kept" / registered.model_version)
    return bundle_digest(bundle)


def digest_of(root: Path, version: str) -> str:
    """Return the digest of a version that `register` made."""
    return bundle_digest(root / "kept" / version)


def copied(root: Path, to: Path) -> Path:
    """Copy the store to another folder; the bundles it names stay where they are."""
    shutil.copytree(root / ".closedwon", to / ".closedwon", ignore=shutil.ignore_patterns("mlart*"))
    shutil.copytree(root / "kept", to / "kept")
    return to


def own_copy(made: Path, to: Path, patch: pytest.MonkeyPatch) -> Path:
    """Copy the store as `copied` does; nobody's own store is met, and bundles are checked here.

    The same check in this process: a child costs 2 s each time, and test_registry has it.
    """
    patch.delenv("MLFLOW_TRACKING_URI", raising=False)
    patch.setattr(models.registry, "check_bundle", rescore_golden)
    return copied(made, to)
