"""The slow, obvious reference: one snapshot at a time, straight from the definitions.

Shares no code with the kernel or the histories. Instants are integers (microseconds).
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import pandas as pd

from features.catalogue.catalogue import Catalogue, Feature
from features.config import PopulationConfig
from features.fit.fit_columns import FIT_AGGREGATIONS, fit_value
from features.tables import Tables

DAY = 86_400_000_000
Row = dict[str, Any]


def _plain(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        return int(value.as_unit("us").asm8.view("int64"))
    return None if pd.isna(value) else value


def _records(frame: pd.DataFrame) -> list[Row]:
    return [{k: _plain(v) for k, v in row.items()} for row in frame.to_dict("records")]


def _follow(row: Row | None, column: str) -> Any:
    return None if row is None else row[column]


class Reference:
    """Answers questions about one instant by reading every row."""

    def __init__(self, tables: Tables, account_from: str = "account_id", days: int = 90) -> None:
        self.leads = _records(tables.leads)
        self.accounts = _records(tables.accounts)
        self.events = _records(tables.engagement_events)
        self.opportunities = _records(tables.opportunities)
        self.contacts = _records(tables.opportunity_leads)
        self.changes = _records(tables.stage_changes)
        self.current_state = tables.current_state
        self.account_from = account_from
        self.attribution_days = days
        self.lead_ids = sorted({row["lead_id"] for row in self.leads})
        self.merges = {lead: self.merge_of(lead) for lead in self.lead_ids}
        for event in self.events:
            event["visible"] = max(event["occurred_at"], event["recorded_at"])
            event["account"], event["account_visible"] = self.account_of_event(event)

    # Leads, accounts, merges

    def history(self, table: str, owner: str) -> list[Row]:
        key = "lead_id" if table == "leads" else "account_id"
        rows = [dict(row) for row in getattr(self, table) if row[key] == owner]
        if table in self.current_state:
            for row in rows:
                row["recorded_at"] = -math.inf
        return sorted(rows, key=lambda row: row["recorded_at"])

    def newest(self, table: str, owner: str, as_of: float) -> Row | None:
        known = [row for row in self.history(table, owner) if row["recorded_at"] < as_of]
        return known[-1] if known else None

    def account_in(self, row: Row | None) -> str | None:
        if row is None:
            return None
        if self.account_from == "account_id":
            return row["account_id"]
        domain = row["email_domain"]
        if domain is None or domain.strip().lower() in ("gmail.com", "outlook.com"):
            return None
        return domain.strip().lower()

    def first_recorded(self, lead: str) -> int:
        return min(row["recorded_at"] for row in self.leads if row["lead_id"] == lead)

    def account_at(self, lead: str, as_of: float) -> str | None:
        """Return the lead's account; before the lead is recorded it has none."""
        if self.first_recorded(lead) >= as_of:
            return None
        return self.account_in(self.newest("leads", lead, as_of))

    def account_of_event(self, event: Row) -> tuple[str | None, float]:
        rows = self.history("leads", event["lead_id"])
        known = [row for row in rows if row["recorded_at"] <= event["occurred_at"]]
        row = known[-1] if known else rows[0]
        recorded = max(row["recorded_at"], self.first_recorded(event["lead_id"]))
        return self.account_in(row), max(event["visible"], recorded)

    def merge_of(self, lead: str) -> tuple[str, int] | None:
        """Return the survivor of the lead's first merge, known once both are recorded."""
        merges = [
            (max(row["recorded_at"], self.first_recorded(row["merged_into"])), row["merged_into"])
            for row in self.leads
            if row["lead_id"] == lead
            and row["merged_into"] in self.lead_ids
            and row["merged_into"] != lead
        ]
        known, survivor = min(merges, default=(None, None))
        return None if survivor is None else (survivor, known)

    def path(self, lead: str, as_of: float) -> list[str]:
        """Return the lead and those it was merged into, one after the other."""
        passed = [lead]
        while (merge := self.merges[passed[-1]]) and merge[1] < as_of:
            passed.append(merge[0])
        return passed

    # Opportunities

    def links(self, opportunity: Row, as_of: float = math.inf) -> dict[str, float]:
        """Return the leads an opportunity labels by what was recorded before `as_of`.

        With each: from when that is known.
        """
        created = opportunity["created_recorded_at"]
        contacts = [
            row
            for row in self.contacts
            if row["opportunity_id"] == opportunity["opportunity_id"] and row["recorded_at"] < as_of
        ]
        if opportunity["lead_id"] is not None:
            found = [(opportunity["lead_id"], created)]
        elif contacts:
            found = [(row["lead_id"], max(created, row["recorded_at"])) for row in contacts]
        else:
            opens = opportunity["created_at"] - self.attribution_days * DAY
            found = [
                (event["lead_id"], max(created, event["account_visible"]))
                for event in self.events
                if opportunity["account_id"] is not None
                and event["account"] == opportunity["account_id"]
                and opens <= event["occurred_at"] < opportunity["created_at"]
            ]
        labelled: dict[str, float] = {}
        for lead, known in found:
            if lead in self.lead_ids:
                same = self.same_person(lead, opportunity["closed_recorded_at"])
                for other, merged in same.items():
                    known_at = max(known, merged)
                    if known_at < as_of:
                        labelled[other] = min(labelled.get(other, math.inf), known_at)
        return labelled

    def same_person(self, lead: str, closed_known: float | None) -> dict[str, float]:
        """Return the leads merged into one person before `closed_known`, and from when."""
        reached = {lead: -math.inf}
        waiting = [lead]
        while waiting:
            here = waiting.pop()
            for other in self.lead_ids:
                for gone, survivor in ((here, other), (other, here)):
                    merge = self.merges[gone]
                    is_merge = merge is not None and merge[0] == survivor
                    if not is_merge or other in reached:
                        continue
                    if closed_known is None or merge[1] < closed_known:
                        reached[other] = max(reached[here], merge[1])
                        waiting.append(other)
        return reached

    def accounts_of(self, opportunity: Row, as_of: float) -> dict[str, float]:
        named = {opportunity["account_id"]: opportunity["created_recorded_at"]}
        named = {account: known for account, known in named.items() if account is not None}
        linked: dict[str, float] = {}
        for lead, known in self.links(opportunity, as_of).items():
            account = self.account_at(lead, known + 1)
            if account is not None:
                linked[account] = min(linked.get(account, math.inf), known)
        if self.account_from == "account_id":
            return named or linked
        return linked or named

    def known_opportunities(self, owner: str, as_of: float, of_account: bool) -> list[Row]:
        """Return the opportunities of a lead or account known at `as_of`, with their stage then."""
        known = []
        for opportunity in self.opportunities:
            linked_by = self.accounts_of if of_account else self.links
            owners = linked_by(opportunity, as_of)
            linked = max(owners.get(owner, math.inf), opportunity["created_recorded_at"])
            if linked < as_of:
                closing = opportunity["closed_recorded_at"]
                is_closed = closing is not None and max(closing, linked) < as_of
                known.append({**opportunity, "now": opportunity["stage"] if is_closed else "open"})
        return known

    # Population

    def changed(self, lead: str, stages: set[str], as_of: float) -> float:
        return max(
            (
                row["changed_at"]
                for row in self.changes
                if row["lead_id"] == lead
                and row["stage"] in stages
                and max(row["changed_at"], row["recorded_at"]) < as_of
            ),
            default=-math.inf,
        )

    def standing(self, lead: str, as_of: int, config: PopulationConfig) -> tuple[bool, bool]:
        """Return whether the lead is in the population, and whether it is eligible."""
        first = self.history("leads", lead)[0]
        recorded = min(r["recorded_at"] for r in self.leads if r["lead_id"] == lead)
        recycled = self.changed(lead, {"recycled"}, as_of)
        deals = self.known_opportunities(lead, as_of, of_account=False)
        stages = [deal["now"] for deal in deals]
        lost_at = max(
            (d["closed_at"] for d in deals if d["now"] == "closed_lost"), default=-math.inf
        )
        account = self.account_at(lead, as_of)
        is_customer = (
            config.customers == "exclude"
            and account is not None
            and "closed_won"
            in [deal["now"] for deal in self.known_opportunities(account, as_of, of_account=True)]
        )
        in_population = (
            first["created_at"] <= as_of
            and recorded < as_of
            and len(self.path(lead, as_of)) == 1
            and not self.changed(lead, {"disqualified"}, as_of) > recycled
            and "closed_won" not in stages
            and not (lost_at > recycled and "open" not in stages)
            and not is_customer
        )
        handed_over = self.changed(lead, {"mql", "sal", "sql"}, as_of)
        is_with_sales = handed_over > recycled
        if config.requalify_after_days is not None:
            is_with_sales &= as_of - handed_over < config.requalify_after_days * DAY
        return in_population, in_population and "open" not in stages and not is_with_sales

    # Features

    def snapshot(self, catalogue: Catalogue, lead: str, account: str | None, as_of: int) -> Row:
        """Return every feature of one lead at one instant."""
        own = [
            event
            for event in self.events
            if event["visible"] < as_of and lead in self.path(event["lead_id"], as_of)
        ]
        group = [
            event
            for event in self.events
            if account is not None
            and event["account"] == account
            and event["account_visible"] < as_of
        ]
        person = self.path(lead, as_of)[-1]
        others = [e for e in group if self.path(e["lead_id"], as_of)[-1] != person]
        values = {}
        for feature in catalogue.features:
            if feature.family == "account" and account is None:
                values[feature.name] = None
            elif feature.aggregation == "attribute":
                table, _, column = feature.stream.partition(".")
                owner = lead if table == "leads" else account
                row = None if owner is None else self.newest(table, owner, as_of)
                values[feature.name] = _follow(row, column)
            elif feature.aggregation in FIT_AGGREGATIONS:
                table, _, column = feature.stream.partition(".")
                owner = lead if table == "leads" else account
                row = None if owner is None else self.newest(table, owner, as_of)
                values[feature.name] = fit_value(feature.aggregation, _follow(row, column))
            elif feature.stream:
                events = {
                    "account_decayed_count": group,
                    "colleague_count": others,
                    "active_colleagues": others,
                    "days_since_colleague": others,
                }.get(feature.aggregation, own)
                events = [e for e in events if _in_stream(e, feature.stream, catalogue)]
                if feature.aggregation == "journey_stage":
                    values[feature.name] = _furthest_stage(feature, events, catalogue, as_of)
                    continue
                values[feature.name] = self.aggregate(feature, events, as_of)
            else:
                values[feature.name] = self.other(feature, lead, account, as_of)
        return values

    def aggregate(self, feature: Feature, events: list[Row], as_of: int) -> float | str | None:
        def within(days: int | None) -> list[Row]:
            assert days is not None
            return [e for e in events if as_of - days * DAY <= e["occurred_at"] < as_of]

        ages = [(as_of - event["occurred_at"]) / DAY for event in events]
        match feature.aggregation:
            case "count" | "colleague_count":
                return len(within(feature.window_days))
            case "value_sum":
                return sum(event["value"] or 0 for event in within(feature.window_days))
            case "days_since_last" | "days_since_colleague":
                return min(ages, default=None)
            case "days_since_first":
                return max(ages, default=None)
            case "decayed_count" | "account_decayed_count":
                assert feature.half_life_days is not None
                return sum(0.5 ** (age / feature.half_life_days) for age in ages)
            case "active_days":
                return len({e["occurred_at"] // DAY for e in within(feature.window_days)})
            case "active_colleagues":
                inside = within(feature.window_days)
                return len({self.path(e["lead_id"], as_of)[-1] for e in inside})
            case "distinct_contents":
                inside = within(feature.window_days)
                return len({e["content"] for e in inside} - {None})
            case "distinct_campaigns":
                inside = within(feature.window_days)
                return len({e["campaign"] for e in inside} - {None})
            case "longest_silence":
                ages.sort()
                return max((b - a for a, b in itertools.pairwise(ages)), default=None)
            case "first_touch_channel" | "last_touch_channel":
                touches = [(e["occurred_at"], e["channel"]) for e in events if e["channel"]]
                instants = [instant for instant, _ in touches]
                ends = {"first": min, "last": max}
                end = ends[feature.aggregation.partition("_")[0]](instants, default=None)
                return min((name for instant, name in touches if instant == end), default=None)
            case "trend":
                assert feature.window_days and feature.longer_window_days
                recent = len(within(feature.window_days))
                earlier = len(within(feature.longer_window_days)) - recent
                if recent + earlier == 0:
                    return None
                recent_rate = recent / feature.window_days
                earlier_rate = earlier / (feature.longer_window_days - feature.window_days)
                return (recent_rate - earlier_rate) / (recent_rate + earlier_rate)
        raise AssertionError(feature.aggregation)

    def other(self, feature: Feature, lead: str, account: str | None, as_of: int) -> float | None:
        def since(instant: float) -> float | None:
            return None if instant == -math.inf else (as_of - instant) / DAY

        kind = feature.aggregation
        if kind == "lead_age_days":
            return since(min(r["created_at"] for r in self.leads if r["lead_id"] == lead))
        if kind == "account_leads":
            recorded = {
                lead: min(r["recorded_at"] for r in self.leads if r["lead_id"] == lead)
                for lead in self.lead_ids
            }
            return sum(
                recorded[other] < as_of
                and self.account_at(other, as_of) == account
                and len(self.path(other, as_of)) == 1
                for other in self.lead_ids
            )
        if kind == "days_since_stage_change":
            return since(self.changed(lead, {row["stage"] for row in self.changes}, as_of))
        if kind == "times_recycled":
            return sum(
                row["lead_id"] == lead
                and row["stage"] == "recycled"
                and max(row["changed_at"], row["recorded_at"]) < as_of
                for row in self.changes
            )
        of_account = kind.startswith("account_")
        deals = self.known_opportunities(account if of_account else lead, as_of, of_account)
        lost = [deal for deal in deals if deal["now"] == "closed_lost"]
        won = [deal for deal in deals if deal["now"] == "closed_won"]
        match kind.removeprefix("account_"):
            case "days_since_opportunity":
                return since(max((d["created_at"] for d in deals), default=-math.inf))
            case "open_opportunities":
                return sum(deal["now"] == "open" for deal in deals)
            case "lost_opportunities":
                return len(lost)
            case "days_since_lost":
                return since(max((d["closed_at"] for d in lost), default=-math.inf))
            case "won_opportunities":
                return len(won)
            case "days_since_won":
                return since(max((d["closed_at"] for d in won), default=-math.inf))
        raise AssertionError(kind)


def _in_stream(event: Row, stream: str, catalogue: Catalogue) -> bool:
    own = f"events.{event['event_type']}"
    if stream in ("events", "journey"):
        return True
    if stream == "events.*":
        return own not in {feature.stream for feature in catalogue.features}
    if stream.startswith("groups."):
        return event["event_type"] in _members(catalogue, stream)
    return stream == own


def _members(catalogue: Catalogue, stream: str) -> tuple[str, ...]:
    return next((g.event_types for g in catalogue.groups if g.stream == stream), ())


def _furthest_stage(
    feature: Feature, events: list[Row], catalogue: Catalogue, as_of: int
) -> str | None:
    """Return the furthest stage within the window; what stands in no list means awareness."""
    assert feature.window_days is not None
    opens = as_of - feature.window_days * DAY
    done = {event["event_type"] for event in events if event["occurred_at"] >= opens}
    decision = set(_members(catalogue, "journey.decision"))
    consideration = set(_members(catalogue, "journey.consideration"))
    ignored = set(_members(catalogue, "journey.ignored"))
    if done & decision:
        return "decision"
    if done & consideration:
        return "consideration"
    return "awareness" if done - ignored else None
