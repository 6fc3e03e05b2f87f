"""Knowing a run again: the model an earlier one made of the same data, and what it left undone."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.config import Config
from models.registry import (
    CHALLENGER,
    CHAMPION,
    GATE_TAG,
    RETRAIN_KEY_TAG,
    SKILL_TAG,
    connect,
    store_errors,
    tracking_uri,
)
from training.candidate import Loaded, config_digest
from training.comparison.record import rules_digest
from training.promotion_records import earlier_champions, ever_champion, read_records
from training.promotion_standing import Standing
from training.registration import GATE_FILE
from training.retrain.retraining import CHOICE_FILE
from training.run_files import run_file

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from models.rules_table import RulesTable
    from training.gate.gate import ChampionInUse
    from training.retrain.choice import Choice

STAYS_TAG = "champion_stays"
"Of the champion's version: JSON of a run that found it fine as it is, its key and its choice."


@dataclass(frozen=True)
class Earlier:
    """What was made of the same data, settings and code: a version, or the champion stayed."""

    version: str
    run_id: str
    alias: str | None
    "champion, challenger, or None."
    decision: str | None
    "The gate's; None if it was not asked."
    is_skilled: bool
    "Whether it clearly beats the base rate."
    was_champion: bool
    "Whether it was champion before, and is no longer: it does not come back by itself."
    choice: dict[str, Any] | None = None
    "Why the champion stays as it is, where that is what the earlier run came to."


def data_key(loaded: Loaded, config: Config, rules: RulesTable | None) -> str:
    """Return the sha256 of all that decides what a retraining makes, but for the champion."""
    made_of = {
        "data": dict(loaded.digests),
        "config": config_digest(config),
        "retrain": config.retrain.model_dump(mode="json"),
        "gate": config.gate.model_dump(mode="json"),
        "rules": None if rules is None else rules_digest(rules),
        "code": importlib.metadata.version("closedwon"),
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()


def retrain_key(key: str, champion: ChampionInUse | None) -> str:
    """Return the tag of a version: the data's key, and which champion it was to challenge."""
    return f"{key}/{'none' if champion is None else f'{champion.version}/{champion.digest}'}"


def made_before(
    config: Config, root: Path, key: str, champion: ChampionInUse | None
) -> Earlier | None:
    """Return what an earlier run made of the same: the champion itself, or a challenger of it.

    A challenger that was registered and got no alias, since the run was stopped, gets it now. Not
    one that was champion before: somebody went back from it.
    """
    client = connect(config.tracking, root)
    name = config.tracking.model_name
    with store_errors(tracking_uri(config.tracking, root)):
        versions = _versions(client, name)
        if champion is not None:
            own = versions[champion.version]
            if own.tags.get(RETRAIN_KEY_TAG, "").split("/")[0] == key:
                return _told(own, CHAMPION)
            stays = json.loads(own.tags.get(STAYS_TAG, "{}"))
            if stays.get("key") == retrain_key(key, champion):
                return replace(_told(own, CHAMPION), choice=stays["choice"])
        asked = retrain_key(key, champion)
        same = [one for one in versions.values() if one.tags.get(RETRAIN_KEY_TAG) == asked]
        if not same:
            return None
        newest = max(same, key=lambda one: int(one.version))
        if str(newest.version) in earlier_champions(Standing.read(client, name).records):
            return _told(newest, None, was_champion=True)
        return _told(newest, _with_alias(client, name, newest, champion is not None))


def keep_that_it_stays(
    config: Config, root: Path, key: str, champion: ChampionInUse, choice: Choice
) -> None:
    """Write down that the champion is fine as it is, for the next run on the same data."""
    kept = json.dumps({"key": retrain_key(key, champion), "choice": choice.as_dict()})
    client = connect(config.tracking, root)
    with store_errors(tracking_uri(config.tracking, root)):
        client.set_model_version_tag(config.tracking.model_name, champion.version, STAYS_TAG, kept)


def _versions(client: MlflowClient, name: str) -> dict[str, ModelVersion]:
    found: dict[str, ModelVersion] = {}
    token = None
    while True:
        page = client.search_model_versions(f"name = '{name}'", page_token=token)
        found |= {str(one.version): one for one in page}
        token = page.token
        if not token:
            return found


def _with_alias(
    client: MlflowClient, name: str, version: ModelVersion, has_champion: bool
) -> str | None:
    """Return the alias of `version`, set now if it is newer than what the alias points at."""
    model = client.get_registered_model(name)
    aliases = {alias: int(number) for alias, number in model.aliases.items()}
    number = int(version.version)
    held = [alias for alias, points_at in aliases.items() if points_at == number]
    if held:
        return str(min(held))
    has_champion |= CHAMPION in aliases or ever_champion(read_records(model.tags))
    is_first = not has_champion and version.tags.get(SKILL_TAG) == "yes"
    alias = CHAMPION if is_first else CHALLENGER
    if aliases.get(alias, 0) > number:
        return None
    client.set_registered_model_alias(name, alias, version.version)
    return alias


def _told(version: ModelVersion, alias: str | None, was_champion: bool = False) -> Earlier:
    verdict: dict[str, Any] = json.loads(version.tags.get(GATE_TAG, "{}"))
    return Earlier(
        version=str(version.version),
        run_id=str(version.run_id),
        alias=alias,
        decision=verdict.get("decision"),
        is_skilled=version.tags.get(SKILL_TAG) == "yes",
        was_champion=was_champion,
    )


def clear_leftovers(local: Path) -> None:
    """Remove what a killed retraining left in `local`; the caller holds the lock."""
    for folder in local.glob(".retrain-*"):
        shutil.rmtree(folder, ignore_errors=True)


def told_before(
    earlier: Earlier, config: Config, root: Path
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return the choice and the gate's verdict that the earlier run kept, None where it has not."""
    with tempfile.TemporaryDirectory(prefix="closedwon-") as aside:
        files = [
            run_file(earlier.run_id, name, config.tracking, root, Path(aside))
            for name in (CHOICE_FILE, GATE_FILE)
        ]
        choice, verdict = (
            None if kept is None else dict(json.loads(kept.read_text("utf-8"))) for kept in files
        )
    return choice, verdict
