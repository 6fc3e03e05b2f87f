"""A generated export of any size for the benchmarks: leads, accounts, events, deals, snapshots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.tables import CONTRACT, Tables

DAY = 86_400_000_000
EVENT_TYPES = (
    "page_view", "pricing_view", "email_open", "email_click", "content_download",
    "webinar_attended", "demo_request", "trial_started", "case_study_view", "chat",
    "form_submitted", "event_attended",
)  # fmt: skip
EVENT_TEXTS = ("event_type", "channel", "campaign", "content")
ALL = frozenset({"channel", "campaign", "content", "value"})
EVENTS_PER_LEAD = 50
LEADS_PER_ACCOUNT = 3
SNAPSHOTS_PER_EVENT = 0.295
_SHARES = np.array([30, 5, 20, 8, 6, 2, 2, 1, 6, 3, 5, 2]) / 90
_START = int(np.datetime64("2024-01-01", "us").astype(np.int64))
_DAYS = 730
_TITLES = ("VP Sales", "Marketing Manager", "Data Analyst", "Chief Executive Officer", None)


def write_export(folder: Path, n_events: int, seed: int = 0) -> None:
    """Write TABLE.parquet for the tables, and snapshots.parquet: which lead is asked for when.

    The tables are such as a load leaves them, so that they can be read without being checked.
    Events come in the order they were recorded in, as exports do; 3% are recorded days late.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    n_leads = int(n_events / EVENTS_PER_LEAD)
    created = _START + np.sort(rng.integers(0, _DAYS * DAY, n_leads))
    lead_ids = pa.array(np.char.add("L", np.char.zfill(rng.permutation(n_leads).astype(str), 8)))
    n_accounts = n_leads // LEADS_PER_ACCOUNT
    account_ids = pa.array(np.char.add("A", np.char.zfill(np.arange(n_accounts).astype(str), 7)))
    _write(folder, "leads", _leads(lead_ids, account_ids, created, rng))
    _write(folder, "accounts", _accounts(account_ids, rng))
    _write(folder, "engagement_events", _events(lead_ids, created, n_events, rng))
    _write(folder, "opportunities", _opportunities(account_ids, rng))
    _write(folder, "stage_changes", _stage_changes(lead_ids, created, rng))
    _write(folder, "snapshots", _snapshots(lead_ids, created, n_events, rng))


def read_export(
    folder: Path, names: tuple[str, ...] = tuple(CONTRACT), event_columns: frozenset[str] = ALL
) -> Tables:
    """Return the tables `names`; of the events only `event_columns` besides the required."""
    frames = {}
    for name, spec in CONTRACT.items():
        path, columns, dictionary = folder / f"{name}.parquet", None, []
        if name == "engagement_events":
            columns = [*spec.required, "recorded_at", *sorted(event_columns)]
            dictionary = list(EVENT_TEXTS)
        if name in names and path.exists():
            rows = pq.read_table(path, columns=columns, read_dictionary=dictionary)
            frames[name] = rows.to_pandas(split_blocks=True)  # no copy to put columns side by side
        else:
            kinds = {**spec.required, **spec.optional, "recorded_at": "instant"}
            if name == "opportunities":
                kinds |= {"created_recorded_at": "instant", "closed_recorded_at": "instant"}
            frames[name] = pd.DataFrame(
                {column: pd.Series([], dtype=_DTYPES[kind]) for column, kind in kinds.items()}
            )
    return Tables(
        **frames,
        data_until=pd.Timestamp("2027-01-01"),
        present=frozenset(name for name in names if (folder / f"{name}.parquet").exists()),
    )


_DTYPES = {"id": "str", "text": "str", "instant": "datetime64[us]", "number": "float64"}


def _write(folder: Path, name: str, table: pa.Table) -> None:
    pq.write_table(table, folder / f"{name}.parquet")


def _instants(microseconds: np.ndarray) -> pa.Array:
    return pa.array(microseconds.astype("datetime64[us]"))


def _drawn(names: tuple[str | None, ...], n_rows: int, rng: np.random.Generator) -> pa.Array:
    return pa.array(names).take(pa.array(rng.integers(0, len(names), n_rows, dtype=np.int32)))


def _leads(
    lead_ids: pa.Array, account_ids: pa.Array, created: np.ndarray, rng: np.random.Generator
) -> pa.Table:
    n_leads = len(lead_ids)
    rows = pa.table(
        {
            "lead_id": lead_ids,
            "created_at": _instants(created),
            "recorded_at": _instants(created),
            "account_id": account_ids.take(pa.array(rng.integers(0, len(account_ids), n_leads))),
            "source": _drawn(("web", "event", "partner"), n_leads, rng),
            "merged_into": pa.nulls(n_leads, pa.string()),
            "job_title": _drawn(_TITLES, n_leads, rng),
        }
    )
    return rows.sort_by("lead_id")


def _accounts(account_ids: pa.Array, rng: np.random.Generator) -> pa.Table:
    n_accounts = len(account_ids)
    return pa.table(
        {
            "account_id": account_ids,
            "recorded_at": _instants(np.full(n_accounts, _START)),
            "industry": _drawn(("software", "retail", "finance", None), n_accounts, rng),
            "employees": pa.array(rng.lognormal(4, 1.5, n_accounts).round()),
        }
    )


def _events(
    lead_ids: pa.Array, created: np.ndarray, n_events: int, rng: np.random.Generator
) -> pa.Table:
    lead = rng.integers(0, len(lead_ids), n_events, dtype=np.int32)
    occurred = created[lead] + (rng.exponential(60, n_events) * DAY).astype(np.int64)
    late = np.where(rng.random(n_events) < 0.03, rng.exponential(5, n_events) * DAY, 0)
    recorded = occurred + late.astype(np.int64)
    order = np.argsort(recorded)
    lead, occurred, recorded = lead[order], occurred[order], recorded[order]
    kind = rng.choice(len(EVENT_TYPES), n_events, p=_SHARES).astype(np.int32)
    value = np.where(kind == 4, rng.gamma(2, 20, n_events).round(2), np.nan)
    return pa.table(
        {
            "lead_id": lead_ids.take(pa.array(lead)),
            "event_type": pa.array(EVENT_TYPES).take(pa.array(kind)),
            "occurred_at": _instants(occurred),
            "recorded_at": _instants(recorded),
            "channel": _drawn(("organic", "email", "paid", None), n_events, rng),
            "campaign": _drawn((*(f"c{n}" for n in range(60)), *[None] * 40), n_events, rng),
            "content": _drawn((*(f"page-{n}" for n in range(400)), None), n_events, rng),
            "value": pa.array(value, from_pandas=True),
        }
    )


def _opportunities(account_ids: pa.Array, rng: np.random.Generator) -> pa.Table:
    n_deals = len(account_ids) // 5
    created = _START + np.sort(rng.integers(0, _DAYS * DAY, n_deals))
    closed = created + (rng.exponential(60, n_deals) * DAY).astype(np.int64)
    is_open = rng.random(n_deals) < 0.2
    stage = np.where(is_open, 0, rng.integers(1, 3, n_deals))
    return pa.table(
        {
            "opportunity_id": pa.array(np.char.add("O", np.arange(n_deals).astype(str))),
            "account_id": account_ids.take(pa.array(rng.integers(0, len(account_ids), n_deals))),
            "created_at": _instants(created),
            "stage": pa.array(("open", "closed_won", "closed_lost")).take(pa.array(stage)),
            "closed_at": pa.array(closed.astype("datetime64[us]"), mask=is_open),
            "lead_id": pa.nulls(n_deals, pa.string()),
            "amount": pa.array(rng.lognormal(9, 1, n_deals).round(2)),
            "recorded_at": _instants(created),
            "created_recorded_at": _instants(created),
            "closed_recorded_at": pa.array(closed.astype("datetime64[us]"), mask=is_open),
        }
    )


def _stage_changes(lead_ids: pa.Array, created: np.ndarray, rng: np.random.Generator) -> pa.Table:
    n_changes = len(lead_ids) // 2
    lead = rng.integers(0, len(lead_ids), n_changes)
    changed = created[lead] + (rng.exponential(40, n_changes) * DAY).astype(np.int64)
    return pa.table(
        {
            "lead_id": lead_ids.take(pa.array(lead)),
            "stage": _drawn(("nurture", "mql", "recycled"), n_changes, rng),
            "changed_at": _instants(changed),
            "recorded_at": _instants(changed),
        }
    )


def _snapshots(
    lead_ids: pa.Array, created: np.ndarray, n_events: int, rng: np.random.Generator
) -> pa.Table:
    """Return one row per lead and Monday, of the first year of each lead."""
    n_rows = int(n_events * SNAPSHOTS_PER_EVENT)
    lead = rng.integers(0, len(lead_ids), n_rows)
    week = (created[lead] - _START) // (7 * DAY) + 1 + rng.integers(0, 52, n_rows)
    pairs = np.unique(week * len(lead_ids) + lead)
    week, lead = np.divmod(pairs, len(lead_ids))
    rows = {"lead_id": lead_ids.take(pa.array(lead)), "as_of": _instants(_START + week * 7 * DAY)}
    return pa.table(rows).sort_by([("as_of", "ascending"), ("lead_id", "ascending")])
