"""`closedwon backtest` as a user runs it, and on leads whose laws change."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from command_line import CONFIG, leftovers, refused, run
from flat_files import write_flat
from small_crm import small_config
from small_model import CATALOGUE, small_snapshots

from training.backtest.backtest import Backtest, replay_months
from training.comparison.telling import direction
from training.examples import Examples
from training.report.backtest_page import write_backtest_page
from training.steps import Steps

DATED = CONFIG.replace('label = "won"', 'as_of = "seen"\nwon_at = "won_on"')
DATED = DATED.replace('drop = ["seen", "won_on"]', 'drop = ["won"]')


@cache
def drifting(has_drift: bool) -> Backtest:
    """A backtest of two years of leads; from half of them on, what counts most is reversed."""
    random, rows = np.random.default_rng(5), 3_000
    snapshots = small_snapshots(rows, seed=5)
    snapshots["is_eligible"] = True
    days = np.sort(random.integers(0, 730, rows)).astype("timedelta64[D]")
    snapshots["as_of"] = (np.datetime64("2024-01-01") + days).astype("datetime64[us]")
    signal = snapshots["pricing_view_count_30d"].to_numpy(float) - 1
    turned = np.where(has_drift & (days > np.timedelta64(365, "D")), -1.0, 1.0)
    log_odds = -1.5 + turned * signal + 0.7 * (snapshots["industry"] == "Software")
    won = (random.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(float)
    examples = Examples(
        catalogue=CATALOGUE,
        snapshots=snapshots,
        won=won,
        days_to_win=np.where(won > 0, 10.0, np.nan),
        opportunity=np.where(won > 0, snapshots["lead_id"], "").astype(str),
        weight=np.ones(rows),
        account=np.arange(rows),
        is_dated=True,
    )
    config = small_config(training={"horizon_days": 28, "folds": 2}, cutoff={"mqls_per_week": 4})
    return replay_months(examples, None, config, Steps(), None, 7)


def test_where_the_laws_change_never_retraining_is_worse_and_said_to_be():
    found = drifting(has_drift=True)
    never = found.cadence(None)
    assert direction(never.scores["log_loss"]) > 0
    assert direction(never.scores["auc"]) < 0
    assert direction(never.equal_volume["found"]) < 0
    told = found.as_dict()["sentences"]
    assert "Never retraining makes the probabilities worse" in told["retraining"]
    assert "no reason to retrain" not in told["cadence"]


def test_where_nothing_changes_nothing_is_claimed():
    found = drifting(has_drift=False)
    never = found.cadence(None)
    assert abs(never.scores["log_loss_share"].value) < 0.02
    assert direction(never.equal_volume["found"]) == 0
    assert "that may be chance" in found.as_dict()["sentences"]["retraining"]


def test_the_matrix_holds_every_model_in_every_later_month():
    found = drifting(has_drift=True)
    count = len(found.months)
    assert count == 7 and len(found.matrix) == count * (count + 1) // 2
    assert all(cell["model"] <= cell["month"] for cell in found.matrix)
    oldest = [cell for cell in found.matrix if cell["age_months"] == count - 1]
    assert [cell["model"] for cell in oldest] == [found.months[0]["month"]]


def test_the_same_backtest_gives_the_same_page(tmp_path):
    found = drifting(has_drift=True)
    one, other = (write_backtest_page(found, tmp_path / name) for name in ("1.html", "2.html"))
    assert one.read_bytes() == other.read_bytes()
    page = one.read_text()
    assert "How a model ages" in page and page.count("<svg") >= 10
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_the_command_prints_json_and_leaves_a_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_flat(tmp_path / "export.csv", rows=1_500)
    Path("closedwon.toml").write_text(DATED)
    ran = run("backtest", "--months", "3", "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert len(found["months"]) == 3
    assert set(found["cadences"]) == {"every month", "every 2 months", "never"}
    assert set(found["by_month"]) == {"every month", "never"}
    assert found["against_rules"] == {}
    assert {"retraining", "ageing", "cadence"} <= set(found["sentences"])
    assert Path(found["page"]) == Path(".closedwon/backtest.html")
    assert "What retraining brings" in Path(found["page"]).read_text()
    assert not Path(".closedwon/mlflow.db").exists() and not leftovers(tmp_path)


def test_a_flat_export_without_dates_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_flat(tmp_path / "export.csv", rows=600)
    Path("closedwon.toml").write_text(CONFIG)
    assert "The rows have no dates" in refused(run("backtest"))


@pytest.mark.parametrize("name", ["page.txt", "missing/page.html"])
def test_a_page_that_cannot_be_written_is_refused_before_the_work(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("closedwon.toml").write_text(CONFIG)
    assert "Choose another --output" in refused(run("backtest", "--output", name))
