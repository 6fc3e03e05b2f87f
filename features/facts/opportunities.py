"""Which leads an opportunity labels, and from when that is known."""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.config import PopulationConfig
from features.facts.columns import links_of
from features.facts.deals import Links
from features.facts.histories import NEVER
from features.facts.identity import AccountFrom, people_of
from features.facts.records import Records, records_of
from features.loading.load_report import Note
from features.tables import Tables

SILENT_DAYS = 28
"""Opportunities close every week; this long without one, they were exported earlier."""

ATTRIBUTION_COLUMNS = [
    "opportunity_id",
    "lead_id",
    "stage",
    "created_at",
    "closed_at",
    "created_recorded_at",
    "closed_recorded_at",
    "amount",
    "known_at",
]


def attribute(
    tables: Tables, attribution_days: int, account_from: AccountFrom = "account_id"
) -> pd.DataFrame:
    """Return one row per opportunity and lead it labels, sorted by both.

    An opportunity labels its `lead_id`; else the leads listed in `opportunity_leads`; else the
    leads whose events in the `attribution_days` before its creation belong to its account. Leads
    merged with a labelled one before the closing was recorded (or at all, while open) are the same
    person and are labelled too. `known_at` is when creation, link and merge were all known; the
    other columns are those of the opportunity.
    """
    records, links = _final_links(tables, attribution_days, account_from)
    labelled = tables.opportunities.iloc[links.opportunities].assign(
        lead_id=pd.Series(records.lead_ids, dtype="str").array.take(links.leads),
        known_at=links.known_at.view("datetime64[us]"),
    )
    return (
        labelled[ATTRIBUTION_COLUMNS]
        .sort_values(["opportunity_id", "lead_id"])
        .reset_index(drop=True)
    )


def unattributed(
    tables: Tables, attribution_days: int, account_from: AccountFrom = "account_id"
) -> pd.DataFrame:
    """Return the opportunities that label nobody: `opportunity_id`, `stage` and the `reason`."""
    records, links = _final_links(tables, attribution_days, account_from)
    named = records.opportunities
    labels_nobody = np.ones(len(named.leads), dtype=bool)
    labels_nobody[links.opportunities] = False
    is_listed = np.isin(np.arange(len(named.leads)), records.contacts.opportunities)
    reason = np.select(
        [named.leads != -1, is_listed, named.accounts >= 0],
        [
            "its lead is not in leads",
            "none of its opportunity_leads is in leads",
            f"no lead of its account had an event in the {attribution_days} days before",
        ],
        default="names no lead and no account",
    )
    rows = tables.opportunities[["opportunity_id", "stage"]]
    return (
        rows.assign(reason=pd.array(reason, dtype="str"))[labels_nobody]
        .sort_values("opportunity_id")
        .reset_index(drop=True)
    )


def _final_links(
    tables: Tables, attribution_days: int, account_from: AccountFrom
) -> tuple[Records, Links]:
    """Return the records of `tables`, and the links that stand once everything is recorded."""
    records = records_of(tables, account_from, event_columns=frozenset())
    people = people_of(records.lead_ids, records.account_ids, records.leads)
    links = links_of(records, people, attribution_days)
    is_final = links.until == NEVER
    return records, Links(*(column[is_final] for column in links))


def outcome_notes(tables: Tables, population: PopulationConfig) -> list[Note]:
    """Return what is odd about the outcomes: wins that label nobody, outcomes that end early."""
    closed = tables.opportunities["closed_recorded_at"].max()
    return [*unattributed_wins(tables, population), *silence_notes(closed, tables.data_until)]


def unattributed_wins(tables: Tables, population: PopulationConfig) -> list[Note]:
    """Return how many wins label nobody, by reason, the most frequent first."""
    lost = unattributed(tables, population.attribution_days, population.account_from)
    reasons = lost.loc[lost["stage"] == "closed_won", "reason"].value_counts()
    return [
        Note("unattributed_win", -count, f"closed-won opportunities that label no lead: {reason}")
        for count, reason in sorted((-int(count), str(name)) for name, count in reasons.items())
    ]


def silence_notes(last_closed: pd.Timestamp, data_until: pd.Timestamp) -> list[Note]:
    """Return a note if the last closing (NaT for none) was recorded long before the data end."""
    silent_days = (data_until - last_closed).days if pd.notna(last_closed) else 0
    if silent_days <= SILENT_DAYS:
        return []
    text = (
        f"days without a closed opportunity before the data end, {data_until:%Y-%m-%d}. "
        "If the opportunities were exported earlier than the rest, set data.data_until to "
        "their day: leads won since would count as lost"
    )
    return [Note("outcomes_end_early", silent_days, text)]
