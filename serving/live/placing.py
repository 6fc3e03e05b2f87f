"""Which leads of a request are scored, and as of when: those in the population then."""

from __future__ import annotations

from typing import Any, NamedTuple

from features.facts.histories import DAY
from models.lead_scores import LeadScore
from serving.live.requests import ScoreRequest
from serving.live.views import Features, View


class Placed(NamedTuple):
    """A lead to be scored."""

    lead_id: str
    as_of: int
    account_id: str | None
    is_eligible: bool


class Scored(NamedTuple):
    """A lead with its score: Placed, its row among the features, and what the model says."""

    lead_id: str
    as_of: int
    account_id: str | None
    is_eligible: bool
    features: Features
    row: int
    score: LeadScore


def place_leads(request: ScoreRequest, view: View) -> tuple[list[Placed], list[dict[str, Any]]]:
    """Return the leads in the population as of the request, and an error for each of the others."""
    found = view.standing([(lead, request.as_of) for lead in request.lead_ids])
    placed, errors = [], []
    rows = zip(
        request.lead_ids, found.in_population.tolist(), found.accounts.tolist(),
        found.is_eligible.tolist(), strict=True,
    )  # fmt: skip
    for lead, is_in, account, is_eligible in rows:
        if is_in:
            placed.append(Placed(lead, request.as_of, view.account_id(account), is_eligible))
        else:
            errors.append(_error(request, lead, _not_in(view, lead, request.as_of)))
    return placed, errors


def place_flat(request: ScoreRequest, view: View) -> tuple[list[Placed], list[dict[str, Any]]]:
    """Return all leads: what becomes of the rows of a flat export nobody knows."""
    found = view.standing([(lead, request.as_of) for lead in request.lead_ids])
    accounts = map(view.account_id, found.accounts.tolist())
    placed = [
        Placed(lead, request.as_of, account, True)
        for lead, account in zip(request.lead_ids, accounts, strict=True)
    ]
    return placed, []


def place_at_age(
    request: ScoreRequest, view: View, age_days: int, horizon_days: int
) -> tuple[list[Placed], list[dict[str, Any]]]:
    """Return the leads as they were at the one age that the model knows.

    They must be in the population still, and their horizon must not have passed since.
    """
    placed, errors = place_leads(request, view)
    at_age = [(one.lead_id, view.created(one.lead_id) + age_days * DAY) for one in placed]
    found = view.standing(at_age)
    kept = []
    for row, (lead, as_of) in enumerate(at_age):
        problem = None
        if as_of > request.as_of:
            problem = f"the model scores leads {age_days} days after creation: that lies ahead"
        elif as_of + horizon_days * DAY <= request.as_of:
            problem = f"the model scores leads {age_days} days after creation: too long ago"
        elif not found.in_population[row]:
            problem = _not_in(view, lead, as_of)
        if problem is None:
            account = view.account_id(int(found.accounts[row]))
            kept.append(Placed(lead, as_of, account, bool(found.is_eligible[row])))
        else:
            errors.append(_error(request, lead, problem))
    return kept, errors


def _not_in(view: View, lead: str, as_of: int) -> str:
    return f"the lead is not in the population: {view.why_out(lead, as_of)}"


def _error(request: ScoreRequest, lead: str, problem: str) -> dict[str, Any]:
    index = request.slice.places[lead]
    return {"index": index, "where": f"tables.leads[{index}]", "problem": problem}
