"""Which leads belong together: whole account components, the unit of folds and of resampling."""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.facts.histories import Int64s
from features.facts.identity import People


def account_components(people: People) -> pd.Series:
    """Return a component number per lead id: leads linked by any account they ever had, or merged.

    A lead without an account or a merge is a component of its own.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n_leads, n_accounts = len(people.lead_ids), len(people.account_ids)
    owners = np.repeat(np.arange(n_leads), np.diff(people.accounts.starts))
    account_of = people.accounts.values  # noqa: PD011  no frame
    left: Int64s = np.concatenate([owners[account_of >= 0], people.merges.gone])
    right: Int64s = np.concatenate([account_of[account_of >= 0] + n_leads, people.merges.survivor])
    size = n_leads + n_accounts
    links = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(size, size))
    _, component = connected_components(links, directed=False)
    return pd.Series(component[:n_leads], index=pd.Index(people.lead_ids), name="component")
