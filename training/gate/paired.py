"""The statistical checks: challenger against champion on the same rows, each a formula of sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from features.life_config import GateConfig
from training.gate.checks import Check, Tested, holm, non_inferiority
from training.gate.resampling import Sums, resampled
from training.gate.rows import GateRows, MqlRows
from training.metrics import row_log_loss

SEED = 0
"""The verdict on the same rows is the same."""
LIMIT = 1e-9
"""Probabilities nearer to 0 or 1 are moved to here before their log-odds are taken."""
POOLED = "(other)"

Columns = dict[str, np.ndarray]
Figures = Callable[[Sums], tuple[np.ndarray, np.ndarray, np.ndarray]]
"From sums to the champion's figure, the challenger's, and how much worse it is."


@dataclass(frozen=True)
class _Question:
    name: str
    margin: float
    columns: Columns
    figures: Figures
    told: str = ""
    of_mqls: bool = False
    is_segment: bool = False


def paired_checks(rows: GateRows, mqls: MqlRows | None, gate: GateConfig) -> list[Check]:
    """Return the checks of log loss, calibration, precision, capture and the segments.

    With fewer than `gate.min_wins` won leads all of them are unclear. `mqls` is None where no MQLs
    can be told.
    """
    questions = [_log_loss(rows, gate), _calibration(rows, gate)]
    questions += [] if mqls is None else _of_mqls(mqls, gate)
    segments, left_out = _segments(rows, gate)
    questions += segments
    by_row: Columns = {}
    by_mql: Columns = {}
    for question in questions:
        (by_mql if question.of_mqls else by_row).update(question.columns)
    parts = [(rows.account, by_row)] + ([(mqls.account, by_mql)] if mqls and by_mql else [])
    sums = resampled(parts, gate.bootstraps, SEED)

    def answer(question: _Question) -> Tested:
        with np.errstate(divide="ignore", invalid="ignore"):  # a resample without an MQL
            champion, challenger, worse_by = question.figures(sums.total)
            drawn = question.figures(sums.drawn)[2]
        figures = float(champion), float(challenger), float(worse_by)
        return non_inferiority(
            question.name, figures, drawn, question.margin, gate.confidence, question.told
        )

    main = [answer(question).check for question in questions if not question.is_segment]
    family = [answer(question) for question in questions if question.is_segment]
    checks = [*main, *holm(family, gate.confidence)]
    wins = rows.won_leads()
    if wins < gate.min_wins:
        told = f"{wins} won leads among the compared rows; {gate.min_wins} are needed"
        checks = [Check("won_leads", "unclear", told=told)] + [
            replace(check, result="unclear") for check in checks
        ]
    return checks + ([Check("segments", "note", told=left_out)] if left_out else [])


def _losses(rows: GateRows) -> tuple[np.ndarray, np.ndarray]:
    champion, challenger = (
        rows.weight * row_log_loss(rows.won, np.clip(probability, LIMIT, 1 - LIMIT))
        for probability in (rows.champion, rows.challenger)
    )
    return champion, challenger


def _log_loss(rows: GateRows, gate: GateConfig) -> _Question:
    champion, challenger = _losses(rows)
    columns = {"weight": rows.weight, "champion_loss": champion, "challenger_loss": challenger}

    def figures(sums: Sums) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        one, other = sums["champion_loss"], sums["challenger_loss"]
        return one / sums["weight"], other / sums["weight"], (other - one) / one

    return _Question("log_loss", gate.log_loss_margin, columns, figures)


def _calibration(rows: GateRows, gate: GateConfig) -> _Question:
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
        f"{rate:.2%} won; the champion predicts {means[0]:.2%}, the challenger {means[1]:.2%} "
        "on average"
    )
    return _Question("calibration", gate.calibration_margin, columns, figures, told)


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


def _of_mqls(mqls: MqlRows, gate: GateConfig) -> list[_Question]:
    columns: Columns = {"wins": mqls.wins}
    for name, flags in (("champion", mqls.champion), ("challenger", mqls.challenger)):
        columns |= {
            f"{name}_mqls": flags.mqls,
            f"{name}_won": flags.won,
            f"{name}_captured": flags.captured,
        }

    def precision(sums: Sums) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        one = sums["champion_won"] / sums["champion_mqls"]
        other = sums["challenger_won"] / sums["challenger_mqls"]
        return one, other, one - other

    def capture(sums: Sums) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        one = sums["champion_captured"] / sums["wins"]
        other = sums["challenger_captured"] / sums["wins"]
        return one, other, one - other

    counts = f"{mqls.champion.mqls.sum():.0f} and {mqls.challenger.mqls.sum():.0f} MQLs"
    questions = [_Question("capture", gate.capture_margin, columns, capture, counts, of_mqls=True)]
    # Without a cutoff there are no MQLs to be precise about; capture tells what that costs.
    if not (mqls.champion.qualifies_nobody or mqls.challenger.qualifies_nobody):
        asked = _Question("precision", gate.precision_margin, columns, precision, of_mqls=True)
        questions.insert(0, asked)
    return questions


def _segments(rows: GateRows, gate: GateConfig) -> tuple[list[_Question], str]:
    """Return a check for each value with enough wins, and what could not be looked at, in words.

    The rest of the values of an attribute are looked at together, if they have enough in all.
    """
    losses, questions, too_few = _losses(rows), list[_Question](), list[str]()
    for attribute, values in rows.segments.items():
        codes, names = pd.factorize(values, sort=True)
        wins = [rows.won_leads(codes == code) for code in range(len(names))]
        alone = [code for code, count in enumerate(wins) if count >= gate.segment_min_wins]
        members = {str(names[code]): codes == code for code in alone}
        rest = ~np.isin(codes, alone)
        if rows.won_leads(rest) >= gate.segment_min_wins:
            members[POOLED] = rest
        elif rest.any():
            too_few.append(f"{attribute} ({len(names) - len(alone)} values)")
        if not any(mask.all() for mask in members.values()):  # that is the log loss of all
            questions += [
                _segment(attribute, value, mask, rows.weight, losses, gate)
                for value, mask in members.items()
            ]
    if not too_few:
        return questions, ""
    return questions, f"too few won leads to look at parts of {', '.join(too_few)}"


def _segment(
    attribute: str,
    value: str,
    mask: np.ndarray,
    weight: np.ndarray,
    losses: tuple[np.ndarray, np.ndarray],
    gate: GateConfig,
) -> _Question:
    name = f"log_loss where {attribute} is {value}"
    champion, challenger = f"{name}: champion", f"{name}: challenger"
    of_rows = f"{name}: rows"
    columns = {
        champion: losses[0] * mask,
        challenger: losses[1] * mask,
        of_rows: weight * mask,
    }

    def figures(sums: Sums) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        one, other, count = sums[champion], sums[challenger], sums[of_rows]
        return one / count, other / count, (other - one) / one

    return _Question(name, gate.segment_margin, columns, figures, is_segment=True)
