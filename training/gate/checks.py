"""One check of the gate, the test behind it, and the decision of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

Result = Literal["pass", "fail", "unclear", "note"]
Against = Literal["champion", "recipe"]
CALLED: dict[Against, str] = {"champion": "champion", "recipe": "champion's recipe"}
Decision = Literal["pass", "refuse", "not_enough_evidence"]


@dataclass(frozen=True)
class Check:
    """What was compared, and how it came out."""

    name: str
    result: Result
    "A note is told and decides nothing."
    champion: float | None = None
    challenger: float | None = None
    worse_by: float | None = None
    "How much worse the challenger is, in the unit of the margin; negative: better."
    low: float | None = None
    high: float | None = None
    "One-sided limits of `worse_by`, each at the confidence of the settings."
    margin: float | None = None
    "The most that `worse_by` may be."
    told: str = ""
    "What a person should know, in a sentence."
    against: Against = "champion"
    "Whose the champion's figure is: its recipe stands in where it cannot be asked itself."

    def as_dict(self) -> dict[str, Any]:
        """Return the check as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Tested:
    """A check that rests on resamples, and how likely so much would be of an equal challenger."""

    check: Check
    p_value: float


def non_inferiority(
    name: str,
    figures: tuple[float, float, float],
    drawn: np.ndarray,
    margin: float,
    confidence: float,
    told: str = "",
) -> Tested:
    """Return the check of the champion's figure, the challenger's, and how much worse it is.

    `drawn` is how much worse it is in each resample. Non-inferiority: it passes when even the
    upper limit is below the margin. It fails when it is worse for sure (the lower limit above 0)
    and by more than the margin; between the two nothing is shown.
    """
    champion, challenger, worse_by = (float(figure) for figure in figures)
    finite = drawn[np.isfinite(drawn)]
    if not len(finite) or not np.isfinite(worse_by):
        told = told or "nothing to compare"
        return Tested(Check(name, "unclear", margin=margin, told=told), 1.0)
    low, high = np.quantile(finite, [1 - confidence, confidence])
    result: Result = "unclear"
    if high < margin:
        result = "pass"
    elif low > 0 and worse_by > margin:
        result = "fail"
    p_value = (1 + np.sum(finite <= 0)) / (1 + len(finite))
    limits = float(low), float(high)
    check = Check(name, result, champion, challenger, worse_by, *limits, margin, told)
    return Tested(check, float(p_value))


def holm(many: Sequence[Tested], confidence: float) -> list[Check]:
    """Return the checks of one family, failed only where that survives being one of many.

    Holm's (1979) step-down procedure: of twenty segments some look worse by luck alone. A failure
    that does not survive is unclear. Passing needs no such care: all have to.
    """
    alpha, still = 1 - confidence, True
    kept: dict[int, Check] = {}
    for rank, place in enumerate(np.argsort([one.p_value for one in many], kind="stable")):
        check = many[place].check
        still = still and many[place].p_value <= alpha / (len(many) - rank)
        if check.result == "fail" and not still:
            check = replace(check, result="unclear")
        kept[int(place)] = check
    return [kept[place] for place in range(len(many))]


def decision_of(checks: Sequence[Check]) -> Decision:
    """Return the verdict: one failure refuses, one open question leaves it open.

    >>> decision_of([Check("log_loss", "pass"), Check("capture", "unclear")])
    'not_enough_evidence'
    """
    results = {check.result for check in checks}
    if "fail" in results:
        return "refuse"
    return "not_enough_evidence" if "unclear" in results else "pass"
