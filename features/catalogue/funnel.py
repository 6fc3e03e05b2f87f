"""The features of the funnel: the lead's age, its stage changes, earlier opportunities."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from features.catalogue.contents import Contents
from features.catalogue.feature import Feature
from features.catalogue.wording import NO_COMPANY, start


def funnel(contents: Contents, has_accounts: bool, has_customers: bool) -> Iterator[Feature]:
    """Yield the lead's age, its stage changes, and opportunities of the lead and its account.

    Where leads of customers (`has_customers`) are scored, their earlier wins are features too.
    """
    yield Feature(
        name="lead_age_days",
        family="engagement",
        concept="lead_age",
        aggregation="lead_age_days",
        wording="A lead for {value} days",
        zero_wording="A lead since today",
    )
    if has_accounts:
        yield Feature(
            name="account_leads",
            family="account",
            concept="account.leads",
            aggregation="account_leads",
            wording="{value} leads known at the company",
            one_wording="The only lead known at the company",
            missing_wording=NO_COMPANY,
        )
    if contents.has_stage_changes:
        yield from _stage_changes()
    if contents.has_opportunities:
        yield from _opportunities("")
        if has_accounts:
            yield from _opportunities("account_")
        if has_accounts and has_customers:
            yield from _wins()


def _stage_changes() -> Iterator[Feature]:
    yield Feature(
        name="days_since_stage_change",
        family="engagement",
        concept="stage_change",
        aggregation="days_since_stage_change",
        wording="Last handled by marketing or sales {value} days ago",
        missing_wording="Never handled by marketing or sales",
    )
    yield Feature(
        name="times_recycled",
        family="engagement",
        concept="recycled",
        aggregation="times_recycled",
        wording="Given back to marketing {value} times",
        one_wording="Given back to marketing once",
        zero_wording="Never given back to marketing",
    )


def _opportunities(owner: str) -> Iterator[Feature]:
    """Yield the opportunities of the lead (owner "") or of its account ("account_")."""
    whom = "at the company" if owner else "with the lead"
    unknown = NO_COMPANY if owner else ""
    none = "no opportunity at the company, or the company is not known"
    for aggregation, wording, one, zero, missing in (
        (
            "days_since_opportunity",
            f"Newest opportunity {whom} created {{value}} days ago",
            "",
            "",
            start(none) if owner else "No opportunity with the lead so far",
        ),
        (
            "open_opportunities",
            f"{{value}} open opportunities {whom}",
            f"An open opportunity {whom}",
            f"No open opportunity {whom}",
            unknown,
        ),
        (
            "lost_opportunities",
            f"{{value}} opportunities {whom} lost before",
            f"An opportunity {whom} lost before",
            f"No opportunity {whom} lost before",
            unknown,
        ),
        (
            "days_since_lost",
            f"Last opportunity {whom} lost {{value}} days ago",
            "",
            "",
            f"No opportunity {whom} lost before" + (", or it is not known" if owner else ""),
        ),
    ):
        yield Feature(
            name=f"{owner}{aggregation}",
            family="account" if owner else "engagement",
            concept=f"{'account.' if owner else ''}opportunities",
            aggregation=f"{owner}{aggregation}",
            wording=wording,
            one_wording=one,
            zero_wording=zero,
            missing_wording=missing,
        )


def _wins() -> Iterator[Feature]:
    feature = partial(Feature, family="account", concept="account.wins")
    yield feature(
        name="account_won_opportunities",
        aggregation="account_won_opportunities",
        wording="{value} opportunities at the company won before",
        one_wording="An opportunity at the company won before",
        zero_wording="No opportunity at the company won before",
        missing_wording=NO_COMPANY,
    )
    yield feature(
        name="account_days_since_won",
        aggregation="account_days_since_won",
        wording="Last opportunity at the company won {value} days ago",
        missing_wording="No opportunity at the company won before, or it is not known",
    )
