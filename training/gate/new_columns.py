"""Whether the challenger's gain hangs on what the champion did not read.

A leak that is dated at the lead's creation shows no evidence in the audit, and split over several
columns none of them moves the scores much. What it cannot hide is that the challenger is much
better, and is not without these columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import expit

from features.catalogue.catalogue import Catalogue
from features.errors import InputError
from models.concepts import Concepts
from models.encoding import Encoder
from models.forest import Forest
from models.scorer import Scorer
from training.gate.calibration import fit_line
from training.gate.checks import Check
from training.gate.questions import LIMIT
from training.gate.rows import GateRows
from training.gate.snapshots import snapshots_by
from training.metrics import row_log_loss

if TYPE_CHECKING:
    from training.candidate import Candidate, Prepared

NAME = "gain_by_new_columns"
HARDLY_READ = 0.05
"""A concept with less of the spread of the champion's scores is as good as new."""
TIMES = 2
"""... if the challenger's scores owe it more than so many times as much; small concepts vary."""
ROWS_EXPLAINED = 20_000


def gain_by_new_columns(
    champion: Scorer, candidate: Candidate, prepared: Prepared, rows: GateRows
) -> Check:
    """Return a pass, or "unclear" where a jump of the log loss hangs on what is newly read.

    `rows` are the compared ones. Both count: how much better than the champion the challenger is
    there, and what it loses on the test rows without the contributions of the concepts newly read;
    the less of the two hangs on them. An honest column may be as good; then a person promotes it.
    """
    gain, most = gain_of(rows), prepared.config.gate.new_columns_gain
    if gain <= most or candidate.kind == "recalibrated":  # the same trees read the same columns
        told = "the challenger is not so much better that it would look like a leak"
        return Check(NAME, "pass", told=told)
    test = np.flatnonzero(prepared.split.is_test)
    drawn = np.random.default_rng(0).permutation(len(test))[:ROWS_EXPLAINED]
    taken = np.zeros(len(prepared.split.is_test), dtype=bool)
    taken[test[drawn]] = True
    examples, fitted = prepared.examples, candidate.evaluation.fitted
    forest = Forest.of_text(fitted.booster.model_to_string(num_iteration=fitted.cross_fit.trees))
    new = concept_sums(forest, fitted.encoder, examples.catalogue, examples.snapshots[taken])
    names = newly_read(_read_by(champion, prepared, taken), spread_of(new))
    lost = lost_without(
        forest.base_raw_score + new.sum(axis=1).to_numpy(),
        new[names].sum(axis=1).to_numpy(),
        examples.won[taken],
        examples.weight[taken],
    )
    return jump_check(gain, lost, names, most)


def gain_of(rows: GateRows) -> float:
    """Return how much less log loss the challenger has, as a share of the champion's."""
    one, other = (
        rows.weight @ row_log_loss(rows.won, np.clip(probability, LIMIT, 1 - LIMIT))
        for probability in (rows.champion, rows.challenger)
    )
    return float(1 - other / one) if one > 0 else 0.0


def lost_without(
    raw_score: np.ndarray, part: np.ndarray, won: np.ndarray, weight: np.ndarray
) -> float:
    """Return the log loss that scores without `part` of them have more, as a share of that.

    Both are calibrated by a line on these rows: only what tells leads apart counts.

    >>> won, part = np.tile([0, 0, 0, 1, 0, 1, 1, 1], 9), np.repeat([-1.0, 1.0], 36)
    >>> round(lost_without(part, np.zeros(72), won, np.ones(72)), 3)
    0.0
    """
    losses = []
    for log_odds in (raw_score, raw_score - part):
        intercept, slope = fit_line(log_odds, won, weight)
        probability = np.clip(expit(intercept + slope * log_odds), LIMIT, 1 - LIMIT)
        losses.append(float(weight @ row_log_loss(won, probability)))
    return 1 - losses[0] / losses[1]


def jump_check(gain: float, lost: float, names: Sequence[str], most: float) -> Check:
    """Return the check; `names` are what is newly read, what moves the scores most first."""
    hangs = max(min(gain, lost), 0.0)
    if hangs <= most:
        told = f"{gain:.1%} less log loss than the champion, {hangs:.1%} by what is newly read"
        return Check(NAME, "pass", challenger=hangs, margin=most, told=told)
    some = ", ".join(names[:5]) + ", ..." * (len(names) > 5)
    told = (
        f"a person should look at these columns: {gain:.1%} less log loss than the champion is "
        f"much, and hangs on what it does not read or hardly did: {some}"
    )
    return Check(NAME, "unclear", challenger=hangs, margin=most, told=told)


def concept_sums(
    forest: Forest, encoder: Encoder, catalogue: Catalogue, snapshots: pd.DataFrame
) -> pd.DataFrame:
    """Return each concept's contribution to the raw score, (rows, concepts)."""
    concepts = Concepts.of(catalogue)
    contributions = forest.contributions(encoder.transform(snapshots))
    return pd.DataFrame(concepts.sums(contributions)[0][:, :-1], columns=list(concepts.names[:-1]))


def spread_of(sums: pd.DataFrame) -> pd.Series:
    """Return each concept's share of the variance of all contributions."""
    spread = sums.var(ddof=0)
    return spread / max(spread.sum(), 1e-12)


def newly_read(old: pd.Series, new: pd.Series) -> list[str]:
    """Return the concepts that move the challenger's scores and hardly moved the champion's."""
    before = old.reindex(new.index).fillna(0.0)
    is_new = (before < HARDLY_READ) & (new > TIMES * before)
    return [str(name) for name in new[is_new].sort_values(ascending=False, kind="stable").index]


def _read_by(champion: Scorer, prepared: Prepared, rows: np.ndarray) -> pd.Series:
    """Return the concepts' spread in the champion; where it can't be asked, 1 for what it reads."""
    try:
        snapshots = snapshots_by(champion.catalogue, prepared, rows)
    except InputError:  # an attribute is gone
        return pd.Series(1.0, index=list(Concepts.of(champion.catalogue).names[:-1]))
    return spread_of(concept_sums(champion.forest, champion.encoder, champion.catalogue, snapshots))
