"""E-mail addresses never leave the loader; their domain and a hash do."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
import pytest

from features.catalogue.catalogue import build_catalogue, flat_catalogue
from features.config import Config, FeatureConfig, FlatSource
from features.loading.flat import load_flat, load_flat_rows
from features.loading.load_report import LoadReport
from features.loading.sources import load_tables
from features.tables import Tables

NOW = pd.Timestamp("2024-12-31")
ADDRESSES = [" Anna.Smith@ACME.com ", "bo@gmail.com", "anna.smith@acme.com", ""]
HASH = hashlib.sha256(b"anna.smith@acme.com").hexdigest()[:32]


def load(folder: Path, **columns: list[str]) -> tuple[Tables, LoadReport]:
    leads = {"lead_id": list("abcd"), "created_at": ["2024-01-01 10:00:00"] * 4, **columns}
    pd.DataFrame(leads).to_csv(folder / "leads.csv", index=False)
    (folder / "opportunities.csv").write_text(
        "opportunity_id,lead_id,created_at,stage,closed_at\no1,a,2024-03-01,open,\n"
    )
    loaded = load_tables(Config(), folder, now=NOW)
    return loaded.tables, loaded.report


def holds_an_address(rows: pd.DataFrame) -> bool:
    texts = rows.select_dtypes("str")
    return bool(texts.apply(lambda column: column.str.contains("@", na=False)).any().any())


@pytest.mark.parametrize("name", ["email", "E-Mail", "EMAIL_ADDRESS", "e_mail", "contact"])
def test_of_an_address_only_the_domain_and_a_hash_are_kept(tmp_path: Path, name: str) -> None:
    tables, report = load(tmp_path, **{name: ADDRESSES})
    leads = tables.leads
    assert name not in leads and not holds_an_address(leads)
    assert leads["email_domain"].tolist()[:3] == ["acme.com", "gmail.com", "acme.com"]
    assert leads["email_hash"].tolist()[:3] == [HASH, leads["email_hash"][1], HASH]
    assert leads[["email_domain", "email_hash"]].isna().all(axis=1).tolist() == [False] * 3 + [True]
    notes = [note for note in report.tables[0].notes if note.name == "email_address_not_kept"]
    assert [note.count for note in notes] == [1] and name in notes[0].text
    assert "@" not in "\n".join(report.lines())


def test_the_hash_is_never_a_feature_and_the_domain_is_one(tmp_path: Path) -> None:
    tables, _ = load(tmp_path, email=ADDRESSES)
    assert tables.attributes("leads") == ["source", "email_domain"]
    catalogue = build_catalogue(tables, FeatureConfig(), NOW)
    streams = {feature.stream for feature in catalogue.features}
    assert "leads.email_domain" in streams
    assert not any("email_hash" in stream for stream in streams)


def test_a_hash_of_the_users_own_is_kept_and_no_feature(tmp_path: Path) -> None:
    tables, _ = load(tmp_path, email_hash=["x1", "x2", "x1", "x3"])
    assert tables.leads["email_hash"].tolist() == ["x1", "x2", "x1", "x3"]
    assert "email_hash" not in tables.attributes("leads")


def test_the_users_own_domain_column_stays(tmp_path: Path) -> None:
    tables, _ = load(tmp_path, email=ADDRESSES, Email_Domain=["w.org", "x.org", "y.org", "z.org"])
    assert tables.leads["Email_Domain"].tolist() == ["w.org", "x.org", "y.org", "z.org"]
    assert "email_domain" not in tables.leads
    assert tables.leads["email_hash"][0] == HASH


def test_every_column_of_addresses_goes_and_the_usual_one_is_read(tmp_path: Path) -> None:
    tables, _ = load(tmp_path, manager=["x@y.org"] * 4, email=ADDRESSES)
    assert not holds_an_address(tables.leads)
    assert "manager" not in tables.leads
    assert tables.leads["email_domain"][0] == "acme.com"


def test_a_mention_of_an_address_or_a_yes_makes_no_address_column(tmp_path: Path) -> None:
    rows = {"email": ["yes", "no", "yes", "no"], "handle": ["@a", "b", "c", "d"]}
    tables, report = load(tmp_path, **rows)
    assert tables.attributes("leads") == ["source", "email", "handle"]
    assert not any("email" in note.name for note in report.tables[0].notes)


def test_cells_of_an_address_column_that_are_none_give_nothing(tmp_path: Path) -> None:
    tables, _ = load(tmp_path, email=["none", "bo@gmail.com", "see notes", "a@b"])
    assert tables.leads["email_domain"].isna().tolist() == [True, False, True, True]
    assert not holds_an_address(tables.leads)


FLAT = pd.DataFrame({"Id": list("abcd"), "Email": ADDRESSES, "Won": ["1", "0", "0", "0"]})


def test_a_flat_export_keeps_no_address_either(tmp_path: Path) -> None:
    FLAT.to_csv(tmp_path / "export.csv", index=False)
    source = FlatSource(path="export.csv", lead_id="Id", label="Won")
    found = load_flat(Config(flat=source), tmp_path, now=NOW)
    assert not holds_an_address(found.rows)
    assert found.attributes == ("email_domain",)
    assert found.rows["email_hash"][0] == HASH
    rows = found.rows[list(found.attributes)]
    assert "email_domain" in flat_catalogue(rows, FeatureConfig()).names


def test_new_leads_with_addresses_can_be_scored_by_their_domain(tmp_path: Path) -> None:
    FLAT.drop(columns="Won").to_csv(tmp_path / "new.csv", index=False)
    source = FlatSource(path="export.csv", lead_id="Id", label="Won")
    config = Config(flat=source)
    found = load_flat_rows(tmp_path / "new.csv", config, {"email_domain": "category"}, now=NOW)
    assert found.rows["email_domain"].tolist()[:2] == ["acme.com", "gmail.com"]
    assert not holds_an_address(found.rows)
