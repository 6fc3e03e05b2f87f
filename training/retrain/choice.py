"""What to offer: a new model, the champion with a new calibration, or nothing.

The question is put on the rows whose outcome matured since the champion was trained. Whatever is
learnt from them for the comparison, is learnt from other accounts than those it is tried on. A gain
is clear if it exceeds one standard error, accounts taken whole. In this order:

1. A new forest ranks these rows clearly better than the champion's, both calibrated anew, so that
   the level of the scores plays no part: *trained*.
2. The champion recalibrated is clearly better than the champion as it is: *recalibrated*. It keeps
   its reasons, and brings no surprises.
3. The new forest may save more than MARGIN of the log loss, by the upper end of its interval, so
   it cannot be said that the champion's ranking holds: *trained*, and the gate decides.
4. Otherwise the *champion* is fine as it is, and no version is made.

With too few newly matured wins, or where the champion cannot be recalibrated: *trained*.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from models.cutoff import Estimate
from training.fitting.boost import Rows, booster_parameters, raw_scores, recency_weights, refit
from training.fitting.calibrate import fit_calibration
from training.metrics import is_clear_gain, resamples, row_log_loss, with_intervals
from training.retrain.unseen import (
    FOLDS,
    Unseen,
    account_fold,
    known_before_test,
    recalibrated_on,
    unseen_by,
)

if TYPE_CHECKING:
    from features.config import TrainingConfig
    from models.scorer import Scorer
    from training.candidate import Candidate, Prepared

MARGIN = 0.02
"Share of the champion's log loss: a ranking that no forest beats by more than this still holds."


@dataclass(frozen=True)
class Choice:
    """What is offered to the gate, and why. Losses are of the newly matured rows."""

    chosen: Literal["trained", "recalibrated", "champion"]
    "The champion: it is fine as it is, nothing is offered."
    why: str
    new_wins: int | None = None
    "Won leads whose outcome matured since the champion was trained; None where it can't be told."
    new_rows: int | None = None
    champion_as_is: float | None = None
    "The champion's log loss."
    champion_recalibrated: float | None = None
    "Recalibrated as it would be shipped, on other accounts of these rows."
    champion_calibrated_anew: float | None = None
    "Its forest with a calibration that knows nothing but other accounts of these rows."
    trained_calibrated_anew: float | None = None
    "A forest of the new recipe that did not see the row's account here, calibrated likewise."
    gain: Estimate | None = None
    "How much less log loss the new forest has than the champion's, as a share of that."
    recalibration_gain: Estimate | None = None
    "How much less the champion recalibrated has than as it is, as a share of that."

    def as_dict(self) -> dict[str, Any]:
        """Return the choice as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class _Found:
    """What the newly matured rows say."""

    wins: int
    losses: dict[str, float]
    "By the name of their field of `Choice`."
    gain: Estimate
    recalibration_gain: Estimate
    is_ranked_better: bool
    is_recalibrated_better: bool

    @property
    def holds(self) -> bool:
        """Whether the champion's ranking was shown to be no worse than the margin."""
        return self.gain.high is not None and self.gain.high <= MARGIN


def choose_kind(
    champion: Scorer, trained: Candidate, prepared: Prepared, own: Prepared | str
) -> tuple[Choice, Unseen | None]:
    """Return what to offer, by the rules above, and the rows it was chosen on.

    The new forest may see other accounts of the same weeks, since with labels a horizon late no
    later weeks would be left to compare on. `own` is `prepared` as the champion reads it, or why
    it can't.
    """
    if isinstance(own, str):
        return Choice("trained", f"{own} So the champion cannot be recalibrated."), None
    unseen = unseen_by(champion, own)
    least = prepared.config.retrain.min_new_wins
    new_rows = int(unseen.rows.sum())
    if unseen.wins < least:
        why = (
            f"{unseen.wins} won leads have matured since the champion was trained; it takes "
            f"{least} to recalibrate it, or to say that it still holds. So the newly trained model "
            "is offered."
        )
        return Choice("trained", why, unseen.wins, new_rows), None
    found = _compared(champion, trained, prepared, own, unseen)
    chosen = _chosen(found)
    why = _why(found)
    if chosen == "recalibrated" and known_before_test(unseen, own) is None:
        why += (
            f" Fewer than {least} of these wins were known before the test weeks. So the figures "
            "of the test weeks are with a calibration that learnt from other accounts of those "
            "same weeks: how it holds in later weeks they do not show."
        )
    choice = Choice(
        chosen=chosen,
        why=why,
        new_wins=unseen.wins,
        new_rows=new_rows,
        gain=found.gain,
        recalibration_gain=found.recalibration_gain,
        **found.losses,
    )
    return choice, unseen


def _compared(
    champion: Scorer, trained: Candidate, prepared: Prepared, own: Prepared, unseen: Unseen
) -> _Found:
    examples, rows = prepared.examples, unseen.rows
    won, weight, account = examples.won[rows], examples.weight[rows], examples.account[rows]
    everywhere = account_fold(examples.account)
    fold, raw = everywhere[rows], unseen.raw_score[rows]
    new_raw = _new_forest(trained, prepared, rows, fold)
    segments = champion.calibration.segments_of(own.examples.snapshots[rows])
    probabilities = {
        "champion_as_is": champion.calibration.probability(raw, segments),
        "champion_recalibrated": _recalibrated(champion, own, unseen, everywhere),
        "champion_calibrated_anew": _calibrated(raw, won, weight, account, fold),
        "trained_calibrated_anew": _calibrated(new_raw, won, weight, account, fold),
    }
    loss = {name: row_log_loss(won, found) for name, found in probabilities.items()}
    ranking = (loss["champion_calibrated_anew"], loss["trained_calibrated_anew"])
    level = (loss["champion_as_is"], loss["champion_recalibrated"])
    training = prepared.config.training
    return _Found(
        wins=unseen.wins,
        losses={name: float(np.average(of_row, weights=weight)) for name, of_row in loss.items()},
        gain=_saved(*ranking, weight, account, training),
        recalibration_gain=_saved(*level, weight, account, training),
        is_ranked_better=is_clear_gain(ranking[0] - ranking[1], weight, account),
        is_recalibrated_better=is_clear_gain(level[0] - level[1], weight, account),
    )


def _chosen(found: _Found) -> Literal["trained", "recalibrated", "champion"]:
    if found.is_ranked_better:
        return "trained"
    if found.is_recalibrated_better:
        return "recalibrated"
    return "champion" if found.holds else "trained"


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


def _recalibrated(champion: Scorer, own: Prepared, unseen: Unseen, fold: np.ndarray) -> np.ndarray:
    """Return the unseen rows' probabilities, each recalibrated on the other folds' outcomes."""
    until = own.loaded.data_until
    assert until is not None  # or no row could be told to be new
    segments = champion.calibration.segments_of(own.examples.snapshots)
    probability = np.full(len(fold), np.nan)
    for number in range(FOLDS):
        of_fold = unseen.rows & (fold == number)
        if not of_fold.any():
            continue
        others = unseen.rows & (fold != number)
        calibration = recalibrated_on(champion, unseen, own, until, others)
        of_segment = None if segments is None else segments[of_fold]
        probability[of_fold] = calibration.probability(unseen.raw_score[of_fold], of_segment)
    return np.asarray(probability[unseen.rows])


def _saved(
    before: np.ndarray,
    after: np.ndarray,
    weight: np.ndarray,
    account: np.ndarray,
    training: TrainingConfig,
) -> Estimate:
    """Return which share of the loss `before` is saved, with its interval."""

    def saved(weights: np.ndarray) -> dict[str, float]:
        return {"saved": float(1 - (weights @ after) / (weights @ before))}

    drawn = [
        saved(weight * times) for times in resamples(account, training.bootstraps, training.seed)
    ]
    return with_intervals(saved(weight), drawn)["saved"]


def _why(found: _Found) -> str:
    compared = (
        f"On leads whose outcome the champion never saw ({found.wins} of them won) a new forest "
        f"has {_told(found.gain)}, both freshly calibrated."
    )
    level = found.recalibration_gain
    anew = (
        f"A new calibration gives the champion {_told(level)} there, which is "
        f"{_judged(level, found.is_recalibrated_better)}."
    )
    if found.is_ranked_better:
        return (
            f"The champion's ranking no longer holds. {compared} That is "
            f"{_judged(found.gain, True)}, so the newly trained model is offered."
        )
    ranking = (
        f"The champion's ranking still holds. {compared} It saves no more than {MARGIN:.0%}."
        if found.holds
        else f"The champion's ranking is not shown to be worse. {compared} That is not clearly "
        f"better, though it may save more than {MARGIN:.0%}."
    )
    if found.is_recalibrated_better:
        return (
            f"{ranking} {anew} So the champion is offered with a new calibration: the same "
            "reasons, no new surprises."
        )
    if found.holds:
        return f"{ranking} {anew} So the champion is fine as it is, and no version is made."
    return (
        f"{ranking} {anew} As it cannot be shown that the ranking holds, the newly trained model "
        "is offered, and the gate decides."
    )


def _judged(saved: Estimate, is_better: bool) -> str:
    """Return in words what the interval shows; what is offered goes by one standard error."""
    if is_better:
        is_sure = saved.low is None or saved.low > 0
        return "clearly better" if is_sure else "better by more than one standard error"
    is_worse = saved.high is not None and saved.high < 0
    return "clearly worse" if is_worse else "not clearly better"


def _told(saved: Estimate) -> str:
    """Return the change of the log loss, and its interval from its nearer end on.

    >>> _told(Estimate(-0.003, -0.007, -0.0002))
    '0.3% more log loss (90% interval: 0.0% to 0.7% more)'
    """
    if saved.value == saved.low == saved.high == 0:
        return "the same log loss"
    change = _change(saved.value)
    told = f"{'about the same' if change == '0.0%' else change} log loss"
    if saved.low is None or saved.high is None:
        return told
    low, high = sorted((saved.low, saved.high), reverse=saved.value < 0)
    return f"{told} (90% interval: {_change(low)} to {_change(high)})"


def _change(saved: float) -> str:
    size = f"{abs(saved):.1%}"
    return size if size == "0.0%" else f"{size} {'less' if saved > 0 else 'more'}"
