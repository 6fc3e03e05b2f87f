"""Registered models: which version is champion, and its bundle in the local cache."""

from __future__ import annotations

import logging
import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from features.config import TrackingConfig
from features.errors import InputError
from models.bundle import bundle_digest, check_bundle, read_manifest, replace_folder

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
    Raises InputError when the store can't be reached.
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
        store = _local_store(uri)
        if store is not None and not store.exists():
            _make_store(store)
        asked = os.environ.get("MLFLOW_TRACKING_URI")
        mlflow.set_tracking_uri(uri)
        # MLflow writes it to the environment, where the next call would take it for the user's.
        if asked is None:
            os.environ.pop("MLFLOW_TRACKING_URI", None)
        client = mlflow.MlflowClient(uri)
        client.search_experiments(max_results=1)
    return client


def _local_store(uri: str) -> Path | None:
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:////") else None


def _make_store(store: Path) -> None:
    """Make an empty SQLite store aside: an interrupted migration could never be taken up again."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{store.name}-", dir=store.parent) as aside:
        new = Path(aside) / store.name
        artifacts = (store.parent / "mlartifacts").as_uri()
        made = SqlAlchemyStore(f"sqlite:///{new}", artifacts)  # type: ignore[no-untyped-call]
        made.engine.dispose()
        # A link, unlike a rename, does not replace the store another process made meanwhile.
        with suppress(FileExistsError):
            os.link(new, store)


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
    store = _local_store(tracking_uri(tracking, root))
    if store is not None and not store.exists():
        raise NoModel(tracking.model_name)
    return connect(tracking, root)


def fetch_bundle(
    selector: str, tracking: TrackingConfig, root: Path, afresh: bool = False
) -> tuple[Path, str]:
    """Return the folder of a registered model's bundle, and its version.

    `selector` is `champion`, `challenger` or a version number. The bundle is cached in
    `models/artifacts/NAME/VERSION` under the working folder `root`; it gets there only after its
    golden rows came out as expected in a child process, and is used again only while its digest
    is the registered one. With `afresh` the store's own copy is downloaded and checked even so.
    Raises InputError when there is no such model or it is damaged.
    """
    client = open_store(tracking, root)
    with store_errors(tracking_uri(tracking, root)):
        registered = find_version(client, tracking.model_name, selector)
    version = str(registered.version)
    digest = registered.tags.get(DIGEST_TAG)
    if digest is None:
        raise InputError(
            f"Version {version} of {tracking.model_name} was not registered by closedwon: it has "
            f"no tag {DIGEST_TAG}. Choose another with --model, or train one: closedwon train"
        )
    folder = root / "models" / "artifacts" / tracking.model_name / version
    is_cached = _is_intact(folder, digest)
    if afresh or not is_cached:
        _download(tracking, root, version, digest, folder, is_kept=not is_cached)
    return folder, version


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


def _download(
    tracking: TrackingConfig, root: Path, version: str, digest: str, folder: Path, is_kept: bool
) -> None:
    """Fetch and check the bundle of `version`; put it at `folder` if it is to be kept."""
    import mlflow

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{version}-", dir=folder.parent) as aside:
        with store_errors(tracking_uri(tracking, root)):
            mlflow.artifacts.download_artifacts(
                artifact_uri=f"models:/{tracking.model_name}/{version}", dst_path=aside
            )
        bundle = Path(aside) / "artifacts" / "bundle"
        if bundle_digest(bundle) != digest:
            raise InputError(
                f"The bundle of {tracking.model_name} version {version} is not the one that was "
                "registered: its digest differs. Use another version, or train again."
            )
        check_bundle(bundle)
        if is_kept:
            replace_folder(bundle, folder)
