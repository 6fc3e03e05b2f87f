"""Which leads of a request are scored, and as of when: those in the population then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from features.facts.histories import DAY
from models.lead_scores import LeadScore
from serving.live.reads import Unread
from serving.live.requests import RequestError, ScoreRequest
from serving.live.views import Features, View


@dataclass(slots=True)
class Asked:
    """A request as one model sees it."""

    request: ScoreRequest
    view: View
    unread: Unread
    errors: list[dict[str, Any]] = field(default_factory=list)
    "Of leads that are not to be scored: index, where, problem."
    refused: RequestError | None = None
    "Why none of its leads is scored."

    def refuse(self, lead: str, problem: str) -> None:
        """Let a lead have an error and no score."""
        index = self.request.slice.places[lead]
        where = f"tables.leads[{index}]"
        self.errors.append({"index": index, "where": where, "problem": problem})


class Placed(NamedTuple):
    """A lead to be scored."""

    asked: Asked
    lead_id: str
    as_of: int
    account_id: str | None
    is_eligible: bool


class Scored(NamedTuple):
    """A lead with its score: Placed, its row among the features, and what the model says."""

    asked: Asked
    lead_id: str
    as_of: int
    account_id: str | None
    is_eligible: bool
    features: Features
    row: int
    score: LeadScore


def place_leads(requests: Sequence[Asked], view: View) -> list[Placed]:
    """Return the leads in the population as of their request; the others are refused.

    `view`: of all requests.
    """
    asked = [(one, lead, one.request.as_of) for one in requests for lead in one.request.lead_ids]
    found = view.standing([(lead, as_of) for _, lead, as_of in asked])
    placed = []
    rows = zip(
        asked, found.in_population.tolist(), found.accounts.tolist(), found.is_eligible.tolist(),
        strict=True,
    )  # fmt: skip
    for (one, lead, as_of), is_in, account, is_eligible in rows:
        if is_in:
            placed.append(Placed(one, lead, as_of, view.account_id(account), is_eligible))
        else:
            one.refuse(lead, _not_in(view, lead, as_of))
    return placed


def place_flat(requests: Sequence[Asked], view: View) -> list[Placed]:
    """Return all leads: what becomes of the rows of a flat export nobody knows."""
    asked = [(one, lead, one.request.as_of) for one in requests for lead in one.request.lead_ids]
    found = view.standing([(lead, as_of) for _, lead, as_of in asked])
    accounts = map(view.account_id, found.accounts.tolist())
    return [
        Placed(*one, account_id, is_eligible=True)
        for one, account_id in zip(asked, accounts, strict=True)
    ]


def place_at_age(
    requests: Sequence[Asked], view: View, age_days: int, horizon_days: int
) -> list[Placed]:
    """Return the leads as they were at the one age that the model knows.

    They must be in the population still, and their horizon must not have passed since.
    """
    placed = place_leads(requests, view)
    at_age = [(one.lead_id, view.created(one.lead_id) + age_days * DAY) for one in placed]
    found = view.standing(at_age)
    kept = []
    for row, (one, (lead, as_of)) in enumerate(zip(placed, at_age, strict=True)):
        asked, now = one.asked, one.as_of
        if as_of > now:
            asked.refuse(
                lead, f"the model scores leads {age_days} days after creation: that lies ahead"
            )
        elif as_of + horizon_days * DAY <= now:
            asked.refuse(
                lead, f"the model scores leads {age_days} days after creation: too long ago"
            )
        elif not found.in_population[row]:
            asked.refuse(lead, _not_in(view, lead, as_of))
        else:
            account = view.account_id(int(found.accounts[row]))
            kept.append(Placed(asked, lead, as_of, account, bool(found.is_eligible[row])))
    return kept


def _not_in(view: View, lead: str, as_of: int) -> str:
    return f"the lead is not in the population: {view.why_out(lead, as_of)}"
