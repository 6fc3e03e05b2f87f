"""The watch: each trouble raises its own finding, calm weeks raise none, and runs are kept."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import in_folder, refused, run
from scipy.special import expit
from small_model import small_scorer, small_snapshots
from small_registry import empty_folder
from small_watch import fitted_scorer

import models.registry
from features.config import Config, PopulationConfig, TrackingConfig
from features.loading.sources import load_tables
from features.snapshots import Past, lead_weeks
from models.bundle import rescore_golden, write_bundle
from models.calibration import Calibration
from models.cutoff import Estimate
from models.golden import synthesise_rows
from models.scorer import Scorer
from serving.api.metrics import Metrics
from training.monitor.bands import Bands
from training.monitor.evidence import WeeklyWins, parting
from training.monitor.expectations import expectations
from training.monitor.finding import Finding
from training.monitor.findings import findings
from training.monitor.history import (
    HISTORY,
    LATEST,
    add_run,
    read_history,
    told_before,
    write_latest,
)
from training.monitor.monitor import Monitored, judge_weeks
from training.monitor.weekly import ALL, NEW, Weekly
from training.report.monitor_section import latest_section, write_monitor_page
from training.simulate import simulate, write_demo
from training.tracking import log_training

REFERENCE, WATCHED, LEADS, NEW_LEADS, MQLS = 40, 14, 350, 60, 40
UNTIL = pd.Timestamp("2025-01-06")
TYPES = {"page_view": 900, "email_open": 700, "chat": 120}


@cache
def scorer() -> Scorer:
    made = small_scorer(Calibration.identity(), cutoff=0.3)
    evidence = {"precision": Estimate(0.2, 0.18, 0.22), "mqls_per_week": Estimate(40, 34, 46)}
    return replace(made, cutoff=replace(made.cutoff, evidence=evidence))


@cache
def calm(seed: int = 0, rate: float = 1.0) -> Weekly:
    """Weeks in which nothing changes, but that wins come at `rate` times the chance from UNTIL."""
    generator = np.random.default_rng(seed)
    n = REFERENCE + WATCHED
    first = np.datetime64(UNTIL, "us") - np.timedelta64(7 * (REFERENCE - 1), "D")
    mondays = first + np.arange(n) * np.timedelta64(7, "D")
    drawn = small_snapshots(rows=LEADS * n, seed=seed)
    bands = Bands.of(drawn, scorer())
    scored = scorer().score(drawn)
    monday = np.repeat(np.arange(n), LEADS)
    is_new = np.tile(np.arange(LEADS) < NEW_LEADS, n)
    counts = np.zeros((2, n, len(bands.names), bands.width))
    bands.count(drawn, scored["probability"].to_numpy(), monday, is_new, counts)
    # The first leads of each Monday are MQLs, and win as the cutoff promises.
    is_mql = np.tile(np.arange(LEADS) < MQLS, n)
    rounded = np.round(2 * scored["raw_score"]) / 2  # rows that agree are quick
    raw_score = np.where(is_mql, np.log(0.2 / 0.8), rounded)
    probability = expit(raw_score)
    days = generator.random(len(drawn)) * 91
    after = monday * 7 + days >= REFERENCE * 7
    chance = probability * np.where(after, rate, 1.0)
    won = generator.random(len(drawn)) < chance
    rows = pd.DataFrame(
        {
            "monday": monday,
            "raw_score": raw_score,
            "probability": probability,
            "qualified": is_mql,
            "is_new": is_new,
            "days_to_win": np.where(won, days, np.nan),
            "known_after": np.where(won, days, np.nan),
            "lead": np.arange(len(drawn)),
            "account": np.arange(len(drawn)),
        }
    )
    events = pd.DataFrame({name: generator.poisson(k, n) for name, k in TYPES.items()}, dtype=float)
    verdicts = pd.DataFrame(
        {
            "monday": np.repeat(np.arange(n), 30),
            "account": np.arange(30 * n),
            "verdict": np.where(np.arange(30 * n) % 3 == 0, "rejected", "accepted"),
            "reason_code": np.where(np.arange(30 * n) % 3 == 0, "no_budget", ""),
        }
    )
    accounts = counts[:, :, 0].sum(axis=2)
    arrivals = generator.poisson(NEW_LEADS, n).astype(float)
    return Weekly(mondays, bands, counts, accounts, rows, events, arrivals, verdicts).until(n)


def judged(weekly: Weekly, runs: list[dict[str, object]] | None = None) -> Monitored:
    return judge_weeks(weekly, REFERENCE, scorer(), "1", UNTIL, 0.1, runs or [])


@cache
def spiked() -> Monitored:
    """What is said a week before the newest, of employees that are missing more often."""
    return judged(moved(calm(), ALL, "employees", 0, 0.4).until(REFERENCE + WATCHED - 1))


def found_in(weekly: Weekly) -> list[Finding]:
    return findings(weekly, expectations(weekly, REFERENCE, 91, scorer().cutoff, tolerated=0.1))


def alarms(weekly: Weekly) -> set[str]:
    return {finding.key for finding in found_in(weekly) if finding.needs_person}


def moved(weekly: Weekly, whom: int, name: str, to_band: int, share: float) -> Weekly:
    """The same weeks, with a share of the newest four weeks' leads moved to a band."""
    counts = weekly.counts.copy()
    place = weekly.bands.names.index(name)
    newest = counts[whom, -4:, place]
    taken = newest * share
    newest -= taken
    newest[:, to_band] += taken.sum(axis=1)
    return replace(weekly, counts=counts)


def test_calm_weeks_raise_nothing() -> None:
    for seed in range(2):
        assert alarms(calm(seed)) == set()


def test_a_null_spike_is_found_as_such_and_as_nothing_else() -> None:
    assert alarms(moved(calm(), ALL, "employees", 0, 0.4)) == {"null_spike:employees"}


def test_an_unknown_category_is_found_as_such_and_as_nothing_else() -> None:
    unknown = calm().bands.unknown
    assert alarms(moved(calm(), NEW, "industry", unknown, 0.3)) == {"unknown_category:industry"}


def test_a_dead_event_type_is_found_in_its_first_week() -> None:
    weekly = calm()
    events = weekly.events.copy()
    events.loc[events.index[-1], "chat"] = 0.0
    assert alarms(replace(weekly, events=events)) == {"event_volume:chat"}


def test_a_quiet_week_of_all_types_is_no_dead_type() -> None:
    weekly = calm()
    events = weekly.events.copy()
    events.iloc[-1] = (events.iloc[-1] * 0.6).round()
    assert alarms(replace(weekly, events=events)) == set()


def test_a_feature_that_moved_is_drift() -> None:
    weekly = moved(calm(), ALL, "employees", 9, 0.5)
    assert alarms(weekly) == {"feature_drift:employees"}


def test_features_of_one_concept_that_moved_are_one_alarm_with_the_worst_of_them() -> None:
    weekly = moved(calm(), ALL, "pricing_view_count_7d", 3, 0.4)
    weekly = moved(moved(weekly, ALL, "pricing_view_count_30d", 4, 0.6), NEW, "industry", 0, 0.5)
    found = [each for each in found_in(weekly) if each.needs_person]
    assert {each.key for each in found} == {"feature_drift:pricing_view", "null_spike:industry"}
    drift = next(each for each in found if each.kind == "feature_drift")
    psi = drift.evidence["psi"]
    assert set(psi) == {"pricing_view_count_7d", "pricing_view_count_30d"}
    assert drift.size == max(psi.values()) == psi["pricing_view_count_7d"]
    assert drift.text.startswith("pricing_view_count_7d and 1 more of pricing_view")


def test_a_busy_week_of_a_rare_type_is_an_alarm_only_when_it_goes_on() -> None:
    weekly = calm()
    events = weekly.events.assign(webinar=3.0)
    events.loc[events.index[-1], "webinar"] = 60.0
    once = {each.key: each.needs_person for each in found_in(replace(weekly, events=events))}
    assert once["event_volume:webinar"] is False
    events.loc[events.index[-2], "webinar"] = 60.0
    assert alarms(replace(weekly, events=events)) == {"event_volume:webinar"}
    events["webinar"] = 30.0
    events.loc[events.index[-1], "webinar"] = 0.0
    assert alarms(replace(weekly, events=events)) == {"event_volume:webinar"}


def test_an_import_that_stopped_is_found() -> None:
    arrivals = calm().arrivals.copy()
    arrivals[-1] = 0
    assert alarms(replace(calm(), arrivals=arrivals)) == {"arrivals:leads"}


def test_sales_that_reject_more_is_found_with_the_reason() -> None:
    weekly = calm()
    verdicts = weekly.verdicts.copy()
    newest = verdicts["monday"] >= REFERENCE + WATCHED - 4
    verdicts.loc[newest, ["verdict", "reason_code"]] = ["rejected", "no_budget"]
    found = [each for each in found_in(replace(weekly, verdicts=verdicts)) if each.needs_person]
    assert [each.key for each in found] == ["verdict_mix:verdicts"]  # one turn, told once
    assert "accepted 0% of their verdicts, 67% before" in found[0].text
    assert "rejected: no_budget 100% of their verdicts, 33% before" in found[0].text


def test_three_times_the_wins_alarm_and_move_the_estimate() -> None:
    """Base rate times three: what is estimated before any label matured follows."""
    small = calm(rate=3.0)
    result = judged(small)
    assert "observed_expected:wins_more" in {alarm.finding.key for alarm in result.alarms}
    assert result.estimate is not None
    rows = small.rows[small.rows["monday"] > REFERENCE + WATCHED - 5]
    truth = float(np.minimum(3 * rows["probability"], 1).mean())
    assert result.estimate.expected_rate == pytest.approx(truth, rel=0.1)
    assert result.estimate.expected_log_loss > 1.2 * result.estimate.promised_log_loss


def test_twice_the_mqls_of_the_forecast_are_found() -> None:
    weekly = calm()
    rows = weekly.rows.copy()
    is_more = np.tile(np.arange(LEADS) < 3 * MQLS, REFERENCE + WATCHED)
    rows.loc[is_more & (rows["monday"] >= REFERENCE + WATCHED - 4), "qualified"] = True
    assert "mql_rate:MQLs" in alarms(replace(weekly, rows=rows))


def test_mqls_that_win_less_than_the_cutoff_promised_break_its_precision() -> None:
    weekly = calm()
    rows = weekly.rows.copy()
    lost = rows["qualified"] & (rows["monday"] >= REFERENCE) & (rows["lead"] % 5 > 0)
    rows.loc[lost, ["days_to_win", "known_after"]] = np.nan
    assert "precision:mqls_fewer" in alarms(replace(weekly, rows=rows))


@pytest.mark.parametrize(("rate", "key"), [(0.5, "fewer"), (2.0, "more")])
def test_wins_that_part_alarm_in_their_direction_only(rate: float, key: str) -> None:
    found = alarms(calm(rate=rate))
    assert {name for name in found if name.startswith("observed")} == {
        f"observed_expected:wins_{key}"
    }


def test_the_sequential_test_hardly_ever_cries_wolf() -> None:
    """Looked at every week for 30 times four years, both ways: at most once in 50 years."""
    generator = np.random.default_rng(0)
    cried = 0
    for _ in range(30):
        expected = np.full(208, 9.0)
        wins = WeeklyWins(1.5 * generator.poisson(expected / 1.5), expected, 1.5)
        for direction in ("fewer", "more"):
            e_values = parting(wins, 0, direction, tolerated=0.1).e_values  # type: ignore[arg-type]
            cried += bool((e_values >= 250).any())
    assert cried <= 4


def test_the_sequential_test_finds_a_third_fewer_wins() -> None:
    generator = np.random.default_rng(1)
    expected = np.full(60, 12.0)
    observed = generator.poisson(np.where(np.arange(60) < 30, 12.0, 6.0)).astype(float)
    found = parting(WeeklyWins(observed, expected, 1.0), 0, "fewer", tolerated=0.1)
    assert found.is_alarm
    assert 26 <= found.since <= 34


def test_what_came_later_does_not_change_an_earlier_result() -> None:
    early, later = calm(), calm(rate=3.0)
    weeks = REFERENCE  # the wins differ from here on
    first, second = (judged(each.until(weeks)).as_dict() for each in (early, later))
    assert first == second
    assert "No week has passed" in judged(early.until(weeks)).lines()[0]


def test_an_alarm_told_before_is_shown_since_then(tmp_path: Path) -> None:
    before = spiked()
    assert [alarm.is_new for alarm in before.alarms] == [True]
    add_run(tmp_path, {"model": "1", **before.as_dict()})
    weekly = moved(calm(), ALL, "employees", 0, 0.4)
    again = judged(weekly, read_history(tmp_path))
    assert [alarm.since for alarm in again.alarms] == [before.data_until]
    assert not again.alarms[0].is_new
    assert not again.is_again
    add_run(tmp_path, {"model": "1", **again.as_dict()})
    runs = read_history(tmp_path)
    assert len(runs) == 2
    since = {"null_spike:employees": before.data_until}
    assert told_before(runs, "1", again.data_until) == (since, True)


def test_a_line_cut_short_loses_only_itself(tmp_path: Path) -> None:
    add_run(tmp_path, {"model": "1", "data_until": "2025-01-06", "alarms": []})
    with (tmp_path / HISTORY).open("a") as history:
        history.write('{"model": "1", "da')
    add_run(tmp_path, {"model": "1", "data_until": "2025-01-13", "alarms": []})
    runs = read_history(tmp_path)
    assert [run["data_until"] for run in runs] == ["2025-01-06", "2025-01-13"]
    assert told_before(runs, "2", "2025-01-20") == ({}, False)


def test_page_report_section_and_metrics_show_the_newest_result(tmp_path: Path) -> None:
    result = spiked().as_dict()
    json.dumps(result, allow_nan=False)
    page = write_monitor_page(result, tmp_path / "monitor.html")
    assert "employees: missing for" in page.read_text()
    metrics = Metrics()
    metrics.watch_monitor(tmp_path)
    assert b"closedwon_monitor" not in metrics.text()
    assert latest_section(tmp_path, "1") is None
    write_latest(tmp_path, result)
    metrics = Metrics()
    metrics.watch_monitor(tmp_path)
    told = metrics.text().decode()
    assert 'closedwon_monitor_alarms{kind="null_spike",version="1"} 1.0' in told
    assert 'closedwon_monitor_needs_person{version="1"} 1.0' in told
    assert "closedwon_monitor_observed_expected" in told
    assert latest_section(tmp_path, "1") is not None
    assert latest_section(tmp_path, "2") is None  # another is champion by now


def champion_at_work(root: Path, store: Path) -> None:
    """A demo CRM whose page views stopped in its newest week, and a champion of weeks before."""
    empty_folder(root, store)
    demo = simulate(leads=400, seed=1, weeks=40)
    events = demo.tables["engagement_events"]
    is_lost = (events["event_type"] == "page_view") & (events["recorded_at"] >= "2025-12-29")
    tables = {**demo.tables, "engagement_events": events[~is_lost]}
    write_demo(replace(demo, tables=tables), root)
    loaded = load_tables(Config.model_validate(settings("2026-01-05")), root).tables
    # On its own CRM: what the data of another lack would be alarms.
    before = Config.model_validate(
        {
            "features": {"windows_days": [30], "half_lives_days": [30]},
            "training": {
                "trials": 0,
                "folds": 2,
                "min_wins": 1,
                "num_threads": 1,
                "horizon_days": 56,
            },
            **settings("2025-12-22"),
        }
    )
    fitted = fitted_scorer(load_tables(before, root).tables, before)
    model = replace(fitted, facts={"data_until": "2025-12-22", "wins": {"all": 200}})
    index = lead_weeks(loaded, PopulationConfig(), np.array(["2025-12-22"], "datetime64[us]"))
    rows = synthesise_rows(Past.of(loaded, model.catalogue).snapshots(index), model.encoder)
    write_bundle(model, rows, {}, root / "run" / "bundle")
    log_training(
        TrackingConfig(), root, run_name="train", params={}, metrics={}, digests={}, artifacts=(),
        bundle=root / "run" / "bundle", may_be_champion=True,
    )  # fmt: skip


def settings(data_until: str) -> dict[str, dict[str, str]]:
    return {"data": {"data_until": data_until}}


def test_the_command_ends_with_3_only_when_something_needs_a_person(
    tmp_path: Path, migrated_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    # The same check in this process: a child costs 2 s each time, and test_registry has it.
    monkeypatch.setattr(models.registry, "check_bundle", rescore_golden)
    champion_at_work(tmp_path, migrated_store)
    monkeypatch.chdir(tmp_path)
    Path("closedwon.toml").write_text("[data]\ndata_until = 2025-12-29\n")
    calm_week = run("monitor", "--json")
    assert (calm_week.code, json.loads(calm_week.out)["alarms"]) == (0, [])
    Path("closedwon.toml").write_text("[data]\ndata_until = 2026-01-05\n")
    told = run("monitor")
    assert (told.code, "page_view events stopped" in told.out) == (3, True), told
    assert [one["needs_person"] for one in read_history(tmp_path)] == [False, True]
    page, latest = Path(".closedwon/monitor.html"), Path(LATEST)
    before = page.read_bytes(), latest.read_bytes()
    # Another model than the one in use leaves what is shown of that as it is.
    models.registry.connect(TrackingConfig(), Path()).delete_registered_model_alias(
        TrackingConfig().model_name, models.registry.CHAMPION
    )
    aside = json.loads(run("monitor", "--model", "1", "--json").out)
    assert (aside["in_use"], aside["page"]) == (False, ".closedwon/monitor-1.html")
    assert (page.read_bytes(), latest.read_bytes()) == before
    assert len(read_history(tmp_path)) == 3


def test_what_cannot_be_watched_is_a_mistake_with_its_way_out(
    tmp_path: Path, migrated_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(in_folder(tmp_path, migrated_store))
    assert "A flat export cannot be watched" in refused(run("monitor"))
    Path("closedwon.toml").write_text("")
    assert "closedwon train" in refused(run("monitor"))
