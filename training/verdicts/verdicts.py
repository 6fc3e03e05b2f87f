"""All that training says about sales' verdicts: the overview and the exploration's effect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from features.config import Config
from features.parts.partitions import Partitions
from features.tables import Tables
from training.evaluation import Evaluation
from training.examples import Examples
from training.funnel.overview import plain
from training.verdicts.exploration import ExplorationEffect, exploration_effect
from training.verdicts.overview import VerdictOverview, verdict_overview


@dataclass(frozen=True)
class SalesVerdicts:
    """What the report's section and `train --json` show."""

    overview: VerdictOverview | None
    "None where no verdict is known."
    exploration: ExplorationEffect | None
    "None where no lead was handed over by exploration."

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values; NaN becomes None."""
        return {"overview": plain(self.overview), "exploration": plain(self.exploration)}


def sales_verdicts(
    tables: Partitions | Tables | None, examples: Examples, evaluation: Evaluation, config: Config
) -> SalesVerdicts:
    """Return what sales' verdicts tell; nothing of a flat export, which has none."""
    if tables is None:
        return SalesVerdicts(None, None)
    scored = pd.concat([evaluation.past_weeks.scored, evaluation.test_weeks.scored])
    base_rate = float(np.average(examples.won, weights=examples.weight))
    return SalesVerdicts(
        verdict_overview(tables, config, scored, evaluation.cutoff, base_rate),
        exploration_effect(
            tables,
            config,
            examples.catalogue,
            evaluation.cutoff,
            evaluation.fitted.out_of_fold_probability,
        ),
    )
