"""The request a CRM would have sent of a lead at an instant of the past."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json

from features.facts.histories import DAY
from features.live import Rows
from features.tables import CONTRACT
from serving.live.answers import instant_text

_OURS = ("created_recorded_at", "closed_recorded_at")
"Columns that the loader adds to opportunities."
_NONE: dict[str, list[Any]] = {
    "opportunities": [], "opportunity_leads": [], "stage_changes": []
}  # fmt: skip


def request_body(tables: Mapping[str, Rows], lead_id: str, as_of: int, **asked: Any) -> bytes:
    """Return the body of a request for one lead, made of the rows that `PastRows.at` returns.

    `asked` are further keys of the request, such as `reasons`. Who keeps no opportunities or stage
    changes has none; a merge into a lead that was not known yet was not known either.
    """
    sent = _NONE | {name: _rows(name, rows) for name, rows in tables.items()}
    known = {None, *tables["leads"]["lead_id"]}
    for row in sent["leads"]:
        if row.get("merged_into") not in known:
            row["merged_into"] = None
    body = {"as_of": instant_text(as_of), "lead_ids": [lead_id], **asked, "tables": sent}
    return to_json(body)


def _rows(name: str, rows: Rows) -> list[dict[str, Any]]:
    spec = CONTRACT[name]
    kinds = {**spec.required, **spec.optional, "recorded_at": "instant"}
    columns = {column: values for column, values in rows.items() if column not in _OURS}
    if name == "opportunities":
        columns["recorded_at"] = rows["created_recorded_at"]
    texts = {
        column: [_cell(value, kinds.get(column)) for value in values]
        for column, values in columns.items()
    }
    if name == "opportunities":
        texts["closed_at"] = [
            _day_or_instant(*pair)
            for pair in zip(rows["closed_at"], rows["closed_recorded_at"], strict=True)
        ]
    return [dict(zip(texts, row, strict=True)) for row in zip(*texts.values(), strict=True)]


def _cell(value: Any, kind: str | None) -> Any:
    if kind == "instant" and value is not None:
        return instant_text(value)
    return None if value != value else value  # NaN is a missing number


def _day_or_instant(at: int | None, known: int | None) -> str | None:
    """Return when a deal was closed: a day alone is known at the next 00:00."""
    if at is None:
        return None
    text = instant_text(at)
    return text[:10] if at % DAY == 0 and known == at + DAY else text
