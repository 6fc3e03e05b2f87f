"""What matured since the champion was trained: the rows whose labels its forest never saw."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from features.errors import InputError
from models.calibration import Calibration
from models.rules import RulesScorer
from models.scorer import Scorer
from training.fitting.recalibrate import Outcomes, recalibrate
from training.fitting.time_to_win import TimeToWin
from training.gate.snapshots import blocked_now, examples_by, lacking

if TYPE_CHECKING:
    from models.rules_table import RulesTable
    from training.candidate import Prepared

DAY = np.timedelta64(1, "D")
FOLDS = 4


@dataclass(frozen=True)
class Unseen:
    """Newly matured rows, scored by the champion's forest."""

    since: np.datetime64
    "Snapshots from here on had not matured when the champion was trained."
    rows: np.ndarray
    "Mask of the examples."
    raw_score: np.ndarray
    "The champion's, one a row of all examples; NaN for those it saw."
    wins: int
    "Won leads among the rows."


def as_champion_reads(
    champion: Scorer, prepared: Prepared, rules: RulesTable | None
) -> Prepared | str:
    """Return `prepared` with the features of the champion's catalogue, row by row the same leads.

    A sentence on why the champion cannot be recalibrated where it cannot.
    """
    examples, horizon = prepared.examples, prepared.config.training.horizon_days
    if prepared.loaded.data_until is None or not examples.is_dated:
        return "Nobody said until when outcomes are known, so no outcome can be told to be new."
    if champion.facts.get("window", {}).get("until") is None:
        return "The champion does not say what it learnt from."
    if champion.horizon_days != horizon:
        return f"The champion's horizon is {champion.horizon_days} days, now it is {horizon}."
    if np.isnan(examples.days_to_win[examples.won > 0]).any():
        return "Some wins have no day, so it is not known when their outcome was."
    missing = lacking(champion.catalogue, prepared)
    if missing:
        return f"The champion reads {_some(missing)}, which the data no longer have."
    blocked = blocked_now(champion.catalogue, prepared)
    if blocked:
        return f"The champion reads {_some(blocked)}, which the leakage audit now blocks."
    if rules is not None:
        try:
            RulesScorer.of(rules, champion.catalogue)
        except InputError as error:
            return f"The champion cannot be compared with the rules: {error}"
    return replace(prepared, examples=examples_by(champion.catalogue, prepared))


def unseen_by(champion: Scorer, prepared: Prepared) -> Unseen:
    """Return the newly matured rows of `prepared`, which holds what the champion reads."""
    examples = prepared.examples
    # The fact names a day: any row of that day may have been seen.
    since = np.datetime64(champion.facts["window"]["until"], "us") + DAY
    rows = examples.as_of >= since
    raw_score = np.full(len(rows), np.nan)
    if rows.any():
        raw_score[rows] = champion.raw_scores(examples.snapshots[rows])
    return Unseen(since, rows, raw_score, examples.won_leads(rows))


def known_before_test(unseen: Unseen, prepared: Prepared) -> np.ndarray | None:
    """Return the unseen rows whose outcome was known when the test part starts, as a mask.

    None where those hold fewer wins than it takes to recalibrate.
    """
    starts, horizon = prepared.split.test_from, prepared.config.training.horizon_days
    assert starts is not None  # the rows are dated
    examples = prepared.examples
    known = unseen.rows & (examples.as_of + horizon * DAY <= starts.to_datetime64())
    is_enough = examples.won_leads(known) >= prepared.config.retrain.min_new_wins
    return known if is_enough else None


def account_fold(account: np.ndarray, folds: int = FOLDS) -> np.ndarray:
    """Return a fold for each row, the same for all of an account component."""
    codes = pd.factorize(account)[0].astype(np.int64)
    return np.asarray(pd.util.hash_array(codes) % np.uint64(folds), dtype=int)


def _some(names: list[str]) -> str:
    return f"{', '.join(names[:3])}{', ...' * (len(names) > 3)}"


def recalibrated_on(
    champion: Scorer, unseen: Unseen, prepared: Prepared, known_at: pd.Timestamp, rows: np.ndarray
) -> Calibration:
    """Return the champion's calibration, corrected by what came of `rows`.

    `rows` is a mask within the unseen ones, all matured at `known_at`. When wins come is learnt
    from all rows that had matured by then. Little evidence changes little.
    """
    examples, horizon = prepared.examples, prepared.config.training.horizon_days
    age_days = np.asarray((known_at - pd.DatetimeIndex(examples.as_of)) / pd.Timedelta(days=1))
    # Not from rows that are left out: they are to be evaluated.
    has_matured = (age_days >= horizon) & (rows | ~unseen.rows)
    days, weight = examples.days_to_win[has_matured], examples.weight[has_matured]
    segments = champion.calibration.segments_of(examples.snapshots[rows])
    outcomes = Outcomes(
        raw_score=unseen.raw_score[rows],
        won=examples.won[rows],
        days_to_win=examples.days_to_win[rows],
        exposure_days=np.full(int(rows.sum()), float(horizon)),
        weight=examples.weight[rows],
        account=examples.account[rows],
        age_days=age_days[rows],
        segment=None if segments is None else segments.to_numpy(),
    )
    timing = TimeToWin.of(days, weight, horizon)
    return recalibrate(champion.calibration, outcomes, horizon, timing)
