"""What boosters are told of leads that sales never worked, or accepted in vain."""

from __future__ import annotations

import numpy as np

from features.life_config import VerdictConfig
from training.examples import Examples
from training.fitting.boost import Taught


def lessons(examples: Examples, rows: np.ndarray, verdicts: VerdictConfig) -> Taught | None:
    """Return what the boosters are told of `rows` (a mask) by the verdicts; None: how they ended.

    Which rows are told how, by `use`:

    - won rows: as they ended, always.
    - `weight`, lost, never worked within the horizon: lost, with `unworked_weight` of its weight.
      That nobody bought says less where nobody sold.
    - `auxiliary`, lost, accepted within the horizon: won with `accepted_as` of its weight and lost
      with the rest. Sales saw something in it.
    - all other lost rows: as they ended.

    Calibration and evaluation never look here, so probabilities stay those of closing.
    """
    if verdicts.use == "report" or examples.worked is None or examples.accepted is None:
        return None
    is_lost = examples.won[rows] == 0
    if verdicts.use == "weight":
        told = np.flatnonzero(is_lost & ~examples.worked[rows])
        won = np.zeros(len(told))
        share = np.full(len(told), verdicts.unworked_weight)
    else:
        accepted = np.flatnonzero(is_lost & examples.accepted[rows])
        told = np.repeat(accepted, 2)
        won = np.tile([0.0, 1.0], len(accepted))
        share = np.tile([1 - verdicts.accepted_as, verdicts.accepted_as], len(accepted))
        told, won, share = told[share > 0], won[share > 0], share[share > 0]
    return Taught(told, won, share) if len(told) else None
