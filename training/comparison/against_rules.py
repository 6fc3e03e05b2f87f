"""The model beside marketing's points rules, as one training finds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from features.config import Config
from features.parts.partitions import Partitions
from models.rules import RulesScorer
from models.rules_table import RulesTable
from training.comparison.comparison import Comparison, compare_weeks
from training.comparison.examples import Example, swap_examples
from training.comparison.record import comparison_record, rules_digest
from training.evaluation import Evaluation
from training.examples import Examples
from training.fitting.folds import Split


@dataclass(frozen=True)
class AgainstRules:
    """What a training found out about the rules."""

    rules: RulesScorer
    comparison: Comparison
    examples: Sequence[Example]
    "Some leads that only one of them flags, with both sides' reasons."
    record: dict[str, Any]
    "The comparison as JSON, for the bundle."


def fit_rules(table: RulesTable, examples: Examples, split: Split) -> RulesScorer:
    """Return the rules with the win rates of their points, learnt from the fit rows.

    InputError where a rule reads a column that is no feature, or one the audit left out.
    """
    rules = RulesScorer.of(table, examples.catalogue)
    fit = split.is_fit
    points = rules.points(examples.snapshots[fit])
    return rules.with_win_rates(points, examples.won[fit], examples.weight[fit])


def compare_with_rules(
    table: RulesTable,
    rules: RulesScorer,
    evaluation: Evaluation,
    examples: Examples,
    tables: Partitions | None,
    config: Config,
) -> AgainstRules:
    """Return model and rules, decided on the same leads of the same test weeks.

    What may be a slip in the rules is looked for in the fit rows.
    """
    comparison = compare_weeks(
        evaluation.past_weeks, evaluation.test_weeks, evaluation.cutoff, rules.threshold, config
    )
    notes = rules.notes(examples.snapshots[evaluation.split.is_fit])
    comparison = replace(comparison, notes=notes)
    swapped: Sequence[Example] = ()
    if comparison.swaps is not None:
        horizon = config.training.horizon_days
        swapped = swap_examples(comparison.swaps, evaluation, examples, tables, rules, horizon)
    record = comparison_record(comparison, rules_digest(table))
    return AgainstRules(rules, comparison, swapped, record)
