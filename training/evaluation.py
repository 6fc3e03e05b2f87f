"""Evaluation: fit on the past, choose the cutoff out of fold, read the test part once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from features.config import Config, CutoffConfig
from features.errors import InputError
from features.parts.partitions import Partitions
from features.snapshots import mondays
from features.tables import Tables
from models.cutoff import Cutoff, Estimate
from training.comparison.segments import segment_columns
from training.cutoffs.cutoff import choose_cutoff
from training.examples import Examples, matured_mondays
from training.fitting.baselines import baseline_probabilities
from training.fitting.boost import Rows
from training.fitting.fit import Choices, Fitted, choose, fit_model
from training.fitting.folds import Split, split_by_account, split_by_time
from training.metrics import evaluate, resamples, row_log_loss, with_intervals
from training.replay import Replay, decided
from training.segments import category_feature
from training.steps import Steps
from training.weekly import (
    ScoredWeeks,
    score_weeks,
    scored_examples,
    won_examples,
    won_opportunities,
)

if TYPE_CHECKING:
    from models.rules import RulesScorer

WARM_UP_WEEKS = 8
PAST_WEEKS = 26
"""The cutoff is chosen on this many of the newest fit weeks."""
LEAST_RECENT_WEEKS = 4
"""Fewer weeks between fit and test tell less about volume than the older ones."""
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
) -> Evaluation:
    """Return the evaluation of the recipe on `examples`; `tables` is None for a flat export.

    With `rules` both see the same leads in the same weeks, for `training.comparison.comparison`.
    """
    training = config.training
    with steps("search"):
        choices = choose(examples, split.is_fit, config)
    with steps("fit"):
        fitted = fit_model(examples, split.is_fit, choices, config)
    with steps("cutoff"):
        past_weeks = _past_weeks(examples, tables, config, split, fitted, rules)
        past = past_weeks.replay()
        recent = _recent_weeks(examples, tables, config, split, fitted, past_weeks.wins)
        cutoff = choose_cutoff(
            past,
            _cutoff_policy(examples, config),
            training.bootstraps,
            training.seed,
            rules=None if rules is None else (past_weeks.rules_replay(), rules.threshold),
            recent=None if recent is None else recent.replay(),
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
        test_weeks = _test_weeks(examples, tables, config, split, fitted, rules)
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


def _cutoff_policy(examples: Examples, config: Config) -> CutoffConfig:
    """Return the cutoff's settings, its segments named as in the snapshots."""
    name = config.cutoff.segment_by
    if name is None:
        return config.cutoff
    column = category_feature(examples.catalogue, name, "[cutoff] segment_by")
    return config.cutoff.model_copy(update={"segment_by": column})


def _segments(examples: Examples, split: Split, config: Config) -> tuple[str, ...]:
    """Return the category columns the scored weeks carry: the comparison's, and the cutoff's."""
    of_cutoff = _cutoff_policy(examples, config).segment_by
    compared = segment_columns(examples, split.is_fit, config)
    return compared if of_cutoff is None else tuple(dict.fromkeys((*compared, of_cutoff)))


def _replayed(replay: Replay, cutoff: Cutoff, config: Config) -> dict[str, Estimate]:
    if cutoff.qualifies_nobody:
        return {}
    tested, number = decided(replay, cutoff)
    return tested.figures(number, config.training.bootstraps, config.training.seed)


def _past_weeks(
    examples: Examples,
    tables: Tables | Partitions | None,
    config: Config,
    split: Split,
    fitted: Fitted,
    rules: RulesScorer | None,
) -> ScoredWeeks:
    """Return the newest fit weeks, each scored by the booster that left it out."""
    wins = won_examples(examples) if tables is None else won_opportunities(tables, config)
    segments = _segments(examples, split, config)
    if tables is None or not examples.is_weekly:
        probability = fitted.out_of_fold_probability(
            examples.snapshots[split.is_fit], examples.account[split.is_fit]
        )
        scored = scored_examples(examples, split.is_fit, probability, rules, segments)
        return _looked_at_once(examples, scored, wins, segments)
    newest = pd.Timestamp(examples.as_of[split.is_fit].max())
    instants = matured_mondays(tables, config.training.horizon_days)
    instants = instants[instants <= np.datetime64(newest, "us")][-(PAST_WEEKS + WARM_UP_WEEKS) :]
    probability_of = fitted.out_of_fold_probability
    scored = score_weeks(
        tables, config, examples.catalogue, instants, probability_of, rules, segments
    )
    # The newest weeks look most like the ones to come, and older ones warm the replay up: leads
    # that linger above the cutoff would otherwise pass for new MQLs, or hide them.
    start = instants[-PAST_WEEKS:][0]
    is_cold = not start > instants[0]
    return ScoredWeeks(
        scored, wins, pd.Timestamp(start), newest + WEEK, is_cold, examples.is_dated, segments
    )


def _recent_weeks(
    examples: Examples,
    tables: Tables | Partitions | None,
    config: Config,
    split: Split,
    fitted: Fitted,
    wins: pd.DataFrame,
) -> ScoredWeeks | None:
    """Return the weeks of the gap, scored as the test will be; None where there are too few.

    When the test starts nobody knows how they end, but volume needs no outcome: they tell how many
    MQLs the model will bring better than older weeks scored by boosters that saw less.
    """
    if tables is None or not examples.is_weekly or split.test_from is None:
        return None
    newest = pd.Timestamp(examples.as_of[split.is_fit].max())
    instants = mondays(newest - (WARM_UP_WEEKS - 1) * WEEK, split.test_from - WEEK / 7)
    start = pd.Timestamp(mondays(newest + WEEK, newest + 2 * WEEK)[0])
    until = start + len(instants[instants >= start.to_datetime64()]) * WEEK
    if until < start + LEAST_RECENT_WEEKS * WEEK:
        return None

    def probability_of(snapshots: pd.DataFrame, _: np.ndarray) -> np.ndarray:
        return fitted.probability(snapshots)

    segments = _segments(examples, split, config)
    scored = score_weeks(
        tables, config, examples.catalogue, instants, probability_of, None, segments
    )
    return ScoredWeeks(scored, wins[:0], start, until, False, examples.is_dated, segments)


def _test_weeks(
    examples: Examples,
    tables: Tables | Partitions | None,
    config: Config,
    split: Split,
    fitted: Fitted,
    rules: RulesScorer | None,
) -> ScoredWeeks:
    """Return the test weeks, and those of the gap before them to warm the replay up."""
    wins = won_examples(examples) if tables is None else won_opportunities(tables, config)
    segments = _segments(examples, split, config)
    if tables is None or not examples.is_weekly or split.test_from is None:
        probability = fitted.probability(examples.snapshots[split.is_test])
        scored = scored_examples(examples, split.is_test, probability, rules, segments)
        return _looked_at_once(examples, scored, wins, segments)
    warm_up = min(WARM_UP_WEEKS, config.gap_days // 7)
    newest = pd.Timestamp(examples.as_of[split.is_test].max())
    instants = mondays(split.test_from - warm_up * WEEK, newest)

    def probability_of(snapshots: pd.DataFrame, _: np.ndarray) -> np.ndarray:
        return fitted.probability(snapshots)

    scored = score_weeks(
        tables, config, examples.catalogue, instants, probability_of, rules, segments
    )
    start = pd.Timestamp(mondays(split.test_from, newest)[0])
    return ScoredWeeks(
        scored, wins, start, newest + WEEK, warm_up == 0, examples.is_dated, segments
    )


def _looked_at_once(
    examples: Examples, scored: pd.DataFrame, wins: pd.DataFrame, segments: tuple[str, ...]
) -> ScoredWeeks:
    """Return rows in which each lead is looked at once, so that there is no backlog."""
    start, newest = scored["as_of"].min(), scored["as_of"].max()
    own = wins[wins["lead_id"].isin(scored["lead_id"])]
    return ScoredWeeks(scored, own, start, newest + WEEK, False, examples.is_dated, segments)
