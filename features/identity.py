"""Who is who at an instant: leads, the accounts they belong to, and merges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from features.errors import InputError
from features.histories import ALWAYS, History, Int64s, codes_in, group_starts, micros, ranges
from features.tables import Tables

AccountFrom = Literal["account_id", "email_domain"]

# Mail hosts anyone can join: two leads on one of them are not colleagues.
FREE_MAIL = frozenset(
    [
        "gmail.com",
        "googlemail.com",
        "yahoo.com",
        "ymail.com",
        "hotmail.com",
        "outlook.com",
        "live.com",
        "msn.com",
        "aol.com",
        "icloud.com",
        "me.com",
        "mac.com",
        "gmx.com",
        "gmx.de",
        "gmx.net",
        "web.de",
        "mail.com",
        "mail.ru",
        "yandex.com",
        "yandex.ru",
        "proton.me",
        "protonmail.com",
        "qq.com",
        "163.com",
        "126.com",
        "zoho.com",
        "fastmail.com",
        "hey.com",
        "t-online.de",
        "orange.fr",
        "free.fr",
        "laposte.net",
        "libero.it",
        "comcast.net",
        "verizon.net",
        "att.net",
        "naver.com",
        "rediffmail.com",
        "hotmail.co.uk",
        "hotmail.fr",
        "yahoo.co.uk",
        "yahoo.co.in",
        "yahoo.fr",
        "yahoo.de",
    ]
)


@dataclass(frozen=True)
class Merges:
    """Leads merged away: `gone` joins `survivor` from `recorded` on (lead codes)."""

    gone: Int64s
    survivor: Int64s
    recorded: Int64s


@dataclass(frozen=True)
class People:
    """Leads and accounts as integer codes, in the order of their sorted ids."""

    lead_ids: pd.Index
    account_ids: pd.Index
    created: Int64s
    "Instant of creation, by lead."
    recorded: Int64s
    "Instant from which the lead is known, by lead."
    accounts: History
    "Account codes by lead, -1 for none."
    merges: Merges
    "As recorded: lead to survivor, once per lead."

    def event_accounts(self, leads: Int64s, occurred: Int64s) -> tuple[Int64s, Int64s]:
        """Return the account an event belongs to and from when that is known.

        It is the lead's account when the event occurred. What happened before anything was
        recorded of the lead belongs to the first account recorded, once it is.
        """
        if not len(leads):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        rows = self.accounts.rows(leads, occurred + 1)  # recorded at the very instant counts
        rows = np.where(rows < 0, self.accounts.starts[leads], rows)
        return self.accounts.values[rows], self.accounts.known_at[rows]  # noqa: PD011  # not pandas

    def ancestors(self) -> Merges:
        """Return each merged-away lead with every lead its history reaches, and from when.

        A chain (a into b, b into c) reaches c once both merges are recorded.
        """
        gone, reached, known = self.merges.gone, self.merges.survivor, self.merges.recorded
        parts = [(gone, reached, known)]
        next_lead = np.full(len(self.lead_ids), -1, np.int64)
        next_lead[gone] = reached
        merged_at = np.full(len(self.lead_ids), ALWAYS, np.int64)
        merged_at[gone] = known
        while len(gone):
            further = next_lead[reached]
            known = np.maximum(known, merged_at[reached])
            # A circle of merges ends where it began.
            kept = (further >= 0) & (further != gone) & (len(parts) <= len(self.merges.gone))
            gone, reached, known = gone[kept], further[kept], known[kept]
            parts.append((gone, reached, known))
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        return Merges(*columns)


def know_people(tables: Tables, account_from: AccountFrom = "account_id") -> People:
    """Return the leads of `tables` with their accounts and merges.

    Accounts of a current-state export carry no date: they are taken as always known.
    """
    leads = tables.leads
    codes, ids = pd.factorize(leads["lead_id"], sort=True)
    lead_ids = pd.Index(ids)
    codes = codes.astype(np.int64)
    n_leads = len(lead_ids)
    recorded_at = micros(leads["recorded_at"])
    created = np.full(n_leads, np.iinfo(np.int64).max)
    np.minimum.at(created, codes, micros(leads["created_at"]))
    recorded = np.full(n_leads, np.iinfo(np.int64).max)
    np.minimum.at(recorded, codes, recorded_at)

    account_of_row = _account_column(leads, account_from)
    mentioned = [account_of_row, tables.accounts["account_id"], tables.opportunities["account_id"]]
    account_ids = pd.Index(pd.concat(mentioned).dropna().drop_duplicates().sort_values())
    known_at = np.full(len(leads), ALWAYS) if "leads" in tables.current_state else recorded_at
    accounts = History.of(codes, n_leads, known_at, codes_in(account_of_row, account_ids))
    return People(
        lead_ids=lead_ids,
        account_ids=account_ids,
        created=created,
        recorded=recorded,
        accounts=accounts,
        merges=_merges(codes, codes_in(leads["merged_into"], lead_ids), recorded_at),
    )


def _account_column(leads: pd.DataFrame, account_from: AccountFrom) -> pd.Series:
    if account_from == "account_id":
        return leads["account_id"]
    if "email_domain" not in leads:
        raise InputError(
            'leads has no column "email_domain", which [population] account_from = "email_domain" '
            'needs. Add it in [tables.leads], or use account_from = "account_id".'
        )
    domains = leads["email_domain"].str.strip().str.lower()
    return domains.where(~domains.isin(FREE_MAIL))


def _merges(leads: Int64s, survivors: Int64s, recorded: Int64s) -> Merges:
    """Return the first merge of each lead."""
    is_merge = (survivors >= 0) & (survivors != leads)
    leads, survivors, recorded = leads[is_merge], survivors[is_merge], recorded[is_merge]
    order = np.lexsort((survivors, recorded, leads))
    leads, survivors, recorded = leads[order], survivors[order], recorded[order]
    _, first = np.unique(leads, return_index=True)
    return Merges(leads[first], survivors[first], recorded[first])


@dataclass(frozen=True)
class EventRows:
    """Engagement events as integer columns, one entry per event."""

    leads: Int64s
    occurred: Int64s
    visible: Int64s
    "When the event was known: never before it occurred."
    accounts: Int64s
    account_visible: Int64s
    "When the event and the account it belongs to were both known."

    def with_merged(self, people: People) -> tuple[Int64s, Int64s, Int64s]:
        """Return (event, lead, visible): each event for its lead, and for the leads it joins.

        Merged-away leads keep their events: snapshots before the merge need them.
        """
        n_events = len(self.leads)
        reached = people.ancestors()
        everything = np.arange(n_events)
        if not len(reached.gone):
            return everything, self.leads, self.visible
        by_lead = np.argsort(self.leads, kind="stable")
        starts = group_starts(self.leads, len(people.lead_ids))
        positions, which = ranges(starts[reached.gone], starts[reached.gone + 1])
        copied = by_lead[positions]
        return (
            np.concatenate([everything, copied]),
            np.concatenate([self.leads, reached.survivor[which]]),
            np.concatenate(
                [self.visible, np.maximum(self.visible[copied], reached.recorded[which])]
            ),
        )


def event_rows(tables: Tables, people: People) -> tuple[EventRows, pd.DataFrame]:
    """Return the events of known leads as integers, and the rows of the table they come from."""
    events = tables.engagement_events
    leads = codes_in(events["lead_id"], people.lead_ids)
    if (leads < 0).any():
        events, leads = events[leads >= 0], leads[leads >= 0]
    occurred = micros(events["occurred_at"])
    visible = np.maximum(occurred, micros(events["recorded_at"]))
    accounts, account_known = people.event_accounts(leads, occurred)
    rows = EventRows(leads, occurred, visible, accounts, np.maximum(visible, account_known))
    return rows, events
