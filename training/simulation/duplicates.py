"""Hashes of the demo CRM's e-mail addresses: some people registered twice."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

DUPLICATE_SHARE = 0.005
"Of the leads: those who are a colleague's second lead, under the same address."


def add_email_hashes(tables: dict[str, pd.DataFrame], rng: np.random.Generator) -> None:
    """Add `email_hash` to the leads: one per person, whatever row of the lead's history.

    In some companies the second lead has the first one's address. Chosen without a look at what
    happened to them, so it changes no probability.
    """
    leads = tables["leads"]
    first = leads.drop_duplicates("lead_id")
    in_company = first[first["account_id"].notna()]
    place = in_company.groupby("account_id").cumcount()
    primary = in_company[place == 0].set_index("account_id")["lead_id"]
    second = in_company[place == 1]
    wanted = min(round(DUPLICATE_SHARE * len(first)), len(second))
    twice = second.iloc[np.sort(rng.choice(len(second), wanted, replace=False))]
    person = dict(zip(first["lead_id"], first["lead_id"], strict=True))
    person |= zip(twice["lead_id"], primary[twice["account_id"]], strict=True)
    address = {
        lead: f"{person[lead]}@{domain}".lower()
        for lead, domain in zip(first["lead_id"], first["email_domain"], strict=True)
    }
    hashes = {
        lead: hashlib.sha256(text.encode()).hexdigest()[:32] for lead, text in address.items()
    }
    leads["email_hash"] = leads["lead_id"].map(hashes).astype("str")
