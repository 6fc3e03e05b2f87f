"""Choosing the cutoff by a policy, overall or by segment, with what to expect of it."""

from __future__ import annotations

from dataclasses import replace

from features.config import CutoffConfig
from features.errors import InputError
from models.cutoff import Cutoff, Estimate
from training.cutoffs.forecast import Outlook
from training.cutoffs.policies import LEAST_MQLS as LEAST_MQLS
from training.cutoffs.policies import POLICIES, Evidence, Rules
from training.cutoffs.policies import Curve as Curve
from training.cutoffs.policies import cutoff_curve as cutoff_curve
from training.metrics import resamples, with_intervals
from training.replay import Replay, decided

PROVEN = ("precision", "capture")
"Policies whose promise comes with a stated confidence."


def choose_cutoff(
    past: Replay,
    policy: CutoffConfig,
    bootstraps: int,
    seed: int,
    rules: Rules | None = None,
    recent: Replay | None = None,
) -> Cutoff:
    """Return the cutoff the policy asks for, with its evidence, or one that qualifies nobody.

    `past`: weeks whose outcomes are known, scored out of fold. `rules`: the rules' replay over the
    same weeks and their threshold. `recent`: the weeks since, outcomes unknown, scored as leads
    will be; capacity and forecast count on them. Raises InputError where the policy needs rules
    and there are none, and for segments by an unknown feature.
    """
    evidence = Evidence(past, Outlook.of(past, recent) if past.is_dated else None, rules)
    parameter, value, reason = POLICIES[policy.policy](evidence, policy)
    cutoff = Cutoff(policy.policy, parameter, value, reason, assumption=_assumption(past, policy))
    if policy.segment_by is not None:
        cutoff = _with_segments(cutoff, evidence, policy, policy.segment_by)
    return _with_evidence(cutoff, evidence, policy, bootstraps, seed)


def _assumption(past: Replay, policy: CutoffConfig) -> str:
    if not past.is_dated:
        return "It holds for leads drawn like those replayed."
    held = "The promise and its confidence hold" if policy.policy in PROVEN else "The figures hold"
    return (
        f"{held} if the coming weeks are like the {past.weeks} replayed: the same kinds of leads "
        "that close as often (exchangeable weeks, no drift)."
    )


def _with_evidence(
    cutoff: Cutoff, evidence: Evidence, policy: CutoffConfig, bootstraps: int, seed: int
) -> Cutoff:
    if cutoff.qualifies_nobody:
        return cutoff
    replay, number = decided(evidence.past, cutoff)
    figures = replay.figures(number, bootstraps, seed)
    if policy.policy == "money":
        figures["value_per_week"] = _value_per_week(replay, number, policy, bootstraps, seed)
    outlook = evidence.outlook
    if outlook is None:
        return replace(cutoff, evidence=figures)
    newest, number = decided(outlook.newest, cutoff)
    return replace(
        cutoff, evidence=figures, forecast=replace(outlook, newest=newest).forecast(number)
    )


def _value_per_week(
    replay: Replay, cutoff: float, policy: CutoffConfig, bootstraps: int, seed: int
) -> Estimate:
    """Return what the won deals bring less the contact costs, a week; each deal counts once."""
    assert policy.win_value is not None  # the configuration asks for both
    assert policy.contact_cost is not None
    mqls = replay.mqls(cutoff)
    won = mqls["won_in_horizon"] > 0
    is_deal = (won & ~mqls["opportunity_id"].where(won).duplicated()).to_numpy(float)
    value = (is_deal * policy.win_value - policy.contact_cost) / replay.weeks
    drawn = resamples(mqls["account"].to_numpy(), bootstraps, seed)
    figures = [{"value": float(times @ value)} for times in drawn]
    return with_intervals({"value": float(value.sum())}, figures)["value"]


def _with_segments(cutoff: Cutoff, evidence: Evidence, policy: CutoffConfig, name: str) -> Cutoff:
    """Return `cutoff` with one of its own for each value of `name` that has enough MQLs.

    Each is chosen by the same policy on its own leads; the others keep the pooled cutoff.
    """
    past = evidence.past
    if name not in past.scored:
        raise InputError(
            f'[cutoff] segment_by names "{name}", which is no category feature of the leads. Name '
            "one of the catalogue, such as leads.source, or leave segment_by out."
        )
    found: dict[str, float] = {}
    pooled: list[str] = []
    values = sorted(past.scored[name].dropna().unique())
    capacities = _capacities(evidence, policy, name)
    for value in values:
        own = policy
        if value in capacities:
            own = policy.model_copy(update={"mqls_per_week": capacities[value], "share": None})
        chosen = _choose_part(_part(evidence, name, value), own, cutoff.value)
        if chosen is None:
            pooled.append(value)
        else:
            found[value] = chosen
    return replace(
        cutoff, segment_by=name, segments=found, reason=_told(cutoff.reason, name, found, pooled)
    )


def _choose_part(part: Evidence, policy: CutoffConfig, pooled: float | None) -> float | None:
    """Return the cutoff of one segment, or None where too little is known of it."""
    lowest = part.past.moments["probability"].min() if pooled is None else pooled
    if len(part.past.mqls(lowest)) < LEAST_MQLS:
        return None
    _, chosen, _ = POLICIES[policy.policy](part, policy)
    return chosen


def _part(evidence: Evidence, name: str, value: str) -> Evidence:
    """Return what is known of the leads whose `name` has this value."""

    def own(replay: Replay) -> Replay:
        return replay.of((replay.scored[name] == value).to_numpy())

    outlook, rules = evidence.outlook, evidence.rules
    return Evidence(
        own(evidence.past),
        None if outlook is None else replace(outlook, newest=own(outlook.newest)),
        None if rules is None else (own(rules[0]), rules[1]),
    )


def _capacities(evidence: Evidence, policy: CutoffConfig, name: str) -> dict[str, float]:
    """Return the MQLs a week of each segment: as set for it, or by its share of the arrivals."""
    named = dict(policy.segment_mqls_per_week)
    if policy.policy != "capacity" or policy.mqls_per_week is None:
        return named
    newest = evidence.past if evidence.outlook is None else evidence.outlook.newest
    arrived = newest.scored.sort_values("as_of", kind="stable").drop_duplicates("lead_id")
    counted = arrived.loc[arrived["as_of"] >= newest.start, name].value_counts(dropna=False)
    others = counted.drop(list(named), errors="ignore")
    shared = policy.mqls_per_week * others / max(others.sum(), 1)
    return {**{str(value): float(part) for value, part in shared.items()}, **named}


def _told(reason: str, name: str, found: dict[str, float], pooled: list[str]) -> str:
    if not found:
        return f"{reason} No value of {name} has enough MQLs for a cutoff of its own."
    some = ", ".join(f"{value} {cutoff:.1%}" for value, cutoff in list(found.items())[:5])
    more = ", ..." * (len(found) > 5)
    others = f", too few MQLs of their own in {', '.join(pooled[:5])}" if pooled else ""
    return f"{reason} By {name}: {some}{more}. The first one holds for all others{others}."
