"""What a cutoff of the model and a threshold of the rules bring, on the same resampled accounts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from features.config import CutoffConfig
from models.cutoff import Estimate
from training.clustered import count_interval, share_interval
from training.metrics import with_intervals
from training.replay import Replay

Figures = dict[str, float]


@dataclass(frozen=True)
class Side:
    """One replay as arrays: an entry a counted moment, and an entry a win scored beforehand.

    Accounts are codes that model and rules share, so that one draw resamples both.
    """

    lead_id: np.ndarray
    reached: np.ndarray
    "Probability or points of the moment; `previous` the highest before."
    previous: np.ndarray
    won: np.ndarray
    days_to_win: np.ndarray
    opportunity: np.ndarray
    "Code of the win, -1 where not won."
    account: np.ndarray
    best_before: np.ndarray
    "Of each win: the highest number of its leads before it was created."
    win_account: np.ndarray
    opportunity_value: np.ndarray | None
    "By opportunity code; None: nobody said what a win is worth."
    contact_cost: float | None
    weeks: int
    is_dated: bool

    def at(self, cutoff: float) -> Side:
        """Return the side with the moments alone at which `cutoff` makes an MQL."""
        return self.only((self.previous < cutoff) & (cutoff <= self.reached))

    def only(self, moments: np.ndarray, wins: np.ndarray | None = None) -> Side:
        """Return the side with these moments and wins (masks) alone."""
        kept = np.ones(len(self.best_before), bool) if wins is None else wins
        return replace(
            self,
            lead_id=self.lead_id[moments],
            reached=self.reached[moments],
            previous=self.previous[moments],
            won=self.won[moments],
            days_to_win=self.days_to_win[moments],
            opportunity=self.opportunity[moments],
            account=self.account[moments],
            best_before=self.best_before[kept],
            win_account=self.win_account[kept],
        )

    def volume(self) -> tuple[np.ndarray, np.ndarray]:
        """Return every cutoff that changes anything, rising, and how many MQLs each makes."""
        cutoff = np.unique(self.reached)
        counts = [
            len(values) - np.searchsorted(np.sort(values), cutoff, side="left")
            for values in (self.reached, self.previous)
        ]
        return cutoff, counts[0] - counts[1]

    def cutoff_for(self, mqls: float) -> float | None:
        """Return the cutoff whose MQLs come nearest to `mqls`; None where there are no moments.

        From the top down the first to reach the number ends the search: a lower one may only look
        quiet because its leads had crossed before the replay began.
        """
        cutoff, counts = self.volume()
        if len(cutoff) == 0:
            return None
        reaching = np.flatnonzero(counts >= mqls)
        first = int(reaching[-1]) if len(reaching) else int(np.argmax(counts))
        above = min(first + 1, len(cutoff) - 1)
        nearer = above if abs(counts[above] - mqls) < abs(counts[first] - mqls) else first
        return float(cutoff[nearer])

    def found(self, cutoff: float) -> int:
        """Return how many wins `cutoff` flags beforehand."""
        return int((self.best_before >= cutoff).sum())

    def capture_cutoff(self, share: float, times: np.ndarray) -> float:
        """Return the highest cutoff that flags this share of the wins, each counted `times`."""
        order = np.argsort(-self.best_before, kind="stable")
        found = np.cumsum(times[self.win_account[order]])
        if len(found) == 0 or not share > 0:
            return np.inf
        place = np.searchsorted(found, share * found[-1] - 1e-9)
        return float(self.best_before[order][place])

    def figures(self, cutoff: float, times: np.ndarray) -> Figures:
        """Return what `cutoff` brings, accounts counted `times` (by code)."""
        mqls = self.at(cutoff)
        n, each = times[mqls.account], times[self.win_account]
        flagged = self.best_before >= cutoff
        found = {
            "mqls": float(n.sum()),
            "precision": _ratio(n @ mqls.won, n.sum()),
            "capture": _ratio(each @ flagged, each.sum()),
        }
        if self.is_dated:
            found["lead_time_days"] = _median(mqls.days_to_win, n)
        if self.opportunity_value is not None:
            found["won_value"] = float(times[mqls.account] @ mqls.values())
        if self.contact_cost is not None:
            found["contact_cost"] = self.contact_cost * found["mqls"]
        if "won_value" in found and "contact_cost" in found:
            found["profit"] = found["won_value"] - found["contact_cost"]
        return self._a_week(found)

    def intervals(self, cutoff: float) -> dict[str, Estimate]:
        """Return volume, precision and capture with intervals that hold for few wins, too."""
        mqls, flagged = self.at(cutoff), self.best_before >= cutoff
        found = {}
        if len(mqls.won):
            low, high = count_interval(mqls.account)
            each = self.weeks if self.is_dated else 1
            name = "mqls_per_week" if self.is_dated else "mqls"
            found[name] = Estimate(len(mqls.won) / each, low / each, high / each)
            low, high = share_interval(mqls.account, mqls.won)
            found["precision"] = Estimate(float(mqls.won.mean()), low, high)
        if len(flagged):
            low, high = share_interval(self.win_account, flagged)
            found["capture"] = Estimate(float(flagged.mean()), low, high)
        return found

    def values(self) -> np.ndarray:
        """Return the value of each moment's win, counted at the first of its moments alone."""
        assert self.opportunity_value is not None
        value = np.zeros(len(self.opportunity))
        first = np.unique(self.opportunity, return_index=True)[1]
        first = first[self.opportunity[first] >= 0]
        value[first] = self.opportunity_value[self.opportunity[first]]
        return value

    def _a_week(self, found: Figures) -> Figures:
        if not self.is_dated:
            return found
        weekly = ("mqls", "won_value", "contact_cost", "profit")
        return {
            f"{name}_per_week" if name in weekly else name: (
                value / self.weeks if name in weekly else value
            )
            for name, value in found.items()
        }


@dataclass(frozen=True)
class Pair:
    """Model and rules at one cutoff each."""

    model_cutoff: float | None
    "None: every segment has its own, and no other lead qualifies."
    rules_threshold: float
    model: dict[str, Estimate]
    """`mqls_per_week`, `precision`, `capture`, `lead_time_days`, and where money is known
    `won_value_per_week`, `contact_cost_per_week`, `profit_per_week`; without dates `mqls` and so
    on. A figure that nothing counts for is left out."""
    rules: dict[str, Estimate]
    difference: dict[str, Estimate]
    "Model less rules, both on the same resamples."
    is_equal: bool = True
    """False: the pair is named after an equal volume (or capture) that the model cannot come near,
    having too few different scores. Then the difference tells nothing."""


def sides(
    model: Replay, rules: Replay, amounts: pd.Series, policy: CutoffConfig
) -> tuple[Side, Side]:
    """Return both replays as arrays; `amounts` is what each won opportunity was worth, by its id.

    Both must have looked at the same leads in the same weeks. The configured `win_value` goes
    before amounts; an opportunity without an amount counts as the mean of the others.
    """
    parts = [model.moments["account"], rules.moments["account"], model.wins["account"]]
    codes = pd.factorize(pd.concat(parts))[0]
    cuts = np.cumsum([len(part) for part in parts])
    of_model, of_rules, of_wins = np.split(codes, cuts[:-1])
    ids, value = _worth(amounts, policy)
    made = []
    for replay, account in ((model, of_model), (rules, of_rules)):
        moments = replay.moments
        scored = replay.wins["best_before"].notna().to_numpy()
        side = Side(
            lead_id=moments["lead_id"].to_numpy(object),
            reached=moments["probability"].to_numpy(float),
            previous=moments["previous_best"].to_numpy(float),
            won=moments["won_in_horizon"].to_numpy(float),
            days_to_win=moments["days_to_win"].to_numpy(float),
            opportunity=ids.get_indexer(pd.Index(moments["opportunity_id"].fillna(""))),
            account=account,
            best_before=replay.wins["best_before"].to_numpy(float)[scored],
            win_account=of_wins[scored],
            opportunity_value=value,
            contact_cost=policy.contact_cost,
            weeks=replay.weeks,
            is_dated=replay.is_dated,
        )
        made.append(side.only(~moments["is_warm_up"].to_numpy(bool)))
    return made[0], made[1]


def _worth(amounts: pd.Series, policy: CutoffConfig) -> tuple[pd.Index, np.ndarray | None]:
    ids = pd.Index(amounts.index)
    if policy.win_value is not None:
        return ids, np.full(len(ids), policy.win_value)
    if not amounts.notna().any():
        return ids, None
    return ids, amounts.fillna(amounts.mean()).to_numpy(float)


def accounts_of(*compared: Side) -> int:
    """Return how many accounts a resample draws from."""
    codes = [code for side in compared for code in (side.account, side.win_account)]
    return 1 + max((int(code.max()) for code in codes if len(code)), default=-1)


def everybody(*compared: Side) -> np.ndarray:
    """Return that every account counts once."""
    return np.ones(accounts_of(*compared))


def draws(accounts: int, count: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each account is drawn, `count` times: the Poisson bootstrap of `resamples`.

    The same seed draws the same accounts, whatever is computed from them.
    """
    random = np.random.default_rng(seed)
    for _ in range(count):
        yield random.poisson(1.0, accounts).astype(float)


def estimates(
    compute: Callable[[np.ndarray], Figures], accounts: int, bootstraps: int, seed: int
) -> dict[str, Estimate]:
    """Return the figures of `compute` with 90% intervals; one that nothing counts for is left out.

    `compute` gets how often each account counts.
    """
    drawn = [compute(times) for times in draws(accounts, bootstraps, seed)]
    found = with_intervals(compute(np.ones(accounts)), drawn)
    return {name: estimate for name, estimate in found.items() if np.isfinite(estimate.value)}


def paired(
    model: Side,
    rules: Side,
    cutoff: float,
    threshold: float,
    bootstraps: int,
    seed: int,
    at_equal_capture: bool = False,
) -> Pair:
    """Return what both bring, with intervals of each and of the difference.

    `at_equal_capture`: each resample looks for the model's cutoff anew, since one that was
    found by looking at the wins would pass for surer than it is.
    """

    def compute(times: np.ndarray) -> Figures:
        by_rules = rules.figures(threshold, times)
        chosen = cutoff
        if at_equal_capture:
            chosen = model.capture_cutoff(by_rules["capture"], times)
        by_model = model.figures(chosen, times)
        return {
            **{f"model {name}": value for name, value in by_model.items()},
            **{f"rules {name}": value for name, value in by_rules.items()},
            **{f"difference {name}": by_model[name] - by_rules[name] for name in by_model},
        }

    found = estimates(compute, accounts_of(model, rules), bootstraps, seed)

    def part(who: str) -> dict[str, Estimate]:
        start = f"{who} "
        return {name.removeprefix(start): e for name, e in found.items() if name.startswith(start)}

    by_rules = {**part("rules"), **rules.intervals(threshold)}
    # At equal capture the model's own cutoff varies with the resample; the interval tells that.
    by_model = part("model") if at_equal_capture else part("model") | model.intervals(cutoff)
    return Pair(cutoff, threshold, by_model, by_rules, part("difference"))


def are_near(count: float, target: float) -> bool:
    """Return whether two counts differ by at most a tenth of `target`, or by at most 2.

    >>> are_near(11, 10), are_near(7, 5), are_near(24, 3)
    (True, True, False)
    """
    return abs(count - target) <= max(0.1 * target, 2)


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else float("nan")


def _median(days: np.ndarray, times: np.ndarray) -> float:
    known = np.isfinite(days)
    repeated = np.repeat(days[known], times[known].astype(int))
    return float(np.median(repeated)) if len(repeated) else float("nan")
