"""Fixtures that are costly to make, made once a session."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Let MLflow use what SQLAlchemy 2.1 deprecated; every other warning is an error."""
    config.addinivalue_line(
        "filterwarnings", "ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"
    )


@pytest.fixture(scope="session")
def migrated_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow store; copy it to `.closedwon/mlflow.db`. Its migrations take 7 s."""
    from features.config import TrackingConfig
    from models.registry import connect

    root = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("MLFLOW_TRACKING_URI", raising=False)
        connect(TrackingConfig(), root)
    return root / ".closedwon" / "mlflow.db"
