"""Which leads below the cutoff are handed over all the same: drawn by chance alone.

The draw is a keyed hash of the account, so it depends on nothing that is known of a lead, it is the
same in the API, in a batch and when training asks who was not drawn, and colleagues share it: what
sales does for one of them reaches the others too.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.life_config import ExplorationConfig

REASON_CODE = "exploration"
"What marks the handover in `stage_changes`: stage `mql` with this `reason_code`."


def is_drawn(exploration: ExplorationConfig, lead_id: str, account_id: str | None) -> bool:
    """Return whether the exploration hands a lead over when it is below the cutoff.

    The account decides, the lead where it has none; `salt` is the key of the hash.

    >>> half = ExplorationConfig(share=0.2)
    >>> is_drawn(half, "L-1", "A-1") == is_drawn(half, "L-2", "A-1")
    True
    >>> is_drawn(ExplorationConfig(share=0), "L-1", None)
    False
    """
    return _draw(exploration, lead_id, account_id) < exploration.share


def are_drawn(
    exploration: ExplorationConfig, lead_ids: pd.Series, account_ids: pd.Series
) -> npt.NDArray[np.bool_]:
    """Return `is_drawn` of each row; a missing account is none."""
    accounts: Iterable[str | None] = account_ids.astype(object).where(account_ids.notna(), None)
    rows = zip(lead_ids.tolist(), accounts, strict=True)
    return np.array([is_drawn(exploration, *row) for row in rows], dtype=np.bool_)


def _draw(exploration: ExplorationConfig, lead_id: str, account_id: str | None) -> float:
    """Return a number in [0, 1)."""
    # An account and a lead of one name are two draws.
    unit = f"lead {lead_id}" if account_id is None else f"account {account_id}"
    hashed = blake2b(unit.encode(), digest_size=8, key=exploration.salt.encode()).digest()
    return float((int.from_bytes(hashed) >> 11) * 2.0**-53)
