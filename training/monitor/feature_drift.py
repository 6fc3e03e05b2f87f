"""Features, and the score, that are spread otherwise than they were, told by concept."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from training.drift import LARGE, NOTABLE, population_stability
from training.monitor.bands import SCORE
from training.monitor.finding import BY_LUCK, NEAR_WEEKS, RECENT_WEEKS, RESTLESS, Finding, named
from training.monitor.weekly import ALL, NEW, Weekly

Floats = npt.NDArray[np.float64]
LEAST_REFERENCE = 39
"Weeks of reference, three quarters, that a drift needs to be an alarm."


def drift_findings(weekly: Weekly, reference: int) -> Iterator[Finding]:
    """Yield what is known of leads, and the score, where it is spread otherwise than it was.

    One change moves many features: counts of 7, 30 and 90 days, the days since. They are told
    together, by concept, as far as the one that moved furthest.
    """
    moved: dict[str, dict[str, float]] = {}
    for place, (name, concept) in enumerate(
        zip(weekly.bands.names, weekly.bands.concepts, strict=True)
    ):
        psi = _move(weekly, reference, place)
        if psi >= NOTABLE:
            moved.setdefault(concept, {})[name] = round(psi, 3)
    for concept, features in moved.items():
        psi = max(features.values())
        size = "large" if psi >= LARGE else "notable"
        # Fewer weeks have not seen what a quarter does to them.
        is_alarm = psi >= LARGE and reference >= LEAST_REFERENCE
        yield Finding(
            "score_drift" if concept == SCORE else "feature_drift", concept, is_alarm, psi,
            f"{named(concept, features)}: spread otherwise than in training "
            f"(PSI {psi:.2f}, {size})",
            "Look at what changed in the source; if it is to stay, retrain: closedwon retrain",
            evidence={"psi": features},
        )  # fmt: skip


def _move(weekly: Weekly, reference: int, place: int) -> float:
    """Return how far a feature's known values moved (PSI); 0 where luck or habit explain it."""
    near = max(reference - NEAR_WEEKS, 0)
    psi, usual = 0.0, 0.0
    # Who they are is seen in new leads first; what a lead did in its first week tells little.
    looks = ((ALL, 1), (NEW, RECENT_WEEKS)) if _is_fit(weekly, place) else ((ALL, 1),)
    for whom, newest in looks:
        counts = weekly.counts[whom, :, place, 1 : weekly.bands.unknown]
        before = counts[near:reference].sum(axis=0)
        after = counts[-newest:].sum(axis=0)
        if not before.sum() or not after.sum():
            continue
        accounts, of_reference = _known_accounts(weekly, whom, place, near, reference, newest)
        # As many rows as there are accounts: PSI is told from shares.
        here = population_stability(
            before / before.sum() * of_reference, after / after.sum() * accounts
        )
        bands = int(((before + after) > 0).sum())
        luck = chi2.ppf(1 - BY_LUCK, max(bands - 1, 1)) * (1 / accounts + 1 / of_reference)
        if here > luck and here > psi:
            habit = _usual_move(_blocks(counts, near, reference, whom), before)
            psi, usual = here, RESTLESS * habit
    return psi if psi > usual else 0.0


def _is_fit(weekly: Weekly, place: int) -> bool:
    return weekly.bands.families[place] == "fit"


def _known_accounts(
    weekly: Weekly, whom: int, place: int, near: int, reference: int, newest: int
) -> tuple[float, float]:
    """Return about how many accounts have a known value now, and in the reference.

    The same leads are looked at every Monday, so the reference's accounts count once.
    """
    counts, accounts = weekly.counts[whom, :, place], weekly.accounts[whom]
    share = counts[:, 1 : weekly.bands.unknown].sum(axis=1) / np.maximum(counts.sum(axis=1), 1)
    known = share * accounts
    before = known[near:reference]
    return float(known[-newest:].sum()), float(before.sum() if whom == NEW else before.mean())


def _blocks(counts: Floats, near: int, reference: int, whom: int) -> Floats:
    """Return counts of the reference to see how far they move: Mondays, or months of new leads."""
    if whom == ALL:
        return counts[:near:RECENT_WEEKS]
    blocks = reference // RECENT_WEEKS
    last = blocks * RECENT_WEEKS
    newest = counts[reference - last : reference].reshape(blocks, RECENT_WEEKS, -1)
    return np.asarray(newest.sum(axis=1), dtype=np.float64)


def _usual_move(blocks: Floats, before: Floats) -> float:
    """Return the largest PSI of the reference's own blocks against its newest weeks."""
    moves = (
        population_stability(before / before.sum() * block.sum(), block)
        for block in blocks
        if block.sum() > 0
    )
    return max(moves, default=0.0)
