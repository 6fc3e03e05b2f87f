"""What becomes of the audit: overruling, the examples to train on, text, duplicates and notes."""

import json
from dataclasses import replace

import numpy as np
import pytest
from audit_cases import (
    ROWS,
    audit,
    budget,
    contract,
    flat_config,
    flat_examples,
    levels,
    levels_of,
    status,
    world,
)

from training.audit.audit import audit_examples, without_blocked


def test_columns_confirmed_by_name_raise_no_question_and_lose_their_block():
    random, columns, won, as_of = world(6)
    columns = {
        **columns,
        "late": contract(random, won, as_of),
        "deal": contract(random, won, as_of),
    }
    config = flat_config(features={"known_at_creation": ["late", "leads.deal", "size"]})
    found = audit(columns, won, config=config)
    assert found.blocked() == []
    assert {levels(found)["late"], levels(found)["deal"]} == {"flag"}
    assert "known_at_creation" in found.findings[0].evidence[0].text


def test_the_model_is_trained_without_blocked_columns_and_what_is_read_off_them():
    random, columns, won, as_of = world(9)
    examples = flat_examples({**columns, "late": status(random, won, as_of)}, won)
    (late,) = (f for f in examples.catalogue.features if f.stream == "leads.late")
    derived = replace(late, name="late_rank", aggregation="seniority")
    features = (*examples.catalogue.features, derived)
    examples = replace(
        examples,
        catalogue=replace(examples.catalogue, features=features, undated=("leads.late",)),
        snapshots=examples.snapshots.assign(late_rank=examples.snapshots["late"]),
    )
    found = audit_examples(examples, None, flat_config())
    kept = without_blocked(examples, found)
    assert found.blocked() == ["leads.late"]
    assert [*kept.snapshots][4:] == kept.catalogue.names
    assert set(examples.catalogue.names) - set(kept.catalogue.names) == {"late", "late_rank"}
    assert kept.catalogue.undated == ()
    assert without_blocked(kept, audit_examples(kept, None, flat_config())) is kept


def test_the_audit_is_text_and_json_without_a_single_lead():
    random, columns, won, as_of = world(10)
    found = audit({**columns, "late": budget(random, won, as_of)}, won, as_of=as_of)
    text = json.dumps(found.as_dict(), allow_nan=False) + "\n".join(found.lines())
    assert "leads.late" in text
    assert "known_at_creation" in text
    assert not any(value in text for value in ("lead 17", "phone 17", "C17"))
    clean = audit(columns, won)
    assert clean.lines() == [f"no column of {len(columns)} shows signs of leakage"]


def test_one_person_under_two_lead_ids_is_counted_and_where_they_are():
    _, columns, won, as_of = world(11)
    hashes = np.array([f"{n:040x}" for n in range(ROWS)], object)
    hashes[ROWS - 20 :] = hashes[:20]  # the oldest twenty come back in the newest rows
    found = audit({**columns, "hashed": hashes}, won, as_of=as_of)
    (twins,) = found.duplicates
    assert (twins.kind, twins.columns) == ("same_identifier", ("leads.hashed",))
    assert (twins.leads, twins.people, twins.across) == (40, 20, 20)
    account = np.arange(ROWS)
    account[ROWS - 20 :] = account[:20]
    known = audit({**columns, "hashed": hashes}, won, as_of=as_of, account=account)
    assert known.duplicates == ()


def test_rows_that_equal_another_are_duplicates_unless_chance_makes_them_so():
    random = np.random.default_rng(12)
    numbers = {f"number {n}": random.normal(size=1_000) for n in range(6)}
    won = random.random(1_000) < 0.3
    for values in numbers.values():
        values[900:] = values[:100]
    (twins,) = audit(numbers, won).duplicates
    assert (twins.kind, twins.leads, twins.people) == ("identical_row", 200, 100)
    answers = {f"answer {n}": levels_of(random, 1_000, 2, "answer") for n in range(6)}
    assert audit(answers, won).duplicates == ()


@pytest.mark.parametrize("falls", [True, False])
def test_a_falling_rate_in_the_newest_month_is_noted_where_labels_may_be_young(falls):
    random, columns, won, as_of = world(13, rate=0.3)
    if falls:
        won = won & ((as_of < as_of.max() - np.timedelta64(30, "D")) | (random.random(ROWS) < 0.3))
    examples = flat_examples(columns, won, as_of=as_of)
    assert audit_examples(examples, None, flat_config()).notes == ()
    young = replace(examples, is_maturity_known=False)
    (note,) = audit_examples(young, None, flat_config()).notes
    assert ("the newest month falls off" in note) == falls
