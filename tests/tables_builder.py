"""Small `Tables` for tests: short rows in, every optional column and `recorded_at` filled in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from features.tables import CONTRACT, Tables

START = pd.Timestamp("2024-01-01")  # a Monday
Rows = Sequence[dict[str, Any]]


def day(days: float) -> pd.Timestamp:
    return START + pd.Timedelta(days=days)


def table(name: str, rows: Rows) -> pd.DataFrame:
    """Return the rows of one table as the loader would; a number for an instant is a day."""
    spec = CONTRACT[name]
    kinds = {**spec.required, **spec.optional, "recorded_at": "instant"}
    columns = [*kinds, *sorted({key for row in rows for key in row} - set(kinds))]
    if name == "opportunities":
        kinds |= {"created_recorded_at": "instant", "closed_recorded_at": "instant"}
        columns += [c for c in ("created_recorded_at", "closed_recorded_at") if c not in columns]
    filled = {}
    for column in columns:
        values = [row.get(column) for row in rows]
        kind = kinds.get(column, "attribute")
        if kind == "instant":
            instants = [day(v) if isinstance(v, int | float) else v for v in values]
            filled[column] = pd.Series(pd.to_datetime(instants)).astype("datetime64[us]")
        elif kind == "number" or any(isinstance(v, int | float) for v in values):
            filled[column] = pd.Series(values, dtype="float64")
        else:
            filled[column] = pd.Series(values, dtype="str")
    frame = pd.DataFrame(filled)
    own_time = frame[spec.own_time] if spec.own_time else pd.Timestamp("1970-01-01")
    frame["recorded_at"] = frame["recorded_at"].fillna(own_time)
    if name == "opportunities":
        is_open = frame["stage"] == "open"
        frame["created_recorded_at"] = frame["created_recorded_at"].fillna(frame["created_at"])
        frame["closed_recorded_at"] = (
            frame["closed_recorded_at"].fillna(frame["closed_at"]).mask(is_open)
        )
        frame["closed_at"] = frame["closed_at"].mask(is_open)
    if spec.has_attributes:
        frame = frame.drop_duplicates([spec.key, "recorded_at"], ignore_index=True)
        frame = frame.sort_values([spec.key, "recorded_at"], ignore_index=True)
    return frame


def tables_of(current_state: Sequence[str] = (), until: float = 1000, **rows: Rows) -> Tables:
    """Return checked tables holding `rows` (table name -> rows); the others are empty."""
    return Tables(
        **{name: table(name, rows.get(name, [])) for name in CONTRACT},
        data_until=day(until),
        present=frozenset(rows),
        current_state=frozenset(current_state),
    )


examples = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
LEADS = ["a", "b", "c", "d", "e"]
ACCOUNTS = ["X", "Y", None]
TYPES = ["page_view", "demo_request", "webinar", "Roof inspection", "trial_start", "unsubscribed"]
STAGES = ["mql", "sal", "sql", "disqualified", "recycled", "nurture"]
# Half days on a short span: ties, window edges and rows recorded exactly at an as_of are common.
instants = st.integers(0, 60).map(lambda step: step / 2)
delays = st.sampled_from([0, 0, 0, 0.5, 1, 4, 12])


@st.composite
def _lead_rows(draw: st.DrawFn) -> Rows:
    rows = []
    for lead in LEADS:
        created, delay = draw(instants), draw(delays)
        recorded = created + delay
        for _ in range(draw(st.integers(1, 3))):
            rows.append(
                {
                    "lead_id": lead,
                    "created_at": created,
                    "recorded_at": recorded,
                    "account_id": draw(st.sampled_from(ACCOUNTS)),
                    "merged_into": draw(st.sampled_from([None, None, None, *LEADS])),
                    "source": draw(st.sampled_from(["web", "ad", None])),
                    "job_title": draw(st.sampled_from(["VP Sales", "Buyer", "Gardening", None])),
                    "seats": draw(st.sampled_from([1.0, 2.5, None])),
                    "email_domain": draw(st.sampled_from(["x.com", "Y.com", "gmail.com", None])),
                }
            )
            recorded += draw(st.integers(1, 20)) / 2
    return _without_circles(rows)


def _without_circles(rows: Rows) -> Rows:
    """Keep a merge only into a later letter, as the loader refuses circles."""
    for row in rows:
        if row["merged_into"] is not None and row["merged_into"] <= row["lead_id"]:
            row["merged_into"] = None
    return rows


@st.composite
def _event(draw: st.DrawFn) -> dict[str, Any]:
    occurred = draw(instants)
    return {
        "lead_id": draw(st.sampled_from(LEADS)),
        "event_type": draw(st.sampled_from(TYPES)),
        "occurred_at": occurred,
        "recorded_at": occurred + draw(delays),
        "value": draw(st.sampled_from([None, None, 0.1, 1.5, -2.25])),
        "content": draw(st.sampled_from([None, "ebook", "guide", "video"])),
        "campaign": draw(st.sampled_from([None, "spring", "fair"])),
        "channel": draw(st.sampled_from([None, None, "email", "ad", "web"])),
    }


@st.composite
def _opportunity(draw: st.DrawFn) -> dict[str, Any]:
    created = draw(instants)
    stage = draw(st.sampled_from(["open", "closed_won", "closed_lost"]))
    closed = None if stage == "open" else created + draw(st.integers(0, 30)) / 2
    return {
        "stage": stage,
        "created_at": created,
        "closed_at": closed,
        "created_recorded_at": created + draw(delays),
        "closed_recorded_at": None if closed is None else closed + draw(delays),
        "lead_id": draw(st.sampled_from([None, None, "a", "b", "unknown"])),
        "account_id": draw(st.sampled_from(ACCOUNTS)),
    }


@st.composite
def crm(draw: st.DrawFn) -> dict[str, Rows]:
    """Draw the rows of all tables: late, tied, duplicate and unsorted, with merges and moves."""
    opportunities = draw(st.lists(_opportunity(), max_size=4))
    for number, opportunity in enumerate(opportunities):
        opportunity["opportunity_id"] = f"o{number}"
    contacts = st.fixed_dictionaries(
        {
            "opportunity_id": st.sampled_from(["o0", "o1", "o2", "unknown"]),
            "lead_id": st.sampled_from([*LEADS, "unknown"]),
            "recorded_at": instants,
        }
    )
    changed = st.fixed_dictionaries(
        {
            "lead_id": st.sampled_from(LEADS),
            "stage": st.sampled_from(STAGES),
            "changed_at": instants,
            "delay": delays,
        }
    )
    changes = [
        {**row, "recorded_at": row.pop("changed_at") + row.pop("delay")} | {"changed_at": at}
        for row in draw(st.lists(changed, max_size=8))
        for at in [row["changed_at"]]
    ]
    firms = st.fixed_dictionaries(
        {
            "account_id": st.sampled_from(["X", "Y", "Z"]),
            "recorded_at": instants,
            "industry": st.sampled_from(["retail", None]),
            "employees": st.sampled_from([10.0, 300.0, None]),
        }
    )
    events = draw(st.lists(_event(), max_size=25))
    return {
        "leads": draw(_lead_rows()),
        "accounts": draw(st.lists(firms, max_size=4)),
        "engagement_events": events + events[:2],
        "opportunities": opportunities,
        "opportunity_leads": draw(st.lists(contacts, max_size=3)),
        "stage_changes": changes,
    }
