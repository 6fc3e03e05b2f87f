"""The champion's forest with a new calibration, as a candidate with evidence of its own.

The forest has seen most of the test part, so its scores there would look better than they are. A
test row it saw is scored by a stand-in instead, the champion's recipe fitted on the fit part; a row
it did not see by the forest itself, with a calibration that did not see the row's outcome.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from models.calibration import Calibration
from models.scorer import Scorer
from training.candidate import Candidate, Prepared
from training.comparison.against_rules import fit_rules
from training.evaluation import Evaluation, evaluate_fitted
from training.facts import training_facts
from training.fitting.fit import Choices, Fitted, fit_model
from training.recipe import compared
from training.retrain.unseen import (
    FOLDS,
    Unseen,
    account_fold,
    known_before_test,
    recalibrated_on,
)
from training.steps import Steps

if TYPE_CHECKING:
    from models.rules_table import RulesTable
    from training.gate.gate import ChampionInUse

KEEPS_ITS_CUTOFF = ("money",)
"""A cutoff of these says what a probability is worth, which a new calibration leaves as it is. The
others count leads or wins, or prove a promise about them, so they are chosen anew."""


@dataclass(frozen=True)
class FrozenFit(Fitted):
    """The stand-in for rows the champion's forest saw, and the forest for those it did not."""

    frozen: Scorer
    calibrations: tuple[Calibration, ...]
    "One for each fold of the accounts, fitted without it; or one for all, fitted before them."
    unseen_since: np.datetime64
    fold_by_lead: pd.Series
    fold_by_account: pd.Series
    "By lead_id, and by account_id for leads that are not among the examples."

    @property
    def is_by_fold(self) -> bool:
        """Whether each row is scored with a calibration of other accounts of the same weeks."""
        return len(self.calibrations) > 1

    def probability(self, snapshots: pd.DataFrame) -> np.ndarray:
        """Return calibrated probabilities by a model that saw none of these rows' outcomes."""
        is_unseen = snapshots["as_of"].to_numpy().astype("datetime64[us]") >= self.unseen_since
        probability = np.empty(len(snapshots))
        if not is_unseen.all():
            probability[~is_unseen] = super().probability(snapshots[~is_unseen])
        if is_unseen.any():
            probability[is_unseen] = self._recalibrated(snapshots[is_unseen])
        return probability

    def _recalibrated(self, snapshots: pd.DataFrame) -> np.ndarray:
        raw = self.frozen.raw_scores(snapshots)
        segments = self.frozen.calibration.segments_of(snapshots)
        by_fold = np.stack([one.probability(raw, segments) for one in self.calibrations])
        fold = self.fold(snapshots) if self.is_by_fold else np.zeros(len(raw), int)
        return np.asarray(by_fold[fold, np.arange(len(raw))])

    def fold(self, snapshots: pd.DataFrame) -> np.ndarray:
        """Return the fold of each row's account component; 0 where nothing of it is known."""
        of_lead = self.fold_by_lead.reindex(snapshots["lead_id"]).to_numpy(float)
        of_account = self.fold_by_account.reindex(snapshots["account_id"]).to_numpy(float)
        found = np.where(np.isnan(of_lead), of_account, of_lead)
        return np.nan_to_num(found).astype(int)


def recalibrated_candidate(
    champion: ChampionInUse,
    trained: Candidate,
    unseen: Unseen,
    prepared: Prepared,
    steps: Steps,
    rules: RulesTable | None,
) -> Candidate:
    """Return the champion's forest, calibrated on what matured since, with its evidence.

    `prepared` holds the features that the champion reads. `trained` lends its fit where it is of
    the champion's recipe.
    """
    examples, config, split = prepared.examples, prepared.config, prepared.split
    choices = champion_choices(champion.scorer)
    with steps("recalibrate"):
        stand_in = trained.evaluation.fitted
        of_same = trained.scorer.catalogue.names == champion.scorer.catalogue.names
        if not of_same or trained.evaluation.choices != choices:
            stand_in = fit_model(examples, split.is_fit, choices, config)
        fitted = frozen_fit(stand_in, champion.scorer, unseen, prepared)
    fitted_rules = None if rules is None else fit_rules(rules, examples, split)
    evaluation = evaluate_fitted(
        examples,
        prepared.loaded.partitions,
        config,
        split,
        steps,
        fitted_rules,
        choices,
        fitted,
        champion.scorer.cutoff if config.cutoff.policy in KEEPS_ITS_CUTOFF else None,
    )
    against, funnel = compared(prepared, evaluation, steps, rules, fitted_rules)
    scorer = recalibrated_scorer(champion, unseen, evaluation, prepared)
    return Candidate("recalibrated", evaluation, against, funnel, scorer)


def champion_choices(champion: Scorer) -> Choices:
    """Return the parameters and the recency the champion was fitted with."""
    return Choices(dict(champion.facts["parameters"]), champion.facts["half_life_days"])


def recalibrated_scorer(
    champion: ChampionInUse, unseen: Unseen, evaluation: Evaluation, prepared: Prepared
) -> Scorer:
    """Return what would be shipped: the frozen forest, calibrated on all newly matured rows."""
    examples, old = prepared.examples, champion.scorer
    until = prepared.loaded.data_until
    assert until is not None  # or no row could be told to be new
    calibration = recalibrated_on(old, unseen, prepared, until, unseen.rows)
    shipped = replace(evaluation.fitted, calibration=calibration)
    facts = training_facts(examples, evaluation, prepared.audit, shipped, prepared.config, until)
    facts |= {
        "trees": old.facts["trees"],
        "kind": "recalibrated",
        "recalibrates": champion.digest,
        "recalibrated_on": {
            "rows": int(unseen.rows.sum()),
            "wins": unseen.wins,
            "evaluated_on": "other accounts of the same weeks"
            if known_before_test(unseen, prepared) is None
            else "outcomes known before the test weeks",
        },
        "forest_until": old.facts.get("forest_until", old.facts.get("data_until")),
    }
    return replace(
        old,
        calibration=calibration,
        cutoff=evaluation.cutoff,
        base_rate=float(np.average(examples.won, weights=examples.weight)),
        facts=facts,
    )


def frozen_fit(stand_in: Fitted, old: Scorer, unseen: Unseen, prepared: Prepared) -> FrozenFit:
    """Return the model to evaluate, its calibrations fitted on what the rows' scores may know.

    Outcomes known when the test part starts; where those hold too few wins, those of other
    accounts in the same weeks.
    """
    examples, until = prepared.examples, prepared.loaded.data_until
    starts, before = prepared.split.test_from, known_before_test(unseen, prepared)
    assert starts is not None  # the rows are dated
    assert until is not None
    fold = account_fold(examples.account)
    if before is not None:
        calibrations = [recalibrated_on(old, unseen, prepared, starts, before)]
    else:
        calibrations = [
            recalibrated_on(old, unseen, prepared, until, unseen.rows & (fold != number))
            for number in range(FOLDS)
        ]
    return FrozenFit(
        **{field.name: getattr(stand_in, field.name) for field in fields(Fitted)},
        frozen=old,
        calibrations=tuple(calibrations),
        unseen_since=unseen.since,
        fold_by_lead=_fold_by(examples.snapshots["lead_id"], fold),
        fold_by_account=_fold_by(examples.snapshots["account_id"], fold),
    )


def _fold_by(name: pd.Series, fold: np.ndarray) -> pd.Series:
    of_row = pd.Series(fold, index=pd.Index(name))
    return of_row[of_row.index.notna() & ~of_row.index.duplicated()]
