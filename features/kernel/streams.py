"""From records to timelines: the arrays the kernel walks, by lead and by account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from numba import njit

from features.catalogue.feature import JOURNEY_STAGES, Feature
from features.facts.columns import Texts, taken
from features.facts.histories import Int32s, Int64s, group_starts
from features.facts.identity import Members, People, with_merged
from features.facts.records import EventRows, Records
from features.kernel import timeline
from features.kernel.ordering import Events, Unordered, order_events, ordered_at_once
from features.kernel.plan import OTHER_KIND, Plans
from features.threads import in_threads

Matrix = npt.NDArray[np.float32]
FEW_EVENTS = 2_000
"So few are put in order by the call that walks them: half a live request's time is calls."
FEW_SNAPSHOTS = 100
"So few are told by plain lists: what pandas takes to begin is more."


@dataclass(frozen=True)
class Timelines:
    """All that the leads did, and their accounts, ready to be walked."""

    people: People
    plans: Plans
    own: Events | Unordered | None
    group: Events | Unordered | None
    "In total order unless they are few; None where no feature asks, or the user has no events."
    channels: Sequence[str]

    @classmethod
    def of(cls, records: Records, people: People, plans: Plans) -> Timelines:
        """Return the timelines of `records` that `plans` walk."""
        events, own, group = records.events, None, None
        if len(events.leads) or "engagement_events" in records.present:
            of_type = [plans.kinds.get(name, OTHER_KIND) for name in records.event_types]
            kinds = np.array(of_type, np.int32)
            own = _own_events(events, people, kinds) if len(plans.own.steps) else None
            group = _group_events(events, people, kinds) if len(plans.group.steps) else None
        return cls(people, plans, own, group, records.channels)

    def fill(
        self, leads: Int64s, accounts: Int64s, as_of: Int64s, matrix: Matrix
    ) -> dict[str, Texts]:
        """Fill the columns of `matrix` that come from engagement events; return the categories.

        Row i is the snapshot of lead code `leads[i]` at `as_of[i]`, `accounts[i]` the account it
        had then; without one (-1) its account columns are missing.
        """
        people, plans = self.people, self.plans
        codes = np.full((len(leads), len(plans.categories)), -1, np.int32)
        if self.own is None:
            matrix[:, plans.own_columns] = np.nan
        else:
            n_leads, nobody = len(people.lead_ids), np.zeros(len(leads), np.int32)
            merging = _no_merging(n_leads)
            _walk(self.own, leads, n_leads, as_of, nobody, merging, plans.own, matrix, codes)
        if self.group is None:
            matrix[:, plans.group_columns] = np.nan
        else:
            has_none = np.flatnonzero(accounts < 0)
            if len(has_none):
                matrix[has_none[:, None], plans.group_columns] = np.nan
            n_accounts, numbers = len(people.account_ids), people.member_numbers(leads, as_of)
            merging = _merging(people.members)
            _walk(
                self.group,
                accounts,
                n_accounts,
                as_of,
                numbers,
                merging,
                plans.group,
                matrix,
                codes,
            )
        return {
            feature.name: self._texts(feature, codes[:, place])
            for place, feature in enumerate(plans.categories)
        }

    def _texts(self, feature: Feature, codes: Int32s) -> Texts:
        names = JOURNEY_STAGES if feature.aggregation == "journey_stage" else self.channels
        if len(codes) <= FEW_SNAPSHOTS:
            return [names[code] if code >= 0 else None for code in codes.tolist()]
        return taken(pd.Series([*names], dtype="str").array, codes.astype(np.int64))


def _own_events(events: EventRows, people: People, kinds: Int32s) -> Events | Unordered:
    """Return what each lead did, with what it did under a name it was merged from."""
    nobody = np.empty(0, np.int32)  # on a lead's own timeline there is nobody else
    unordered = _unordered(events, kinds, events.leads, events.visible, nobody)
    if len(people.merges.gone):
        event, leads, visible = with_merged(events, people)
        unordered = unordered.rows(event)._replace(timelines=leads, visible=visible)
    return _in_order(unordered, len(people.lead_ids))


def _group_events(events: EventRows, people: People, kinds: Int32s) -> Events | Unordered:
    """Return what the leads of each account did while they were its leads."""
    accounts, visible, members = people.event_accounts(
        events.leads, events.occurred, events.visible
    )
    unordered = _unordered(events, kinds, accounts, visible, members)
    if (accounts < 0).any():
        unordered = unordered.rows(accounts >= 0)
    return _in_order(unordered, len(people.account_ids))


def _in_order(events: Unordered, n_timelines: int) -> Events | Unordered:
    return events if len(events.timelines) <= FEW_EVENTS else order_events(events, n_timelines)


def _unordered(
    events: EventRows, kinds: Int32s, timelines: Int64s, visible: Int64s, members: Int32s
) -> Unordered:
    return Unordered(
        timelines,
        visible,
        events.occurred,
        kinds[events.types],
        events.values,
        members,
        events.contents,
        events.campaigns,
        events.channels,
    )


def _asked(timelines: Int64s, n_timelines: int, as_of: Int64s, members: Int32s) -> timeline.Asked:
    starts, order = _asked_order(timelines, n_timelines, as_of)
    return timeline.Asked(starts, as_of[order], members[order], order)


@njit(cache=True, nogil=True)
def _asked_order(timelines, n_timelines, as_of):  # type: ignore[no-untyped-def]
    """Return the slice of each timeline and the rows that ask about it, by instant.

    Rows come by instant already from every caller but a test, so insertion is all it takes.
    """
    starts = group_starts(timelines, n_timelines)
    free = starts[:-1].copy()
    order = np.empty(starts[-1], np.int64)
    for row in range(len(timelines)):
        if timelines[row] < 0:
            continue
        place = free[timelines[row]]
        free[timelines[row]] += 1
        while place > starts[timelines[row]] and as_of[order[place - 1]] > as_of[row]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = row
    return starts, order


def _walk(
    events: Events | Unordered,
    timelines: Int64s,
    n_timelines: int,
    as_of: Int64s,
    members: Int32s,
    merging: timeline.Merging,
    plan: timeline.Plan,
    matrix: Matrix,
    codes: Int32s,
) -> None:
    """Fill the planned columns of the rows about `timelines` at `as_of`, on all cores."""
    if isinstance(events, Unordered):
        _order_and_walk(
            events, timelines, n_timelines, as_of, members, merging, plan, matrix, codes
        )
        return
    asked = _asked(timelines, n_timelines, as_of, members)

    def walk_part(first: int, last: int) -> None:
        timeline.walk(events, merging, asked, plan, first, last, matrix, codes)

    # events and snapshots cost about the same each
    in_threads(walk_part, events.starts + asked.starts)


@njit(cache=True, nogil=True)
def _order_and_walk(  # type: ignore[no-untyped-def]
    events, timelines, n_timelines, as_of, members, merging, plan, matrix, codes
):
    starts, order = _asked_order(timelines, n_timelines, as_of)
    asked = timeline.Asked(starts, as_of[order], members[order], order)
    ordered = ordered_at_once(events, n_timelines)
    timeline.walk(ordered, merging, asked, plan, 0, n_timelines, matrix, codes)


def _no_merging(n_timelines: int) -> timeline.Merging:
    nothing = np.empty(0, np.int64)
    return timeline.Merging(np.zeros(n_timelines + 1, np.int64), nothing, nothing, nothing)


def _merging(members: Members) -> timeline.Merging:
    return timeline.Merging(members.starts, members.recorded, members.gone, members.survivor)
