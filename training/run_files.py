"""The files that an MLflow run kept, wherever its folder is by now."""

from __future__ import annotations

from pathlib import Path

from features.config import TrackingConfig
from models.local_store import local_store, places_of
from models.registry import connect, store_errors, tracking_uri


def run_file(
    run_id: str | None, name: str, tracking: TrackingConfig, root: Path, aside: Path
) -> Path | None:
    """Return where a file or folder `name` of a run is, None where the run kept none.

    Fetched into the folder `aside` unless it is on this machine: beside the store, or where the
    run wrote it. Raises InputError where the store cannot be reached.
    """
    if not run_id:
        return None
    client, uri = connect(tracking, root), tracking_uri(tracking, root)
    import mlflow

    with store_errors(uri):
        location = client.get_run(run_id).info.artifact_uri
        if places := places_of(location, local_store(uri), root):
            return next((place / name for place in places if (place / name).exists()), None)
        if name not in {item.path for item in client.list_artifacts(run_id)}:
            return None
        return Path(
            mlflow.artifacts.download_artifacts(
                run_id=run_id, artifact_path=name, dst_path=str(aside)
            )
        )
