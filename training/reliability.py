"""Whether probabilities hold: predicted against observed win rates, with honest intervals.

The observed win rate of some leads differs by luck from the rate they were due. How far luck goes
is told by the residuals, won less predicted, summed by account: what the model already knows of
the leads is not luck, and the rows of an account, several contacts at several instants, win or
lose together (regression estimator of survey sampling, Särndal et al. 1992, chapter 6).
`benchmarks/segments.py` counts how often the interval holds the best possible mean probability.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import t as student

from models.cutoff import Estimate
from training.metrics import LEVEL

LEAST_ACCOUNTS = 5
"""With fewer accounts that won, or that did not, an interval would tell nothing."""
ACCOUNTS_A_BIN = 10
"""Won accounts for each bin of a reliability curve."""
BINS = 10


def observed_rate(
    won: np.ndarray, probability: np.ndarray, weight: np.ndarray, account: np.ndarray
) -> Estimate:
    """Return the win rate of these rows with a 90% interval for the rate they were due.

    One entry a row; `weight` above 1 for rows that stand for thinned-out ones. Wilson's (1927)
    score interval at the effective number of rows, the one at which independent rows would vary
    as much as the accounts' residuals do; with Student's t, since few accounts tell little about
    that. No interval with fewer than five accounts that won, or that did not; NaN without rows.

    >>> won = np.tile([1.0, 0.0, 0.0, 0.0], 25)
    >>> found = observed_rate(won, np.full(100, 0.2), np.ones(100), np.arange(100))
    >>> round(found.low, 3), found.value, round(found.high, 3)
    (0.185, 0.25, 0.328)
    """
    if not len(won):
        return Estimate(float("nan"))
    rate = float(np.average(won, weights=weight))
    if min(len(np.unique(account[rows])) for rows in (won > 0, won < 1)) < LEAST_ACCOUNTS:
        return Estimate(rate)
    codes, accounts = pd.factorize(account)
    residual = won - _moved_to(rate, probability, weight)
    squares = np.bincount(codes, weight * residual / weight.sum(), minlength=len(accounts)) ** 2
    variance = max(squares.sum() * len(accounts) / (len(accounts) - 1), 1e-18)
    # Satterthwaite's degrees of freedom: on how many accounts the variance rests.
    freedom = 2 * squares.sum() ** 2 / max((squares**2).sum(), 1e-36)
    z = float(student.ppf((1 + LEVEL) / 2, freedom))
    effective = rate * (1 - rate) / variance
    center = (rate + z**2 / (2 * effective)) / (1 + z**2 / effective)
    half = z / (1 + z**2 / effective) * np.sqrt(variance + (z / (2 * effective)) ** 2)
    return Estimate(rate, float(max(center - half, 0)), float(min(center + half, 1)))


def _moved_to(rate: float, probability: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the probabilities shifted in log-odds so that their mean is `rate`.

    A model that is off for all of the rows is no luck of their accounts.
    """
    log_odds = logit(np.clip(probability, 1e-9, 1 - 1e-9))

    def excess(shift: float) -> float:
        return float(np.average(expit(log_odds + shift), weights=weight)) - rate

    return np.asarray(expit(log_odds + brentq(excess, -60, 60)))


def rates_by(test: pd.DataFrame, group: npt.NDArray[np.generic]) -> pd.DataFrame:
    """Return predicted and observed win rate of each group of rows, sorted by group.

    `test`: won, probability, weight, account; `group`: one entry a row. Columns: `group`, `rows`,
    `wins` (won rows), `predicted` (mean probability), `observed`, `low`, `high` (the interval of
    `observed_rate`; NaN where too few accounts won).
    """
    columns = [test[name].to_numpy() for name in ("won", "probability", "weight", "account")]
    rates = []
    for name in np.unique(group):
        won, probability, weight, account = (values[group == name] for values in columns)
        found = observed_rate(won, probability, weight, account)
        rates.append(
            {
                "group": name,
                "rows": len(won),
                "wins": int((won > 0).sum()),
                "predicted": float(np.average(probability, weights=weight)),
                "observed": found.value,
                "low": np.nan if found.low is None else found.low,
                "high": np.nan if found.high is None else found.high,
            }
        )
    return pd.DataFrame(
        rates, columns=["group", "rows", "wins", "predicted", "observed", "low", "high"]
    )


def reliability_bins(test: pd.DataFrame, most: int = BINS) -> npt.NDArray[np.int64]:
    """Return the bin of each row, from 0 for the lowest probabilities; equal ones share a bin.

    Bins of about equal expected wins: of bins of equal row counts most would hold next to none,
    since few leads close. As many as there are ten won accounts for, at most `most`.
    """
    won_accounts = test.loc[test["won"] > 0, "account"].nunique()
    bins = max(1, min(most, won_accounts // ACCOUNTS_A_BIN))
    ordered = test.sort_values("probability", kind="stable")
    probability = ordered["probability"].to_numpy()
    expected = np.cumsum(ordered["weight"].to_numpy() * probability)
    if not len(expected) or expected[-1] <= 0:
        return np.zeros(len(test), dtype=np.int64)
    first = np.searchsorted(expected, np.arange(1, bins) / bins * expected[-1], side="right")
    edges = np.unique(probability[np.minimum(first, len(probability) - 1)])
    return np.searchsorted(edges, test["probability"].to_numpy(), side="right").astype(np.int64)
