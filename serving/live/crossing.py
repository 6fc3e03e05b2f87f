"""What would carry a lead over the cutoff, among things that can still happen.

One to three more engagement events, of one type or of two, all at once: each set is added to copies
of the lead's rows, and the kernel and the model tell the probability. An association, no promise:
leads who did so won more often, which does not say that doing so wins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.catalogue.catalogue import Catalogue
from features.catalogue.event_groups import journey_stage
from features.catalogue.feature import JOURNEY
from features.catalogue.wording import phrase_of
from features.facts.histories import Int64s
from features.facts.records import EventRows, Records
from features.snapshots import Past
from models.calibration import Floats
from serving.live.earlier import Parts
from serving.live.placing import Scored
from serving.live.reads import STANDING
from serving.live.requests import ScoreRequest
from serving.live.views import View

if TYPE_CHECKING:
    from serving.live.live_scores import LiveScorer

MOST_EVENTS = 3
MOST_WAYS = 3
MOST_TYPES = 15
"Paired with one another: those that raise the probability most alone."
MOST_ROWS = 5_000
"Of a lead and all that is linked to it: of more, no copies are made."
_COPIED_ROWS = 200_000  # at once, so that memory stays small
_NO_PROMISE = "Leads who did so won more often; that is no promise."
_DETAILS = ("content", "campaign", "channel")
_COUNTS = ("", "", " twice", " three times")

Way = dict[str, int]
"Event type -> how many more of it."


def crossing(live: LiveScorer, view: View, placed: Scored, request: ScoreRequest) -> dict[str, Any]:
    """Return `reached`, `ways` (events, probability, text; smallest first) and `text`.

    The ways are the smallest sets of events that reach the cutoff, at most three, the surest
    first; none is told where a larger set was not needed.
    """
    score, types = placed.score, event_types_ahead(live.scorer.catalogue)
    if score.cutoff is None:
        return _none("The model has no cutoff, so no lead qualifies.")
    if request.is_backfill or placed.as_of < request.as_of:
        return _none("The lead is scored as of the past: what it does next changes nothing.")
    if not placed.is_eligible and not {*STANDING} <= view.tables.keys():
        return _none(
            "Opportunities or stage changes were not in the request, so it cannot qualify."
        )
    if not placed.is_eligible:
        return _none("The lead is with sales already, so it cannot become an MQL now.")
    if score.qualified:
        return {"reached": True, "ways": [], "text": "The lead is over the cutoff already."}
    if "engagement_events" not in view.tables:
        return _none("Engagement events were not in the request.")
    if not types:
        return _none("The model knows no engagement events that could happen.")
    n_rows = sum(len(next(iter(rows.values()), ())) for rows in view.tables.values())
    if n_rows > MOST_ROWS:
        _, tables, n_rows = Parts(view.tables).of(placed.lead_id)
        if n_rows > MOST_ROWS:
            return _none("The account has too many rows to try what could happen next.")
        view = View(live.snapshots, tables, view.population)
    lead, cutoff = view.codes[placed.lead_id], score.cutoff
    for size in range(1, MOST_EVENTS + 1):
        ways = _ways(types, size)
        reached = _probabilities(live, view.past, lead, placed.as_of, ways, n_rows)
        if size == 1:
            best = np.argsort(-reached, kind="stable")[:MOST_TYPES]
            types = [types[place] for place in sorted(best.tolist())]
        over = [place for place in np.argsort(-reached, kind="stable") if reached[place] >= cutoff]
        if over:
            return _reached([(ways[place], float(reached[place])) for place in over[:MOST_WAYS]])
    return _none("None of up to three more events we tried would carry it over the cutoff.")


def event_types_ahead(catalogue: Catalogue) -> list[str]:
    """Return the event types that a model knows by name, but those that tell nothing good."""
    known = {*catalogue.own_types}.union(*(group.event_types for group in catalogue.groups))
    ignored = {
        name
        for group in catalogue.groups
        if group.stream == f"{JOURNEY}.ignored"
        for name in group.event_types
    }
    return sorted(n for n in known - ignored if journey_stage(n) != "ignored")


def _ways(types: Sequence[str], size: int) -> list[Way]:
    """Return the sets of `size` events of one type or of two."""
    ways = [{name: size} for name in types]
    for first, second in combinations(types, 2):
        ways += [{first: n, second: size - n} for n in range(1, size)]
    return ways


def _probabilities(
    live: LiveScorer, past: Past, lead: int, as_of: int, ways: Sequence[Way], n_rows: int
) -> Floats:
    """Return the probability of the lead after each way, just after `as_of`."""
    at_once = max(1, _COPIED_ROWS // max(n_rows, 1))
    found = []
    for start in range(0, len(ways), at_once):
        some = ways[start : start + at_once]
        records = past.columns.records
        plans, n_leads = past.timelines.plans, len(records.lead_ids)
        copies = _with_events(
            copied(records, len(some)), n_leads, lead, as_of, some, plans.event_columns
        )
        leads = lead + n_leads * np.arange(len(some))
        later = Past.of_records(copies, past.catalogue, plans)
        numbers, texts = later.features(leads, np.full(len(some), as_of + 1))
        found.append(_scored(live, numbers, texts))
    return np.concatenate(found)


def _scored(live: LiveScorer, numbers: npt.NDArray[np.float32], texts: Mapping[str, Any]) -> Floats:
    scorer = live.scorer
    categories = {
        name: [text if isinstance(text, str) else None for text in values]
        for name, values in texts.items()
    }
    raw = scorer.forest.raw_scores(scorer.encoder.transform_values(numbers, categories))
    segment_by = scorer.calibration.segment_by
    return scorer.calibration.probability(raw, categories[segment_by] if segment_by else None)


def copied(records: Records, n: int) -> Records:
    """Return `n` copies of everyone, who know nothing of one another."""
    n_leads, n_accounts = len(records.lead_ids), len(records.account_ids)
    leads, deals, contacts = records.leads, records.opportunities, records.contacts
    events, changes = records.events, records.changes

    def own(codes: Int64s, size: int) -> Int64s:
        copies = np.tile(codes, n)
        return np.where(copies < 0, copies, copies + size * np.repeat(np.arange(n), len(codes)))

    return records._replace(
        lead_ids=[f"{copy:06}{lead}" for copy in range(n) for lead in records.lead_ids],
        account_ids=[f"{copy:06}{one}" for copy in range(n) for one in records.account_ids],
        leads=type(leads)
        ._make(np.tile(column, n) for column in leads)
        ._replace(
            leads=own(leads.leads, n_leads),
            accounts=own(leads.accounts, n_accounts),
            merged_into=own(leads.merged_into, n_leads),
        ),
        accounts=type(records.accounts)(
            own(records.accounts.accounts, n_accounts), np.tile(records.accounts.known, n)
        ),
        events=EventRows._make(np.tile(column, n) for column in events)._replace(
            leads=own(events.leads, n_leads)
        ),
        opportunities=type(deals)
        ._make(np.tile(column, n) for column in deals)
        ._replace(leads=own(deals.leads, n_leads), accounts=own(deals.accounts, n_accounts)),
        contacts=type(contacts)(
            own(contacts.opportunities, len(deals.created)),
            own(contacts.leads, n_leads),
            np.tile(contacts.recorded, n),
        ),
        changes=type(changes)
        ._make(np.tile(column, n) for column in changes)
        ._replace(leads=own(changes.leads, n_leads)),
        attributes=_CopiedAttributes(records, n),
    )


class _CopiedAttributes:
    """Attributes of copies."""

    def __init__(self, records: Records, n: int) -> None:
        self._attributes, self._n = records.attributes, n

    def numbers(self, streams: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.tile(self._attributes.numbers(streams), (1, self._n))

    def values(self, stream: str) -> list[Any]:
        return list(self._attributes.values(stream)) * self._n

    def texts(self, stream: str) -> list[str | None]:
        return list(self._attributes.texts(stream)) * self._n


def _with_events(
    copies: Records,
    n_leads: int,
    lead: int,
    as_of: int,
    ways: Sequence[Way],
    reads: frozenset[str],
) -> Records:
    """Return the copies, each with the events of its way at `as_of`."""
    place = {name: number for number, name in enumerate(copies.event_types)}
    leads, added = [], []
    for copy, way in enumerate(ways):
        for name, count in way.items():
            leads += [lead + copy * n_leads] * count
            added += [place.setdefault(name, len(place))] * count
    n, events = len(added), copies.events
    new = EventRows(
        np.array(leads, np.int64),
        np.full(n, as_of),
        np.full(n, as_of),
        np.array(added, np.int32),
        np.zeros(n, np.int64),
        # a column that nothing reads is empty
        *(np.full(n if name in reads else 0, -1, np.int32) for name in _DETAILS),
    )
    pairs: list[Any] = [*zip(events, new, strict=True)]
    together = EventRows._make(map(np.concatenate, pairs))
    return copies._replace(events=together, event_types=[*place])


def _reached(ways: Sequence[tuple[Way, float]]) -> dict[str, Any]:
    told = [
        {
            "events": [{"event_type": name, "count": count} for name, count in way.items()],
            "probability": probability,
            "text": _text(way),
        }
        for way, probability in ways
    ]
    return {"reached": True, "ways": told, "text": _NO_PROMISE}


def _none(text: str) -> dict[str, Any]:
    return {"reached": False, "ways": [], "text": text}


def _text(way: Way) -> str:
    """Return a way in words.

    >>> _text({"demo_request": 1, "pricing_view": 2})
    'If it asked for a demo and viewed the pricing page twice'
    """
    done = [phrase_of(name).did + _COUNTS[count] for name, count in way.items()]
    return f"If it {' and '.join(done)}"
