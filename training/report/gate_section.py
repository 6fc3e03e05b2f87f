"""What the gate said of a challenger, as a section of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.gate.words import cells_of, head_of

if TYPE_CHECKING:
    from training.gate.checks import Check
    from training.gate.gate import Verdict

_TOLD = {
    "pass": "It may: it is not worse by more than the margins.",
    "refuse": "It may not: it is worse.",
    "not_enough_evidence": "Not yet: there is not enough evidence that it is no worse.",
}


def gate_section(verdict: Verdict) -> dict[str, Any]:
    """Return what the section tells: the decision, who stood for the champion, every check."""
    told = _TOLD[verdict.decision]
    if verdict.decision == "pass" and verdict.is_same:
        told = (
            "It may, by the promise checks: it scores alike, and shows what the champion had shown."
        )
    return {
        "champion": verdict.champion_version,
        "decision": verdict.decision,
        "told": told,
        "why": verdict.why,
        "rows": f"{verdict.rows:,}",
        "wins": f"{verdict.wins:,}",
        "checks": [
            {
                # the result stands beside the check's name, not in the last column
                "head": head_of(check)[:-1] if _is_first(before, check) else (),
                "cells": cells_of(check)[:-1],
                "result": check.result,
                "told": check.told,
            }
            for before, check in zip((None, *verdict.checks), verdict.checks, strict=False)
        ],
    }


def _is_first(before: Check | None, check: Check) -> bool:
    """Return whether somebody else stood for the champion in the check before, or there is none."""
    return before is None or before.against != check.against
