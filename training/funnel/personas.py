"""Who the converters are: traits of leads that close more often, or less often, than the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from features.catalogue.feature import Feature
from models.cutoff import Estimate
from training.examples import Examples
from training.funnel.conditions import (
    Condition,
    frequent_values,
    is_whole,
    readable,
    rounded,
)

LEAST_WINS = 10
"""Accounts with a win that must have a trait, or could be expected to: the leads of one account
win together, and the spread over few accounts says little."""
MOST_TOLD = 10
"Of what leads are, and of what they did."
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True)
class Trait:
    """One thing that sets leads apart: how often those with it close, against the rest."""

    text: str
    family: str
    concept: str
    times: Estimate
    "Rate of those with it over the rate of the rest; the interval holds for all traits at once."
    rate: float
    rate_of_rest: float
    share: float
    "Of all rows, those with it."
    leads: int
    won_leads: int
    "Distinct leads that had it at some look, and won within the horizon of such a look."

    def sentence(self) -> str:
        """Return the trait in one sentence."""
        against = f"({self.rate:.1%} against {self.rate_of_rest:.1%})"
        if self.rate == 0:
            return f"{self.text}: never closed, the rest did in {self.rate_of_rest:.1%}."
        if self.times.value < 1:
            much = f"{1 / self.times.value:.1f} times less often than the rest"
        else:
            much = f"{self.times.value:.1f} times as often as the rest"
        return f"{self.text}: closes {much} {against}."


@dataclass(frozen=True)
class Personas:
    """The traits that hold up, the strongest first by the safe end of their interval."""

    are: tuple[Trait, ...]
    "Fit: who they are."
    did: tuple[Trait, ...]
    "What they and their colleagues did."
    looked_at_are: int
    looked_at_did: int
    "Values and bands that were tried, of both kinds: the intervals allow for all of them."
    leads: int
    won_leads: int
    is_repeated: bool
    "Whether a lead was looked at in several months: rates are then of lead-months."

    @property
    def looked_at(self) -> int:
        """How many values and bands were tried."""
        return self.looked_at_are + self.looked_at_did


def personas_of(examples: Examples) -> Personas:
    """Return the traits of converters among all matured rows that may become an MQL.

    For every readable feature each frequent value, or each band above some quantiles, is held
    against the rest. Of one concept the best one is told. Rates are compared row by row (a lead in
    a month), so that a trait that comes and goes counts while it is there; intervals are clustered
    by account and as wide as to hold for all tried traits at once in 90 of 100 data sets
    (Bonferroni), so that picking the largest does not flatter it. Association, not cause.
    """
    is_eligible = examples.snapshots["is_eligible"].to_numpy(bool)
    rows = _Rows.of(examples, is_eligible)
    candidates = [
        found
        for feature in readable(examples.catalogue)
        for condition in _conditions(feature, rows.snapshots[feature.name])
        if (found := rows.compare(condition)) is not None
    ]
    z = _simultaneous_z(len(candidates))
    # Of two values, such as yes and no, the one that closes more often is told.
    candidates.sort(key=lambda c: (round(z * c.error - abs(c.log_times), 9), -c.log_times))
    told: dict[str, Trait] = {}
    seen = set()
    for found in candidates:
        if abs(found.log_times) <= z * found.error:
            break
        # With one event type, "was active" and "logged in" are the same rows.
        same = (found.rate, found.rate_of_rest, found.share)
        if found.condition.feature.concept not in told and same not in seen:
            told[found.condition.feature.concept] = rows.trait(found, z)
            seen.add(same)
    lead_ids = rows.snapshots["lead_id"]
    return Personas(
        are=tuple(trait for trait in told.values() if trait.family == "fit")[:MOST_TOLD],
        did=tuple(trait for trait in told.values() if trait.family != "fit")[:MOST_TOLD],
        looked_at_are=sum(c.condition.feature.family == "fit" for c in candidates),
        looked_at_did=sum(c.condition.feature.family != "fit" for c in candidates),
        leads=lead_ids.nunique(),
        won_leads=lead_ids[rows.won > 0].nunique(),
        is_repeated=not lead_ids.is_unique,
    )


def _simultaneous_z(tried: int) -> float:
    from scipy.stats import norm

    return float(norm.ppf(1 - 0.05 / max(tried, 1)))


def _conditions(feature: Feature, values: pd.Series) -> Iterator[Condition]:
    if values.isna().any():
        yield Condition.missing(feature)
    if feature.dtype == "category":
        for value in frequent_values(values):
            yield Condition(feature, value=value)
        return
    known = values.dropna().to_numpy(float)
    if not len(known) or known.min() == known.max():
        return
    bounds = np.quantile(known, QUANTILES)
    if is_whole(feature):
        bounds = np.append(np.floor(bounds), [0.0, 1.0, 2.0, 4.0])
    for bound in sorted({rounded(float(bound)) for bound in bounds}):
        if known.min() <= bound < known.max():
            # The band below is the same comparison; `compare` turns it so that it tells the more.
            yield Condition(feature, low=bound)


@dataclass(frozen=True)
class _Comparison:
    condition: Condition
    log_times: float
    error: float
    rate: float
    rate_of_rest: float
    share: float


@dataclass(frozen=True)
class _Rows:
    """The rows to compare, all arrays of one length."""

    snapshots: pd.DataFrame
    won: np.ndarray
    weight: np.ndarray
    account: np.ndarray
    "Codes from 0."
    lead: np.ndarray
    "Codes from 0."

    @classmethod
    def of(cls, examples: Examples, rows: np.ndarray) -> _Rows:
        snapshots = examples.snapshots[rows].reset_index(drop=True)
        return cls(
            snapshots,
            examples.won[rows],
            examples.weight[rows],
            pd.factorize(examples.account[rows])[0],
            pd.factorize(snapshots["lead_id"])[0],
        )

    def compare(self, condition: Condition) -> _Comparison | None:
        """Return the rows where it holds against the others; None where either says too little.

        Of a band above a bound that closes less often, the band below is told.
        """
        holds = condition.holds(self.snapshots)
        if np.isfinite(condition.low) and (self._says_too_little(holds) or self._is_less(holds)):
            condition = replace(condition, low=-np.inf, high=condition.low)
            holds = condition.holds(self.snapshots)
        return None if self._says_too_little(holds) else self._compared(condition, holds)

    def _is_less(self, holds: np.ndarray) -> bool:
        rate, rest = (
            np.average(self.won[part], weights=self.weight[part]) for part in (holds, ~holds)
        )
        return bool(rate < rest)

    def _compared(self, condition: Condition, holds: np.ndarray) -> _Comparison:
        """Return the comparison of the rows of the mask `holds` with the others.

        The error of the log ratio is that of the accounts' sums of its linearised terms.
        """
        hits = self.weight * self.won
        total, wins = self.weight.sum(), hits.sum()
        with_it, wins_with = self.weight[holds].sum(), hits[holds].sum()
        rate, rest = wins_with / with_it, (wins - wins_with) / (total - with_it)
        if wins_with == 0:
            # Half a win more on both sides: none at all is evidence too.
            rate, rest = 0.5 / (with_it + 1), (wins + 0.5) / (total - with_it + 1)
        terms = self.weight * np.where(
            holds,
            (self.won - rate) / (with_it * rate),
            -(self.won - rest) / ((total - with_it) * rest),
        )
        error = np.sqrt(np.sum(np.bincount(self.account, terms) ** 2))
        if wins_with == 0:
            error = max(error, np.sqrt(1 / 0.5))  # of the log of half a win
        return _Comparison(
            condition=condition,
            log_times=float(np.log(rate / rest)),
            error=float(error),
            rate=float(wins_with / with_it),
            rate_of_rest=float((wins - wins_with) / (total - with_it)),
            share=float(with_it / total),
        )

    def _says_too_little(self, holds: np.ndarray) -> bool:
        """Return whether either side has too few wins to be called more, or less, often."""
        if holds.all() or not holds.any():
            return True
        won_with = len(np.unique(self.account[holds & (self.won > 0)]))
        won_rest = len(np.unique(self.account[~holds & (self.won > 0)]))
        expected = (won_with + won_rest) * self.weight[holds].sum() / self.weight.sum()
        return bool(max(won_with, expected) < LEAST_WINS or won_rest < LEAST_WINS)

    def trait(self, found: _Comparison, z: float) -> Trait:
        holds = found.condition.holds(self.snapshots)
        feature = found.condition.feature
        margin = z * found.error
        times = (found.log_times, found.log_times - margin, found.log_times + margin)
        return Trait(
            text=found.condition.words(),
            family=feature.family,
            concept=feature.concept,
            times=Estimate(*(float(np.exp(each)) for each in times)),
            rate=found.rate,
            rate_of_rest=found.rate_of_rest,
            share=found.share,
            leads=len(np.unique(self.lead[holds])),
            won_leads=len(np.unique(self.lead[holds & (self.won > 0)])),
        )
