"""Fixtures that are costly to make, made once a run; and the order of the files."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

SLOWEST = (
    "test_notebooks.py",
    "test_recipe.py",
    "test_retrain.py",
    "test_partitions.py",
    "test_interrupts.py",
    "test_verify.py",
    "test_timeline.py",
    "test_gate_judge.py",
    "test_audit_tables.py",
    "test_report.py",
    "test_cutoff_segments.py",
    "test_backtest.py",
    "test_cli.py",
    "test_promotion_load.py",
    "test_moved_store.py",
    "test_promotion_kill.py",
)
"""The files that take longest, the longest first. They start first: a slow file that starts last
leaves the other test process with nothing to do."""


def pytest_configure(config: pytest.Config) -> None:
    """Let MLflow use what SQLAlchemy 2.1 deprecated; every other warning is an error."""
    config.addinivalue_line(
        "filterwarnings", "ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the slowest files start first."""
    place = {name: number for number, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(SLOWEST)))


@pytest.fixture(scope="session")
def migrated_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow store; copy it to `.closedwon/mlflow.db`. Its migrations take 7 s."""
    from features.config import TrackingConfig
    from models.registry import connect

    own = tmp_path_factory.getbasetemp()
    # With xdist the folder above is that of the run, which its processes share.
    root = (own.parent if own.name.startswith("popen-") else own) / "store"
    root.mkdir(exist_ok=True)
    with (root / "lock").open("w") as lock, pytest.MonkeyPatch.context() as environment:
        environment.delenv("MLFLOW_TRACKING_URI", raising=False)
        fcntl.flock(lock, fcntl.LOCK_EX)
        connect(TrackingConfig(), root)  # the second process finds the store of the first
    return root / ".closedwon" / "mlflow.db"
