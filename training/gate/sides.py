"""The two sides of the comparison, and the rows that both are judged on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from features.config import Config
from models.cutoff import Cutoff
from models.scorer import Scorer
from training.audit.audit import reads
from training.cutoffs.cutoff import choose_cutoff
from training.examples import Examples
from training.fitting.fit import Choices, Fitted, fit_model
from training.gate.asked import (
    Side,
    Unseen,
    asked,
    config_of,
    not_to_be_asked,
    own_scores,
    unseen_by,
    unseen_weeks,
)
from training.gate.rows import GateRows, MqlRows, mqls_of_weeks
from training.gate.snapshots import examples_by, lacking, read_alike
from training.replay import decided
from training.scored_weeks import cutoff_policy, weeks_of_gap, weeks_of_past, weeks_of_test
from training.segments import MISSING
from training.weekly import ScoredWeeks

if TYPE_CHECKING:
    from training.candidate import Candidate, Prepared

Baseline = Literal["champion", "recipe"]
HALVINGS = 40


@dataclass(frozen=True)
class Compared:
    """The rows both are judged on, and who stood for the champion."""

    baseline: Baseline
    why: str
    "Who stood for the champion, and why."
    rows: GateRows
    mqls: MqlRows
    own: tuple[GateRows, str] | None = None
    """Where the recipe stood in: rows that the champion itself can be asked about, and since when
    they are."""


def compared(champion: Scorer, candidate: Candidate, prepared: Prepared) -> Compared:
    """Return the rows to judge by: of the champion's bundle, or of its recipe fitted anew.

    The bundle is asked about what it did not learn from (`unseen_by`). Where that holds too few
    wins, its recipe, fitted on the challenger's fit rows, is asked about the whole test part; it
    learns from the same data as the challenger, so what is wrong with them shows in neither.
    """
    least, reason = prepared.config.gate.min_wins, not_to_be_asked(champion, prepared)
    found = [] if reason else unseen_by(champion, candidate, prepared)
    enough = [unseen for unseen in found if unseen.wins >= least]
    if enough or (found and candidate.kind == "recalibrated"):
        return _by_bundle((enough or found)[0], champion, candidate, prepared)
    most = max(found, key=lambda unseen: unseen.wins, default=None)
    return _by_recipe(reason or _too_few(most, least), most, champion, candidate, prepared)


def _by_bundle(
    unseen: Unseen, champion: Scorer, candidate: Candidate, prepared: Prepared
) -> Compared:
    evaluation = candidate.evaluation
    cutoff, weeks = evaluation.cutoff, unseen_weeks(unseen, evaluation.test_weeks, prepared)
    side = asked(champion, prepared, unseen)
    why = (
        f"The champion itself was asked, {unseen.told}: neither model saw how these went, and "
        f"{unseen.wins} accounts won."
    )
    own = side.cutoff
    if own is None or asks_otherwise(own, cutoff):
        own = _at_equal_volume(side.weeks, (weeks, cutoff))
        why += (
            " The cutoffs follow different settings, so the champion's was moved to where it "
            "brings as many MQLs as the challenger's."
        )
    rows = _rows(candidate, prepared, side.probability, unseen.rows)
    return Compared("champion", why, rows, mqls_of_weeks((side.weeks, own), (weeks, cutoff)))


def _by_recipe(
    reason: str, unseen: Unseen | None, champion: Scorer, candidate: Candidate, prepared: Prepared
) -> Compared:
    evaluation, is_test = candidate.evaluation, prepared.split.is_test
    side, weeks, cutoff = (
        _recipe(champion, candidate, prepared),
        evaluation.test_weeks,
        evaluation.cutoff,
    )
    why = f"{reason} So the champion's recipe, fitted on the challenger's fit rows, stood in."
    if side.weeks is weeks:
        why += " It is the challenger's own recipe, so their scores are the same."
    own = side.cutoff or _at_equal_volume(side.weeks, (weeks, cutoff))
    rows = _rows(candidate, prepared, side.probability, is_test)
    further = None
    if unseen is not None and unseen.rows.any():
        probability = np.full(int(is_test.sum()), np.nan)
        probability[unseen.rows[is_test]] = own_scores(champion, prepared, unseen.rows)
        further = _rows(candidate, prepared, probability, unseen.rows), f"{unseen.since:%Y-%m-%d}"
    mqls = mqls_of_weeks((side.weeks, own), (weeks, cutoff))
    return Compared("recipe", why, rows, mqls, further)


def _too_few(unseen: Unseen | None, least: int) -> str:
    if unseen is None:
        return "Nobody can tell which rows the champion has not seen."
    return (
        f"Asked itself, {unseen.told}, the champion can be compared on {unseen.wins} won accounts; "
        f"{least} are needed."
    )


def _recipe(champion: Scorer, candidate: Candidate, prepared: Prepared) -> Side:
    """Return the champion's parameters and features, fitted on the challenger's fit rows.

    Without features that the data no longer have, or that the audit blocks.
    """
    blocked, missing = prepared.audit.blocked(), lacking(champion.catalogue, prepared)
    features = tuple(
        feature
        for feature in champion.catalogue.features
        if not any(reads(feature, column) for column in (*blocked, *missing))
    )
    examples = examples_by(replace(champion.catalogue, features=features), prepared)
    config = config_of(examples.catalogue, prepared.config, prepared.config.cutoff.segment_by)
    tables, split = prepared.loaded.partitions, prepared.split
    choices = Choices(dict(champion.facts["parameters"]), champion.facts["half_life_days"])
    own = candidate.evaluation
    is_own = candidate.kind == "trained" and own.choices == choices
    is_own = is_own and features == prepared.examples.catalogue.features
    if is_own and read_alike(examples.catalogue, prepared.examples):
        return Side(own.test["probability"].to_numpy(), own.test_weeks, own.cutoff)
    fitted = fit_model(examples, split.is_fit, choices, config)
    weeks = weeks_of_test(examples, tables, config, split, fitted, None)
    return Side(
        fitted.probability(examples.snapshots[split.is_test]),
        weeks,
        _cutoff_anew(examples, prepared, config, fitted),
    )


def _cutoff_anew(
    examples: Examples, prepared: Prepared, config: Config, fitted: Fitted
) -> Cutoff | None:
    """Return the cutoff that the settings ask for, as `evaluate_recipe` chooses it.

    None where it goes by the volume of the rules.
    """
    if config.cutoff.policy == "rules_volume":
        return None
    tables, split, training = prepared.loaded.partitions, prepared.split, config.training
    past = weeks_of_past(examples, tables, config, split, fitted, None)
    recent = weeks_of_gap(examples, tables, config, split, fitted, past.wins)
    return choose_cutoff(
        past.replay(),
        cutoff_policy(examples, config),
        training.bootstraps,
        training.seed,
        recent=None if recent is None else recent.replay(),
    )


def _rows(
    candidate: Candidate,
    prepared: Prepared,
    champion: np.ndarray,
    rows: np.ndarray,
) -> GateRows:
    """Return the examples where the mask `rows`, within the test part, is true."""
    is_test, evaluation = prepared.split.is_test, candidate.evaluation
    taken, test = rows[is_test], evaluation.test
    segments = evaluation.test_segments[taken]
    return GateRows(
        test["won"].to_numpy()[taken],
        test["weight"].to_numpy()[taken],
        test["account"].to_numpy()[taken],
        champion[taken],
        test["probability"].to_numpy()[taken],
        {
            str(name): segments[name].astype("str").fillna(MISSING).to_numpy(object)
            for name in segments.columns
        },
    )


def asks_otherwise(one: Cutoff, other: Cutoff) -> bool:
    """Return whether the two were chosen by different settings."""
    return (one.policy, one.parameter, one.segment_by) != (
        other.policy,
        other.parameter,
        other.segment_by,
    )


def _at_equal_volume(weeks: ScoredWeeks, challenger: tuple[ScoredWeeks, Cutoff]) -> Cutoff:
    """Return the one cutoff that makes as many MQLs of `weeks` as the challenger's of its own."""
    cutoff = challenger[1]
    asked = replace(cutoff, evidence={}, forecast=None, segment_by=None, segments={})
    if cutoff.qualifies_nobody:
        return replace(asked, value=None)
    tested, number = decided(challenger[0].replay(), cutoff)
    wanted, replay = len(tested.mqls(number)), weeks.replay()
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if len(replay.mqls(middle)) > wanted else (low, middle)
    return replace(asked, value=high)
