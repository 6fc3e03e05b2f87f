"""Rates of leads with intervals that know of accounts, in sums that add up over parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.cutoff import Estimate

Z = 1.645
"90% intervals."
ALIKE = 1e5
"Rows that the mean of all groups weighs as much as, where the groups do not differ."
SUMS = ["rows", "hits", "rows_rows", "rows_hits", "hits_hits"]


def tallies(
    group: pd.Series, account: np.ndarray, hits: np.ndarray, weight: np.ndarray | None = None
) -> pd.DataFrame:
    """Return by group the sums that its rate and the rate's interval need.

    All arguments hold one entry a row; `hits` lies in [0, 1]. `rows` and `hits` are sums over the
    rows; the others are sums over the accounts of the squares and products of their own `rows` and
    `hits`. Those of several parts (whole accounts each) are added up.

    >>> group = pd.Series(["web", "web", "web"])
    >>> tallies(group, np.array([1, 1, 2]), np.array([1, 0, 0])).loc["web"].tolist()
    [3.0, 1.0, 5.0, 2.0, 1.0]
    """
    weights = np.ones(len(account)) if weight is None else weight
    rows = pd.DataFrame(
        {"group": group.to_numpy(), "account": account, "rows": weights, "hits": weights * hits}
    )
    sums = rows.groupby(["group", "account"])[["rows", "hits"]].sum()
    return (
        sums.assign(
            rows_rows=sums["rows"] ** 2,
            rows_hits=sums["rows"] * sums["hits"],
            hits_hits=sums["hits"] ** 2,
        )
        .groupby("group")[SUMS]
        .sum()
    )


def added(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Return the tallies of all parts together, sorted by group."""
    return pd.concat(parts).groupby(level=0).sum()


def design_effect(tallied: pd.DataFrame) -> float:
    """Return how many rows say as much as one independent one, at least 1, over all groups.

    The variance of the accounts' residuals over that of single rows (Kish 1965). Pooled, since a
    group with three wins cannot tell how much its accounts win together.
    """
    rate = tallied["hits"] / tallied["rows"]
    clustered = (
        tallied["hits_hits"] - 2 * rate * tallied["rows_hits"] + rate**2 * tallied["rows_rows"]
    ).sum()
    single = (tallied["rows"] * rate * (1 - rate)).sum()
    return float(max(clustered / single, 1.0)) if single > 0 else 1.0


def with_rates(tallied: pd.DataFrame) -> pd.DataFrame:
    """Return rows, hits, rate, low and high by group: 90% intervals, clustered by account.

    Wilson's interval of the effective number of rows (Korn and Graubard 1998; Dean and Pagano
    2015): unlike a bootstrap it also holds for a group without any hit.
    """
    effect = design_effect(tallied)
    low, high = wilson(tallied["hits"] / effect, tallied["rows"] / effect)
    rate = tallied["hits"] / tallied["rows"]
    return tallied[["rows", "hits"]].assign(rate=rate, low=low, high=high)


def wilson(
    hits: pd.Series | np.ndarray, rows: pd.Series | np.ndarray, z: float = Z
) -> tuple[np.ndarray, np.ndarray]:
    """Return Wilson's interval of a share (Wilson 1927), NaN where there are no rows.

    >>> [float(bound.round(3)[0]) for bound in wilson(np.array([0.0]), np.array([20.0]))]
    [0.0, 0.119]
    """
    n = np.where(np.asarray(rows, float) > 0, rows, np.nan)
    rate = np.asarray(hits, float) / n
    middle = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    return np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)


@dataclass(frozen=True)
class Shrunk:
    """Rates drawn towards the mean of all groups, as far as their rows are few."""

    rates: dict[str, float]
    do_differ: bool
    "Whether the groups differ by more than luck, at 5%."


def shrunk(tallied: pd.DataFrame) -> Shrunk:
    """Return the rates of the groups without most of their luck: empirical Bayes, for ranking.

    The groups' true rates follow a beta distribution, fitted by the likelihood of all of them
    (beta-binomial); a group's own rows then weigh against it. Rows count by their effective number.
    """
    from scipy.optimize import minimize
    from scipy.special import betaln, expit, logit

    effect = design_effect(tallied)
    rows = (tallied["rows"] / effect).to_numpy(float)
    hits = (tallied["hits"] / effect).to_numpy(float)
    overall = np.clip(hits.sum() / max(rows.sum(), 1e-9), 1e-6, 1 - 1e-6)

    def surprise(parameters: np.ndarray) -> float:
        one = expit(parameters[0]) * np.exp(parameters[1])
        other = np.exp(parameters[1]) - one
        return -float(np.sum(betaln(one + hits, other + rows - hits) - betaln(one, other)))

    start = np.array([logit(overall), np.log(50.0)])
    bounds = [(start[0] - 5, start[0] + 5), (0.0, np.log(ALIKE))]
    fitted = minimize(surprise, start, method="L-BFGS-B", bounds=bounds)
    gain = surprise(np.array([start[0], np.log(ALIKE)])) - fitted.fun
    mean, strength = expit(fitted.x[0]), np.exp(fitted.x[1])
    rates = (mean * strength + hits) / (strength + rows)
    return Shrunk(
        {str(group): float(rate) for group, rate in zip(tallied.index, rates, strict=True)},
        # no difference at all lies at the edge, so the test is one-sided (Self and Liang 1987)
        do_differ=bool(2 * gain > Z**2),
    )


def estimates(rates: pd.DataFrame) -> dict[str, Estimate]:
    """Return by group the columns rate, low and high as an estimate."""
    columns = (rates[column].to_numpy(float) for column in ("rate", "low", "high"))
    return {
        str(group): Estimate(float(value), float(low), float(high))
        for group, value, low, high in zip(rates.index, *columns, strict=True)
    }
