"""Some swapped leads with the reasons of both sides, as they stood when they were flagged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from features.catalogue.catalogue import INDEX_COLUMNS
from features.parts.partitions import Partitions
from features.snapshots import Past
from features.tables import Tables
from models.forest import Forest
from models.reasons import CALIBRATION, reasons
from models.rules import RulesScorer
from models.scorer import Scorer
from models.wording import points_text
from training.comparison.swaps import MODEL, RULES, Swaps
from training.evaluation import Evaluation
from training.examples import Examples

EACH_WAY = 4
REASONS = 3


@dataclass(frozen=True)
class Example:
    """A lead that only one of them flags, with both sides' reasons; named by its id alone."""

    lead_id: str
    by: str
    "`model` or `rules`: who flags it."
    day: str
    probability: float
    points: float
    "-inf: the rules rule it out."
    won: bool
    worked: bool | None
    model_reasons: Sequence[str]
    "Strongest first."
    rules_reasons: Sequence[str]


def swap_examples(
    swaps: Swaps,
    evaluation: Evaluation,
    examples: Examples,
    tables: Tables | Partitions | None,
    rules: RulesScorer,
    horizon_days: int,
) -> list[Example]:
    """Return the swapped leads that stand highest with the one that flags them, four each way.

    The reasons are those of the evaluated model, which decided, not of the shipped one. Leads the
    other one had flagged before are left out.
    """
    told = swaps.leads[~swaps.leads["is_known"]]
    chosen = pd.concat([told[told["by"] == who].head(EACH_WAY) for who in (MODEL, RULES)])
    if chosen.empty:
        return []
    snapshots = _snapshots(chosen, examples, tables)
    scorer = evaluated_scorer(evaluation, examples, horizon_days)
    by_model = reasons(scorer, snapshots)
    by_model = by_model[by_model["family"] != CALIBRATION]
    by_rules = rules.reasons(snapshots)
    return [
        Example(
            lead_id=lead["lead_id"],
            by=lead["by"],
            day=str(lead["as_of"].date()) if examples.is_dated else "",
            probability=lead["probability"],
            points=lead["points"],
            won=bool(lead["won"]),
            worked=None if np.isnan(lead["worked"]) else bool(lead["worked"]),
            model_reasons=[
                f"{row['text']} ({points_text(row['points'])})"
                for row in _top(by_model, lead["lead_id"])
            ],
            rules_reasons=[row["text"] for row in _top(by_rules, lead["lead_id"])],
        )
        for lead in chosen.to_dict("records")
    ]


def evaluated_scorer(evaluation: Evaluation, examples: Examples, horizon_days: int) -> Scorer:
    """Return the evaluation's model as a scorer; it never saw the test rows."""
    fitted, is_fit = evaluation.fitted, evaluation.split.is_fit
    forest = Forest.of_text(fitted.booster.model_to_string())
    return Scorer(
        forest=forest,
        encoder=fitted.encoder,
        catalogue=examples.catalogue,
        calibration=fitted.calibration,
        cutoff=evaluation.cutoff,
        base_rate=float(np.average(examples.won[is_fit], weights=examples.weight[is_fit])),
        horizon_days=horizon_days,
        base_raw_score=forest.base_raw_score,
    )


def _top(told: pd.DataFrame, lead_id: str) -> list[dict[str, Any]]:
    mine = told[told["lead_id"] == lead_id].sort_values("rank").head(REASONS)
    return [{"text": row["text"], "points": row["points"]} for row in mine.to_dict("records")]


def _snapshots(
    chosen: pd.DataFrame, examples: Examples, tables: Tables | Partitions | None
) -> pd.DataFrame:
    if tables is None:
        rows = examples.snapshots["lead_id"].isin(chosen["lead_id"])
        return examples.snapshots[rows].drop_duplicates("lead_id", keep="last")
    parts = []
    for part in Partitions.of(tables):
        mine = chosen[chosen["lead_id"].isin(part.tables.leads["lead_id"].unique())]
        if len(mine):
            no_account = pd.array([None] * len(mine), dtype="str")
            index = mine.assign(account_id=no_account, is_eligible=True)
            index = index[list(INDEX_COLUMNS)].reset_index(drop=True)
            parts.append(Past.of(part.tables, examples.catalogue).snapshots(index))
    return pd.concat(parts, ignore_index=True)
