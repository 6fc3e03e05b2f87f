"""Whether a version may be champion: the gate's verdict on it, its skill, and its past."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.registry import DIGEST_TAG, GATE_TAG, SKILL_TAG, find_version
from training.promotion_records import as_sentence, ever_champion, gone_back_from
from training.promotion_standing import Standing

if TYPE_CHECKING:  # mlflow takes 5 s to import
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_STALE = "stale"


@dataclass(frozen=True)
class Judgement:
    """What is known of a version that is to be champion."""

    verdict: str | None
    "What the gate had said; `stale` if of another champion, None if it was never asked."
    refusal: str | None
    "Why the version may not be champion; None if it may."
    cure: str = ""
    "What to do about the refusal, where it does not say so itself."


def judged(client: MlflowClient, asked: ModelVersion, standing: Standing) -> Judgement:
    """Return whether `asked` may take the champion's place, or the place of nobody.

    Nobody may who was gone back from, or does not clearly beat the base rate. With a champion the
    gate must have let the version pass against that very one; without one it must not have said no.
    """
    found = _by_gate(client, asked, standing)
    version = str(asked.version)
    left = gone_back_from(standing.records, version)
    if left is not None:
        told = (
            f"Version {version} was champion until {left.at}, when {left.who} went back from it: "
            f"{as_sentence(left.why)}"
        )
        cure = f'To use it again all the same: closedwon rollback {version} --reason "..."'
        return Judgement(found.verdict, told, cure)
    if found.refusal is None and asked.tags.get(SKILL_TAG) != "yes":
        told = f"Version {version} does not clearly beat the base rate, as far as is recorded."
        return Judgement(found.verdict, told)
    return found


def _by_gate(client: MlflowClient, asked: ModelVersion, standing: Standing) -> Judgement:
    version, verdict = asked.version, _verdict_of(asked)
    against = str(verdict.get("champion"))
    decision = str(verdict.get("decision"))
    if standing.champion is None:
        if not verdict:
            if not ever_champion(standing.records):
                return Judgement(None, None)
            told = f"Version {version} was never judged, and there was a champion before:"
            return Judgement(None, f'{told} closedwon rollback N --reason "..." brings it back.')
        refusal = _refusal(decision, version, against)
        return Judgement(_STALE if refusal is None else decision, refusal)
    champion = find_version(client, asked.name, standing.champion)
    if not verdict:
        told = f"Version {version} was never judged against the champion, version"
        return Judgement(None, f"{told} {champion.version}: run closedwon retrain.")
    if (against, verdict.get("champion_digest")) != (
        str(champion.version),
        champion.tags.get(DIGEST_TAG),
    ):
        told = f"Version {version} was judged against version {against}, the champion is version"
        return Judgement(_STALE, f"{told} {champion.version}: run closedwon retrain.")
    return Judgement(decision, _refusal(decision, version, against))


def _refusal(decision: str, version: str, against: str) -> str | None:
    if decision == "pass":
        return None
    if decision == "not_enough_evidence":
        return (
            f"There was not enough evidence to judge version {version} against version {against}: "
            "retrain when more leads closed."
        )
    return f"The gate refused version {version} against version {against}."


def _verdict_of(version: ModelVersion) -> dict[str, Any]:
    """Return what the gate said of a version, empty if it was never asked."""
    try:
        verdict = json.loads(version.tags.get(GATE_TAG, "{}"))
    except ValueError:
        return {}
    return verdict if isinstance(verdict, dict) else {}
