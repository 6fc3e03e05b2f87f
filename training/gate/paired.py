"""The statistical checks: challenger against champion on the same rows and the same resamples."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from features.life_config import GateConfig
from training.gate.calibration import calibration
from training.gate.checks import (
    CALLED,
    Against,
    Check,
    Result,
    Tested,
    holm,
    non_inferiority,
)
from training.gate.questions import Columns, Question, log_loss, nobody, of_mqls, of_segments
from training.gate.resampling import resampled
from training.gate.rows import GateRows, MqlRows

SEED = 0
"""The verdict on the same rows is the same."""
OWN = "log_loss of its own"
SAME_MODEL = "same model: nothing shown"
LEAST_WINS = 30
"""Fewer won accounts do not even make a challenger fail: resamples of so few mislead."""


def paired_checks(
    rows: GateRows,
    mqls: MqlRows | None,
    gate: GateConfig,
    against: Against = "champion",
    where_same: Literal["note", "unclear"] = "unclear",
) -> list[Check]:
    """Return the checks of log loss, calibration, precision, capture and the segments.

    With fewer than `gate.min_wins` won accounts all of them are unclear. `mqls` is None where no
    MQLs can be told. `against` is who gave the champion's scores. Equal scores show nothing, since
    a model is never worse than itself: their checks come out as `where_same` says, a note where
    there is other evidence.
    """
    wins = rows.won_accounts()
    few = f"{wins} won accounts among the compared rows; {gate.min_wins} are needed"
    if not wins:  # no formula has anything to divide by
        return [Check("won_accounts", "unclear", told=few, against=against)]
    questions = [log_loss(rows, gate), calibration(rows, gate, CALLED[against])]
    by_mqls = [] if mqls is None else of_mqls(mqls, gate)
    segments, left_out = of_segments(rows, gate)
    tested = _answered(rows, mqls, [*questions, *by_mqls, *segments], gate)
    main = [tested[question.name].check for question in (*questions, *by_mqls)]
    checks = [*main, *holm([tested[question.name] for question in segments], gate.confidence)]
    if rows.is_same:
        is_shown = mqls is not None and not mqls.is_same  # cutoffs of their own
        kept = ("precision", "capture") if is_shown else ()
        checks = [c if c.name in kept else _nothing_shown(c, where_same) for c in checks]
    if mqls is not None:
        checks += nobody(mqls)
    if wins < gate.min_wins:
        checks = [Check("won_accounts", "unclear", told=few)] + [
            replace(check, result="unclear") for check in checks
        ]
    checks += [Check("segments", "note", told=left_out)] if left_out else []
    return [replace(check, against=against) for check in checks]


def _nothing_shown(check: Check, result: Result) -> Check:
    """Return the check of a model against itself: how much worse it is, is no finding."""
    told = f"{SAME_MODEL}; {check.told}" if check.told else SAME_MODEL
    return Check(check.name, result, check.champion, check.challenger, told=told)


def own_check(rows: GateRows, gate: GateConfig, since: str) -> Check:
    """Return the check of the log loss against the champion itself, on too few rows to pass by.

    It fails as the others do; what does not fail is a note.
    """
    wins = rows.won_accounts()
    told = f"new leads from {since} on, which it never saw: {wins} won accounts"
    if wins < LEAST_WINS:
        return Check(OWN, "note", told=f"{told}, too few to look at")
    question = replace(log_loss(rows, gate), name=OWN, told=told)
    check = _answered(rows, None, [question], gate)[OWN].check
    return check if check.result == "fail" else replace(check, result="note")


def _answered(
    rows: GateRows, mqls: MqlRows | None, questions: list[Question], gate: GateConfig
) -> dict[str, Tested]:
    """Return the answers by name, all on the same resamples."""
    by_row: Columns = {}
    by_mql: Columns = {}
    for question in questions:
        (by_mql if question.of_mqls else by_row).update(question.columns)
    parts = [(rows.account, by_row)] + ([(mqls.account, by_mql)] if mqls and by_mql else [])
    sums = resampled(parts, gate.bootstraps, SEED)

    def answer(question: Question) -> Tested:
        with np.errstate(divide="ignore", invalid="ignore"):  # a resample without an MQL
            champion, challenger, worse_by = question.figures(sums.total)
            drawn = question.figures(sums.drawn)[2]
        figures = float(champion), float(challenger), float(worse_by)
        return non_inferiority(
            question.name, figures, drawn, question.margin, gate.confidence, question.told
        )

    return {question.name: answer(question) for question in questions}
