"""The played history as a CRM would export it: ids, names, campaigns and noise around it.

Everything added here is independent of the hidden stages, so it changes no probability.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from training.simulation.events import costs_table, events_table
from training.simulation.funnel import (
    INDUSTRIES,
    PACK_PRICE,
    ROLES,
    SOURCES,
    TECHNOLOGIES,
    WEEK_US,
    Bools,
    Funnel,
    Ints,
)
from training.simulation.history import History
from training.simulation.names import Strings, ids, instants, lead_ids, named, take
from training.simulation.people import NEVER, Accounts
from training.simulation.sales import ACTORS, CHANGE_REASONS, CHANGE_STAGES, REASONS, VERDICTS

COUNTRIES = ("US", "GB", "DE", "FR", "NL", "CA", "AU", "SE")
_COUNTRY_SHARES = (0.38, 0.16, 0.14, 0.09, 0.07, 0.08, 0.05, 0.03)
FREE_MAIL_DOMAINS = ("gmail.com", "outlook.com", "yahoo.com", "icloud.com", "gmx.de")
_TITLES = (
    ("Marketing Operations Manager", "Head of Demand Generation", "Revenue Operations Lead"),
    ("Chief Marketing Officer", "VP Sales", "Finance Director"),
    ("Marketing Specialist", "Sales Development Representative", "Data Analyst"),
    ("Consultant", "Office Manager", "Intern"),
)
"By role; the last role, unknown, has none."
_SENIORITY = ("manager", "executive", "individual", "individual")


def crm_tables(
    funnel: Funnel, history: History, rng: np.random.Generator
) -> dict[str, pd.DataFrame]:
    """Return the raw tables of the contract."""
    end = int(funnel.mondays[-1])
    return {
        "leads": _leads_table(history, end, rng),
        "accounts": _accounts_table(history, end, rng),
        "engagement_events": events_table(funnel, history, rng),
        "opportunities": _opportunities_table(history),
        "opportunity_leads": _opportunity_leads_table(history),
        "stage_changes": _stage_changes_table(history),
        "verdicts": _verdicts_table(history),
        "campaign_costs": costs_table(funnel, rng),
    }


def _account_places(accounts: Accounts) -> Ints:
    """Return each account's number in `A000001`...; -1 for free mail, which has no account."""
    is_company = ~accounts.is_free_mail
    return np.where(is_company, np.cumsum(is_company) - 1, -1)


def account_ids(accounts: Accounts, account: Ints) -> Strings:
    """Return the ids of these accounts, missing for free mail."""
    places = _account_places(accounts)
    return take(ids("A", int(places.max()) + 1), places[account])


def _leads_table(history: History, end: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return leads with history: a first row, a later one with the country, one for a merge."""
    leads, count = history.leads, len(history.leads.account)
    role = np.where(leads.role == ROLES.index("unknown"), -1, leads.role)
    titles = [title for of_role in _TITLES for title in of_role]
    title = np.where(role >= 0, 3 * role + rng.integers(0, 3, count), -1)
    country = rng.choice(len(COUNTRIES), size=count, p=_COUNTRY_SHARES)
    first = pd.DataFrame(
        {
            "lead_id": lead_ids(count),
            "created_at": instants(leads.created),
            "account_id": account_ids(history.accounts, leads.account),
            "source": named(SOURCES, leads.source),
            "merged_into": named([], np.full(count, -1)),
            "recorded_at": instants(leads.created),
            "email_domain": _email_domains(history, rng),
            "job_title": named(titles, title),
            "seniority": named(_SENIORITY, role),
            "buying_role": named(ROLES, role),
            "primary_contact": named(("no", "yes"), leads.is_primary.astype(np.int64)),
            "country": named(COUNTRIES, np.where(rng.random(count) < 0.3, -1, country)),
            "newsletter": named(("no", "yes"), (rng.random(count) < 0.6).astype(np.int64)),
        }
    )
    enriched_at = leads.created + (rng.exponential(20, count) * WEEK_US).astype(np.int64)
    enriched_at -= enriched_at % 1_000_000
    is_enriched = first["country"].isna() & (rng.random(count) < 0.5)
    is_enriched &= (enriched_at < end) & (enriched_at < history.merged)
    enriched = first[is_enriched].assign(
        recorded_at=instants(enriched_at[is_enriched]),
        country=named(COUNTRIES, country[is_enriched]),
    )
    gone = np.flatnonzero(history.merged < NEVER)
    newest = pd.concat([first, enriched]).drop_duplicates("lead_id", keep="last")
    merged = newest.set_index("lead_id").loc[first["lead_id"].iloc[gone]].reset_index()
    merged = merged[first.columns].assign(
        recorded_at=instants(history.merged[gone]),
        merged_into=take(lead_ids(count), leads.survivor[gone]),
    )
    rows = pd.concat([first, enriched, merged], ignore_index=True)
    return rows.sort_values(["recorded_at", "lead_id"], kind="stable", ignore_index=True)


def _email_domains(history: History, rng: np.random.Generator) -> Strings:
    """Return each lead's domain: a free-mail host, or one of its account's own."""
    account = history.leads.account
    place = _account_places(history.accounts)[account] + len(FREE_MAIL_DOMAINS)
    free = rng.integers(0, len(FREE_MAIL_DOMAINS), len(account))
    companies = [f"company{number + 1:06d}.example" for number in range(len(history.accounts.tier))]
    is_free = history.accounts.is_free_mail[account]
    return named((*FREE_MAIL_DOMAINS, *companies), np.where(is_free, free, place))


def _accounts_table(history: History, end: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return accounts with history: what is known with the first lead, and after enrichment."""
    company = np.flatnonzero(~history.accounts.is_free_mail)
    known_at = history.accounts.known_at[company]
    first_lead = np.full(len(history.accounts.tier), NEVER)
    np.minimum.at(first_lead, history.leads.account, history.leads.created)
    first_at = first_lead[company]
    founded = rng.integers(1950, 2023, len(company))
    country = rng.choice(len(COUNTRIES), size=len(company), p=_COUNTRY_SHARES)

    def rows(at: Ints, chosen: Bools) -> pd.DataFrame:
        here = company[chosen]
        is_known = known_at[chosen] <= at[chosen, None]
        fit = np.stack([history.accounts.industry, history.accounts.technology], axis=1)[here]
        industry, technology = np.where(is_known[:, [0, 2]], fit, -1).T
        employees = history.accounts.employees[here].astype(np.float64)
        return pd.DataFrame(
            {
                "account_id": account_ids(history.accounts, here),
                "recorded_at": instants(at[chosen]),
                "industry": named(INDUSTRIES, industry),
                "employees": np.where(is_known[:, 1], employees, np.nan),
                "crm_in_use": named(TECHNOLOGIES, technology),
                "country": named(COUNTRIES, country[chosen]),
                "founded_year": founded[chosen].astype(np.float64),
            }
        )

    # An account's enriched fields share one instant.
    later_at = np.where(known_at > first_at[:, None], known_at, NEVER).min(axis=1)
    table = pd.concat([rows(first_at, first_at < end), rows(later_at, later_at < end)])
    return table.sort_values(["recorded_at", "account_id"], kind="stable", ignore_index=True)


def _opportunities_table(history: History) -> pd.DataFrame:
    """Return deals. Those of free mail name their lead; the others their account."""
    deals = history.deals
    is_free = history.accounts.is_free_mail[deals.account]
    first_lead = np.zeros(len(history.accounts.tier), dtype=np.int64)
    first_lead[history.leads.account[history.leads.is_primary]] = np.flatnonzero(
        history.leads.is_primary
    )
    stage = np.where(deals.closed == NEVER, 0, np.where(deals.is_won, 1, 2))
    return pd.DataFrame(
        {
            "opportunity_id": ids("O", len(deals.account)),
            "created_at": instants(deals.created),
            "stage": named(("open", "closed_won", "closed_lost"), stage),
            "closed_at": instants(deals.closed),
            "lead_id": take(
                lead_ids(len(history.leads.account)),
                np.where(is_free, first_lead[deals.account], -1),
            ),
            "account_id": account_ids(history.accounts, deals.account),
            "amount": deals.packs * PACK_PRICE,
        }
    ).sort_values(["created_at", "opportunity_id"], kind="stable", ignore_index=True)


def _opportunity_leads_table(history: History) -> pd.DataFrame:
    deals, leads = history.deals, history.leads
    is_company = ~history.accounts.is_free_mail[deals.account[deals.listed_deal]]
    lead = deals.listed_lead[is_company]
    return pd.DataFrame(
        {
            "opportunity_id": take(ids("O", len(deals.account)), deals.listed_deal[is_company]),
            "lead_id": take(lead_ids(len(leads.account)), lead),
            "role": named(ROLES, leads.role[lead]),
            "recorded_at": instants(deals.listed_at[is_company]),
        }
    )


def _stage_changes_table(history: History) -> pd.DataFrame:
    lead, stage, at, actor, reason = history.changes
    return pd.DataFrame(
        {
            "lead_id": take(lead_ids(len(history.leads.account)), lead),
            "stage": named(CHANGE_STAGES, stage),
            "changed_at": instants(at),
            "actor": named(ACTORS, actor),
            "reason_code": named(CHANGE_REASONS, reason),
        }
    ).sort_values(["changed_at", "lead_id"], kind="stable", ignore_index=True)


def _verdicts_table(history: History) -> pd.DataFrame:
    lead, verdict, at, reason = history.verdicts
    return pd.DataFrame(
        {
            "lead_id": take(lead_ids(len(history.leads.account)), lead),
            "verdict": named(VERDICTS, verdict),
            "decided_at": instants(at),
            "reason_code": named(REASONS, reason),
        }
    ).sort_values(["decided_at", "lead_id"], kind="stable", ignore_index=True)
