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
from models.cutoff import Estimate
from models.golden import synthesise_rows
from models.scorer import Scorer, expected_raw_score
from training.audit.audit import Audit, audit_examples, without_blocked
from training.evaluation import Evaluation, evaluate_recipe, split_examples
from training.examples import Examples, examples_from_flat, examples_from_tables
from training.fit import Fitted, fit_model
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
                "evidence": _plain(cutoff.evidence),
            },
            "replay": _plain(self.evaluation.replayed),
            "audit": self.audit.as_dict(),
            **{name: self.facts[name] for name in ("rows", "wins", "is_optimistic", "warnings")},
            "rejects": [str(path) for path in self.rejects],
            "seconds": self.seconds,
        }


def train(config: Config, folder: Path, root: Path, steps: Steps) -> Training:
    """Return a trained, evaluated, logged and registered model.

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
    evaluation = evaluate_recipe(examples, loaded.partitions, config, split, steps)
    with steps("refit"):
        scorer = refit_on_everything(examples, evaluation, audit, config)
    local = root / REPORT.parent
    local.mkdir(parents=True, exist_ok=True)
    # Aside, so that a run that ends here leaves the report of the last registered model in place.
    with tempfile.TemporaryDirectory(prefix=".train-", dir=local) as aside:
        with steps("report"):
            page = Path(aside) / REPORT.name
            write_report(evaluation, scorer, loaded.report, page, quality, audit)
        with steps("register"):
            registered = register(examples, evaluation, scorer, loaded, config, page, root)
        report = page.replace(root / REPORT)
    return Training(
        evaluation,
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
    return Scorer(
        booster=shipped.booster,
        encoder=shipped.encoder,
        catalogue=examples.catalogue,
        calibration=shipped.calibration,
        cutoff=evaluation.cutoff,
        base_rate=float(np.average(examples.won, weights=examples.weight)),
        horizon_days=config.training.horizon_days,
        base_raw_score=expected_raw_score(shipped.booster),
        facts=facts,
    )


def training_facts(
    examples: Examples, evaluation: Evaluation, audit: Audit, shipped: Fitted, config: Config
) -> dict[str, Any]:
    """Return what a reader of the bundle should know, as JSON."""
    split = evaluation.split

    def day(instant: Any) -> str | None:
        return None if instant is None or np.isnat(instant) else str(instant)[:10]

    as_of = examples.as_of
    return {
        "rows": {
            "fit": int(split.is_fit.sum()),
            "test": int(split.is_test.sum()),
            "all": len(examples.won),
        },
        "wins": {
            "fit": examples.won_leads(split.is_fit),
            "test": examples.won_leads(split.is_test),
            "all": examples.won_leads(np.ones(len(examples.won), dtype=bool)),
        },
        "window": {"from": day(as_of.min()), "until": day(as_of.max())},
        "test": {
            "from": day(None if split.test_from is None else split.test_from.to_datetime64()),
            "until": day(None if split.test_until is None else split.test_until.to_datetime64()),
        },
        "gap_days": config.gap_days,
        "is_flat": config.flat is not None,
        "is_optimistic": is_optimistic(examples, config),
        "metrics": _plain(evaluation.metrics),
        "skill": asdict(evaluation.skill),
        "parameters": evaluation.choices.parameters,
        "trees": shipped.cross_fit.trees,
        "half_life_days": evaluation.choices.half_life_days,
        "calibration_half_life_days": shipped.calibration_half_life_days,
        "replay": _plain(evaluation.replayed),
        "outcome": outcome(examples, config),
        "lead_age_days": config.snapshots.age_days if _is_at_age(config) else None,
        "blocked": audit.blocked(),
        "warnings": warnings_of(examples, evaluation, audit, config),
    }


def outcome(examples: Examples, config: Config) -> str:
    """Return what the probability is the chance of, in words."""
    if examples.has_horizon:
        return f"closes within {config.training.horizon_days} days"
    return "closes"


def _is_at_age(config: Config) -> bool:
    return config.flat is None and config.snapshots.at == "age"


def warnings_of(
    examples: Examples, evaluation: Evaluation, audit: Audit, config: Config
) -> list[str]:
    """Return what a reader must know before trusting the figures."""
    warnings = []
    blocked = audit.blocked()
    if blocked:
        some = f"{', '.join(blocked[:5])}{', ...' * (len(blocked) > 5)}"
        warnings.append(
            f"The leakage audit left out {some}: the evidence is in the report. A column that was "
            "known before the outcome is used again once [features] known_at_creation names it."
        )
    if is_optimistic(examples, config):
        warnings.append(
            f"The gap between fit and test, {config.gap_days} days, is shorter than the horizon: "
            "the figures are optimistic."
        )
    if examples.is_dated and not examples.is_maturity_known:
        warnings.append(
            "Nobody said until when the labels are known, so leads that may still close count as "
            "lost. Set flat.labels_known_until."
        )
    promised = evaluation.cutoff.evidence.get("mqls_per_week")
    found = evaluation.replayed.get("mqls_per_week")
    if promised and found and not _overlap(promised, found):
        warnings.append(
            f"The cutoff was chosen for {promised.value:.1f} MQLs a week and brought "
            f"{found.value:.1f} on the test weeks. The intervals tell how sure the count is, not "
            "how much the leads change from season to season."
        )
    return warnings


def _overlap(one: Estimate, other: Estimate) -> bool:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return True
    return one.low <= other.high and other.low <= one.high


def is_optimistic(examples: Examples, config: Config) -> bool:
    """Return whether fit labels may reach into the test."""
    return examples.is_dated and config.gap_days < config.training.horizon_days


def is_skilled(evaluation: Evaluation) -> bool:
    """Return whether the model beats the base rate at the lower end of its interval."""
    return evaluation.skill.low is not None and evaluation.skill.low > 0


def register(
    examples: Examples,
    evaluation: Evaluation,
    scorer: Scorer,
    loaded: Loaded,
    config: Config,
    report: Path,
    root: Path,
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
        write_bundle(scorer, golden, facts, bundle)
        check_bundle(bundle)
        return log_training(
            config.tracking,
            root,
            run_name="train",
            params=_params(config, evaluation, scorer),
            metrics=metrics,
            digests={**loaded.digests, "config": config_digest},
            artifacts=[report],
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


def _plain(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, float | None]]:
    return {name: asdict(estimate) for name, estimate in estimates.items()}
