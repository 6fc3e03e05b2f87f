"""A slice of the contract's tables: what is wrong in it is told by lead, and the rest is kept.

A bad row of `leads` is an error of that lead; a bad row elsewhere one of the leads it names, by id
or through their account. Only the bad row itself is set aside, as a file's would be: the good rows
of leads with errors still tell of the other leads. A bad row that names nobody spoils the whole
request.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from features.fit.free_mail import is_free_mail
from features.loading.addresses import EMAIL_DOMAIN
from features.loading.merges import in_circles
from features.tables import CONTRACT
from serving.live.earlier import Parts
from serving.live.rows import TABLES, Problem, RowReader, TypedTable

MOST_PROBLEMS = 20
"Told of one lead, or of one request: the rest is more of the same."


class RequestError(Exception):
    """A request that cannot be answered: HTTP 422. `problems`: where and problem, no input."""

    def __init__(self, problems: list[dict[str, Any]]) -> None:
        super().__init__("; ".join(f"{one['where']}: {one['problem']}" for one in problems[:3]))
        self.problems = problems[:MOST_PROBLEMS]

    @classmethod
    def at(cls, where: str, problem: str) -> RequestError:
        """Return the error of one problem."""
        return cls([{"where": where, "problem": problem}])


@dataclass(slots=True)
class Slice:
    """Checked tables by name, the place of each lead in the request, and what is wrong."""

    tables: dict[str, TypedTable]
    places: dict[str, int]
    "Of the leads without an error."
    errors: list[dict[str, Any]]
    "Of leads: index (in the request's `leads`), where, problem."
    newest: int
    "The newest instant of any row; 0 without one."
    sent: frozenset[str]
    "The leads of `places`, and those with errors."
    partial: dict[str, set[str]] = field(default_factory=dict)
    "By lead: tables of which a row that may concern it was set aside."

    def refuse(self, lead: str, told: list[tuple[str, str]]) -> None:
        """Let a lead have errors (where, problem) and no score."""
        self.tell(self.places.pop(lead), told)

    def tell(self, index: int, told: list[tuple[str, str]]) -> None:
        """Add errors of one place in `leads`."""
        for where, problem in told[:MOST_PROBLEMS]:
            self.errors.append({"index": index, "where": where, "problem": problem})


def read_slice(tables: dict[str, list[Any]], now: int) -> Slice:
    """Return the checked rows of `tables`, names among TABLES, and the leads' errors.

    Without any `created_at` and any table but `leads` it is a flat export's: then leads need no
    dates. Raises RequestError where a bad row names nobody.
    """
    reader = RowReader(now)
    is_flat = is_flat_slice(tables)
    read = {
        name: reader.read(name, tables[name], needs_dates=not is_flat)
        for name in TABLES
        if name in tables
    }
    places: dict[str, int] = {}
    for number, lead in enumerate(read["leads"].columns["lead_id"]):
        if lead is not None:
            places.setdefault(lead, number)
    found = Slice(read, places, [], reader.newest, frozenset(places))
    if reader.problems:
        _put_aside(found, reader.problems)
    for row in _repeats(read["leads"]):
        found.tell(row, [(f"tables.leads[{row}].lead_id", _REPEATED)])
    _keep_one(read.get("engagement_events"), "event_id", newest=False)
    _keep_one(read.get("opportunities"), "opportunity_id", newest=True)
    if again := [Problem("accounts", row, "account_id", _CONTRADICTS)
                 for row in _repeats(read.get("accounts"))]:  # fmt: skip
        _put_aside(found, again)
    _mend_merges(found)
    _drop_orphans(found)
    found.errors.sort(key=lambda error: int(error["index"]))
    return found


_REPEATED = "repeats a lead; rows of its history each need a recorded_at of their own"
_CONTRADICTS = "repeats an account with other values; rows of its history need recorded_at"
_UNSENT = "names a lead that was not sent, or has an error: send both to have a merge counted"


def is_flat_slice(tables: dict[str, list[Any]]) -> bool:
    """Return whether there are leads without any date, and nothing else."""
    return len(tables) == 1 and not any(
        column == "created_at" or column.casefold() == "created_at"
        for row in tables["leads"] if isinstance(row, dict) for column in row
    )  # fmt: skip


def _known(table: TypedTable) -> list[int]:
    """Return when each row was recorded, as the loader has it: never before its own time."""
    columns, none = table.columns, [None] * len(table.rows)
    own = columns.get(CONTRACT[table.name].own_time or "", none)
    recorded = columns.get("recorded_at", none)
    return [max(at or 0, given or 0) for at, given in zip(own, recorded, strict=True)]


def _repeats(table: TypedTable | None) -> list[int]:
    """Drop all rows of a lead or account but the first; return those that say something else.

    With a `recorded_at` of their own they are its history.
    """
    if table is None:
        return []
    ids = table.columns[str(CONTRACT[table.name].key)]
    if len({*ids}) == len(ids):
        return []
    is_history = any("recorded_at" in row for row in table.rows)
    known = _known(table) if is_history else [0] * len(ids)
    first: dict[Any, Any] = {}
    is_kept, others = [], []
    for row, key in enumerate(zip(ids, known, strict=True)):
        says = _content(table, row)
        is_kept.append(key not in first)
        if first.setdefault(key, says) != says:
            others.append(table.numbers[row])
            is_kept[-1] = table.name == "accounts"  # their leads are refused with it
    table.keep(is_kept)
    return others


def _content(table: TypedTable, row: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a row says, but for when: an empty cell and none are the same."""
    typed = {name: values[row] for name, values in table.columns.items() if name != "recorded_at"}
    others = {
        name: cell.strip() if isinstance(cell, str) else cell
        for name, cell in table.rows[row].items()
        if name not in typed and name != "recorded_at" and cell is not None
    }
    return typed, {name: cell for name, cell in others.items() if cell != ""}


def _keep_one(table: TypedTable | None, key: str, newest: bool) -> None:
    """Keep of rows with the same key the first recorded, or the newest, as the loader does.

    Of those recorded at once the least by content, column by column in the contract's order.
    """
    ids = [] if table is None else table.columns.get(key, [])
    filled = [one for one in ids if one is not None]
    if table is None or len({*filled}) == len(filled):
        return
    spec = CONTRACT[table.name]
    names = [name for name in (*spec.required, *spec.optional) if name in table.columns]
    rows = [
        tuple((value is None, 0 if value is None else value) for value in row)
        for row in zip(*(table.columns[name] for name in names), strict=True)
    ]
    chosen: dict[str, tuple[Any, ...]] = {}
    for row, (one, at) in enumerate(zip(ids, _known(table), strict=True)):
        if one is not None:
            place = (-at if newest else at, rows[row], row)
            chosen[one] = min(chosen.get(one, place), place)
    kept = {place[-1] for place in chosen.values()}
    table.keep([one is None or row in kept for row, one in enumerate(ids)])


def _put_aside(found: Slice, problems: list[Problem]) -> None:
    """Turn problems into errors of leads, and leave out the bad rows."""
    owners = _Owners(found)
    wrong: dict[str, list[tuple[str, str]]] = {}
    nobodys = []
    for problem in problems:
        leads, where = owners.of(problem), f"tables.{problem.where}"
        if problem.table == "leads":
            found.tell(problem.row, [(where, problem.text)])
            wrong |= {lead: wrong.get(lead, []) for lead in leads or ()}
        elif leads is None:
            nobodys.append({"where": where, "problem": f"{problem.text}; the row names no lead"})
        else:
            for lead in leads:
                wrong.setdefault(lead, []).append((where, problem.text))
    if nobodys:
        raise RequestError(nobodys)
    _note_partial(found, problems)
    for name in {problem.table for problem in problems}:
        table, bad = found.tables[name], {one.row for one in problems if one.table == name}
        table.keep([number not in bad for number in table.numbers])
    for lead, told in wrong.items():
        found.refuse(lead, told)


def _note_partial(found: Slice, problems: list[Problem]) -> None:
    """Note of whom else a bad row may tell: those linked with it, all if its links are unknown."""
    columns: dict[str, Mapping[str, Any]] = {n: t.columns for n, t in found.tables.items()}
    domains = [row.get(EMAIL_DOMAIN) for row in found.tables["leads"].rows]
    columns["leads"] = {
        **columns["leads"],
        "email_domain": [
            one if isinstance(one, str) and not is_free_mail(one.strip().lower()) else None
            for one in domains
        ],
    }
    parts = Parts(columns)
    of_part: dict[Any, set[str]] = {}
    for problem in problems:
        position = bisect_left(found.tables[problem.table].numbers, problem.row)
        part = parts.of_row(problem.table, position, problem.column)
        of_part.setdefault(part, set()).add(problem.table)
    for lead in found.sent:
        if tables := of_part.get(None, set()) | of_part.get(parts.of_lead(lead), set()):
            found.partial[lead] = found.partial.get(lead, set()) | tables


class _Owners:
    """Which leads of the request a row names."""

    def __init__(self, found: Slice) -> None:
        self._tables = found.tables
        self._known = found.places.keys()
        leads = found.tables["leads"]
        self._by_account: dict[str, set[str]] = {}
        ids = leads.columns["lead_id"]
        accounts = leads.columns.get("account_id", [None] * len(ids))
        domains = [row.get(EMAIL_DOMAIN) for row in leads.rows]
        for lead, *named in zip(ids, accounts, domains, strict=True):
            for account in named:
                if isinstance(account, str) and lead is not None:
                    self._by_account.setdefault(account, set()).add(lead)

    def of(self, problem: Problem) -> set[str] | None:
        """Return the leads that the row of `problem` names; None if it names no one."""
        table = self._tables[problem.table]
        position = bisect_left(table.numbers, problem.row)
        lead, account, deal = (
            table.columns[column][position] if column in table.columns else None
            for column in ("lead_id", "account_id", "opportunity_id")
        )
        ids = [lead]
        if deal is not None and problem.table == "opportunities":
            ids += self._contacts_of(deal)
        named = {one for one in ids if one in self._known}
        if account is not None and problem.table != "leads":
            named |= self._by_account.get(account, set())
        if account is None and all(one is None for one in ids):
            return None
        return named

    def _contacts_of(self, deal: str) -> list[str]:
        contacts = self._tables.get("opportunity_leads")
        if contacts is None:
            return []
        columns = contacts.columns
        pairs = zip(columns["opportunity_id"], columns["lead_id"], strict=True)
        return [lead for one, lead in pairs if one == deal]


def _mend_merges(found: Slice) -> None:
    """Refuse leads merged into one that was not sent; ignore merges in circles, as the loader does.

    Of several rows of a lead the one recorded last tells.
    """
    table = found.tables["leads"]
    survivors = table.columns.get("merged_into")
    if survivors is None or not any(survivors):
        return
    leads = table.columns["lead_id"]
    rows = sorted(zip(_known(table), range(len(leads)), leads, survivors, strict=True))
    into = {lead: other for _, _, lead, other in rows if other is not None}
    sent = {*leads}
    unsent = {lead for lead, other in into.items() if other not in sent}
    for lead in unsent & found.places.keys():
        where = f"tables.leads[{found.places[lead]}].merged_into"
        found.refuse(lead, [(where, _UNSENT)])
    nowhere = unsent | {lead for lead, other in into.items() if lead == other}
    nowhere |= {*in_circles({lead: into[lead] for lead in into if lead not in nowhere})}
    table.columns["merged_into"] = [
        None if lead in nowhere else other for lead, other in zip(leads, survivors, strict=True)
    ]


def _drop_orphans(found: Slice) -> None:
    """Leave out what is about leads that were not sent."""
    known = {*found.tables["leads"].columns["lead_id"]}
    for name in ("opportunity_leads", "stage_changes"):
        table = found.tables.get(name)
        if table is not None and not known >= {*table.columns["lead_id"]}:
            table.keep([lead in known for lead in table.columns["lead_id"]])
