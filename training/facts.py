"""What a reader of a model should know: rows, window, figures, warnings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from features.config import Config
from models.cutoff import Estimate
from training.audit.audit import Audit
from training.evaluation import Evaluation
from training.examples import Examples
from training.fitting.fit import Fitted


def training_facts(
    examples: Examples,
    evaluation: Evaluation,
    audit: Audit,
    shipped: Fitted,
    config: Config,
    data_until: pd.Timestamp | None = None,
) -> dict[str, Any]:
    """Return what a reader of the bundle should know, as JSON.

    Outcomes are known until `data_until`, None where nobody said.
    """
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
        "data_until": day(None if data_until is None else data_until.to_datetime64()),
        "test": {
            "from": day(None if split.test_from is None else split.test_from.to_datetime64()),
            "until": day(None if split.test_until is None else split.test_until.to_datetime64()),
        },
        "gap_days": config.gap_days,
        "horizon_days": config.training.horizon_days,
        "is_flat": config.flat is not None,
        "is_optimistic": is_optimistic(examples, config),
        "metrics": plain_estimates(evaluation.metrics),
        "skill": asdict(evaluation.skill),
        "parameters": evaluation.choices.parameters,
        "trees": shipped.cross_fit.trees,
        "half_life_days": evaluation.choices.half_life_days,
        "calibration_half_life_days": shipped.calibration_half_life_days,
        "replay": plain_estimates(evaluation.replayed),
        "outcome": outcome(examples, config),
        "calibrated_by": shipped.calibration.segment_by,
        "calibration_shifts": sum(shift != 0 for shift in shipped.calibration.shifts.values()),
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
    promised = evaluation.cutoff.forecast or evaluation.cutoff.evidence.get("mqls_per_week")
    found = evaluation.replayed.get("mqls_per_week")
    if promised and found and not _overlap(promised, found):
        warnings.append(
            f"The cutoff was to bring {promised.value:.0f} MQLs a week ({promised.low:.0f} to "
            f"{promised.high:.0f}) and brought {found.value:.0f} on the test weeks: more changed "
            "than the weeks before could tell. Set it anew when the volume does not suit sales."
        )
    for name, told in (("precision", "of the MQLs closed"), ("capture", "of the wins were found")):
        promised, found = evaluation.cutoff.evidence.get(name), evaluation.replayed.get(name)
        if promised and found and not _overlap(promised, found):
            warnings.append(
                f"{found.value:.0%} {told} on the test part; on the past that chose the cutoff it "
                f"was {promised.value:.0%} ({promised.low:.0%} to {promised.high:.0%})."
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


def plain_estimates(
    estimates: Mapping[str, Estimate],
) -> dict[str, dict[str, float | None]]:
    """Return estimates as JSON: value, low and high by name."""
    return {name: asdict(estimate) for name, estimate in estimates.items()}
