"""The gate: whether a challenger may take the champion's place.

Three kinds of checks: scores compared on rows that neither model saw (`paired`, on what `sides`
finds); the challenger's figures beside those the champion had (`promise`); and what no score tells:
the audit's evidence, the reasons, speed and size (`further`), and whether a jump hangs on columns
newly read (`new_columns`).
One failed check refuses; without one, an open question means that there is not enough evidence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from models.scorer import Scorer
from training.gate.checks import CALLED, Check, Decision, decision_of
from training.gate.further import audit_checks, cost_checks, reasons_checks
from training.gate.new_columns import gain_by_new_columns
from training.gate.paired import own_check, paired_checks
from training.gate.promise import promise_checks
from training.gate.sides import Baseline, compared
from training.gate.snapshots import blocked_now
from training.gate.words import table_of

if TYPE_CHECKING:
    from training.candidate import Candidate, Prepared
    from training.steps import Steps

SAID: dict[Decision, str] = {
    "pass": "pass: the challenger is not worse than the champion by more than the margins",
    "refuse": "refuse: the challenger failed a check",
    "not_enough_evidence": "not enough evidence that the challenger is no worse",
}


SAME = {
    "note": " Equal scores show nothing: what counts is that the challenger shows what the "
    "champion had shown when it was trained, by the same reasons.",
    "unclear": " Equal scores show nothing, and that the challenger shows what the champion had "
    "shown when it was trained, by the same reasons, is not clear either.",
    "blocked": " Equal scores show nothing, nor does what the champion had shown when it was "
    "trained: it reads what the leakage audit now blocks. A person has to look at the challenger, "
    "and to promote it with a reason.",
}
"""Of a challenger that scores as who stood for the champion does."""


@dataclass(frozen=True)
class ChampionInUse:
    """The champion that is challenged."""

    version: str
    digest: str
    "Of its bundle."
    scorer: Scorer


@dataclass(frozen=True)
class Verdict:
    """What the gate says of a challenger, and every check behind it."""

    decision: Decision
    champion_version: str
    champion_digest: str
    baseline: Baseline
    "Who stood for the champion: itself, or its recipe fitted anew."
    why: str
    "Who stood for it and why, in words."
    rows: int
    "Compared snapshots."
    wins: int
    "Won accounts among them."
    checks: tuple[Check, ...]
    is_same: bool = False
    "The challenger scores as who stood for the champion does, so the comparison shows nothing."

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON values."""
        return {
            "decision": self.decision,
            "champion": self.champion_version,
            "champion_digest": self.champion_digest,
            "baseline": self.baseline,
            "why": self.why,
            "rows": self.rows,
            "wins": self.wins,
            "checks": [check.as_dict() for check in self.checks],
        }

    @property
    def said(self) -> str:
        """The verdict in words, without what held it back."""
        if self.decision != "pass" or not self.is_same:
            return SAID[self.decision]
        return (
            f"pass by the promise checks: the challenger scores as the {CALLED[self.baseline]} "
            "does, which shows nothing, and shows what the champion had shown when it was trained"
        )

    def lines(self) -> list[str]:
        """Return the verdict for people: against whom, the checks as a table, what follows."""
        decisive = "fail" if self.decision == "refuse" else "unclear"
        held = [check.name for check in self.checks if check.result == decisive]
        because = f" ({', '.join(held[:4])}{', ...' * (len(held) > 4)})" if held else ""
        return [
            f"Challenger against version {self.champion_version}: {self.rows:,} rows, "
            f"{self.wins:,} won accounts.",
            self.why,
            "",
            *table_of(self.checks),
            "",
            f"Verdict: {self.said}{because}.",
        ]


def judge(
    champion: ChampionInUse, candidate: Candidate, prepared: Prepared, steps: Steps
) -> Verdict:
    """Return whether `candidate` may take the champion's place.

    `prepared` is what the candidate was made of. The candidate is judged by its evaluation, which
    did not see the test part; its reasons, speed and size by what would be shipped.
    """
    gate, old, new = prepared.config.gate, champion.scorer, candidate.scorer
    with steps("champion's scores"):
        found = compared(old, candidate, prepared)
    is_same = found.rows.is_same
    blocked = blocked_now(old.catalogue, prepared)
    promise = promise_checks(old, candidate, gate, found.baseline, blocked)
    reasons = reasons_checks(old, new, prepared, gate, blocked)
    is_shown = all(check.result == "pass" for check in (*promise, *reasons))
    where_same: Literal["note", "unclear"] = "note" if is_shown else "unclear"
    paired = paired_checks(found.rows, found.mqls, gate, found.baseline, where_same)
    if found.own is not None:
        paired.append(own_check(found.own[0], gate, found.own[1]))
    if found.rows.won_accounts() < gate.min_wins:  # not enough for anything that rests on wins
        promise = [replace(check, result="unclear") for check in promise]
        paired = [_left_open(check) for check in paired]
    checks = [
        *paired,
        *promise,
        *audit_checks(old, new, prepared),
        *reasons,
        gain_by_new_columns(old, candidate, prepared, found.rows),
        *cost_checks(old, new, prepared, gate),
    ]
    return Verdict(
        decision=decision_of(checks),
        champion_version=champion.version,
        champion_digest=champion.digest,
        baseline=found.baseline,
        why=found.why + (SAME["blocked" if blocked else where_same] if is_same else ""),
        rows=len(found.rows.won),
        wins=found.rows.won_accounts(),
        checks=tuple(checks),
        is_same=is_same,
    )


def _left_open(check: Check) -> Check:
    return replace(check, result="unclear") if check.result == "fail" else check
