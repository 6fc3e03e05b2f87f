"""The audit blocks what knows the outcome, and nothing honest, in exports made with known truth."""

import numpy as np
import pandas as pd
import pytest
from audit_cases import (
    ROWS,
    SECONDS_A_DAY,
    audit,
    budget,
    contract,
    draw_wins,
    filled,
    honest_world,
    levels,
    levels_of,
    seconds,
    status,
    where,
    world,
    year_of_days,
)

from training.metrics import auc


def onboarding(random, won, as_of):
    """Filled for a third of the winners, for nobody else."""
    return where(filled(random, won, 0.35, 0.0), random.normal(size=len(won)))


def loss_reason(random, won, as_of):
    """Filled for most of the lost, never for a winner."""
    return where(filled(random, won, 0.0, 0.6), levels_of(random, len(won), 6, "reason"))


def tier(random, won, as_of):
    """One value of many, for less than half of the winners."""
    return np.where(filled(random, won, 0.4, 0.0), "gold", levels_of(random, len(won), 9, "tier"))


def calls(random, won, as_of):
    """Sales goes on calling after the win."""
    return random.poisson(np.where(won, 8, 2))


def amount(random, won, as_of):
    """0 until there is a deal."""
    return np.where(won, np.round(np.exp(random.normal(8, 1, len(won)))), 0)


def last_touch(random, won, as_of):
    """Epoch seconds of the last contact, long after `as_of` for winners."""
    days = np.where(won, random.uniform(20, 89, len(won)), random.exponential(8, len(won)))
    return seconds(as_of) + days * SECONDS_A_DAY


def last_touch_text(random, won, as_of):
    """The same, written as the export's country does."""
    instants = pd.to_datetime(last_touch(random, won, as_of), unit="s")
    return np.array(instants.strftime("%d/%m/%Y %H:%M"), object)


def modified(random, won, as_of):
    """Tells nothing of the outcome, but was written up to the end of the data."""
    end = seconds(as_of).max() + 90 * SECONDS_A_DAY
    return seconds(as_of) + random.random(len(won)) ** 0.5 * (end - seconds(as_of))


LEAKS = (
    *(contract, budget, onboarding, loss_reason, status, tier, calls, amount),
    *(last_touch, last_touch_text, modified),
)


@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.__name__)
@pytest.mark.parametrize("rate", [0.1, 0.4])
def test_a_late_column_is_blocked_and_no_honest_one_with_it(leak, rate):
    random, columns, won, as_of = world(1, rate)
    found = audit({**columns, "late": leak(random, won, as_of)}, won, as_of=as_of)
    assert found.blocked() == ["leads.late"]


@pytest.mark.parametrize(
    ("rows", "rate"),
    [
        (300, 0.4),
        (2_000, 0.6),
        (20_000, 0.005),  # 100 wins
    ],
)
@pytest.mark.parametrize("leak", [contract, budget, amount], ids=lambda leak: leak.__name__)
def test_few_rows_and_extreme_rates_hide_no_plain_leak(leak, rows, rate):
    random, columns, won, as_of = world(2, rate, rows)
    found = audit({**columns, "late": leak(random, won, as_of)}, won, as_of=as_of)
    assert found.blocked() == ["leads.late"]


def test_what_is_filled_only_within_a_blocked_column_is_blocked_however_rare():
    random, columns, won, _ = world(3)
    deal = filled(random, won, 1.0, 0.02)
    # 30 of the deals, not one more winner among them than among all leads
    rare = np.zeros(ROWS, bool)
    rare[random.permutation(np.flatnonzero(deal & ~won))[:15]] = True
    rare[random.permutation(np.flatnonzero(won))[:15]] = True
    late = {"deal": where(deal, np.arange(ROWS)), "stock": where(rare, np.arange(ROWS))}
    assert audit({**columns, **late}, won).blocked() == ["leads.deal", "leads.stock"]
    alone = audit({**columns, "stock": late["stock"]}, won)
    assert alone.blocked() == []


def test_a_late_step_is_blocked_with_all_that_goes_missing_with_it_but_not_the_step_before():
    random, columns, won, _ = world(4, rate=0.2, rows=20_000)
    asked = filled(random, won, 0.8, 0.6)
    offered = asked & filled(random, won, 0.65, 0.5)
    rate = 10 + 3 * random.normal(size=len(won)) - 4 * won
    late = {
        "wished_amount": where(asked, np.exp(random.normal(9, 1, len(won)))),
        "offered_rate": where(offered, rate),
        "instalment": where(offered, np.exp(random.normal(6, 1, len(won)))),
    }
    found = audit({**columns, **late}, won)
    assert found.blocked() == ["leads.instalment", "leads.offered_rate"]
    groups = {finding.group for finding in found.findings if finding.level == "block"}
    assert groups == {1}


@pytest.mark.parametrize(
    ("is_inside", "is_lifted", "is_telling"),
    [
        (False, True, True),  # a telling optional field of a form: no step of anything
        (True, False, True),  # bought for some who left a phone number, a little more of the keen
        (True, True, False),  # the second page of a form, filled by the keen
    ],
)
def test_what_lacks_one_sign_of_a_late_step_is_not_blocked(is_inside, is_lifted, is_telling):
    random, columns, won, _ = world(4, rate=0.2, rows=20_000)
    asked = filled(random, won, 0.8 if is_lifted else 0.6, 0.6)
    offered = filled(random, won, 0.6, 0.35 if is_lifted else 0.5)
    offered &= asked if is_inside else True
    values = random.normal(size=len(won)) - 1.3 * is_telling * won
    form = {"phone": where(asked, np.arange(len(won))), "size": where(offered, values)}
    assert audit({**columns, **form}, won).blocked() == []


def keen_form(random, won):
    """The strongest honest form of the raw exports: keen leads fill it in, others do not."""
    return where(filled(random, won, 0.9, 0.59), levels_of(random, len(won), 5, "wish"))


def phone_form(random, won):
    """Half the win rate without a phone number: the keen fill it in."""
    is_given = filled(random, won, 2 / 3, 1 / 2)
    return where(is_given, levels_of(random, len(won), len(won), "phone"))


def meeting(random, won, as_of):
    """A date some days ahead, agreed on before `as_of` and no sign of anything."""
    ahead = seconds(as_of) + random.uniform(1, 14, len(won)) * SECONDS_A_DAY
    return where(random.random(len(won)) < 0.3, ahead)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rate", [0.02, 0.3])
def test_honest_columns_of_every_kind_are_not_blocked(seed, rate):
    rows = 10_000
    random, columns, _, as_of = world(seed, rate, rows)
    best = levels_of(random, rows, 20, "partner")
    month = as_of.astype("datetime64[M]").astype(int) % 12
    strong = random.normal(size=rows)
    score = 1.7 * strong + 2.5 * (best == "partner 3") + np.sin(month / 2)
    won = draw_wins(score, rate, random)
    assert 0.78 < auc(won.astype(float), strong) < 0.88
    honest = {
        "strong": strong,
        "partner": best,
        "month": np.array([f"month {n}" for n in month], object),
        "phone": phone_form(random, won),
        "wish": keen_form(random, won),
        "rare": levels_of(random, rows, 3_000, "rare"),
        "enriched_late": where(random.random(rows) < 0.4, random.normal(size=rows)),
        "introduced_in_summer": where(month > 6, levels_of(random, rows, 4, "new")),
        "signed_up": seconds(as_of) - random.exponential(30, rows) * SECONDS_A_DAY,
        "meeting": meeting(random, won, as_of),
        "revenue": np.round(np.exp(random.normal(20, 2, rows))),
    }
    found = audit({**columns, **honest}, won, as_of=as_of)
    assert found.blocked() == []
    flagged = set(levels(found))
    assert flagged <= {"strong", "meeting", "wish", "industry", "size"}, flagged


def test_a_field_introduced_while_the_win_rate_fell_is_not_taken_for_one_of_losers():
    random, columns, _, as_of = world(15)
    is_young = np.arange(ROWS) >= 0.4 * ROWS
    won = random.random(ROWS) < np.where(is_young, 0.05, 0.5)
    late = {"consent": where(is_young, levels_of(random, ROWS, 2, "consent"))}
    assert audit({**columns, **late}, won, as_of=as_of).blocked() == []
    undated = audit({**columns, **late}, won)
    assert undated.blocked() == ["leads.consent"]  # without dates nobody could tell


def test_random_honest_exports_of_any_size_and_rate_are_not_blocked():
    for seed in range(20):
        random = np.random.default_rng(seed)
        rows, rate = int(random.choice([300, 1_000, 4_000])), float(random.choice([0.02, 0.1, 0.5]))
        columns, score = honest_world(random, rows, strength=random.choice([0.0, 2.0]))
        won = draw_wins(score, rate, random)
        as_of = year_of_days(random, rows) if seed % 2 else None
        assert audit(columns, won, as_of=as_of).blocked() == [], seed


def test_with_labels_shuffled_no_column_is_suspect():
    findings = []
    for seed in range(50):
        rate = (0.02, 0.1, 0.5)[seed % 3]
        random, columns, won, as_of = world(seed, rate, rows=1_000)
        late = {"contract": contract(random, won, as_of), "status": status(random, won, as_of)}
        shuffled = random.permutation(won)
        findings += audit({**columns, **late}, shuffled, as_of=as_of).findings
    assert findings == []


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_where_everybody_won_or_nobody_did_nothing_can_be_said(rate):
    random, columns, _, as_of = world(14, rows=400)
    won = np.full(400, rate > 0)
    late = {"late": last_touch(random, won, as_of)}
    assert levels(audit({**columns, **late}, won, as_of=as_of)) == {"late": "flag"}
    assert audit({}, won).findings == ()


def test_a_company_seen_in_many_rows_is_one_witness_not_many():
    """Forty accounts of a hundred rows, each won or lost as a whole: its name tells all of it."""
    random = np.random.default_rng(5)
    account = np.repeat(np.arange(40), 100)
    won = random.permutation(np.arange(40) < 20)[account]
    columns = {"company": np.array([f"company {n}" for n in account], object), "zip": account}
    assert audit(columns, won, account=account).findings == ()
    by_row = audit({**columns, "late": np.where(won, "customer", "lead")}, won, account=account)
    assert by_row.blocked() == ["leads.late"]


def test_columns_that_go_missing_together_and_tell_are_listed_as_one_group_to_confirm():
    random, columns, won, _ = world(7, rate=0.3)
    has_score = random.random(ROWS) < 0.5
    late = {
        "score": where(has_score, random.normal(size=ROWS) + 1.2 * won),
        "index": where(has_score, levels_of(random, ROWS, 3, "index")),
        "other_half": where(~has_score, levels_of(random, ROWS, 3, "other")),
    }
    found = {finding.column: finding for finding in audit({**columns, **late}, won).findings}
    pair = [found["leads.score"], found["leads.index"]]
    assert {(finding.level, finding.group) for finding in pair} == {("undated", pair[0].group)}
    assert pair[0].group is not None
    assert "leads.other_half" not in found


def test_two_columns_of_the_same_values_at_two_moments_are_listed_to_confirm():
    random, columns, won, _ = world(8, rate=0.3)
    before = levels_of(random, ROWS, 8, "step")
    after = np.where(filled(random, won, 0.7, 0.2), "step 7", before)
    found = levels(audit({**columns, "step": before, "last_step": after}, won))
    assert found["last_step"] == "undated"
    assert "step" not in found
