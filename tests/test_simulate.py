"""The demo CRM: its truth against what happened, its size, its shape as an export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.fit.fit_columns import department, email_kind, fit_values, seniority
from features.tables import CONTRACT
from training.simulate import Demo, simulate, write_demo
from training.simulation.crm import crm_tables
from training.simulation.funnel import make_funnel
from training.simulation.history import play
from training.simulation.people import draw_people

END = pd.Timestamp("2026-01-05")
HORIZON = pd.Timedelta(days=91)
MOST_Z = 3.5
"Two-sided chance of 5e-4 for one z; the seeds are fixed, so it either always passes or never."


@pytest.fixture(scope="module")
def demo() -> Demo:
    return simulate(leads=8_000, seed=7)


@pytest.fixture(scope="module")
def lead_weeks(demo: Demo) -> pd.DataFrame:
    return _labelled(demo)


def _labelled(demo: Demo) -> pd.DataFrame:
    """Return the matured truth rows with `is_won`, `account` and what subsets need.

    is_won is 1 where a closed-won opportunity with closed_at in [as_of, as_of + 91 d) lists the
    lead, or the lead it was merged into by then; 0 for all others.
    """
    tables = demo.tables
    deals = tables["opportunities"]
    contacts = tables["opportunity_leads"][["opportunity_id", "lead_id"]]
    direct = deals[["opportunity_id", "lead_id"]].dropna()
    links = pd.concat([contacts, direct]).merge(deals.drop(columns="lead_id"), on="opportunity_id")
    wins = links[links["stage"] == "closed_won"][["lead_id", "closed_at"]]
    merges = tables["leads"].dropna(subset=["merged_into"])
    through = merges[["lead_id", "merged_into", "recorded_at"]].merge(
        wins.rename(columns={"lead_id": "merged_into"}), on="merged_into"
    )
    through = through[through["recorded_at"] <= through["closed_at"]]
    won_at = pd.concat([wins, through[["lead_id", "closed_at"]]]).groupby("lead_id")["closed_at"]
    assert won_at.nunique().max() == 1, "a lead is won once"
    rows = demo.truth[demo.truth["as_of"] + HORIZON <= END].copy()
    closed = rows["lead_id"].map(won_at.min())
    rows["is_won"] = (closed >= rows["as_of"]) & (closed < rows["as_of"] + HORIZON)
    people = tables["leads"].drop_duplicates("lead_id").set_index("lead_id")
    rows["account_id"] = rows["lead_id"].map(people["account_id"])
    rows["account"] = rows["account_id"].fillna(rows["lead_id"])
    return rows.reset_index(drop=True)


def _z(rows: pd.DataFrame) -> float:
    """Return how many standard errors wins are from what the truth says, clustered by account."""
    residual = rows["is_won"] - rows["probability"]
    by_account = residual.groupby(rows["account"]).sum()
    return float(by_account.sum() / np.sqrt((by_account**2).sum()))


def test_wins_happen_as_often_as_the_truth_says(lead_weeks: pd.DataFrame) -> None:
    assert abs(_z(lead_weeks)) < MOST_Z
    # Ten parts of equally many expected wins: z means nothing where a single account could win.
    ranked = lead_weeks.sort_values("probability")
    part = (9.999 * ranked["probability"].cumsum() / ranked["probability"].sum()).astype(int)
    assert part.nunique() == 10
    for number, rows in ranked.groupby(part):
        assert abs(_z(rows)) < MOST_Z, f"part {number}"
    is_late = lead_weeks["as_of"] >= lead_weeks["as_of"].median()
    for half in (lead_weeks[is_late], lead_weeks[~is_late]):
        assert abs(_z(half)) < MOST_Z


def test_the_truth_holds_for_every_kind_of_lead(demo: Demo, lead_weeks: pd.DataFrame) -> None:
    tables = demo.tables
    accounts = tables["accounts"].sort_values("recorded_at")
    first = accounts.drop_duplicates("account_id").set_index("account_id")
    unknown_fit = first.index[first["industry"].isna() | first["employees"].isna()]
    merges = tables["leads"].dropna(subset=["merged_into"])
    merged_at = merges.groupby("merged_into")["recorded_at"].min()
    first_deal = tables["opportunities"].groupby("account_id")["created_at"].min()
    first_mql = (
        tables["stage_changes"].query("stage == 'mql'").groupby("lead_id")["changed_at"].min()
    )
    roles = tables["leads"].drop_duplicates("lead_id").set_index("lead_id")["buying_role"]
    late = tables["engagement_events"].query("event_type == 'webinar_attended'")
    attended = late.groupby("lead_id")["occurred_at"].min()
    # Each kind is known at as_of: choosing by later facts would choose by the outcome.
    kinds = {
        "free mail": lead_weeks["account_id"].isna(),
        "survivors": lead_weeks["lead_id"].map(merged_at) < lead_weeks["as_of"],
        "unknown fit": lead_weeks["account_id"].isin(unknown_fit),
        "after a deal": lead_weeks["account_id"].map(first_deal) < lead_weeks["as_of"],
        "before any MQL": ~(lead_weeks["lead_id"].map(first_mql) < lead_weeks["as_of"]),
        "after an MQL": lead_weeks["lead_id"].map(first_mql) < lead_weeks["as_of"],
        "decision makers": lead_weeks["lead_id"].map(roles) == "decision_maker",
        "unknown role": lead_weeks["lead_id"].map(roles).isna(),
        "new leads": lead_weeks.groupby("lead_id").cumcount() == 0,
        "after a webinar": lead_weeks["lead_id"].map(attended) < lead_weeks["as_of"],
    }
    for kind, is_in in kinds.items():
        assert is_in.sum() > 500, kind
        assert abs(_z(lead_weeks[is_in])) < MOST_Z, kind


def test_a_stronger_handoff_and_a_drift_keep_the_truth_calibrated() -> None:
    rows = _labelled(simulate(leads=6_000, seed=8, drift=True))
    assert abs(_z(rows)) < MOST_Z
    drifted = rows[rows["as_of"] >= pd.Timestamp("2025-07-07")]
    assert abs(_z(drifted)) < MOST_Z
    # Further handoffs are not in the truth: wins can only be more frequent than it says.
    rows = _labelled(simulate(leads=6_000, seed=9, handoff_effect=2.0))
    assert _z(rows) > 0


def test_the_funnel_has_the_promised_size(demo: Demo, lead_weeks: pd.DataFrame) -> None:
    assert demo.tables["leads"]["lead_id"].nunique() == 8_000
    events = demo.tables["engagement_events"]
    assert 40 <= len(events) / 8_000 <= 60
    assert events["event_type"].nunique() >= 12
    assert 0.03 <= lead_weeks["is_won"].mean() <= 0.05
    deals = demo.tables["opportunities"]
    assert 400 <= (deals["stage"] == "closed_won").sum() <= 900
    assert (
        0.15 <= demo.tables["leads"].drop_duplicates("lead_id")["account_id"].isna().mean() <= 0.25
    )
    assert 0.005 <= demo.tables["leads"]["merged_into"].notna().sum() / 8_000 <= 0.03


def test_every_reference_points_to_a_row(demo: Demo) -> None:
    leads, accounts = demo.tables["leads"], demo.tables["accounts"]
    known = set(leads["lead_id"])
    for name, table in demo.tables.items():
        spec = CONTRACT[name]
        assert set(spec.required) <= set(table.columns), name
        if not spec.has_attributes:
            assert set(table.columns) <= {*spec.required, *spec.optional, "recorded_at"}, name
        assert table[list(spec.required)].notna().all().all(), name
        if "lead_id" in table:
            assert set(table["lead_id"].dropna()) <= known, name
        if "account_id" in table:
            assert set(table["account_id"].dropna()) <= set(accounts["account_id"]), name
    assert set(leads["merged_into"].dropna()) <= known
    deals = demo.tables["opportunities"]
    assert deals["opportunity_id"].is_unique
    listed = demo.tables["opportunity_leads"]
    assert set(listed["opportunity_id"]) <= set(deals["opportunity_id"])
    assert not listed.duplicated(["opportunity_id", "lead_id"]).any()
    assert (deals["lead_id"].notna() | deals["opportunity_id"].isin(listed["opportunity_id"])).all()
    assert demo.tables["engagement_events"]["event_id"].is_unique
    campaigns = set(demo.tables["engagement_events"]["campaign"].dropna())
    assert campaigns <= set(demo.tables["campaign_costs"]["campaign"])


def test_nothing_is_recorded_before_it_happened_or_after_the_end(demo: Demo) -> None:
    events = demo.tables["engagement_events"]
    assert (events["recorded_at"] >= events["occurred_at"]).all()
    delay = events["recorded_at"] - events["occurred_at"]
    assert (delay[delay > pd.Timedelta(0)] <= pd.Timedelta(days=15)).all()
    assert set(events["event_type"][delay > pd.Timedelta(0)]) == {
        "webinar_attended",
        "event_attended",
    }
    created = demo.tables["leads"].drop_duplicates("lead_id").set_index("lead_id")["created_at"]
    assert (events["occurred_at"] >= events["lead_id"].map(created)).all()
    merges = demo.tables["leads"].dropna(subset=["merged_into"]).set_index("lead_id")["recorded_at"]
    assert not (events["occurred_at"] > events["lead_id"].map(merges)).any()
    for name, table in demo.tables.items():
        for column in table.select_dtypes("datetime"):
            assert table[column].dtype == "datetime64[us]", (name, column)
            assert not (table[column] >= END).any(), (name, column)
    deals = demo.tables["opportunities"]
    assert not (deals["closed_at"] <= deals["created_at"]).any()
    assert (deals["closed_at"].isna() == (deals["stage"] == "open")).all()


def test_truth_has_one_row_per_lead_and_monday_until_the_win(demo: Demo) -> None:
    truth = demo.truth
    assert not truth.duplicated(["lead_id", "as_of"]).any()
    assert truth.equals(truth.sort_values(["as_of", "lead_id"], ignore_index=True))
    assert (truth["as_of"].dt.day_of_week == 0).all()
    assert truth["as_of"].max() == END
    assert truth["probability"].between(0, 1, inclusive="neither").all()
    created = demo.tables["leads"].drop_duplicates("lead_id").set_index("lead_id")["created_at"]
    first = truth.groupby("lead_id")["as_of"].min()
    wait = first - created[first.index]
    is_won_at_once = ~created.index.isin(first.index)
    assert is_won_at_once.mean() < 0.1  # newcomers in accounts that are customers already
    assert (wait >= pd.Timedelta(0)).all()
    assert (wait <= pd.Timedelta(days=7)).all()


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_demo(simulate(leads=300, seed=3, planted_leaks=True), tmp_path / name)
    write_demo(simulate(leads=300, seed=4, planted_leaks=True), tmp_path / "other")
    files = sorted(
        path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.parquet")
    )
    assert len(files) == len(CONTRACT) + 1
    for file in files:
        content = (tmp_path / "one" / file).read_bytes()
        assert content == (tmp_path / "two" / file).read_bytes(), file
        assert content != (tmp_path / "other" / file).read_bytes(), file
    assert not list(tmp_path.rglob("*.partial"))


def test_planted_leaks_know_the_outcome_and_change_nothing_else() -> None:
    plain, leaky = simulate(leads=2_000, seed=5), simulate(leads=2_000, seed=5, planted_leaks=True)
    assert plain.planted == ()
    assert leaky.planted == (
        "leads.customer_number",
        "leads.budget_range",
        "accounts.closing_review",
    )
    pd.testing.assert_frame_equal(plain.truth, leaky.truth)
    leads = leaky.tables["leads"]
    pd.testing.assert_frame_equal(
        plain.tables["leads"], leads.drop(columns=["customer_number", "budget_range"])
    )
    won = leaky.tables["opportunities"].query("stage == 'closed_won'")
    listed = leaky.tables["opportunity_leads"]
    winners = {
        *won["lead_id"].dropna(),
        *listed["lead_id"][listed["opportunity_id"].isin(won["opportunity_id"])],
    }
    is_winner = leads["lead_id"].isin(winners)
    assert (leads["customer_number"].notna() == is_winner).all()
    assert leads["budget_range"].notna()[is_winner].mean() > 0.9
    assert leads["budget_range"].notna()[~is_winner].mean() < 0.4
    reviews = leaky.tables["accounts"].dropna(subset=["closing_review"])
    closed = leaky.tables["opportunities"].groupby("account_id")["closed_at"].min()
    assert len(reviews) > 20
    assert (reviews["recorded_at"] > reviews["account_id"].map(closed)).all()


def test_impossible_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="leads >= 10"):
        simulate(leads=3)
    with pytest.raises(ValueError, match="handoff_effect"):
        simulate(leads=50, handoff_effect=0)


def test_some_people_registered_twice_and_nothing_else_changed(demo: Demo) -> None:
    leads = demo.tables["leads"]
    assert len(leads.drop_duplicates(["lead_id", "email_hash"])) == 8_000
    first = leads.drop_duplicates("lead_id")
    twice = first[first["email_hash"].duplicated(keep=False)]
    assert len(twice) == 2 * twice["email_hash"].nunique() == 2 * round(0.005 * 8_000)
    assert len(twice.drop_duplicates(["email_hash", "account_id"])) == len(twice) / 2
    assert len(twice.drop_duplicates(["email_hash", "email_domain"])) == len(twice) / 2
    # Drawn from a generator of its own: all other draws are those of a CRM without hashes.
    people_rng, play_rng, text_rng, _ = np.random.default_rng(7).spawn(4)
    funnel = make_funnel(104, drift=False, handoff_effect=1.0)
    history = play(funnel, *draw_people(funnel, 8_000, people_rng), play_rng)
    for name, table in crm_tables(funnel, history, text_rng).items():
        ours = demo.tables[name]
        pd.testing.assert_frame_equal(table, ours.drop(columns="email_hash", errors="ignore"))


def test_the_demo_has_what_engineered_fit_reads(demo: Demo) -> None:
    leads, accounts = demo.tables["leads"], demo.tables["accounts"]
    titles, domains = leads["job_title"].dropna().unique(), leads["email_domain"].unique()
    assert {seniority(title) for title in titles} >= {"c_level", "vp", "director", "manager"}
    assert None not in {seniority(title) for title in titles}
    assert {department(title) for title in titles} >= {"marketing", "sales", "finance"}
    assert {email_kind(domain) for domain in domains} == {"free", "business"}
    assert accounts["employees"].dtype == "float64"
    assert set(fit_values("size_band", accounts["employees"]).dropna()) >= {"1-10", "51-200"}
