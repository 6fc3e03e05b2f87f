"""From tables to timelines: the arrays the kernel walks, by lead and by account."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from features import timeline
from features.feature import ALL_EVENTS, BY_ACCOUNT, BY_LEAD, OTHER_EVENTS, Feature
from features.histories import DAY, Bools, Int32s, Int64s, group_starts, ranges
from features.identity import People, event_rows
from features.ordering import Unordered, order_events
from features.state import ANY_STREAM
from features.tables import Tables

Matrix = npt.NDArray[np.float32]

_OPERATIONS = {
    "count": timeline.COUNT,
    "value_sum": timeline.VALUE_SUM,
    "days_since_last": timeline.SINCE_LAST,
    "days_since_first": timeline.SINCE_FIRST,
    "decayed_count": timeline.DECAYED,
    "active_days": timeline.ACTIVE_DAYS,
    "trend": timeline.TREND,
    "colleague_count": timeline.OTHERS_COUNT,
    "account_decayed_count": timeline.DECAYED,
    "active_colleagues": timeline.OTHERS_ACTIVE,
    "days_since_colleague": timeline.OTHERS_SINCE_LAST,
}

# A value is counted in millionths and at most a billion, so that 9,000 of them fit in 64 bits.
_LARGEST_VALUE = 1e9


def compile_plan(
    features: list[Feature], aggregations: tuple[str, ...], streams: dict[str, int]
) -> timeline.Plan:
    """Return the plan for the `features` made by `aggregations`; a column is a position in them."""
    chosen = [
        (n, feature) for n, feature in enumerate(features) if feature.aggregation in aggregations
    ]
    lengths = {(f.window_days, f.longer_window_days) for _, f in chosen}
    windows = sorted({days for pair in lengths for days in pair if days is not None})
    half_lives = sorted({f.half_life_days for _, f in chosen if f.half_life_days is not None})

    def step(column: int, feature: Feature) -> tuple[int, int, int, int, int]:
        span = longer = 0
        if feature.half_life_days is not None:
            span = half_lives.index(feature.half_life_days)
        elif feature.window_days is not None:
            span = windows.index(feature.window_days)
        if feature.longer_window_days is not None:
            longer = windows.index(feature.longer_window_days)
        return _OPERATIONS[feature.aggregation], streams[feature.stream], span, longer, column

    steps = [step(column, feature) for column, feature in chosen]
    return timeline.Plan(
        np.array(windows, np.int64) * DAY,
        np.array(half_lives, np.int64) * DAY,
        len(streams),
        np.array(steps, np.int64).reshape(-1, 5),
    )


def fill_timelines(
    tables: Tables,
    people: People,
    features: list[Feature],
    leads: Int64s,
    accounts: Int64s,
    as_of: Int64s,
    matrix: Matrix,
) -> None:
    """Fill the columns of `matrix` that come from engagement events, in place.

    Row i is the snapshot of lead code `leads[i]` with account code `accounts[i]` (-1: none, its
    account columns stay missing) at `as_of[i]`. A user without events has all of them missing.
    """
    events = tables.engagement_events
    if not len(events) and "engagement_events" not in tables.present:
        return
    streams = {ALL_EVENTS: ANY_STREAM}
    for feature in features:
        if feature.aggregation in BY_LEAD + BY_ACCOUNT:
            streams.setdefault(feature.stream, len(streams))
    own = compile_plan(features, BY_LEAD, streams)
    group = compile_plan(features, BY_ACCOUNT, streams)
    rows, events = event_rows(tables, people)
    stream_codes = _stream_codes(events["event_type"], streams)
    values = _millionths(events["value"])
    named = [_ranks(events[column]) for column in ("content", "campaign", "channel")]
    if len(own.steps):
        event, owners, visible = rows.with_merged(people)
        kept = _asked_for(leads, len(people.lead_ids))[owners]
        event, owners, visible = event[kept], owners[kept], visible[kept]
        unordered = Unordered(
            owners,
            visible,
            rows.occurred[event],
            stream_codes[event],
            values[event],
            np.zeros(len(event), np.int32),
            *(codes[event] for codes in named),
        )
        ordered = order_events(unordered, len(people.lead_ids))
        asked = _asked(leads, len(people.lead_ids), as_of, np.zeros(len(leads), np.int64))
        timeline.fill(ordered, _no_merging(len(people.lead_ids)), asked, own, matrix)
    if len(group.steps) and len(people.account_ids):
        is_wanted = np.append(_asked_for(accounts, len(people.account_ids)), False)
        event = np.flatnonzero(is_wanted[rows.accounts])
        members = _Members(people, rows.accounts[event], rows.leads[event], accounts, leads)
        unordered = Unordered(
            rows.accounts[event],
            rows.account_visible[event],
            rows.occurred[event],
            stream_codes[event],
            values[event],
            members.of(rows.accounts[event], rows.leads[event]).astype(np.int32),
            *(codes[event] for codes in named),
        )
        ordered = order_events(unordered, len(people.account_ids))
        asked = _asked(accounts, len(people.account_ids), as_of, members.of(accounts, leads))
        timeline.fill(ordered, members.merging(), asked, group, matrix)


def _stream_codes(event_types: pd.Series, streams: dict[str, int]) -> Int32s:
    codes, types = pd.factorize(event_types)
    other = streams.get(OTHER_EVENTS, ANY_STREAM)
    of_type = [streams.get(f"{ALL_EVENTS}.{name}", other) for name in types]
    return np.array([*of_type, other], np.int32)[codes]


def _ranks(names: pd.Series) -> Int32s:
    """Return the rank of each name among the distinct ones, -1 for none."""
    return pd.factorize(names, sort=True)[0].astype(np.int32)


def _millionths(values: pd.Series) -> Int64s:
    amounts = np.nan_to_num(values.to_numpy(np.float64), nan=0.0)
    millionths = np.rint(np.clip(amounts, -_LARGEST_VALUE, _LARGEST_VALUE) * 1e6)
    return np.asarray(millionths, dtype=np.int64)


def _asked_for(owners: Int64s, n_owners: int) -> Bools:
    """Return which owners have a snapshot."""
    is_asked = np.zeros(n_owners, dtype=bool)
    is_asked[owners[owners >= 0]] = True
    return is_asked


def _asked(owners: Int64s, n_owners: int, as_of: Int64s, members: Int64s) -> timeline.Asked:
    order = np.argsort(as_of, kind="stable")
    order = order[np.argsort(owners[order], kind="stable")]
    order = order[owners[order] >= 0]
    return timeline.Asked(
        group_starts(owners[order], n_owners), as_of[order], members[order], order
    )


def _no_merging(n_timelines: int) -> timeline.Merging:
    nothing = np.empty(0, np.int64)
    return timeline.Merging(np.zeros(n_timelines + 1, np.int64), nothing, nothing, nothing)


class _Members:
    """Numbers the leads of each account from 0, in the order of their ids."""

    def __init__(
        self,
        people: People,
        event_accounts: Int64s,
        event_leads: Int64s,
        asked_accounts: Int64s,
        asked_leads: Int64s,
    ) -> None:
        self._people = people
        has_account = asked_accounts >= 0
        keys = self._keys(
            np.concatenate([event_accounts, asked_accounts[has_account]]),
            np.concatenate([event_leads, asked_leads[has_account]]),
        )
        keys = np.unique(keys)
        # Whoever a member is merged into is a member too.
        reached = people.ancestors()
        by_lead = np.argsort(reached.gone, kind="stable")
        starts = group_starts(reached.gone, len(people.lead_ids))
        accounts, leads = np.divmod(keys, self._n_leads)
        positions, which = ranges(starts[leads], starts[leads + 1])
        survivors = reached.survivor[by_lead[positions]]
        self._pairs = np.unique(np.append(keys, self._keys(accounts[which], survivors)))
        self._starts = group_starts(self._pairs // self._n_leads, len(people.account_ids))

    @property
    def _n_leads(self) -> int:
        return max(len(self._people.lead_ids), 1)

    def _keys(self, accounts: Int64s, leads: Int64s) -> Int64s:
        return accounts * self._n_leads + leads

    def of(self, accounts: Int64s, leads: Int64s) -> Int64s:
        """Return each lead's number within the account; 0 where there is no account."""
        found = np.searchsorted(self._pairs, self._keys(accounts, leads))
        return np.where(accounts < 0, 0, found - self._starts[accounts])

    def merging(self) -> timeline.Merging:
        """Return the merges of each account's members, by account and instant."""
        merges = self._people.merges
        survivor = np.full(self._n_leads, -1, np.int64)
        survivor[merges.gone] = merges.survivor
        recorded = np.zeros(self._n_leads, np.int64)
        recorded[merges.gone] = merges.recorded
        accounts, leads = np.divmod(self._pairs, self._n_leads)
        is_merge = survivor[leads] >= 0
        accounts, leads = accounts[is_merge], leads[is_merge]
        order = np.lexsort((leads, recorded[leads], accounts))
        accounts, leads = accounts[order], leads[order]
        return timeline.Merging(
            group_starts(accounts, len(self._people.account_ids)),
            recorded[leads],
            self.of(accounts, leads),
            self.of(accounts, survivor[leads]),
        )
