"""The audit on raw exports, nothing removed by hand; skipped where they are absent."""

import os
import tomllib
from pathlib import Path

import pytest

from features.config import Config
from features.loading.flat import load_flat
from features.loading.sources import load_tables
from training.audit.audit import audit_examples
from training.examples import examples_from_flat, examples_from_tables

ROOT = Path(__file__).parents[1]
EXPORTS = Path(os.environ.get("CLOSEDWON_DATA", ROOT.parent / "shared" / "data"))


def folder_of(name):
    folder = EXPORTS / name
    if not folder.is_dir():
        pytest.skip(f"no export {name} in {EXPORTS.name}: set CLOSEDWON_DATA")
    return folder


def settings(name):
    return tomllib.loads((ROOT / "examples" / f"{name}.toml").read_text())


def flat_audit(name, **flat):
    folder = folder_of(name)
    sections = settings(name)
    sections["flat"] = {**sections["flat"], **flat}
    config = Config.model_validate(sections)
    return audit_examples(examples_from_flat(load_flat(config, folder), config), None, config)


def test_xeducation_loses_two_columns_and_asks_about_the_other_late_ones():
    found = flat_audit("xeducation", sql="select * from 'leads.csv'")
    assert found.blocked() == ["leads.Lead Quality", "leads.Tags"]
    asked = {
        f.column.removeprefix("leads."): f.group for f in found.findings if f.level == "undated"
    }
    indexes = {"Activity Index", "Profile Index", "Activity Score", "Profile Score"}
    late = {f"Asymmetrique {index}" for index in indexes}
    assert {"Lead Profile", "Last Activity", "Last Notable Activity", *late} <= set(asked)
    assert len({asked[name] for name in late}) == 1
    assert {name for name, group in asked.items() if group == asked[min(late)]} == late


def test_relax_loses_the_last_session_and_nothing_else():
    folder = folder_of("relax")
    sections = settings("relax")
    raw = sections["tables"]["leads"]["sql"].replace(
        "email_domain", "email_domain, last_session_creation_time"
    )
    sections["tables"]["leads"]["sql"] = raw
    config = Config.model_validate(sections)
    tables = load_tables(config, folder).tables
    found = audit_examples(examples_from_tables(tables, config), tables, config)
    assert [finding.column for finding in found.findings] == ["leads.last_session_creation_time"]
    assert found.blocked() == ["leads.last_session_creation_time"]


def test_loan_loses_what_the_lender_sets_and_asks_about_what_was_asked_before():
    sql = """
    select *, strptime("Lead_Creation_Date", '%d/%m/%y') as created_at from read_csv('leads.csv.gz',
        types = {'DOB': 'VARCHAR', 'Lead_Creation_Date': 'VARCHAR'})
    """
    found = flat_audit("loan", sql=sql)
    assert found.blocked() == ["leads.EMI", "leads.Interest_Rate"]
    asked = {finding.column for finding in found.findings} - set(found.blocked())
    assert asked == {"leads.Loan_Amount", "leads.Loan_Period"}


def test_olist_loses_every_column_of_its_closed_deals_and_no_other():
    sql = """
    select * from 'marketing_qualified_leads.csv' left join 'closed_deals.csv' using (mql_id)
    where first_contact_date >= '2018-01-01'
    """
    found = flat_audit("olist", sql=sql)
    deals = (folder_of("olist") / "closed_deals.csv").read_text().splitlines()[0].split(",")
    expected = {f"leads.{name}" for name in deals} - {"leads.mql_id", "leads.won_date"}
    assert set(found.blocked()) == expected
    assert {finding.column for finding in found.findings} == expected
