"""Evaluation: fit on the past, choose the cutoff out of fold, read the test part once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from features.config import Config
from features.errors import InputError
from features.parts.partitions import Partitions
from features.tables import Tables
from models.cutoff import Cutoff, Estimate
from training.comparison.segments import segment_columns
from training.cutoffs.cutoff import choose_cutoff
from training.examples import Examples
from training.fitting.baselines import baseline_probabilities
from training.fitting.boost import Rows
from training.fitting.fit import Choices, Fitted, choose, fit_model
from training.fitting.folds import Split, split_by_account, split_by_time
from training.metrics import evaluate, resamples, row_log_loss, with_intervals
from training.replay import Replay, decided
from training.scored_weeks import cutoff_policy, weeks_of_gap, weeks_of_past, weeks_of_test
from training.steps import Steps
from training.weekly import ScoredWeeks

if TYPE_CHECKING:
    from models.rules import RulesScorer

ROWS_EXPLAINED = 3000
WEEK = pd.Timedelta(days=7)


@dataclass(frozen=True)
class Evaluation:
    """What the evaluation found; the evidence of the shipped model."""

    split: Split
    choices: Choices
    fitted: Fitted
    cutoff: Cutoff
    metrics: dict[str, Estimate]
    "On the test rows of the population."
    eligible_metrics: dict[str, Estimate]
    "On those that might become an MQL."
    baselines: dict[str, dict[str, Estimate]]
    skill: Estimate
    "1 - log loss / log loss of the base rate, on the test rows."
    test: pd.DataFrame
    "won, probability, weight, account, win_share, is_eligible of the test rows"
    test_segments: pd.DataFrame
    "Category features of the test rows, row by row with `test`, to tell the calibration by."
    explained: pd.DataFrame
    "Snapshots of some test rows, drawn at random, for the global reasons."
    past: Replay
    "Of the fit weeks, out of fold; what chose the cutoff."
    replay: Replay
    "Of the test weeks."
    past_weeks: ScoredWeeks
    "What `past` replays, with the points of the rules if there are any."
    test_weeks: ScoredWeeks
    "What `replay` replays, likewise."
    replayed: dict[str, Estimate]
    "What the cutoff would have brought in the test weeks; empty without a cutoff."


def split_examples(examples: Examples, config: Config) -> Split:
    """Return the evaluation split; InputError when the fit part holds too few wins."""
    if examples.is_dated:
        split = split_by_time(examples.as_of, config.training, config.gap_days)
    else:
        split = split_by_account(examples.account, config.training)
    wins, floor = examples.won_leads(split.is_fit), config.training.min_wins
    if wins < floor:
        raise InputError(
            f"{wins} won leads in the fit rows; {floor} are needed, so {floor - wins} more. "
            "Load a longer history, or lower training.min_wins and expect wide intervals."
        )
    if not 0 < examples.won[split.is_test].sum() < split.is_test.sum():
        raise InputError(
            "The test rows hold one class only, so nothing can be measured on them. "
            "Set training.test_from or training.test_share, or load a longer history."
        )
    is_eligible = examples.snapshots["is_eligible"].to_numpy(bool)
    if not is_eligible[split.is_fit].any() or not is_eligible[split.is_test].any():
        raise InputError(
            "No lead of the fit or test rows may become an MQL: all of them already are one or "
            "have an open opportunity, so no cutoff can be chosen. Check the stages of "
            "stage_changes, or set population.requalify_after_days."
        )
    return split


def evaluate_recipe(
    examples: Examples,
    tables: Tables | Partitions | None,
    config: Config,
    split: Split,
    steps: Steps,
    rules: RulesScorer | None = None,
    choices: Choices | None = None,
) -> Evaluation:
    """Return the evaluation of the recipe on `examples`; `tables` is None for a flat export.

    With `rules` both see the same leads in the same weeks, for `training.comparison.comparison`.
    With `choices` there is no search.
    """
    if choices is None:
        with steps("search"):
            choices = choose(examples, split.is_fit, config)
    with steps("fit"):
        fitted = fit_model(examples, split.is_fit, choices, config)
    return evaluate_fitted(examples, tables, config, split, steps, rules, choices, fitted)


def evaluate_fitted(
    examples: Examples,
    tables: Tables | Partitions | None,
    config: Config,
    split: Split,
    steps: Steps,
    rules: RulesScorer | None,
    choices: Choices,
    fitted: Fitted,
    kept: Cutoff | None = None,
) -> Evaluation:
    """Return the evaluation of a model that knows the fit part only: cutoff, test rows, replay.

    The value of a `kept` cutoff stays, as long as it is what the settings ask for.
    """
    training = config.training
    with steps("cutoff"):
        past_weeks = weeks_of_past(examples, tables, config, split, fitted, rules)
        past = past_weeks.replay()
        recent = weeks_of_gap(examples, tables, config, split, fitted, past_weeks.wins)
        cutoff = choose_cutoff(
            past,
            cutoff_policy(examples, config),
            training.bootstraps,
            training.seed,
            rules=None if rules is None else (past_weeks.rules_replay(), rules.threshold),
            recent=None if recent is None else recent.replay(),
            kept=kept,
        )
    with steps("test"):
        test = _test_rows(examples, split, fitted)
        metrics = _measure(test, config)
        eligible = _measure(test[test["is_eligible"]], config)
        probabilities = _baselines(examples, split, fitted)
        baselines = {
            name: _measure(test.assign(probability=probability), config)
            for name, probability in probabilities.items()
        }
        skill = skill_score(test, probabilities["base_rate"], training.bootstraps, training.seed)
    with steps("replay"):
        test_weeks = weeks_of_test(examples, tables, config, split, fitted, rules)
        replay = test_weeks.replay()
        replayed = _replayed(replay, cutoff, config)
    return Evaluation(
        split=split,
        choices=choices,
        fitted=fitted,
        cutoff=cutoff,
        metrics=metrics,
        eligible_metrics=eligible,
        baselines=baselines,
        skill=skill,
        test=test,
        test_segments=_test_segments(examples, split, fitted, config),
        explained=_some_rows(examples.snapshots[split.is_test], training.seed),
        past=past,
        replay=replay,
        past_weeks=past_weeks,
        test_weeks=test_weeks,
        replayed=replayed,
    )


def _some_rows(snapshots: pd.DataFrame, seed: int) -> pd.DataFrame:
    drawn = np.random.default_rng(seed).permutation(len(snapshots))[:ROWS_EXPLAINED]
    return snapshots.iloc[np.sort(drawn)]


def _measure(test: pd.DataFrame, config: Config) -> dict[str, Estimate]:
    training = config.training
    won, probability, weight, account, win_share = (
        test[name].to_numpy() for name in ("won", "probability", "weight", "account", "win_share")
    )
    return evaluate(
        won, probability, weight, account, training.bootstraps, training.seed, win_share
    )


def skill_score(
    test: pd.DataFrame, base_probability: np.ndarray, bootstraps: int, seed: int
) -> Estimate:
    """Return 1 - log loss / base rate's log loss with its interval, both on the same resamples."""
    won, weight, account = (test[name].to_numpy() for name in ("won", "weight", "account"))
    loss = row_log_loss(won, test["probability"].to_numpy())
    base_loss = row_log_loss(won, base_probability)

    def skill(weights: np.ndarray) -> dict[str, float]:
        return {"skill": float(1 - (weights @ loss) / (weights @ base_loss))}

    drawn = [skill(weight * times) for times in resamples(account, bootstraps, seed)]
    return with_intervals(skill(weight), drawn)["skill"]


def _test_rows(examples: Examples, split: Split, fitted: Fitted) -> pd.DataFrame:
    snapshots = examples.snapshots[split.is_test]
    return pd.DataFrame(
        {
            "won": examples.won[split.is_test],
            "probability": fitted.probability(snapshots),
            "weight": examples.weight[split.is_test],
            "account": examples.account[split.is_test],
            "win_share": _win_shares(examples.opportunity[split.is_test]),
            "is_eligible": snapshots["is_eligible"].to_numpy(bool),
        }
    )


def _test_segments(
    examples: Examples, split: Split, fitted: Fitted, config: Config
) -> pd.DataFrame:
    columns = [*segment_columns(examples, split.is_fit, config)]
    shifted_by = fitted.calibration.segment_by
    if shifted_by is not None and shifted_by not in columns:
        columns.append(shifted_by)
    return examples.snapshots.loc[split.is_test, columns].reset_index(drop=True)


def _win_shares(opportunity: np.ndarray) -> np.ndarray:
    """Return which part of its win each won row stands for; rows not won stand for none."""
    codes, opportunities = pd.factorize(opportunity)
    rows = np.bincount(codes, minlength=len(opportunities))[codes]
    return np.where(opportunity == "", 0.0, 1.0 / rows)


def _baselines(examples: Examples, split: Split, fitted: Fitted) -> dict[str, np.ndarray]:
    fit, test = (
        Rows(
            fitted.encoder.transform(examples.snapshots[rows]),
            examples.won[rows],
            examples.weight[rows],
        )
        for rows in (split.is_fit, split.is_test)
    )
    newest_fold = fitted.cross_fit.folds[-1]
    return baseline_probabilities(fit, test, examples.catalogue.names, newest_fold)


def _replayed(replay: Replay, cutoff: Cutoff, config: Config) -> dict[str, Estimate]:
    if cutoff.qualifies_nobody:
        return {}
    tested, number = decided(replay, cutoff)
    return tested.figures(number, config.training.bootstraps, config.training.seed)
