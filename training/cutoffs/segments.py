"""A cutoff for each segment, by the policy of the whole, so that the mix keeps the promise."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import pandas as pd

from features.config import CutoffConfig
from features.errors import InputError
from models.cutoff import Cutoff
from training.clustered import exceeds_p_value
from training.cutoffs.policies import LEAST_MQLS, POLICIES, PROVEN, Evidence
from training.replay import Replay, decided

TOLD = 5
"Values named in the reason."


def with_segments(cutoff: Cutoff, evidence: Evidence, policy: CutoffConfig, name: str) -> Cutoff:
    """Return `cutoff` with one of its own for each value of `name` that has enough MQLs.

    Each is chosen by the same policy on its own leads. Values with too few MQLs, missing and new
    ones keep the pooled cutoff, if there is one. A policy with a promise proves it part by part
    (see `_proven`), since the pooled proof says nothing of a mix in which some go lower. Raises
    InputError for an unknown `name`, and for capacities of values that no lead has.
    """
    past = evidence.past
    if name not in past.scored:
        raise InputError(
            f'[cutoff] segment_by names "{name}", which is no category feature of the leads. Name '
            "one of the catalogue, such as leads.source, or leave segment_by out."
        )
    values = _values(evidence, policy, name)
    parts = {value: _part(evidence, name, [value]) for value in values}
    enough = {
        value: part for value, part in parts.items() if _is_enough(part, policy, cutoff.value)
    }
    few = [value for value in values if value not in enough]
    cutoff = replace(cutoff, segment_by=name)
    if policy.policy in PROVEN:
        return _proven(cutoff, evidence, policy, enough, few)
    capacities = _capacities(evidence, policy, name)
    segments: dict[str, float | None] = {}
    for value, part in enough.items():
        own = policy
        if value in capacities:
            own = policy.model_copy(update={"mqls_per_week": capacities[value], "share": None})
        chosen = POLICIES[policy.policy](part, own)[1]
        if chosen is not None:
            segments[value] = chosen
    unmet = [value for value in enough if value not in segments]
    return _told(replace(cutoff, segments=segments), _Why(few, unmet))


def _proven(
    cutoff: Cutoff,
    evidence: Evidence,
    policy: CutoffConfig,
    enough: dict[str, Evidence],
    few: list[str],
) -> Cutoff:
    """Return the cutoffs of which each is proven, at a level at which all hold together.

    The parts are the values with enough MQLs and, where they are enough together, all other leads
    as one. If each part keeps the promise, so does their mix; each is tested at its share of the
    error allowed (Bonferroni). Precision: nobody qualifies in a part without proof. Capture: such
    a part would miss its wins, so the pooled cutoff holds for all. The same where no part is
    proven. Leads left at the pooled cutoff untested must not spoil the proof of the whole.
    """
    assert cutoff.segment_by is not None
    others = _part(evidence, cutoff.segment_by, enough, inside=False)
    tested = [*enough.values()]
    if others_are_tested := _is_enough(others, policy, cutoff.value):
        tested.append(others)
    if not tested:
        return _told(cutoff, _Why(few, []))
    confidence = 1 - (1 - policy.confidence) / len(tested)
    stricter = policy.model_copy(update={"confidence": confidence})
    chosen = [POLICIES[policy.policy](part, stricter)[1] for part in tested]
    segments = dict(zip(enough, chosen, strict=False))
    unproven = [value for value, own in segments.items() if own is None]
    why = _Why(few, unproven, confidence if len(tested) > 1 else None)
    is_capture = policy.policy == "capture"
    if (is_capture and None in chosen) or all(own is None for own in chosen):
        return _told(cutoff, why)
    mixed = replace(cutoff, value=chosen[-1] if others_are_tested else cutoff.value,
                    segments=segments)  # fmt: skip
    if not others_are_tested and not _keeps(evidence.past, mixed, policy):
        if is_capture:
            return _told(cutoff, why)
        mixed = replace(mixed, value=None)
    return _told(mixed, why)


def _keeps(past: Replay, cutoff: Cutoff, policy: CutoffConfig) -> bool:
    """Return whether the whole past proves the promise of `cutoff`."""
    replay, number = decided(past, cutoff)
    if policy.policy == "precision":
        mqls, least = replay.mqls(number), policy.target_precision
        account, is_hit = mqls["account"], mqls["won_in_horizon"] > 0
    else:
        wins, least = _scored_wins(replay), policy.min_capture
        account, is_hit = wins["account"], wins["best_before"] >= number
    p_value = exceeds_p_value(account.to_numpy(), is_hit.to_numpy(), least)
    return p_value <= 1 - policy.confidence


def _scored_wins(replay: Replay) -> pd.DataFrame:
    return replay.wins[replay.wins["best_before"].notna()]


def _is_enough(part: Evidence, policy: CutoffConfig, pooled: float | None) -> bool:
    """Return whether a part has MQLs enough for a cutoff of its own; for capture, wins as well."""
    past = part.past
    if policy.policy == "capture" and len(_scored_wins(past)) < LEAST_MQLS:
        return False
    lowest = past.moments["probability"].min() if pooled is None else pooled
    return len(past.mqls(lowest)) >= LEAST_MQLS


def _part(evidence: Evidence, name: str, values: Collection[str], inside: bool = True) -> Evidence:
    """Return what is known of the leads whose `name` is, or is not, one of `values`."""

    def own(replay: Replay) -> Replay:
        return replay.of((replay.scored[name].isin(list(values)) == inside).to_numpy(bool))

    outlook, rules = evidence.outlook, evidence.rules
    return Evidence(
        own(evidence.past),
        None if outlook is None else replace(outlook, newest=own(outlook.newest)),
        None if rules is None else (own(rules[0]), rules[1]),
    )


def _newest(evidence: Evidence) -> Replay:
    return evidence.past if evidence.outlook is None else evidence.outlook.newest


def _values(evidence: Evidence, policy: CutoffConfig, name: str) -> list[str]:
    """Return the values that leads have; those with a capacity of their own must be among them."""
    found = pd.concat([evidence.past.scored[name], _newest(evidence).scored[name]])
    values = sorted(str(value) for value in found.dropna().unique())
    unknown = sorted(set(policy.segment_mqls_per_week) - set(values))
    if unknown:
        more = " and more" if len(values) > 20 else ""
        raise InputError(
            f"[cutoff] segment_mqls_per_week names {_quoted(unknown)}, and no lead has that as its "
            f"{name}. Known: {_quoted(values[:20])}{more}. Correct the name, or leave it out."
        )
    return values


def _quoted(values: list[str]) -> str:
    return ", ".join(f'"{value}"' for value in values) or "none"


def _capacities(evidence: Evidence, policy: CutoffConfig, name: str) -> dict[str, float]:
    """Return the MQLs a week of each segment: as set for it, or by its share of the arrivals."""
    named = dict(policy.segment_mqls_per_week)
    if policy.policy != "capacity" or policy.mqls_per_week is None:
        return named
    newest = _newest(evidence)
    arrived = newest.scored.sort_values("as_of", kind="stable").drop_duplicates("lead_id")
    counted = arrived.loc[arrived["as_of"] >= newest.start, name].value_counts(dropna=False)
    others = counted.drop(list(named), errors="ignore")
    shared = policy.mqls_per_week * others / max(others.sum(), 1)
    return {**{str(value): float(part) for value, part in shared.items()}, **named}


@dataclass(frozen=True)
class _Why:
    """Why values have no cutoff of their own, and how surely the others are proven."""

    few: list[str]
    "Too few MQLs of their own."
    unmet: list[str]
    "MQLs enough, but no cutoff that meets the policy."
    confidence: float | None = None

    def told(self, policy: str, settled: Collection[str] = ()) -> str:
        """Return the reasons, those of `settled` values left out."""
        little = "too few MQLs" + " or wins" * (policy == "capture") + " of their own"
        nothing = "not proven" if policy in PROVEN else "no cutoff fits"
        unmet = [value for value in self.unmet if value not in settled]
        reasons = ((little, self.few), (nothing, unmet))
        return "; ".join(f"{reason} in {_listed(values)}" for reason, values in reasons if values)


def _listed(values: list[str]) -> str:
    return ", ".join(values[:TOLD]) + ", ..." * (len(values) > TOLD)


def _told(cutoff: Cutoff, why: _Why) -> Cutoff:
    """Return `cutoff` with the segments' part of its reason."""
    by, pooled = cutoff.segment_by, cutoff.value
    told = why.told(cutoff.policy, cutoff.segments)
    because = f": {told}" if told else ""
    if not cutoff.segments:
        holds = "" if pooled is None else f" {pooled:.1%} holds for all."
        return replace(
            cutoff,
            reason=f"{cutoff.reason} No value of {by} gets a cutoff of its own{because}.{holds}",
        )
    sentences = [cutoff.reason]
    own = [f"{value} {at:.1%}" for value, at in cutoff.segments.items() if at is not None]
    if own:
        surely = ""
        if why.confidence is not None:
            surely = f", each proven with {why.confidence:.1%} confidence so that all hold together"
        sentences.append(f"By {by}{surely}: {_listed(own)}.")
    nobody = [value for value, at in cutoff.segments.items() if at is None]
    if nobody:
        sentences.append(f"Nobody qualifies in {_listed(nobody)}: no cutoff is proven there.")
    others = "Nobody else qualifies" if pooled is None else f"{pooled:.1%} holds for all others"
    return replace(cutoff, reason=" ".join([*sentences, f"{others}{because}."]))
