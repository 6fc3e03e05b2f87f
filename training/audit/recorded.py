"""Columns recorded after the outcome: dated truthfully, so that no snapshot ever saw them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.facts.histories import NEVER, Bools, Int64s, micros
from features.tables import Tables
from training.audit.findings import Evidence

LEAST_OWNERS = 25
"""Leads or accounts whose first value came after a closing; with fewer nothing is said."""
AFTER_SHARE = 0.9
"""Blocks: of all first values, the share recorded after the owner's first closing."""
EXPECTED_SHARE = 0.6
"""... where it would be at most this if recording had nothing to do with the closing. Where most
owners are closed, what is bought or asked for late is late for all: no sign of a leak."""
DEFAULT_SHARE = 0.95
"""One value that so many owners begin with is the table's way to leave a field empty."""


def recorded_evidence(
    tables: Tables, attribution: pd.DataFrame, dropped: tuple[str, ...]
) -> dict[str, list[Evidence]]:
    """Return column -> evidence that its first value comes after the outcome.

    Looks at the whole history, not at snapshots: an honest account of a closed deal, dated
    truthfully, is in none of them, but would be in the export of the day the model is used.
    """
    found: dict[str, list[Evidence]] = {}
    for owner in ("leads", "accounts"):
        rows = getattr(tables, owner)
        if owner in tables.current_state or not len(rows):
            continue
        codes, ids = pd.factorize(rows["lead_id" if owner == "leads" else "account_id"])
        codes = codes.astype(np.int64)
        closed = _first_closing(tables, attribution, owner, pd.Index(ids))
        recorded = micros(rows["recorded_at"])
        order = np.lexsort((recorded, codes))
        for column in tables.attributes(owner):
            name = f"{owner}.{column}"
            if column not in dropped and name not in dropped:
                values = pd.factorize(rows[column])[0].astype(np.int64)
                first = _first_recorded(codes[order], recorded[order], values[order], len(ids))
                found[name] = _after_closing(first, closed, recorded, owner)
    return {name: evidence for name, evidence in found.items() if evidence}


def _first_closing(tables: Tables, attribution: pd.DataFrame, owner: str, ids: pd.Index) -> Int64s:
    """Return when each owner's first deal was won or lost, NEVER if none was."""
    closings = attribution[["lead_id", "closed_at"]].rename(columns={"lead_id": "id"})
    if owner == "accounts":
        of_lead = tables.leads[["lead_id", "account_id"]].dropna().drop_duplicates()
        by_lead = closings.merge(of_lead, left_on="id", right_on="lead_id")
        by_lead = by_lead[["account_id", "closed_at"]]
        named = tables.opportunities[["account_id", "closed_at"]]
        closings = pd.concat([by_lead, named]).rename(columns={"account_id": "id"})
    closings = closings.dropna()
    position = ids.get_indexer(pd.Index(closings["id"]))
    closed = np.full(len(ids), NEVER)
    known = position >= 0
    np.minimum.at(closed, position[known], micros(closings["closed_at"])[known])
    return closed


def _first_recorded(codes: Int64s, recorded: Int64s, values: Int64s, n_owners: int) -> Int64s:
    """Return when each owner's first value was recorded, NEVER if none is.

    Rows are sorted by owner and time. A default that nearly all owners begin with is no value.
    """
    began = np.full(n_owners, NEVER)
    np.minimum.at(began, codes, recorded)
    is_value = values >= 0
    at_start = is_value & (recorded == began[codes])
    if at_start.any():
        default = int(np.bincount(values[at_start]).argmax())
        begin_so = len(np.unique(codes[at_start & (values == default)]))
        if begin_so >= DEFAULT_SHARE * n_owners:
            is_value &= values != default
    first = np.full(n_owners, NEVER)
    np.minimum.at(first, codes[is_value], recorded[is_value])
    return first


def _after_closing(first: Int64s, closed: Int64s, recorded: Int64s, owner: str) -> list[Evidence]:
    has_value: Bools = first < NEVER
    after = has_value & (closed <= first)
    n_values, n_after = int(has_value.sum()), int(after.sum())
    if n_after < LEAST_OWNERS or n_after < AFTER_SHARE * n_values:
        return []
    # had it nothing to do with closings, it would meet owners closed by then or not at all alike
    closed_by_then = np.searchsorted(np.sort(closed[closed < NEVER]), first[has_value], "right")
    expected = float(closed_by_then.mean() / len(closed))
    if expected > EXPECTED_SHARE:
        return []
    share = n_after / n_values
    text = (
        f"{share:.1%} of the {n_values:,} {owner} that have a value got it after a deal was won or"
        f" lost; at those times {expected:.1%} of all {owner} had a closed deal"
    )
    numbers = {"after": share, "expected": expected, owner: n_values}
    return [Evidence("recorded_after_outcome", "block", numbers, text)]
