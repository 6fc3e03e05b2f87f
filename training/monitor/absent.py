"""What the model reads and the data do not hold at all: lost tables, columns and event types.

The weeks of the champion's training are read from the same data as the newest, so what is lost from
all of them looks calm from week to week. The bundle knows what was there when it was made.
"""

from __future__ import annotations

from collections.abc import Iterator

from features.catalogue.catalogue import Catalogue
from features.catalogue.contents import Contents
from features.catalogue.feature import ALL_EVENTS, BY_ACCOUNT, BY_LEAD, Feature
from training.monitor.finding import Finding

EVENTS = "engagement_events"
_OF_TEXT = {
    "distinct_contents": "content",
    "distinct_campaigns": "campaign",
    "first_touch_channel": "channel",
    "last_touch_channel": "channel",
}
_STAGES = ("days_since_stage_change", "times_recycled")


def absent_sources(catalogue: Catalogue, contents: Contents) -> tuple[str, ...]:
    """Return what `catalogue` reads and `contents` lacks, in the catalogue's order.

    `engagement_events` is a table, `leads.seniority` a column, `events.chat` a type of events. A
    catalogue names only what held values when it was made.
    """
    filled = {each.stream for each in contents.attributes if each.is_filled}
    found = dict.fromkeys(
        source
        for feature in catalogue.features
        for source in _absent_of(feature, catalogue, contents, filled)
    )
    return tuple(found)


def source_of(feature: Feature, absent: tuple[str, ...]) -> str | None:
    """Return what of `absent` a feature is made from, None if it is all there."""
    by_name = {
        EVENTS: feature.aggregation in (*BY_LEAD, *BY_ACCOUNT),
        f"{EVENTS}.{_OF_TEXT.get(feature.aggregation)}": True,
        f"{EVENTS}.value": feature.aggregation == "value_sum",
        feature.stream: True,
        feature.stream.partition(".")[0]: True,
        "leads.account_id": feature.family == "account",
        "stage_changes": feature.aggregation in _STAGES,
        "opportunities": _reads_opportunities(feature),
    }
    return next((name for name, reads in by_name.items() if reads and name in absent), None)


def absent_findings(absent: tuple[str, ...]) -> Iterator[Finding]:
    """Yield an alarm for each lost table, column and type of events."""
    for source in absent:
        table, _, name = source.partition(".")
        if not name:
            kind, text = "missing_table", f"the table {table} is empty or not there"
        elif table == ALL_EVENTS:
            kind, text = "missing_event_type", f"no {name} events at all"
        else:
            kind, text = "missing_column", f"the column {source} is empty or not there"
        yield Finding(
            kind, source, True, 1.0,
            f"{text}; the model was trained with it",
            "Mend the mapping in [tables], or the export",
        )  # fmt: skip


def _absent_of(
    feature: Feature, catalogue: Catalogue, contents: Contents, filled: set[str]
) -> Iterator[str]:
    owner, _, name = feature.stream.partition(".")
    if owner in ("leads", "accounts") and feature.stream not in filled:
        # Of accounts nothing is required but their id: without any column the table is lost.
        has_any = owner == "leads" or any(each.startswith("accounts.") for each in filled)
        yield feature.stream if has_any else owner
    if feature.aggregation in (*BY_LEAD, *BY_ACCOUNT) and feature.stream:
        if not contents.event_types:
            yield EVENTS
        else:
            yield from _absent_events(feature, catalogue, contents, name)
    if feature.family == "account" and catalogue.account_from == "account_id":
        yield from () if contents.has_accounts or not feature.stream else ("leads.account_id",)
    if feature.aggregation in _STAGES and not contents.has_stage_changes:
        yield "stage_changes"
    if _reads_opportunities(feature) and not contents.has_opportunities:
        yield "opportunities"


def _absent_events(
    feature: Feature, catalogue: Catalogue, contents: Contents, name: str
) -> Iterator[str]:
    is_own = feature.stream == f"{ALL_EVENTS}.{name}" and name in catalogue.own_types
    if is_own and name not in contents.event_types:
        yield feature.stream
    column = _OF_TEXT.get(feature.aggregation)
    if column is not None and column not in contents.filled:
        yield f"{EVENTS}.{column}"
    if feature.aggregation == "value_sum" and not contents.types_with_values:
        yield f"{EVENTS}.value"


def _reads_opportunities(feature: Feature) -> bool:
    return "opportunit" in feature.aggregation or feature.aggregation.endswith(
        ("days_since_lost", "days_since_won")
    )
