"""`closedwon backtest`: the past replayed as if the model had been retrained every month."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from features.config import Config
from models.cutoff import Cutoff
from models.rules_table import RulesTable
from training.backtest.ageing import MONTHLY, NEVER, Ageing, Cadence, ageing_of, cadences_of
from training.backtest.decisions import retrained_every
from training.backtest.intervals import Accounts
from training.backtest.month_cutoffs import choose_cutoffs
from training.backtest.month_models import MonthModel, choose_once, fit_month
from training.backtest.months import MOST_MONTHS, Months, months_of
from training.backtest.notes import notes_of
from training.backtest.outcomes import Figures, Outcome, differences, value_of
from training.backtest.replays import Replays
from training.backtest.rows import score_rows
from training.backtest.scores import MonthScores, by_month, gaps, log_loss_of, matrix
from training.recipe import prepare
from training.steps import Steps

if TYPE_CHECKING:
    from features.parts.partitions import Partitions
    from training.examples import Examples
    from training.fitting.fit import Choices

RULES = "rules"


@dataclass(frozen=True)
class Backtest:
    """What the months of the past tell about retraining."""

    months: list[dict[str, Any]]
    "month, fit_rows, fit_wins, rows, wins, trees, cutoff, and cutoff_reason, of each month."
    by_month: dict[str, list[Figures]]
    """Of every month, never and the rules: mqls_per_week, precision, capture and value_per_week
    (where money is set) of each month; log_loss of the models, and extra_log_loss of never: what
    it loses more than every month."""
    cadences: list[Cadence]
    ageing: list[Ageing]
    matrix: list[dict[str, Any]]
    "Every model in every later month."
    against_rules: dict[str, Figures]
    """Retraining every month less the rules: `as_set`, and at `equal_volume`; empty without
    rules."""
    rules_totals: Figures
    "mqls_per_week, precision, capture and value_per_week (where money is set)."
    volume: int
    "Leads a week at equal volume."
    choices: dict[str, Any]
    "Parameters of all models, and whether they were searched."
    is_weekly: bool
    horizon_days: int
    notes: tuple[str, ...]

    def cadence(self, every_months: int | None) -> Cadence:
        """Return the cadence by its months; None: never."""
        return next(one for one in self.cadences if one.every_months == every_months)

    def as_dict(self) -> dict[str, Any]:
        """Return what `closedwon backtest --json` prints."""
        from training.backtest.words import sentences

        return {
            "months": self.months,
            "by_month": {
                who: [
                    {"month": month["month"], **_plain(figures)}
                    for month, figures in zip(self.months, found, strict=True)
                ]
                for who, found in self.by_month.items()
            },
            "cadences": {one.name: one.as_dict() for one in self.cadences},
            "ageing": [one.as_dict() for one in self.ageing],
            "matrix": self.matrix,
            "against_rules": {name: _plain(found) for name, found in self.against_rules.items()},
            "rules": _plain(self.rules_totals),
            "equal_volume_per_week": self.volume,
            "choices": self.choices,
            "horizon_days": self.horizon_days,
            "sentences": sentences(self),
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """Return what `closedwon backtest` prints."""
        from training.backtest.words import summary_lines

        return summary_lines(self)


def backtest(
    config: Config,
    folder: Path,
    root: Path,
    steps: Steps,
    rules: RulesTable | None = None,
    most: int = MOST_MONTHS,
) -> Backtest:
    """Return the backtest over the newest whole months, at most `most`; nothing is registered.

    Raises InputError as `training.recipe.prepare` does, without dates, and where the history is
    too short for two months.
    """
    prepared = prepare(config, folder, root, steps)
    examples, partitions = prepared.examples, prepared.loaded.partitions
    return replay_months(examples, partitions, config, steps, rules, most)


def replay_months(
    examples: Examples,
    partitions: Partitions | None,
    config: Config,
    steps: Steps,
    rules: RulesTable | None = None,
    most: int = MOST_MONTHS,
) -> Backtest:
    """Return the backtest of audited examples; `partitions` is None for a flat export."""
    from models.rules import RulesScorer

    months = months_of(examples, config, most)
    points = None if rules is None else RulesScorer.of(rules, examples.catalogue)
    with steps("search"):
        choices = choose_once(examples, months, config)
    models = []
    for name, origin in zip(months.names, months.starts, strict=True):
        with steps(f"fit {name}"):
            models.append(fit_month(examples, origin, choices, config))
    with steps("score"):
        scored = score_rows(models, months, examples, partitions, config, points)
    with steps("cutoffs"):
        threshold = None if points is None else points.threshold
        cutoffs = choose_cutoffs(scored, models, examples, config, threshold)
    with steps("replay"):
        account = scored.rows.loc[scored.rows["month"] >= 0, "account"].to_numpy()
        account = np.concatenate([account, scored.wins["account"].to_numpy()])
        accounts = Accounts(account, config.training.bootstraps, config.training.seed)
        replays = Replays(scored, months, cutoffs, threshold, config, accounts)
        scores = by_month(scored, months)
        described = _months(examples, months, models, cutoffs, scores)
        return _told(replays, scores, described, choices, examples)


def _told(
    replays: Replays,
    scores: Sequence[MonthScores],
    described: list[dict[str, Any]],
    choices: Choices,
    examples: Examples,
) -> Backtest:
    count, config = len(replays.months), replays.config
    monthly = replays.as_set(retrained_every(count, 1, MONTHLY))
    never = replays.as_set(retrained_every(count, None, NEVER))
    outcomes = {MONTHLY: monthly, NEVER: never}
    volume = replays.volume(monthly)
    against: dict[str, Figures] = {}
    totals: Figures = {}
    if replays.threshold is not None:
        outcomes[RULES] = replays.rules_as_set()
        weeks = float(replays.weeks.sum())
        totals = outcomes[RULES].figures(weeks) | value_of(outcomes[RULES], weeks, config.cutoff)
        against = _against_rules(replays, monthly, outcomes[RULES], volume)
    is_weekly = replays.scored.is_weekly
    return Backtest(
        months=described,
        by_month=_by_month(replays, scores, outcomes),
        cadences=cadences_of(replays, scores, monthly, volume),
        ageing=ageing_of(replays, scores),
        matrix=matrix(scores, replays.months),
        against_rules=against,
        rules_totals=totals,
        volume=volume,
        choices={
            "parameters": dict(choices.parameters),
            "half_life_days": choices.half_life_days,
            "is_searched": config.training.trials > 1,
        },
        is_weekly=is_weekly,
        horizon_days=config.training.horizon_days,
        notes=notes_of(examples, config, is_weekly),
    )


def _months(
    examples: Examples,
    months: Months,
    models: Sequence[MonthModel],
    cutoffs: Sequence[Cutoff],
    scores: Sequence[MonthScores],
) -> list[dict[str, Any]]:
    return [
        {
            "month": name,
            "fit_rows": int(model.is_fit.sum()),
            "fit_wins": examples.won_leads(model.is_fit),
            "rows": len(rows.won),
            "won_rows": int((rows.won > 0).sum()),
            "trees": model.fitted.cross_fit.trees,
            "cutoff": cutoff.value,
            "cutoff_reason": cutoff.reason,
        }
        for name, model, cutoff, rows in zip(months.names, models, cutoffs, scores, strict=True)
    ]


def _by_month(
    replays: Replays, scores: Sequence[MonthScores], outcomes: dict[str, Outcome]
) -> dict[str, list[Figures]]:
    weeks, accounts, policy = replays.weeks.tolist(), replays.accounts, replays.config.cutoff
    found = {
        who: [
            outcome.figures(one, k) | value_of(outcome, one, policy, k)
            for k, one in enumerate(weeks)
        ]
        for who, outcome in outcomes.items()
    }
    for month, rows in enumerate(scores):
        for who, model in ((MONTHLY, month), (NEVER, 0)):
            loss = log_loss_of(rows, model, accounts) if len(rows.won) else None
            if loss is not None:
                found[who][month]["log_loss"] = loss
        if month and len(rows.won):
            extra = gaps(scores, [(month, 0, month)], accounts).get("log_loss")
            if extra is not None:
                found[NEVER][month]["extra_log_loss"] = extra
    return found


def _against_rules(
    replays: Replays, monthly: Outcome, rules: Outcome, volume: int
) -> dict[str, Figures]:
    weeks, policy, accounts = float(replays.weeks.sum()), replays.config.cutoff, replays.accounts
    best = replays.best(retrained_every(len(replays.months), 1, MONTHLY), volume)
    equal = differences(best, replays.rules_best(volume), accounts, weeks, policy)
    return {
        "as_set": differences(monthly, rules, accounts, weeks, policy),
        "equal_volume": equal,
    }


def _plain(figures: Figures) -> dict[str, Any]:
    return {name: asdict(found) for name, found in figures.items()}
