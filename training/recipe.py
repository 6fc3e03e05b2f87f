"""`closedwon train`: the whole recipe, as the list of its steps."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from features.config import Config
from features.loading.flat import FlatExport, load_flat
from features.loading.load_report import LoadReport
from features.parts.partitions import Partitions, load_partitions
from features.quality.quality import Quality, quality_of, quality_of_flat
from features.tables import Tables
from models.bundle import check_bundle, write_bundle
from models.forest import Forest
from models.golden import synthesise_rows
from models.rules_table import RulesTable
from models.scorer import Scorer
from training.audit.audit import Audit, audit_examples, without_blocked
from training.comparison.against_rules import AgainstRules, compare_with_rules, fit_rules
from training.comparison.record import COMPARISON_FILE
from training.comparison.store import EVALUATION, StoredWeeks, write_weeks
from training.drift import drift_of
from training.evaluation import Evaluation, evaluate_recipe, split_examples
from training.examples import Examples, examples_from_flat, examples_from_tables
from training.facts import is_skilled, plain_estimates, training_facts
from training.fitting.fit import fit_model
from training.funnel.overview import FunnelOverview, funnel_overview
from training.report.report import write_report
from training.steps import Steps
from training.tracking import Registered, log_training

REPORT = Path(".closedwon") / "report.html"
REJECTS = Path(".closedwon") / "rejects"
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
class Loaded:
    """What the sources gave: tables, or a flat export."""

    partitions: Partitions | None
    "The tables, in parts that fit in memory; None for a flat export."
    export: FlatExport | None
    report: LoadReport
    digests: Mapping[str, str]


@dataclass(frozen=True)
class Training:
    """A finished training."""

    evaluation: Evaluation
    against: AgainstRules | None
    "None without rules."
    funnel: FunnelOverview
    audit: Audit
    scorer: Scorer
    registered: Registered
    facts: dict[str, Any]
    report: Path
    seconds: dict[str, float]
    rejects: list[Path]
    "Files with the rows that were set aside."

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
            "audit": self.audit.as_dict(),
            **{name: self.facts[name] for name in ("rows", "wins", "is_optimistic", "warnings")},
            "rejects": [str(path) for path in self.rejects],
            "seconds": self.seconds,
        }


def train(
    config: Config, folder: Path, root: Path, steps: Steps, rules: RulesTable | None = None
) -> Training:
    """Return a trained, evaluated, logged and registered model, compared with `rules` if given.

    Relative files of `config` lie in `folder`; `.closedwon/` is made in `root`. Nothing is
    registered unless every step before came through.
    """
    rejects = root / REJECTS
    with steps("load"):
        loaded = load(config, folder, root / REPORT.parent, rejects)
    with steps("snapshots"):
        everything = examples_of(loaded, config)
    with steps("audit"):
        tables = None if loaded.partitions is None else loaded.partitions.overview()
        audit = audit_examples(everything, tables, config, partitions=loaded.partitions)
        examples = without_blocked(everything, audit)
        quality = quality_of_loaded(loaded, tables, config)
    split = split_examples(examples, config)
    fitted_rules = None if rules is None else fit_rules(rules, examples, split)
    evaluation = evaluate_recipe(examples, loaded.partitions, config, split, steps, fitted_rules)
    against = None
    if rules is not None and fitted_rules is not None:
        with steps("compare"):
            against = compare_with_rules(
                rules, fitted_rules, evaluation, examples, loaded.partitions, config
            )
    with steps("funnel"):
        funnel = funnel_overview(loaded.partitions, examples, evaluation, config)
    with steps("refit"):
        scorer = refit_on_everything(examples, evaluation, audit, config)
    local = root / REPORT.parent
    local.mkdir(parents=True, exist_ok=True)
    # Aside, so that a run that ends here leaves the report of the last registered model in place.
    with tempfile.TemporaryDirectory(prefix=".train-", dir=local) as aside:
        with steps("report"):
            page = Path(aside) / REPORT.name
            write_report(evaluation, scorer, loaded.report, page, quality, audit, against, funnel,
                         drift_of(examples, split))  # fmt: skip
        with steps("register"):
            registered = register(examples, evaluation, scorer, loaded, config, page, root, against)
        report = page.replace(root / REPORT)
    return Training(
        evaluation,
        against,
        funnel,
        audit,
        scorer,
        registered,
        dict(scorer.facts),
        report,
        steps.seconds,
        loaded.report.rejects_files(rejects),
    )


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
    examples: Examples, evaluation: Evaluation, audit: Audit, config: Config
) -> Scorer:
    """Return the scorer to ship: the evaluated recipe, fitted again on all matured rows."""
    everything = np.ones(len(examples.won), dtype=bool)
    shipped = fit_model(examples, everything, evaluation.choices, config)
    facts = training_facts(examples, evaluation, audit, shipped, config)
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


def register(
    examples: Examples,
    evaluation: Evaluation,
    scorer: Scorer,
    loaded: Loaded,
    config: Config,
    report: Path,
    root: Path,
    against: AgainstRules | None = None,
) -> Registered:
    """Write and check the bundle, log the run, and register the model as its last act."""
    config_digest = hashlib.sha256(config.model_dump_json().encode()).hexdigest()
    facts = {
        "data": dict(loaded.digests),
        "config": config_digest,
        "seed": config.training.seed,
        "window": scorer.facts["window"],
    }
    metrics = {f"test_{name}": found for name, found in evaluation.metrics.items()}
    metrics |= {f"replay_{name}": found for name, found in evaluation.replayed.items()}
    metrics["test_skill"] = evaluation.skill
    (root / ".closedwon").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bundle-", dir=root / ".closedwon") as aside:
        bundle = Path(aside) / "bundle"
        golden = synthesise_rows(examples.snapshots, scorer.encoder, seed=config.training.seed)
        further = {}
        if against is not None:
            further = {"rules.json": against.rules.to_dict(), COMPARISON_FILE: against.record}
        write_bundle(scorer, golden, facts, bundle, further)
        check_bundle(bundle)
        weeks = Path(aside) / EVALUATION
        scored = StoredWeeks(evaluation.past_weeks, evaluation.test_weeks, evaluation.cutoff)
        write_weeks(scored, weeks)
        return log_training(
            config.tracking,
            root,
            run_name="train",
            params=_params(config, evaluation, scorer),
            metrics=metrics,
            digests={**loaded.digests, "config": config_digest},
            artifacts=[report, weeks],
            bundle=bundle,
            may_be_champion=is_skilled(evaluation),
        )


def _params(config: Config, evaluation: Evaluation, scorer: Scorer) -> dict[str, Any]:
    chosen = {
        **evaluation.choices.parameters,
        "trees": scorer.facts["trees"],
        "half_life_days": scorer.facts["half_life_days"],
        "calibration_half_life_days": scorer.facts["calibration_half_life_days"],
        "cutoff": evaluation.cutoff.value,
    }
    settings = config.model_dump(mode="json", exclude={"databases", "tables", "flat"})
    flat = {
        f"{section}.{name}": json.dumps(value) if isinstance(value, list) else value
        for section, values in settings.items()
        for name, value in values.items()
    }
    return {**flat, **chosen}
