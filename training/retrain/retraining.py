"""What a retraining came to, for people and for machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from models.registry import CHALLENGER, CHAMPION
from training.comparison.record import wrapped

if TYPE_CHECKING:
    from training.promotion import Promotion

CHOICE_FILE = "choice.json"
"Artifact of the run: which of the two was offered, and why."
_DECISIONS = {
    "pass": "passed the gate",
    "refuse": "was refused by the gate",
    "not_enough_evidence": "was not let through: there is not enough evidence yet",
}


@dataclass(frozen=True)
class Retraining:
    """A finished retraining."""

    outcome: Literal["made", "nothing_new", "champion_stays"]
    version: str
    """The challenger made, or the one an earlier run made of the same; the champion where it is
    fine as it is and nothing was made."""
    alias: str | None
    champion: str | None
    "The champion that was to be challenged; None if there was none."
    choice: Mapping[str, Any] | None
    "See `Choice.as_dict`; None without a champion."
    decision: str | None
    "The gate's; None without a champion."
    verdict: Mapping[str, Any] | None
    "See `Verdict.as_dict`."
    is_skilled: bool
    "Whether it clearly beats the base rate."
    report: Path | None
    seconds: dict[str, float]
    verdict_lines: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    was_champion: bool = False
    "Somebody went back from it: it does not become champion again by itself."
    promotion: Promotion | None = None

    @property
    def may_be_promoted(self) -> bool:
        """Whether promoting is what is left to do."""
        if self.alias == CHAMPION or self.was_champion:
            return False
        return self.is_skilled and (self.decision == "pass" or self.champion is None)

    @property
    def is_refused(self) -> bool:
        """Whether a person should look: the new model may not be champion."""
        if self.promotion is not None and self.promotion.outcome == "refused":
            return True
        if self.outcome == "champion_stays":
            return False
        # Told again as long as it waits: a person has not looked at it yet.
        if self.outcome == "nothing_new" and self.alias != CHALLENGER:
            return False
        return not (self.is_skilled and (self.decision == "pass" or self.champion is None))

    def with_promotion(self, promotion: Promotion) -> Retraining:
        """Return the retraining after its promotion."""
        is_champion = promotion.champion == self.version
        return replace(self, promotion=promotion, alias=CHAMPION if is_champion else self.alias)

    def as_dict(self) -> dict[str, Any]:
        """Return what `closedwon retrain --json` prints."""
        return {
            "outcome": self.outcome,
            "model_version": self.version,
            "alias": self.alias,
            "champion_before": self.champion,
            "chosen": None if self.choice is None else self.choice["chosen"],
            "why": None if self.choice is None else self.choice["why"],
            "choice": None if self.choice is None else dict(self.choice),
            "decision": self.decision,
            "gate": None if self.verdict is None else dict(self.verdict),
            "beats_base_rate": self.is_skilled,
            "promoted": self.promotion is not None and self.promotion.outcome == "moved",
            "promotion": None if self.promotion is None else self.promotion.as_dict(),
            "warnings": list(self.warnings),
            "report": None if self.report is None else str(self.report),
            "seconds": self.seconds,
        }

    def lines(self) -> list[str]:
        """Return the same for people."""
        lines = [self._first_line()]
        if self.choice is not None and self.outcome != "nothing_new":
            lines += wrapped(str(self.choice["why"]))
        lines += ["", *self.verdict_lines] if self.verdict_lines else []
        if self.was_champion:
            lines += wrapped(
                f"Version {self.version} was champion before and somebody went back from it, so it "
                f'stays out. To bring it back: closedwon rollback {self.version} --reason "..."'
            )
        elif self.promotion is not None:
            lines.append(self.promotion.told)
        elif self.may_be_promoted:
            lines.append(f"To make it champion: closedwon promote {self.version}")
        lines += [line for warning in self.warnings for line in wrapped(f"Mind: {warning}")]
        return lines + ([f"Report: {self.report}"] if self.report is not None else [])

    def _first_line(self) -> str:
        judged = _DECISIONS.get(self.decision or "", "")
        if self.outcome == "champion_stays":
            return f"Version {self.version} stays champion; no version was made."
        if self.outcome == "nothing_new":
            if self.alias == CHAMPION and self.version == self.champion:
                return f"Nothing new since version {self.version}, the champion, was made."
            return f"Nothing new since version {self.version} was made, which {judged or 'waits'}."
        if self.champion is None:
            skill = "" if self.is_skilled else ": it does not clearly beat the base rate"
            return f"Version {self.version} is the {self.alias}{skill}."
        return f"Version {self.version}, a challenger of version {self.champion}, {judged}."
