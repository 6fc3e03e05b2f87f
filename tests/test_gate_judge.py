"""The gate on small CRMs: champion and challenger as they are trained, and planted leaks."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from small_crm import SETTINGS

from features.config import Config
from models.calibration import Calibration
from models.cutoff import Cutoff
from models.encoding import Encoder, fit_encoder
from models.forest import Forest
from models.scorer import Scorer
from training.audit.audit import Evidence, Finding, audit_examples, without_blocked
from training.candidate import Candidate, Prepared
from training.evaluation import evaluate_recipe
from training.examples import Examples, examples_from_tables
from training.facts import training_facts
from training.gate.further import audit_checks, cost_checks, reasons_checks
from training.gate.gate import ChampionInUse, Verdict, judge
from training.gate.rows import mqls_of_weeks
from training.gate.sides import compared
from training.gate.snapshots import examples_by
from training.recipe import prepare
from training.simulate import simulate, write_demo
from training.steps import Steps

TABLES = ("leads", "accounts", "engagement_events", "opportunities", "opportunity_leads",
          "stage_changes", "verdicts", "campaign_costs")  # fmt: skip
LEAKS = ("leads.customer_number", "leads.budget_range")


def settings(**sections: dict[str, Any]) -> Config:
    merged = {**SETTINGS, "tables": {name: {"path": f"{name}.parquet"} for name in TABLES}}
    merged["training"] = {**SETTINGS["training"], "folds": 2}
    merged["gate"] = {"min_wins": 20, "bootstraps": 300, "segment_min_wins": 15}
    for name, values in sections.items():
        merged[name] = {**merged.get(name, {}), **values}
    return Config.model_validate(merged)


@cache
def crm(has_leaks: bool) -> Path:
    folder = Path(tempfile.mkdtemp())
    write_demo(simulate(leads=1_200, seed=3, planted_leaks=has_leaks), folder)
    return folder


def prepared_with(config: Config, has_leaks: bool = False) -> Prepared:
    return prepare(config, crm(has_leaks), Path(tempfile.mkdtemp()), Steps())


def trained(prepared: Prepared) -> Candidate:
    """The recipe's candidate, except that what is shipped is the evaluated model, not a refit."""
    examples, config = prepared.examples, prepared.config
    evaluation = evaluate_recipe(
        examples, prepared.loaded.partitions, config, prepared.split, Steps()
    )
    fitted = evaluation.fitted
    until = pd.Timestamp(config.data.data_until)
    facts = training_facts(examples, evaluation, prepared.audit, fitted, config, until)
    scorer = scorer_of(
        fitted.booster.model_to_string(), fitted.encoder, examples, fitted.calibration, facts
    )
    scorer = replace(scorer, cutoff=evaluation.cutoff)
    return Candidate("trained", evaluation, None, None, scorer)  # type: ignore[arg-type]  # no funnel is looked at


def scorer_of(
    text: str,
    encoder: Encoder,
    examples: Examples,
    calibration: Calibration,
    facts: dict[str, Any],
) -> Scorer:
    forest = Forest.of_text(text)
    return Scorer(
        forest,
        encoder,
        examples.catalogue,
        calibration,
        Cutoff("capacity", {"mqls_per_week": 4.0}, 0.08),
        float(examples.won.mean()),
        91,
        forest.base_raw_score,
        facts,
    )


def quick_scorer(examples: Examples, until: str) -> Scorer:
    """A few trees on all examples; its data are said to have ended on the day `until`."""
    encoder = fit_encoder(examples.snapshots, examples.catalogue)
    parameters = {"objective": "binary", "num_leaves": 7, "num_threads": 1, "seed": 0,
                  "deterministic": True, "force_col_wise": True, "verbose": -1}  # fmt: skip
    rows = lgb.Dataset(encoder.transform(examples.snapshots), examples.won)
    text = lgb.train(parameters, rows, num_boost_round=30).model_to_string()
    facts = {"data_until": until, "parameters": {"num_leaves": 3}, "half_life_days": None}
    return scorer_of(text, encoder, examples, Calibration.identity(), facts)


@cache
def challenger() -> tuple[Prepared, Candidate]:
    prepared = prepared_with(settings())
    return prepared, trained(prepared)


@cache
def old_champion() -> Scorer:
    """A champion whose data ended ten months earlier, with decays of its own."""
    config = settings(features={"half_lives_days": [10]})
    partitions = challenger()[0].loaded.partitions
    return quick_scorer(examples_from_tables(partitions, config), "2025-03-03")


def verdict_on(champion: Scorer, candidate: Candidate, prepared: Prepared) -> Verdict:
    return judge(ChampionInUse("1", "abc", champion), candidate, prepared, Steps())


def test_the_champion_itself_is_asked_where_enough_leads_won_after_its_data_ended():
    prepared, candidate = challenger()
    found = compared(old_champion(), candidate, prepared)
    assert found.baseline == "champion"
    assert "2025-03-04" in found.why
    since = pd.Timestamp("2025-03-04").to_datetime64()
    rows = prepared.split.is_test & (prepared.examples.as_of >= since)
    assert len(found.rows.won) == rows.sum()
    own = examples_by(old_champion().catalogue, prepared).snapshots[rows]
    expected = old_champion().score(own)["probability"].to_numpy()
    np.testing.assert_array_equal(found.rows.champion, expected)
    np.testing.assert_array_equal(
        found.rows.challenger, candidate.evaluation.fitted.probability(
            prepared.examples.snapshots[rows]
        )
    )  # fmt: skip


def test_snapshots_of_another_catalogue_are_those_it_was_trained_on():
    prepared, _ = challenger()
    again = examples_by(old_champion().catalogue, prepared)
    keys = ["lead_id", "as_of"]
    pd.testing.assert_frame_equal(again.snapshots[keys], prepared.examples.snapshots[keys])
    config = settings(features={"half_lives_days": [10]})
    expected = examples_from_tables(prepared.loaded.partitions, config)
    names = [n for n in old_champion().catalogue.names if n in expected.catalogue.names]
    assert any("10" in name for name in names)
    pd.testing.assert_frame_equal(again.snapshots[names], expected.snapshots[names])


def test_without_enough_unseen_wins_the_recipe_stands_in_and_the_verdict_says_so():
    prepared, candidate = challenger()
    found = verdict_on(candidate.scorer, candidate, prepared)
    assert found.baseline == "recipe"
    assert "0 won accounts; 20 are needed" in found.why
    assert "the challenger's own recipe" in found.why
    won = prepared.split.is_test & (prepared.examples.won > 0)
    assert found.wins == len(set(prepared.examples.account[won]))
    told = "\n".join(found.lines())
    assert "champion's recipe  challenger" in told
    assert "the champion's recipe predicts" in told
    assert "latency" in told[told.index("\ncheck  ", told.index("calibration")) :]


def test_another_recipe_is_fitted_on_the_challengers_fit_rows():
    prepared, candidate = challenger()
    facts = {**candidate.scorer.facts, "parameters": {"num_leaves": 3}}
    other = replace(candidate.scorer, facts=facts)
    found = compared(other, candidate, prepared)
    assert found.baseline == "recipe"
    assert "own recipe" not in found.why
    assert not np.array_equal(found.rows.champion, found.rows.challenger)
    assert len(found.rows.won) == prepared.split.is_test.sum()


def test_the_recipe_leaves_out_what_the_audit_blocks():
    prepared, candidate = challenger()
    column = "leads.source"
    evidence = Evidence("filled_only_for_winners", "block", {}, "Filled for winners only.")
    finding = Finding(column, "block", (evidence,))
    blocking = replace(prepared.audit, findings=(finding,))
    found = compared(candidate.scorer, candidate, replace(prepared, audit=blocking))
    assert found.baseline == "recipe"
    assert f"reads {column}, which the leakage audit now blocks" in found.why


def test_below_the_stated_wins_the_verdict_is_not_enough_evidence():
    prepared, candidate = challenger()
    gate = prepared.config.gate.model_copy(update={"min_wins": 100_000})
    strict = replace(prepared, config=prepared.config.model_copy(update={"gate": gate}))
    assert verdict_on(candidate.scorer, candidate, strict).decision == "not_enough_evidence"


def test_mqls_are_those_of_both_replays():
    _, candidate = challenger()
    side = candidate.evaluation.test_weeks, candidate.evaluation.cutoff
    found = mqls_of_weeks(side, side)
    replayed = candidate.evaluation.replayed
    mqls = found.champion.mqls.sum()
    assert mqls / candidate.evaluation.replay.weeks == pytest.approx(
        replayed["mqls_per_week"].value
    )
    assert found.champion.won.sum() / mqls == pytest.approx(replayed["precision"].value)
    assert found.challenger.captured.sum() / found.wins.sum() == pytest.approx(
        replayed["capture"].value
    )


def test_the_verdict_is_told_in_full():
    prepared, candidate = challenger()
    found = verdict_on(old_champion(), candidate, prepared)
    told = "\n".join(found.lines())
    for check in found.checks:
        assert check.name in told
    assert found.why in told
    assert told.splitlines()[-1].startswith("Verdict: ")
    plain = found.as_dict()
    assert plain["decision"] == found.decision
    assert {"log_loss", "calibration", "precision", "capture", "audit", "reasons_in_common",
            "newest_reason", "latency", "size"} <= {c["name"] for c in plain["checks"]}  # fmt: skip


@cache
def planted(overruled: tuple[str, ...]) -> Prepared:
    """A CRM with planted leaks; those `overruled` are used against the audit's evidence."""
    config = settings(features={"known_at_creation": list(overruled)})
    if not overruled:
        return prepared_with(config, True)
    audited = planted(())
    everything = examples_from_tables(audited.loaded.partitions, config)
    audit = audit_examples(everything, audited.tables, config, partitions=audited.loaded.partitions)
    examples = without_blocked(everything, audit)
    return replace(audited, config=config, audit=audit, examples=examples)


@cache
def leaking() -> Candidate:
    return trained(planted(LEAKS))


@cache
def honest() -> Scorer:
    return quick_scorer(planted(()).examples, "2026-01-05")


def test_training_leaves_planted_leaks_out_so_that_there_is_nothing_to_refuse():
    prepared = planted(())
    assert set(LEAKS) <= set(prepared.audit.blocked())
    assert not set(LEAKS) & {feature.stream for feature in honest().catalogue.features}
    assert audit_checks(honest(), honest(), prepared)[0].result == "pass"


def test_a_leak_that_wins_on_held_out_rows_is_refused_by_the_audit_though_overruled():
    prepared = planted(LEAKS)
    assert not set(LEAKS) & set(prepared.audit.blocked())
    found = verdict_on(honest(), leaking(), prepared)
    results = {check.name: check.result for check in found.checks}
    assert results["log_loss"] == "pass"
    assert next(c for c in found.checks if c.name == "log_loss").worse_by < -0.1  # it wins
    refused = {
        c.told.split(":")[0] for c in found.checks if c.name == "audit" and c.result == "fail"
    }
    assert refused == set(LEAKS)
    assert found.decision == "refuse"


def test_a_leak_that_got_round_the_audit_is_refused():
    audited = planted(())
    everything = examples_from_tables(audited.loaded.partitions, audited.config)
    bypassed = replace(audited, examples=everything)
    found = verdict_on(honest(), leaking(), bypassed)
    assert found.decision == "refuse"
    assert {"fail"} == {c.result for c in found.checks if c.name == "audit"}


def test_a_column_once_admitted_by_a_person_is_a_note_from_then_on():
    checks = audit_checks(leaking().scorer, leaking().scorer, planted(LEAKS))
    assert [check.result for check in checks] == ["pass", "note", "note"]
    # but only while the user still says so
    checks = audit_checks(leaking().scorer, leaking().scorer, planted(()))
    assert {check.result for check in checks} == {"fail"}


def test_a_leak_is_the_newest_reason():
    found = reasons_checks(honest(), leaking().scorer, planted(LEAKS), planted(LEAKS).config.gate)
    assert [check.result for check in found if check.name == "newest_reason"] == ["fail"]
    same = reasons_checks(honest(), honest(), planted(()), planted(()).config.gate)
    assert [check.result for check in same] == ["pass", "pass"]
    assert same[0].challenger == pytest.approx(1)


def test_a_slow_or_large_challenger_fails_only_where_somebody_would_notice():
    prepared, candidate = challenger()
    gate = prepared.config.gate
    results = [c.result for c in cost_checks(old_champion(), candidate.scorer, prepared, gate)]
    assert results == ["pass", "pass"]
