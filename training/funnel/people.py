"""The people of a part of the tables: when and through what they came, and their deals.

A lead that was merged away is no second person: what it did and became counts for its survivor.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.config import Config
from features.facts.identity import know_people
from features.parts.partitions import Part
from features.tables import Tables
from training.part_examples import attributed

NO_CAMPAIGN = "no campaign"
NO_SOURCE = "no source"
LAST_MOMENT = pd.Timedelta(days=1) - pd.Timedelta(1, "us")


def survivors(tables: Tables) -> pd.Series:
    """Return by lead id the lead that its history belongs to at the end of the data."""
    people = know_people(tables)
    ids = np.asarray(people.lead_ids, dtype=object)
    survivor = np.arange(len(ids))
    survivor[people.merges.gone] = people.merges.survivor
    for _ in range(32):  # a chain of 2^32 merges, or a circle, which the loader refuses
        survivor = survivor[survivor]
    return pd.Series(pd.array(ids[survivor], dtype="str"), index=pd.Index(ids, dtype="str"))


def latest(instants: pd.Series) -> pd.Series:
    """Return the latest moment that each instant may mean: at 00:00 that is the end of its day.

    A date without a time of day is at 00:00, and stands for any moment of its day.
    """
    is_day = instants == instants.dt.normalize()
    return instants.where(~is_day, instants + LAST_MOMENT)


def came(part: Part, config: Config, survivor: pd.Series, touched: pd.DataFrame) -> pd.DataFrame:
    """Return by person: created_at, account (component), source, campaign; `touched` of `touches`.

    `source` is the first one recorded. `campaign` is the first touch: the earliest campaign among
    the events up to the creation of the lead, which are what brought it; a later touch, such as
    our own newsletter, brought nobody.
    """
    leads = part.tables.leads.sort_values(["created_at", "recorded_at"], kind="stable")
    by_person = leads.groupby(survivor.loc[leads["lead_id"]].to_numpy())
    component = part.account_components(config.population.account_from)
    people = by_person[["created_at"]].min().rename_axis("lead_id")
    people["account"] = component.loc[people.index].to_numpy()
    people["source"] = by_person["source"].first().fillna(NO_SOURCE)
    created = latest(people["created_at"]).loc[touched["lead_id"]].to_numpy()
    first = touched[touched["occurred_at"] <= created].drop_duplicates("lead_id")
    campaign = first.set_index("lead_id")["campaign"].reindex(people.index)
    people["campaign"] = campaign.fillna(NO_CAMPAIGN)
    return people


def touches(part: Part, survivor: pd.Series) -> pd.DataFrame:
    """Return lead_id, occurred_at, campaign of the events with a campaign, the earliest first."""
    events = part.tables.engagement_events[["lead_id", "occurred_at", "campaign"]]
    events = events[events["campaign"].notna() & events["lead_id"].isin(survivor.index)]
    touched = events.assign(lead_id=survivor.loc[events["lead_id"]].array)
    return touched.sort_values(["occurred_at", "campaign"], ignore_index=True)


def deals(part: Part, config: Config, survivor: pd.Series) -> pd.DataFrame:
    """Return a row per opportunity and person it labels, with the person's `share` of it.

    Columns opportunity_id, lead_id, stage, created_at, closed_at, amount, share. The shares of an
    opportunity add up to 1, so that a deal of three contacts is no three deals.
    """
    found = attributed(part.tables, config)
    found = found.assign(lead_id=survivor.loc[found["lead_id"]].array)
    found = found.drop_duplicates(["opportunity_id", "lead_id"], ignore_index=True)
    contacts = found.groupby("opportunity_id")["lead_id"].transform("size")
    columns = ["opportunity_id", "lead_id", "stage", "created_at", "closed_at", "amount"]
    return found[columns].assign(share=1.0 / contacts)
