"""What the API and the pages show: the ranked list, and all about one lead."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, RowMapping, Select, or_, select

from features.errors import InputError
from models.reasons import point_factor_of_one
from serving.ledger.clock import ServiceLevel
from serving.ledger.packing import (
    Row,
    floats_of,
    is_storable,
    iso,
    model_of,
    numbers_of,
    timeline_of,
    version_of,
)
from serving.ledger.records import ModelRecord
from serving.ledger.schema import contacts, latest, models, mqls, scores, verdicts

STATES = ("mql", "accepted", "contacted", "rejected", "recycled", "overdue")
"What the list can be filtered by; `overdue` are MQLs whose clock has run out."
GRADES = ("A", "B", "C", "D")
LARGEST_PAGE = 200
HISTORY = 100
_LONGEST_SEARCH = 512

Item = dict[str, Any]


@dataclass(frozen=True)
class LeadPage:
    """One page of the ranked list."""

    items: list[Item]
    next: str | None
    "What to give as `after` for the next page; None: this was the last."


@dataclass(frozen=True)
class LeadFilter:
    """Which leads to list; checked when made."""

    qualified: bool | None = None
    grade: str | None = None
    state: str | None = None
    search: str | None = None

    def __post_init__(self) -> None:
        if self.grade is not None and self.grade not in GRADES:
            raise InputError(f"grade is none of {', '.join(GRADES)}.")
        if self.state is not None and self.state not in STATES:
            raise InputError(f"state is none of {', '.join(STATES)}.")
        if self.search is None:
            return
        if len(self.search) > _LONGEST_SEARCH or not is_storable(self.search):
            raise InputError(f"search is no text of up to {_LONGEST_SEARCH} characters.")

    def conditions(self, level: ServiceLevel, now: int, dialect: str) -> list[ColumnElement[bool]]:
        """Return what a row of `latest` has to meet."""
        found: list[ColumnElement[bool]] = []
        if self.qualified is not None:
            found.append(latest.c.qualified.is_(self.qualified))
        if self.grade is not None:
            found.append(latest.c.grade == self.grade)
        if self.state == "overdue":
            found.append(level.is_overdue_row(now))
        elif self.state is not None:
            found.append(latest.c.state == self.state)
        if self.search:
            ids = (latest.c.lead_id, latest.c.account_id)
            found.append(or_(*(_holds(column, self.search, dialect) for column in ids)))
        return found


def _holds(column: ColumnElement[str], part: str, dialect: str) -> ColumnElement[bool]:
    """Return whether an id holds `part`, in any letter case: people type it."""
    if dialect == "sqlite":  # whose LIKE does not tell letter case, at a fifth of lower()'s time
        return column.contains(part, autoescape=True)
    return column.icontains(part, autoescape=True)


def read_leads(
    connection: Connection,
    wanted: LeadFilter,
    level: ServiceLevel,
    now: int,
    limit: int,
    after: str | None,
) -> LeadPage:
    """Return a page of the newest scores by falling probability, ties by lead id."""
    if not 1 <= limit <= LARGEST_PAGE:
        raise InputError(f"limit is not between 1 and {LARGEST_PAGE}.")
    conditions = wanted.conditions(level, now, connection.dialect.name)
    if after is not None:
        probability, lead_id = _read_token(after)
        # The first condition is the one that an index can start from.
        conditions += [
            latest.c.probability <= probability,
            or_(latest.c.probability < probability, latest.c.lead_id > lead_id),
        ]
    order = (latest.c.probability.desc(), latest.c.lead_id)
    # Ids first, from the index alone; then the few rows of the page.
    page = select(latest.c.lead_id).where(*conditions).order_by(*order).limit(limit + 1)
    asked = _items().where(latest.c.lead_id.in_(page)).order_by(*order)
    rows = connection.execute(asked).mappings().all()
    items = [item_of(row, level, now) for row in rows[:limit]]
    last = rows[limit - 1] if len(rows) > limit else None
    return LeadPage(items, None if last is None else _token(last["probability"], last["lead_id"]))


def read_lead(connection: Connection, lead_id: str, level: ServiceLevel, now: int) -> Item | None:
    """Return all about a lead; None where it has no score, or backfills only."""
    row = connection.execute(_items().where(latest.c.lead_id == lead_id)).mappings().first()
    if row is None:
        return None
    about = connection.execute(
        select(scores, latest.c.timeline)
        .join_from(latest, scores, latest.c.score_id == scores.c.score_id)
        .where(latest.c.lead_id == lead_id)
    ).mappings().one()  # fmt: skip
    model = _model(connection, about["model_key"])
    return {
        **item_of(row, level, now),
        "base_probability": model.base_probability,
        "horizon_days": model.horizon_days,
        "complete": about["unknown"] is None,
        "unknown": json.loads(about["unknown"] or "[]"),
        "is_eligible": about["is_eligible"],
        "reasons": _reasons(model, about),
        "change": json.loads(about["change"] or "null"),
        "crossing": json.loads(about["crossing"] or "null"),
        "timeline": timeline_of(about["timeline"]),
        "history": _history(connection, lead_id),
        **_handoffs(connection, lead_id, level),
        "features": _features(model, about),
    }


def item_of(row: RowMapping, level: ServiceLevel, now: int) -> Item:
    """Return a lead of the list from a row of `_items`."""
    instants = ("as_of", "mql_at", "accepted_at", "contacted_at")
    plain = ("lead_id", "account_id", "score_id", "probability", "grade", "qualified", "cutoff",
             "track", "why", "state")  # fmt: skip
    return {
        **{name: row[name] for name in plain},
        **{name: iso(row[name]) for name in instants},
        "model_version": version_of(row["model_key"]),
        "is_exploration": bool(row["is_exploration"]),
        "is_overdue": level.is_overdue(row["state"], row["mql_at"], row["contacted_at"], now),
    }


def _items() -> Select[Any]:
    told = (scores.c.cutoff, scores.c.track, scores.c.why, scores.c.model_key)
    own = [column for column in latest.columns if column.name != "timeline"]
    return select(*own, *told).join_from(latest, scores, latest.c.score_id == scores.c.score_id)


def _model(connection: Connection, key: str) -> ModelRecord:
    told = select(models.c.version, models.c.digest, models.c.about)
    row: Row = tuple(connection.execute(told.where(models.c.model_key == key)).one())
    return model_of(*row)


def _reasons(model: ModelRecord, about: RowMapping) -> list[Item]:
    """Return every concept's contribution, strongest first, the calibration's term last."""
    log_odds = floats_of(about["log_odds"])
    base = math.log(model.base_probability / (1 - model.base_probability))
    points = log_odds * point_factor_of_one(base + float(log_odds.sum()), base)
    texts = {reason["concept"]: reason.get("text") for reason in json.loads(about["reasons"])}
    order = [*np.argsort(-np.abs(log_odds[:-1]), kind="stable"), len(log_odds) - 1]
    return [
        {
            "concept": model.concepts[place],
            "family": model.families[place],
            "text": texts.get(model.concepts[place]),
            "points": float(points[place]),
            "log_odds": float(log_odds[place]),
        }
        for place in order
    ]


def _features(model: ModelRecord, about: RowMapping) -> dict[str, float | str | None]:
    """Return the values that were scored; missing numbers are None."""
    # The shortest text of a float32 leads back to it; float() of it alone would show the
    # digits of a float64 that nobody measured.
    numbers = [None if value != value else float(str(value)) for value in
               numbers_of(about["numbers"])]  # fmt: skip
    categories = json.loads(about["categories"])
    return {
        **dict(zip(model.numbers, numbers, strict=True)),
        **dict(zip(model.categories, categories, strict=True)),
    }


def _history(connection: Connection, lead_id: str) -> list[Item]:
    told = (scores.c.score_id, scores.c.as_of, scores.c.probability, scores.c.grade,
            scores.c.qualified, scores.c.model_key, scores.c.is_backfill, scores.c.cutoff,
            scores.c.change)  # fmt: skip
    asked = select(*told).where(scores.c.lead_id == lead_id)
    newest = (scores.c.as_of.desc(), scores.c.scored_at.desc())
    return [
        {
            "score_id": row.score_id,
            "as_of": iso(row.as_of),
            "probability": row.probability,
            "grade": row.grade,
            "qualified": row.qualified,
            "cutoff": row.cutoff,
            "model_version": version_of(row.model_key),
            "is_backfill": row.is_backfill,
            "change_points": json.loads(row.change).get("points") if row.change else None,
        }
        for row in connection.execute(asked.order_by(*newest).limit(HISTORY))
    ]


def _handoffs(connection: Connection, lead_id: str, level: ServiceLevel) -> dict[str, list[Item]]:
    """Return the lead's MQLs and sales' answers to them, newest first."""
    answers = connection.execute(
        select(verdicts).where(verdicts.c.lead_id == lead_id).order_by(verdicts.c.verdict_id)
    ).all()
    accepted: dict[str, int] = {}
    for answer in answers:
        if answer.verdict == "accepted":
            accepted.setdefault(answer.mql_score_id, answer.decided_at)
    contacted: dict[str, int] = {}
    for contact in connection.execute(
        select(contacts).where(contacts.c.lead_id == lead_id).order_by(contacts.c.contact_id)
    ):
        contacted.setdefault(contact.mql_score_id, contact.contacted_at)
    moments = select(mqls).where(mqls.c.lead_id == lead_id)
    return {
        "verdicts": [
            {
                "verdict": answer.verdict,
                "reason_code": answer.reason_code,
                "decided_at": iso(answer.decided_at),
                "score_id": answer.score_id,
            }
            for answer in reversed(answers)
        ],
        "mqls": [
            {
                "mql_at": iso(mql.mql_at),
                "score_id": mql.score_id,
                "is_exploration": bool(mql.is_exploration),
                "accepted_at": iso(accepted.get(mql.score_id)),
                "contacted_at": iso(contacted.get(mql.score_id)),
                "accept_due": iso(level.accept_due(mql.mql_at)),
                "contact_due": iso(level.contact_due(mql.mql_at)),
            }
            for mql in connection.execute(moments.order_by(mqls.c.mql_at.desc()))
        ],
    }


def _token(probability: float, lead_id: str) -> str:
    told = json.dumps([probability, lead_id]).encode()
    return base64.urlsafe_b64encode(told).decode().rstrip("=")


def _read_token(token: str) -> tuple[float, str]:
    """Return where a page ended.

    >>> _read_token(_token(0.25, "L-1"))
    (0.25, 'L-1')
    """
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        probability, lead_id = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if not (isinstance(probability, float) and isinstance(lead_id, str)):
            raise ValueError
        if not (0 <= probability <= 1 and is_storable(lead_id)):
            raise ValueError
    except (ValueError, TypeError, RecursionError):
        raise InputError("after is not what a page of this list gave as next.") from None
    return probability, lead_id
