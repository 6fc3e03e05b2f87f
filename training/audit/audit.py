"""The leakage audit: which columns know what nobody knew yet. Evidence only, never names.

What it looks for, and where the thresholds and their margins are written down:

- `audit_recorded`: values recorded after the outcome;
- `audit_instants`: values that are instants after `as_of`;
- `audit_outcome`: columns filled for winners or losers only, single values that always win,
  columns that alone are too good to be true;
- `audit_missing`: late steps of the sales process, and what is filled only within them;
- `audit_undated`: columns of current-state and flat exports that may have been filled later;
- `audit_people`: people who are in the data twice.

Not to be found by any evidence in the data: a column that tells no more than an honest one would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from features.catalogue.feature import Feature
from features.config import Config
from features.parts.partitions import Partitions
from features.tables import Tables
from training.audit.figures import column_auc
from training.audit.findings import LEVELS
from training.audit.findings import Audit as Audit
from training.audit.findings import Duplicates as Duplicates
from training.audit.findings import Evidence as Evidence
from training.audit.findings import Finding as Finding
from training.audit.instants import end_of_data, instants_evidence
from training.audit.missing import late_steps, missing_groups, within_blocked
from training.audit.notes import audit_notes
from training.audit.outcome import ABOUT_FILLING, outcome_evidence
from training.audit.people import find_duplicates, hashes_of
from training.audit.recorded import recorded_evidence
from training.audit.rest import alone_evidence
from training.audit.undated import undated_evidence
from training.audit.views import ACCOUNT, Column, View, columns_of, views_of
from training.examples import Examples, attributed

Found = dict[str, list[Evidence]]


def audit_examples(
    examples: Examples,
    tables: Tables | None,
    config: Config,
    email_hash: pd.Series | None = None,
    partitions: Partitions | None = None,
) -> Audit:
    """Return what the audit found; `tables` is None for a flat export.

    `tables` may lack events where `partitions` has them all: these tell which wins are whose.
    `email_hash`, by lead id, tells duplicate people in a flat export; tables bring their own.

    Columns named in `[features] known_at_creation` raise no question, and what would block them is
    only flagged: the user overrules by name. Those in `[features] drop` are not looked at.
    """
    attribution = None
    if tables is not None:
        parts = [tables] if partitions is None else (part.tables for part in partitions)
        attribution = pd.concat([attributed(part, config) for part in parts])
        attribution = attribution.sort_values(["opportunity_id", "lead_id"], ignore_index=True)
    if tables is not None and email_hash is None:
        email_hash = hashes_of(tables)
    columns = columns_of(examples, tables)
    views = views_of(examples, tables, attribution)
    groups = missing_groups(columns)
    found = _evidence(columns, views, groups, examples, tables, attribution, config)
    findings = [
        _finding(name, evidence, groups.get(name), is_named(name, config))
        for name, evidence in found.items()
    ]
    return Audit(
        _in_order([finding for finding in findings if finding is not None]),
        find_duplicates(examples, email_hash, config),
        audit_notes(examples),
        len(columns),
    )


def is_named(column: str, config: Config) -> bool:
    """Return whether the user says that the column is filled when a lead is created."""
    named = config.features.known_at_creation
    return column in named or column.partition(".")[2] in named


def _in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the findings worst first, groups together and numbered in that order."""
    ordered = sorted(
        findings, key=lambda one: (LEVELS.index(one.level), one.group or 0, one.column)
    )
    groups = dict.fromkeys(one.group for one in ordered if one.group)
    number = {group: place for place, group in enumerate(groups, 1)}
    return tuple(replace(one, group=number.get(one.group or 0)) for one in ordered)


def _evidence(
    columns: Sequence[Column],
    views: dict[str, list[View]],
    groups: dict[str, int],
    examples: Examples,
    tables: Tables | None,
    attribution: pd.DataFrame | None,
    config: Config,
) -> Found:
    found: Found = {column.name: [] for column in columns}
    if tables is not None and attribution is not None:
        for name, evidence in recorded_evidence(tables, attribution, config.features.drop).items():
            found.setdefault(name, []).extend(evidence)
    end = end_of_data(examples, tables, config)
    label = views["leads"][0]
    for column in columns:
        found[column.name] += outcome_evidence(column, views[column.owner])
        if examples.is_dated and column.name != ACCOUNT:
            found[column.name] += instants_evidence(column, examples, tables, label, end)
    for name, step in late_steps(columns, label, groups).items():
        found[name].append(step)
    about_filling = [
        column
        for column in columns
        if _is_filled_late(found[column.name]) and not is_named(column.name, config)
    ]
    for name, within in within_blocked(columns, about_filling, label).items():
        found[name].append(within)
    aucs = {column.name: column_auc(column, label) for column in columns}
    blocked = {name for name, evidence in found.items() if _blocks(evidence)}
    for name, alone in alone_evidence(columns, aucs, blocked, examples, label).items():
        found[name].append(alone)
    for name, signs in undated_evidence(columns, aucs, label, groups).items():
        found[name] += signs
    return found


def _blocks(evidence: Sequence[Evidence]) -> bool:
    return any(one.level == "block" for one in evidence)


def _is_filled_late(evidence: Sequence[Evidence]) -> bool:
    names = {one.name for one in evidence if one.level == "block"}
    return bool(names & (ABOUT_FILLING | {"late_step"}))


def _finding(
    column: str, evidence: list[Evidence], group: int | None, is_named: bool
) -> Finding | None:
    """Return the finding with the evidence of its level, None without any."""
    if is_named:
        evidence = [
            replace(one, level="flag", text=f"{one.text} (named in known_at_creation: used)")
            for one in evidence
            if one.level == "block"
        ]
    if not evidence:
        return None
    worst = min((one.level for one in evidence), key=LEVELS.index)
    return Finding(column, worst, tuple(one for one in evidence if one.level == worst), group)


def without_blocked(examples: Examples, audit: Audit) -> Examples:
    """Return the examples without the features of blocked columns, and those derived from them.

    Where the account of a lead is blocked, all that is known through the account goes with it.
    """
    blocked = audit.blocked()
    features = examples.catalogue.features
    kept = [one for one in features if not any(reads(one, column) for column in blocked)]
    if len(kept) == len(features):
        return examples
    names = {feature.name for feature in kept}
    left_out = [feature.name for feature in features if feature.name not in names]
    streams = {feature.stream for feature in features if feature.name in left_out}
    catalogue = replace(
        examples.catalogue,
        features=tuple(kept),
        undated=tuple(u for u in examples.catalogue.undated if u not in streams),
    )
    snapshots = examples.snapshots.drop(columns=left_out)
    return replace(examples, catalogue=catalogue, snapshots=snapshots)


def reads(feature: Feature, column: str) -> bool:
    """Return whether the feature is made of `column`, or known only through it."""
    if feature.stream == column:
        return True
    is_through_account = feature.family == "account" or feature.stream.startswith("accounts.")
    return column == ACCOUNT and is_through_account
