"""What a schedule brought: MQLs, wins among them, deals found, by month and in all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.config import CutoffConfig
from models.cutoff import Estimate
from training.backtest.intervals import Accounts, ratio
from training.backtest.months import Months
from training.backtest.rows import ScoredRows
from training.clustered import count_interval, share_interval
from training.replay import Replay

Figures = dict[str, Estimate]
VALUE = "value_per_week"


@dataclass(frozen=True)
class Outcome:
    """The MQLs and deals of one replay, each with its account and month."""

    mql_account: np.ndarray
    mql_month: np.ndarray
    mql_won: np.ndarray
    mql_deal: np.ndarray
    "Whether it is the first MQL of a deal that was won."
    mql_value: np.ndarray
    deal_account: np.ndarray
    deal_month: np.ndarray
    deal_found: np.ndarray
    "1.0 where a lead of the deal was an MQL before the deal was opened."

    @classmethod
    def of(
        cls, replay: Replay, scored: ScoredRows, months: Months, policy: CutoffConfig
    ) -> Outcome:
        """Return what the decisions of `replay` (see `replayed`) brought."""
        mqls = replay.mqls(0.0)
        won = mqls["won_in_horizon"].to_numpy(float)
        is_deal = (won > 0) & ~mqls["opportunity_id"].where(won > 0).duplicated().to_numpy()
        worth = is_deal * (policy.win_value or 0.0) - (policy.contact_cost or 0.0)
        deals = replay.wins[replay.wins["best_before"].notna()]
        opened = scored.wins.groupby("opportunity_id")["created_at"].first()
        created_at = opened.reindex(deals["opportunity_id"]).to_numpy()
        return cls(
            mqls["account"].to_numpy(),
            months.of(mqls["as_of"].to_numpy()),
            won,
            is_deal,
            worth if _is_money(policy) else np.zeros(len(mqls)),
            deals["account"].to_numpy(),
            months.of(created_at),
            (deals["best_before"].to_numpy() > 0).astype(float),
        )

    def figures(self, mondays: float, month: int | None = None) -> Figures:
        """Return MQLs a week, precision and capture, of one month or in all, with intervals.

        `mondays`: how many weeks were looked at. What nothing counts for is left out.
        """
        mqls = np.ones(len(self.mql_month), bool) if month is None else self.mql_month == month
        deals = np.ones(len(self.deal_month), bool) if month is None else self.deal_month == month
        account, won = self.mql_account[mqls], self.mql_won[mqls]
        low, high = count_interval(account)
        found = {"mqls_per_week": Estimate(len(won) / mondays, low / mondays, high / mondays)}
        if len(won):
            found["precision"] = Estimate(float(won.mean()), *share_interval(account, won))
        account, is_found = self.deal_account[deals], self.deal_found[deals]
        if len(is_found):
            shares = share_interval(account, is_found)
            found["capture"] = Estimate(float(is_found.mean()), *shares)
        return found

    def sums(self, accounts: Accounts) -> np.ndarray:
        """Return what adds up, by account, shape (accounts, 5).

        MQLs, those that closed, deals that could be found, those found, and what the MQLs brought
        less the contacts (0 where no money is set).
        """
        ones, deals = np.ones(len(self.mql_won)), np.ones(len(self.deal_found))
        return np.column_stack(
            [
                accounts.sums(self.mql_account, ones, self.mql_won),
                accounts.sums(self.deal_account, deals, self.deal_found),
                accounts.sums(self.mql_account, self.mql_value),
            ]
        )


def _is_money(policy: CutoffConfig) -> bool:
    return policy.win_value is not None and policy.contact_cost is not None


def differences(
    one: Outcome, other: Outcome, accounts: Accounts, weeks: float, policy: CutoffConfig
) -> Figures:
    """Return `one` less `other`, on the same resampled accounts.

    `mqls_per_week`, `precision`, `capture`, `found` (deals), and `value_per_week` where a win's
    value and a contact's cost are set.
    """
    sums = np.column_stack([one.sums(accounts), other.sums(accounts)])

    def gaps(totals: np.ndarray) -> dict[str, float]:
        mine, theirs = (_rates(half, weeks) for half in np.split(totals, 2))
        return {name: mine[name] - theirs[name] for name in mine}

    found = accounts.estimates(sums, gaps)
    return found if _is_money(policy) else {n: gap for n, gap in found.items() if n != VALUE}


def _rates(totals: np.ndarray, weeks: float) -> dict[str, float]:
    mqls, won, deals, found, value = totals
    return {
        "mqls_per_week": mqls / weeks,
        "precision": ratio(won, mqls),
        "capture": ratio(found, deals),
        "found": found,
        VALUE: value / weeks,
    }


def value_of(
    outcome: Outcome, weeks: float, policy: CutoffConfig, month: int | None = None
) -> Figures:
    """Return `value_per_week` of the MQLs of a month, or of all; empty where no money is set.

    What their deals brought less the contact costs: a deal counts in the month of its MQL. The
    interval puts together those of the counts of deals and of MQLs (Zou and Donner 2008, as if
    they were independent), so that a month without any deal is no certain loss.
    """
    if policy.win_value is None or policy.contact_cost is None:
        return {}
    is_own = np.ones(len(outcome.mql_month), bool) if month is None else outcome.mql_month == month
    is_deal = is_own & outcome.mql_deal
    brought = policy.win_value * _counted(outcome.mql_account[is_deal])
    spent = policy.contact_cost * _counted(outcome.mql_account[is_own])
    value = brought[0] - spent[0]
    low = value - np.hypot(brought[0] - brought[1], spent[2] - spent[0])
    high = value + np.hypot(brought[2] - brought[0], spent[0] - spent[1])
    return {VALUE: Estimate(value / weeks, float(low) / weeks, float(high) / weeks)}


def _counted(account: np.ndarray) -> np.ndarray:
    """Return a count of rows, and the ends of its interval."""
    return np.array([len(account), *count_interval(account)])


def weeks_looked_at(scored: ScoredRows, months: Months) -> np.ndarray:
    """Return how many weeks of decisions each month holds: its Mondays, or its days over 7."""
    ends = np.append(months.starts[1:], months.end)
    if not scored.is_weekly:
        return np.asarray((ends - months.starts) / np.timedelta64(7, "D"))
    instants = pd.unique(scored.rows["as_of"])
    return np.asarray(
        [float(((instants >= start) & (instants < end)).sum()) for start, end in
         zip(months.starts, ends, strict=True)]
    )  # fmt: skip
