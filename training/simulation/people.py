"""Who is in the demo CRM: accounts with their fit, leads with their roles; all drawn up front.

When people arrive depends on nothing hidden, so an arrival says nothing about the buying stage.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.simulation.funnel import (
    BAND_SHARES,
    BANDS,
    FREE_MAIL_TIER,
    INDUSTRY_SHARES,
    ROLE_SHARES,
    SOURCE_SHARES,
    WEEK_US,
    Bools,
    Floats,
    Funnel,
    Ints,
    technology_share,
    tier_of,
)

NEVER = int(np.iinfo(np.int64).max)
FREE_MAIL_SHARE = 0.2
MERGE_SHARE = 0.025
"Leads for whom a merge is planned; those whose account is then in a deal are not merged."
_SIZE_SHARES = np.array([0.36, 0.28, 0.19, 0.11, 0.06])
"Leads of an account, 1 to 5."
_MISSING = (0.12, 0.15, 0.30)
"Share of accounts that start without industry, employees, technology."
_ENRICHED_SHARE = 0.6


@dataclass(frozen=True)
class Accounts:
    """One row per hidden chain, a company or a free-mail lead, in order of `start_week`."""

    is_free_mail: Bools
    start_week: Ints
    "Week of the first lead."
    source: Ints
    "Source of the first lead."
    tier: Ints
    industry: Ints
    band: Ints
    technology: Ints
    "Fit codes; -1 for free mail."
    employees: Ints
    known_at: Ints
    "(accounts, 3): when industry, employees and technology became known; NEVER if not at all."


@dataclass(frozen=True)
class Leads:
    """One row per lead, in order of creation."""

    account: Ints
    role: Ints
    source: Ints
    created: Ints
    "Microseconds since 1970."
    created_week: Ints
    is_primary: Bools
    "The account's first lead: an opportunity always lists it."
    survivor: Ints
    "The colleague this lead is to be merged into; -1 for most."
    merge_week: Ints


def draw_moment(funnel: Funnel, week: Ints, rng: np.random.Generator) -> Ints:
    """Return one instant in each of the weeks, at the usual hours."""
    return moment(funnel, week, rng.random(len(week)))


def moment(funnel: Funnel, week: Ints, share: Floats) -> Ints:
    """Return the instant at which this share of the week's activity has passed, whole seconds."""
    hours = np.interp(share, funnel.hour_share, np.arange(169.0))
    seconds = np.minimum((hours * 3600).astype(np.int64), 7 * 86_400 - 1)
    start = funnel.mondays[0] + week * WEEK_US
    at: Ints = start + seconds * 1_000_000
    return at


def share_passed(funnel: Funnel, instant: Ints, week: Ints) -> Floats:
    """Return the share of the week's activity that has passed at each instant."""
    hours = (instant - funnel.mondays[0] - week * WEEK_US) / 3_600_000_000
    share: Floats = np.interp(hours, np.arange(169.0), funnel.hour_share)
    return share


def draw_people(funnel: Funnel, leads: int, rng: np.random.Generator) -> tuple[Accounts, Leads]:
    """Return accounts and exactly `leads` leads of theirs."""
    sizes, is_free_mail = _draw_sizes(leads, rng)
    count = len(sizes)
    account = np.repeat(np.arange(count), sizes)
    start_week = np.sort(rng.integers(0, funnel.weeks, count))
    is_primary = np.diff(account, prepend=-1) > 0
    # Colleagues follow soon after the first lead or much later, never after the history's end.
    later = (funnel.weeks - start_week[account]) * rng.random(leads) ** 2
    created_week = start_week[account] + np.where(is_primary, 0, later.astype(np.int64))
    source = rng.choice(len(SOURCE_SHARES), size=leads, p=SOURCE_SHARES)
    role = rng.choice(len(ROLE_SHARES), size=leads, p=ROLE_SHARES)
    created = draw_moment(funnel, created_week, rng)
    survivor, merge_week = _plan_merges(account, role, is_primary, created_week, funnel, rng)

    accounts = _draw_fit(funnel, is_free_mail, start_week, source[is_primary], rng)
    first_lead_at = np.full(count, NEVER)
    np.minimum.at(first_lead_at, account, created)
    _start_known(accounts, first_lead_at, rng)

    order = np.argsort(created, kind="stable")
    place = np.empty(leads, dtype=np.int64)
    place[order] = np.arange(leads)
    return accounts, Leads(
        account=account[order],
        role=role[order],
        source=source[order],
        created=created[order],
        created_week=created_week[order],
        is_primary=is_primary[order],
        survivor=np.where(survivor >= 0, place[survivor], -1)[order],
        merge_week=merge_week[order],
    )


def _draw_sizes(leads: int, rng: np.random.Generator) -> tuple[Ints, Bools]:
    """Return how many leads each account has, and which accounts are a free-mail lead."""
    free_mail = round(FREE_MAIL_SHARE * leads)
    in_company = leads - free_mail
    sizes = 1 + rng.choice(len(_SIZE_SHARES), size=in_company, p=_SIZE_SHARES)
    companies = int(np.searchsorted(sizes.cumsum(), in_company)) + 1
    sizes = sizes[:companies]
    sizes[-1] -= sizes.sum() - in_company
    sizes = np.concatenate([sizes, np.ones(free_mail, dtype=np.int64)])
    order = rng.permutation(len(sizes))
    return sizes[order], order >= companies


def _draw_fit(
    funnel: Funnel, is_free_mail: Bools, start_week: Ints, source: Ints, rng: np.random.Generator
) -> Accounts:
    count = len(is_free_mail)
    industry = rng.choice(len(INDUSTRY_SHARES), size=count, p=INDUSTRY_SHARES)
    band = rng.choice(len(BAND_SHARES), size=count, p=BAND_SHARES)
    technology_steps = technology_share(industry).cumsum(axis=1)[:, :-1]
    technology = (rng.random(count)[:, None] > technology_steps).sum(axis=1)
    first, last = np.array(BANDS)[band].T
    # Small companies are more frequent inside a band too.
    employees = (first * (last / first) ** rng.random(count)).astype(np.int64)
    return Accounts(
        is_free_mail=is_free_mail,
        start_week=start_week,
        source=source,
        tier=np.where(is_free_mail, FREE_MAIL_TIER, tier_of(industry, band)),
        industry=np.where(is_free_mail, -1, industry),
        band=np.where(is_free_mail, -1, band),
        technology=np.where(is_free_mail, -1, technology),
        employees=np.where(is_free_mail, -1, employees),
        known_at=np.full((count, 3), NEVER),
    )


def _start_known(accounts: Accounts, first_lead_at: Ints, rng: np.random.Generator) -> None:
    """Fill `known_at`: with the first lead, by a later enrichment, or never."""
    shape = accounts.known_at.shape
    # Enrichment runs fill several fields of an account at one instant.
    enriched_at = first_lead_at + (12 * WEEK_US * rng.exponential(size=len(first_lead_at))).astype(
        np.int64
    )
    enriched_at -= enriched_at % 1_000_000
    is_missing = rng.random(shape) < np.array(_MISSING)
    is_enriched = rng.random(shape) < _ENRICHED_SHARE
    later = np.where(is_enriched, enriched_at[:, None], NEVER)
    accounts.known_at[:] = np.where(is_missing, later, first_lead_at[:, None])
    accounts.known_at[accounts.is_free_mail] = NEVER


def _plan_merges(
    account: Ints,
    role: Ints,
    is_primary: Bools,
    created_week: Ints,
    funnel: Funnel,
    rng: np.random.Generator,
) -> tuple[Ints, Ints]:
    """Return each lead's survivor (-1: none) and the week of the merge.

    A lead and its survivor have one role and neither is the primary contact, so an opportunity
    lists one as likely as the other and a merge leaves the lead's chance of a win as it was.
    """
    leads = len(account)
    survivor = np.full(leads, -1)
    merge_week = np.full(leads, -1)
    group = np.where(is_primary, -1, account * len(ROLE_SHARES) + role)
    order = np.argsort(group, kind="stable")
    has_twin = (group[order][1:] == group[order][:-1]) & (group[order][1:] >= 0)
    # In twos: the second of a pair is merged away, never a survivor of another.
    has_twin[1:] &= ~has_twin[:-1]
    kept, gone = order[:-1][has_twin], order[1:][has_twin]
    wanted = min(len(gone), round(MERGE_SHARE * leads))
    chosen = rng.permutation(len(gone))[:wanted]
    kept, gone = kept[chosen], gone[chosen]
    first = np.maximum(created_week[kept], created_week[gone]) + 1
    week = first + (rng.random(wanted) * (funnel.weeks - first)).astype(np.int64)
    is_possible = first < funnel.weeks
    survivor[gone[is_possible]] = kept[is_possible]
    merge_week[gone[is_possible]] = week[is_possible]
    return survivor, merge_week
