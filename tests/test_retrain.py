"""Retraining: which of the two is offered, once per data; what the gate says; runs that are killed.

A retraining is killed at `STOPS`; with CLOSEDWON_ALL_STOPS=1 in the environment at every moment
that `retrain_stops.all_stops` names, one after another.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from retrain_stops import all_stops, try_stop
from small_registry import empty_folder
from small_retraining import Life, asked, copy_life, make_life, old_champion, quick

import training.recipe
import training.reproduce
import training.retrain.retrain
from features.config import Config
from features.errors import InputError
from models.bundle import open_bundle
from models.cutoff import Estimate
from models.forest import Forest
from models.registry import connect, fetch_bundle
from models.scorer import Scorer
from training.candidate import write_candidate
from training.fitting.boost import Rows, booster_parameters, refit
from training.gate.gate import ChampionInUse
from training.gate.snapshots import examples_by
from training.promotion import rollback
from training.recipe import train
from training.reproduce import _candidate, _Original
from training.retrain.choice import Choice, choose_kind
from training.retrain.recalibrated import frozen_fit
from training.retrain.retrain import retrain
from training.retrain.unseen import account_fold, as_champion_reads, unseen_by
from training.steps import Steps

STOPS = ("after:create_model_version:1", "after:set_registered_model_alias:2")
"A version without alias; and the champion moved, but its record not ended."


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> Life:
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("MLFLOW_TRACKING_URI", raising=False)
        return make_life(tmp_path_factory.mktemp("life"), migrated_store)


def aliases(life: Life, root: Path) -> dict[str, str]:
    client = connect(life.config.tracking, root)
    found = client.get_registered_model("closedwon").aliases
    return {alias: str(version) for alias, version in found.items()}


def fetched(life: Life, version: str) -> Scorer:
    return open_bundle(fetch_bundle(version, life.config.tracking, life.root)[0])


def turned_round(life: Life) -> Scorer:
    """A champion that learnt every number with its sign turned: its ranking no longer holds."""
    champion, examples = life.champion, life.kept.prepared.examples
    names = [f.name for f in champion.catalogue.features if f.dtype == "number"]
    turned = examples.snapshots.assign(**{name: -examples.snapshots[name] for name in names})
    matrix = champion.encoder.transform(turned)
    parameters = booster_parameters(champion.facts["parameters"], 0, 1)
    booster = refit(Rows(matrix, examples.won, examples.weight), parameters, 60)
    forest = Forest.of_text(booster.model_to_string())
    return replace(champion, forest=forest, base_raw_score=forest.base_raw_score)


def test_a_champion_that_only_lost_its_level_is_recalibrated(life):
    choice, found = life.told["choice"], life.kept.offered[0]
    assert (life.told["chosen"], found.kind) == ("recalibrated", "recalibrated"), life.told["why"]
    assert "still holds" in life.told["why"]
    assert choice["champion_recalibrated"] < 0.95 * choice["champion_as_is"]
    champion = fetched(life, "1")
    assert fetched(life, "2").calibration == found.scorer.calibration
    # both what is shipped and what is evaluated have moved most of the way to the truth
    own = life.kept.offered[1]
    examples, rows = own.examples, unseen_by(champion, own).rows
    won, weight, snapshots = examples.won[rows], examples.weight[rows], examples.snapshots[rows]
    rate = np.average(won, weights=weight)
    before = champion.score(snapshots)["probability"].to_numpy()
    shipped = found.scorer.score(snapshots)["probability"].to_numpy()
    was = np.average(before, weights=weight)
    assert was > 2 * rate
    for scores in (shipped, found.evaluation.fitted.probability(snapshots)):
        now = np.average(scores, weights=weight)
        assert abs(now - rate) < 0.3 * abs(was - rate), (was, now, rate)
    np.testing.assert_array_equal(*(np.argsort(s, kind="stable") for s in (shipped, before)))
    np.testing.assert_array_equal(
        found.scorer.raw_scores(snapshots), champion.raw_scores(snapshots)
    )


def test_a_champion_whose_ranking_broke_is_replaced_by_the_trained_model(life):
    champion = turned_round(life)
    own = as_champion_reads(champion, life.kept.prepared, None)
    choice, _ = choose_kind(champion, life.kept.trained, life.kept.prepared, own)
    assert choice.chosen == "trained"
    assert "no longer holds" in choice.why
    assert choice.gain.low > 0


def test_too_few_new_wins_recalibrate_nothing(life):
    asks_more = life.config.model_copy(
        update={"retrain": life.config.retrain.model_copy(update={"min_new_wins": 9_999})}
    )
    few = replace(life.kept.prepared, config=asks_more)
    own = as_champion_reads(life.champion, few, None)
    choice, unseen = choose_kind(life.champion, life.kept.trained, few, own)
    assert (choice.chosen, unseen) == ("trained", None)
    assert "9999" in choice.why


def test_no_row_is_evaluated_by_a_model_that_saw_its_outcome(life):
    champion, stand_in = life.champion, life.kept.trained.evaluation.fitted
    own = as_champion_reads(champion, life.kept.prepared, None)
    unseen = unseen_by(champion, own)
    examples, split = own.examples, own.split
    newest_seen = np.datetime64(champion.facts["window"]["until"], "D")
    was_seen = examples.as_of.astype("datetime64[D]") <= newest_seen
    assert (was_seen == ~unseen.rows).all()
    first = pd.Timestamp(examples.as_of[was_seen][-1]) - pd.Timedelta(days=1)
    overlapping = replace(own, split=replace(split, test_from=first))
    fitted = frozen_fit(stand_in, champion, unseen, overlapping)
    snapshots = examples.snapshots
    # a row the champion saw: by a stand-in that knows the fit part only
    seen = snapshots[was_seen].tail(200)
    np.testing.assert_array_equal(fitted.probability(seen), stand_in.probability(seen))
    # the others: by the forest, its calibration untouched by outcomes of the row's fold
    rows = snapshots[unseen.rows]
    fold = account_fold(examples.account)
    turned = (fold == 0) & unseen.rows
    won = np.where(turned, 1 - examples.won, examples.won)
    days = np.where(won > 0, np.nan_to_num(examples.days_to_win, nan=5.0), np.nan)
    changed = replace(overlapping, examples=replace(examples, won=won, days_to_win=days))
    again = frozen_fit(stand_in, champion, unseen, changed)
    same = np.isclose(again.probability(rows), fitted.probability(rows), rtol=1e-9)
    assert len(fitted.calibrations) > 1
    assert same[fold[unseen.rows] == 0].all()
    assert not same[fold[unseen.rows] != 0].any()


def test_the_bundle_holds_the_settings_it_was_made_of(life, tmp_path):
    write_candidate(life.kept.trained, life.kept.prepared, tmp_path / "bundle")
    kept = json.loads((tmp_path / "bundle" / "config.json").read_text(encoding="utf-8"))
    assert not {"databases", "tracking", "serving", "gate", "retrain", "monitor"} & set(kept)
    assert Config.model_validate(kept).training == life.config.training
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["facts"]["config"] == manifest["files"]["config.json"]["sha256"]
    assert life.kept.trained.scorer.facts["data_until"] == "2026-01-05"


def test_without_a_pass_the_champion_stays_and_the_exit_code_is_3(life):
    told = life.told
    assert life.exit_code == 3
    assert (told["outcome"], told["model_version"], told["alias"]) == ("made", "2", "challenger")
    assert told["decision"] == told["gate"]["decision"] == "not_enough_evidence"
    assert (told["champion_before"], told["promoted"], told["promotion"]) == ("1", False, None)
    assert told["beats_base_rate"] == (life.kept.offered[0].evaluation.skill.low > 0)
    assert {"warnings", "report", "seconds"} <= set(told)
    page = (life.root / ".closedwon" / "report.html").read_text(encoding="utf-8")
    assert "May it take the place of version 1" in page


def test_the_same_data_make_one_challenger_only(life):
    code, again = asked(life.crm, life.root, "--promote")
    assert (code, again["outcome"], again["model_version"]) == (3, "nothing_new", "2")
    assert again["gate"] == life.told["gate"]
    assert again["choice"] == life.told["choice"]
    assert aliases(life, life.root) == {"champion": "1", "challenger": "2"}


def test_what_a_stopped_run_left_is_finished_and_a_rollback_is_not_undone(life, tmp_path):
    root = copy_life(life.root, tmp_path / "life")
    client = connect(life.config.tracking, root)
    client.delete_registered_model_alias("closedwon", "challenger")
    (root / ".closedwon" / ".retrain-left").mkdir()
    with quick(life):
        assert asked(life.crm, root)[1]["alias"] == "challenger"
        assert not (root / ".closedwon" / ".retrain-left").exists()

        judged = json.loads(client.get_model_version("closedwon", "2").tags["gate"])
        passed = json.dumps({**judged, "decision": "pass"})
        client.set_model_version_tag("closedwon", "2", "gate", passed)
        client.set_model_version_tag("closedwon", "2", "beats_base_rate", "yes")
        code, promoted = asked(life.crm, root, "--promote")
        assert (code, promoted["promoted"], promoted["alias"]) == (0, True, "champion")
        assert aliases(life, root) == {"champion": "2"}
        code, again = asked(life.crm, root, "--promote")
        assert (code, again["outcome"], again["promoted"]) == (0, "nothing_new", False)

        rollback(life.config, root, None, "sales complained")
        code, stays = asked(life.crm, root, "--promote")
        assert (code, stays["outcome"], stays["promoted"]) == (0, "nothing_new", False)
    assert aliases(life, root) == {"champion": "1"}
    assert fetch_bundle("champion", life.config.tracking, root)[1] == "1"


def test_no_champion_means_a_first_training(life, tmp_path, migrated_store):
    root = empty_folder(tmp_path, migrated_store)
    with quick(life, has_champion=False):
        first = retrain(life.config, life.crm, root, Steps(), may_promote=True)
        assert (first.outcome, first.alias, first.choice) == ("made", "champion", None)
        assert not first.is_refused
        again = retrain(life.config, life.crm, root, Steps(), may_promote=True)
    assert (again.outcome, again.version) == ("nothing_new", first.version)


def test_a_recalibrated_version_is_made_again_from_what_its_champion_reads(
    life, tmp_path, monkeypatch
):
    # As if a new event type had come up since the champion was trained.
    prepared, trained = life.kept.prepared, life.kept.trained
    catalogue = prepared.examples.catalogue
    newest, _ = Counter(f.stream for f in catalogue.features).most_common()[-1]
    older = tuple(f for f in catalogue.features if f.stream != newest)
    fewer = replace(catalogue, features=older)
    champion = old_champion(replace(prepared, examples=examples_by(fewer, prepared)))
    original = _Original(
        tmp_path, "2", {}, False, None, ChampionInUse("1", "0" * 64, champion)
    )  # fmt: skip
    monkeypatch.setattr(training.reproduce, "train_candidate", lambda *_: trained)
    candidate, own = _candidate(original, prepared, Steps())
    assert trained.scorer.catalogue != fewer
    assert candidate.scorer.catalogue == own.examples.catalogue == fewer
    assert candidate.scorer.forest == champion.forest
    other = replace(original.frozen, scorer=replace(champion, horizon_days=30))
    with pytest.raises(InputError, match=r"2 cannot be recalibrated again. .*horizon is 30 days"):
        _candidate(replace(original, frozen=other), prepared, Steps())


def test_a_champion_that_is_fine_stays_and_is_not_asked_about_twice(life, tmp_path, monkeypatch):
    root = copy_life(life.before, tmp_path / "life")
    choice = Choice("champion", "It is fine.", 40, 900, gain=Estimate(0.0, -0.01, 0.01))
    with quick(life):
        fine = lambda *_: (None, life.kept.prepared, choice)  # noqa: E731
        monkeypatch.setattr(training.retrain.retrain, "_candidate", fine)
        code, first = asked(life.crm, root, "--promote")
        monkeypatch.setattr(training.retrain.retrain, "prepare_loaded", None)  # not asked again
        again_code, again = asked(life.crm, root, "--promote")
    assert (code, first["outcome"], first["model_version"]) == (0, "champion_stays", "1")
    assert (first["chosen"], first["choice"]["new_wins"], first["gate"]) == ("champion", 40, None)
    assert again_code == 0
    assert {**again, "seconds": None} == {**first, "seconds": None}
    assert aliases(life, root) == {"champion": "1"}


def test_a_retraining_right_after_a_training_finds_nothing_new(life, tmp_path, migrated_store):
    root = empty_folder(tmp_path, migrated_store)
    with quick(life, has_champion=False), pytest.MonkeyPatch.context() as replaced:
        replaced.setattr(training.recipe, "prepare", lambda *_: life.kept.prepared)
        replaced.setattr(training.recipe, "train_candidate", lambda *_: life.kept.trained)
        trained = train(life.config, life.crm, root, Steps())
        connect(life.config.tracking, root).set_registered_model_alias("closedwon", "champion", "1")
        again = retrain(life.config, life.crm, root, Steps())
    assert trained.registered.model_version == again.version == "1"
    assert (again.outcome, again.alias, again.is_refused) == ("nothing_new", "champion", False)


@pytest.mark.parametrize("stop", all_stops() if os.environ.get("CLOSEDWON_ALL_STOPS") else STOPS)
def test_a_killed_run_leaves_a_champion_and_the_next_one_finishes(life, stop):
    found = try_stop(stop, life)
    after, then = found["after"], found["then"]
    assert found["signal"] == 9
    assert after["dangling"] == then["dangling"] == []
    # the challenger passed: once its promotion was under way either may be champion
    assert after["champion"] in ("1", "2")
    if "alias" not in stop and "tag" not in stop:
        assert after["champion"] == "1"
    assert found["next"]["left"] == []
    assert then["champion"] == found["next"]["version"]
    assert "pending" not in then["records"]
    # what was registered before the kill is not made again
    assert then["versions"] == max(2, after["versions"])
