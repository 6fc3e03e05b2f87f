"""What is different from the champion's training window: the decision, on what was known by then.

Everything here is a function of `Weekly` tables that end at some Monday, the newest. Two things
make a finding an alarm, one that needs a person: its size matters, and luck is out of the question,
on as many features and weeks as are looked at. Accounts are the independent rows, not leads; a
share that moved about as much among the reference's own weeks is no finding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2, norm

from models.cutoff import Estimate
from training.drift import LARGE, NOTABLE, population_stability
from training.monitor.bands import SCORE
from training.monitor.evidence import Parting, WeeklyWins, parting
from training.monitor.verdict_mix import verdict_findings
from training.monitor.weekly import ALL, NEW, Weekly

Floats = npt.NDArray[np.float64]
BY_LUCK = 1e-6
"How likely luck may be: some hundred figures are looked at each week."
LIMIT = float(norm.ppf(1 - BY_LUCK / 2))
RECENT_WEEKS = 4
NEAR_WEEKS = 13
"Newest weeks of the reference: what the newest Monday is held against."
RESTLESS = 1.5
"A feature must move this many times as far as it did within the reference."
UNKNOWN_SHARE, MISSING_SHARE = 0.05, 0.10
"Rise of the share of leads, in points, that is worth a person's time."
FACTOR = 2.0
"Volumes: twice as many, or half."
FACTOR_WEEK = 2.75
"In a single week: that many times as many."
DEAD_SHARE, FEWEST_EVENTS = 0.1, 20.0


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it was."""

    kind: str
    "feature_drift, score_drift, unknown_category, null_spike, event_volume, arrivals, ..."
    subject: str
    "A feature, an event type, `wins`, ...; with `kind` it names the finding from run to run."
    needs_person: bool
    size: float
    text: str
    "What it is, how big, and against what."
    advice: str = ""
    week: np.datetime64 | None = None
    "Since when, where that can be told from the weeks."
    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The finding's name from run to run."""
        return f"{self.kind}:{self.subject}"


@dataclass(frozen=True)
class Expectations:
    """What the weeks are held against."""

    reference: int
    "The first so many Mondays are the champion's training window."
    wins: WeeklyWins
    mql_wins: WeeklyWins | None
    "Of the MQLs, at the promised precision; None without a cutoff."
    precision: Estimate | None
    mqls_per_week: Estimate | None
    mqls: Floats
    "First crossings of the cutoff, by Monday."
    tolerated: float


def findings(weekly: Weekly, expected: Expectations) -> list[Finding]:
    """Return what is odd at the newest Monday of `weekly`, alarms first."""
    if len(weekly.mondays) <= expected.reference:
        return []
    found = [
        *drift_findings(weekly, expected.reference),
        *gap_findings(weekly, expected.reference),
        *event_findings(weekly, expected.reference),
        *arrival_findings(weekly, expected.reference),
        *mql_findings(weekly, expected),
        *win_findings(weekly, expected),
        *verdict_findings(weekly, Finding),
    ]
    return sorted(found, key=lambda finding: (not finding.needs_person, -finding.size))


def drift_findings(weekly: Weekly, reference: int) -> Iterator[Finding]:
    """Yield features, and the score, whose known values are spread otherwise than they were."""
    near = max(reference - NEAR_WEEKS, 0)
    for place, name in enumerate(weekly.bands.names):
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
            moved = _usual_move(_blocks(counts, near, reference, whom), before)
            if here > luck and here > psi:
                psi, usual = here, RESTLESS * moved
        if psi < NOTABLE or psi <= usual:
            continue
        kind = "score_drift" if name == SCORE else "feature_drift"
        size = "large" if psi >= LARGE else "notable"
        yield Finding(
            kind, name, bool(psi >= LARGE), round(float(psi), 3),
            f"{name}: values are spread otherwise than in training (PSI {psi:.2f}, {size})",
            "Look at what changed in the source; if it is to stay, retrain: closedwon retrain",
        )  # fmt: skip


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


def gap_findings(weekly: Weekly, reference: int) -> Iterator[Finding]:
    """Yield categories with values the model does not know, and features that went missing."""
    for place, name in enumerate(weekly.bands.names):
        if name in weekly.bands.vocabularies:
            rise = _rise(weekly, reference, place, weekly.bands.unknown, NEW)
            if rise is not None and rise[1] - rise[0] >= UNKNOWN_SHARE:
                yield Finding(
                    "unknown_category", name, True, round(rise[1] - rise[0], 3),
                    f"{name}: {rise[1]:.0%} of new leads have a value the model does not know, "
                    f"before {rise[0]:.0%}",
                    "A renamed or new value? Map it in [tables], or retrain: closedwon retrain",
                )  # fmt: skip
        rises = [
            rise
            for whom in (NEW, ALL)
            if (rise := _rise(weekly, reference, place, 0, whom)) is not None
        ]
        before, after = max(rises, key=lambda pair: pair[1] - pair[0], default=(0.0, 0.0))
        if after - before >= MISSING_SHARE:
            yield Finding(
                "null_spike", name, True, round(after - before, 3),
                f"{name}: missing for {after:.0%} of leads, before {before:.0%}",
                "Mend the feed; until then the model reads it as not known",
            )  # fmt: skip


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


def event_findings(weekly: Weekly, reference: int) -> Iterator[Finding]:
    """Yield types of events whose volume is not what the other types would let one expect."""
    events = weekly.events
    if events.empty or not len(events.columns):
        return
    counts = events.to_numpy(float)
    near = slice(max(reference - NEAR_WEEKS, 0), reference)
    for place, name in enumerate(events.columns):
        others = counts.sum(axis=1) - counts[:, place]
        usual_others = np.median(others[near])
        level = others / usual_others if usual_others > 0 else np.ones(len(counts))
        usual = float(np.median(counts[near, place]))
        expected = usual * np.clip(level, 0.2, 5.0)
        restless = _dispersion(counts[near, place], expected[near])
        for weeks in (1, RECENT_WEEKS):
            # Late by no more than the newest weeks: all of them lie after the reference.
            if len(counts) - weeks < reference:
                continue
            observed, hoped = counts[-weeks:, place].sum(), expected[-weeks:].sum()
            error = np.sqrt(hoped * restless)
            is_dead = hoped >= FEWEST_EVENTS and observed <= DEAD_SHARE * hoped
            # One busy week is no news: it takes more, or a month.
            is_off = not hoped / FACTOR < observed < hoped * (FACTOR_WEEK if weeks == 1 else FACTOR)
            if max(hoped, observed) < FEWEST_EVENTS or abs(observed - hoped) <= LIMIT * error:
                continue
            if is_dead or is_off:
                word = "stopped" if is_dead else "fell" if observed < hoped else "rose"
                since = "last week" if weeks == 1 else f"the last {weeks} weeks"
                yield Finding(
                    "event_volume", str(name), True,
                    round(float(abs(np.log((observed + 1) / (hoped + 1)))), 3),
                    f"{name} events {word}: {observed:,.0f} in {since}, {hoped:,.0f} expected",
                    "Mend the tracker or the import" if word != "rose" else
                    "A campaign, or events sent twice? If it is to stay, retrain",
                )  # fmt: skip
                break


def _dispersion(counts: Floats, expected: Floats) -> float:
    """Return the variance of counts over what is expected, 1 at least."""
    if len(counts) < 3 or not expected.sum():
        return 1.0
    return float(max(1.0, ((counts - expected) ** 2).sum() / expected.sum()))


def arrival_findings(weekly: Weekly, reference: int) -> Iterator[Finding]:
    """Yield a change in how many leads arrive."""
    weeks = min(RECENT_WEEKS, len(weekly.arrivals) - reference)
    before = weekly.arrivals[max(reference - 2 * NEAR_WEEKS, 0) : reference]
    usual = float(before.mean()) if len(before) else 0.0
    restless = _dispersion(before, np.full(len(before), usual))
    for recent in dict.fromkeys((1, weeks)):
        observed, hoped = weekly.arrivals[-recent:].sum(), usual * recent
        most = hoped * (FACTOR_WEEK if recent == 1 else FACTOR)
        if max(observed, hoped) < FEWEST_EVENTS or hoped / FACTOR < observed < most:
            continue
        if abs(observed - hoped) > LIMIT * np.sqrt(max(hoped, 1.0) * restless):
            yield Finding(
                "arrivals", "leads", True,
                round(float(abs(np.log((observed + 1) / (hoped + 1)))), 3),
                f"{observed:,.0f} new leads in {recent} week(s), {hoped:,.0f} expected",
                "Is the import complete? A campaign needs no one",
            )  # fmt: skip
            return


def mql_findings(weekly: Weekly, expected: Expectations) -> Iterator[Finding]:
    """Yield a volume of MQLs far from its forecast."""
    promised, weeks = expected.mqls_per_week, RECENT_WEEKS
    if promised is None or len(weekly.mondays) - expected.reference < weeks:
        return
    observed = float(expected.mqls[: len(weekly.mondays)][-weeks:].sum())
    low = (promised.low if promised.low is not None else promised.value) * weeks / RESTLESS
    high = (promised.high if promised.high is not None else promised.value) * weeks * RESTLESS
    restless = 1.5  # leads of an account cross the cutoff together
    bound = low if observed < low else high
    if low <= observed <= high or max(observed, bound) < FEWEST_EVENTS / 2:
        return
    if abs(observed - bound) > 3 * np.sqrt(max(bound, 1.0) * restless):
        yield Finding(
            "mql_rate", "MQLs", True,
            round(float(abs(np.log((observed + 1) / (promised.value * weeks + 1)))), 3),
            f"{observed / weeks:.1f} MQLs a week in the last {weeks} weeks, forecast "
            f"{promised.value:.1f}",
            "Does the volume still suit sales? Look at the cutoff: closedwon train chooses it anew",
        )  # fmt: skip


def win_findings(weekly: Weekly, expected: Expectations) -> Iterator[Finding]:
    """Yield wins that part from the promise: of all leads, and of the MQLs."""
    for subject, part in partings(expected, len(weekly.mondays)):
        if part.e_value < 20 or part.expected <= 0:
            continue
        ratio = part.observed / part.expected
        what = "Leads" if subject == "wins" else "MQLs"
        kind = "observed_expected" if subject == "wins" else "precision"
        yield Finding(
            kind, f"{subject}_{part.direction}", part.is_alarm,
            round(float(abs(np.log(max(ratio, 0.01)))), 3),
            f"{what} win {part.direction} than promised: {part.observed:.0f} wins, "
            f"{part.expected:.0f} expected ({ratio:.0%}); evidence {part.e_value:,.0f} to 1",
            "Retrain or recalibrate: closedwon retrain"
            if subject == "wins"
            else "Look at the cutoff: closedwon retrain chooses it anew",
            week=weekly.mondays[part.since],
            evidence=part.as_dict(),
        )  # fmt: skip


def partings(expected: Expectations, mondays: int) -> list[tuple[str, Parting]]:
    """Return how far wins have parted at the last of so many Mondays, both ways."""
    over = mondays - 1  # weeks that have ended
    first = expected.reference
    found = [
        ("wins", parting(expected.wins.until(over), first, "fewer", expected.tolerated)),
        ("wins", parting(expected.wins.until(over), first, "more", expected.tolerated)),
    ]
    if expected.mql_wins is not None and expected.precision is not None:
        promise = expected.precision
        mqls = expected.mql_wins.until(over)
        if promise.value > 0:
            low = promise.value if promise.low is None else promise.low
            high = promise.value if promise.high is None else promise.high
            # What the promise's own interval allows is no broken promise.
            fewer = max(1 - low / promise.value, expected.tolerated)
            more = max(high / promise.value - 1, expected.tolerated)
            found.append(("mqls", parting(mqls, first, "fewer", fewer)))
            found.append(("mqls", parting(mqls, first, "more", more)))
    return found
