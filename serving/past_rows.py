"""The rows a CRM would have sent of a lead at an instant of the past, cut from whole tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from features.facts.histories import Int64s, micros
from features.facts.lookup import codes_in
from features.facts.records import AccountFrom, Records, records_of
from features.live import Rows
from features.tables import Tables

TABLES = (
    *("leads", "accounts", "engagement_events", "opportunities", "opportunity_leads"),
    "stage_changes",
)
"What features are made of."


@dataclass(frozen=True)
class _Grouped:
    """The rows of one table as lists, those of a component side by side."""

    bounds: Mapping[int, tuple[int, int]]
    known: Int64s
    columns: Mapping[str, list[Any]]

    def at(self, component: int, as_of: int) -> dict[str, list[Any]]:
        """Return the rows of the component known before `as_of`."""
        low, high = self.bounds.get(component, (0, 0))
        rows = np.flatnonzero(self.known[low:high] < as_of) + low
        return {name: [values[row] for row in rows] for name, values in self.columns.items()}


class PastRows:
    """Rows of the asked leads and of all that is linked to them, to be cut at any instant.

    Linked are leads by any account they ever had, by merges and by opportunities.
    """

    def __init__(
        self, tables: Tables, account_from: AccountFrom, lead_ids: Collection[str]
    ) -> None:
        records = records_of(tables, account_from, event_columns=frozenset())
        component = _components(records)
        known_leads = pd.Index(records.lead_ids)
        asked = known_leads.get_indexer(pd.Index(sorted(set(lead_ids))))
        self._component_of = {
            str(known_leads[lead]): int(component[lead]) for lead in asked.tolist()
        }
        wanted = np.zeros(component.max(initial=-1) + 1, bool)
        wanted[component[asked]] = True
        owners = _owners(tables, records)
        self._tables = {
            name: _grouped(tables, name, np.append(component, -1)[owners[name]], wanted)
            for name in TABLES
            if name in tables.present
        }

    def at(self, lead_id: str, as_of: int) -> dict[str, Rows]:
        """Return every row linked to the lead that was recorded before `as_of`.

        A table the user lacks is not there. Opportunities whose closing was recorded later are
        open. Rows of a current-state export carry no `recorded_at`, as they would not live.
        """
        component = self._component_of[lead_id]
        tables = {name: table.at(component, as_of) for name, table in self._tables.items()}
        deals = tables.get("opportunities", {})
        for row, closed in enumerate(deals.get("closed_recorded_at", ())):
            if closed is not None and closed >= as_of:
                deals["stage"][row] = "open"
                deals["closed_at"][row] = deals["closed_recorded_at"][row] = None
        return {**tables}


def _components(records: Records) -> Int64s:
    """Return the component of each lead, then account, then opportunity."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n_leads, n_accounts = len(records.lead_ids), len(records.account_ids)
    deals, contacts = records.opportunities, records.contacts
    first_deal = n_leads + n_accounts
    deal_rows = np.arange(len(deals.created))
    links = (
        (records.leads.leads, records.leads.accounts, 0, n_leads),
        (records.leads.leads, records.leads.merged_into, 0, 0),
        (deal_rows, deals.leads, first_deal, 0),
        (deal_rows, deals.accounts, first_deal, n_leads),
        (contacts.opportunities, contacts.leads, first_deal, 0),
    )
    kept = [(left >= 0) & (right >= 0) for left, right, _, _ in links]
    left = np.concatenate([a[k] + at for (a, _, at, _), k in zip(links, kept, strict=True)])
    right = np.concatenate([b[k] + at for (_, b, _, at), k in zip(links, kept, strict=True)])
    size = first_deal + len(deal_rows)
    graph = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    return np.asarray(component, np.int64)


def _owners(tables: Tables, records: Records) -> dict[str, Int64s]:
    """Return the node that each row of each table belongs to, -1 for none."""
    n_leads, n_accounts = len(records.lead_ids), len(records.account_ids)
    lead_ids = pd.Index(records.lead_ids)

    def shifted(codes: Int64s, by: int) -> Int64s:
        return np.where(codes >= 0, codes + by, -1)

    return {
        "leads": records.leads.leads,
        "accounts": shifted(records.accounts.accounts, n_leads),
        "engagement_events": codes_in(tables.engagement_events["lead_id"], lead_ids),
        "opportunities": np.arange(len(tables.opportunities)) + n_leads + n_accounts,
        "opportunity_leads": shifted(records.contacts.opportunities, n_leads + n_accounts),
        "stage_changes": codes_in(tables.stage_changes["lead_id"], lead_ids),
    }


def _grouped(tables: Tables, name: str, component: Int64s, wanted: Any) -> _Grouped:
    kept = np.flatnonzero(np.append(wanted, False)[component])
    kept = kept[np.argsort(component[kept], kind="stable")]
    rows: pd.DataFrame = getattr(tables, name).iloc[kept]
    of_rows = component[kept]
    found = np.unique(of_rows)
    starts, ends = (np.searchsorted(of_rows, found, side=side) for side in ("left", "right"))
    known = micros(rows["created_recorded_at" if name == "opportunities" else "recorded_at"])
    if name in tables.current_state:
        # A lead is nobody's before it is recorded; what is known of an account always was.
        known = known if name == "leads" else np.full(len(rows), np.iinfo(np.int64).min)
        rows = rows.drop(columns="recorded_at")
    return _Grouped(
        bounds={
            one: (start, end)
            for one, start, end in zip(found.tolist(), starts.tolist(), ends.tolist(), strict=True)
        },
        known=known,
        columns={str(column): _plain(rows[column]) for column in rows.columns},
    )


def _plain(values: pd.Series) -> list[Any]:
    """Return a column as a request holds it: instants as microseconds, None for missing text."""
    if pd.api.types.is_datetime64_dtype(values):
        instants = micros(values).astype(object)
        instants[values.isna().to_numpy()] = None
        return list(instants)
    if pd.api.types.is_numeric_dtype(values):
        return values.tolist()
    return values.astype(object).where(values.notna(), None).tolist()
