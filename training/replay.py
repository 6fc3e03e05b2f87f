"""Replay: deciding MQLs week by week over the past, as it would have happened.

The unit is the MQL: the first time an eligible lead crosses the cutoff. One lead counts once, and
leads already above the cutoff when the replay starts are backlog, never weekly volume.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from models.cutoff import Estimate
from training.metrics import resamples, with_intervals

WEEK = np.timedelta64(7, "D")


@dataclass(frozen=True)
class Replay:
    """Every moment at which some cutoff would have made an MQL, and every win it could capture.

    `moments` has a row each time a lead's probability exceeds all its earlier ones: a cutoff `c`
    makes the lead an MQL at the one moment with `previous_best < c <= probability`. `wins` has a
    row per won opportunity created since the start: `best_before`, the highest probability of any
    of its eligible leads before it was created (NaN: never scored beforehand).
    """

    moments: pd.DataFrame
    """lead_id, account, as_of, probability, previous_best, won_in_horizon, days_to_win,
    opportunity_id, is_warm_up"""
    wins: pd.DataFrame
    "opportunity_id, account, best_before"
    above: np.ndarray
    "Probabilities on the last Monday before the start."
    start: pd.Timestamp
    weeks: int
    arrivals_a_week: float
    "Leads that became eligible for the first time, a week."
    is_dated: bool = True
    "False: no weeks, all leads at once."

    def mqls(self, cutoff: float) -> pd.DataFrame:
        """Return the moments at which `cutoff` makes an MQL, backlog left out."""
        moments = self.moments
        crosses = (moments["previous_best"] < cutoff) & (cutoff <= moments["probability"])
        return moments[crosses & ~moments["is_warm_up"]]

    def backlog(self, cutoff: float) -> int:
        """Return how many leads were above `cutoff` on the last Monday before the start."""
        return int((self.above >= cutoff).sum())

    def figures(self, cutoff: float, bootstraps: int, seed: int) -> dict[str, Estimate]:
        """Return what `cutoff` brings, with intervals from resampling whole accounts.

        `mqls_per_week` (without dates `mqls`); `precision`, share of MQLs won within the horizon
        of their week; `capture`, share of the won opportunities scored beforehand that were
        flagged before they were created; `lead_time_days`, median days from MQL to win. A
        figure that nothing counts for is left out.
        """
        mqls = self.mqls(cutoff)
        scored = self.wins[self.wins["best_before"].notna()]
        won = mqls["won_in_horizon"].to_numpy()
        days = mqls["days_to_win"].to_numpy()
        flagged = (scored["best_before"] >= cutoff).to_numpy(float)
        accounts = np.concatenate([mqls["account"].to_numpy(), scored["account"].to_numpy()])

        def computed(times: np.ndarray) -> dict[str, float]:
            of_mqls, of_wins = times[: len(mqls)], times[len(mqls) :]
            volume = float(of_mqls.sum() / self.weeks)
            per_week = {"mqls_per_week": volume} if self.is_dated else {"mqls": volume}
            return {
                **per_week,
                "precision": _ratio(of_mqls @ won, of_mqls.sum()),
                "capture": _ratio(of_wins @ flagged, of_wins.sum()),
                "lead_time_days": _median(days, of_mqls),
            }

        drawn = [computed(times) for times in resamples(accounts, bootstraps, seed)]
        found = with_intervals(computed(np.ones(len(accounts))), drawn)
        return {name: estimate for name, estimate in found.items() if np.isfinite(estimate.value)}

    def by_week(self, cutoff: float) -> pd.DataFrame:
        """Return week (its Monday), mqls and won, a row for every week of the replay."""
        mqls = self.mqls(cutoff)
        week = ((mqls["as_of"] - self.start) // pd.Timedelta(WEEK)).to_numpy(int)
        return pd.DataFrame(
            {
                "week": self.start + np.arange(self.weeks) * pd.Timedelta(WEEK),
                "mqls": np.bincount(week, minlength=self.weeks)[: self.weeks],
                "won": np.bincount(week, mqls["won_in_horizon"], minlength=self.weeks)[
                    : self.weeks
                ],
            }
        )


def build_replay(
    scored: pd.DataFrame,
    wins: pd.DataFrame,
    start: pd.Timestamp,
    until: pd.Timestamp,
    first_week_is_backlog: bool,
    is_dated: bool = True,
) -> Replay:
    """Return the replay over `[start, until)`.

    `scored`: lead_id, account, as_of, probability, won_in_horizon, days_to_win; a row per
    eligible lead and week, weeks before `start` being the warm-up. `wins`: opportunity_id,
    lead_id, account, created_at; a row per lead of every won opportunity.
    Without a warm-up nothing tells who was above the cutoff before; `first_week_is_backlog` then
    keeps the first week out of the volume.
    """
    rows = scored[scored["as_of"] < until].sort_values(["lead_id", "as_of"], kind="stable")
    best = rows.groupby("lead_id", sort=False)["probability"].cummax()
    previous = best.groupby(rows["lead_id"], sort=False).shift().fillna(-np.inf)
    moments = rows.assign(previous_best=previous)[rows["probability"] > previous]
    first = start + pd.Timedelta(WEEK) if first_week_is_backlog else start
    moments = moments.assign(is_warm_up=moments["as_of"] < first)
    before = rows.loc[rows["as_of"] < first, "as_of"].max()
    weeks = max(1, round((until - first) / pd.Timedelta(WEEK)))
    arrivals = rows.groupby("lead_id", sort=False)["as_of"].first()
    return Replay(
        moments.reset_index(drop=True),
        _best_before(
            rows.assign(best=best), wins[wins["created_at"].between(first, until, inclusive="left")]
        ),
        rows.loc[rows["as_of"] == before, "probability"].to_numpy(),
        first,
        weeks,
        arrivals_a_week=float((arrivals >= first).sum() / weeks),
        is_dated=is_dated,
    )


def _best_before(rows: pd.DataFrame, wins: pd.DataFrame) -> pd.DataFrame:
    found = pd.merge_asof(
        wins.sort_values("created_at", kind="stable"),
        rows[["lead_id", "as_of", "best"]].sort_values("as_of", kind="stable"),
        left_on="created_at",
        right_on="as_of",
        by="lead_id",
    )
    by_opportunity = found.groupby("opportunity_id", sort=True)
    return (
        by_opportunity.agg(account=("account", "first"), best_before=("best", "max"))
        .reset_index()
        .astype({"best_before": float})
    )


def _ratio(part: Any, whole: Any) -> float:
    return float(part / whole) if whole > 0 else float("nan")


def _median(days: np.ndarray, times: np.ndarray) -> float:
    known = np.isfinite(days)
    repeated = np.repeat(days[known], times[known].astype(int))
    return float(np.median(repeated)) if len(repeated) else float("nan")
