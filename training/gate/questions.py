"""The questions asked of the compared rows, each a formula of sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.life_config import GateConfig
from training.gate.checks import Check
from training.gate.resampling import Sums
from training.gate.rows import GateRows, MqlRows
from training.metrics import row_log_loss

LIMIT = 1e-9
"""Probabilities nearer to 0 or 1 are moved to here before their log-odds are taken."""
POOLED = "(other)"
CAPTURE_PARTS = 5
"""A challenger may find a fifth less than the champion at most, however little that one finds."""

Columns = dict[str, np.ndarray]
Figures = Callable[[Sums], tuple[np.ndarray, np.ndarray, np.ndarray]]
"From sums to the champion's figure, the challenger's, and how much worse it is."


@dataclass(frozen=True)
class Question:
    """What is to be compared: its columns to add up, and the figures that their sums give."""

    name: str
    margin: float
    columns: Columns
    figures: Figures
    told: str = ""
    of_mqls: bool = False


def _losses(rows: GateRows) -> tuple[np.ndarray, np.ndarray]:
    champion, challenger = (
        rows.weight * row_log_loss(rows.won, np.clip(probability, LIMIT, 1 - LIMIT))
        for probability in (rows.champion, rows.challenger)
    )
    return champion, challenger


def log_loss(rows: GateRows, gate: GateConfig) -> Question:
    """Return the question of the log loss, worse by a share of the champion's."""
    champion, challenger = _losses(rows)
    columns = {"weight": rows.weight, "champion_loss": champion, "challenger_loss": challenger}

    def figures(sums: Sums) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        one, other = sums["champion_loss"], sums["challenger_loss"]
        return one / sums["weight"], other / sums["weight"], (other - one) / one

    return Question("log_loss", gate.log_loss_margin, columns, figures)


def of_mqls(mqls: MqlRows, gate: GateConfig) -> list[Question]:
    """Return the questions of precision and capture, each model at its own cutoff."""
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

    is_none = mqls.champion.qualifies_nobody, mqls.challenger.qualifies_nobody
    if all(is_none):
        return []
    found = mqls.champion.captured.sum() / max(mqls.wins.sum(), 1e-12)
    margin = gate.capture_margin
    if found > 0:  # of the few wins that a high cutoff finds, four points may be all
        margin = min(margin, float(found) / CAPTURE_PARTS)
    counts = f"{mqls.champion.mqls.sum():.0f} and {mqls.challenger.mqls.sum():.0f} MQLs"
    questions = [Question("capture", margin, columns, capture, counts, of_mqls=True)]
    if not any(is_none):  # without a cutoff there are no MQLs to be precise about
        asked = Question("precision", gate.precision_margin, columns, precision, of_mqls=True)
        questions.insert(0, asked)
    return questions


def nobody(mqls: MqlRows) -> list[Check]:
    """Return what to say of precision where one of the two hands nobody over.

    A challenger without a cutoff fails. Where the champion has none there is nothing to compare
    with, so the challenger must bring what its own policy was asked for.
    """
    asked, challenger = mqls.asked_precision, mqls.challenger
    if challenger.qualifies_nobody:
        if mqls.champion.qualifies_nobody:
            return [Check("precision", "note", told="neither hands anybody over")]
        return [Check("precision", "fail", told="the challenger hands nobody over")]
    if not mqls.champion.qualifies_nobody:
        return []
    count = challenger.mqls.sum()
    found = float(challenger.won.sum() / count) if count else 0.0
    told = "the champion hands nobody over; the challenger "
    if asked is None:
        told += "does, and no precision was asked for that it could be held to"
        return [Check("precision", "unclear", challenger=found, told=told)]
    told += f"was asked for {asked:.1%}"
    return [Check("precision", "pass" if found >= asked else "unclear", None, found, told=told)]


def of_segments(rows: GateRows, gate: GateConfig) -> tuple[list[Question], str]:
    """Return a check for each value with enough wins, and what could not be looked at, in words.

    The rest of the values of an attribute are looked at together, if they have enough in all.
    """
    losses, questions, too_few = _losses(rows), list[Question](), list[str]()
    for attribute, values in rows.segments.items():
        codes, names = pd.factorize(values, sort=True)
        wins = [rows.won_accounts(codes == code) for code in range(len(names))]
        alone = [code for code, count in enumerate(wins) if count >= gate.segment_min_wins]
        members = {str(names[code]): codes == code for code in alone}
        rest = ~np.isin(codes, alone)
        if rows.won_accounts(rest) >= gate.segment_min_wins:
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
    return questions, f"too few won accounts to look at parts of {', '.join(too_few)}"


def _segment(
    attribute: str,
    value: str,
    mask: np.ndarray,
    weight: np.ndarray,
    losses: tuple[np.ndarray, np.ndarray],
    gate: GateConfig,
) -> Question:
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

    return Question(name, gate.segment_margin, columns, figures)
