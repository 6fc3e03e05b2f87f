"""Replay: deciding MQLs week by week over the past, as it would have happened.

The unit is the MQL: the first time an eligible lead crosses the cutoff. One lead counts once, and
leads already above the cutoff when the replay starts are backlog, never weekly volume.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.cutoff import Cutoff, Estimate
from training.clustered import count_interval, share_interval
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
    opportunity_id, is_warm_up, and the further columns of `scored`"""
    wins: pd.DataFrame
    "opportunity_id, account, best_before"
    above: np.ndarray
    "Probabilities on the last Monday before the start."
    start: pd.Timestamp
    weeks: int
    arrivals: np.ndarray
    "(weeks,): leads that became eligible for the first time."
    scored: pd.DataFrame
    "The rows this was built from, warm-up included."
    opportunities: pd.DataFrame
    "The wins this was built from."
    is_dated: bool = True
    "False: no weeks, all leads at once."

    @property
    def arrivals_a_week(self) -> float:
        """Leads that became eligible for the first time, a week."""
        return float(self.arrivals.sum() / self.weeks)

    def of(self, rows: np.ndarray) -> Replay:
        """Return the replay, over the same weeks, of the rows of `scored` where the mask is true.

        Wins are those of the leads that are left.
        """
        scored = self.scored[rows]
        own = self.opportunities["lead_id"].isin(scored["lead_id"])
        return self._again(scored, self.opportunities[own])

    def with_margins(self, cutoff: np.ndarray) -> Replay:
        """Return the replay in which each row of `scored` has a cutoff of its own.

        Its probabilities are those above the row's cutoff, and its one cutoff is 0. A cutoff of
        infinity is never crossed.
        """
        margin = self.scored["probability"] - cutoff
        return self._again(self.scored.assign(probability=margin), self.opportunities)

    def _again(self, scored: pd.DataFrame, opportunities: pd.DataFrame) -> Replay:
        until = self.start + self.weeks * pd.Timedelta(WEEK)
        return build_replay(scored, opportunities, self.start, until, False, self.is_dated)

    def mqls(self, cutoff: float) -> pd.DataFrame:
        """Return the moments at which `cutoff` makes an MQL, backlog left out."""
        moments = self.moments
        crosses = (moments["previous_best"] < cutoff) & (cutoff <= moments["probability"])
        return moments[crosses & ~moments["is_warm_up"]]

    def backlog(self, cutoff: float) -> int:
        """Return how many leads were above `cutoff` on the last Monday before the start."""
        return int((self.above >= cutoff).sum())

    def figures(self, cutoff: float, bootstraps: int, seed: int) -> dict[str, Estimate]:
        """Return what `cutoff` brings, with 90% intervals that know of accounts.

        `mqls_per_week` (without dates `mqls`); `precision`, share of MQLs won within the horizon
        of their week; `capture`, share of the won opportunities scored beforehand that were
        flagged before they were created; `lead_time_days`, median days from MQL to win, its
        interval from resampling whole accounts. A figure that nothing counts for is left out.
        """
        mqls = self.mqls(cutoff)
        account = mqls["account"].to_numpy()
        found = {"mqls_per_week" if self.is_dated else "mqls": self._volume(account)}
        if len(mqls):
            found["precision"] = _share(account, mqls["won_in_horizon"].to_numpy())
        scored = self.wins[self.wins["best_before"].notna()]
        if len(scored):
            flagged = (scored["best_before"] >= cutoff).to_numpy(float)
            found["capture"] = _share(scored["account"].to_numpy(), flagged)
        known = mqls[mqls["days_to_win"].notna()]
        days = known["days_to_win"].to_numpy()
        if len(days):
            drawn = resamples(known["account"].to_numpy(), bootstraps, seed)
            medians = [{"lead_time_days": _median(days, times)} for times in drawn]
            found |= with_intervals({"lead_time_days": float(np.median(days))}, medians)
        return found

    def _volume(self, account: np.ndarray) -> Estimate:
        low, high = count_interval(account)
        return Estimate(len(account) / self.weeks, low / self.weeks, high / self.weeks)

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
    arrived = rows.groupby("lead_id", sort=False)["as_of"].first()
    arrived_in = ((arrived[arrived >= first] - first) // pd.Timedelta(WEEK)).to_numpy(int)
    return Replay(
        moments.reset_index(drop=True),
        _best_before(
            rows.assign(best=best), wins[wins["created_at"].between(first, until, inclusive="left")]
        ),
        rows.loc[rows["as_of"] == before, "probability"].to_numpy(),
        first,
        weeks,
        np.bincount(np.minimum(arrived_in, weeks - 1), minlength=weeks),
        scored,
        wins,
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


def decided(replay: Replay, cutoff: Cutoff) -> tuple[Replay, float]:
    """Return what to ask for the MQLs of `cutoff`: a replay and the number to cross in it.

    The replay itself, or with segment cutoffs the one in which each row has its segment's.
    Raises ValueError for a cutoff that qualifies nobody.
    """
    if cutoff.segment_by is None:
        if cutoff.value is None:
            raise ValueError("nobody qualifies, so there is no number to cross")
        return replay, cutoff.value
    return replay.with_margins(cutoff.values(replay.scored[cutoff.segment_by])), 0.0


def _share(account: np.ndarray, is_hit: np.ndarray) -> Estimate:
    return Estimate(float(is_hit.mean()), *share_interval(account, is_hit))


def _median(days: np.ndarray, times: np.ndarray) -> float:
    repeated = np.repeat(days, times.astype(int))
    return float(np.median(repeated)) if len(repeated) else float("nan")
