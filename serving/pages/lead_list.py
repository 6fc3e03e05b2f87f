"""The ranked list of leads, ready for its template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

from features.config import Config, ServingConfig
from serving.ledger.ledger import Ledger
from serving.pages.words import STATES, ago_text, due_text, hours_after, percent_text

GRADES = ("A", "B", "C", "D")
WAITING, ALL = "waiting", "all"
TABS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    WAITING: ("Waiting for sales", {"state": "mql"}),
    "overdue": ("Overdue", {"state": "overdue"}),
    "accepted": ("Accepted", {"state": "accepted"}),
    "contacted": ("Contacted", {"state": "contacted"}),
    "rejected": ("Rejected", {"state": "rejected"}),
    "recycled": ("Recycled", {"state": "recycled"}),
    ALL: ("All leads", {}),
}
"What the list can show, the first by default: its title, and the ledger's filter."

_PAGE_ROWS = 50


@dataclass(frozen=True)
class Asked:
    """What the address asks for; whatever is unknown in it is as if it were not there."""

    show: str = WAITING
    grade: str = ""
    search: str = ""
    after: str = ""

    @classmethod
    def of(cls, show: str, grade: str, search: str, after: str) -> Asked:
        """Return the filters of an address."""
        return cls(
            show if show in TABS else WAITING,
            grade if grade in GRADES else "",
            # Not every database takes a NUL in a text, and no id holds one.
            search.replace("\0", "").strip(),
            after,
        )

    @property
    def url(self) -> str:
        """The address of the list with these filters; defaults are left out.

        >>> Asked("all", grade="A").url
        '/leads?show=all&grade=A'
        """
        named = {
            "show": "" if self.show == WAITING else self.show,
            "grade": self.grade,
            "search": self.search,
            "after": self.after,
        }
        given = {name: value for name, value in named.items() if value}
        return f"/leads?{urlencode(given)}" if given else "/leads"


@dataclass(frozen=True)
class Tab:
    """A link that shows one part of the leads."""

    title: str
    url: str
    is_current: bool


@dataclass(frozen=True)
class Row:
    """One lead of the list, in words."""

    lead_id: str
    account_id: str | None
    url: str
    grade: str
    probability: str
    qualified: bool
    why: str
    state: str | None
    since: str | None
    "How long ago it became an MQL."
    due: str | None
    "What sales owes it next, and until when."
    is_overdue: bool
    is_exploration: bool


def lead_url(lead_id: str) -> str:
    """Return the address of a lead's page, whatever its id is made of.

    >>> lead_url("EU/00 1?")
    '/leads/EU%2F00%201%3F'
    """
    return f"/leads/{quote(lead_id, safe='', errors='replace')}"


def list_view(ledger: Ledger, asked: Asked, now: int, config: Config) -> dict[str, Any]:
    """Return what the template shows: a page of rows, or what to do where there is none.

    `now` in microseconds. Raises InputError for a page token that is not the ledger's.
    """
    page = ledger.leads(
        grade=asked.grade or None,
        search=asked.search or None,
        limit=_PAGE_ROWS,
        after=asked.after or None,
        **TABS[asked.show][1],
    )
    rows = [_row(item, now, config.serving) for item in page.items]
    following = None if page.next is None else replace(asked, after=page.next).url
    empty = None if rows else _empty(ledger, asked)
    return _frame(asked) | {"rows": rows, "next": following, "empty": empty}


def failed_view(asked: Asked, problem: str) -> dict[str, Any]:
    """Return what the template shows when the ledger refused the question."""
    return _frame(asked) | {"problem": problem}


def _frame(asked: Asked) -> dict[str, Any]:
    """Return what every list has, with no row yet."""
    at_start = replace(asked, after="")
    return {
        "heading": TABS[asked.show][0],
        "tabs": [
            Tab(title, replace(at_start, show=show).url, show == asked.show)
            for show, (title, _) in TABS.items()
        ],
        "asked": asked,
        "grades": GRADES,
        "unfiltered": Asked(asked.show).url,
        "first": at_start.url if asked.after else None,
        "next": None,
        "rows": [],
        "empty": None,
        "problem": "",
    }


def _empty(ledger: Ledger, asked: Asked) -> dict[str, Any]:
    """Return what to say and do where no lead is shown."""
    if asked.grade or asked.search:
        text = "No lead matches these filters."
        return _advice("Nothing found", text, url=Asked(ALL).url, link="Show all leads")
    if not ledger.leads(limit=1).items:
        text = (
            "Leads appear here once they are scored: the open leads of the CRM in one go with the "
            "command below, or one by one as they act, with POST /v1/scores."
        )
        return _advice("No lead has been scored yet", text, command="closedwon score")
    if asked.show == WAITING:
        text = "Every MQL has its answer. The other leads, ranked, are under All leads."
        return _advice("No MQL waits for sales", text, url=Asked(ALL).url, link="Show all leads")
    text = f"No lead is in the state “{TABS[asked.show][0].lower()}” at the moment."
    return _advice("None here", text, url=Asked().url, link="Show the MQLs that wait for sales")


def _advice(
    heading: str, text: str, command: str = "", url: str = "", link: str = ""
) -> dict[str, str]:
    return {"heading": heading, "text": text, "command": command, "url": url, "link": link}


def _row(item: Mapping[str, Any], now: int, levels: ServingConfig) -> Row:
    state, since = item["state"], item["mql_at"]
    return Row(
        lead_id=item["lead_id"],
        account_id=item["account_id"],
        url=lead_url(item["lead_id"]),
        grade=item["grade"],
        probability=percent_text(item["probability"]),
        qualified=item["qualified"],
        why=item["why"].removeprefix("Why: "),
        state=STATES[state] if state else None,
        since=None if since is None else ago_text(since, now),
        due=None if since is None else _next_due(state, since, now, levels),
        is_overdue=bool(item["is_overdue"]),
        is_exploration=bool(item["is_exploration"]),
    )


def _next_due(state: str, mql_at: str, now: int, levels: ServingConfig) -> str | None:
    """Return what sales owes an MQL next: the answer, then the first contact; None if nothing."""
    if state == "mql":
        return f"Answer {due_text(hours_after(mql_at, levels.accept_within_hours), now)}"
    if state == "accepted":
        return f"First contact {due_text(hours_after(mql_at, levels.contact_within_hours), now)}"
    return None
