"""`closedwon train`: the whole recipe, as the list of its steps."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from features.config import Config
from features.loading.flat import load_flat
from features.parts.partitions import load_partitions
from features.quality.quality import Quality, quality_of, quality_of_flat
from features.tables import Tables
from models.forest import Forest
from models.registry import RETRAIN_KEY_TAG
from models.rules_table import RulesTable
from models.scorer import Scorer
from training.audit.audit import Audit, audit_examples, without_blocked
from training.candidate import Candidate as Candidate
from training.candidate import Loaded as Loaded
from training.candidate import Prepared as Prepared
from training.candidate import write_candidate as write_candidate
from training.comparison.against_rules import AgainstRules, compare_with_rules, fit_rules
from training.evaluation import Evaluation, evaluate_recipe, split_examples
from training.examples import Examples, examples_from_flat, examples_from_tables
from training.facts import is_skilled, plain_estimates, training_facts
from training.fitting.fit import Choices, fit_model
from training.funnel.overview import FunnelOverview, funnel_overview
from training.promotion import ChampionUnreadable, champion_in_use
from training.registration import LOCAL, register
from training.retrain.earlier import data_key, retrain_key
from training.steps import Steps
from training.tracking import Registered
from training.verdicts.verdicts import sales_verdicts

if TYPE_CHECKING:
    from models.rules import RulesScorer
    from training.gate.gate import ChampionInUse, Verdict

REJECTS = LOCAL / "rejects"
HEADLINES = (
    "log_loss",
    "brier",
    "auc",
    "average_precision",
    "calibration_error",
    "lift_10",
    "capture_10",
)


@dataclass(frozen=True)
class Training:
    """A finished training."""

    candidate: Candidate
    audit: Audit
    verdict: Verdict | None
    "The gate's; None without a champion to challenge."
    registered: Registered
    report: Path
    seconds: dict[str, float]
    rejects: list[Path]
    "Files with the rows that were set aside."
    notes: tuple[str, ...] = ()
    "What a person should know of its place in the registry."

    @property
    def evaluation(self) -> Evaluation:
        """The evidence of the shipped model."""
        return self.candidate.evaluation

    @property
    def against(self) -> AgainstRules | None:
        """The model beside the rules; None without rules."""
        return self.candidate.against

    @property
    def funnel(self) -> FunnelOverview:
        """Where the wins come from."""
        return self.candidate.funnel

    @property
    def scorer(self) -> Scorer:
        """The shipped model."""
        return self.candidate.scorer

    @property
    def facts(self) -> dict[str, Any]:
        """What a reader of the model should know."""
        return dict(self.scorer.facts)

    @property
    def beats_base_rate(self) -> bool:
        """Whether the skill over the base rate is above zero at the lower end of its interval."""
        return is_skilled(self.evaluation)

    def as_dict(self) -> dict[str, Any]:
        """Return what `closedwon train --json` prints."""
        cutoff = self.scorer.cutoff
        return {
            "model_version": self.registered.model_version,
            "alias": self.registered.alias,
            "run_id": self.registered.run_id,
            "metrics": {name: asdict(self.evaluation.metrics[name]) for name in HEADLINES},
            "skill": asdict(self.evaluation.skill),
            "cutoff": {
                "policy": cutoff.policy,
                "parameter": cutoff.parameter,
                "value": cutoff.value,
                "reason": cutoff.reason,
                "evidence": plain_estimates(cutoff.evidence),
                "forecast": None if cutoff.forecast is None else asdict(cutoff.forecast),
                "assumption": cutoff.assumption,
                "segment_by": cutoff.segment_by,
                "segments": cutoff.segments,
            },
            "replay": plain_estimates(self.evaluation.replayed),
            "comparison": None if self.against is None else self.against.record,
            "funnel": self.funnel.as_dict(),
            "verdicts": None
            if self.candidate.verdicts is None
            else self.candidate.verdicts.as_dict(),
            "audit": self.audit.as_dict(),
            **{name: self.facts[name] for name in ("rows", "wins", "is_optimistic", "warnings")},
            "gate": None if self.verdict is None else self.verdict.as_dict(),
            "notes": list(self.notes),
            "rejects": [str(path) for path in self.rejects],
            "seconds": self.seconds,
        }


def train(
    config: Config, folder: Path, root: Path, steps: Steps, rules: RulesTable | None = None
) -> Training:
    """Return a trained, evaluated, logged and registered model, compared with `rules` if given.

    Relative files of `config` lie in `folder`; `.closedwon/` is made in `root`. Nothing is
    registered unless every step before came through. Where there is a champion, the gate tells
    whether the new model may take its place; one that cannot be read leaves it unjudged, with a
    note.
    """
    champion, unread = _champion(config, root)
    prepared = prepare(config, folder, root, steps)
    candidate = train_candidate(prepared, steps, rules)
    verdict = judged(champion, candidate, prepared, steps)
    # As of a retraining without a champion: the next one knows that there is nothing new since.
    key = retrain_key(data_key(prepared.loaded, config, rules), None)
    tags = {RETRAIN_KEY_TAG: key}
    registered, report = register(candidate, prepared, root, steps, verdict, tags)
    return Training(
        candidate,
        prepared.audit,
        verdict,
        registered,
        report,
        steps.seconds,
        prepared.loaded.report.rejects_files(root / REJECTS),
        tuple(note for note in (unread, registered.told) if note is not None),
    )


def _champion(config: Config, root: Path) -> tuple[ChampionInUse | None, str | None]:
    """Return the champion to challenge, and what is to be said where it cannot be read.

    It is asked for before the work of minutes. A damaged one must not be in the way of its
    successor.
    """
    try:
        return champion_in_use(config, root), None
    except ChampionUnreadable as error:
        return None, f"The gate has not judged this model. {error}"


def prepare(config: Config, folder: Path, root: Path, steps: Steps) -> Prepared:
    """Return everything that is known before a fit: checked, audited, labelled, split."""
    with steps("load"):
        loaded = load(config, folder, root / LOCAL, root / REJECTS)
    return prepare_loaded(loaded, config, steps)


def prepare_loaded(loaded: Loaded, config: Config, steps: Steps) -> Prepared:
    """Return the rest of what is known before a fit, once the sources are loaded."""
    with steps("snapshots"):
        everything = examples_of(loaded, config)
    with steps("audit"):
        tables = None if loaded.partitions is None else loaded.partitions.overview()
        audit = audit_examples(everything, tables, config, partitions=loaded.partitions)
        examples = without_blocked(everything, audit)
        quality = quality_of_loaded(loaded, tables, config)
    split = split_examples(examples, config)
    return Prepared(config, loaded, tables, audit, quality, examples, split)


def train_candidate(
    prepared: Prepared, steps: Steps, rules: RulesTable | None, choices: Choices | None = None
) -> Candidate:
    """Return a new model with its evidence: evaluated on the newest part, refitted on all rows.

    `choices` are taken as they are; without them the folds of the fit part choose.
    """
    examples, split = prepared.examples, prepared.split
    config, partitions = prepared.config, prepared.loaded.partitions
    fitted_rules = None if rules is None else fit_rules(rules, examples, split)
    evaluation = evaluate_recipe(examples, partitions, config, split, steps, fitted_rules, choices)
    against, funnel = compared(prepared, evaluation, steps, rules, fitted_rules)
    with steps("refit"):
        scorer = refit_on_everything(
            examples, evaluation, prepared.audit, config, prepared.loaded.data_until
        )
    with steps("verdicts"):
        verdicts = sales_verdicts(partitions, examples, evaluation, config)
    return Candidate("trained", evaluation, against, funnel, scorer, verdicts)


def compared(
    prepared: Prepared,
    evaluation: Evaluation,
    steps: Steps,
    rules: RulesTable | None,
    fitted_rules: RulesScorer | None,
) -> tuple[AgainstRules | None, FunnelOverview]:
    """Return the evaluated model beside the rules, if there are any, and what it finds where."""
    examples, config = prepared.examples, prepared.config
    partitions = prepared.loaded.partitions
    against = None
    if rules is not None and fitted_rules is not None:
        with steps("compare"):
            against = compare_with_rules(
                rules, fitted_rules, evaluation, examples, partitions, config
            )
    with steps("funnel"):
        return against, funnel_overview(partitions, examples, evaluation, config)


def judged(
    champion: ChampionInUse | None, candidate: Candidate, prepared: Prepared, steps: Steps
) -> Verdict | None:
    """Return the gate's verdict on a challenger; None where there is no champion to challenge."""
    if champion is None:
        return None
    from training.gate.gate import judge

    with steps("gate"):
        return judge(champion, candidate, prepared, steps)


def load(config: Config, folder: Path, local: Path, rejects_folder: Path | None = None) -> Loaded:
    """Return the checked tables, or the flat export; tables too large for memory go to `local`."""
    if config.flat is not None:
        export = load_flat(config, folder, rejects_folder=rejects_folder)
        return Loaded(None, export, export.report, {"flat": export.digest})
    loaded = load_partitions(config, folder, local, rejects_folder=rejects_folder)
    return Loaded(loaded.partitions, None, loaded.report, loaded.digests)


def examples_of(loaded: Loaded, config: Config) -> Examples:
    """Return the labelled snapshots to learn from."""
    if loaded.export is not None:
        return examples_from_flat(loaded.export, config)
    assert loaded.partitions is not None
    return examples_from_tables(loaded.partitions, config)


def quality_of_loaded(loaded: Loaded, tables: Tables | None, config: Config) -> Quality:
    """Return what is odd about the data, for the report."""
    if loaded.export is not None:
        return quality_of_flat(loaded.export, config)
    assert tables is not None
    return quality_of(tables, config, loaded.report)


def refit_on_everything(
    examples: Examples,
    evaluation: Evaluation,
    audit: Audit,
    config: Config,
    data_until: pd.Timestamp | None = None,
) -> Scorer:
    """Return the scorer to ship: the evaluated recipe, fitted again on all matured rows."""
    everything = np.ones(len(examples.won), dtype=bool)
    shipped = fit_model(examples, everything, evaluation.choices, config)
    facts = training_facts(examples, evaluation, audit, shipped, config, data_until)
    forest = Forest.of_text(shipped.booster.model_to_string())
    return Scorer(
        forest=forest,
        encoder=shipped.encoder,
        catalogue=examples.catalogue,
        calibration=shipped.calibration,
        cutoff=evaluation.cutoff,
        base_rate=float(np.average(examples.won, weights=examples.weight)),
        horizon_days=config.training.horizon_days,
        base_raw_score=forest.base_raw_score,
        facts=facts,
    )
