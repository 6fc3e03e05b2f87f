"""A promotion or a rollback in a process of its own that is killed at one of its writes.

All that takes long to import is imported here: each child is forked from a process that has it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import mlflow.store.model_registry.sqlalchemy_store
import mlflow.store.tracking.sqlalchemy_store

import models.registry
from features.config import Config
from models.bundle import rescore_golden
from training.promotion import promote, rollback

CONFIG = Config()
WRITES = (
    "set_registered_model_tag",
    "set_registered_model_alias",
    "delete_registered_model_alias",
)


def act(root: Path, action: str) -> None:
    """Promote the challenger, or go back to the champion before."""
    if action == "promote":
        promote(CONFIG, root)
    else:
        rollback(CONFIG, root, None, "no good")


def act_until(root: Path, action: str, stop_at: int) -> None:
    """Do `action`, and die without a word before the write of this number, counted from 0."""
    # The same check in this process: a child costs 2 s each time, and test_registry has it.
    models.registry.check_bundle = rescore_golden
    made = 0

    def counted(write: Callable[..., Any]) -> Callable[..., Any]:
        def dying(*given: Any, **named: Any) -> Any:
            nonlocal made
            if made == stop_at:
                os.kill(os.getpid(), signal.SIGKILL)
            made += 1
            return write(*given, **named)

        return dying

    for name in WRITES:
        setattr(mlflow.MlflowClient, name, counted(getattr(mlflow.MlflowClient, name)))
    act(root, action)
    if made == stop_at:
        os.kill(os.getpid(), signal.SIGKILL)  # after the last write
