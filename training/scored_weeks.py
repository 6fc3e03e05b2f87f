"""The weeks that are replayed: those that choose the cutoff, the gap's, and the test's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd

from features.config import Config, CutoffConfig
from features.parts.partitions import Partitions
from features.snapshots import at_lead_age, mondays
from features.tables import Tables
from training.comparison.segments import segment_columns
from training.examples import Examples, matured_mondays
from training.fitting.fit import Fitted
from training.fitting.folds import Split
from training.segments import replay_segment
from training.weekly import (
    ProbabilityOf,
    ScoredWeeks,
    score_index,
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
WEEK = pd.Timedelta(days=7)


class Scores(Protocol):
    """Whatever scores snapshots as it would be served."""

    def probability(self, snapshots: pd.DataFrame) -> np.ndarray:
        """Return a probability a row."""


def cutoff_policy(examples: Examples, config: Config) -> CutoffConfig:
    """Return the cutoff's settings, its segments named as in the snapshots."""
    name = config.cutoff.segment_by
    if name is None:
        return config.cutoff
    column = replay_segment(examples.catalogue, name, "[cutoff] segment_by")
    return config.cutoff.model_copy(update={"segment_by": column})


def _segments(examples: Examples, split: Split, config: Config) -> tuple[str, ...]:
    """Return the category columns the scored weeks carry: the comparison's, and the cutoff's."""
    of_cutoff = cutoff_policy(examples, config).segment_by
    compared = segment_columns(examples, split.is_fit, config)
    return compared if of_cutoff is None else tuple(dict.fromkeys((*compared, of_cutoff)))


def weeks_of_past(
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
        probability_of = fitted.out_of_fold_probability
        scored = _score_once(
            examples, tables, config, split.is_fit, probability_of, rules, segments
        )
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


def weeks_of_gap(
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

    segments = _segments(examples, split, config)
    probability_of = _as_served(fitted)
    scored = score_weeks(
        tables, config, examples.catalogue, instants, probability_of, None, segments
    )
    return ScoredWeeks(scored, wins[:0], start, until, False, examples.is_dated, segments)


def weeks_of_test(
    examples: Examples,
    tables: Tables | Partitions | None,
    config: Config,
    split: Split,
    fitted: Scores,
    rules: RulesScorer | None,
) -> ScoredWeeks:
    """Return the test weeks, and those of the gap before them to warm the replay up."""
    wins = won_examples(examples) if tables is None else won_opportunities(tables, config)
    segments = _segments(examples, split, config)

    probability_of = _as_served(fitted)
    if tables is None or not examples.is_weekly or split.test_from is None:
        scored = _score_once(
            examples, tables, config, split.is_test, probability_of, rules, segments
        )
        return _looked_at_once(examples, scored, wins, segments)
    warm_up = min(WARM_UP_WEEKS, config.gap_days // 7)
    newest = pd.Timestamp(examples.as_of[split.is_test].max())
    instants = mondays(split.test_from - warm_up * WEEK, newest)
    scored = score_weeks(
        tables, config, examples.catalogue, instants, probability_of, rules, segments
    )
    start = pd.Timestamp(mondays(split.test_from, newest)[0])
    return ScoredWeeks(
        scored, wins, start, newest + WEEK, warm_up == 0, examples.is_dated, segments
    )


def _as_served(fitted: Scores) -> ProbabilityOf:
    """Return the scores of the refit booster, whatever the account."""
    return lambda snapshots, _: fitted.probability(snapshots)


def _score_once(
    examples: Examples,
    tables: Tables | Partitions | None,
    config: Config,
    rows: np.ndarray,
    probability_of: ProbabilityOf,
    rules: RulesScorer | None,
    segments: tuple[str, ...],
) -> pd.DataFrame:
    """Return each lead of the window of `rows` once, as a replay reads it.

    Of tables all leads are scored again, also those that were thinned out of the examples: without
    them volumes would be too small and win rates too high.
    """
    if tables is None:
        probability = probability_of(examples.snapshots[rows], examples.account[rows])
        return scored_examples(examples, rows, probability, rules, segments)
    first, last = examples.as_of[rows].min(), examples.as_of[rows].max()

    def index_of(part: Tables) -> pd.DataFrame:
        index = at_lead_age(part, config.population, config.snapshots.age_days)
        return index[index["as_of"].between(first, last)].reset_index(drop=True)

    return score_index(
        tables, config, examples.catalogue, index_of, probability_of, rules, segments
    )


def _looked_at_once(
    examples: Examples, scored: pd.DataFrame, wins: pd.DataFrame, segments: tuple[str, ...]
) -> ScoredWeeks:
    """Return rows in which each lead is looked at once, so that there is no backlog.

    The deals of these leads count whenever they are opened, not only within these weeks.
    """
    start, newest = scored["as_of"].min(), scored["as_of"].max()
    until = start + ((newest - start) // WEEK + 1) * WEEK
    own = wins[wins["lead_id"].isin(scored["lead_id"])]
    own = own.assign(created_at=own["created_at"].clip(upper=until - pd.Timedelta(1, "us")))
    return ScoredWeeks(scored, own, start, until, False, examples.is_dated, segments)
