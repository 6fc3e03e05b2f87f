"""The whole recipe on a small demo CRM and on flat exports, MLflow included."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from flat_files import write_flat
from small_crm import small_config, small_demo, small_evaluation, small_examples, small_tables

from features.config import Config
from features.errors import InputError
from features.loading.load_report import LoadReport
from features.loading.sources import load_tables
from features.snapshots import mondays
from models.bundle import open_bundle
from models.registry import connect, fetch_bundle
from models.rules import RulesScorer, read_rules
from training.comparison.command import compare_with_rules
from training.comparison.record import read_record
from training.demo import demo_rules
from training.drift import drift_of
from training.evaluation import evaluate_recipe, split_examples
from training.metrics import auc, log_loss
from training.recipe import HEADLINES, Training, examples_of, load, train
from training.report.report import write_report
from training.report.summary import summary_lines
from training.simulate import simulate, write_demo
from training.steps import Steps

REPO = Path(__file__).parents[1]
CONFIG = small_config(training={"folds": 2})


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def working_folder(path: Path, store: Path) -> Path:
    (path / ".closedwon").mkdir(parents=True)
    shutil.copy(store, path / ".closedwon" / "mlflow.db")
    return path


@pytest.fixture(scope="module")
def crm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crm")
    write_demo(small_demo(), folder)
    return folder


@pytest.fixture(scope="module")
def trained(
    crm: Path, tmp_path_factory: pytest.TempPathFactory, migrated_store: Path
) -> tuple[Path, list[Training]]:
    """A working folder and the two trainings in it; the second has another seed."""
    root = working_folder(tmp_path_factory.mktemp("root"), migrated_store)
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("MLFLOW_TRACKING_URI", raising=False)
        (root / "rules.toml").write_text(demo_rules(), encoding="utf-8")
        rules = read_rules(root / "rules.toml")
        second = small_config(training={"seed": 1, "folds": 2})
        return root, [
            train(CONFIG, crm, root, Steps(), rules),
            train(second, crm, root, Steps()),
        ]


def bundle_files(root: Path, model_id: str) -> dict[str, bytes]:
    """The files of a model's bundle in the store of `root`."""
    stored = root / ".closedwon" / "mlartifacts"
    folder = next(stored.rglob(f"{model_id}/artifacts/artifacts/bundle"))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_first_model_becomes_champion_and_the_second_its_challenger(trained):
    root, (first, second) = trained
    assert (first.registered.alias, second.registered.alias) == ("champion", "challenger")
    assert first.beats_base_rate
    assert fetch_bundle("champion", CONFIG.tracking, root)[1] == first.registered.model_version
    assert fetch_bundle("challenger", CONFIG.tracking, root)[1] == second.registered.model_version


def test_the_registered_bundle_scores_as_the_trained_scorer(trained):
    root, (first, _) = trained
    fetched = open_bundle(fetch_bundle("champion", CONFIG.tracking, root)[0])
    rows = small_examples().snapshots.tail(500)
    pd.testing.assert_frame_equal(fetched.score(rows), first.scorer.score(rows))
    assert fetched.cutoff == first.evaluation.cutoff
    assert fetched.facts == json.loads(json.dumps(first.facts))


def test_mlflow_scores_with_the_champion_as_we_do(trained):
    import mlflow

    root, (first, _) = trained
    connect(CONFIG.tracking, root)
    model = mlflow.pyfunc.load_model("models:/closedwon@champion")
    rows = small_examples().snapshots.head(50)
    found = pd.DataFrame(model.predict(rows))
    pd.testing.assert_frame_equal(found, first.scorer.score(rows), check_dtype=False)


def test_the_run_tells_params_metrics_with_intervals_digests_report_and_bundle(trained):
    root, (first, _) = trained
    client = connect(CONFIG.tracking, root)
    run = client.get_run(first.registered.run_id)
    assert run.info.status == "FINISHED"
    for name in (*HEADLINES, "skill"):
        for suffix in ("", "_low", "_high"):
            assert np.isfinite(run.data.metrics[f"test_{name}{suffix}"])
    low, value, high = (run.data.metrics[f"replay_mqls_per_week{s}"] for s in ("_low", "", "_high"))
    assert 0 < low < value < high
    assert run.data.params["training.horizon_days"] == "91"
    assert run.data.params["trees"] == str(first.scorer.forest.n_trees)
    digests = {name for name in run.data.tags if name.startswith("digest.")}
    assert {"digest.leads", "digest.engagement_events", "digest.config"} <= digests
    assert "report.html" in [file.path for file in client.list_artifacts(first.registered.run_id)]
    version = client.get_model_version("closedwon", first.registered.model_version)
    assert version.run_id == first.registered.run_id
    assert {"booster.txt", "scorer.json", "manifest.json"} <= set(
        bundle_files(root, version.source.rsplit("/", 1)[-1])
    )


def test_the_bundle_holds_the_rules_and_the_comparison_without_any_lead(trained):
    root, (first, second) = trained
    folder = fetch_bundle("champion", CONFIG.tracking, root)[0]
    record = read_record(folder)
    assert record == json.loads(json.dumps(first.against.record))
    for name in ("precision", "capture"):
        difference = record["equal_volume"][f"{name}_difference"]
        assert difference["low"] <= difference["value"] <= difference["high"]
    kept = RulesScorer.from_dict(json.loads((folder / "rules.json").read_text(encoding="utf-8")))
    rows = small_examples().snapshots.tail(300)
    pd.testing.assert_frame_equal(kept.score(rows), first.against.rules.score(rows))
    ids = small_tables().leads["lead_id"].unique()
    told = (folder / "comparison.json").read_text() + (folder / "rules.json").read_text()
    assert not [lead for lead in ids if lead in told]
    assert second.against is None
    assert read_record(fetch_bundle("challenger", CONFIG.tracking, root)[0]) is None


def test_compare_tells_what_is_stored_and_computes_it_for_other_rules(trained, crm):
    root, _ = trained

    def compared(name: str, selector: str = "champion"):
        return compare_with_rules(CONFIG, root / name, crm, root, selector, Steps())

    stored = compared("rules.toml")
    assert stored.is_stored
    other = demo_rules().replace("mql_threshold = 70", "mql_threshold = 60")
    (root / "other.toml").write_text(other, encoding="utf-8")
    anew = compared("other.toml")
    assert not anew.is_stored
    assert anew.record["rules_threshold"] == 60
    volumes = [one.record["as_set"]["rules"]["mqls_per_week"]["value"] for one in (stored, anew)]
    assert volumes[0] < volumes[1]
    # the challenger was trained without rules, but kept its weeks; other seeds, the same leads
    later = compared("rules.toml", "challenger")
    assert not later.is_stored
    assert later.record["as_set"]["rules"] == stored.record["as_set"]["rules"]


def test_other_rules_are_not_compared_on_data_that_hold_few_of_the_leads(trained, tmp_path):
    root, _ = trained
    write_demo(simulate(leads=300, seed=9), tmp_path)
    other = demo_rules().replace("mql_threshold = 70", "mql_threshold = 50")
    (tmp_path / "other.toml").write_text(other, encoding="utf-8")
    with pytest.raises(InputError, match=r"hold [\d,]+ of the [\d,]+ leads .* --data"):
        compare_with_rules(CONFIG, tmp_path / "other.toml", tmp_path, root, "champion", Steps())


def test_the_report_begins_with_the_verdict_and_tells_of_funnel_segments_and_drift(trained, crm):
    root, (first, _) = trained
    page = root / ".closedwon" / "with_rules.html"
    findings = (first.funnel, drift_of(small_examples(), first.evaluation.split))
    write_report(first.evaluation, first.scorer, LoadReport((), None, {}), page, None, first.audit,
                 first.against, *findings)  # fmt: skip
    html = page.read_text(encoding="utf-8")
    verdict = first.against.record["sentences"]["verdict"].split(",")[0]
    headings = [
        "Which open leads will close", verdict, "The cutoff, and what it promises",
        "Model against rules", "Do the probabilities hold?", "From MQL to win",
        "What changed between the fit and the test window", "Model card",
    ]  # fmt: skip
    places = [html.index(heading) for heading in headings]
    assert places == sorted(places)
    assert "lead age days" in html[places[6] :]  # a young CRM's leads grow older


def test_nothing_half_made_is_left_beside_the_store_and_the_report(trained):
    root, _ = trained
    left = {path.name for path in (root / ".closedwon").iterdir()}
    known = {"mlflow.db", "mlartifacts", "report.html", "with_rules.html", "rejects"}
    assert left <= {*known, "life.lock"}  # the lock of train, retrain, promote and rollback


def test_the_summary_and_the_json_tell_the_main_figures(trained):
    _, (first, second) = trained
    told = "\n".join(summary_lines(first))
    assert f"Version {first.registered.model_version} is the champion" in told
    assert f"MQL from a probability of {first.scorer.cutoff.value:.1%}" in told
    as_json = json.loads(json.dumps(second.as_dict()))
    assert as_json["alias"] == "challenger"
    assert set(as_json["metrics"]) == set(HEADLINES)
    assert {"value", "low", "high"} == set(as_json["metrics"]["auc"])
    assert as_json["rows"]["all"] > as_json["rows"]["fit"] + as_json["rows"]["test"]  # the gap


TRAIN_AGAIN = """
import sys
from pathlib import Path
from small_crm import small_config
from models.rules import read_rules
from training.candidate import write_candidate
from training.recipe import prepare, train_candidate
from training.steps import Steps
crm, root, rules = map(Path, sys.argv[1:])
prepared = prepare(small_config(training={"folds": 2}), crm, root, Steps())
candidate = train_candidate(prepared, Steps(), read_rules(rules))
write_candidate(candidate, prepared, root / "bundle")
"""


def test_the_same_data_config_and_seed_give_a_byte_identical_bundle(crm, trained, tmp_path):
    """In another process, folder and hash seed, and with the rows of every file shuffled."""
    root, (first, second) = trained
    shuffled = tmp_path / "crm"
    shuffled.mkdir()
    for number, path in enumerate(sorted(crm.glob("*.parquet"))):
        rows = pd.read_parquet(path).sample(frac=1, random_state=number)
        rows.to_parquet(shuffled / path.name, index=False)
    again = tmp_path / "elsewhere"
    again.mkdir()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(REPO), str(REPO / "tests")]),
        "PYTHONHASHSEED": "4711",
    }
    subprocess.run(
        [sys.executable, "-c", TRAIN_AGAIN, shuffled, again, root / "rules.toml"],
        cwd=tmp_path,
        env=environment,
        check=True,
        timeout=300,
    )
    client = connect(CONFIG.tracking, root)
    ours, other = (
        bundle_files(
            root,
            client.get_model_version("closedwon", one.registered.model_version).source.rsplit(
                "/", 1
            )[-1],
        )
        for one in (first, second)
    )
    theirs = {path.name: path.read_bytes() for path in (again / "bundle").iterdir()}
    assert set(ours) == set(theirs)
    for name, content in ours.items():
        assert content == theirs[name], name
    for name in ("booster.txt", "manifest.json"):
        assert ours[name] != other[name]  # another seed, another model


def test_one_row_more_changes_the_digest_of_its_table_only(crm, tmp_path):
    longer = tmp_path / "crm"
    shutil.copytree(crm, longer)
    events = pd.read_parquet(longer / "engagement_events.parquet")
    more = pd.concat([events, events.tail(1).assign(event_id="one-more")])
    more.to_parquet(longer / "engagement_events.parquet", index=False)
    before, after = (load_tables(CONFIG, folder).digests for folder in (crm, longer))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"engagement_events"}


def test_the_model_comes_close_to_the_best_possible_probabilities():
    """Test rows against the truth: no outcome is drawn, so only the training is uncertain."""
    examples, evaluation = small_examples(), small_evaluation()
    rows = examples.snapshots.loc[evaluation.split.is_test, ["lead_id", "as_of"]]
    truth = small_demo().truth.rename(columns={"probability": "best"})
    both = rows.merge(truth, on=["lead_id", "as_of"], how="left")
    best, found = both["best"].to_numpy(), evaluation.test["probability"].to_numpy()
    assert not np.isnan(best).any()
    base = log_loss(best, np.full(len(best), best.mean()))
    share = (base - log_loss(best, found)) / (base - log_loss(best, best))
    assert share > 0.6  # of the skill that is possible at all
    assert auc(best, best) - auc(best, found) < 0.05
    assert found.sum() == pytest.approx(best.sum(), rel=0.25)
    assert found.sum() == pytest.approx(evaluation.test["won"].sum(), rel=0.3)


def test_too_few_wins_train_nothing_and_leave_no_store(crm, tmp_path):
    config = small_config(training={"min_wins": 5_000})
    with pytest.raises(InputError, match=r"won leads in the fit rows; 5000 are needed, so \d+ mor"):
        train(config, crm, tmp_path, Steps())
    assert not (tmp_path / ".closedwon" / "mlflow.db").exists()
    assert not (tmp_path / ".closedwon" / "report.html").exists()


def flat_config(**flat: object) -> Config:
    own = {"path": "flat.csv", "lead_id": "person", "account_id": "firm", **flat}
    return small_config(flat=own, data={"data_until": None}, cutoff={"mqls_per_week": None})


def test_a_dated_flat_export_is_trained_on_and_promises_mqls_a_week(tmp_path, migrated_store):
    truth = write_flat(tmp_path / "flat.csv")
    root = working_folder(tmp_path / "root", migrated_store)
    config = flat_config(as_of="seen", won_at="won_on", drop=["won"])
    done = train(config, tmp_path, root, Steps())
    assert done.registered.alias == "champion"
    assert "mqls_per_week" in done.scorer.cutoff.evidence
    assert "mqls" not in done.scorer.cutoff.evidence
    rows = done.facts["rows"]
    assert rows["fit"] + rows["test"] < rows["all"] < len(truth)  # a gap, and rows not matured
    evaluation = done.evaluation
    examples = examples_of(load(config, tmp_path, root), config)
    row = examples.snapshots["lead_id"].str[1:].astype(int)
    best = truth[row.to_numpy()[evaluation.split.is_test]]
    found = evaluation.test["probability"].to_numpy()
    base = log_loss(best, np.full(len(best), best.mean()))
    assert (base - log_loss(best, found)) / (base - log_loss(best, best)) > 0.85
    first = pd.Timestamp(evaluation.split.test_from)
    assert len(mondays(first, pd.Timestamp(evaluation.split.test_until))) > 10


def test_an_undated_flat_export_is_split_by_account_and_promises_mqls(tmp_path):
    truth = write_flat(tmp_path / "flat.csv")
    config = flat_config(label="won", drop=["seen", "won_on"])
    examples = examples_of(load(config, tmp_path, tmp_path), config)
    split = split_examples(examples, config)
    evaluation = evaluate_recipe(examples, None, config, split, Steps())
    assert (split.is_fit ^ split.is_test).all()
    assert not np.isin(examples.account[split.is_test], examples.account[split.is_fit]).any()
    assert "mqls" in evaluation.cutoff.evidence
    assert "mqls_per_week" not in evaluation.cutoff.evidence
    row = examples.snapshots["lead_id"].str[1:].astype(int).to_numpy()
    best = truth[row[split.is_test]]
    found = evaluation.test["probability"].to_numpy()
    assert np.abs(found - best).mean() < 0.05
    qualified = found >= evaluation.cutoff.value
    assert evaluation.replayed["mqls"].value == qualified.sum()
    assert evaluation.replayed["precision"].value == pytest.approx(
        evaluation.test["won"][qualified].mean()
    )


def test_a_model_that_cannot_beat_the_base_rate_is_not_made_champion(tmp_path, migrated_store):
    write_flat(tmp_path / "flat.csv", has_skill=False)
    root = working_folder(tmp_path / "root", migrated_store)
    config = flat_config(label="won", drop=["seen", "won_on"])
    done = train(config, tmp_path, root, Steps())
    assert not done.beats_base_rate
    assert done.registered.alias == "challenger"
    with pytest.raises(InputError, match="no champion"):
        fetch_bundle("champion", config.tracking, root)
