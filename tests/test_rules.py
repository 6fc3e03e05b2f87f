"""Each named rule sets aside the rows it is about, and no others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.config import Config, DataConfig
from features.errors import InputError
from features.loading.data_until import newest_plausible
from features.loading.load_report import LoadReport, TableReport, write_rejects
from features.loading.sources import LoadedTables, load_tables

NOW = pd.Timestamp("2024-12-31")
# So that one bad row among few good ones does not stop the load.
TOLERANT = Config(data=DataConfig(max_rejected_share=1))
GOOD = {
    "leads": {"lead_id": "l1", "created_at": "2024-01-01 10:00:00"},
    "accounts": {"account_id": "a1"},
    "opportunities": {
        "opportunity_id": "o1",
        "created_at": "2024-03-01 10:00:00",
        "stage": "closed_won",
        "closed_at": "2024-04-01 10:00:00",
        "amount": "10",
    },
    "engagement_events": {
        "lead_id": "l1",
        "event_type": "visit",
        "occurred_at": "2024-02-01 10:00:00",
        "event_id": "e1",
        "value": "1.5",
    },
    "opportunity_leads": {"opportunity_id": "o1", "lead_id": "l1", "role": "buyer"},
    "stage_changes": {"lead_id": "l1", "stage": "MQL", "changed_at": "2024-02-02 10:00:00"},
    "verdicts": {"lead_id": "l1", "verdict": "Accepted", "decided_at": "2024-02-03 10:00:00"},
    "campaign_costs": {"campaign": "c1", "day": "2024-02-01", "cost": "100"},
}
Row = dict[str, str]


def load(folder: Path, extra: dict[str, list[Row]], config: Config = TOLERANT) -> LoadedTables:
    """Load one good row of each table in question, then `extra` rows (changes to the good one)."""
    for table in {"leads": [], "opportunities": [], **extra}:
        good = GOOD[table]
        rows = [good, *({**good, **change} for change in extra.get(table, []))]
        pd.DataFrame(rows).to_csv(folder / f"{table}.csv", index=False)
    return load_tables(config, folder, now=NOW)


def report_of(loaded: LoadedTables, table: str) -> TableReport:
    return next(report for report in loaded.report.tables if report.name == table)


def notes_of(loaded: LoadedTables, table: str) -> dict[str, int]:
    return {note.name: note.count for note in report_of(loaded, table).notes}


BREAKS = [
    ("leads", {"lead_id": ""}, "missing_id:lead_id"),
    ("leads", {"lead_id": "l2", "created_at": ""}, "missing_required:created_at"),
    ("leads", {"lead_id": "l2", "created_at": "31/12/2023"}, "unreadable_instant:created_at"),
    ("leads", {"lead_id": "l2", "created_at": "15/07/16"}, "unreadable_instant:created_at"),
    ("leads", {"lead_id": "l2", "created_at": "1704164645"}, "unreadable_instant:created_at"),
    ("leads", {"lead_id": "l2", "created_at": "infinity"}, "unreadable_instant:created_at"),
    (
        "leads",
        {"lead_id": "l2", "created_at": "2024-01-02 14:00:00 Europe/Berlin"},
        "unreadable_instant:created_at",
    ),
    ("leads", {"lead_id": "l2", "created_at": "0001-01-01"}, "instant_before_1980:created_at"),
    ("leads", {"lead_id": "l2", "created_at": "2099-01-01"}, "occurred_in_future:created_at"),
    ("leads", {"lead_id": "l\x002"}, "text_has_nul"),
    ("leads", {}, "exact_duplicate_row"),
    ("leads", {"created_at": "2024-01-05"}, "duplicate_id:lead_id"),
    ("accounts", {"account_id": " "}, "missing_id:account_id"),
    ("accounts", {}, "exact_duplicate_row"),
    ("opportunities", {"opportunity_id": "o2", "stage": "Verbal"}, "unknown_stage:stage"),
    ("opportunities", {"opportunity_id": "o2", "stage": ""}, "missing_required:stage"),
    ("opportunities", {"opportunity_id": "o2", "closed_at": ""}, "closed_without_closed_at"),
    ("opportunities", {"opportunity_id": "o2", "closed_at": "2024-02-01"}, "closed_before_created"),
    ("opportunities", {"opportunity_id": "o2", "closed_at": "2025-02-01"}, "closed_in_future"),
    ("opportunities", {"opportunity_id": "o2", "amount": "1,5 EUR"}, "unreadable_number:amount"),
    ("opportunities", {"amount": "11"}, "duplicate_id:opportunity_id"),
    ("engagement_events", {"event_id": "e2", "lead_id": "l9"}, "event_of_unknown_lead"),
    ("engagement_events", {"event_type": "click"}, "duplicate_event_id"),
    ("engagement_events", {"event_id": "e2", "value": "inf"}, "unreadable_number:value"),
    ("engagement_events", {"event_id": "e2", "event_type": ""}, "missing_required:event_type"),
    ("opportunity_leads", {"opportunity_id": "o9"}, "unknown_opportunity"),
    ("opportunity_leads", {"lead_id": "l9"}, "contact_is_unknown_lead"),
    ("opportunity_leads", {}, "exact_duplicate_row"),
    ("stage_changes", {"lead_id": "l9"}, "stage_change_of_unknown_lead"),
    ("verdicts", {"lead_id": "l9"}, "verdict_of_unknown_lead"),
    ("verdicts", {"verdict": "Maybe"}, "unknown_verdict:verdict"),
    ("campaign_costs", {"cost": "much"}, "unreadable_number:cost"),
]


@pytest.mark.parametrize(("table", "change", "rule"), BREAKS)
def test_a_row_that_breaks_a_rule_is_set_aside_under_its_name(
    tmp_path: Path, table: str, change: Row, rule: str
) -> None:
    loaded = load(tmp_path, {table: [change]})
    assert report_of(loaded, table).rejected == {rule: 1}
    assert len(getattr(loaded.tables, table)) == 1
    assert len(loaded.report.rejects[table]) == 1
    assert all(not report.rejected for report in loaded.report.tables if report.name != table)


KEEPS = [
    ("leads", {"lead_id": "l2", "created_at": "2024-12-31 13:00:00"}),  # a zone ahead of ours
    ("opportunities", {"opportunity_id": "o2", "stage": "open", "closed_at": "soon"}),  # ignored
    ("opportunities", {"opportunity_id": "o2", "closed_at": "2024-03-01"}),  # same day, no time
    ("opportunities", {"opportunity_id": "o2", "stage": " CLOSED-LOST "}),
    ("engagement_events", {"event_id": "", "value": ""}),
    ("engagement_events", {"event_id": "e2", "value": "NaN"}),
    ("opportunity_leads", {"role": "user"}),
    ("campaign_costs", {"day": "2025-06-01"}),  # a budget
]


@pytest.mark.parametrize(("table", "change"), KEEPS)
def test_a_row_that_is_only_unusual_is_kept(tmp_path: Path, table: str, change: Row) -> None:
    day = Config(data=DataConfig(max_rejected_share=1, data_until="2026-01-01"))  # type: ignore[arg-type]
    loaded = load(tmp_path, {table: [change]}, day)
    assert report_of(loaded, table).rejected == {}
    assert len(getattr(loaded.tables, table)) == 2


def test_too_many_rows_set_aside_stop_the_load_with_counts_and_the_fix(tmp_path: Path) -> None:
    stages = ["Verbal", "Won?", "Verbal"]
    extra = [{"opportunity_id": f"o{n}", "stage": stage} for n, stage in enumerate(stages, 2)]
    with pytest.raises(InputError) as raised:
        load(tmp_path, {"opportunities": extra}, Config())
    assert str(raised.value) == (
        'opportunities.stage has 2 unknown values: "Verbal", "Won?": 3 of 4 rows (75.0%, allowed'
        " 5%) break the rule unknown_stage. Map them in [tables.opportunities]; known: open,"
        " closed_won, closed_lost."
    )


def test_a_zone_by_name_is_not_taken_for_the_zone_of_later_rows(tmp_path: Path) -> None:
    """DuckDB would read the third cell as Berlin's time."""
    cells = ["2024-01-01 14:00:00.000 UTC", "2024-01-01 14:00:00 Europe/Berlin",
             "2024-01-01 14:00:00.000", "2024-01-01 14:00:00 Etc/GMT", "2024-01-01T14:00:00.000Z",
             "2024-01-01 14:00:00.000+00"]  # fmt: skip
    rows = [{"lead_id": f"z{n}", "created_at": cell} for n, cell in enumerate(cells)]
    leads = load(tmp_path, {"leads": rows}).tables.leads.set_index("lead_id")
    found = leads["created_at"].filter(like="z")
    assert [*found.index] == ["z0", "z2", "z4", "z5"]
    assert {*found} == {pd.Timestamp("2024-01-01 14:00")}


def test_messages_and_reports_hold_no_persons_data(tmp_path: Path) -> None:
    people = [{"lead_id": "anna@x.org", "created_at": "anna's birthday"}]
    with pytest.raises(InputError, match="unreadable_instant") as raised:
        load(tmp_path, {"leads": people}, Config())
    assert "anna" not in str(raised.value)
    loaded = load(tmp_path, {"leads": people})
    assert "anna" not in "\n".join(loaded.report.lines())
    assert "anna" not in json.dumps(loaded.report.as_dict())
    with pytest.raises(InputError) as raised:
        load(
            tmp_path, {"opportunities": [{"opportunity_id": "o2", "stage": "anna@x.org"}]}, Config()
        )
    assert "anna" not in str(raised.value)


def test_the_rejects_file_holds_the_rows_as_they_were_and_runs_no_formula(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"leads": [{"lead_id": "=1+1", "created_at": "never"}]})
    folder = tmp_path / "rejects"
    assert write_rejects(loaded.report, folder) == [folder / "leads.csv"]
    written = (folder / "leads.csv").read_text().splitlines()
    assert written == [
        "rule,row,lead_id,created_at",
        "unreadable_instant:created_at,2,'=1+1,never",
    ]
    assert (folder / "leads.csv").stat().st_mode & 0o077 == 0
    empty = LoadReport(loaded.report.tables, loaded.report.data_until, {})
    assert write_rejects(empty, folder) == []
    assert list(folder.iterdir()) == []


def test_rejects_are_written_also_when_the_load_stops(tmp_path: Path) -> None:
    load(tmp_path, {"leads": [{"lead_id": ""}]})
    with pytest.raises(InputError, match="missing_id"):
        load_tables(Config(), tmp_path, now=NOW, rejects_folder=tmp_path / "rejects")
    assert (tmp_path / "rejects" / "leads.csv").exists()


def test_a_date_without_time_of_day_is_known_at_the_next_midnight(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"leads": [{"lead_id": "l2", "created_at": "2024-02-02"}]})
    lead = loaded.tables.leads.iloc[1]
    assert lead.created_at == pd.Timestamp("2024-02-02")
    assert lead.recorded_at == pd.Timestamp("2024-02-03")
    assert notes_of(loaded, "leads") == {"no_time_of_day": 1}


def test_timestamps_that_are_all_at_midnight_are_dates(tmp_path: Path) -> None:
    extra = [{"created_at": "2024-01-01 00:00:00", "lead_id": f"x{n}"} for n in range(30)]
    load(tmp_path, {"leads": extra})
    leads = pd.read_csv(tmp_path / "leads.csv", parse_dates=["created_at"]).iloc[1:]
    leads.to_parquet(tmp_path / "leads.parquet")
    (tmp_path / "leads.csv").unlink()
    recorded = load_tables(TOLERANT, tmp_path, now=NOW).tables.leads.recorded_at
    assert (recorded == pd.Timestamp("2024-01-02")).all()


def test_rows_with_recorded_at_are_a_history_with_one_creation(tmp_path: Path) -> None:
    history = [
        {"recorded_at": "2024-01-01 10:00:00", "size": "3"},
        {"recorded_at": "2024-02-01 10:00:00", "size": "4", "created_at": "2024-01-09 10:00:00"},
        {"recorded_at": "2023-12-01 10:00:00", "size": "2", "lead_id": "l2"},
    ]
    loaded = load(tmp_path, {})
    rows = pd.DataFrame([{**GOOD["leads"], **row} for row in history])
    rows.to_csv(tmp_path / "leads.csv", index=False)
    loaded = load_tables(TOLERANT, tmp_path, now=NOW)
    leads = loaded.tables.leads
    assert leads.lead_id.tolist() == ["l1", "l1", "l2"]
    assert leads["size"].tolist() == [3.0, 4.0, 2.0]
    assert (leads.created_at == pd.Timestamp("2024-01-01 10:00")).all()
    assert leads.recorded_at[2] == pd.Timestamp("2024-01-01 10:00")  # not before its creation
    assert loaded.tables.current_state == frozenset()
    assert notes_of(loaded, "leads") == {"recorded_before_occurred": 1, "created_at_changes": 1}


def test_merges_that_lead_nowhere_are_ignored_by_name(tmp_path: Path) -> None:
    into = {"l1": "l2", "l2": "", "a": "b", "b": "c", "c": "b", "d": "d", "e": "nobody"}
    rows = [
        {**GOOD["leads"], "lead_id": lead, "merged_into": other} for lead, other in into.items()
    ]
    load(tmp_path, {})
    pd.DataFrame(rows).to_csv(tmp_path / "leads.csv", index=False)
    loaded = load_tables(TOLERANT, tmp_path, now=NOW)
    merged = loaded.tables.leads.set_index("lead_id").merged_into.dropna()
    assert merged.to_dict() == {"l1": "l2", "a": "b"}
    assert notes_of(loaded, "leads") == {
        "merged_into_itself": 1,
        "merged_into_unknown_lead": 1,
        "merged_in_a_circle": 2,
    }


def test_a_contact_without_its_own_time_is_known_with_its_opportunity(tmp_path: Path) -> None:
    tables = load(tmp_path, {"opportunity_leads": [], "accounts": []}).tables
    contacts = tables.opportunity_leads
    assert contacts.recorded_at.tolist() == [pd.Timestamp("2024-03-01 10:00")]
    assert tables.accounts.recorded_at.tolist() == [pd.Timestamp("1900-01-01")]


def test_an_event_recorded_before_it_occurred_counts_from_when_it_occurred(tmp_path: Path) -> None:
    rows = [
        {**GOOD["engagement_events"], "event_id": "e1", "recorded_at": "2024-01-15 10:00:00"},
        {**GOOD["engagement_events"], "event_id": "e2", "recorded_at": "2024-03-15 10:00:00"},
        {**GOOD["engagement_events"], "event_id": "e3", "recorded_at": ""},
    ]
    load(tmp_path, {})
    pd.DataFrame(rows).to_csv(tmp_path / "engagement_events.csv", index=False)
    loaded = load_tables(TOLERANT, tmp_path, now=NOW)
    months = loaded.tables.engagement_events.recorded_at.dt.month.tolist()
    assert months == [2, 3, 2]
    assert notes_of(loaded, "engagement_events") == {"recorded_before_occurred": 1}


def test_a_row_dated_2099_and_a_lone_late_row_do_not_move_data_until(tmp_path: Path) -> None:
    days = pd.date_range("2024-01-01", periods=300, freq="6h")
    extra = [{"event_id": f"x{n}", "occurred_at": str(day)} for n, day in enumerate(days, 1)]
    regular = load(tmp_path, {"engagement_events": extra}).tables.data_until
    assert regular == pd.Timestamp("2024-04-01 10:00")  # the closing
    late = [*extra, {"event_id": "y", "occurred_at": "2024-11-30"}]
    loaded = load(tmp_path, {"engagement_events": late})
    assert loaded.tables.data_until == regular
    assert "straggler" in [note.name for note in loaded.report.notes]
    assert notes_of(loaded, "engagement_events")["after_data_until"] == 1
    future = [*extra, {"event_id": "y", "occurred_at": "2099-01-01"}]
    loaded = load(tmp_path, {"engagement_events": future})
    assert loaded.tables.data_until == regular
    rejected = report_of(loaded, "engagement_events").rejected
    assert rejected == {"occurred_in_future:occurred_at": 1}


@pytest.mark.parametrize(
    ("rows_after", "gap_days", "left_out"),
    [
        (1, 61, True),
        (2, 61, True),
        (3, 61, False),  # three rows are a pattern
        (1, 60, False),  # a quiet season
    ],
)
def test_the_boundaries_of_a_straggler(rows_after: int, gap_days: int, left_out: bool) -> None:
    index = pd.DatetimeIndex(
        ["2020-01-01", pd.Timestamp("2020-01-01") + pd.Timedelta(days=gap_days)]
    )
    counts = pd.Series([1000, rows_after], index=index)
    found, stragglers = newest_plausible(counts, NOW)
    assert found == index[0 if left_out else 1]
    assert stragglers == (rows_after if left_out else 0)


def test_in_a_small_table_the_newest_rows_are_no_stragglers() -> None:
    index = pd.DatetimeIndex(["2020-01-01", "2021-01-01"])
    assert newest_plausible(pd.Series([50, 1], index=index), NOW) == (index[1], 0)
    assert newest_plausible(pd.Series([], index=index[:0], dtype=int), NOW) == (None, 0)


def test_an_import_of_old_events_within_an_hour_is_named(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    days = pd.Timestamp("2024-01-02") + pd.to_timedelta(random.uniform(0, 90, 400), unit="D")
    recorded = days.where(np.arange(400) >= 40, pd.Timestamp("2024-04-02 03:20"))
    events = pd.DataFrame(
        {"lead_id": "l1", "event_type": "visit", "occurred_at": days, "recorded_at": recorded}
    )
    load(tmp_path, {})
    events.to_csv(tmp_path / "engagement_events.csv", index=False)
    loaded = load_tables(TOLERANT, tmp_path, now=NOW)
    (note,) = report_of(loaded, "engagement_events").notes
    assert (note.name, note.count) == ("bulk_load", 40)
    assert "10% of visit" in note.text
    assert "2024-04-02 03:00" in note.text


def test_dates_among_the_attributes_are_named_and_left_out(tmp_path: Path) -> None:
    load(tmp_path, {})
    rows = pd.DataFrame([GOOD["leads"]]).assign(born="1980-05-05", zip="01234", vip="TRUE", n="0.5")
    rows.to_csv(tmp_path / "leads.csv", index=False)
    loaded = load_tables(TOLERANT, tmp_path, now=NOW)
    leads = loaded.tables.leads
    assert notes_of(loaded, "leads") == {"date_column_not_used": 1}
    assert leads[["zip", "vip", "n"]].iloc[0].tolist() == ["01234", "true", 0.5]
