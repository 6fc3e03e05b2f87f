"""What a model reads of a request: which tables, and which columns are attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from features.catalogue.catalogue import Catalogue
from features.catalogue.feature import BY_ACCOUNT, BY_LEAD, Feature
from features.fit.fit_columns import FIT_AGGREGATIONS
from features.live import Rows
from features.loading.addresses import EMAIL_DOMAIN
from features.tables import CONTRACT
from serving.live.cells import CellError, read_category, read_number
from serving.live.slices import Slice

_OF_ATTRIBUTES = ("attribute", *FIT_AGGREGATIONS)
_SAID = {
    "accounts": "Accounts were not in the request",
    "engagement_events": "Engagement events were not in the request",
    "opportunities": "Opportunities were not in the request",
    "stage_changes": "Stage changes were not in the request",
}
"Instead of what a missing value means otherwise."
STANDING = ("opportunities", "stage_changes")
"Without both of them nobody knows whether a lead is with sales, or a customer."
_ATTRIBUTE_TABLES = (("leads", "lead_id"), ("accounts", "account_id"))


def is_of_flat_export(catalogue: Catalogue) -> bool:
    """Return whether features are read from columns only: of tables there are ages and counts."""
    return all(f.aggregation in _OF_ATTRIBUTES for f in catalogue.features)


def tables_read(catalogue: Catalogue) -> tuple[str, ...]:
    """Return `leads` and the tables that the catalogue's features are made of."""
    read = {"leads", *(_table_of(feature) for feature in catalogue.features)}
    return tuple(name for name in CONTRACT if name in read)


def _tables_asked(catalogue: Catalogue) -> tuple[str, ...]:
    """Return the tables of a complete request, with those that say where a lead stands."""
    asked = {*tables_read(catalogue)}
    if "opportunities" in asked:
        asked.add("opportunity_leads")
    if not is_of_flat_export(catalogue):
        asked.update(STANDING)
    return tuple(name for name in CONTRACT if name in asked)


def _table_of(feature: Feature) -> str:
    if feature.aggregation in _OF_ATTRIBUTES:
        return feature.stream.partition(".")[0]
    if feature.aggregation in BY_LEAD + BY_ACCOUNT:
        return "engagement_events"
    if feature.aggregation in ("days_since_stage_change", "times_recycled"):
        return "stage_changes"
    return "opportunities" if feature.concept.endswith("opportunities") else "leads"


def is_of_account(feature: Feature) -> bool:
    """Return whether a feature is read from the lead's account."""
    is_attribute = _table_of(feature) == "accounts"
    return (
        is_attribute
        or feature.aggregation in BY_ACCOUNT
        or feature.aggregation.startswith("account_")
    )


@dataclass(frozen=True)
class Reads:
    """What one catalogue reads, looked up once."""

    tables: tuple[str, ...]
    attributes: dict[str, dict[str, Callable[[Any], Any]]]
    "Of leads and accounts: column -> how its cells are read."
    columns: dict[str, tuple[str, ...]]
    "Of leads and accounts: what each lead's rows must hold, if only null."
    event_columns: tuple[str, ...]
    "Columns of the events that are read besides the required ones."
    said: dict[str, dict[str, str]]
    "By table: what to say of each of its features when the table was not sent."

    @classmethod
    def of(cls, catalogue: Catalogue, event_columns: Iterable[str]) -> Reads:
        """Return what `catalogue` reads, of the events `event_columns`."""
        numbers = {
            f.stream
            for f in catalogue.features
            if f.aggregation == "attribute" and f.dtype == "number"
        }
        attributes: dict[str, dict[str, Callable[[Any], Any]]] = {"leads": {}, "accounts": {}}
        said: dict[str, dict[str, str]] = {}
        for feature in catalogue.features:
            table = _table_of(feature)
            said.setdefault(table, {})[feature.name] = _SAID.get(table, "")
            if feature.aggregation in _OF_ATTRIBUTES:
                column = feature.stream.partition(".")[2]
                is_number = feature.stream in numbers
                attributes[table][column] = read_number if is_number else read_category
        if catalogue.account_from == "email_domain":
            attributes["leads"].setdefault(EMAIL_DOMAIN, read_category)
        columns = {table: tuple(found) for table, found in attributes.items()}
        if catalogue.account_from == "account_id" and any(map(is_of_account, catalogue.features)):
            columns["leads"] += ("account_id",)
        events = tuple(sorted(event_columns))
        return cls(_tables_asked(catalogue), attributes, columns, events, said)

    def rows(self, found: Slice) -> tuple[dict[str, Rows], Unread]:
        """Return the typed columns of all tables, attributes as the model knows them."""
        rows: dict[str, Rows] = {name: table.columns for name, table in found.tables.items()}
        unread = Unread(self, found)
        for name, _ in _ATTRIBUTE_TABLES:
            if name in found.tables:
                cells = found.tables[name].rows
                typed = {
                    column: _attribute(cells, column, read, unread, name)
                    for column, read in self.attributes[name].items()
                }
                rows[name] = {**found.tables[name].columns, **typed}
        return rows, unread


class Unread:
    """What the model reads and a request lacks, lead by lead."""

    def __init__(self, reads: Reads, found: Slice) -> None:
        self._reads = reads
        self._tables = found.tables
        self._partial = found.partial
        tables = [name for name in reads.tables if name not in found.tables]
        self.knows_standing = not {*STANDING} & {*tables}
        self.said = {
            feature: text for name in tables for feature, text in reads.said.get(name, {}).items()
        }
        events = found.tables.get("engagement_events")
        if events is not None and events.rows:
            tables += [
                f"{events.name}.{column}"
                for column in reads.event_columns
                if column not in events.columns
            ]
        self.tables = (*tables,)
        "Unknown of every lead."
        self.cells: dict[tuple[str, int], list[str]] = {}
        "Attributes that are filled and cannot be read, by table and position."
        self._positions: dict[str, dict[str, list[int]]] = {}
        for name, key in _ATTRIBUTE_TABLES:
            places = self._positions[name] = {}
            if name in found.tables:
                for position, one in enumerate(found.tables[name].columns[key]):
                    places.setdefault(one, []).append(position)

    def of(self, lead: str, account: str | None) -> tuple[str, ...]:
        """Return the tables, then the columns such as `leads.industry`, that are unknown."""
        unknown = [*self.tables]
        if lead in self._partial:
            unknown += [name for name in self._reads.tables if name in self._partial[lead]]
        for name, owner in (("leads", lead), ("accounts", account)):
            positions = self._positions[name].get(owner or "", ())
            if not positions:  # its account has no row: nothing is known of it, in batch too
                continue
            rows = [self._tables[name].rows[position] for position in positions]
            given = rows[0].keys() if len(rows) == 1 else {column for row in rows for column in row}
            unknown += [
                f"{name}.{column}" for column in self._reads.columns[name] if column not in given
            ]
            for position in positions if self.cells else ():
                unknown += [f"{name}.{c}" for c in self.cells.get((name, position), ())]
        return tuple(dict.fromkeys(unknown))


def _attribute(
    rows: list[dict[str, Any]],
    column: str,
    read: Callable[[Any], Any],
    unread: Unread,
    name: str,
) -> list[Any]:
    cells = [row.get(column) for row in rows]
    try:
        if len(cells) == 1:  # one lead, as in most requests
            return cells if cells[0] is None else [read(cells[0])]
        return [None if cell is None else read(cell) for cell in cells]
    except CellError:
        values: list[Any] = []
        for position, cell in enumerate(cells):
            try:
                values.append(None if cell is None else read(cell))
            except CellError:
                values.append(None)
                unread.cells.setdefault((name, position), []).append(column)
        return values
