"""Sales' answers to an MQL, and the first contact."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Connection, insert, select, update

from features.errors import InputError
from serving.ledger.clock import ServiceLevel
from serving.ledger.errors import UnknownLead
from serving.ledger.packing import is_storable, iso
from serving.ledger.schema import contacts, latest, mqls, scores, verdicts

_UNKNOWN = "The ledger has no score of this lead."
VERDICTS = ("accepted", "rejected", "recycled")
# A code of the CRM's own is welcome; free text about a person is not.
_REASON_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")


def write_verdict(
    connection: Connection,
    lead_id: str,
    verdict: str,
    reason_code: str | None,
    now: int,
    score_id: str | None,
    key_id: str | None,
) -> None:
    """Note what sales says to an MQL of the lead; a later verdict corrects the one before.

    It is the newest MQL, or the one that `score_id` belongs to: the newest when that score was
    made. An answer to an older one does not change where the lead stands. Raises UnknownLead, and
    InputError where there is no MQL to answer, for an unknown verdict, reason code or score.
    """
    if verdict not in VERDICTS:
        raise InputError(f"verdict is none of {', '.join(VERDICTS)}.")
    if reason_code is not None and not _REASON_CODE.fullmatch(reason_code):
        raise InputError("reason_code is no code: 1 to 64 letters, digits, _ . : -")
    handoff = _newest_mql(connection, lead_id)
    mql_score_id = handoff.mql_score_id
    if score_id is not None:
        mql_score_id = _mql_of(connection, lead_id, score_id)
    answer = {
        "lead_id": lead_id,
        "mql_score_id": mql_score_id,
        "score_id": score_id or mql_score_id,
        "verdict": verdict,
        "reason_code": reason_code,
        "decided_at": now,
        "key_id": key_id,
    }
    connection.execute(insert(verdicts).values(answer))
    if mql_score_id != handoff.mql_score_id:
        return
    # Who was contacted stays so when the acceptance is noted after the fact.
    is_contacted = verdict == "accepted" and handoff.contacted_at is not None
    changed: dict[str, Any] = {
        "state": "contacted" if is_contacted else verdict,
        "answered_at": now,
    }
    if verdict == "accepted" and handoff.accepted_at is None:
        changed["accepted_at"] = now
    connection.execute(update(latest).where(latest.c.lead_id == lead_id).values(changed))


def write_contact(connection: Connection, lead_id: str, now: int, key_id: str | None) -> None:
    """Note a contact: the first one stops the clock of the newest MQL.

    Raises UnknownLead, and InputError where the lead was never an MQL.
    """
    handoff = _newest_mql(connection, lead_id)
    contact = {
        "lead_id": lead_id,
        "mql_score_id": handoff.mql_score_id,
        "contacted_at": now,
        "key_id": key_id,
    }
    connection.execute(insert(contacts).values(contact))
    if handoff.contacted_at is not None:
        return
    changed: dict[str, Any] = {"contacted_at": now}
    if handoff.state in ("mql", "accepted"):
        changed["state"] = "contacted"
    connection.execute(update(latest).where(latest.c.lead_id == lead_id).values(changed))


def read_handoff(
    connection: Connection, lead_id: str, level: ServiceLevel, now: int
) -> dict[str, Any]:
    """Return how far the newest MQL of a lead is."""
    handoff = _newest_mql(connection, lead_id)
    return {
        "lead_id": lead_id,
        "state": handoff.state,
        "mql_at": iso(handoff.mql_at),
        "accepted_at": iso(handoff.accepted_at),
        "contacted_at": iso(handoff.contacted_at),
        "accept_due": iso(level.accept_due(handoff.mql_at)),
        "contact_due": iso(level.contact_due(handoff.mql_at)),
        "is_overdue": level.is_overdue(handoff.state, handoff.mql_at, handoff.contacted_at, now),
    }


def _mql_of(connection: Connection, lead_id: str, score_id: str) -> str:
    """Return the MQL that a score belongs to: the newest when it was made."""
    known = select(scores.c.scored_at).where(
        scores.c.score_id == score_id, scores.c.lead_id == lead_id
    )
    scored_at = connection.execute(known).scalar() if is_storable(score_id) else None
    if scored_at is None:
        raise InputError("score_id is no score of this lead.")
    began = select(mqls.c.score_id).where(mqls.c.lead_id == lead_id, mqls.c.mql_at <= scored_at)
    found: str | None = connection.execute(began.order_by(mqls.c.mql_at.desc())).scalar()
    if found is None:
        raise InputError("score_id is older than the lead's first MQL: nothing to answer then.")
    return found


def _newest_mql(connection: Connection, lead_id: str) -> Any:
    if not is_storable(lead_id):
        raise UnknownLead(_UNKNOWN)
    # Locked where the database can (PostgreSQL); SQLite has one writer anyway.
    asked = select(latest).where(latest.c.lead_id == lead_id).with_for_update()
    found = connection.execute(asked).first()
    if found is None:
        raise UnknownLead(_UNKNOWN)
    if found.mql_score_id is None:
        raise InputError("This lead was never an MQL, so there is nothing to answer.")
    return found
