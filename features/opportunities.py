"""Which leads an opportunity labels, and from when that is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numba import njit

from features.config import PopulationConfig
from features.histories import (
    ALWAYS,
    DAY,
    NEVER,
    History,
    Int64s,
    codes_in,
    group_starts,
    micros,
    ranges,
)
from features.identity import AccountFrom, People, event_rows, know_people
from features.load_report import Note
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
    people = know_people(tables, account_from)
    links = final(link(tables, people, attribution_days))
    opportunities = tables.opportunities.iloc[links["opportunity"].to_numpy()]
    labelled = opportunities.assign(
        lead_id=people.lead_ids.take(links["lead"].to_numpy()).astype("str"),
        known_at=links["known_at"].to_numpy(np.int64).view("datetime64[us]"),
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
    people = know_people(tables, account_from)
    links = final(link(tables, people, attribution_days))
    opportunities = tables.opportunities
    labels_nobody = np.ones(len(opportunities), dtype=bool)
    labels_nobody[links["opportunity"].to_numpy()] = False
    lost = opportunities.loc[labels_nobody, ["opportunity_id", "stage"]]
    has_lead = opportunities.loc[labels_nobody, "lead_id"].notna()
    is_listed = lost["opportunity_id"].isin(tables.opportunity_leads["opportunity_id"])
    has_account = opportunities.loc[labels_nobody, "account_id"].notna()
    reason = np.select(
        [has_lead, is_listed, has_account],
        [
            "its lead is not in leads",
            "none of its opportunity_leads is in leads",
            f"no lead of its account had an event in the {attribution_days} days before",
        ],
        default="names no lead and no account",
    )
    return (
        lost.assign(reason=pd.array(reason, dtype="str"))
        .sort_values("opportunity_id")
        .reset_index(drop=True)
    )


def outcome_notes(tables: Tables, population: PopulationConfig) -> list[Note]:
    """Return what is odd about the outcomes: wins that label nobody, outcomes that end early."""
    notes = []
    lost = unattributed(tables, population.attribution_days, population.account_from)
    for reason, count in lost.loc[lost["stage"] == "closed_won", "reason"].value_counts().items():
        text = f"closed-won opportunities that label no lead: {reason}"
        notes.append(Note("unattributed_win", int(count), text))
    closed = tables.opportunities["closed_recorded_at"].max()
    silent_days = (tables.data_until - closed).days if pd.notna(closed) else 0
    if silent_days > SILENT_DAYS:
        text = (
            f"days without a closed opportunity before the data end, {tables.data_until:%Y-%m-%d}. "
            "If the opportunities were exported earlier than the rest, set data.data_until to "
            "their day: leads won since would count as lost"
        )
        notes.append(Note("outcomes_end_early", silent_days, text))
    return notes


def link(tables: Tables, people: People, attribution_days: int) -> pd.DataFrame:
    """Return the labelled pairs: `opportunity` (row), `lead` (code), `known_at` and `until`.

    A pair is what one would have said at instants in (known_at, until]: an opportunity without a
    lead of its own labels its account's leads until the first of its contacts is recorded.
    """
    opportunities = tables.opportunities
    created_known = micros(opportunities["created_recorded_at"])
    has_lead = opportunities["lead_id"].notna().to_numpy()
    listed = tables.opportunity_leads
    rows = np.arange(len(opportunities))

    own = _pairs(rows, codes_in(opportunities["lead_id"], people.lead_ids), created_known)
    contact_rows = codes_in(listed["opportunity_id"], pd.Index(opportunities["opportunity_id"]))
    is_used = contact_rows >= 0
    is_used[is_used] = ~has_lead[contact_rows[is_used]]
    contact_rows = contact_rows[is_used]
    contact_known = np.maximum(micros(listed["recorded_at"])[is_used], created_known[contact_rows])
    contacts = _pairs(
        contact_rows, codes_in(listed["lead_id"], people.lead_ids)[is_used], contact_known
    )
    first_contact = np.full(len(opportunities), NEVER)
    np.minimum.at(first_contact, contact_rows, contact_known)
    active = _active_leads(tables, people, attribution_days, rows[~has_lead])
    active["until"] = first_contact[active["opportunity"].to_numpy()]
    closed_known = micros(opportunities["closed_recorded_at"], missing=NEVER)
    return _with_merged(_earliest(pd.concat([own, contacts, active])), people, closed_known)


def final(links: pd.DataFrame) -> pd.DataFrame:
    """Return the links that stand once everything is recorded."""
    return links[links["until"] == NEVER]


def _pairs(
    opportunities: Int64s, leads: Int64s, known_at: Int64s, until: Int64s | None = None
) -> pd.DataFrame:
    pairs = pd.DataFrame(
        {
            "opportunity": opportunities,
            "lead": leads,
            "known_at": known_at,
            "until": np.full(len(leads), NEVER) if until is None else until,
        }
    )
    return pairs[pairs["lead"] >= 0]


def _earliest(pairs: pd.DataFrame, owner: str = "lead") -> pd.DataFrame:
    """Return one row per pair and end, with the earliest instant it is known from."""
    return (
        pairs[pairs["known_at"] < pairs["until"]]
        .sort_values(["opportunity", owner, "until", "known_at"])
        .drop_duplicates(["opportunity", owner, "until"])
        .reset_index(drop=True)
    )


def _active_leads(
    tables: Tables, people: People, attribution_days: int, rows: Int64s
) -> pd.DataFrame:
    """Return the pairs by account, for opportunities (rows) that name no lead."""
    opportunities = tables.opportunities.iloc[rows]
    accounts = codes_in(opportunities["account_id"], people.account_ids)
    rows, opportunities, accounts = (
        rows[accounts >= 0],
        opportunities[accounts >= 0],
        accounts[accounts >= 0],
    )
    if not len(rows):
        nothing = np.empty(0, np.int64)
        return _pairs(nothing, nothing, nothing)
    events, _ = event_rows(tables, people)
    wanted = np.flatnonzero(np.isin(events.accounts, accounts))
    by_account = History.of(
        events.accounts[wanted], len(people.account_ids), events.occurred[wanted], wanted
    )
    created = micros(opportunities["created_at"])
    starts = by_account.starts[accounts]
    first = starts + by_account.count(accounts, created - attribution_days * DAY)
    last = starts + by_account.count(accounts, created)
    positions, which = ranges(first, last)
    found = by_account.values[positions]  # noqa: PD011  # not pandas
    created_known = micros(opportunities["created_recorded_at"])
    known_at = np.maximum(events.account_visible[found], created_known[which])
    return _pairs(rows[which], events.leads[found], known_at)


def _with_merged(links: pd.DataFrame, people: People, closed_known: Int64s) -> pd.DataFrame:
    """Return `links` and the leads merged with a linked one before the closing was recorded.

    Not before `closed_at`: a merge between the two was the truth while nobody knew of the closing.
    """
    merges = people.merges
    forward = pd.DataFrame(
        {"lead": merges.gone, "same": merges.survivor, "recorded": merges.recorded}
    )
    backward = forward.rename(columns={"lead": "same", "same": "lead"})
    merged = pd.concat([forward, backward])
    found = links[links["lead"].isin(merged["lead"])]
    while len(found):
        reached = found.merge(merged, on="lead")
        reached = reached[reached["recorded"] < closed_known[reached["opportunity"].to_numpy()]]
        further = _pairs(
            reached["opportunity"].to_numpy(),
            reached["same"].to_numpy(),
            np.maximum(reached["known_at"], reached["recorded"]).to_numpy(),
            reached["until"].to_numpy(),
        )
        grown = _earliest(pd.concat([links, further]))
        if grown.equals(links):
            return grown
        found, links = further, grown
    return links


def opportunity_accounts(
    tables: Tables, people: People, links: pd.DataFrame, account_from: AccountFrom
) -> pd.DataFrame:
    """Return `opportunity` (row), `account` (code), `known_at` and `until`, one row per pair.

    An opportunity belongs to its `account_id`; without one, to the accounts its leads had when
    the link was known. With accounts derived from e-mail domains it is the other way round.
    """
    rows = np.arange(len(tables.opportunities))
    named = pd.DataFrame(
        {
            "opportunity": rows,
            "account": codes_in(tables.opportunities["account_id"], people.account_ids),
            "known_at": micros(tables.opportunities["created_recorded_at"]),
            "until": np.full(len(rows), NEVER),
        }
    )
    linked = links.assign(
        account=people.accounts.newest(
            links["lead"].to_numpy(), links["known_at"].to_numpy() + 1, missing=-1
        )
    ).drop(columns="lead")
    named, linked = named[named["account"] >= 0], linked[linked["account"] >= 0]
    first, second = (named, linked) if account_from == "account_id" else (linked, named)
    first_known = np.full(len(rows), NEVER)
    np.minimum.at(first_known, first["opportunity"].to_numpy(), first["known_at"].to_numpy())
    until = np.minimum(second["until"], first_known[second["opportunity"].to_numpy()])
    return _earliest(pd.concat([first, second.assign(until=until)]), owner="account")


@dataclass(frozen=True)
class OpportunityFacts:
    """What was known of the opportunities of owners at instants: arrays of one length."""

    open: Int64s
    lost: Int64s
    won: Int64s
    created: Int64s
    "Newest creation, ALWAYS for none."
    lost_at: Int64s
    "Newest closing as lost, ALWAYS for none."


@dataclass(frozen=True)
class OwnedOpportunities:
    """The opportunities of leads or accounts (owners), sorted by owner."""

    starts: Int64s
    links: Int64s
    "(n, 6): known_at, until, created_at, closing known at, closed_at, 1 if won."

    @classmethod
    def of(
        cls, tables: Tables, links: pd.DataFrame, owner: str, n_owners: int
    ) -> OwnedOpportunities:
        """Return the opportunities of `links`, whose column `owner` holds codes."""
        links = links.sort_values([owner, "opportunity", "until"])
        opportunities = tables.opportunities.iloc[links["opportunity"].to_numpy()]
        columns = [
            links["known_at"].to_numpy(),
            links["until"].to_numpy(),
            micros(opportunities["created_at"]),
            micros(opportunities["closed_recorded_at"]),
            micros(opportunities["closed_at"]),
            (opportunities["stage"] == "closed_won").to_numpy(),
        ]
        owners = links[owner].to_numpy(np.int64)
        return cls(group_starts(owners, n_owners), np.column_stack(columns).astype(np.int64))

    def at(self, owners: Int64s, instants: Int64s) -> OpportunityFacts:
        """Return what was known of each owner (-1: nothing) before its instant."""
        facts = np.zeros((5, len(owners)), np.int64)
        _look_up(self.starts, self.links, owners, instants, facts)
        return OpportunityFacts(*facts)


@njit(cache=True, nogil=True)
def _look_up(starts, links, owners, instants, facts):  # type: ignore[no-untyped-def]
    for query in range(len(owners)):
        facts[3, query] = facts[4, query] = ALWAYS
        if owners[query] < 0:
            continue
        as_of = instants[query]
        for row in range(starts[owners[query]], starts[owners[query] + 1]):
            if not links[row, 0] < as_of <= links[row, 1]:
                continue
            facts[3, query] = max(facts[3, query], links[row, 2])
            if links[row, 3] >= as_of:
                facts[0, query] += 1
            elif links[row, 5]:
                facts[2, query] += 1
            else:
                facts[1, query] += 1
                facts[4, query] = max(facts[4, query], links[row, 4])
