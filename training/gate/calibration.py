"""The calibration of two models on the same rows, as the log loss that a line would save."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit

from features.life_config import GateConfig
from training.gate.questions import LIMIT, Columns, Question
from training.gate.resampling import Sums
from training.gate.rows import GateRows
from training.metrics import row_log_loss


def calibration(rows: GateRows, gate: GateConfig, called: str) -> Question:
    """Return the check of the part of the log loss that recalibration on these rows would save.

    The recalibration is Cox's (1958): a straight line from log-odds to log-odds. Too many or too
    few wins in all, and scores too bold or too timid, both show in it, and with far fewer wins
    than a binned calibration error needs.
    """
    models = {"champion": rows.champion, "challenger": rows.challenger}
    columns: Columns = {}
    for name, probability in models.items():
        columns |= _line_columns(name, rows, probability)

    def figures(sums: Sums) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        one, other = (
            _saved_by_line(name, sums) / sums["champion_loss"]
            for name in ("champion", "challenger")
        )
        return one, other, other - one

    rate = np.average(rows.won, weights=rows.weight)
    means = [np.average(probability, weights=rows.weight) for probability in models.values()]
    told = (
        f"{rate:.2%} won; the {called} predicts {means[0]:.2%}, the challenger {means[1]:.2%} "
        "on average"
    )
    return Question("calibration", gate.calibration_margin, columns, figures, told)


def _line_columns(name: str, rows: GateRows, probability: np.ndarray) -> Columns:
    """Return the columns whose sums give what the best line saves, in the rows and in resamples."""
    log_odds = logit(np.clip(probability, LIMIT, 1 - LIMIT))
    intercept, slope = fit_line(log_odds, rows.won, rows.weight)
    fitted = expit(intercept + slope * log_odds)
    gap, spread = rows.weight * (rows.won - fitted), rows.weight * fitted * (1 - fitted)
    before = row_log_loss(rows.won, np.clip(probability, LIMIT, 1 - LIMIT))
    return {
        f"{name}_saved": rows.weight * (before - row_log_loss(rows.won, fitted)),
        f"{name}_gap": gap,
        f"{name}_gap_x": gap * log_odds,
        f"{name}_spread": spread,
        f"{name}_spread_x": spread * log_odds,
        f"{name}_spread_xx": spread * log_odds**2,
    }


def _saved_by_line(name: str, sums: Sums) -> np.ndarray:
    """Return the log loss saved by the line that fits best in each resample.

    That of all rows saves `saved`; the resample's own saves a bit more, `g' H^-1 g / 2` by one
    Newton step from it (gradient `g`, Hessian `H`).
    """
    gap, gap_x = sums[f"{name}_gap"], sums[f"{name}_gap_x"]
    a, b, c = (sums[f"{name}_spread{power}"] for power in ("", "_x", "_xx"))
    determinant = np.maximum(a * c - b * b, 1e-12 * a * (c + 1e-12))
    more = (c * gap**2 - 2 * b * gap * gap_x + a * gap_x**2) / determinant / 2
    return np.asarray(sums[f"{name}_saved"] + more)


def fit_line(log_odds: np.ndarray, won: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Return intercept and slope of the logistic regression of `won` on `log_odds`.

    `won` may be an expected value in [0, 1]. Newton's method, started at the identity; a slope
    that the rows cannot tell stays where it is.
    """
    line = np.array([0.0, 1.0])
    design = np.column_stack([np.ones(len(log_odds)), log_odds])
    for _ in range(50):
        fitted = expit(design @ line)
        gradient = design.T @ (weight * (won - fitted))
        hessian = (design * (weight * fitted * (1 - fitted))[:, None]).T @ design
        step = np.linalg.lstsq(hessian, gradient, rcond=1e-9)[0]
        line = line + np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-10:
            break
    return float(line[0]), float(line[1])
