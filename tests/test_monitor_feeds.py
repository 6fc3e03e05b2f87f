"""What the watch must not miss, and what it must not cry wolf about: feeds, volumes, lost data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_model import CATALOGUE, small_snapshots
from small_watch import fitted_scorer
from test_monitor import (
    LEADS,
    MQLS,
    REFERENCE,
    WATCHED,
    alarms,
    calm,
    found_in,
    moved,
    scorer,
)

from features.catalogue.catalogue import Catalogue
from features.config import Config
from features.loading.sources import load_tables
from features.snapshots import mondays
from features.tables import Tables
from models.scorer import Scorer
from training.fitting.time_to_win import TimeToWin
from training.monitor.bands import Bands
from training.monitor.evidence import weekly_wins
from training.monitor.expectations import expectations
from training.monitor.finding import Finding
from training.monitor.findings import findings
from training.monitor.performance import cohorts, outcomes_of
from training.monitor.weekly import ALL, Weekly, gather_weeks
from training.simulate import Demo, simulate, write_demo

TRAINED = pd.Timestamp("2025-12-15")
NEWEST = REFERENCE + WATCHED - 1


def config_until(until: pd.Timestamp, horizon_days: int = 91) -> Config:
    return Config.model_validate(
        {
            "data": {"data_until": str(until.date())},
            "features": {"windows_days": [30], "half_lives_days": [30]},
            "training": {
                "trials": 0,
                "folds": 2,
                "min_wins": 5,
                "num_threads": 1,
                "horizon_days": horizon_days,
            },
        }
    )


@cache
def demo() -> Demo:
    return simulate(leads=800, seed=3, weeks=50)


def tables_of(folder: Path, changed: dict[str, pd.DataFrame], config: Config) -> Tables:
    write_demo(replace(demo(), tables={**demo().tables, **changed}), folder)
    return load_tables(config, folder).tables


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    """A model of the demo CRM three weeks before its end, on horizons of 28 days."""
    config = config_until(TRAINED, 28)
    tables = tables_of(tmp_path_factory.mktemp("crm"), {}, config)
    return fitted_scorer(tables, config)


def watched(champion: Scorer, tables: Tables, config: Config) -> tuple[Weekly, list[Finding]]:
    instants = mondays(TRAINED - pd.Timedelta(weeks=16), tables.data_until)
    is_reference = instants <= np.datetime64(TRAINED, "us")
    weekly = gather_weeks(tables, config, champion, instants, is_reference)
    reference = int(is_reference.sum())
    expected = expectations(weekly, reference, 28, champion.cutoff, 0.1)
    return weekly, findings(weekly, expected)


def without_seniority(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return {"leads": tables["leads"].drop(columns="seniority")}


def with_source_renamed(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    leads = tables["leads"]
    return {"leads": leads.assign(source=leads["source"].replace("website", "Web site"))}


def without_events(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return {"engagement_events": tables["engagement_events"].iloc[:0]}


def without_page_views(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    events = tables["engagement_events"]
    return {"engagement_events": events[events["event_type"] != "page_view"]}


@pytest.mark.parametrize(
    ("lose", "key"),
    [
        (without_seniority, "missing_column:leads.seniority"),
        (with_source_renamed, "unknown_category:leads.source"),
        (without_events, "missing_table:engagement_events"),
        (without_page_views, "missing_event_type:events.page_view"),
        (lambda _: {}, None),
    ],
)
def test_what_is_lost_from_all_weeks_alike_is_an_alarm_and_nothing_to_retrain_on(
    champion: Scorer,
    tmp_path: Path,
    lose: Callable[[dict[str, pd.DataFrame]], dict[str, pd.DataFrame]],
    key: str | None,
) -> None:
    config = config_until(pd.Timestamp("2026-01-05"), 28)
    tables = tables_of(tmp_path, lose(demo().tables), config)
    found = {each.key: each for each in watched(champion, tables, config)[1] if each.needs_person}
    lost = {name for name in found if name.startswith(("missing_", "unknown_"))}
    assert lost == ({key} if key else set())
    if key:
        assert "mapping" in found[key].advice
        assert "retrain" not in found[key].advice
    else:
        assert not found


def test_the_horizon_is_the_bundles_and_not_that_of_the_settings(
    champion: Scorer, tmp_path: Path
) -> None:
    until = pd.Timestamp("2026-01-05")
    tables = tables_of(tmp_path, {}, config_until(until))
    same, other = (
        watched(champion, tables, config_until(until, days))[0].rows["days_to_win"]
        for days in (28, 91)
    )
    assert same.max() < 28
    pd.testing.assert_series_equal(same, other)


def test_a_mean_probability_far_from_the_bundles_base_rate_is_an_alarm() -> None:
    weekly = calm()
    mean = weekly.rows["probability"].mean()
    for rate, key in ((mean / 3, {"base_rate:probability"}), (mean * 1.5, set())):
        assert alarms(replace(weekly, bands=replace(weekly.bands, base_rate=rate))) == key


def test_rare_values_are_unknown_in_calm_weeks_too() -> None:
    snapshots = small_snapshots(4_000)
    snapshots["industry"] = [f"one of many {row % 800}" for row in range(4_000)]
    assert Bands.of(snapshots, scorer()).unlearnt == {"industry": 0.0}
    snapshots["industry"] = "software"
    assert Bands.of(snapshots, scorer()).unlearnt == {"industry": 1.0}


def with_events(weekly: Weekly, **columns: np.ndarray) -> Weekly:
    return replace(weekly, events=weekly.events.assign(**columns))


def rare(a_week: float, stopped_for: int = 0) -> np.ndarray:
    counts = np.random.default_rng(5).poisson(a_week, REFERENCE + WATCHED).astype(float)
    counts[len(counts) - stopped_for :] = 0
    return counts


@pytest.mark.parametrize(("a_week", "weeks"), [(22.0, 1), (6.5, 4), (2.75, 8)])
def test_a_rare_feed_that_stops_is_found_sooner_or_later(a_week: float, weeks: int) -> None:
    chat = with_events(calm(), webinar=rare(a_week, weeks))
    assert alarms(chat) == {"event_volume:webinar"}
    assert alarms(with_events(calm(), webinar=rare(a_week))) == set()
    arrivals = replace(calm(), arrivals=rare(a_week, weeks))
    assert alarms(arrivals) == {"arrivals:leads"}


def test_verdicts_that_stop_are_found() -> None:
    weekly = calm()
    kept = weekly.verdicts[weekly.verdicts["monday"] < NEWEST]
    assert alarms(replace(weekly, verdicts=kept)) == {"verdict_volume:verdicts"}


def test_a_large_type_that_dies_makes_no_other_rise() -> None:
    dead = np.where(np.arange(REFERENCE + WATCHED) < NEWEST, 4000.0, 0.0)
    weekly = with_events(calm(), page_view=dead)
    assert {f.key for f in found_in(weekly) if f.kind == "event_volume"} == {
        "event_volume:page_view"
    }


def test_all_events_sent_twice_are_one_finding() -> None:
    weekly = calm()
    events = weekly.events.copy()
    events.iloc[-1] *= 2
    assert alarms(replace(weekly, events=events)) == {"event_volume:all events"}


def with_stream(catalogue: Catalogue, stream: str) -> Catalogue:
    """The catalogue whose features of pricing views are made from a stream."""
    return replace(
        catalogue,
        features=tuple(
            replace(each, stream=stream) if each.concept == "pricing_view" else each
            for each in catalogue.features
        ),
    )


def test_what_follows_from_a_dead_type_is_told_under_it() -> None:
    weekly = moved(calm(), ALL, "pricing_view_count_7d", 3, 0.4)
    bands = replace(weekly.bands, catalogue=with_stream(CATALOGUE, "events.chat"))
    events = weekly.events.copy()
    both = replace(weekly, bands=bands, events=events)
    assert alarms(both) == {"feature_drift:pricing_view"}
    events.loc[events.index[-1], "chat"] = 0.0
    assert alarms(both) == {"event_volume:chat"}
    told = next(each for each in found_in(both) if each.needs_person)
    assert set(told.evidence["follows"]) == {"feature_drift:pricing_view"}
    assert "1 more follows from it: pricing_view" in told.text
    assert "retrain" not in told.advice


def test_drift_on_a_short_reference_is_a_note() -> None:
    weekly = moved(calm(), ALL, "employees", 9, 0.5)
    expected = expectations(weekly, 30, 91, scorer().cutoff, tolerated=0.1)
    found = {each.key: each.needs_person for each in findings(weekly, expected)}
    assert found["feature_drift:employees"] is False
    assert alarms(weekly) == {"feature_drift:employees"}


@pytest.mark.parametrize(("share", "told"), [(1.0, None), (1.35, False), (1.8, True)])
def test_mqls_a_little_over_the_forecast_for_good_are_told(share: float, told: bool | None) -> None:
    weekly = calm()
    rows = weekly.rows.copy()
    is_more = np.tile(np.arange(LEADS) < share * MQLS, REFERENCE + WATCHED)
    rows.loc[is_more & (rows["monday"] >= REFERENCE), "qualified"] = True
    found = {each.kind: each.needs_person for each in found_in(replace(weekly, rows=rows))}
    assert found.get("mql_rate") is told


def row(monday: int, **known: float) -> dict[str, float]:
    unknown = {"known_after": np.nan, "days_to_win": np.nan, "gone_after": np.nan}
    return {"monday": monday, "probability": 0.5, "account": monday, **unknown, **known}


def test_a_win_recorded_late_counts_in_its_week_and_changes_none_before() -> None:
    timing = TimeToWin.of(np.arange(1.0, 28.0), np.ones(27), 28)
    late = pd.DataFrame([row(0, days_to_win=20.0, known_after=40.0), row(1), row(2)])
    before = late.assign(known_after=np.nan, days_to_win=np.nan)
    known, unknown = (
        weekly_wins(rows.assign(raw_score=0.0), 9, 4, 28, timing, by_snapshot=False).observed
        for rows in (late, before)
    )
    assert (known[:5] == unknown[:5]).all()
    assert known.tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0]


def test_a_lead_won_unknowingly_is_no_open_lead_once_that_is_known() -> None:
    timing = TimeToWin.of(np.arange(1.0, 28.0), np.ones(27), 28)
    rows = pd.DataFrame([row(0), row(0, gone_after=10.0)]).assign(raw_score=0.0)
    both = weekly_wins(rows, 4, 4, 28, timing, by_snapshot=False).expected
    alone = weekly_wins(rows[:1], 4, 4, 28, timing, by_snapshot=False).expected
    assert (both / alone).tolist() == pytest.approx([2, 1, 1, 1])
    weekly = calm()
    gone = np.where(weekly.rows["lead"] % 2 == 0, 10.0, np.nan)
    weekly = replace(weekly, rows=weekly.rows.assign(gone_after=gone))
    newest = weekly.until(NEWEST + 1).open_rows()["monday"].value_counts()
    assert (newest[NEWEST - 1], newest[NEWEST - 2]) == (LEADS, LEADS / 2)
    assert len(outcomes_of(weekly, 91, weeks=0).won) == LEADS / 2


def test_months_less_than_half_matured_have_no_ratio() -> None:
    weekly = calm()
    timing = TimeToWin.of(np.linspace(0.5, 90.5, 200), np.ones(200), 91)
    months = cohorts(weekly, timing, 91)
    assert {np.isnan(month.ratio) for month in months if month.matured < 0.5} == {True}
    assert not any(np.isnan(month.ratio) for month in months if month.matured >= 0.5)
    known = [month.ratio for month in months if 0.5 <= month.matured < 1]
    assert np.mean(known) == pytest.approx(1.0, abs=0.15)
