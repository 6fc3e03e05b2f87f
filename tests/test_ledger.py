"""What goes into the ledger comes out of it: the list, one lead, the score before."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_ledger import DAY, MODEL, MONDAY, SHARES, open_ledger, record, write

from features.errors import InputError
from serving.ledger.erasing import erase_leads
from serving.ledger.ledger import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(tmp_path)
    yield opened
    opened.close()


def ids(items: list[dict[str, Any]]) -> list[str]:
    return [item["lead_id"] for item in items]


def test_a_lead_is_told_as_it_was_scored(ledger: Ledger) -> None:
    change = {"points": 0.2, "parts": [{"what": "time", "points": 0.2}]}
    score = record("L-1", MONDAY + DAY, change=change, unknown=("opportunities",), track="nurture")
    write(ledger, record("L-1", probability=0.1), score)
    lead = ledger.lead("L-1")
    assert lead is not None
    assert (lead["probability"], lead["cutoff"], lead["track"]) == (0.3, 0.25, "nurture")
    assert (lead["as_of"], lead["model_version"]) == ("2026-05-05T00:00:00Z", "1")
    assert (lead["change"], lead["crossing"]) == (change, None)
    assert (lead["complete"], lead["unknown"]) == (False, ["opportunities"])
    assert lead["timeline"] == [
        {"occurred_at": "2026-05-03T10:00:00Z", "event_type": "pricing_view"}
    ]
    assert lead["features"] == {
        "pricing_view_count_30d": 4.0,
        "employees": None,
        "industry": "Software",
    }
    assert [(past["probability"], past["change_points"]) for past in lead["history"]] == [
        (0.3, 0.2),
        (0.1, None),
    ]
    assert ids(ledger.leads().items) == ["L-1"]
    assert ledger.lead("L-2") is None


def test_reasons_are_complete_and_add_up(ledger: Ledger) -> None:
    score = record("L-1", probability=0.42)
    write(ledger, score)
    lead = ledger.lead("L-1")
    assert lead is not None
    told = lead["reasons"]
    assert [reason["concept"] for reason in told] == [
        "pricing_view", "industry", "employees", "calibration",
    ]  # fmt: skip
    assert [reason["text"] is None for reason in told] == [False, True, True, True]
    points = {reason["concept"]: reason["points"] for reason in told}
    for place, concept in enumerate(MODEL.concepts):
        assert points[concept] == pytest.approx(SHARES[place] * (0.42 - 0.1), abs=1e-12)
    assert sum(points.values()) == pytest.approx(0.42 - lead["base_probability"], abs=1e-12)


def test_a_feature_is_shown_as_short_as_it_is_exact(ledger: Ledger) -> None:
    numbers = np.array([0.1, 1 / 3], dtype=np.float32)
    write(ledger, record("L-1", numbers=numbers))
    lead = ledger.lead("L-1")
    assert lead is not None
    assert lead["features"]["pricing_view_count_30d"] == 0.1
    assert np.float32(lead["features"]["employees"]) == numbers[1]


def test_the_score_before_comes_back_bit_for_bit(ledger: Ledger) -> None:
    score = record("L-1", probability=1 / 3)
    promise = ledger.submit([score])
    for found in (ledger.latest(["L-1", "L-2"]), (promise.result(10), ledger.latest(["L-1"]))[1]):
        assert list(found) == ["L-1"]
        previous = found["L-1"]
        assert (previous.score_id, previous.as_of, previous.model_version) == (
            score.score_id, MONDAY, "1",
        )  # fmt: skip
        assert previous.probability == 1 / 3
        assert previous.categories == ("Software",)
        np.testing.assert_array_equal(previous.numbers, score.numbers)
        np.testing.assert_array_equal(previous.log_odds, score.log_odds)


def test_the_newest_score_is_by_what_was_known(ledger: Ledger) -> None:
    """Of many that wait or are stored; a backfill and a batch over older data are none."""
    newest = record("L-1", MONDAY + 3 * DAY)
    others = [
        record("L-1", MONDAY + DAY),
        record("L-1", MONDAY + 4 * DAY, is_backfill=True),
        record("L-1", MONDAY + 5 * DAY, as_of=MONDAY + 2 * DAY),
    ]
    promise = ledger.submit([others[0], newest, *others[1:]])
    assert ledger.latest(["L-1"])["L-1"].score_id == newest.score_id
    promise.result(10)
    assert ledger.latest(["L-1"])["L-1"].score_id == newest.score_id
    assert ledger.leads().items[0]["score_id"] == newest.score_id


def test_another_process_counts_too(ledger: Ledger, tmp_path: Path) -> None:
    write(ledger, record("L-1"), record("L-2"))
    batch = open_ledger(tmp_path)
    write(batch, record("L-1", MONDAY + DAY))
    batch.close()
    assert ledger.latest(["L-1"])["L-1"].as_of == MONDAY + DAY
    erase_leads(ledger.engine, ["L-2"])
    assert list(ledger.latest(["L-1", "L-2"])) == ["L-1"]


def test_a_version_that_now_is_another_model_is_told_apart(ledger: Ledger) -> None:
    write(ledger, record("L-1"))
    ledger.know_model(replace(MODEL, digest="b2" * 32))
    assert ledger.latest(["L-1"])["L-1"].model_version == "1@a1a1a1a1a1a1"
    write(ledger, record("L-1", MONDAY + DAY))
    assert ledger.latest(["L-1"])["L-1"].model_version == "1"


def test_paging_is_complete_while_leads_come_and_go(ledger: Ledger) -> None:
    generator = np.random.default_rng(0)
    probabilities = np.round(generator.random(230), 2)  # many ties
    scores = [
        record(f"L-{place}", probability=min(max(0.01, probability), 0.99))
        for place, probability in enumerate(probabilities)
    ]
    write(ledger, *scores)
    expected = ids(ledger.leads(limit=200).items)
    seen: list[str] = []
    after = None
    for page in range(100):
        found = ledger.leads(limit=7, after=after)
        seen += ids(found.items)
        write(ledger, record(f"new-{page}", probability=0.995))
        after = found.next
        if after is None:
            break
    assert len(seen) == len(set(seen)) == 230
    assert seen[:200] == expected
    ranked = sorted(scores, key=lambda score: (-score.probability, score.lead_id))
    assert seen == [score.lead_id for score in ranked]


def test_filters_choose_leads(ledger: Ledger) -> None:
    write(
        ledger,
        record("Lead_1", probability=0.6, grade="A"),
        record("lead-2"),
        record("L%3", probability=0.1, account_id="ACME-LEAD"),
        record("x", probability=0.05, account_id=None),
    )
    ledger.add_verdict("lead-2", "accepted", None, MONDAY)
    for chosen, expected in (
        ({}, ["Lead_1", "lead-2", "L%3", "x"]),
        ({"qualified": True}, ["Lead_1", "lead-2"]),
        ({"qualified": False}, ["L%3", "x"]),
        ({"grade": "D"}, ["L%3", "x"]),
        ({"state": "mql"}, ["Lead_1"]),
        ({"state": "accepted"}, ["lead-2"]),
        ({"search": "LEAD"}, ["Lead_1", "lead-2", "L%3"]),
        ({"search": "%"}, ["L%3"]),
        ({"search": "_"}, ["Lead_1"]),
        ({"search": "acme", "qualified": True}, []),
    ):
        assert ids(ledger.leads(**chosen).items) == expected, chosen


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": 0},
        {"limit": 201},
        {"grade": "E"},
        {"state": "won"},
        {"search": "x" * 513},
        {"search": "\0"},
        {"search": "\ud800"},
        {"after": ""},
        {"after": "not a token"},
        {"after": "\u00e9"},
        {"after": "WzEsMl0"},  # [1,2]
        {"after": "WzAuNSwiXHVkODAwIl0"},  # half a character
        {"after": "W05hTiwiTCJd"},  # NaN
        {"after": "W1tbW1tbW1s" * 500},
    ],
)
def test_wrong_questions_are_the_callers_mistake(ledger: Ledger, wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        ledger.leads(**wrong)


def test_hostile_ids_are_only_text(ledger: Ledger) -> None:
    hostile = [
        "'; DROP TABLE scores; --",
        "<script>",
        "../..",
        "%s",
        "?",
        "ü\u202e",
        '"',
        "L" * 255,
    ]
    write(ledger, *(record(lead_id) for lead_id in hostile))
    assert set(ledger.latest(hostile)) == set(hostile)
    for lead_id in hostile:
        lead = ledger.lead(lead_id)
        assert lead is not None
        assert lead["lead_id"] == lead_id
        assert lead_id in ids(ledger.leads(search=lead_id).items)


def test_a_nan_in_what_is_told_is_stored_as_nothing(ledger: Ledger) -> None:
    write(ledger, record("L-1", timeline={"event_type": ["visit"], "value": [math.nan]}))
    lead = ledger.lead("L-1")
    assert lead is not None
    assert lead["timeline"] == [{"event_type": "visit"}]
