"""How good the champion is: estimated before labels mature, measured by month as they do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit

from models.calibration import Calibration
from training.clustered import count_interval
from training.fitting.recalibrate import Outcomes, recalibrate
from training.fitting.time_to_win import TimeToWin
from training.metrics import row_log_loss
from training.monitor.weekly import Weekly

Floats = npt.NDArray[np.float64]
RECENT_WEEKS = 4
LEARNT_WEEKS = 39
"Mondays that a correction of the probabilities is learnt from: three horizons."
FEWEST_WINS = 5
LEAST_MATURED = 0.5
"Share of a month's horizons that is over before its wins are held against the expected ones."


@dataclass(frozen=True)
class Estimated:
    """Performance on the newest Mondays, of which no label has matured."""

    rows: int
    promised_rate: float
    "Mean probability of the champion."
    expected_rate: float
    "The same, corrected by what early wins say."
    promised_log_loss: float
    "What the champion's log loss will be if its probabilities hold."
    expected_log_loss: float
    "What it will be if the corrected ones do."

    def text(self) -> str:
        """Return it for people."""
        told = f"Of {self.rows:,} scores of the last four weeks the model expects "
        told += f"{self.promised_rate:.1%} to win; "
        if self.expected_rate == self.promised_rate:
            return told + "nothing that came of earlier ones clearly says otherwise."
        return told + f"with what came of earlier ones, {self.expected_rate:.1%}."

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON and the page."""
        return {**asdict(self), "text": self.text()}


@dataclass(frozen=True)
class Cohort:
    """The snapshots of one month, one Monday after the other, as far as their outcome is known."""

    month: str
    rows: int
    matured: float
    "Share of the rows' horizons that is over."
    wins: float
    "Lead wins, each counted once however many Mondays saw it coming."
    expected: float
    "Of the same rows, by now."
    ratio: float
    ratio_low: float
    ratio_high: float
    "Observed over expected, its 90% interval by account; NaN with few wins or not half matured."
    log_loss: float
    auc: float
    "NaN until every row is matured."

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def outcomes_of(weekly: Weekly, horizon_days: float, weeks: int = LEARNT_WEEKS) -> Outcomes:
    """Return what is known at the newest Monday of the newest Mondays' snapshots."""
    last = len(weekly.mondays) - 1
    rows = weekly.open_rows()
    rows = rows[rows["monday"] >= last - weeks]
    age = 7.0 * (last - rows["monday"].to_numpy())
    days = rows["days_to_win"].to_numpy()
    exposure = np.minimum(age, horizon_days)
    is_won = days < age
    return Outcomes(
        rows["raw_score"].to_numpy(), is_won.astype(float), np.where(is_won, days, np.nan),
        exposure, np.ones(len(rows)), rows["account"].to_numpy(), age,
        rows["segment"].to_numpy() if "segment" in rows else None,
    )  # fmt: skip


def corrected(
    weekly: Weekly, calibration: Calibration, timing: TimeToWin, horizon_days: float
) -> Calibration:
    """Return the calibration as what is known at the newest Monday corrects it."""
    return recalibrate(calibration, outcomes_of(weekly, horizon_days), horizon_days, timing)


def estimated(weekly: Weekly, calibration: Calibration, newer: Calibration) -> Estimated:
    """Return what to expect of the newest Mondays; `newer` is the corrected calibration."""
    last = len(weekly.mondays) - 1
    rows = weekly.rows[weekly.rows["monday"] > last - RECENT_WEEKS]
    segment = rows["segment"].to_numpy() if "segment" in rows else None
    p = np.clip(rows["probability"].to_numpy(), 1e-9, 1 - 1e-9)
    q = expit(newer.apply(rows["raw_score"].to_numpy(), segment))
    return Estimated(
        len(rows), float(p.mean()), float(q.mean()),
        float(_cross_entropy(p, p).mean()), float(_cross_entropy(q, p).mean()),
    )  # fmt: skip


def _cross_entropy(truth: Floats, told: Floats) -> Floats:
    return -(truth * np.log(told) + (1 - truth) * np.log1p(-told))


def cohorts(weekly: Weekly, timing: TimeToWin, horizon_days: float) -> list[Cohort]:
    """Return the months of the Mondays, oldest first; those partly matured as far as they are."""
    outcomes = outcomes_of(weekly, horizon_days, weeks=len(weekly.mondays))
    rows = weekly.open_rows()
    months = pd.Series(weekly.mondays[rows["monday"]].astype("datetime64[M]").astype(str))
    # Without scores: of those that the forest was fitted on, wins of low scores are its late ones.
    by_now = timing.share_by(outcomes.exposure_days)
    probability = rows["probability"].to_numpy()
    found = []
    for month, at in months.groupby(months).indices.items():
        won, p = outcomes.won[at], probability[at]
        expected = p * by_now[at]
        matured = float((outcomes.exposure_days[at] / horizon_days).mean())
        mondays = rows["monday"].to_numpy()[at]
        # Each Monday sees the same leads again: sums are told per Monday.
        a_monday = 1.0 / len(np.unique(mondays))
        accounts = np.asarray(outcomes.account)[at]
        ratio, low, high = float("nan"), float("nan"), float("nan")
        is_told = matured >= LEAST_MATURED and expected.sum() > 0
        if is_told and pd.unique(accounts[won > 0]).size >= FEWEST_WINS:
            ratio = float(won.sum() / expected.sum())
            low, high = (bound / expected.sum() for bound in count_interval(accounts[won > 0]))
        is_ended = matured >= 1
        found.append(
            Cohort(
                str(month), round(len(at) * a_monday), matured, float(won.sum() * a_monday),
                float(expected.sum() * a_monday), ratio, float(low), float(high),
                float(row_log_loss(won, p).mean()) if is_ended else float("nan"),
                _auc(won, p) if is_ended else float("nan"),
            )
        )  # fmt: skip
    return found


def _auc(won: Floats, probability: Floats) -> float:
    from scipy.stats import rankdata

    wins = won.sum()
    if not 0 < wins < len(won):
        return float("nan")
    ranks = rankdata(probability)[won > 0].sum()
    return float((ranks - wins * (wins + 1) / 2) / (wins * (len(won) - wins)))
