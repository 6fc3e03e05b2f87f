"""Choosing the cutoff by a policy, overall or by segment, with what to expect of it."""

from __future__ import annotations

from dataclasses import replace

from features.config import CutoffConfig
from models.cutoff import Cutoff, Estimate
from training.cutoffs.forecast import Outlook
from training.cutoffs.policies import LEAST_MQLS as LEAST_MQLS
from training.cutoffs.policies import POLICIES, PROVEN, Evidence, Rules
from training.cutoffs.policies import Curve as Curve
from training.cutoffs.policies import cutoff_curve as cutoff_curve
from training.cutoffs.segments import with_segments
from training.metrics import resamples, with_intervals
from training.replay import Replay, decided

KEPT = "Kept from the model before: the same chance of a win is worth as much as it was."


def choose_cutoff(
    past: Replay,
    policy: CutoffConfig,
    bootstraps: int,
    seed: int,
    rules: Rules | None = None,
    recent: Replay | None = None,
    kept: Cutoff | None = None,
) -> Cutoff:
    """Return the cutoff the policy asks for, with its evidence, or one that qualifies nobody.

    `past`: weeks whose outcomes are known, scored out of fold. `rules`: the rules' replay over the
    same weeks and their threshold. `recent`: the weeks since, outcomes unknown, scored as leads
    will be; capacity and forecast count on them. `kept`: an earlier cutoff whose value stays, with
    evidence of this past, if it is of the same policy, asked the same. Raises InputError where the
    policy needs rules and there are none, and for segments by an unknown feature or with unknown
    values.
    """
    evidence = Evidence(past, Outlook.of(past, recent) if past.is_dated else None, rules)
    parameter, value, reason = POLICIES[policy.policy](evidence, policy)
    cutoff = Cutoff(policy.policy, parameter, value, reason, assumption=_assumption(past, policy))
    if policy.segment_by is not None:
        cutoff = with_segments(cutoff, evidence, policy, policy.segment_by)
    if kept is not None and not kept.qualifies_nobody and _asked(kept) == _asked(cutoff):
        cutoff = replace(cutoff, value=kept.value, segments=kept.segments, reason=KEPT)
    return _with_evidence(cutoff, evidence, policy, bootstraps, seed)


def _asked(cutoff: Cutoff) -> tuple[str, dict[str, float], str | None]:
    return cutoff.policy, cutoff.parameter, cutoff.segment_by


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
