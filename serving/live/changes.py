"""What changed since a lead's last score, in a fixed order, exactly.

From the score of then (t0) to the one of now (t1), one thing at a time, each state scored by the
old model:

1. fields: the values of then, with the attributes of now; and, if the lead belongs to another
   account now, what is read from its account, as if that had been so at t0 already.
2. time: the rows known before t0, as of t1. Where this request says of t0 something else than was
   scored then (rows that came late without a `recorded_at`, or were left out) the value stays.
3. new events: all rows, as of t1.
4. model version: the same, by the model of now.

That a lead belongs to another account is told by dated rows of it, or else by other attributes of
its account.

The four differences add up to the difference of the two probabilities. Where the old model is not
to be had, the model of now scores the states, and the whole rest is the model version's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from models.calibration import Floats
from models.lead_scores import LeadScore, LeadScorer
from models.wording import points_text
from serving.ledger.records import PreviousScore
from serving.live.answers import instant_text
from serving.live.earlier import Parts, earlier, recorded_before
from serving.live.parting import as_scored, has_fields_of, parted, with_fields
from serving.live.placing import Asked, Scored
from serving.live.requests import RequestError, ScoreRequest
from serving.live.views import Features, Pairs, View, row_of

if TYPE_CHECKING:
    from serving.live.live_scores import LiveScorer

MOST_ROWS = 300_000
"Looked at again for one request; leads beyond have no change told."
_NOTHING = {
    "fields": "No field changed",
    "time": "Time alone changed nothing",
    "new events": "Nothing new happened",
    "model version": "The model is the same",
}
_TOLD_FROM = 5e-5
"Of a probability: less is told as nothing."
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *("October", "November", "December"),
)


Later = tuple[Scored, PreviousScore]
"A lead that had a score before: the one of now, and that one."


@dataclass(frozen=True)
class _State:
    """Where a part of the change begins or ends."""

    probability: float
    contributions: Floats
    text: Callable[[int, Mapping[str, str]], str] | None = None
    "Of a concept; None where its words are not known any more."

    @classmethod
    def of(cls, score: LeadScore) -> _State:
        return cls(score.probability, score.contributions, score.text)


def changes(
    live: LiveScorer,
    asked: Asked,
    again: Iterable[Later],
    then: Mapping[str, Features],
    older: Callable[[str], LiveScorer | None],
) -> dict[str, dict[str, Any]]:
    """Return the change of each lead that has one; none for a score older than its last one.

    `again`: leads of the request `asked`. `then`: the features of each as the request has them at
    its last score, of the model of now.
    """
    by_version: dict[str, list[Later]] = {}
    for one, previous in again:
        if previous.as_of <= one.as_of:
            by_version.setdefault(previous.model_version, []).append((one, previous))
    found: dict[str, dict[str, Any]] = {}
    for version, group in by_version.items():
        model, its_view = _model_of(version, live, asked.view, asked.request, older)
        states = _states(model, live, its_view, group, then, is_known=model.version == version)
        for (one, previous), steps in states:
            found[one.lead_id] = _change(one, previous, steps, live.version, asked.unread.said)
    return found


def _model_of(
    version: str,
    live: LiveScorer,
    view: View,
    request: ScoreRequest,
    older: Callable[[str], LiveScorer | None],
) -> tuple[LiveScorer, View]:
    """Return the model of a version and how it sees the request; that of now if it is gone."""
    model = live if version == live.version else older(version)
    if model is None or model is live:
        return live, view
    try:
        return model, model.view(request)[0]
    except RequestError:  # it was made for another kind of data
        return live, view


def _states(
    model: LiveScorer,
    live: LiveScorer,
    view: View,
    group: Sequence[Later],
    then_of: Mapping[str, Features],
    is_known: bool,
) -> Iterator[tuple[Later, list[_State]]]:
    """Yield the five states of each lead: then, after each of three steps, and now.

    `is_known`: `model` made the score of then. If not, the state of then is what it would have
    said, and the last step closes the gap.
    """
    told: list[tuple[Later, list[Features | _State]]] = []
    at_last: dict[str, Features] = {}
    if model is not live:  # its features may be others
        found = view.features([(one.lead_id, one.as_of) for one, _ in group])
        at_last = {one.lead_id: row_of(found, place) for place, (one, _) in enumerate(group)}
    for later, then, aged, renewed in _looked_back(model, live, view, group, then_of):
        one, previous = later
        now = at_last.get(one.lead_id) or row_of(one.features, one.row)
        last = _State.of(one.score)
        was = _State(previous.probability, previous.log_odds)
        steps: list[Features | _State] = [was] if is_known else [then]
        before, is_same = then, is_known
        if is_known and not _are_same(model, then, previous):
            before = as_scored(model, previous, then)
        # What was scored already is not scored again: most often nothing but time has passed.
        if before is not then or renewed is not None:
            after_fields, aged = parted(model, before, then, renewed, aged, now)
            is_same = is_known and _are_same(model, after_fields, previous)
        elif has_fields_of(model, then, now):
            after_fields = then
        else:
            after_fields = with_fields(model, then, now)
            is_same = is_known and _are_same(model, after_fields, previous)
        steps.append(was if is_same else after_fields)
        if model is live:
            steps += [last if _are_equal(aged, now) else aged, last]
        else:
            steps += [aged, now]
        told.append((later, [*steps, last]))
    missing = [step for _, steps in told for step in steps if not isinstance(step, _State)]
    scores = iter(_scored(model.lead_scorer, missing))
    for later, steps in told:
        yield (
            later,
            [step if isinstance(step, _State) else _State.of(next(scores)) for step in steps],
        )


def _are_equal(one: Features, other: Features) -> bool:
    """Return whether two rows of features are the same, to the bit."""
    return one[0].tobytes() == other[0].tobytes() and one[1] == other[1]


def _are_same(model: LiveScorer, features: Features, previous: PreviousScore) -> bool:
    """Return whether one row of features is what was scored then, to the bit."""
    names = model.model_record.categories
    if features[0].tobytes() != previous.numbers.tobytes():
        return False
    return tuple([features[1][name][0] for name in names]) == previous.categories


def _looked_back(
    model: LiveScorer,
    live: LiveScorer,
    view: View,
    group: Sequence[Later],
    then_of: Mapping[str, Features],
) -> Iterator[tuple[Later, Features, Features, Features | None]]:
    """Yield each lead with its features at t0 and at t1, both from what was known at t0.

    The last: those at t0 if the lead had belonged to the account of now; None if it did.
    """
    parts = Parts(view.tables) if view.n_leads > 1 else None
    quiet: list[Later] = []
    budget = MOST_ROWS
    for one, previous in group:
        tables, n_rows = parts.of(one.lead_id)[1:] if parts else (view.tables, 1)
        budget -= n_rows
        if budget < 0:
            break
        known = earlier(tables, previous.as_of, one.lead_id)
        rows = tables if known is None else known
        renewed = None
        if _has_moved(view, _pairs((one, previous))):
            moved = recorded_before(rows, previous.as_of, one.lead_id)
            at_then = View(model.snapshots, moved, view.population)
            renewed = at_then.features([(one.lead_id, previous.as_of)])
        if known is not None or (renewed is not None and model is not live):
            before = View(model.snapshots, rows, view.population)
            found = before.features(_pairs((one, previous)))
            yield (one, previous), row_of(found, 0), row_of(found, 1), renewed
        elif model is live:
            now = row_of(one.features, one.row)
            yield (one, previous), then_of[one.lead_id], now, renewed
        else:
            quiet.append((one, previous))
    if quiet:
        found = view.features([pair for later in quiet for pair in _pairs(later)])
        for place, later in enumerate(quiet):
            yield later, row_of(found, 2 * place), row_of(found, 2 * place + 1), None


def _pairs(later: Later) -> Pairs:
    one, previous = later
    return [(one.lead_id, previous.as_of), (one.lead_id, one.as_of)]


def _has_moved(view: View, pairs: Pairs) -> bool:
    """Return whether the lead's account differs between two instants, as the request dates it."""
    if view.n_leads == len(view.tables["leads"]["lead_id"]):  # no history of any lead
        return False
    then, now = view.standing(pairs).accounts.tolist()
    return bool(then != now)


def _scored(scorer: LeadScorer, rows: Sequence[Features]) -> list[LeadScore]:
    if not rows:
        return []
    numbers = np.concatenate([numbers for numbers, _ in rows])
    names = rows[0][1]
    categories = {name: [texts[name][0] for _, texts in rows] for name in names}
    return scorer.score(numbers, categories, [False] * len(rows))


def _change(
    one: Scored,
    previous: PreviousScore,
    states: Sequence[_State],
    version: str,
    said: Mapping[str, str],
) -> dict[str, Any]:
    """Return the change as JSON, from the states then, after each step, and now."""
    total = one.score.probability - previous.probability
    points = [after.probability - before.probability for before, after in pairwise(states)]
    if previous.model_version != version:
        points[-1] = total - sum(points[:-1])
    parts = []
    for what, amount, before, after in zip(_NOTHING, points, states[:-1], states[1:], strict=True):
        if what == "model version":
            text = _version_text(previous.model_version, version)
        elif abs(amount) < _TOLD_FROM:
            text = _NOTHING[what]
        else:
            text = _moved(before, after, amount, said)
        parts.append({"what": what, "points": amount, "text": text})
    return {
        "previous": {
            "score_id": previous.score_id,
            "as_of": instant_text(previous.as_of),
            "probability": previous.probability,
            "model_version": previous.model_version,
        },
        "points": total,
        "parts": parts,
        "text": _text(total, previous.as_of, parts),
    }


def _version_text(old: str, new: str) -> str:
    return _NOTHING["model version"] if old == new else f"Model {new} took the place of model {old}"


def _moved(before: _State, after: _State, points: float, said: Mapping[str, str]) -> str:
    """Return the one or two concepts that moved most in the direction of `points`, in words."""
    moved = (after.contributions - before.contributions)[:-1] * np.sign(points)
    most = np.argsort(-moved, kind="stable")[:2]
    named = [int(place) for place in most if moved[place] > max(0, moved[most[0]] / 3)]
    texts = [after.text(place, said) for place in named if after.text is not None]
    return "; ".join(dict.fromkeys(texts)) or "Several small things"


def _text(total: float, since: int, parts: Sequence[Mapping[str, Any]]) -> str:
    when = _day(since)
    size = points_text(abs(total)).removeprefix("+")
    if abs(total) < _TOLD_FROM or not size:
        return f"Unchanged since {when}"
    strongest = max(parts, key=lambda part: part["points"] * np.sign(total))
    return f"{'Up' if total > 0 else 'Down'} {size} since {when}: {strongest['text']}"


def _day(instant: int) -> str:
    year, month, day = instant_text(instant)[:10].split("-")
    return f"{int(day)} {_MONTHS[int(month) - 1]} {year}"
