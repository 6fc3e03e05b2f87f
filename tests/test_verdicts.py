"""Sales' verdicts: what the report says of them, and what boosters may be told; never a feature."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_crm import small_config, small_tables
from tables_builder import day, tables_of
from test_fit import PARAMETERS, config_of, dated_examples, everything, random_rows
from test_partitions import in_parts

from features.config import Config
from features.life_config import VerdictConfig
from features.parts.partitions import Partitions
from models.cutoff import Cutoff
from training.evaluation import split_examples
from training.examples import Examples, examples_from_tables
from training.fitting.boost import DEFAULTS, Rows, Taught, cross_fit, raw_scores, refit
from training.fitting.fit import Choices, fit_model
from training.fitting.folds import account_folds
from training.report.verdicts_section import verdicts_section
from training.verdicts.lessons import lessons
from training.verdicts.overview import (
    NOT_SCORED,
    VerdictOverview,
    answers_in,
    verdict_overview,
)
from training.verdicts.verdicts import SalesVerdicts
from training.verdicts.work import answers_within

CUTOFF = Cutoff("fixed", {}, 0.3)
HORIZON = 91


def sold(**rows):
    """A lead that became an MQL, and whatever `rows` say of sales' answer."""
    leads = [{"lead_id": "a", "created_at": 0, "account_id": "X", "source": "web"}]
    return tables_of(
        leads=leads,
        **{"stage_changes": [{"lead_id": "a", "stage": "mql", "changed_at": 10}], **rows},
    )


def answers_of(tables) -> pd.DataFrame:
    return answers_in(Partitions.of(tables).part(0), config_of())


def verdict(at: float, said: str, **other):
    return {"lead_id": "a", "verdict": said, "decided_at": at, **other}


def win(at: float):
    return {"opportunity_id": "O", "lead_id": "a", "created_at": 9, "closed_at": at,
            "stage": "closed_won"}  # fmt: skip


# --- the overview


def test_the_last_word_to_an_mql_counts_and_each_mql_has_its_own() -> None:
    again = [{"lead_id": "a", "stage": stage, "changed_at": at} for stage, at in
             (("mql", 10), ("recycled", 30), ("mql", 40))]  # fmt: skip
    given = [verdict(12, "accepted"), verdict(20, "rejected"), verdict(41, "accepted")]
    found = answers_of(sold(verdicts=given, stage_changes=again))
    assert found["verdict"].tolist() == ["rejected", "accepted"]


@pytest.mark.parametrize(
    ("closed", "until", "expected"),
    [
        (12 + 90.5, 200, 1.0),  # the horizon counts from the verdict
        (12 + 91, 200, 0.0),  # a moment too late
        (20, 100, np.nan),  # won early, but the horizon has not passed
    ],
)
def test_what_came_of_a_verdict_is_told_once_its_horizon_has_passed(
    closed: float, until: float, expected: float
) -> None:
    tables = replace(
        sold(verdicts=[verdict(12, "rejected")], opportunities=[win(closed)]), data_until=day(until)
    )
    np.testing.assert_array_equal(answers_of(tables)["won"], [expected])


def test_stages_stand_for_verdicts_that_nobody_exported() -> None:
    changes = [
        {"lead_id": "a", "stage": stage, "changed_at": at, "reason_code": "no_budget"}
        for stage, at in (("disqualified", 5), ("mql", 10), ("disqualified", 15))
    ]
    found = answers_of(sold(stage_changes=changes))
    # the first was no answer: there was no MQL yet
    assert found["verdict"].tolist() == ["rejected"]
    assert found["reason_code"].tolist() == ["no_budget"]
    assert found["decided_at"].tolist() == [day(15)]


def made_up_scores() -> pd.DataFrame:
    """A score of every lead of the small CRM on two Mondays: the id decides which."""
    leads = np.sort(small_tables().leads["lead_id"].unique())
    probability = np.linspace(0, 0.9, len(leads))
    mondays = (pd.Timestamp("2025-01-06"), pd.Timestamp("2025-01-13"))
    return pd.concat(
        [
            pd.DataFrame({"lead_id": leads, "as_of": monday, "probability": probability})
            for monday in mondays
        ]
    )


@cache
def small_overview() -> VerdictOverview:
    found = verdict_overview(small_tables(), small_config(), made_up_scores(), CUTOFF, 0.05)
    assert found is not None
    return found


def test_counts_by_grade_and_source_are_those_of_a_slow_count() -> None:
    overview, tables = small_overview(), small_tables()
    source = tables.leads.drop_duplicates("lead_id").set_index("lead_id")["source"]
    scores = made_up_scores().drop_duplicates("lead_id").set_index("lead_id")["probability"]
    by_grade: dict[str, list[str]] = {}
    by_source: dict[str, list[str]] = {}
    for row in tables.verdicts.itertuples():
        waited = row.decided_at - pd.Timestamp("2025-01-06")
        is_scored = pd.Timedelta(0) < waited <= pd.Timedelta(days=35)
        grade = CUTOFF.grades([scores[row.lead_id]], 0.05)[0] if is_scored else NOT_SCORED
        by_grade.setdefault(grade, []).append(row.verdict)
        by_source.setdefault(source[row.lead_id], []).append(row.verdict)
    for found, expected in ((overview.grades, by_grade), (overview.sources, by_source)):
        assert {one.name: one.verdicts for one in found} == {
            name: len(said) for name, said in expected.items()
        }
        for one in found:
            rejected = expected[one.name].count("rejected") / one.verdicts
            assert one.shares["rejected"].value == pytest.approx(rejected)
    assert overview.total.verdicts == len(tables.verdicts)


def test_shares_have_intervals_around_them_and_reasons_add_up() -> None:
    overview = small_overview()
    for answers in (overview.total, *overview.grades, *overview.sources):
        assert sum(share.value for share in answers.shares.values()) == pytest.approx(1)
        for share in answers.shares.values():
            assert share.low <= share.value + 1e-12
            assert share.high >= share.value - 1e-12
    rejected = [reason for reason in overview.reasons if reason.verdict == "rejected"]
    outcome = next(one for one in overview.outcomes if one.verdict == "rejected")
    assert sum(reason.verdicts for reason in rejected) == outcome.verdicts
    assert outcome.won <= outcome.matured <= outcome.verdicts


def test_a_sentence_says_what_sales_rejects_and_why() -> None:
    overview = small_overview()
    assert overview.lines[0].startswith(
        f"Sales answered {overview.total.verdicts:,} MQLs: accepted"
    )
    told = [line for line in overview.lines if line.startswith("Sales rejects")]
    assert told == [] or all(" leads" in line for line in told)
    shown = verdicts_section(SalesVerdicts(overview, None))["overview"]
    assert "<svg" in shown["picture"]["markup"]
    assert shown["given"] == ["accepted", "rejected"]  # the demo's sales never recycles


def test_what_sales_recycles_is_no_reason_for_rejecting() -> None:
    said = [("rejected", "bad_fit")] * 3 + [("recycled", "timing")] * 9 + [("accepted", None)] * 13
    names = [f"L-{n}" for n in range(len(said))]
    tables = tables_of(
        leads=[{"lead_id": name, "created_at": 0} for name in names],
        stage_changes=[{"lead_id": name, "stage": "mql", "changed_at": 8} for name in names],
        verdicts=[
            {"lead_id": name, "verdict": verdict, "reason_code": code, "decided_at": 9}
            for name, (verdict, code) in zip(names, said, strict=True)
        ],
    )
    scored = pd.DataFrame({"lead_id": names, "as_of": day(7), "probability": 0.9})
    overview = verdict_overview(tables, config_of(), scored, CUTOFF, 0.05)
    assert overview is not None
    told = next(line for line in overview.lines if line.startswith("Sales rejects 12%"))
    assert told.endswith("of A leads, most often for bad fit (100% of the reasons given).")


def test_parts_change_nothing_of_the_overview(tmp_path: Path) -> None:
    parts = in_parts(small_tables(), tmp_path, 3, small_config().population)
    found = verdict_overview(parts, small_config(), made_up_scores(), CUTOFF, 0.05)
    assert len(parts) == 3
    assert SalesVerdicts(found, None).as_dict() == SalesVerdicts(small_overview(), None).as_dict()


def test_without_verdicts_or_tables_there_is_no_overview() -> None:
    scored = made_up_scores()
    assert verdict_overview(None, config_of(), scored, CUTOFF, 0.05) is None
    assert verdict_overview(sold(), config_of(), scored, CUTOFF, 0.05) is None


@pytest.mark.parametrize("stage_changes", [[], [{"lead_id": "a", "stage": "sal", "changed_at": 5}]])
def test_a_crm_that_records_no_handoff_has_no_answers(stage_changes) -> None:
    tables = sold(stage_changes=stage_changes)
    assert verdict_overview(tables, config_of(), made_up_scores(), CUTOFF, 0.05) is None


def test_the_dictionary_is_plain() -> None:
    plain = SalesVerdicts(small_overview(), None).as_dict()
    assert plain["exploration"] is None
    assert plain["overview"]["total"]["shares"]["accepted"]["value"] > 0.5


# --- what boosters are told


@pytest.mark.parametrize(
    ("at", "said", "worked", "accepted"),
    [
        (29.99, "accepted", False, False),  # known before the snapshot
        (30, "accepted", True, True),  # known from the very moment on: part of the outcome
        (30, "rejected", True, False),
        (30 + HORIZON - 0.01, "accepted", True, True),
        (30 + HORIZON, "accepted", False, False),  # after the label is known
    ],
)
def test_a_verdict_counts_for_rows_whose_horizon_it_falls_into(
    at: float, said: str, worked: bool, accepted: bool
) -> None:
    tables = sold(verdicts=[verdict(at, said)], stage_changes=[])
    rows = pd.DataFrame({"lead_id": ["a"], "as_of": [day(30)]}).astype(
        {"lead_id": "str", "as_of": "datetime64[us]"}
    )
    found = answers_within(tables, rows, config_of())
    assert [answer.tolist() for answer in found] == [[worked], [accepted]]


def four_rows() -> Examples:
    """Won; lost and accepted; lost and rejected; lost and never worked."""
    examples = dated_examples(4)
    return replace(
        examples,
        won=np.array([1.0, 0, 0, 0]),
        worked=np.array([False, True, True, False]),
        accepted=np.array([False, True, False, False]),
    )


def test_lessons_change_the_rows_that_the_settings_name_and_keep_their_weight() -> None:
    rows = np.ones(4, dtype=bool)
    weighted = lessons(four_rows(), rows, VerdictConfig(use="weight", unworked_weight=0.25))
    assert [weighted.row.tolist(), weighted.won.tolist(), weighted.share.tolist()] == [
        [3], [0.0], [0.25],
    ]  # fmt: skip
    split = lessons(four_rows(), rows, VerdictConfig(use="auxiliary", accepted_as=0.1))
    assert [split.row.tolist(), split.won.tolist()] == [[1, 1], [0.0, 1.0]]
    assert split.share == pytest.approx([0.9, 0.1])
    assert lessons(four_rows(), rows, VerdictConfig()) is None
    only = lessons(four_rows(), np.array([0, 0, 0, 1], bool), VerdictConfig(use="weight"))
    assert only.row.tolist() == [0]  # numbered within the mask


def taught_rows(share_of_win: float) -> tuple[Rows, np.ndarray]:
    """Rows of which every fourth lost one is told to be a win in part."""
    rows, account = random_rows()
    told = np.repeat(np.flatnonzero(rows.won == 0)[::4], 2)
    won = np.tile([0.0, 1.0], len(told) // 2)
    share = np.tile([1 - share_of_win, share_of_win], len(told) // 2)
    return replace(rows, taught=Taught(told, won, share)), account


def test_lessons_stand_in_for_their_rows_in_training_and_nowhere_else() -> None:
    rows, account = taught_rows(0.3)
    train, valid = account_folds(account, 3, seed=0)[0]
    told, place = rows.with_lessons(), rows.to_train_on(train)
    assert told.weight[place].sum() == pytest.approx(rows.weight[train].sum())
    expected = 0.3 * np.isin(train, rows.taught.row).sum() + rows.won[train].sum()
    assert told.won[place] @ told.weight[place] == pytest.approx(expected)
    assert not np.isin(place, valid).any()
    assert not np.isin(np.flatnonzero(np.isin(rows.taught.row, valid)) + len(rows.won), place).any()
    np.testing.assert_array_equal(told.won[valid], rows.won[valid])


def test_boosters_learn_the_lessons_and_their_loss_is_of_what_happened() -> None:
    rows, account = taught_rows(0.5)
    plain = replace(rows, taught=None)
    folds = account_folds(account, 3, seed=0)
    learnt, honest = (cross_fit(one, folds, PARAMETERS) for one in (rows, plain))
    assert np.mean(learnt.raw_score) > np.mean(honest.raw_score) + 0.1
    probability = 1 / (1 + np.exp(-learnt.raw_score))
    loss = -np.log(np.where(rows.won > 0, probability, 1 - probability))
    np.testing.assert_allclose(learnt.row_loss, loss)
    shipped = refit(rows, PARAMETERS, 20), refit(plain, PARAMETERS, 20)
    of_rows = [raw_scores(booster, rows.matrix, 20, PARAMETERS).mean() for booster in shipped]
    assert of_rows[0] > of_rows[1] + 0.1


@pytest.mark.parametrize("use", ["weight", "auxiliary"])
def test_calibration_keeps_to_what_was_won_whatever_the_boosters_are_told(use: str) -> None:
    random = np.random.default_rng(1)
    examples = dated_examples(600)
    answered = replace(
        examples,
        worked=random.random(len(examples.won)) < 0.3,
        accepted=random.random(len(examples.won)) < 0.5,
    )
    told = VerdictConfig.model_validate({"use": use, "unworked_weight": 0.2, "accepted_as": 0.6})
    config = config_of(folds=3).model_copy(update={"verdicts": told})
    fitted = fit_model(answered, everything(answered), Choices(dict(DEFAULTS), None), config)
    raw = fitted.cross_fit.raw_score
    rate = np.average(answered.won, weights=answered.weight)
    before = np.average(1 / (1 + np.exp(-raw)), weights=answered.weight)
    after = np.average(fitted.calibration.probability(raw), weights=answered.weight)
    assert before > rate + 0.03  # the boosters were told otherwise
    assert after == pytest.approx(rate, rel=0.1)


def test_verdicts_change_no_feature_and_no_label() -> None:
    tables, config = small_tables(), small_config()
    without = replace(tables, verdicts=tables.verdicts.iloc[:0])
    use: dict[str, Config] = {
        name: small_config(verdicts={"use": name}) for name in ("weight", "auxiliary")
    }
    plain = examples_from_tables(tables, config)
    others = [examples_from_tables(without, config)]
    others += [examples_from_tables(tables, told) for told in use.values()]
    for other in others:
        pd.testing.assert_frame_equal(other.snapshots, plain.snapshots)
        np.testing.assert_array_equal(other.won, plain.won)
        np.testing.assert_array_equal(other.weight, plain.weight)
    assert not any("verdict" in name for name in plain.catalogue.names)
    assert plain.worked is None
    worked, accepted = others[1].worked, others[1].accepted
    assert 0 < accepted.sum() < worked.sum() < len(worked)
    split = split_examples(plain, config)
    assert lessons(others[1], split.is_fit, use["weight"].verdicts) is not None
