"""Whether the challenger shows what the champion had shown when it was trained.

A stand-in of the champion that learns from the same data as the challenger is as bad as that where
the data broke: a feed that went missing, events joined to the wrong leads. The champion's own
figures, kept in its bundle, do not depend on the data of now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from features.life_config import GateConfig
from models.cutoff import Estimate
from models.scorer import Scorer
from training.gate.checks import Against, Check, Result
from training.gate.questions import CAPTURE_PARTS
from training.gate.sides import asks_otherwise
from training.gate.words import some

if TYPE_CHECKING:
    from training.candidate import Candidate

Known = Mapping[str, float | None]
"`value`, `low` and `high` of an estimate."


def promise_checks(
    champion: Scorer,
    candidate: Candidate,
    gate: GateConfig,
    baseline: Against,
    blocked: Sequence[str] = (),
) -> list[Check]:
    """Return the checks of skill, precision and capture against the champion's own evaluation.

    The two were measured on different leads, so their intervals are combined as independent ones.
    It fails where the challenger is below by more than the margin even at the favourable limit, and
    is unclear where it is below for sure, and by more than the margin at the point. Where the
    recipe stood in (`baseline`), the skill must be shown: at the unfavourable limit no more than
    `gate.promise_share` of it may be missing. Figures that mean something else are left out.
    All are notes where the champion reads columns that the audit now blocks (`blocked`): what it
    showed with a leak, no honest challenger can show.
    """
    checks = _against_promises(champion, candidate, gate, baseline)
    if not blocked:
        return checks
    told = (
        f"the champion showed this while it read {some(blocked)}, which the leakage audit now "
        "blocks: an honest challenger is not held to it"
    )
    return [Check(c.name, "note", c.champion, c.challenger, told=told) for c in checks]


def _against_promises(
    champion: Scorer, candidate: Candidate, gate: GateConfig, baseline: Against
) -> list[Check]:
    facts, evaluation = champion.facts, candidate.evaluation
    is_comparable = champion.horizon_days == candidate.scorer.horizon_days
    old = facts.get("skill", {})
    if not is_comparable or not _is_usable(old):
        told = "the champion's bundle holds no figure of its own to compare with"
        skill = Check("promised_skill", "note", told=told)
    else:
        # A margin of the log loss, as one of the skill, which is 1 - loss / loss of the base rate.
        margin = gate.log_loss_margin * (1 - float(old["value"]))
        skill = _promise("promised_skill", old, evaluation.skill, margin)
    checks = [skill if baseline == "champion" else _shown(skill, gate)]
    if not is_comparable or asks_otherwise(champion.cutoff, evaluation.cutoff):
        return checks
    promised, found = facts.get("replay", {}), evaluation.replayed
    for name, margin in (("precision", gate.precision_margin), ("capture", gate.capture_margin)):
        old = promised.get(name, {})
        if name in found and _is_usable(old):
            if name == "capture":
                margin = min(margin, float(old["value"]) / CAPTURE_PARTS)
            checks.append(_promise(f"promised_{name}", old, found[name], margin))
    return checks


def _shown(skill: Check, gate: GateConfig) -> Check:
    """Return the check of the skill, unclear where it shows too little to go by it alone."""
    if skill.result not in ("pass", "note"):
        return skill
    most = gate.promise_share * max(skill.champion or 0.0, 0.0)
    if skill.high is not None and skill.high <= most:
        return skill
    told = skill.told
    if skill.high is not None:
        told = (
            f"up to {100 * skill.high:.1f} points of what the champion showed may be missing; "
            f"{100 * most:.1f} may be where its recipe, which learns from the same data, stood in"
        )
    return replace(skill, result="unclear", told=told)


def _is_usable(known: Known) -> bool:
    limits = (known.get(name) for name in ("value", "low", "high"))
    return all(limit is not None and np.isfinite(limit) for limit in limits)


def _promise(name: str, known: Known, found: Estimate, margin: float) -> Check:
    """Return one check; its limits are those of the difference of two independent estimates.

    Zou and Donner (2008): the distances from each point to the limit that counts, squared and
    added. The intervals are of 90%, so each limit is at 95%.
    """
    promised, least, most = (float(known[limit] or 0.0) for limit in ("value", "low", "high"))
    if found.low is None or found.high is None or not np.isfinite([found.low, found.high]).all():
        return Check(name, "unclear", promised, found.value, margin=margin, told="no interval")
    worse_by = promised - found.value
    low = worse_by - float(np.hypot(promised - least, found.high - found.value))
    high = worse_by + float(np.hypot(most - promised, found.value - found.low))
    result: Result = "pass"
    told = "what the champion showed when it was trained, beside what the challenger shows"
    if low > margin:
        result = "fail"
        told = (
            "worse than what the champion showed: the data may be broken, or the market changed; "
            "if it did, a person can promote it with a reason"
        )
    elif low > 0 and worse_by > margin:
        result = "unclear"
    return Check(name, result, promised, found.value, worse_by, low, high, margin, told)
