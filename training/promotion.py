"""Which version is champion: promoted on the gate's pass, rolled back at once, always recorded.

A change is recorded as pending, then the alias is moved, by one call to MLflow, then the record is
ended. A run that was stopped in between is finished or voided by the next one, which looks where
the alias points (`settled`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from features.config import Config
from features.errors import InputError
from models.bundle import bundle_digest, open_bundle
from models.registry import (
    CHALLENGER,
    CHAMPION,
    NoModel,
    check_stored,
    fetch_bundle,
    find_version,
    is_number,
    open_store,
    store_errors,
    tracking_uri,
    version_if_kept,
)
from training.promotion_judgement import judged
from training.promotion_records import (
    Record,
    champion_before,
    earlier_champions,
    end_record,
    kept_refusal,
    last_champion,
    told_why,
    whoami,
    write_record,
)
from training.promotion_standing import Standing, history, settled
from training.run_lock import run_lock

if TYPE_CHECKING:  # mlflow takes 5 s to import
    from mlflow import MlflowClient

    from training.gate.gate import ChampionInUse


_SHOWN = 10
"So many versions are named where the one asked for is not there."


@dataclass(frozen=True)
class Promotion:
    """What came of asking for another champion."""

    outcome: Literal["moved", "unchanged", "refused"]
    champion: str | None
    "The champion now."
    told: str
    "What happened, or why nothing did."
    record: Record | None = None
    "What was recorded, if the champion changed."

    def as_dict(self) -> dict[str, Any]:
        """Return what `closedwon promote --json` and `closedwon rollback --json` print."""
        return {
            "outcome": self.outcome,
            "champion": self.champion,
            "told": self.told,
            "record": None if self.record is None else self.record.as_dict(),
        }


class ChampionUnreadable(InputError):  # noqa: N818 - a state, not a bug
    """There is a champion, and its bundle is damaged or cannot be fetched."""

    def __init__(self, version: str, error: InputError) -> None:
        self.version = version
        super().__init__(
            f"The champion, version {version}, cannot be read: {error} Go back to an earlier one: "
            'closedwon rollback --reason "...". Or train another, closedwon train, and promote it '
            "with --override, since the gate cannot judge it."
        )


def champion_in_use(config: Config, root: Path) -> ChampionInUse | None:
    """Return the champion with its scorer, None while there is none.

    Raises InputError when the store does not answer, and ChampionUnreadable when it does but the
    champion's bundle is damaged or cannot be fetched.
    """
    try:
        champion = history(config, root).champion
    except NoModel:
        return None
    if champion is None:
        return None
    from training.gate.gate import ChampionInUse

    try:
        # By number: the alias may move meanwhile.
        folder, version = fetch_bundle(champion, config.tracking, root)
        return ChampionInUse(version, bundle_digest(folder), open_bundle(folder))
    except InputError as error:
        raise ChampionUnreadable(champion, error) from error


def promote(
    config: Config,
    root: Path,
    selector: str = CHALLENGER,
    override: str | None = None,
    who: str | None = None,
) -> Promotion:
    """Make `challenger`, or the version of that number, champion if the gate let it pass.

    It must beat the base rate, and its verdict must be a pass against the very champion that is in
    use; where there is none, the gate must not have refused it. `override` is a reason to do it all
    the same, and is recorded.
    The bundle is downloaded and checked first. Raises InputError for a version that is not there
    or damaged, and while another run of this folder or of another machine changes the champion.
    """
    why = None if override is None else told_why(override, "--override")
    name = config.tracking.model_name
    with run_lock(root, "promote"):
        client = open_store(config.tracking, root)
        with store_errors(tracking_uri(config.tracking, root)):
            standing = settled(client, name)
            nothing_to_do = _nothing_to_do(selector, standing)
            if nothing_to_do is not None:
                return Promotion("unchanged", standing.champion, nothing_to_do)
            asked = find_version(client, name, selector)
            found = judged(client, asked, standing)
        if found.refusal is not None and why is None:
            told = f"{found.refusal} {found.cure}".rstrip()
            return Promotion("refused", standing.champion, told)
        skilled = "It beats the base rate, and there was no champion."
        record = Record(
            action="promote",
            before=last_champion(standing.records),
            version=str(asked.version),
            who=who or whoami(),
            why=why or ("It passed the gate." if standing.champion else skilled),
            verdict=found.verdict,
            is_override=found.refusal is not None,
            refusal=None if found.refusal is None else kept_refusal(found.refusal),
        )
        check_stored(record.version, config.tracking, root)
        moved = _move(client, config, root, record, standing)
    after = f" after version {standing.champion}" if standing.champion else ""
    over = f", overriding: {found.refusal}" if found.refusal is not None else "."
    told = f"Version {moved.version} is champion{after}{over}"
    return Promotion("moved", moved.version, told, moved)


def rollback(
    config: Config, root: Path, version: str | None, why: str, who: str | None = None
) -> Promotion:
    """Make an earlier champion champion again, at once: the one before, or that of this number.

    No gate is asked, no retraining waited for; the bundle is downloaded and checked first. Where
    the store has lost its files, the sound copy of this folder will do, and that is told. Versions
    that were deleted from MLflow are passed over. Raises InputError when there is no earlier
    champion, when `version` never was one, is gone or damaged, and while another run changes the
    champion.
    """
    why = told_why(why, "--reason")
    if version is not None and not is_number(version):
        raise InputError(
            f"{version} is no version. Give the number of an earlier champion, as shown by "
            "closedwon promote --history."
        )
    tracking = config.tracking
    with run_lock(root, "rollback"):
        client = open_store(tracking, root)
        with store_errors(tracking_uri(tracking, root)):
            standing = settled(client, tracking.model_name)
            ever = earlier_champions(standing.records)
            kept = [one for one in ever if version_if_kept(client, tracking.model_name, one)]
            target = version or champion_before(standing.records, standing.champion, kept)
            if target is None or target not in kept:
                if version is not None and version not in ever:
                    _require_version(client, tracking.model_name, version)
                raise InputError(_no_way_back(version, standing, ever, kept))
            if target == standing.champion:
                return Promotion("unchanged", target, f"Version {target} is champion already.")
        before = last_champion(standing.records)
        record = Record("rollback", before, target, who or whoami(), why)
        lost = check_stored(target, tracking, root, cached_will_do=True)
        moved = _move(client, config, root, record, standing)
    # The champion itself, where only its alias had gone.
    place = "" if before == target else f", in place of version {before}"
    told = f"Version {target} is champion again{place}."
    if lost is not None:
        told += f" Only the copy in this folder could be checked, others cannot fetch it: {lost}"
    return Promotion("moved", target, told, moved)


def _require_version(client: MlflowClient, name: str, version: str) -> None:
    if version_if_kept(client, name, version) is not None:
        return
    quoted = name.replace("'", "\\'")
    newest = client.search_model_versions(
        f"name='{quoted}'", max_results=_SHOWN, order_by=["version_number DESC"]
    )
    there_are = ", ".join(str(one.version) for one in reversed(newest))
    raise InputError(
        f"{name} has no version {version}. The newest there are: {there_are or 'none'}. "
        "Those that were champion are told by closedwon promote --history."
    )


def _no_way_back(
    version: str | None, standing: Standing, ever: Sequence[str], kept: Sequence[str]
) -> str:
    known = ", ".join(one for one in kept if one != standing.champion)
    options = f"Earlier champions: {known}." if known else "There is no earlier champion to use."
    if version is None:
        last = standing.champion or last_champion(standing.records)
        if last is None:
            return "There never was a champion, so there is none to go back to."
        return f"Version {last} has no champion before it. {options}"
    if version in ever:
        return f"Version {version} was champion once, and was deleted from MLflow since. {options}"
    return (
        f"Version {version} never was champion, so going back to it is not possible. {options} "
        f"To make it champion, ask the gate: closedwon promote {version}"
    )


def _nothing_to_do(selector: str, standing: Standing) -> str | None:
    champion = standing.champion
    if selector == CHALLENGER and champion is not None and standing.challenger is None:
        return f"There is no challenger. Version {champion} stays champion."
    if champion is not None and selector in (CHAMPION, champion):
        return f"Version {champion} is champion already."
    return None


def _move(
    client: MlflowClient, config: Config, root: Path, record: Record, standing: Standing
) -> Record:
    """Record, move the alias to a version whose bundle was checked, end the record; return it."""
    name = config.tracking.model_name
    with store_errors(tracking_uri(config.tracking, root)):
        written = write_record(client, name, record, standing.records)
        now = Standing.read(client, name)
        others = tuple(one for one in now.records if one.key != written.key)
        # MLflow has no compare-and-set. Whoever records first and looks second sees the other;
        # two that see each other both give way, and no two go on.
        if others != standing.records or now.champion != standing.champion:
            end_record(client, name, written, "void")
            raise InputError(
                f"The champion of {name} is being changed by somebody else at this moment. "
                "Nothing was done. Look at closedwon promote --history, then try again."
            )
        client.set_registered_model_alias(name, CHAMPION, record.version)
        if now.challenger == record.version:
            client.delete_registered_model_alias(name, CHALLENGER)
        return end_record(client, name, written, "done")
