"""Registered models: which version is champion, and its bundle in the local cache."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from features.config import TrackingConfig
from features.errors import InputError
from models.bundle import bundle_digest, check_bundle, read_manifest, replace_folder
from models.local_store import local_store, make_store, places_of, require_tables

if TYPE_CHECKING:  # mlflow takes 5 s to import
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
CHALLENGER = "challenger"
DIGEST_TAG = "bundle_sha256"
"Tag of a model version: the digest its bundle must have."
SKILL_TAG = "beats_base_rate"
"Tag of a model version: `yes` if it clearly beats the base rate, else `no`."
GATE_TAG = "gate"
"Tag of a model version: the gate's JSON with `decision`, `champion`, `champion_digest`."
RETRAIN_KEY_TAG = "retrain_key"
"Tag of a model version: what `closedwon retrain` made it from, to know it again."

# Set before mlflow is imported, unless the user did: no usage reports to MLflow's makers, no
# advertising on stdout, and a server that is down is reported in seconds, not minutes.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_DISABLE_AGENT_HINT": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
_IN_MODEL = Path("artifacts", "bundle")
"The bundle among the files of a logged model."
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_LOCAL_SQLITE = re.compile(r"sqlite:///(?!/)(?P<path>[^?]+)")


class NoModel(InputError):  # noqa: N818 - a state, not a bug
    """The store has no model of this name, or is not there."""

    def __init__(self, name: str) -> None:
        self.found = f"There is no model {name} yet."
        super().__init__(f"{self.found} Train one first: closedwon train")


def tracking_uri(tracking: TrackingConfig, root: Path) -> str:
    """Return the tracking URI; SQLite files are relative to the working folder `root`.

    >>> tracking_uri(TrackingConfig(uri="sqlite:///.closedwon/mlflow.db"), Path("/crm"))
    'sqlite:////crm/.closedwon/mlflow.db'
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or tracking.uri
    local = _LOCAL_SQLITE.fullmatch(uri)
    return f"sqlite:///{root.absolute() / local['path']}" if local else uri


def connect(tracking: TrackingConfig, root: Path) -> MlflowClient:
    """Return a client of the tracking store, and make it the one MLflow itself uses.

    `MLFLOW_TRACKING_URI` wins over the config. A new SQLite store takes MLflow 7 s to make.
    Raises InputError when the store can't be reached, and for a local one that was emptied.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    for logger in ("mlflow", "alembic"):
        logging.getLogger(logger).setLevel(logging.WARNING)
    with without_mlflow_warnings():
        import mlflow

    for logger in ("mlflow", "alembic"):  # importing mlflow sets its own level
        logging.getLogger(logger).setLevel(logging.WARNING)
    uri = tracking_uri(tracking, root)
    with store_errors(uri):
        store = local_store(uri)
        if store is not None:
            if not store.exists():
                make_store(store)
            require_tables(store)
        asked = os.environ.get("MLFLOW_TRACKING_URI")
        mlflow.set_tracking_uri(uri)
        # MLflow writes it to the environment, where the next call would take it for the user's.
        if asked is None:
            os.environ.pop("MLFLOW_TRACKING_URI", None)
        client = mlflow.MlflowClient(uri)
        client.search_experiments(max_results=1)
    return client


@contextmanager
def without_mlflow_warnings() -> Iterator[None]:
    """Silence warnings that no user of closedwon can do anything about.

    Importing `mlflow.pyfunc` complains about the type hints of MLflow's own classes, and logging a
    model uses what pandas deprecated.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def store_errors(uri: str) -> Iterator[None]:
    """Turn failures of the tracking store into an InputError that names it without its password."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        shown = re.sub(r"//[^/@]*@", "//***@", uri)
        found = re.sub(r"//[^/@\s]*@", "//***@", str(error)).splitlines()[0][:300]
        raise InputError(
            f"The MLflow store {shown} failed: {found} "
            "Check [tracking] uri, or MLFLOW_TRACKING_URI if it is set."
        ) from error


def open_store(tracking: TrackingConfig, root: Path) -> MlflowClient:
    """Return a client of a store that is there; NoModel where a local one was never made."""
    store = local_store(tracking_uri(tracking, root))
    if store is not None and not store.exists():
        raise NoModel(tracking.model_name)
    return connect(tracking, root)


def fetch_bundle(selector: str, tracking: TrackingConfig, root: Path) -> tuple[Path, str]:
    """Return the folder of a registered model's bundle, and its version.

    `selector` is `champion`, `challenger` or a version number. The bundle is cached in
    `models/artifacts/NAME/VERSION` under the working folder `root`; it gets there only after its
    golden rows came out as expected in a child process, and is used again only while its digest
    is the registered one. Raises InputError when there is no such model or it is damaged.
    """
    stored = _stored(selector, tracking, root)
    if not _is_intact(stored.cached, stored.digest):
        _download(stored, tracking, root, is_kept=True)
    return stored.cached, stored.version


def check_stored(
    version: str, tracking: TrackingConfig, root: Path, cached_will_do: bool = False
) -> InputError | None:
    """Download and check the store's own copy of a version's bundle, whatever the cache holds.

    Raises InputError when it is gone or damaged. With `cached_will_do` that error is returned
    instead, if the bundle in the cache is the registered one and its golden rows come out.
    """
    stored = _stored(version, tracking, root)
    is_cached = _is_intact(stored.cached, stored.digest)
    try:
        _download(stored, tracking, root, is_kept=not is_cached)
    except InputError as error:
        if not (cached_will_do and is_cached):
            raise
        check_bundle(stored.cached)
        return error
    return None


@dataclass(frozen=True)
class _Stored:
    """The bundle of a registered version."""

    version: str
    digest: str
    location: str
    "Where MLflow registered its files."
    cached: Path
    "Its folder in the cache, there or not."


def _stored(selector: str, tracking: TrackingConfig, root: Path) -> _Stored:
    client = open_store(tracking, root)
    with store_errors(tracking_uri(tracking, root)):
        registered = find_version(client, tracking.model_name, selector)
        version = str(registered.version)
        location = client.get_model_version_download_uri(tracking.model_name, version)
    digest = registered.tags.get(DIGEST_TAG)
    if digest is None:
        raise InputError(
            f"Version {version} of {tracking.model_name} was not registered by closedwon: it has "
            f"no tag {DIGEST_TAG}. Choose another with --model, or train one: closedwon train"
        )
    folder = root / "models" / "artifacts" / tracking.model_name / version
    return _Stored(version, digest, location, folder)


def find_version(client: MlflowClient, name: str, selector: str) -> ModelVersion:
    """Return the version that is `champion`, `challenger` or has that number; else InputError."""
    from mlflow.exceptions import MlflowException

    if selector not in (CHAMPION, CHALLENGER) and not is_number(selector):
        raise InputError(f'There is no model "{selector}". Give champion, challenger or a version.')
    try:
        aliases = client.get_registered_model(name).aliases
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise NoModel(name) from None
    version = str(aliases.get(selector, "")) if not selector.isdigit() else selector
    found = version_if_kept(client, name, version) if version else None
    if found is not None:
        return found
    known = ", ".join(f"{alias} (version {number})" for alias, number in sorted(aliases.items()))
    raise InputError(
        f"{name} has no {'version ' if selector.isdigit() else ''}{selector}. "
        f"There is: {known or 'no champion or challenger'}. Train another: closedwon train"
    )


def version_if_kept(client: MlflowClient, name: str, version: str) -> ModelVersion | None:
    """Return the version of this number, None if it was deleted or never was."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version(name, version)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def is_number(selector: str) -> bool:
    """Whether this is the number of a version, be there one or not.

    >>> [is_number(selector) for selector in ("12", "champion", "0", "abc")]
    [True, False, False, False]
    """
    return _NUMBER.fullmatch(selector) is not None


def _is_intact(folder: Path, digest: str) -> bool:
    try:
        read_manifest(folder)
        return bundle_digest(folder) == digest
    except InputError:
        return False


def _download(stored: _Stored, tracking: TrackingConfig, root: Path, is_kept: bool) -> None:
    """Fetch and check a bundle; put it into the cache if it is to be kept."""
    folder, version = stored.cached, stored.version
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{version}-", dir=folder.parent) as aside:
        bundle = _copy_of_store(stored, tracking, root, Path(aside))
        if bundle_digest(bundle) != stored.digest:
            raise InputError(
                f"The bundle of {tracking.model_name} version {version} is not the one that was "
                "registered: its digest differs. Use another version, or train again."
            )
        check_bundle(bundle)
        if is_kept:
            replace_folder(bundle, folder)


def _copy_of_store(stored: _Stored, tracking: TrackingConfig, root: Path, aside: Path) -> Path:
    """Return the store's bundle, copied into `aside`; InputError where the store has none."""
    import mlflow

    uri = tracking_uri(tracking, root)
    places = [place / _IN_MODEL for place in places_of(stored.location, local_store(uri), root)]
    bundle = aside / _IN_MODEL
    with store_errors(uri):
        if not places:
            model = f"models:/{tracking.model_name}/{stored.version}"
            mlflow.artifacts.download_artifacts(artifact_uri=model, dst_path=str(aside))
        for place in places:
            if place.is_dir():
                shutil.copytree(place, bundle)
                break
    if not bundle.is_dir():
        at = places[0] if places else re.sub(r"//[^/@]*@", "//***@", stored.location)
        raise InputError(
            f"The store has no files of version {stored.version} at {at}. Put them back from a "
            "backup, use another version, or train again: closedwon train"
        )
    return bundle
