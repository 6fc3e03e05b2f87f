"""What is odd about columns and tables is named and counted, without anyone's data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_crm import small_config, small_tables
from tables_builder import day, tables_of

from features.loading.flat import load_flat
from features.loading.load_report import LoadReport, TableReport
from features.quality.column_quality import look_at_attributes
from features.quality.findings import Finding
from features.quality.maturity import maturity_of
from features.quality.quality import Quality, grouped, quality_of, quality_of_flat

SECRET = "jane.doe@customer.example"
CONFIG = small_config(training={"horizon_days": 90})


def names(quality: Quality) -> dict[str, str]:
    """Subject by the name of each finding that is no jump in volume."""
    return {found.name: found.subject for found in quality.findings}


def odd(columns: dict[str, object], since: object = None) -> dict[str, str]:
    """Column -> kind of finding, for columns of one table `t`."""
    series = {name: pd.Series(values) for name, values in columns.items()}
    dates = None if since is None else pd.Series(since)
    _, found = look_at_attributes("t", series, dates)
    return {finding.subject.removeprefix("t."): finding.name for finding in found}


ROWS = np.arange(200)
WORDS = pd.array(np.array(["red", "green", "blue"])[ROWS % 3], dtype="str")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pd.array([None] * 200, dtype="str"), "empty"),
        (pd.array(["Germany"] * 200, dtype="str"), "constant"),
        # one value or none is a fact about the row, not a constant
        (pd.array(["yes", None] * 100, dtype="str"), None),
        (np.where(ROWS < 9, 1.0, np.nan), "mostly_missing"),
        (np.where(ROWS < 11, 1.0, np.nan), None),
        (pd.array([f"id {row}" for row in ROWS], dtype="str"), "many_values"),
        (pd.array([f"name {row // 2}" for row in ROWS], dtype="str"), None),
        (WORDS, None),
        (ROWS * 7 % 1009 + 1.0, "numbered_rows"),
        (ROWS + 0.5, None),  # an amount
        (ROWS // 2 * 1.0, None),
    ],
)
def test_a_column_is_odd_by_what_it_holds(values: object, kind: str | None) -> None:
    assert odd({"column": values}) == ({} if kind is None else {"column": kind})


def test_a_number_that_grows_with_time_is_a_warning_only_where_there_are_dates() -> None:
    dates = pd.date_range("2024-01-01", periods=200)
    assert odd({"number": 1000.0 + ROWS}, dates) == {"number": "running_number"}
    assert odd({"number": 1000.0 + ROWS[::-1]}, dates) == {"number": "running_number"}
    shuffled = np.random.default_rng(0).permutation(200) * 1.0
    assert odd({"number": shuffled}, dates) == {"number": "numbered_rows"}
    assert odd({"number": 1000.0 + ROWS}) == {"number": "numbered_rows"}


def test_columns_that_say_the_same_by_other_names_are_duplicates() -> None:
    other_names = pd.array(np.array(["r", "g", "b"])[ROWS % 3], dtype="str")
    numbers = np.array([7.0, np.nan, 1.0])[ROWS % 3]  # missing is a name too
    found = odd({"colour": WORDS, "short": other_names, "number": numbers})
    assert found == {"colour": "duplicate_column"}
    nearly = other_names.copy()
    nearly[0] = "g"
    assert odd({"colour": WORDS, "short": nearly}) == {}


def test_columns_that_are_equal_in_a_few_rows_only_may_be_so_by_chance() -> None:
    rare, same = (pd.array(np.where(ROWS < 4, name, "no"), dtype="str") for name in ("a", "b"))
    assert odd({"rare": rare, "same": same}) == {}
    # two amounts that differ in every row
    assert odd({"amount": ROWS + 0.5, "other": (ROWS * 7 % 1009) + 0.25}) == {}


def test_the_newest_row_of_a_lead_counts_its_missing_values() -> None:
    rows = [
        {"lead_id": "a", "created_at": 0, "recorded_at": 0, "size": None},
        {"lead_id": "a", "created_at": 0, "recorded_at": 5, "size": 4.0},
        {"lead_id": "b", "created_at": 0, "recorded_at": 0, "size": 3.0},
        {"lead_id": "b", "created_at": 0, "recorded_at": 5, "size": 5.0},
    ]
    quality = quality_of(tables_of(leads=rows), CONFIG)
    (size,) = [column for column in quality.columns if column.column == "leads.size"]
    assert (size.rows, size.missing_share, size.distinct) == (2, 0.0, 2)


def test_events_before_their_lead_are_counted_by_day() -> None:
    leads = [{"lead_id": "a", "created_at": 10.5}]
    times = [10, 10.9, 3, 9.9, 20]  # the day of creation is no day before it
    events = [{"lead_id": "a", "event_type": "visit", "occurred_at": time} for time in times]
    quality = quality_of(tables_of(leads=leads, engagement_events=events), CONFIG)
    (found,) = [finding for finding in quality.findings if finding.name == "event_before_lead"]
    assert (found.count, found.share, found.severity) == (2, 0.4, "note")
    assert "by 4 days in the median" in found.text


def test_rows_that_belong_to_nobody_are_counted_also_those_set_aside() -> None:
    tables = tables_of(
        leads=[
            {"lead_id": "a", "created_at": 0, "account_id": "X"},
            {"lead_id": "b", "created_at": 0, "account_id": "gone"},
        ],
        accounts=[{"account_id": "X", "industry": "steel"}],
        opportunities=[
            {"opportunity_id": "o1", "created_at": 1, "stage": "open", "lead_id": "a"},
            {"opportunity_id": "o2", "created_at": 1, "stage": "open", "lead_id": "lost"},
            {"opportunity_id": "o3", "created_at": 1, "stage": "open", "account_id": "nobody"},
            {"opportunity_id": "o4", "created_at": 1, "stage": "open", "account_id": "gone"},
        ],
    )
    rejected = {"event_of_unknown_lead": 30, "duplicate_event_id": 9}
    table = TableReport("engagement_events", "events.csv", 1_000, 961, rejected)
    quality = quality_of(tables, CONFIG, LoadReport((table,), tables.data_until, {}))
    found = {finding.name: (finding.count, finding.severity) for finding in quality.findings}
    assert found["event_of_unknown_lead"] == (30, "note")
    assert found["opportunity_of_unknown_lead"] == (1, "warn")
    assert found["opportunity_of_unknown_account"] == (1, "warn")
    assert found["lead_of_unknown_account"] == (1, "warn")
    assert "duplicate_event_id" not in found
    assert "name an account that is not there" in "\n".join(quality.lines())


def test_one_person_under_two_lead_ids_counts_unless_merged() -> None:
    def leads(merged: str | None) -> Quality:
        rows = [{"lead_id": f"l{n}", "created_at": 0, "email_hash": f"h{n}"} for n in range(96)]
        rows += [
            {"lead_id": "again", "created_at": 1, "email_hash": "h1", "merged_into": merged},
            {"lead_id": "none", "created_at": 1},
            {"lead_id": "neither", "created_at": 1},
        ]
        return quality_of(tables_of(leads=rows), CONFIG)

    (found,) = [finding for finding in leads(None).findings if finding.name == "duplicate_lead"]
    assert (found.count, found.severity) == (2, "note")
    assert "duplicate_lead" not in names(leads("l1"))
    assert not any("duplicate leads" in missing for missing in leads(None).not_computed)
    without = quality_of(tables_of(leads=[{"lead_id": "a", "created_at": 0}]), CONFIG)
    assert any("no column email" in missing for missing in without.not_computed)


def test_an_account_with_a_fifth_of_the_leads_is_no_company() -> None:
    def accounts(giant: int) -> Quality:
        rows = [
            {"lead_id": f"l{n}", "created_at": 0, "account_id": "?" if n < giant else f"A{n % 40}"}
            for n in range(400)
        ]
        return quality_of(tables_of(leads=rows), CONFIG)

    assert names(accounts(100))["giant_account"] == "leads.account_id"
    assert "giant_account" not in names(accounts(60))


def deals(*days: tuple[str, float, float]) -> list[dict[str, object]]:
    return [
        {
            "opportunity_id": f"o{number}",
            "lead_id": lead,
            "created_at": created,
            "stage": "closed_won",
            "closed_at": closed,
        }
        for number, (lead, created, closed) in enumerate(days)
    ]


def test_a_lead_is_matured_one_horizon_after_its_creation_and_wins_within_it() -> None:
    created = {"a": 0, "b": 1, "c": 2, "d": 10, "e": 11}
    leads = [{"lead_id": name, "created_at": at} for name, at in created.items()]
    won = deals(("a", 5, 89.5), ("b", 5, 91), ("c", 1, 1.5), ("e", 12, 20))
    found = maturity_of(tables_of(until=100, leads=leads, opportunities=won), CONFIG)
    # a wins on its day 89; b on its day 90, too late; c before it was created; d is exactly old
    # enough; e won, but is too young to be counted
    assert [(m.month, m.leads, m.matured, m.won) for m in found.months] == [("2024-01", 5, 4, 1)]
    assert found.months[0].win_rate == 0.25


def test_months_whose_outcomes_are_missing_are_found_and_barren_small_ones_are_not() -> None:
    def found(first_won: int, leads_a_month: int) -> set[str]:
        leads = [
            {"lead_id": f"{month}-{n}", "created_at": 31 * month + 0.1}
            for month in range(8)
            for n in range(leads_a_month)
        ]
        won = deals(
            *((f"{month}-{n}", 31 * month + 1, 31 * month + 9) for month in range(first_won, 8)
              for n in range(0, leads_a_month, 5))
        )  # fmt: skip
        tables = tables_of(until=2000, leads=leads, opportunities=won)
        return {finding.name for finding in maturity_of(tables, CONFIG).findings()}

    assert found(first_won=3, leads_a_month=120) == {"month_without_wins"}
    assert found(first_won=0, leads_a_month=120) == set()
    assert found(first_won=3, leads_a_month=20) == set()


def test_stray_months_are_left_out() -> None:
    leads = [{"lead_id": f"l{n}", "created_at": n / 5} for n in range(300)]
    old = {"lead_id": "old", "created_at": -5000}
    months = maturity_of(tables_of(leads=[*leads, old]), CONFIG).months
    assert [month.month for month in months] == ["2024-01", "2024-02"]


def test_nothing_about_the_demo_is_a_warning() -> None:
    quality = quality_of(small_tables(), small_config())
    assert quality.warnings == 0, quality.lines()
    assert sum(month.leads for month in quality.maturity.months) > 1_000


def test_the_order_of_rows_changes_no_finding() -> None:
    tables = small_tables()
    shuffled = {
        name: getattr(tables, name).sample(frac=1, random_state=5).reset_index(drop=True)
        for name in ("engagement_events", "opportunities", "opportunity_leads", "stage_changes")
    }
    one = quality_of(tables, small_config())
    assert one.as_dict() == quality_of(replace(tables, **shuffled), small_config()).as_dict()


def test_a_quality_is_plain_json_and_shows_no_ones_data() -> None:
    rows = [
        {"lead_id": f"{SECRET}{n}", "created_at": n / 10, "note": f"{SECRET} {n}", "same": SECRET}
        for n in range(100)
    ]
    events = [
        {"lead_id": row["lead_id"], "event_type": "visit", "occurred_at": row["created_at"] - 3}
        for row in rows
    ]
    quality = quality_of(tables_of(leads=rows, engagement_events=events), CONFIG)
    assert {"many_values", "constant", "event_before_lead"} <= set(names(quality))
    text = json.dumps(quality.as_dict(), allow_nan=False) + "\n".join(quality.lines())
    assert "jane" not in text


def test_warnings_come_first_and_columns_with_one_fault_share_a_line() -> None:
    rows = [
        {"lead_id": f"l{n}", "created_at": n / 4, "number": float(n), "b": "x", "c": "y", "d": "z"}
        for n in range(200)
    ]
    quality = quality_of(tables_of(leads=rows), CONFIG)
    lines = quality.lines()
    assert lines[0].startswith("warn: leads.number: a number that counts the rows up in time")
    assert "note: leads.b, leads.c, leads.d: one value in every row" in lines
    assert [finding.count for finding in grouped(quality.findings) if "," in finding.subject] == [3]
    apart = [Finding("orphan", "note", name, 1, f"of {name}") for name in "ab"]
    assert grouped(apart) == apart


def flat(folder: Path, text: str, **settings: object) -> Quality:
    (folder / "flat.csv").write_text(text)
    config = small_config(
        flat={"path": "flat.csv", "lead_id": "person", **settings},
        data={"data_until": "2025-07-01", "max_rejected_share": 1},
        training={"horizon_days": 91},
    )
    return quality_of_flat(load_flat(config, folder, labels_needed=False), config)


FLAT = "person,seen,visits,won,won_on\n" + "".join(
    f"p{n},2025-0{1 + n % 6}-02,{n % 4},{'yes' if n % 5 == 0 else 'no'},"
    f"{f'2025-0{1 + n % 6}-20' if n % 5 == 0 else ''}\n"
    for n in range(120)
)


def test_a_flat_export_has_its_label_by_month_as_far_as_it_is_known(tmp_path: Path) -> None:
    dropped = {"drop": ["won_on"], "label": "won", "as_of": "seen"}
    known = flat(tmp_path, FLAT, labels_known_until="2025-07-01", **dropped)
    months = known.maturity.months
    # 91 days from 2 April are 2 July: not matured by a day
    assert [month.matured for month in months] == [20, 20, 20, 0, 0, 0]
    assert sum(month.leads for month in months) == 120
    unknown = flat(tmp_path, FLAT, **dropped).maturity
    assert not unknown.is_known
    assert [month.matured for month in unknown.months] == [20] * 6
    by_win = flat(tmp_path, FLAT, drop=["won"], won_at="won_on", as_of="seen").maturity
    assert [month.won for month in by_win.months] == [4, 4, 4, 0, 0, 0]


def test_a_flat_export_without_dates_or_label_says_what_was_not_looked_at(tmp_path: Path) -> None:
    undated = flat(tmp_path, FLAT, label="won", drop=["seen", "won_on"])
    assert "label maturity: there are no dates" in undated.not_computed
    unlabelled = flat(tmp_path, FLAT, as_of="seen", drop=["won", "won_on"])
    assert "label maturity: there are no outcomes" in unlabelled.not_computed
    assert [column.column for column in unlabelled.columns] == ["leads.visits"]


def test_a_data_set_without_outcomes_says_so() -> None:
    quality = quality_of(tables_of(leads=[{"lead_id": "a", "created_at": day(0)}]), CONFIG)
    assert quality.maturity is None
    assert quality.volume is None
    assert "label maturity: there are no opportunities" in quality.not_computed
