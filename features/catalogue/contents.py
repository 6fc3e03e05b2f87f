"""What tables hold, in a few counts: all that a catalogue is made from, whole or part by part."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import pandas as pd

from features.tables import Tables

OWNERS: tuple[Literal["leads", "accounts"], ...] = ("leads", "accounts")


@dataclass(frozen=True)
class Attribute:
    """One attribute column of leads or accounts."""

    owner: Literal["leads", "accounts"]
    column: str
    dtype: Literal["number", "category"]
    is_filled: bool
    "Whether any row that counts holds a value."

    @property
    def stream(self) -> str:
        """`leads.column` or `accounts.column`."""
        return f"{self.owner}.{self.column}"


@dataclass(frozen=True)
class Contents:
    """What was recorded before an instant. The contents of parts add up to those of the whole."""

    event_types: dict[str, int]
    "Type -> events, by name."
    types_with_values: frozenset[str]
    "Types with any value that is not 0."
    filled: frozenset[str]
    "Which of the events' texts `channel`, `campaign`, `content` hold anything."
    attributes: tuple[Attribute, ...]
    "Of leads, then of accounts, in file order."
    has_accounts: bool
    "Whether any lead names an account."
    has_stage_changes: bool
    has_opportunities: bool
    current_state: frozenset[str]
    "Of leads and accounts: cannot be dated."

    def __add__(self, other: Contents) -> Contents:
        """Return what both hold together; they are parts of the same tables."""
        counts = dict(self.event_types)
        for name, count in other.event_types.items():
            counts[name] = counts.get(name, 0) + count
        return Contents(
            event_types=dict(sorted(counts.items())),
            types_with_values=self.types_with_values | other.types_with_values,
            filled=self.filled | other.filled,
            attributes=tuple(
                Attribute(a.owner, a.column, a.dtype, a.is_filled or b.is_filled)
                for a, b in zip(self.attributes, other.attributes, strict=True)
            ),
            has_accounts=self.has_accounts or other.has_accounts,
            has_stage_changes=self.has_stage_changes or other.has_stage_changes,
            has_opportunities=self.has_opportunities or other.has_opportunities,
            current_state=self.current_state | other.current_state,
        )


def contents_of(tables: Tables, until: pd.Timestamp) -> Contents:
    """Return what of `tables` was recorded before `until`; later rows change nothing.

    The rows of a current-state export cannot be dated and all count.
    """
    events = tables.engagement_events
    events = events[(events["recorded_at"] < until) & (events["occurred_at"] < until)]
    counts = events["event_type"].value_counts().sort_index()
    has_value = (events["value"].fillna(0) != 0).to_numpy()
    opportunities = tables.opportunities["created_recorded_at"]
    return Contents(
        event_types={str(name): int(count) for name, count in counts.items()},
        types_with_values=frozenset(map(str, events.loc[has_value, "event_type"].unique())),
        filled=frozenset(
            name for name in ("channel", "campaign", "content") if events[name].notna().any()
        ),
        attributes=tuple(
            attribute
            for owner in OWNERS
            for attribute in attributes_of(
                _recorded_before(tables, owner, until), tables.attributes(owner), owner
            )
        ),
        has_accounts=bool(tables.leads["account_id"].notna().any()),
        has_stage_changes=bool((tables.stage_changes["recorded_at"] < until).any()),
        has_opportunities=bool((opportunities < until).any()),
        current_state=tables.current_state,
    )


def merged_contents(parts: Iterable[Contents]) -> Contents:
    """Return the contents of all parts together; there must be at least one."""
    return reduce(Contents.__add__, parts)


def attributes_of(
    rows: pd.DataFrame, columns: Iterable[str], owner: Literal["leads", "accounts"]
) -> tuple[Attribute, ...]:
    """Return the attributes `columns` of `rows`, which are rows of `owner`."""
    return tuple(
        Attribute(
            owner,
            column,
            "number" if pd.api.types.is_numeric_dtype(rows[column]) else "category",
            bool(rows[column].notna().any()),
        )
        for column in columns
    )


def _recorded_before(
    tables: Tables, owner: Literal["leads", "accounts"], until: pd.Timestamp
) -> pd.DataFrame:
    rows: pd.DataFrame = getattr(tables, owner)
    if owner in tables.current_state:
        return rows
    return rows[rows["recorded_at"] < until]
