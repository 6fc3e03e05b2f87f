"""The audit of contract tables: what dates tell, and what exports without dates hide."""

from dataclasses import replace

import numpy as np
import pandas as pd
from small_crm import small_config, small_tables

from features.parts.partitions import load_partitions
from training.audit.audit import audit_examples, without_blocked
from training.audit.recorded import recorded_evidence
from training.examples import attributed, examples_from_tables
from training.simulate import simulate, write_demo

DAY = pd.Timedelta(days=1)


def load(folder, **made):
    from features.loading.sources import load_tables

    demo = simulate(leads=3_000, **made)
    write_demo(demo, folder)
    return demo, load_tables(small_config(), folder).tables


def audited(tables, config=None):
    config = config or small_config()
    examples = examples_from_tables(tables, config)
    return examples, audit_examples(examples, tables, config)


def current_state(tables):
    """The same tables as most CRMs export them: today's values, undated."""
    leads = tables.leads.drop_duplicates("lead_id", keep="last")
    accounts = tables.accounts.drop_duplicates("account_id", keep="last")
    return replace(
        tables,
        leads=leads.assign(recorded_at=leads["created_at"]).reset_index(drop=True),
        accounts=accounts.assign(recorded_at=pd.Timestamp("1900-01-01")).reset_index(drop=True),
        current_state=frozenset({"leads", "accounts"}),
    )


def test_exactly_the_planted_leaks_of_the_demo_are_blocked_dated_or_not(tmp_path):
    demo, tables = load(tmp_path, seed=1, planted_leaks=True)
    for as_exported in (tables, current_state(tables)):
        _, found = audited(as_exported)
        assert found.blocked() == sorted(demo.planted)
        assert len(found.findings) == 3


def test_a_demo_without_leaks_raises_no_question_dated_or_not():
    tables = small_tables()
    assert audited(tables)[1].findings == ()
    assert audited(current_state(tables))[1].findings == ()


def account_history(tables, rows):
    """`tables` with the column `late` of accounts, as recorded in `rows`."""
    accounts = tables.accounts.assign(
        late=pd.Series(pd.NA, index=tables.accounts.index, dtype="str")
    )
    known = accounts.drop_duplicates("account_id", keep="last").drop(
        columns=["late", "recorded_at"]
    )
    later = known.merge(rows.astype({"late": "str"}), on="account_id")[accounts.columns]
    later = later[later["recorded_at"] < tables.data_until]
    history = pd.concat([accounts, later.astype(accounts.dtypes.to_dict())])
    history = history.sort_values(["account_id", "recorded_at"], kind="stable", ignore_index=True)
    history["late"] = history.groupby("account_id")["late"].ffill()
    return replace(tables, accounts=history)


def closings(tables):
    """First closing of each account, and whether it was a win."""
    deals = tables.opportunities.dropna(subset=["account_id", "closed_at"])
    return deals.sort_values("closed_at").drop_duplicates("account_id")


def test_what_is_written_after_the_closing_is_blocked_though_no_snapshot_ever_sees_it():
    tables = small_tables()
    closed = closings(tables)
    rows = pd.DataFrame(
        {
            "account_id": closed["account_id"],
            "recorded_at": closed["closed_at"] + 5 * DAY,
            "late": np.where(closed["stage"] == "closed_won", "thank you", "maybe next year"),
        }
    )
    examples, found = audited(account_history(tables, rows))
    assert found.blocked() == ["accounts.late"]
    (evidence,) = found.findings[0].evidence
    assert evidence.name == "recorded_after_outcome"
    kept = without_blocked(examples, found)
    assert "accounts.late" not in {feature.stream for feature in kept.catalogue.features}


def test_an_honest_column_bought_late_is_not_blocked():
    """Half of the accounts are enriched at a random day, whatever became of them."""
    tables = small_tables()
    random = np.random.default_rng(4)
    first = tables.accounts.drop_duplicates("account_id")
    bought = first[random.random(len(first)) < 0.5]
    rows = pd.DataFrame(
        {
            "account_id": bought["account_id"],
            "recorded_at": bought["recorded_at"]
            + pd.to_timedelta(random.integers(30, 400, len(bought)), unit="D"),
            "late": random.choice(["small", "large"], len(bought)),
        }
    )
    assert audited(account_history(tables, rows))[1].findings == ()
    at_once = rows.assign(recorded_at=tables.data_until - 30 * DAY)
    assert audited(account_history(tables, at_once))[1].findings == ()


def test_what_is_late_for_everybody_is_no_sign_where_everybody_has_a_closed_deal():
    tables = small_tables()
    closed = closings(tables)
    is_closed = tables.accounts["account_id"].isin(closed["account_id"])
    tables = replace(tables, accounts=tables.accounts[is_closed].reset_index(drop=True))
    rows = pd.DataFrame({"account_id": closed["account_id"], "late": "rated"})
    rows = account_history(tables, rows.assign(recorded_at=tables.data_until - DAY))
    attribution = attributed(small_tables(), small_config())
    assert recorded_evidence(rows, attribution, ()) == {}


def test_a_status_that_only_changes_with_the_win_is_blocked_although_all_begin_alike():
    tables = small_tables()
    closed = closings(tables)
    won = closed[closed["stage"] == "closed_won"]
    first = tables.accounts.drop_duplicates("account_id")[["account_id", "recorded_at"]]
    begin = first.assign(late="prospect")
    ends = won[["account_id"]].assign(recorded_at=won["closed_at"] + DAY, late="customer")
    found = audited(account_history(tables, pd.concat([begin, ends])))[1]
    assert found.blocked() == ["accounts.late"]


def test_plans_beyond_the_end_of_the_data_are_no_leak_but_the_last_change_is():
    tables = small_tables()
    random = np.random.default_rng(5)
    created = tables.leads["created_at"]
    ahead = pd.to_timedelta(random.integers(60, 200, len(created)), unit="D")
    plan = (created + ahead).astype("int64") / 1e6
    end = tables.data_until - DAY
    changed = created + (end - created) * random.random(len(created)) ** 0.2
    leads = tables.leads.assign(plan=plan, changed=changed.astype("int64") / 1e6)
    found = audited(replace(tables, leads=leads))[1]
    assert found.blocked() == ["leads.changed"]
    assert len(found.findings) == 1


def test_an_account_that_leads_have_only_once_they_converted_takes_account_features_with_it():
    tables = current_state(small_tables())
    deals = attributed(small_tables(), small_config())
    converted = tables.leads["lead_id"].isin(deals.loc[deals["stage"] == "closed_won", "lead_id"])
    leads = tables.leads.assign(account_id=tables.leads["account_id"].where(converted))
    examples, found = audited(replace(tables, leads=leads))
    assert "leads.account_id" in found.blocked()
    kept = without_blocked(examples, found).catalogue.features
    assert not any(f.family == "account" or f.stream.startswith("accounts.") for f in kept)
    assert any(feature.family == "engagement" for feature in kept)


def test_people_with_one_e_mail_hash_are_told_apart_from_colleagues():
    tables = current_state(small_tables())
    ids = tables.leads["lead_id"]
    hashes = pd.Series([f"{n:064x}" for n in range(len(ids))], dtype="str")
    hashes[400:430] = hashes[:30].to_numpy()
    alone = tables.leads.assign(
        email_hash=hashes, account_id=tables.leads["account_id"].where(ids.isna())
    )
    _, found = audited(replace(tables, leads=alone))
    (twins,) = (one for one in found.duplicates if one.kind == "same_identifier")
    assert twins.columns == ("leads.email_hash",)
    assert twins.leads == 2 * twins.people > 20


def test_parts_are_fair_samples_and_the_audit_sees_all_of_them(tmp_path) -> None:
    demo = simulate(leads=6_000, seed=3, planted_leaks=True)
    write_demo(demo, tmp_path / "crm")
    config = small_config()
    loaded = load_partitions(config, tmp_path / "crm", tmp_path, least_parts=3)
    parts = [part.tables.leads["created_at"].median() for part in loaded.partitions]
    assert max(parts) - min(parts) < pd.Timedelta(days=30)
    examples = examples_from_tables(loaded.partitions, config)
    tables = loaded.partitions.overview()
    audit = audit_examples(examples, tables, config, partitions=loaded.partitions)
    assert sorted(audit.blocked()) == sorted(demo.planted)
    whole = load_partitions(config, tmp_path / "crm", tmp_path).partitions
    same = audit_examples(examples_from_tables(whole, config), whole.overview(), config)
    assert same.as_dict() == audit.as_dict()
