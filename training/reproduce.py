"""`closedwon reproduce`: a registered bundle, made again from its recorded settings and data."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from features.config import Config
from features.errors import InputError
from models.bundle import bundle_digest, open_bundle, read_manifest
from models.registry import (
    DIGEST_TAG,
    GATE_TAG,
    fetch_bundle,
    open_store,
    store_errors,
    tracking_uri,
)
from models.rules import RulesScorer
from training.candidate import CONFIG_FILE, Candidate, Prepared, write_candidate
from training.recipe import load, prepare_loaded, train_candidate
from training.registration import LOCAL
from training.steps import Steps

if TYPE_CHECKING:  # mlflow takes 5 s to import
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from models.rules_table import RulesTable
    from training.gate.gate import ChampionInUse

_RULES_FILE = "rules.json"
Found = Literal["equal", "differs", "not made again", "not in the original"]


@dataclass(frozen=True)
class Reproduction:
    """A bundle beside the one made again, file by file."""

    version: str
    files: Mapping[str, Found]
    versions: Mapping[str, tuple[str | None, str | None]]
    "Packages whose version is another now: then and now."
    seconds: Mapping[str, float]

    @property
    def is_equal(self) -> bool:
        """Whether every byte is the same."""
        return all(found == "equal" for found in self.files.values())

    def as_dict(self) -> dict[str, Any]:
        """Return what `closedwon reproduce --json` prints."""
        return {
            "version": self.version,
            "is_equal": self.is_equal,
            "files": dict(self.files),
            "versions": {
                name: {"then": then, "now": now} for name, (then, now) in self.versions.items()
            },
            "seconds": dict(self.seconds),
        }

    def lines(self) -> list[str]:
        """Return the comparison for people."""
        width = max(len(name) for name in self.files)
        table = [f"  {name:<{width}}  {found}" for name, found in self.files.items()]
        if self.is_equal:
            return [f"Version {self.version} was made again, byte for byte.", *table]
        changed = ", ".join(
            f"{name} {then or 'none'} then, {now or 'none'} now"
            for name, (then, now) in self.versions.items()
        )
        hint = f"Other versions: {changed}." if changed else (
            "The packages have the same versions. Either closedwon's own code has changed since, "
            "or this processor rounds otherwise."
        )  # fmt: skip
        return [f"Version {self.version} was not made again byte for byte.", *table, hint]


@dataclass(frozen=True)
class _Original:
    """The bundle to make again, and what its bytes do not tell."""

    folder: Path
    version: str
    manifest: Mapping[str, Any]
    has_taken_choices: bool
    "Whether `closedwon retrain` took the champion's parameters instead of searching."
    min_new_wins: int | None
    "[retrain] min_new_wins of that day; None where the run does not tell."
    frozen: ChampionInUse | None
    "The champion whose forest was recalibrated."


def reproduce(
    selector: str, config: Config, folder: Path, root: Path, steps: Steps
) -> Reproduction:
    """Return how a bundle compares with one made again from its own settings; nothing is kept.

    `config` tells where the model is kept and how databases are reached; everything that is learnt
    from comes from the bundle. Relative files lie in `folder`. Raises InputError naming the tables
    that are not those it was trained on.
    """
    with steps("model"):
        original = _original(selector, config, root)
        recorded = _recorded_config(original, config)
    (root / LOCAL).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".reproduce-", dir=root / LOCAL) as made:
        aside = Path(made)
        with steps("load"):
            loaded = load(recorded, folder, root / LOCAL, aside / "rejects")
        _check_digests(original, loaded.digests)
        prepared = prepare_loaded(loaded, recorded, steps)
        candidate, prepared = _candidate(original, prepared, steps)
        with steps("compare"):
            write_candidate(candidate, prepared, aside / "bundle")
            files = compare_bundles(original.folder, aside / "bundle")
            now = read_manifest(aside / "bundle")["versions"]
    then = original.manifest["versions"]
    changed = {
        name: (then.get(name), now.get(name))
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    }
    return Reproduction(original.version, files, changed, steps.seconds)


def compare_bundles(original: Path, again: Path) -> dict[str, Found]:
    """Return how each file of two bundles compares, by name."""
    names = {path.name for folder in (original, again) for path in folder.iterdir()}
    return {name: _compared(original / name, again / name) for name in sorted(names)}


def _compared(original: Path, again: Path) -> Found:
    if not again.exists():
        return "not made again"
    if not original.exists():
        return "not in the original"
    return "equal" if original.read_bytes() == again.read_bytes() else "differs"


def _original(selector: str, config: Config, root: Path) -> _Original:
    tracking = config.tracking
    folder, version = fetch_bundle(selector, tracking, root)
    client = open_store(tracking, root)
    with store_errors(tracking_uri(tracking, root)):
        registered = client.get_model_version(tracking.model_name, version)
        has_taken, least = _retrained_by(client, registered)
        digest = open_bundle(folder).facts.get("recalibrates")
        frozen_version = None
        if digest is not None:
            frozen_version = _version_of(client, tracking.model_name, digest, version)
    frozen = None
    if frozen_version is not None:
        from training.gate.gate import ChampionInUse

        kept, _ = fetch_bundle(frozen_version, tracking, root)
        frozen = ChampionInUse(frozen_version, bundle_digest(kept), open_bundle(kept))
    return _Original(folder, version, read_manifest(folder), has_taken, least, frozen)


def _retrained_by(client: MlflowClient, registered: ModelVersion) -> tuple[bool, int | None]:
    """Return what of [retrain] decides the bytes, and is not in the bundle: see `_Original`."""
    if registered.run_id is None:
        return False, None
    run = client.get_run(registered.run_id)
    told, least = run.data.params, run.data.params.get("retrain.min_new_wins")
    # Without a champion there was nothing to take.
    is_retrained = run.info.run_name == "retrain" and GATE_TAG in registered.tags
    has_taken = is_retrained and told.get("retrain.search") == "champion"
    return has_taken, None if least is None else int(least)


def _version_of(client: MlflowClient, name: str, digest: str, recalibrated: str) -> str:
    """Return the version whose bundle has this digest."""
    for version in client.search_model_versions(f"name = '{name}'"):
        if version.tags.get(DIGEST_TAG) == digest:
            return str(version.version)
    raise InputError(
        f"Version {recalibrated} is a recalibrated model, and the version whose trees it has is no "
        f"longer there, so it cannot be made again. Choose another version of {name}."
    )


def _recorded_config(original: _Original, config: Config) -> Config:
    """Return the settings the bundle was made with, with the databases of today."""
    if not (original.folder / CONFIG_FILE).is_file():
        raise InputError(
            f"Version {original.version} holds no {CONFIG_FILE}: it was trained by an older "
            "closedwon, which did not record its settings. Choose a later version."
        )
    recorded = _read(original.folder / CONFIG_FILE)
    try:
        found = Config.model_validate({**recorded, "databases": config.databases})
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
        raise InputError(
            f"The settings of version {original.version} are not those of this closedwon: {place}. "
            f"Install the version that trained it: {original.manifest['versions']['closedwon']}."
        ) from None
    if original.min_new_wins is None:
        return found
    retrain = found.retrain.model_copy(update={"min_new_wins": original.min_new_wins})
    return found.model_copy(update={"retrain": retrain})


def _check_digests(original: _Original, found: Mapping[str, str]) -> None:
    trained = original.manifest["facts"]["data"]
    changed = [
        f"{name} ({'changed' if name in trained and name in found else _where(name, found)})"
        for name in sorted({*trained, *found})
        if trained.get(name) != found.get(name)
    ]
    if changed:
        raise InputError(
            f"The data are not those version {original.version} was trained on: "
            f"{', '.join(changed)}. Point --data at a copy of the data of that day."
        )


def _where(name: str, found: Mapping[str, str]) -> str:
    return "was not there" if name in found else "no longer there"


def _candidate(original: _Original, prepared: Prepared, steps: Steps) -> tuple[Candidate, Prepared]:
    """Return the model made again, by the road the first one took, and what it was made of."""
    from training.retrain.recalibrated import champion_choices, recalibrated_candidate
    from training.retrain.unseen import as_champion_reads, unseen_by

    rules = _rules(original.folder)
    if original.frozen is None:
        scorer = open_bundle(original.folder)
        taken = champion_choices(scorer) if original.has_taken_choices else None
        return train_candidate(prepared, steps, rules, taken), prepared
    own = as_champion_reads(original.frozen.scorer, prepared, rules)
    if isinstance(own, str):
        raise InputError(f"Version {original.version} cannot be recalibrated again. {own}")
    unseen = unseen_by(original.frozen.scorer, own)
    taken = champion_choices(original.frozen.scorer)
    trained = train_candidate(prepared, steps, rules, taken)
    candidate = recalibrated_candidate(original.frozen, trained, unseen, own, steps, rules)
    return candidate, own


def _rules(folder: Path) -> RulesTable | None:
    """Return the points table the model was compared with; None without one."""
    if not (folder / _RULES_FILE).is_file():
        return None
    return RulesScorer.from_dict(_read(folder / _RULES_FILE)).table


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
