"""When a lead becomes an MQL, and what sales' answers make of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_ledger import DAY, HOUR, MONDAY, open_ledger, record, write

from features.errors import InputError
from serving.ledger.errors import UnknownLead
from serving.ledger.ledger import Ledger
from serving.ledger.records import SKEW
from serving.live import rows


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(tmp_path, clock=lambda: MONDAY + 30 * HOUR)
    yield opened
    opened.close()


def score(day: float, **values: Any) -> dict[str, Any]:
    return {"at": at(day), **values}


def at(day: float) -> int:
    return MONDAY + round(day * DAY)


BELOW = {"probability": 0.1}
# Scores and answers in their order, and the days on which MQLs begin.
CASES: dict[str, tuple[list[Any], int | None, list[float]]] = {
    "below the cutoff": ([score(0, **BELOW)], None, []),
    "the first crossing": ([score(0, **BELOW), score(1)], None, [1]),
    "still above": ([score(0), score(1), score(2)], None, [0]),
    "below and above again": ([score(0), score(1, **BELOW), score(2)], None, [0]),
    "over the past": ([score(0, is_backfill=True)], None, []),
    "accepted": ([score(0), ("accepted", 1), score(2)], None, [0]),
    "rejected": ([score(0), ("rejected", 1), score(2)], None, [0]),
    "recycled": ([score(0), ("recycled", 1), score(2), score(3)], None, [0, 2]),
    # A mis-click, put right: what counts is the last answer.
    "recycled, then accepted": (
        [score(0), ("recycled", 1), ("accepted", 1.5), score(2)], None, [0],
    ),
    # Made later, from what was known before sales answered.
    "recycled, old data": (
        [score(0), ("recycled", 1), score(2, as_of=MONDAY + round(0.5 * DAY))], None, [0],
    ),
    "requalifies a day early": ([score(0), score(29)], 30, [0]),
    "requalifies in time": ([score(0), score(30), score(31)], 30, [0, 30]),
    # The CRM recycled it: once, and not before the MQL or sales' last word on it.
    "recycled in the CRM": ([score(0), score(2, recycled_at=at(1)), score(3, recycled_at=at(1))],
                            None, [0, 2]),
    "recycled in the CRM twice": ([score(0), score(2, recycled_at=at(1)),
                                   score(4, recycled_at=at(3))], None, [0, 2, 4]),
    "recycled in the CRM before": ([score(0), score(2, recycled_at=at(-1))], None, [0]),
    "recycled in the CRM, below": ([score(0), score(2, recycled_at=at(1), **BELOW)], None, [0]),
    "recycled in the CRM, over the past": (
        [score(0), score(2, recycled_at=at(1), is_backfill=True)], None, [0],
    ),
    "rejected, then recycled in the CRM": (
        [score(0), ("rejected", 1), score(3, recycled_at=at(2))], None, [0, 3],
    ),
    "recycled in the CRM, then accepted": (
        [score(0), ("accepted", 2), score(3, recycled_at=at(1))], None, [0],
    ),
    # Every score that was answered "qualified" has its moment, whatever was known later.
    "after a newer score": ([score(1, **BELOW), score(2, as_of=MONDAY)], None, [2]),
    "a moment after a newer score": (
        [score(1, **BELOW), score(1.001, as_of=at(1) - SKEW)], None, [1.001],
    ),
    "before a newer score": ([score(0), score(2, as_of=at(-1))], None, [0]),
}  # fmt: skip


# Without answers, the same scores may come in one batch.
AT_ONCE = [name for name, case in CASES.items() if all(isinstance(step, dict) for step in case[0])]


def moments(ledger: Ledger) -> list[float]:
    with ledger.engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT mql_at FROM mqls ORDER BY mql_at").scalars()
        return [(at - MONDAY) / DAY for at in found]


@pytest.mark.parametrize("name", CASES)
def test_moments(tmp_path: Path, name: str) -> None:
    steps, requalify_after_days, expected = CASES[name]
    ledger = open_ledger(tmp_path, requalify_after_days=requalify_after_days)
    for step in steps:
        if isinstance(step, dict):
            write(ledger, record("L-1", **step))
        else:
            ledger.add_verdict("L-1", step[0], None, at(step[1]))
    assert moments(ledger) == expected
    ledger.close()


@pytest.mark.parametrize("name", AT_ONCE)
def test_moments_of_one_batch(tmp_path: Path, name: str) -> None:
    steps, requalify_after_days, expected = CASES[name]
    ledger = open_ledger(tmp_path, requalify_after_days=requalify_after_days)
    write(ledger, *(record("L-1", **step) for step in steps))
    assert moments(ledger) == expected
    ledger.close()


def test_an_mql_goes_from_waiting_to_contacted(ledger: Ledger) -> None:
    write(ledger, record("L-1"))
    waiting = ledger.leads().items[0]
    assert (waiting["state"], waiting["is_overdue"]) == ("mql", True)  # 30 hours, 24 promised
    accepted = ledger.add_verdict("L-1", "accepted", None, MONDAY + 3 * HOUR)
    assert (accepted["state"], accepted["accepted_at"]) == ("accepted", "2026-05-04T03:00:00Z")
    assert accepted["contact_due"] == "2026-05-06T00:00:00Z"
    assert not accepted["is_overdue"]
    contacted = ledger.add_contact("L-1", MONDAY + 5 * HOUR)
    assert (contacted["state"], contacted["contacted_at"]) == ("contacted", "2026-05-04T05:00:00Z")
    # The clock has stopped; a second contact does not start it again.
    assert ledger.add_contact("L-1", MONDAY + 9 * HOUR)["contacted_at"] == "2026-05-04T05:00:00Z"


def test_a_contact_before_the_answer_stays(ledger: Ledger) -> None:
    write(ledger, record("L-1"))
    ledger.add_contact("L-1", MONDAY + HOUR)
    late = ledger.add_verdict("L-1", "accepted", None, MONDAY + 2 * HOUR)
    assert (late["state"], late["contacted_at"]) == ("contacted", "2026-05-04T01:00:00Z")
    assert ledger.add_verdict("L-1", "rejected", "no_budget", MONDAY + DAY)["state"] == "rejected"


def test_a_new_mql_starts_a_new_clock(ledger: Ledger) -> None:
    write(ledger, record("L-1"))
    ledger.add_contact("L-1", MONDAY + HOUR)
    ledger.add_verdict("L-1", "recycled", "bad_timing", MONDAY + 2 * HOUR)
    write(ledger, record("L-1", MONDAY + 3 * HOUR))
    lead = ledger.lead("L-1")
    assert lead is not None
    assert (lead["state"], lead["contacted_at"]) == ("mql", None)
    assert [mql["contacted_at"] for mql in lead["mqls"]] == [None, "2026-05-04T01:00:00Z"]
    assert lead["mqls"][0]["accept_due"] == "2026-05-05T03:00:00Z"
    assert lead["verdicts"] == [
        {
            "verdict": "recycled",
            "reason_code": "bad_timing",
            "decided_at": "2026-05-04T02:00:00Z",
            "score_id": f"L-1@{MONDAY}",
        }
    ]


def test_a_late_verdict_is_about_the_mql_of_its_score(ledger: Ledger) -> None:
    write(ledger, record("L-1", MONDAY - HOUR, **BELOW), record("L-1"))
    write(ledger, record("L-1", MONDAY + HOUR))  # of the first MQL still
    ledger.add_verdict("L-1", "recycled", None, MONDAY + 2 * HOUR)
    write(ledger, record("L-1", MONDAY + 3 * HOUR))
    told = ledger.add_verdict(
        "L-1", "accepted", None, MONDAY + 4 * HOUR, score_id=f"L-1@{MONDAY + HOUR}"
    )
    assert (told["state"], told["accepted_at"]) == ("mql", None)
    lead = ledger.lead("L-1")
    assert lead is not None
    assert lead["state"] == "mql"
    assert [mql["accepted_at"] for mql in lead["mqls"]] == [None, "2026-05-04T04:00:00Z"]
    newest = ledger.add_verdict(
        "L-1", "rejected", None, MONDAY + 5 * HOUR, score_id=f"L-1@{MONDAY + 3 * HOUR}"
    )
    assert newest["state"] == "rejected"
    with pytest.raises(InputError, match="older than the lead's first MQL"):
        ledger.add_verdict("L-1", "rejected", None, MONDAY, score_id=f"L-1@{MONDAY - HOUR}")


def test_a_score_by_a_slow_clock_is_the_newest(ledger: Ledger) -> None:
    assert SKEW == rows.SKEW
    scores = [
        record("L-1", MONDAY + HOUR),
        record("L-1", MONDAY + HOUR + 1, as_of=MONDAY + HOUR - SKEW),
        record("L-1", MONDAY + HOUR + 2, as_of=MONDAY + HOUR - 2 * SKEW - 1),
    ]
    promise = ledger.submit(scores)
    for found in (ledger.latest(["L-1"]), (promise.result(10), ledger.latest(["L-1"]))[1]):
        assert found["L-1"].score_id == scores[1].score_id
    assert ledger.leads().items[0]["score_id"] == scores[1].score_id
    assert ledger.mqls_opened == 1


def test_overdue_ones_are_listed_by_the_same_rule(ledger: Ledger) -> None:
    at = MONDAY + 30 * HOUR  # what the ledger's clock shows
    for lead_id, age, answers in (
        ("waits too long", 25, []),
        ("waits", 23, []),
        ("accepted", 47, ["accepted"]),
        ("accepted, not called", 49, ["accepted"]),
        ("rejected", 90, ["rejected"]),
        ("called", 90, ["accepted", "contact"]),
    ):
        write(ledger, record(lead_id, at - age * HOUR))
        for answer in answers:
            if answer == "contact":
                ledger.add_contact(lead_id, at)
            else:
                ledger.add_verdict(lead_id, answer, None, at)
    expected = {"waits too long", "accepted, not called"}
    assert {lead["lead_id"] for lead in ledger.leads(state="overdue").items} == expected
    assert {lead["lead_id"] for lead in ledger.leads().items if lead["is_overdue"]} == expected


def test_there_must_be_something_to_answer(ledger: Ledger) -> None:
    write(ledger, record("L-1", **BELOW), record("L-2"))
    with pytest.raises(InputError, match="was never an MQL"):
        ledger.add_verdict("L-1", "accepted", None, MONDAY)
    for unknown in ("L-9", "\0", "\ud800"):
        with pytest.raises(UnknownLead):
            ledger.add_contact(unknown, MONDAY)
    with pytest.raises(InputError, match="verdict is none of accepted, rejected, recycled"):
        ledger.add_verdict("L-2", "maybe", None, MONDAY)
    with pytest.raises(InputError, match="reason_code is no code"):
        ledger.add_verdict("L-2", "rejected", "Jane said no", MONDAY)
    for unknown in (f"L-1@{MONDAY}", "nonsense", "\0"):
        with pytest.raises(InputError, match="score_id is no score of this lead"):
            ledger.add_verdict("L-2", "accepted", None, MONDAY, score_id=unknown)
    assert ledger.leads(state="mql").items[0]["lead_id"] == "L-2"
