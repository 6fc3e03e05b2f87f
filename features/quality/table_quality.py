"""What is odd across tables: dates that cannot be, rows that belong to nobody, people twice."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.facts.lookup import codes_in
from features.loading.load_report import LoadReport
from features.quality.findings import Finding, Severity
from features.tables import CONTRACT, EMAIL_HASH, Tables

OLDEST_DAY = np.datetime64("1990-01-01")
LONG_BEFORE_DAYS = 365
MOST_STRAGGLERS = 2
STRAGGLER_SHARE = 0.0001
ONE_DAY_SHARE = 0.2
"Of a table's rows on a single day, over a long time: an import rather than what happened."
LONG_DAYS = 90
FEWEST_ROWS = 100
MANY = 0.05
"A share of orphans, or of people twice, that will show in a model."
GIANT_SHARE = 0.2
FEWEST_ACCOUNTS = 10

# Rules of the loader that set rows aside since what they belong to is not there.
ORPHAN_RULES = (
    "event_of_unknown_lead",
    "stage_change_of_unknown_lead",
    "verdict_of_unknown_lead",
    "contact_is_unknown_lead",
    "unknown_opportunity",
)


def date_findings(name: str, instants: pd.Series, *, is_event: bool = False) -> list[Finding]:
    """Return what is odd about the dates of column `name`; the loader's rules come before.

    Those reject what is older than 1980 or lies in the future. `is_event`: a busy day is no import.
    """
    known = instants.dropna().to_numpy("datetime64[us]").astype("datetime64[D]")
    if not len(known):
        return []
    findings = []
    old = int((known < OLDEST_DAY).sum())
    if old:
        text = f"{old:,} before 1990: dates that stand for an empty cell?"
        findings.append(Finding("before_1990", "warn", name, old, text, old / len(known)))
    days = known[known >= OLDEST_DAY].view(np.int64)
    if not len(days):
        return findings
    first = int(days.min())
    counts = np.bincount(days - first)
    early, bulk = _stragglers(counts)
    if early:
        day = np.datetime64(first + bulk, "D")
        text = f"{early:,} more than a year before all others, which start on {day}"
        findings.append(Finding("long_before_the_rest", "note", name, early, text))
    busiest, total = int(counts.max()), len(days)
    if (
        not is_event
        and total >= FEWEST_ROWS
        and busiest > ONE_DAY_SHARE * total
        and len(counts) - bulk >= LONG_DAYS
    ):
        day = np.datetime64(first + int(counts.argmax()), "D")
        text = f"{busiest / total:.0%} on one day, {day}: an import stamps its own date?"
        findings.append(Finding("one_day_import", "note", name, busiest, text, busiest / total))
    return findings


def _stragglers(counts: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Return how many rows lie over a year before all others, and the first day of those.

    >>> _stragglers(np.concatenate([[1], np.zeros(400, int), np.full(300, 2)]))
    (1, 401)
    """
    days = np.flatnonzero(counts)
    total = int(counts.sum())
    most = min(max(MOST_STRAGGLERS, STRAGGLER_SHARE * total), 0.01 * total)
    until = np.cumsum(counts[days])
    gaps = np.flatnonzero((np.diff(days) > LONG_BEFORE_DAYS) & (until[:-1] <= most))
    if not len(gaps):
        return 0, int(days[0])
    return int(until[gaps[-1]]), int(days[gaps[-1] + 1])


def all_date_findings(tables: Tables) -> list[Finding]:
    """Return what is odd about the dates of every table."""
    findings = []
    for spec in CONTRACT.values():
        if (
            spec.name not in tables.present
            or spec.own_time is None
            or spec.name == "campaign_costs"
        ):
            continue
        rows = getattr(tables, spec.name)
        if spec.key is not None:
            rows = rows.drop_duplicates(spec.key)
        is_event = spec.name == "engagement_events"
        name = f"{spec.name}.{spec.own_time}"
        findings += date_findings(name, rows[spec.own_time], is_event=is_event)
    closed = tables.opportunities["closed_at"]
    return findings + date_findings("opportunities.closed_at", closed)


def early_events(tables: Tables) -> list[Finding]:
    """Return how many events lie on a day before their lead was created, and by how much."""
    events = tables.engagement_events
    if events.empty:
        return []
    leads = tables.leads.drop_duplicates("lead_id")
    place = codes_in(events["lead_id"], pd.Index(leads["lead_id"]))
    created = leads["created_at"].to_numpy("datetime64[us]").astype("datetime64[D]")[place]
    occurred = events["occurred_at"].to_numpy("datetime64[us]").astype("datetime64[D]")
    is_early = (place >= 0) & (occurred < created)
    count = int(is_early.sum())
    if not count:
        return []
    days = float(np.median((created - occurred)[is_early].astype(np.int64)))
    share = count / len(events)
    text = (
        f"{count:,} of {len(events):,} ({share:.1%}) before their lead was created, by {days:,.0f}"
        " days in the median: honest where a visitor was known before they left a name"
    )
    subject = "engagement_events.occurred_at"
    return [Finding("event_before_lead", "note", subject, count, text, share)]


def orphans(tables: Tables, report: LoadReport | None) -> list[Finding]:
    """Return how many rows belong to a lead or account that is not there.

    Most were set aside by the loader and stand in its `report`.
    """
    findings = []
    for table in report.tables if report is not None else ():
        for rule, count in table.rejected.items():
            if rule in ORPHAN_RULES:
                found = _orphans(rule, table.name, count, table.rows_read, " and were set aside")
                findings.append(found)
    deals, leads = tables.opportunities, tables.leads
    unknown_leads = deals["lead_id"].notna() & ~deals["lead_id"].isin(leads["lead_id"])
    places = [("opportunity_of_unknown_lead", "opportunities.lead_id", unknown_leads)]
    if "accounts" in tables.present:
        known = tables.accounts["account_id"]
        newest = leads.drop_duplicates("lead_id", keep="last")["account_id"]
        places.append(
            ("lead_of_unknown_account", "leads.account_id", newest.notna() & ~newest.isin(known))
        )
        either = pd.concat([known, leads["account_id"]])
        nobody = deals["account_id"].notna() & ~deals["account_id"].isin(either)
        places.append(("opportunity_of_unknown_account", "opportunities.account_id", nobody))
    for rule, column, is_orphan in places:
        if is_orphan.any():
            findings.append(_orphans(rule, column, int(is_orphan.sum()), len(is_orphan)))
    return findings


def _orphans(rule: str, subject: str, count: int, rows: int, after: str = "") -> Finding:
    share = count / max(rows, 1)
    severity: Severity = "warn" if share > MANY else "note"
    what = "deal" if "opportunity" in rule and "unknown_opportunity" in rule else "lead"
    what = "account" if rule.endswith("account") else what
    text = f"{count:,} of {rows:,} ({share:.1%}) name a {what} that is not there{after}"
    return Finding(rule, severity, subject, count, text.replace("a account", "an account"), share)


def duplicate_people(leads: pd.DataFrame) -> list[Finding]:
    """Return how many leads share their e-mail address (its hash) with another, unmerged lead."""
    newest = leads.drop_duplicates("lead_id", keep="last")
    newest = newest[newest[EMAIL_HASH].notna()]
    if "merged_into" in newest:
        newest = newest[newest["merged_into"].isna()]
    by_person = newest.groupby(EMAIL_HASH)["lead_id"].size()
    twice = by_person[by_person > 1]
    count = int(twice.sum())
    if not count:
        return []
    share = count / len(newest)
    text = (
        f"{count:,} leads ({share:.1%}) are {len(twice):,} people by their e-mail address: each has"
        " a part of the history. Merge them (merged_into) where your CRM has not"
    )
    severity: Severity = "warn" if share > MANY else "note"
    return [Finding("duplicate_lead", severity, "leads", count, text, share)]


def giant_account(leads: pd.DataFrame) -> list[Finding]:
    """Return whether one account has so many of the leads that it stands for no company."""
    sizes = leads.drop_duplicates("lead_id", keep="last")["account_id"].value_counts()
    total = int(sizes.sum())
    if len(sizes) < FEWEST_ACCOUNTS or total < FEWEST_ROWS or sizes.iloc[0] <= GIANT_SHARE * total:
        return []
    count = int(sizes.iloc[0])
    text = (
        f"one account has {count:,} of the {total:,} leads with an account ({count / total:.0%}):"
        " a placeholder? Its leads count as colleagues; make it empty"
    )
    return [Finding("giant_account", "warn", "leads.account_id", count, text, count / total)]
