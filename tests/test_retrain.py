"""Retraining: which of the two is offered, once per data, and what the gate makes of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_crm import small_config, small_demo
from small_registry import empty_folder
from typer.testing import CliRunner

import closedwon
from features.config import Config
from models.cutoff import Cutoff
from models.forest import Forest
from models.registry import connect, fetch_bundle
from models.scorer import Scorer
from training.candidate import Candidate, Prepared, write_candidate
from training.fitting.boost import DEFAULTS, Rows, booster_parameters, refit
from training.fitting.fit import Choices, fit_model
from training.gate.gate import ChampionInUse
from training.promotion import rollback
from training.recipe import prepare, train, train_candidate
from training.retrain.choice import account_fold, choose_kind
from training.retrain.recalibrated import frozen_fit, recalibrated_candidate
from training.retrain.retrain import retrain
from training.retrain.unseen import as_champion_reads, unseen_by
from training.simulate import write_demo
from training.steps import Steps

SETTINGS = {"gate": {"min_wins": 10_000}, "retrain": {"min_new_wins": 15}}
EARLY = small_config(data={"data_until": "2025-07-01"}, **SETTINGS)
LATE = small_config(**SETTINGS)
# twice the snapshots, so that even the first half of this small history beats the base rate
FIRST = small_config(data={"data_until": "2025-07-01"}, snapshots={"every_days": 28}, **SETTINGS)


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def crm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crm")
    write_demo(small_demo(), folder)
    return folder


@dataclass(frozen=True)
class HalfYear:
    """A champion of half a year ago, and what a new training of today came to."""

    champion: Scorer
    prepared: Prepared
    trained: Candidate


def old_champion(prepared: Prepared) -> Scorer:
    """What `train` would ship, without an evaluation."""
    examples = prepared.examples
    choices = Choices(dict(DEFAULTS), None)
    fitted = fit_model(examples, np.ones(len(examples.won), dtype=bool), choices, prepared.config)
    forest = Forest.of_text(fitted.booster.model_to_string())
    facts = {
        "window": {"from": None, "until": str(examples.as_of.max())[:10]},
        "data_until": "2025-07-01",
        "parameters": choices.parameters,
        "half_life_days": None,
        "trees": fitted.cross_fit.trees,
    }
    rate = float(np.average(examples.won, weights=examples.weight))
    return Scorer(
        forest, fitted.encoder, examples.catalogue, fitted.calibration,
        Cutoff("capacity", {"mqls_per_week": 4.0}, 0.1), rate, 91, forest.base_raw_score, facts,
    )  # fmt: skip


@pytest.fixture(scope="module")
def half_year(crm: Path, tmp_path_factory: pytest.TempPathFactory) -> HalfYear:
    root = tmp_path_factory.mktemp("alone")
    early = prepare(EARLY, crm, root, Steps())
    late = prepare(LATE, crm, root, Steps())
    return HalfYear(old_champion(early), late, train_candidate(late, Steps(), None))


def too_high(champion: Scorer, log_odds: float) -> Scorer:
    """The same ranking, its level as if far more leads closed."""
    old = champion.calibration
    values = tuple(value + log_odds for value in old.calibrated)
    return replace(champion, calibration=replace(old, calibrated=values))


def turned_round(half_year: HalfYear) -> Scorer:
    """A champion that learnt every number with its sign turned: its ranking no longer holds."""
    champion, examples = half_year.champion, half_year.prepared.examples
    names = [f.name for f in champion.catalogue.features if f.dtype == "number"]
    turned = examples.snapshots.assign(**{name: -examples.snapshots[name] for name in names})
    matrix = champion.encoder.transform(turned)
    parameters = booster_parameters(champion.facts["parameters"], 0, 1)
    booster = refit(Rows(matrix, examples.won, examples.weight), parameters, 60)
    forest = Forest.of_text(booster.model_to_string())
    return replace(champion, forest=forest, base_raw_score=forest.base_raw_score)


def test_a_champion_that_only_lost_its_level_is_recalibrated(half_year):
    champion = too_high(half_year.champion, log_odds=1.5)
    own = as_champion_reads(champion, half_year.prepared, None)
    choice, unseen = choose_kind(champion, half_year.trained, half_year.prepared, own)
    assert choice.chosen == "recalibrated", choice.why
    assert "still holds" in choice.why
    assert choice.champion_recalibrated < 0.95 * choice.champion_as_is
    found = recalibrated_candidate(
        ChampionInUse("1", "digest", champion), half_year.trained, unseen, own, Steps(), None
    )
    assert found.scorer.forest is champion.forest
    assert found.scorer.facts["recalibrates"] == "digest"
    # both what is shipped and what is evaluated have moved most of the way to the truth
    examples, rows = own.examples, unseen.rows
    won, weight, snapshots = examples.won[rows], examples.weight[rows], examples.snapshots[rows]
    rate = np.average(won, weights=weight)
    was = np.average(champion.score(snapshots)["probability"], weights=weight)
    assert was > 2 * rate
    for scores in (
        found.scorer.score(snapshots)["probability"].to_numpy(),
        found.evaluation.fitted.probability(snapshots),
    ):
        now = np.average(scores, weights=weight)
        assert abs(now - rate) < 0.3 * abs(was - rate), (was, now, rate)
    order, before = (
        np.argsort(scorer.score(snapshots)["probability"].to_numpy(), kind="stable")
        for scorer in (found.scorer, champion)
    )
    np.testing.assert_array_equal(order, before)


def test_a_champion_whose_ranking_broke_is_replaced_by_the_trained_model(half_year):
    champion = turned_round(half_year)
    own = as_champion_reads(champion, half_year.prepared, None)
    choice, _ = choose_kind(champion, half_year.trained, half_year.prepared, own)
    assert choice.chosen == "trained"
    assert "no longer holds" in choice.why
    assert choice.gain.low > 0


def test_too_few_new_wins_recalibrate_nothing(half_year):
    asks_more = small_config(**{**SETTINGS, "retrain": {"min_new_wins": 9_999}})
    few = replace(half_year.prepared, config=asks_more)
    own = as_champion_reads(half_year.champion, few, None)
    choice, unseen = choose_kind(half_year.champion, half_year.trained, few, own)
    assert (choice.chosen, unseen) == ("trained", None)
    assert "9999" in choice.why


def test_no_row_is_evaluated_by_a_model_that_saw_its_outcome(half_year):
    champion = half_year.champion
    own = as_champion_reads(champion, half_year.prepared, None)
    unseen, stand_in = unseen_by(champion, own), half_year.trained.evaluation.fitted
    examples, split = own.examples, own.split
    newest_seen = np.datetime64(champion.facts["window"]["until"], "D")
    was_seen = examples.as_of.astype("datetime64[D]") <= newest_seen
    assert (was_seen == ~unseen.rows).all()
    first = pd.Timestamp(examples.as_of[was_seen][-1]) - pd.Timedelta(days=1)
    overlapping = replace(own, split=replace(split, test_from=first))
    fitted = frozen_fit(stand_in, champion, unseen, overlapping)
    snapshots = examples.snapshots
    if set(stand_in.encoder.columns) <= set(snapshots.columns):
        # a row the champion saw: by a stand-in that knows the fit part only
        seen = snapshots[was_seen].tail(200)
        np.testing.assert_array_equal(fitted.probability(seen), stand_in.probability(seen))
    # the others: by the forest, its calibration untouched by outcomes of the row's fold
    rows = snapshots[unseen.rows]
    fold = account_fold(snapshots)
    turned = (fold == 0) & unseen.rows
    won = np.where(turned, 1 - examples.won, examples.won)
    days = np.where(won > 0, np.nan_to_num(examples.days_to_win, nan=5.0), np.nan)
    changed = replace(overlapping, examples=replace(examples, won=won, days_to_win=days))
    again = frozen_fit(stand_in, champion, unseen, changed)
    same = np.isclose(again.probability(rows), fitted.probability(rows), rtol=1e-9)
    assert len(fitted.calibrations) > 1
    assert same[account_fold(rows) == 0].all()
    assert not same[account_fold(rows) != 0].any()


def test_the_bundle_holds_the_settings_it_was_made_of(half_year, tmp_path):
    write_candidate(half_year.trained, half_year.prepared, tmp_path / "bundle")
    kept = json.loads((tmp_path / "bundle" / "config.json").read_text(encoding="utf-8"))
    assert not {"databases", "tracking", "serving", "gate", "retrain", "monitor"} & set(kept)
    assert Config.model_validate(kept).training == LATE.training
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["facts"]["config"] == manifest["files"]["config.json"]["sha256"]
    assert half_year.trained.scorer.facts["data_until"] == "2026-01-05"


TOML = """
[data]
data_until = 2026-01-05
[snapshots]
every_days = 28
[features]
windows_days = [30]
half_lives_days = [30]
[training]
trials = 0
min_wins = 20
bootstraps = 30
num_threads = 1
[cutoff]
mqls_per_week = 4
[gate]
min_wins = 10000
[retrain]
min_new_wins = 15
"""


@pytest.fixture(scope="module")
def life(crm: Path, tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> Path:
    """A working folder whose champion is half a year old."""
    root = empty_folder(tmp_path_factory.mktemp("life"), migrated_store)
    (root / "closedwon.toml").write_text(TOML, encoding="utf-8")
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("MLFLOW_TRACKING_URI", raising=False)
        assert train(FIRST, crm, root, Steps()).registered.alias == "champion"
    return root


def asked(crm: Path, *options: str) -> tuple[int, dict[str, object]]:
    """Exit code and JSON of `closedwon retrain` in the present folder."""
    ended = CliRunner().invoke(closedwon.app, ["retrain", "--data", str(crm), "--json", *options])
    return ended.exit_code, json.loads(ended.stdout)


def aliases(root: Path) -> dict[str, str]:
    found = connect(LATE.tracking, root).get_registered_model("closedwon").aliases
    return {alias: str(version) for alias, version in found.items()}


def test_the_same_data_make_one_challenger_which_the_gate_judges(
    life: Path, crm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(life)
    code, first = asked(crm, "--promote")
    assert code == 3
    assert (first["outcome"], first["model_version"], first["alias"]) == ("made", "2", "challenger")
    assert first["decision"] == first["gate"]["decision"] == "not_enough_evidence"
    assert first["chosen"] in ("trained", "recalibrated")
    assert first["why"]
    assert not first["promoted"]
    assert aliases(life) == {"champion": "1", "challenger": "2"}
    assert "May it take the place of version 1" in (life / ".closedwon/report.html").read_text()

    code, again = asked(crm, "--promote")
    assert (code, again["outcome"], again["model_version"]) == (0, "nothing_new", "2")
    assert again["gate"] == first["gate"]
    assert again["choice"] == first["choice"]
    assert aliases(life) == {"champion": "1", "challenger": "2"}


def test_what_a_stopped_run_left_is_finished_and_a_rollback_is_not_undone(
    life: Path, crm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(life)
    client = connect(LATE.tracking, life)
    if "challenger" not in aliases(life):
        asked(crm)
    client.delete_registered_model_alias("closedwon", "challenger")
    (life / ".closedwon" / ".retrain-left").mkdir()
    assert asked(crm)[1]["alias"] == "challenger"
    assert not (life / ".closedwon" / ".retrain-left").exists()

    judged = json.loads(client.get_model_version("closedwon", "2").tags["gate"])
    passed = json.dumps({**judged, "decision": "pass"})
    client.set_model_version_tag("closedwon", "2", "gate", passed)
    code, promoted = asked(crm, "--promote")
    assert (code, promoted["promoted"], promoted["alias"]) == (0, True, "champion")
    assert aliases(life) == {"champion": "2"}
    code, again = asked(crm, "--promote")
    assert (code, again["outcome"], again["promoted"]) == (0, "nothing_new", False)

    rollback(LATE, life, None, "sales complained")
    code, stays = asked(crm, "--promote")
    assert (code, stays["outcome"], stays["promoted"]) == (0, "nothing_new", False)
    assert aliases(life) == {"champion": "1"}
    assert fetch_bundle("champion", LATE.tracking, life)[1] == "1"


def test_no_champion_means_a_first_training(
    crm: Path, tmp_path: Path, migrated_store: Path
) -> None:
    root = empty_folder(tmp_path, migrated_store)
    first = retrain(LATE, crm, root, Steps(), may_promote=True)
    assert (first.outcome, first.alias, first.choice) == ("made", "champion", None)
    assert not first.is_refused
    again = retrain(LATE, crm, root, Steps(), may_promote=True)
    assert (again.outcome, again.version) == ("nothing_new", first.version)
