"""The gate on leaks dated at creation, on equal scores, and on a champion found to have leaked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from test_gate import GATE, leads, named, with_challenger
from test_gate_judge import challenger, quick_scorer, verdict_on

from training.audit.audit import Evidence, Finding
from training.candidate import Candidate, Prepared
from training.fitting.fit import fit_model
from training.gate.further import _newest, reasons_checks
from training.gate.gate import Verdict
from training.gate.new_columns import (
    HARDLY_READ,
    NAME,
    gain_by_new_columns,
    gain_of,
    jump_check,
    lost_without,
    newly_read,
)
from training.gate.paired import SAME_MODEL, paired_checks
from training.gate.promise import promise_checks
from training.gate.rows import GateRows, mqls_of_rows
from training.report.gate_section import gate_section

COLUMNS = ("leads.country", "leads.seniority", "leads.buying_role")


def test_a_leak_split_over_columns_is_as_large_as_it_is_together():
    rows, log_odds = leads()
    random = np.random.default_rng(7)
    is_set = random.random((3, len(rows.won))) < np.where(rows.won > 0, 0.4, 0.02)
    # the log-odds that each column adds, set or not: Bayes
    parts = np.where(is_set, np.log(0.4 / 0.02), np.log(0.6 / 0.98))
    leaking = with_challenger(rows, expit(log_odds + parts.sum(axis=0)))
    raw = log_odds + parts.sum(axis=0)
    lost = lost_without(raw, parts.sum(axis=0), rows.won, rows.weight)
    check = jump_check(gain_of(leaking), lost, list(COLUMNS), GATE.new_columns_gain)
    assert (check.name, check.result) == (NAME, "unclear")
    assert "a person should look at these columns" in check.told
    assert all(name in check.told for name in COLUMNS)
    alone = [lost_without(raw, part, rows.won, rows.weight) for part in parts]
    assert max(alone) < lost


@pytest.mark.parametrize(
    ("gain", "lost", "result"),
    [
        (0.06, 0.06, "unclear"),
        (0.4, 0.01, "pass"),  # much better, but not by these columns
        (0.01, 0.4, "pass"),  # they took the place of others that said the same
        (-0.1, 0.4, "pass"),
    ],
)
def test_only_a_jump_that_hangs_on_new_columns_is_for_a_person_to_look_at(gain, lost, result):
    assert jump_check(gain, lost, COLUMNS, most=0.05).result == result


def test_a_concept_is_newly_read_where_it_hardly_moved_the_champion_and_moves_much_more_now():
    old = pd.Series({"old": 0.9, "small": 0.03, "gone": 0.07, "rare": 0.0})
    new = pd.Series({"small": 0.04, "old": 0.5, "rare": 0.1, "added": 0.3, "empty": 0.0})
    assert newly_read(old, new) == ["added", "rare"]


def spreads(new: dict[str, float], old: dict[str, float]) -> pd.DataFrame:
    both = pd.DataFrame({"spread_old": old, "spread_new": new}).fillna(0.0)
    return both.assign(size_old=both["spread_old"], size_new=both["spread_new"])


def test_newly_read_concepts_count_together():
    old = {"pages": 1.0}
    split = _newest(spreads({"pages": 0.64, "a": 0.12, "b": 0.12, "c": 0.12}, old), GATE)
    assert (split.result, round(split.challenger, 6)) == ("fail", 0.36)
    assert "a 12%, b 12%, c 12%" in split.told
    # many small concepts that the champion has as well are nothing new
    many = {f"c{n}": HARDLY_READ * 0.9 for n in range(20)}
    assert _newest(spreads(many, many), GATE).challenger == 0


def without(prepared: Prepared, columns: tuple[str, ...]) -> Prepared:
    """The same rows with features that read none of the columns."""
    examples = prepared.examples
    kept = tuple(f for f in examples.catalogue.features if f.stream not in columns)
    gone = [name for name in examples.catalogue.names if name not in {f.name for f in kept}]
    catalogue = replace(examples.catalogue, features=kept)
    snapshots = examples.snapshots.drop(columns=gone)
    return replace(prepared, examples=replace(examples, catalogue=catalogue, snapshots=snapshots))


def with_leak() -> tuple[Prepared, Candidate, GateRows]:
    """The CRM with a leak's parts in the place of honest attributes, and a model beside one of the
    same rows without them."""
    prepared, honest = challenger()
    examples, is_test = prepared.examples, prepared.split.is_test
    snapshots, random = examples.snapshots.copy(), np.random.default_rng(3)
    for column in COLUMNS:
        features = (f for f in examples.catalogue.features if f.stream == column)
        name = next(feature.name for feature in features if feature.dtype == "category")
        is_set = random.random(len(snapshots)) < np.where(examples.won > 0, 0.4, 0.02)
        snapshots[name] = pd.Series(np.where(is_set, "yes", "no"), snapshots.index, dtype="str")
    leaking = replace(prepared, examples=replace(examples, snapshots=snapshots))
    evaluation, split = honest.evaluation, prepared.split
    fitted = fit_model(leaking.examples, split.is_fit, evaluation.choices, prepared.config)
    test = evaluation.test
    rows = GateRows(
        *(test[name].to_numpy() for name in ("won", "weight", "account", "probability")),
        fitted.probability(snapshots[is_test]),
    )
    return leaking, replace(honest, evaluation=replace(evaluation, fitted=fitted)), rows


def test_a_model_that_wins_by_split_columns_is_left_to_a_person_who_is_told_which():
    prepared, candidate, rows = with_leak()
    champion = quick_scorer(without(prepared, COLUMNS).examples, "2026-01-05")
    found = gain_by_new_columns(champion, candidate, prepared, rows)
    assert found.result == "unclear"
    concepts = {f.concept for f in prepared.examples.catalogue.features if f.stream in COLUMNS}
    assert all(concept in found.told for concept in concepts)
    # the same scores where the champion reads them too, and where the challenger is no better
    reads = quick_scorer(prepared.examples, "2026-01-05")
    assert gain_by_new_columns(reads, candidate, prepared, rows).result == "pass"
    equal = replace(rows, champion=rows.challenger)
    assert gain_by_new_columns(champion, candidate, prepared, equal).result == "pass"


def blocking(prepared: Prepared, column: str) -> Prepared:
    evidence = Evidence("filled_only_for_winners", "block", {}, "Filled for winners only.")
    finding = Finding(column, "block", (evidence,))
    return replace(prepared, audit=replace(prepared.audit, findings=(finding,)))


def test_what_a_leaking_champion_promised_and_why_it_scored_so_refuses_nobody():
    prepared, candidate = challenger()
    shown = {"value": 0.8, "low": 0.75, "high": 0.85}
    facts = {**candidate.scorer.facts, "skill": shown}
    champion = replace(candidate.scorer, facts=facts)
    gate = prepared.config.gate
    assert promise_checks(champion, candidate, gate, "recipe")[0].result == "fail"
    blocked = ("leads.source",)
    for checks in (
        promise_checks(champion, candidate, gate, "recipe", blocked),
        reasons_checks(champion, candidate.scorer, prepared, gate, blocked),
    ):
        assert {check.result for check in checks} == {"note"}
        assert all("leads.source, which the leakage audit now blocks" in c.told for c in checks)
    honest = without(blocking(prepared, "leads.source"), blocked)
    found = verdict_on(
        champion, replace(candidate, scorer=quick_scorer(honest.examples, "2026-01-05")), honest
    )
    promised = [check for check in found.checks if check.name.startswith("promised")]
    assert {check.result for check in promised} == {"note"}
    assert named(list(found.checks), "reasons_in_common").result == "note"
    assert named(list(found.checks), NAME).result == "pass"
    # the recipe without that column is the challenger's own: there is nothing to go by
    assert found.is_same
    assert found.decision == "not_enough_evidence"
    assert "A person has to look at the challenger" in found.why


def test_equal_scores_are_told_as_nothing_shown_and_the_pass_as_that_of_the_promise():
    rows, _ = leads()
    mqls = mqls_of_rows(rows, np.ones(len(rows.won), dtype=bool), 0.2, 0.2)
    for result in ("note", "unclear"):
        checks = paired_checks(rows, mqls, GATE, "recipe", result)
        for name in ("log_loss", "calibration", "precision", "capture"):
            check = named(checks, name)
            assert (check.result, check.worse_by, check.low, check.high) == (result, *[None] * 3)
            assert check.told.startswith(SAME_MODEL)
    prepared, candidate = challenger()
    assert verdict_on(candidate.scorer, candidate, prepared).is_same
    same = Verdict("pass", "1", "abc", "recipe", "", 10, 5, tuple(checks), is_same=True)
    assert "not worse" not in same.lines()[-1]
    assert "pass by the promise checks" in same.lines()[-1]
    assert "champion's recipe does, which shows nothing" in same.lines()[-1]
    assert "not worse" in replace(same, is_same=False).lines()[-1]
    assert "promise" in gate_section(same)["told"]
    assert "not worse" in gate_section(replace(same, is_same=False))["told"]
