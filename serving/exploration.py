"""Which scores hand a lead over by lot: the same rule for the ledger and for a batch's file."""

from __future__ import annotations

from typing import Protocol

from features.exploration import is_drawn
from features.life_config import ExplorationConfig


class Decided(Protocol):
    """A score, or a record of one."""

    @property
    def cutoff(self) -> float | None:
        """None: nobody qualifies."""

    @property
    def qualified(self) -> bool:
        """Whether it makes an MQL."""


def is_explored(
    exploration: ExplorationConfig,
    score: Decided,
    is_eligible: bool,
    lead_id: str,
    account_id: str | None,
) -> bool:
    """Return whether an eligible lead below its cutoff is one that the exploration draws.

    Whether it was handed over before is not asked here.
    """
    if exploration.share == 0 or not is_eligible or score.qualified or score.cutoff is None:
        return False
    return is_drawn(exploration, lead_id, account_id)
