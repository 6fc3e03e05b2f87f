"""What a run knows before it fits, and what it has found: a candidate with its evidence."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from features.config import Config
from features.loading.flat import FlatExport
from features.loading.load_report import LoadReport
from features.parts.partitions import Partitions
from features.quality.quality import Quality
from features.tables import Tables
from models.bundle import canonical_json, write_bundle
from models.golden import synthesise_rows
from models.scorer import Scorer
from training.audit.audit import Audit
from training.comparison.against_rules import AgainstRules
from training.comparison.record import COMPARISON_FILE
from training.evaluation import Evaluation
from training.examples import Examples
from training.fitting.folds import Split
from training.funnel.overview import FunnelOverview
from training.verdicts.verdicts import SalesVerdicts

CONFIG_FILE = "config.json"
"In the bundle: the settings that decide what is learnt, so that it can be rebuilt."
# Where things are kept, and what becomes of a model once it is there: the same bundle either way.
# `databases` holds passwords.
NOT_LEARNT_FROM = {
    "databases",
    "tracking",
    "serving",
    "gate",
    "retrain",
    "monitor",
    "exploration",
}


@dataclass(frozen=True)
class Loaded:
    """What the sources gave: tables, or a flat export."""

    partitions: Partitions | None
    "The tables, in parts that fit in memory; None for a flat export."
    export: FlatExport | None
    report: LoadReport
    digests: Mapping[str, str]

    @property
    def data_until(self) -> pd.Timestamp | None:
        """Until when outcomes are known; None for a flat export that does not say."""
        if self.partitions is not None:
            return self.partitions.data_until
        assert self.export is not None
        return self.export.labels_known_until or self.export.data_until


@dataclass(frozen=True)
class Prepared:
    """Everything that is known before a fit."""

    config: Config
    loaded: Loaded
    tables: Tables | None
    "An overview, no more rows than fit in memory; None for a flat export."
    audit: Audit
    quality: Quality
    examples: Examples
    "Without the columns that the audit blocks."
    split: Split


@dataclass(frozen=True)
class Candidate:
    """A finished model with its evidence, not yet registered."""

    kind: Literal["trained", "recalibrated"]
    "Recalibrated: the champion's forest with a new calibration."
    evaluation: Evaluation
    against: AgainstRules | None
    "None without rules."
    funnel: FunnelOverview
    scorer: Scorer
    "What would be shipped."
    verdicts: SalesVerdicts | None = None
    "What sales said to its MQLs."


def learnt_from(config: Config) -> dict[str, Any]:
    """Return the settings that decide what is learnt, as JSON: what `config.json` holds."""
    return config.model_dump(mode="json", exclude=NOT_LEARNT_FROM)


def config_digest(config: Config) -> str:
    """Return the sha256 of what `config.json` holds."""
    return hashlib.sha256(canonical_json(learnt_from(config))).hexdigest()


def write_candidate(candidate: Candidate, prepared: Prepared, folder: Path) -> None:
    """Write the candidate's bundle to `folder`, unchecked; equal inputs give equal bytes."""
    config, scorer = prepared.config, candidate.scorer
    facts = {
        "data": dict(prepared.loaded.digests),
        "config": config_digest(config),
        "seed": config.training.seed,
        "window": scorer.facts["window"],
    }
    snapshots = prepared.examples.snapshots
    golden = synthesise_rows(snapshots, scorer.encoder, seed=config.training.seed)
    further = {CONFIG_FILE: learnt_from(config)}
    if candidate.against is not None:
        further["rules.json"] = candidate.against.rules.to_dict()
        further[COMPARISON_FILE] = candidate.against.record
    write_bundle(scorer, golden, facts, folder, further)
