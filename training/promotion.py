"""Which version is champion: promoted on the gate's pass, rolled back at once, always recorded.

A change is recorded as pending, then the alias is moved, by one call to MLflow, then the record is
ended. A run that was stopped in between is finished or voided by the next one, which looks where
the alias points (`settled`).
"""

from __future__ import annotations

import json
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
    DIGEST_TAG,
    GATE_TAG,
    SKILL_TAG,
    NoModel,
    fetch_bundle,
    find_version,
    open_store,
    store_errors,
    tracking_uri,
)
from training.promotion_records import (
    Record,
    champion_before,
    earlier_champions,
    end_record,
    gone_back_from,
    told_why,
    whoami,
    write_record,
)
from training.promotion_standing import Standing, history, settled
from training.run_lock import run_lock

if TYPE_CHECKING:  # mlflow takes 5 s to import
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from training.gate.gate import ChampionInUse


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


@dataclass(frozen=True)
class _Judgement:
    verdict: str | None
    "What the gate had said; `stale` if of another champion, None if it was never asked."
    refusal: str | None
    "Why the version may not be champion; None if it may."


def champion_in_use(config: Config, root: Path) -> ChampionInUse | None:
    """Return the champion with its scorer, None while there is none.

    Raises InputError when the store does not answer or the champion's bundle is damaged.
    """
    try:
        champion = history(config, root).champion
    except NoModel:
        return None
    if champion is None:
        return None
    from training.gate.gate import ChampionInUse

    # By number: the alias may move meanwhile.
    folder, version = fetch_bundle(champion, config.tracking, root)
    return ChampionInUse(version, bundle_digest(folder), open_bundle(folder))


def promote(
    config: Config,
    root: Path,
    selector: str = CHALLENGER,
    override: str | None = None,
    who: str | None = None,
) -> Promotion:
    """Make `challenger`, or the version of that number, champion if the gate let it pass.

    Its verdict must be a pass against the very champion that is in use. Where there is none, the
    version must beat the base rate. `override` is a reason to do it all the same, and is recorded.
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
            judged = _judged(client, asked, standing)
        if judged.refusal is not None and why is None:
            return Promotion("refused", standing.champion, judged.refusal)
        passed = "It passed the gate." if standing.champion else "It beats the base rate."
        record = Record(
            action="promote",
            before=standing.champion,
            version=str(asked.version),
            who=who or whoami(),
            why=why or passed,
            verdict=judged.verdict,
            is_override=judged.refusal is not None,
        )
        moved = _move(client, config, root, record, standing)
    after = f" after version {standing.champion}" if standing.champion else ""
    over = f", overriding: {judged.refusal}" if judged.refusal is not None else "."
    told = f"Version {moved.version} is champion{after}{over}"
    return Promotion("moved", moved.version, told, moved)


def rollback(
    config: Config, root: Path, version: str | None, why: str, who: str | None = None
) -> Promotion:
    """Make an earlier champion champion again, at once: the one before, or that of this number.

    No gate is asked; the bundle is downloaded and checked first. Raises InputError when there is no
    earlier champion, when `version` never was one, is gone or damaged, and while another run
    changes the champion.
    """
    why = told_why(why, "--reason")
    tracking = config.tracking
    with run_lock(root, "rollback"):
        client = open_store(tracking, root)
        with store_errors(tracking_uri(tracking, root)):
            standing = settled(client, tracking.model_name)
            target = version or champion_before(standing.records, standing.champion)
            earlier = earlier_champions(standing.records)
            if target is None or target not in earlier:
                raise InputError(_no_way_back(version, standing, earlier))
            if target == standing.champion:
                return Promotion("unchanged", target, f"Version {target} is champion already.")
        record = Record("rollback", standing.champion, target, who or whoami(), why)
        moved = _move(client, config, root, record, standing)
    told = f"Version {target} is champion again, in place of version {standing.champion}."
    return Promotion("moved", target, told, moved)


def _no_way_back(version: str | None, standing: Standing, earlier: Sequence[str]) -> str:
    known = ", ".join(one for one in earlier if one != standing.champion)
    options = f"Earlier champions: {known}." if known else "There is no earlier champion."
    if version is None:
        return f"Version {standing.champion} has no champion before it. {options}"
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


def _judged(client: MlflowClient, asked: ModelVersion, standing: Standing) -> _Judgement:
    """Return whether `asked` may take the champion's place."""
    version = asked.version
    if standing.champion is None:
        if asked.tags.get(SKILL_TAG) == "yes":
            return _Judgement(None, None)
        told = f"Version {version} does not clearly beat the base rate, as far as is recorded."
        return _Judgement(None, told)
    left = gone_back_from(standing.records, str(version))
    if left is not None:
        told = f"Version {version} was champion until {left.at}, when {left.who} went back from it:"
        again = f"To use it again all the same: closedwon rollback {version}"
        return _Judgement(None, f"{told} {left.why} {again}")
    champion = find_version(client, asked.name, standing.champion)
    verdict = _verdict_of(asked)
    if not verdict:
        told = f"Version {version} was never judged against the champion, version"
        return _Judgement(None, f"{told} {champion.version}: run closedwon retrain.")
    judged = (str(verdict.get("champion")), verdict.get("champion_digest"))
    if judged != (str(champion.version), champion.tags.get(DIGEST_TAG)):
        told = f"Version {version} was judged against version {judged[0]}, the champion is version"
        return _Judgement("stale", f"{told} {champion.version}: run closedwon retrain.")
    decision = str(verdict.get("decision"))
    if decision == "pass":
        return _Judgement(decision, None)
    if decision == "not_enough_evidence":
        told = f"There was not enough evidence to judge version {version} against version"
        return _Judgement(decision, f"{told} {champion.version}: retrain when more leads closed.")
    told = f"The gate refused version {version} against version {champion.version}."
    return _Judgement(decision, told)


def _verdict_of(version: ModelVersion) -> dict[str, Any]:
    """Return what the gate said of a version, empty if it was never asked."""
    try:
        verdict = json.loads(version.tags.get(GATE_TAG, "{}"))
    except ValueError:
        return {}
    return verdict if isinstance(verdict, dict) else {}


def _move(
    client: MlflowClient, config: Config, root: Path, record: Record, standing: Standing
) -> Record:
    """Check the bundle, record, move the alias, end the record; return it."""
    name = config.tracking.model_name
    fetch_bundle(record.version, config.tracking, root, afresh=True)
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
