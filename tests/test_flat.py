"""Flat exports: one row per lead with its label becomes one snapshot."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from features.config import Config, DataConfig, FlatSource
from features.errors import InputError
from features.loading.flat import FlatExport, load_flat, load_flat_rows

NOW = pd.Timestamp("2024-12-31")
ROWS = pd.DataFrame(
    {
        "Id": ["c", "a", "b", "d"],
        "Company": ["x", None, "x", None],
        "Asked on": ["2024-01-03", "2024-01-02", "2024-01-02", "2024-02-01"],
        "Won on": ["2024-01-03", None, "2024-03-01", None],
        "Converted": ["Yes", "no", "YES", "No"],
        "Size": ["10", "", "2.5", "7"],
        "City": ["Rome", "Oslo", "", "Rome"],
    }
)
TOLERANT = DataConfig(max_rejected_share=1)


def flat(folder: Path, rows: pd.DataFrame = ROWS, **settings: object) -> FlatExport:
    rows.to_csv(folder / "export.csv", index=False)
    source = FlatSource.model_validate({"path": "export.csv", **settings})
    return load_flat(Config(flat=source, data=TOLERANT), folder, now=NOW)


def test_rows_are_snapshots_with_label_and_instants(tmp_path: Path) -> None:
    found = flat(
        tmp_path,
        lead_id="Id",
        account_id="Company",
        as_of="Asked on",
        label="Converted",
        won_at="Won on",
        labels_known_until="2024-06-01",
    )
    rows = found.rows
    assert list(rows.columns) == [
        *("lead_id", "account_id", "as_of", "is_eligible"),
        *("Size", "City", "won", "won_at"),
    ]
    assert rows.lead_id.tolist() == ["a", "b", "c", "d"]  # by as_of, then id
    assert rows.dtypes.astype(str).to_dict() == {
        "lead_id": "str",
        "account_id": "str",
        "as_of": "datetime64[us]",
        "is_eligible": "bool",
        "Size": "float32",
        "City": "str",
        "won": "float64",
        "won_at": "datetime64[us]",
    }
    assert rows.won.tolist() == [0.0, 1.0, 1.0, 0.0]
    assert rows.won_at[2] == rows.as_of[2]  # won on the day it asked
    assert found.attributes == ("Size", "City")
    assert found.labels_known_until == pd.Timestamp("2024-06-01")
    assert found.data_until == pd.Timestamp("2024-03-02")  # the last win's day is over


def test_without_dates_and_ids_the_row_number_is_the_id(tmp_path: Path) -> None:
    found = flat(tmp_path, label="Converted", drop=["Id", "Won on", "Asked on"])
    assert found.rows.lead_id.tolist() == ["1", "2", "3", "4"]
    assert found.rows.as_of.isna().all()
    assert found.data_until is None
    assert found.attributes == ("Company", "Size", "City")


@pytest.mark.parametrize(
    "words", [("1", "0"), ("1.0", "0.0"), ("Won", "Lost"), ("TRUE", "False"), ("y", "n")]
)
def test_labels_may_be_written_in_many_ways(tmp_path: Path, words: tuple[str, str]) -> None:
    rows = ROWS.assign(Converted=[words[0], words[1], words[0], ""])
    won = flat(tmp_path, rows, label="Converted").rows.won
    assert won[:3].tolist() == [1.0, 0.0, 1.0]
    assert won.isna().tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (["Customer", "Lost", "Lost", "Lost"], 'holds "customer", "lost"'),
        (["anna@x.org", "b", "c", "d"], "4 or more values"),
        (["Yes", "Yes", "Yes", ""], "only won leads"),
        (["No", "No", "No", "No"], "no won lead"),
        (["", "", "", ""], "no value"),
    ],
)
def test_labels_that_teach_nothing_are_refused(
    tmp_path: Path, labels: list[str], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        flat(tmp_path, ROWS.assign(Converted=labels), label="Converted")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "needs label or won_at"),
        ({"label": "Convertd"}, "Found: Converted"),
        ({"label": "Converted", "drop": ["Town"]}, "lacks: Town"),
        ({"won_at": "Won on"}, "needs as_of"),
        ({"label": "Size"}, "holds"),
    ],
)
def test_wrong_settings_are_one_message(
    tmp_path: Path, settings: dict[str, object], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        flat(tmp_path, **settings)


def test_a_column_with_a_name_of_ours_is_refused_unless_mapped_or_dropped(tmp_path: Path) -> None:
    rows = ROWS.assign(won="1")
    with pytest.raises(InputError, match="column won of its own"):
        flat(tmp_path, rows, label="Converted")
    assert "won" in flat(tmp_path, rows, label="Converted", drop=["won"]).rows


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"Won on": "2023-12-31"}, "won_before_as_of"),
        ({"Asked on": "2nd of May"}, "unreadable_instant:as_of"),
        ({"Asked on": ""}, "missing_required:as_of"),
        ({"Asked on": "2099-01-01"}, "occurred_in_future:as_of"),
        ({"Id": ""}, "missing_id:lead_id"),
        ({"Id": "a"}, "duplicate_id:lead_id"),
        ({"City": "Ro\x00me"}, "text_has_nul"),
    ],
)
def test_a_row_that_breaks_a_rule_is_set_aside(
    tmp_path: Path, change: dict[str, str], rule: str
) -> None:
    rows = pd.concat([ROWS, ROWS.iloc[[1]].assign(**{"Id": "e", **change})])
    found = flat(
        tmp_path, rows, lead_id="Id", as_of="Asked on", won_at="Won on", drop=["Converted"]
    )
    if rule == "duplicate_id:lead_id":  # the same row twice is no conflict
        rule = "exact_duplicate_row"
    assert found.report.tables[0].rejected == {rule: 1}
    assert len(found.rows) == 4


def test_new_leads_are_read_in_file_order_with_the_models_types(tmp_path: Path) -> None:
    ROWS.assign(City="7", Size=["1", "x", "", "3"]).to_csv(tmp_path / "new.csv", index=False)
    config = Config(flat=FlatSource(path="export.csv", lead_id="Id", as_of="When", label="Won"))
    found = load_flat_rows(
        tmp_path / "new.csv", config, {"City": "category", "Size": "number"}, now=NOW
    )
    assert found.rows.lead_id.tolist() == ["c", "a", "b", "d"]
    assert found.rows.City.tolist() == ["7"] * 4
    assert found.rows.Size.isna().tolist() == [False, True, True, False]
    assert found.rows.as_of.isna().all()
    assert [(note.name, note.count) for note in found.report.tables[0].notes] == [
        ("unreadable_number", 1)
    ]


def test_new_leads_without_the_models_columns_are_refused_by_name(tmp_path: Path) -> None:
    ROWS.to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(InputError, match="lacks 1 column that the model needs: Town"):
        load_flat_rows(tmp_path / "new.csv", Config(), {"Town": "category", "Size": "number"})
    (tmp_path / "new.csv").write_text("Town\n")
    with pytest.raises(InputError, match="no rows"):
        load_flat_rows(tmp_path / "new.csv", Config(), {"Town": "category"})


def test_the_order_of_rows_changes_nothing(tmp_path: Path) -> None:
    settings = {"lead_id": "Id", "as_of": "Asked on", "label": "Converted"}
    expected = flat(tmp_path, **settings)
    found = flat(tmp_path, ROWS.iloc[::-1], **settings)
    pd.testing.assert_frame_equal(found.rows, expected.rows)
    assert found.digest == expected.digest
