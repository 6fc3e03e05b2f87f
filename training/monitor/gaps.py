"""Values that went missing, and values the model does not know."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from training.monitor.bands import MISSING
from training.monitor.finding import LIMIT, NEAR_WEEKS, RECENT_WEEKS, RESTLESS, Finding, named
from training.monitor.weekly import ALL, NEW, Weekly

Rises = dict[str, tuple[float, float]]
"Of features: share of leads before, and now."
UNKNOWN_SHARE, MISSING_SHARE = 0.05, 0.10
"Rise of the share of leads, in points, that is worth a person's time."
BASE_RATE_FACTOR = 2.0
TOGETHER = 2.0
"Variance of the wins of leads over that of lone ones."


def unlearnt_findings(weekly: Weekly, reference: int) -> Iterator[Finding]:
    """Yield what the champion's own training weeks hold and it cannot have learnt from.

    They are read from today's data: a value renamed in all rows, or the wrong rows, look calm from
    week to week.
    """
    bands = weekly.bands
    concept_of = dict(zip(bands.names, bands.concepts, strict=True))
    for name, share in bands.unlearnt.items():
        if share >= UNKNOWN_SHARE:
            yield Finding(
                "unknown_category", concept_of[name], True, round(share, 3),
                f"{name}: {share:.0%} of leads have a value the model does not know, in the very "
                "weeks it was trained on",
                "Mend the mapping in [tables], or the export: a value was renamed",
                evidence={"reference_share": {name: round(share, 3)}},
            )  # fmt: skip
    before = weekly.rows[weekly.rows["monday"] < reference]
    if not bands.base_rate or before.empty:
        return
    mean, wins = float(before["probability"].mean()), bands.base_rate * before["lead"].nunique()
    ratio = float(np.log(max(mean, 1e-9) / bands.base_rate))
    # By how much the log of so many wins is known; leads of an account win together.
    if abs(ratio) > max(np.log(BASE_RATE_FACTOR), LIMIT * np.sqrt(TOGETHER / max(wins, 1e-9))):
        yield Finding(
            "base_rate", "probability", True, round(abs(ratio), 3),
            f"the mean probability of the weeks before the model's data ended is {mean:.1%}; "
            f"{bands.base_rate:.1%} of the leads it was trained on won: the data are others",
            "Mend the mapping in [tables], or the export",
        )  # fmt: skip


def gap_findings(weekly: Weekly, reference: int) -> Iterator[Finding]:
    """Yield categories with values the model does not know, and what went missing, by concept."""
    for concept, rises in _by_concept(weekly, unknown_rises(weekly, reference)):
        sizes = {name: round(after - before, 3) for name, (before, after) in rises.items()}
        before, after = max(rises.values(), key=_size)
        yield Finding(
            "unknown_category", concept, True, max(sizes.values()),
            f"{named(concept, sizes)}: {after:.0%} of new leads have a value the model does not "
            f"know, before {before:.0%}",
            "A renamed or new value? Map it in [tables], or retrain: closedwon retrain",
            evidence={"rise": sizes},
        )  # fmt: skip
    for concept, rises in _by_concept(weekly, missing_rises(weekly, reference)):
        sizes = {name: round(after - before, 3) for name, (before, after) in rises.items()}
        before, after = max(rises.values(), key=_size)
        yield Finding(
            "null_spike", concept, True, max(sizes.values()),
            f"{named(concept, sizes)}: missing for {after:.0%} of leads, before {before:.0%}",
            "Mend the feed; until then the model reads it as not known",
            evidence={"rise": sizes},
        )  # fmt: skip


def unknown_rises(weekly: Weekly, reference: int) -> Rises:
    """Return the share of new leads with an unknown value, before and now, where it rose."""
    bands = weekly.bands
    found = {
        name: _rise(weekly, reference, place, bands.unknown, NEW)
        for place, name in enumerate(bands.names)
        if name in bands.vocabularies
    }
    return {name: rise for name, rise in found.items() if rise and _size(rise) >= UNKNOWN_SHARE}


def missing_rises(weekly: Weekly, reference: int) -> Rises:
    """Return the share of leads, new or all, without a value, before and now, where it rose."""
    found = {}
    for place, name in enumerate(weekly.bands.names):
        looks = [_rise(weekly, reference, place, MISSING, whom) for whom in (NEW, ALL)]
        found[name] = max((rise for rise in looks if rise), key=_size, default=(0.0, 0.0))
    return {name: rise for name, rise in found.items() if _size(rise) >= MISSING_SHARE}


def _size(rise: tuple[float, float]) -> float:
    return rise[1] - rise[0]


def _by_concept(weekly: Weekly, rises: Rises) -> list[tuple[str, Rises]]:
    """Return the rises of each concept: a column that is empty leaves all its features empty."""
    concept_of = dict(zip(weekly.bands.names, weekly.bands.concepts, strict=True))
    found: dict[str, Rises] = {}
    for name, rise in rises.items():
        found.setdefault(concept_of[name], {})[name] = rise
    return list(found.items())


def _rise(
    weekly: Weekly, reference: int, place: int, band: int, whom: int
) -> tuple[float, float] | None:
    """Return the share of leads in a band before and now, where it rose beyond luck and habit."""
    weeks = 1 if whom == ALL else RECENT_WEEKS
    counts, accounts = weekly.counts[whom, :, place], weekly.accounts[whom]
    rows = counts.sum(axis=1)
    first = max(reference - NEAR_WEEKS, 0) if whom == ALL else 0
    old, new = rows[first:reference].sum(), rows[-weeks:].sum()
    if not old or not new:
        return None
    before = float(counts[first:reference, band].sum() / old)
    after = float(counts[-weeks:, band].sum() / new)
    if whom == ALL:
        shares = counts[:reference, band] / np.maximum(rows[:reference], 1)
        if after - before <= RESTLESS * float(np.abs(shares - before).max(initial=0.0)):
            return None
    # Leads stay for weeks: the reference's accounts count once for the population.
    of_old = accounts[first:reference].sum() / (1 if whom == NEW else reference - first)
    of_new = accounts[-weeks:].sum()
    pooled = (before * of_old + after * of_new) / (of_old + of_new)
    error = np.sqrt(max(pooled * (1 - pooled), 1e-9) * (1 / of_old + 1 / of_new))
    return (before, after) if (after - before) / error > LIMIT else None
