"""A slice of the contract's tables: what is wrong in it is told by lead, and the rest is kept.

A bad row of `leads` is an error of that row; a bad row elsewhere one of the leads it names, by id
or through their account. Their own rows are left out then, and all others are read as if they had
not been sent. A bad row that names nobody spoils the whole request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from features.loading.addresses import EMAIL_DOMAIN
from features.loading.merges import in_circles
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
    errors: list[dict[str, Any]]
    "Of leads: index (in the request's `leads`), where, problem."
    newest: int
    "The newest instant of any row; 0 without one."
    sent: frozenset[str]
    "The leads of `places`, and those that were left out since."

    def without(self, wrong: dict[str, list[tuple[str, str]]]) -> None:
        """Leave out leads with what is wrong with them: (where, problem)."""
        if wrong:
            for lead, told in wrong.items():
                self.tell(self.places.pop(lead), told)
            _leave_out(self.tables, frozenset(wrong))

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
    problems, repeated = reader.problems, _repeated_leads(read["leads"])
    problems += _keep_one_of_same(read)
    places: dict[str, int] = {}
    for number, lead in enumerate(read["leads"].columns["lead_id"]):
        if lead is not None:
            places.setdefault(lead, number)
    found = Slice(read, places, [], reader.newest, frozenset(places))
    if problems or repeated:
        _put_aside(found, problems, repeated)
    _drop_orphans(found)
    return found


def is_flat_slice(tables: dict[str, list[Any]]) -> bool:
    """Return whether there are leads without any date, and nothing else."""
    return len(tables) == 1 and not any(
        isinstance(row, dict) and "created_at" in row for row in tables["leads"]
    )


def _repeated_leads(leads: TypedTable) -> list[int]:
    """Return the rows that repeat a lead without another `recorded_at`; the first one stands."""
    ids = leads.columns["lead_id"]
    if len({*ids}) == len(ids):
        return []
    recorded = leads.columns.get("recorded_at", [None] * len(ids))
    seen, repeated = set(), []
    for number, key in enumerate(zip(ids, recorded, strict=True)):
        if key[0] is not None and key in seen:
            repeated.append(number)
        seen.add(key)
    return repeated


def _keep_one_of_same(tables: dict[str, TypedTable]) -> list[Problem]:
    """Keep one of rows that are the same, as the loader does; return contradicting accounts.

    Of an event the first recorded row is kept, of an opportunity the newest.
    """
    if (events := tables.get("engagement_events")) is not None:
        _keep_one(events, "event_id", "recorded_at", newest=False)
    if (deals := tables.get("opportunities")) is not None:
        _keep_one(deals, "opportunity_id", "created_recorded_at", newest=True)
    accounts = tables.get("accounts")
    if accounts is None or len({*accounts.columns["account_id"]}) == len(accounts.rows):
        return []
    recorded = accounts.columns.get("recorded_at", [None] * len(accounts.rows))
    first: dict[Any, int] = {}
    is_kept, problems = [], []
    for n, key in enumerate(zip(accounts.columns["account_id"], recorded, strict=True)):
        before = first.setdefault(key, n)
        is_same = before != n and accounts.rows[before] == accounts.rows[n]
        is_kept.append(not is_same)
        if before != n and not is_same and key[0] is not None:
            text = "repeats an account with other values; rows of its history need recorded_at"
            problems.append(Problem("accounts", n, "account_id", text))
    accounts.keep(is_kept)
    return problems


def _keep_one(table: TypedTable, key: str, time: str, newest: bool) -> None:
    """Keep of rows with the same key the first recorded, or the newest; ties by content."""
    ids = table.columns.get(key, [])
    filled = [one for one in ids if one is not None]
    if len({*filled}) == len(filled):
        return
    instants = table.columns.get(time, [None] * len(ids))
    own = table.columns.get("occurred_at", instants)
    rows = [
        tuple((value is None, 0 if value is None else value) for value in row)
        for row in zip(*table.columns.values(), strict=True)
    ]
    chosen: dict[str, tuple[Any, ...]] = {}
    for n, one in enumerate(ids):
        if one is not None:
            at = next((instant for instant in (instants[n], own[n]) if instant is not None), 0)
            place = (-at if newest else at, rows[n], n)
            chosen[one] = min(chosen.get(one, place), place)
    kept = {place[-1] for place in chosen.values()}
    table.keep([one is None or n in kept for n, one in enumerate(ids)])


def _put_aside(found: Slice, problems: list[Problem], repeated: list[int]) -> None:
    """Turn problems into errors of leads, and leave out the bad rows and those of bad leads."""
    owners = _Owners(found)
    wrong: dict[str, list[tuple[str, str]]] = {}
    nobodys = []
    bad: dict[str, set[int]] = {"leads": {*repeated}}
    for problem in problems:
        bad.setdefault(problem.table, set()).add(problem.row)
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
    for row in repeated:
        found.tell(row, [(f"tables.leads[{row}].lead_id", _REPEATED)])
    for name, rows in bad.items():
        table = found.tables[name]
        table.keep([number not in rows for number in table.numbers])
    found.without(wrong)
    found.errors.sort(key=lambda error: int(error["index"]))


_REPEATED = "repeats a lead; rows of its history each need a recorded_at of their own"


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
        if problem.row not in table.numbers:  # it is one of several that are the same
            return set()
        position = table.numbers.index(problem.row)
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


def _leave_out(tables: dict[str, TypedTable], leads: frozenset[str]) -> None:
    """Leave out the rows of these leads."""
    for table in tables.values():
        ids = table.columns.get("lead_id")
        if ids is not None:
            table.keep([lead not in leads for lead in ids])


def _drop_orphans(found: Slice) -> None:
    """Leave out what is about leads that were not sent, and merges that lead nowhere."""
    known = found.places.keys()
    for name in ("opportunity_leads", "stage_changes"):
        table = found.tables.get(name)
        if table is not None and not known >= {*table.columns["lead_id"]}:
            table.keep([lead in known for lead in table.columns["lead_id"]])
    leads = found.tables["leads"].columns
    survivors = leads.get("merged_into")
    if survivors is not None and any(survivors):
        pairs = [*zip(leads["lead_id"], survivors, strict=True)]
        into = {lead: other for lead, other in pairs if other in known and lead != other}
        circles = {*in_circles(into)}
        leads["merged_into"] = [
            other if lead in into and lead not in circles else None for lead, other in pairs
        ]
