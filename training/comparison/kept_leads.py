"""Which evaluations still hold a lead: their scored weeks are kept with the run in MLflow."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from features.config import Config
from features.errors import InputError
from models.registry import connect, store_errors, tracking_uri
from training.comparison.store import fetch_weeks


def versions_with_leads(lead_ids: Collection[str], config: Config, root: Path) -> list[str]:
    """Return the model versions whose evaluation kept scores of one of the leads.

    Raises InputError when the MLflow store cannot be reached.
    """
    uri = tracking_uri(config.tracking, root)
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        return []
    client = connect(config.tracking, root)
    name = config.tracking.model_name.replace("'", "\\'")
    with store_errors(uri):
        found = client.search_model_versions(f"name='{name}'")
    versions = sorted((str(version.version) for version in found), key=int)
    return [version for version in versions if _holds(version, set(lead_ids), config, root)]


def _holds(version: str, lead_ids: set[str], config: Config, root: Path) -> bool:
    try:
        stored = fetch_weeks(version, config, root)
    except InputError:  # it kept none
        return False
    tables = (stored.past.scored, stored.past.wins, stored.test.scored, stored.test.wins)
    return any(bool(rows["lead_id"].isin(lead_ids).any()) for rows in tables if "lead_id" in rows)
