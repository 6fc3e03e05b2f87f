"""One MLflow run per training, and a registered model at its end."""

from __future__ import annotations

import gc
import importlib.metadata
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from features.config import TrackingConfig
from models.bundle import bundle_digest, example_rows, open_bundle
from models.cutoff import Estimate
from models.local_store import artifacts_folder, keep_files_here, local_store
from models.registry import (
    CHALLENGER,
    CHAMPION,
    DIGEST_TAG,
    SKILL_TAG,
    connect,
    store_errors,
    tracking_uri,
    without_mlflow_warnings,
)
from training.promotion_records import (
    Record,
    end_record,
    ever_champion,
    last_champion,
    read_records,
    whoami,
    write_record,
)
from training.run_lock import WAIT_SECONDS, run_lock

if TYPE_CHECKING:  # mlflow takes 5 s to import
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

# What the logged model needs beside closedwon itself, which is installed from its source: a name
# we don't own on a package index must not be in a requirements file.
_REQUIREMENTS = ("mlflow", "numba", "numpy", "pandas", "pydantic", "scipy")


@dataclass(frozen=True)
class Registered:
    """What a training left in MLflow."""

    run_id: str
    model_version: str
    alias: str
    "champion or challenger"
    told: str | None = None
    "Why it is no champion although it beats the base rate and there is none."


def log_training(
    tracking: TrackingConfig,
    root: Path,
    run_name: str,
    params: Mapping[str, Any],
    metrics: Mapping[str, Estimate],
    digests: Mapping[str, str],
    artifacts: Sequence[Path],
    bundle: Path,
    may_be_champion: bool,
    tags: Mapping[str, str] | None = None,
    checked: Callable[[], None] = lambda: None,
) -> Registered:
    """Log one training to MLflow and register its bundle as a new model version.

    `metrics` are logged as `name`, `name_low` and `name_high`, `digests` as tags, `artifacts`
    (files or folders) under their names. `bundle` is a folder called `bundle`. The version
    gets `tags` beside its digest, and becomes `champion` if it may and there never was one, else
    `challenger`. Registration comes last, once `checked` has returned, which raises for a bundle
    that isn't to be believed: an interrupted or failed run is marked FAILED and leaves no version
    and no alias behind.
    """
    if bundle.name != "bundle":
        raise ValueError(f"the folder of a bundle to log is called bundle, not {bundle.name}")
    client = connect(tracking, root)
    import mlflow

    with store_errors(tracking_uri(tracking, root)):
        experiment_id = _experiment(client, tracking, root)
        with mlflow.start_run(experiment_id=experiment_id, run_name=run_name) as run, _unlocking():
            mlflow.set_tags({f"digest.{name}": digest for name, digest in digests.items()})
            mlflow.log_params(dict(params))
            mlflow.log_metrics(_flat(metrics))
            for path in artifacts:
                if path.is_dir():
                    mlflow.log_artifacts(str(path), path.name)
                else:
                    mlflow.log_artifact(str(path))
            model_uri, model_id = _log_model(bundle)
            checked()
            with run_lock(root, run_name, wait_seconds=WAIT_SECONDS):
                version, alias, told = _register(
                    client,
                    name=tracking.model_name,
                    model_uri=model_uri,
                    model_id=model_id,
                    run_id=run.info.run_id,
                    digest=bundle_digest(bundle),
                    may_be_champion=may_be_champion,
                    tags=tags or {},
                )
    return Registered(run.info.run_id, version, alias, told)


def _experiment(client: MlflowClient, tracking: TrackingConfig, root: Path) -> str:
    """Return the experiment's id; in a local store it keeps new files beside the store."""
    existing = client.get_experiment_by_name(tracking.experiment)
    uri = tracking_uri(tracking, root)
    if existing is not None:
        number = str(existing.experiment_id)
        keep_files_here(number, existing.artifact_location, local_store(uri), root)
        return number
    location = artifacts_folder(root).as_uri() if uri.startswith("sqlite:") else None
    return str(client.create_experiment(tracking.experiment, artifact_location=location))


def _flat(metrics: Mapping[str, Estimate]) -> dict[str, float]:
    named = {
        f"{name}{suffix}": amount
        for name, estimate in metrics.items()
        for suffix, amount in (
            ("", estimate.value),
            ("_low", estimate.low),
            ("_high", estimate.high),
        )
    }
    return {name: amount for name, amount in named.items() if amount is not None}


def _log_model(bundle: Path) -> tuple[str, str]:
    """Log the bundle as a pyfunc of the active run and return its URI and id.

    Signature and requirements are given, since inferring them loads the model in two further
    processes.
    """
    example = example_rows(bundle)
    scores = open_bundle(bundle).score(example)
    with without_mlflow_warnings():
        import mlflow.pyfunc

        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).parents[1] / "models" / "pyfunc.py"),
            artifacts={"bundle": str(bundle)},
            signature=_signature(example, scores),
            input_example=example.head(2),
            pip_requirements=[
                f"{package}=={importlib.metadata.version(package)}" for package in _REQUIREMENTS
            ],
        )
    return str(logged.model_uri), str(logged.model_id)


def _signature(snapshots: pd.DataFrame, scores: pd.DataFrame) -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    def schema(rows: pd.DataFrame) -> Schema:
        return Schema([ColSpec(_mlflow_type(rows[name]), str(name)) for name in rows.columns])

    return ModelSignature(inputs=schema(snapshots), outputs=schema(scores))


def _mlflow_type(values: pd.Series) -> str:
    if pd.api.types.is_bool_dtype(values):
        return "boolean"
    if pd.api.types.is_datetime64_dtype(values):
        return "datetime"
    if pd.api.types.is_float_dtype(values):
        return "float" if values.dtype == "float32" else "double"
    return "string"


def _register(
    client: MlflowClient,
    name: str,
    model_uri: str,
    model_id: str,
    run_id: str,
    digest: str,
    may_be_champion: bool,
    tags: Mapping[str, str],
) -> tuple[str, str, str | None]:
    """Return the new version, its alias and `Registered.told`.

    Neither version nor alias stays behind when this is interrupted.
    """
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    model = client.get_registered_model(name)
    has_champion, records = CHAMPION in model.aliases, read_records(model.tags)
    is_first = may_be_champion and not has_champion and not ever_champion(records)
    alias = CHAMPION if is_first else CHALLENGER
    own = {DIGEST_TAG: digest, SKILL_TAG: "yes" if may_be_champion else "no"}
    try:
        version = str(
            client.create_model_version(
                name,
                source=model_uri,
                run_id=run_id,
                tags={**tags, **own},
                model_id=model_id,
            ).version
        )
        if alias == CHAMPION:
            _make_first_champion(client, name, version)
        else:
            client.set_registered_model_alias(name, alias, version)
    except BaseException as error:
        _unlock(error)
        # An interrupt may come when the version is there and its number not yet here.
        for made in client.search_model_versions(f"run_id = '{run_id}'"):
            client.delete_model_version(made.name, made.version)
        raise
    is_asked_about = may_be_champion and not has_champion and not is_first
    return version, alias, _told_why_not(version, records) if is_asked_about else None


@contextmanager
def _unlocking() -> Iterator[None]:
    """Let nothing that ends the block keep the store locked, where its end is to be noted."""
    try:
        yield
    except BaseException as error:
        _unlock(error)
        raise


def _unlock(error: BaseException | None) -> None:
    """Let go of what `error` holds.

    An interrupt amid a transaction of MLflow's leaves it open as long as its frames live: everyone
    else, MLflow's own note that the run failed too, would wait for the lock in vain.
    """
    seen: list[BaseException] = []
    while error is not None and error not in seen:  # who raises a cause again makes a circle
        seen.append(error)
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    gc.collect()


def _told_why_not(version: str, records: Sequence[Record]) -> str:
    last = last_champion(records)
    named = "another model has been champion" if last is None else f"version {last} was the last"
    return (
        f"There is no champion, but {named}, so this one waits for a person: "
        f"closedwon promote {version}, or closedwon rollback to go back."
    )


def _make_first_champion(client: MlflowClient, name: str, version: str) -> None:
    known = read_records(client.get_registered_model(name).tags)
    why = "It beats the base rate, and there was no champion before."
    first = write_record(client, name, Record("first", None, version, whoami(), why), known)
    client.set_registered_model_alias(name, CHAMPION, version)
    end_record(client, name, first, "done")
