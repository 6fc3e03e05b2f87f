"""Which of the two to offer: a new model, or the champion with a new calibration."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from models.cutoff import Estimate
from training.fitting.boost import Rows, booster_parameters, raw_scores, recency_weights, refit
from training.fitting.calibrate import fit_calibration
from training.metrics import is_clear_gain, resamples, row_log_loss, with_intervals
from training.retrain.unseen import Unseen, unseen_by

if TYPE_CHECKING:
    from models.scorer import Scorer
    from training.candidate import Candidate, Prepared

FOLDS = 4


@dataclass(frozen=True)
class Choice:
    """What is offered to the gate, and why."""

    chosen: Literal["trained", "recalibrated"]
    why: str
    new_wins: int | None = None
    "Won leads whose outcome matured since the champion was trained; None where it can't be told."
    new_rows: int | None = None
    champion_as_is: float | None = None
    "Its log loss on the newly matured rows with the calibration it has."
    champion_recalibrated: float | None = None
    "The same forest, calibrated on other accounts of these rows."
    trained_recalibrated: float | None = None
    "A forest of the new recipe that did not see the row's account here, calibrated likewise."
    gain: Estimate | None = None
    "How much less log loss the new forest has than the champion's, as a share of that."

    def as_dict(self) -> dict[str, Any]:
        """Return the choice as JSON values."""
        return asdict(self)


def choose_kind(
    champion: Scorer, trained: Candidate, prepared: Prepared, own: Prepared | str
) -> tuple[Choice, Unseen | None]:
    """Return what to offer: the recalibrated champion wherever its ranking still holds.

    It keeps its reasons, and brings no surprises. Its ranking holds unless a forest that learnt
    from the newly matured rows of other accounts ranks these rows clearly better. Both are
    calibrated on the same accounts, so that the level of the scores plays no part. The new forest
    may see other accounts of the same weeks, since with labels a horizon late no later weeks would
    be left to compare on. `own` is `prepared` as the champion reads it, or why it can't.
    """
    if isinstance(own, str):
        return Choice("trained", f"{own} So the champion cannot be recalibrated."), None
    unseen = unseen_by(champion, own)
    least = prepared.config.retrain.min_new_wins
    new_rows = int(unseen.rows.sum())
    if unseen.wins < least:
        why = (
            f"{unseen.wins} won leads have matured since the champion was trained; it takes "
            f"{least} to recalibrate it."
        )
        return Choice("trained", why, unseen.wins, new_rows), None
    examples, rows = prepared.examples, unseen.rows
    won, weight, account = examples.won[rows], examples.weight[rows], examples.account[rows]
    fold = account_fold(examples.snapshots[rows])
    raw_by = {
        "champion": unseen.raw_score[rows],
        "trained": _new_forest(trained, prepared, rows, fold),
    }
    losses = {
        name: row_log_loss(won, _calibrated(raw, won, weight, account, fold))
        for name, raw in raw_by.items()
    }
    told = {name: float(np.average(loss, weights=weight)) for name, loss in losses.items()}
    segments = champion.calibration.segments_of(own.examples.snapshots[rows])
    as_is = champion.calibration.probability(raw_by["champion"], segments)
    is_better = is_clear_gain(losses["champion"] - losses["trained"], weight, account)
    gain = _gain(losses, weight, account, prepared)
    choice = Choice(
        chosen="trained" if is_better else "recalibrated",
        why=_why(is_better, gain, unseen.wins),
        new_wins=unseen.wins,
        new_rows=new_rows,
        champion_as_is=float(np.average(row_log_loss(won, as_is), weights=weight)),
        champion_recalibrated=told["champion"],
        trained_recalibrated=told["trained"],
        gain=gain,
    )
    return choice, unseen


def account_fold(snapshots: pd.DataFrame, folds: int = FOLDS) -> np.ndarray:
    """Return a fold for each snapshot, the same for all of an account, or of a lead without one."""
    named = snapshots["account_id"].astype(object)
    named = named.where(named.notna(), snapshots["lead_id"].astype(object))
    return np.asarray(pd.util.hash_array(named.to_numpy(object)) % np.uint64(folds), dtype=int)


def _new_forest(
    trained: Candidate, prepared: Prepared, rows: np.ndarray, fold: np.ndarray
) -> np.ndarray:
    """Return the raw scores of `rows` by forests of the new recipe that left out their fold.

    Older rows of these accounts stay in, as the champion saw them too.
    """
    examples, config = prepared.examples, prepared.config.training
    choices = trained.evaluation.choices
    parameters = booster_parameters(choices.parameters, config.seed, config.num_threads)
    matrix = trained.scorer.encoder.transform(examples.snapshots)
    weight = examples.weight * recency_weights(examples.as_of, choices.half_life_days)
    trees = int(trained.scorer.facts["trees"])
    places = np.flatnonzero(rows)
    raw = np.full(len(places), np.nan)
    for number in np.unique(fold):
        left_out = places[fold == number]
        kept = np.ones(len(rows), dtype=bool)
        kept[left_out] = False
        booster = refit(Rows(matrix[kept], examples.won[kept], weight[kept]), parameters, trees)
        raw[fold == number] = raw_scores(booster, matrix[left_out], trees, parameters)
    return raw


def _calibrated(
    raw: np.ndarray, won: np.ndarray, weight: np.ndarray, account: np.ndarray, fold: np.ndarray
) -> np.ndarray:
    """Return probabilities, each calibrated on the other folds."""
    probability = np.empty(len(raw))
    for number in np.unique(fold):
        others = fold != number
        fitted = fit_calibration(
            raw[others], won[others], weight[others], account[others], fold[others]
        )
        probability[~others] = fitted.probability(raw[~others])
    return probability


def _gain(
    losses: dict[str, np.ndarray], weight: np.ndarray, account: np.ndarray, prepared: Prepared
) -> Estimate:
    training = prepared.config.training

    def saved(weights: np.ndarray) -> dict[str, float]:
        champion, trained = (float(weights @ losses[name]) for name in ("champion", "trained"))
        return {"gain": (champion - trained) / champion}

    drawn = [
        saved(weight * times) for times in resamples(account, training.bootstraps, training.seed)
    ]
    return with_intervals(saved(weight), drawn)["gain"]


def _why(is_better: bool, gain: Estimate, wins: int) -> str:
    size = f"{abs(gain.value):.1%} {'less' if gain.value > 0 else 'more'} log loss"
    if gain.low is not None and gain.high is not None:
        size += f" (90% interval of what it saves: {gain.low:.1%} to {gain.high:.1%})"
    if is_better:
        return (
            f"The champion's ranking no longer holds: on leads whose outcome it never saw ({wins} "
            f"of them won) a new forest has {size}, both freshly calibrated. So the newly trained "
            "model is offered."
        )
    return (
        f"The champion's ranking still holds: on leads whose outcome it never saw ({wins} of them "
        f"won) a new forest has {size}, both freshly calibrated: it is not clearly better. "
        "So the champion is offered with a new calibration: the same reasons, no new surprises."
    )
