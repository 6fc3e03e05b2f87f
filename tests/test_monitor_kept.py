"""The watch from run to run: data that stand still, damaged files, a challenger looked at."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from command_line import refused, run

from serving.api.metrics import MONITOR, Metrics
from training.monitor.age import DataAge, age_findings
from training.monitor.evidence import WeeklyWins
from training.monitor.expectations import Expectations
from training.monitor.finding import Finding
from training.monitor.history import HISTORY, LATEST, read_history, told_before, write_latest
from training.monitor.monitored import Alarm, Monitored
from training.monitor.promises import win_findings
from training.report.monitor_section import latest_section, monitor_section

NOW = pd.Timestamp("2025-03-20 08:00")
MONDAY = "2025-03-17"


def aged(
    until: str, trained: str = "2025-01-06", configured: bool = False, *runs: dict[str, str]
) -> list[Finding]:
    age = DataAge(NOW, pd.Timestamp(until), configured)
    return list(age_findings(age, pd.Timestamp(trained), MONDAY, runs))


def looked(at: str, data_until: str = MONDAY) -> dict[str, str]:
    return {"model": "1", "data_until": data_until, "looked_at": at}


def result(alarms: tuple[Alarm, ...] = ()) -> dict[str, Any]:
    weeks = [str(day)[:10] for day in pd.date_range("2024-11-04", MONDAY, freq="W-MON")]
    n = len(weeks)
    course = {
        "mondays": weeks, "reference": 10, "mean_probability": [0.1] * n, "mqls": [3.0] * n,
        "observed_wins": [None] * 3 + [2.0] * (n - 4), "threshold": 250.0,
        "expected_wins": [None] * 3 + [4.0] * (n - 4),
        "evidence": {"wins, fewer": [1.0] * (n - 11)}, "events": {"chat": [5.0] * n},
        "drifted": {},
    }  # fmt: skip
    return Monitored(
        "1", MONDAY, "2025-01-06", n - 10, False, alarms, (), None, (), course
    ).as_dict()  # fmt: skip


def test_data_that_end_before_the_models_need_a_person() -> None:
    (found,) = aged("2024-12-30", configured=True)
    assert found.needs_person
    assert "the data end before the model's: on 2024-12-30" in found.text
    # The facts tell the day: later on that day is no earlier.
    assert aged("2025-01-06 15:00", trained="2025-01-06 18:00", configured=True) == []


def test_old_data_need_a_person_unless_the_settings_end_them_there() -> None:
    (found,) = aged("2025-03-05")
    assert found.key == "data_age:newest"
    assert "15 days old" in found.text
    assert aged("2025-03-05", configured=True) == []
    assert aged("2025-03-07") == []
    assert DataAge(NOW, pd.Timestamp("2025-03-19 08:00"), False).text() == (
        "the newest record is 1 day old"
    )


def test_a_newest_monday_that_stands_still_for_two_weeks_needs_a_person() -> None:
    still = looked("2025-03-05T08:00:00")
    (found,) = aged("2025-03-17", "2025-01-06", True, still, looked("2025-03-19T08:00:00"))
    assert "has been 2025-03-17 for 15 days" in found.text
    for run_before in (
        looked("2025-03-07T08:00:00"),  # not two weeks ago
        looked("2025-03-05T08:00:00", "2025-03-03"),  # it has moved on since
        looked("no instant"),
    ):
        assert aged("2025-03-17", "2025-01-06", True, run_before) == []


def test_an_alarm_told_on_the_same_data_is_not_new_the_day_after() -> None:
    runs: list[dict[str, Any]] = [
        {"model": "1", "data_until": "2025-03-10", "alarms": [{"key": "a", "since": "2025-03-03"}]},
        {"model": "1", "data_until": MONDAY, "alarms": [{"key": "b", "since": MONDAY}]},
    ]
    assert told_before(runs, "1", MONDAY) == ({"a": "2025-03-03", "b": MONDAY}, True)
    assert told_before(runs[:1], "1", MONDAY) == ({"a": "2025-03-03"}, False)


def test_damaged_lines_of_the_history_lose_only_themselves(tmp_path: Path) -> None:
    whole = {"model": "1", "data_until": MONDAY, "alarms": [{"key": "a", "since": MONDAY}]}
    lines = ["null", "3", "[1]", "{}", '{"model": "1"}', '{"model": "1", "data_until": "x"}',
             json.dumps({**whole, "alarms": [{"since": "x"}]}), json.dumps({**whole, "model": 1}),
             json.dumps({**whole, "alarms": None}), json.dumps(whole)]  # fmt: skip
    path = tmp_path / HISTORY
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\xff\xfe{\n" + "\n".join(lines).encode() + b'\n{"model": "\xe9"}\n')
    assert read_history(tmp_path) == [whole]


def damaged() -> list[Any]:
    whole = result()
    return [
        None, 3, [1], {}, {**whole, "course": {}}, {**whole, "alarms": [3]},
        {**whole, "alarms": [{"text": "x"}]}, {**whole, "estimated": 3}, {**whole, "months": [{}]},
        {**whole, "course": {**whole["course"], "observed_wins": "x"}},
        {**whole, "course": {**whole["course"], "expected_wins": [1.0]}},
        {**whole, "course": {**whole["course"], "mondays": ["x"]}},
        {**whole, "course": {**whole["course"], "reference": 99}},
        {name: content for name, content in whole.items() if name != "in_use"},
    ]  # fmt: skip


def test_a_damaged_newest_result_harms_neither_report_nor_metrics(tmp_path: Path) -> None:
    for content in (*damaged(), "not JSON"):
        text = content if content == "not JSON" else json.dumps(content)
        path = tmp_path / LATEST
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        assert latest_section(tmp_path, "1") is None, text[:200]
        metrics = Metrics()
        metrics.watch_monitor(tmp_path)
        assert b"closedwon_scores_backfill" in metrics.text()
    write_latest(tmp_path, result())
    assert latest_section(tmp_path, "1") is not None


def test_metrics_tell_whose_result_they_show(tmp_path: Path) -> None:
    assert MONITOR == LATEST  # the service does not import training
    write_latest(tmp_path, result())
    metrics = Metrics()
    metrics.watch_monitor(tmp_path)
    told = metrics.text().decode()
    assert 'closedwon_monitor_observed_expected{version="1"} 0.5' in told
    assert 'closedwon_monitor_age_seconds{version="1"}' in told


def test_wins_that_part_tell_all_weeks_beside_the_picked_ones() -> None:
    observed = np.array([8.0] * 20 + [9.0] * 10 + [2.0] * 12)
    wins = WeeklyWins(observed, np.full(len(observed), 8.0), 1.0)
    expected = Expectations(20, wins, None, None, None, np.zeros(43), 0.1)
    mondays = np.datetime64("2024-01-01", "us") + np.arange(43) * np.timedelta64(7, "D")
    weekly: Any = type("OnlyMondays", (), {"mondays": mondays})()
    (found,) = win_findings(weekly, expected)
    assert "114 wins since training, 176 expected (65%)" in found.text
    assert "most since 2024-07-29: 24 of 96 (25%)" in found.text
    assert "less than once in 10,000 weeks" in found.text
    assert "evidence" not in found.text
    # Once in some twenty weeks is what calm weeks bring.
    quiet = replace(wins, observed=np.array([8.0] * 39 + [4.0] * 3))
    assert list(win_findings(weekly, replace(expected, wins=quiet))) == []


def test_short_spans_tell_the_day_and_pictures_keep_their_size() -> None:
    content = monitor_section(result())
    picture = next(
        str(each["markup"]) for each in content["pictures"] if "false" in each["caption"]
    )
    assert "10 Mar" in picture or "9 Mar" in picture
    assert "Mar 25" not in picture
    captions = " ".join(each["caption"] for each in content["pictures"])
    assert "left of it the model knew the outcomes" in captions


def test_a_wrong_folder_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "closedwon.toml" in refused(run("monitor"))
    assert list(tmp_path.iterdir()) == []
