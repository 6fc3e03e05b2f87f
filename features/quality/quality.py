"""Data quality: what of the loaded data a person should look at before trusting a model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from features.config import Config
from features.loading.flat import FlatExport
from features.loading.load_report import LoadReport
from features.quality.column_quality import SORTS, ColumnQuality, look_at_attributes
from features.quality.event_volume import EventVolume, event_volume
from features.quality.findings import Finding, worst_first
from features.quality.maturity import Maturity, maturity_of, maturity_of_flat
from features.quality.table_quality import (
    all_date_findings,
    date_findings,
    duplicate_people,
    early_events,
    giant_account,
    orphans,
)
from features.tables import CONTRACT, EMAIL_HASH, Tables

# Missing for most rows by their nature: nothing is wrong with an open deal or an unmerged lead.
SELDOM_FILLED = {"leads.merged_into", "opportunities.closed_at", "leads.source"}
NO_EMAIL = "duplicate leads: there is no column email or email_hash"


@dataclass(frozen=True)
class Quality:
    """What was found about the data, by name and in numbers; no one's data."""

    findings: tuple[Finding, ...]
    "Warnings first."
    columns: tuple[ColumnQuality, ...]
    volume: EventVolume | None = None
    "None without events."
    maturity: Maturity | None = None
    "None without dates or without outcomes."
    not_computed: tuple[str, ...] = ()
    "What could not be looked at, and why."

    @property
    def warnings(self) -> int:
        """Findings that are likely broken data."""
        return sum(finding.severity == "warn" for finding in self.findings)

    def lines(self) -> list[str]:
        """Return the findings as text, the worst first; columns of one kind share a line."""
        lines = [finding.line() for finding in grouped(self.findings)]
        return lines + [f"not looked at: {missing}" for missing in self.not_computed]

    def as_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        return {
            "findings": [finding.as_dict() for finding in self.findings],
            "columns": [column.as_dict() for column in self.columns],
            "events": None if self.volume is None else self.volume.as_dict(),
            "maturity": None if self.maturity is None else self.maturity.as_dict(),
            "not_computed": list(self.not_computed),
        }


def grouped(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings with columns that share a fault in one, up to six of them named."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for number, finding in enumerate(findings):
        is_shared = finding.text == SORTS.get(finding.name)
        key = (finding.severity, finding.name if is_shared else str(number))
        groups.setdefault(key, []).append(finding)
    return [_as_one(group) for group in groups.values()]


def _as_one(group: list[Finding]) -> Finding:
    first = group[0]
    if len(group) == 1:
        return first
    more = f" and {len(group) - 6} more" if len(group) > 6 else ""
    named = ", ".join(finding.subject for finding in group[:6]) + more
    return Finding(first.name, first.severity, named, len(group), first.text)


def quality_of(tables: Tables, config: Config, report: LoadReport | None = None) -> Quality:
    """Return what is odd about the tables; `report` tells of the rows the loader set aside."""
    columns: list[ColumnQuality] = []
    findings: list[Finding] = []
    owners: tuple[Literal["leads", "accounts"], ...] = ("leads", "accounts")
    for name in owners:
        newest = getattr(tables, name).drop_duplicates(CONTRACT[name].key, keep="last")
        since = newest["created_at"] if name == "leads" else None
        wanted = {column: newest[column] for column in tables.attributes(name)}
        if newest["source"].isna().all() if name == "leads" else False:
            del wanted["source"]  # optional, and not there
        counted, odd = look_at_attributes(name, wanted, since)
        columns += counted
        findings += odd
    columns += _contract_columns(tables)
    findings += all_date_findings(tables) + early_events(tables) + orphans(tables, report)
    findings += giant_account(tables.leads)
    not_computed = []
    if EMAIL_HASH in tables.leads:
        findings += duplicate_people(tables.leads)
    else:
        not_computed.append(NO_EMAIL)
    volume = event_volume(tables.engagement_events, tables.data_until)
    maturity = maturity_of(tables, config) if "opportunities" in tables.present else None
    if maturity is None:
        not_computed.append("label maturity: there are no opportunities")
    return _quality(findings, columns, volume, maturity, not_computed)


def quality_of_flat(export: FlatExport, config: Config) -> Quality:
    """Return what is odd about the rows of a flat export; its columns are those of `leads`."""
    rows = export.rows
    has_dates = bool(rows["as_of"].notna().all())
    wanted = {column: rows[column] for column in export.attributes if column != EMAIL_HASH}
    columns, findings = look_at_attributes("leads", wanted, rows["as_of"] if has_dates else None)
    findings += date_findings("leads.as_of", rows["as_of"])
    if "won_at" in rows:
        findings += date_findings("leads.won_at", rows["won_at"])
    if rows["account_id"].notna().any():
        findings += giant_account(rows)
    not_computed = []
    if EMAIL_HASH in rows:
        findings += duplicate_people(rows)
    else:
        not_computed.append(NO_EMAIL)
    maturity = maturity_of_flat(export, config)
    if maturity is None:
        missing = "outcomes" if has_dates else "dates"
        not_computed.append(f"label maturity: there are no {missing}")
    return _quality(findings, columns, None, maturity, not_computed)


def _quality(
    findings: list[Finding],
    columns: list[ColumnQuality],
    volume: EventVolume | None,
    maturity: Maturity | None,
    not_computed: list[str],
) -> Quality:
    everything = [
        *(volume.findings() if volume is not None else []),
        *(maturity.findings() if maturity is not None else []),
        *findings,
    ]
    return Quality(worst_first(everything), tuple(columns), volume, maturity, tuple(not_computed))


def _contract_columns(tables: Tables) -> list[ColumnQuality]:
    """Return how much is missing of the optional columns that the user's tables have."""
    counted = []
    for name in CONTRACT:
        rows: pd.DataFrame = getattr(tables, name)
        if name not in tables.present or rows.empty:
            continue
        for column in CONTRACT[name].optional:
            missing = float(rows[column].isna().mean())
            label = f"{name}.{column}"
            if missing < 1 and label not in SELDOM_FILLED:
                counted.append(ColumnQuality(label, "contract", len(rows), missing, None))
    return counted
