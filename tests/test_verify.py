"""Live is batch: on the past of the demo, on odd tables, and never when a row is missing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from command_line import in_folder, refused, run
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from small_crm import small_config, small_tables
from small_model import BENT, small_scorer, small_snapshots
from tables_builder import LEADS, crm, day, examples, tables_of

from features.catalogue.catalogue import build_catalogue
from features.config import FeatureConfig, PopulationConfig
from features.errors import InputError
from features.facts.histories import micros
from features.facts.population import standing
from features.snapshots import build_snapshots, lead_weeks, mondays
from features.tables import Tables
from models.cutoff import Cutoff
from models.encoding import fit_encoder
from models.forest import Forest
from models.scorer import Scorer
from serving.past_rows import PastRows
from serving.skew import STANDING, Live, compare
from serving.verify import lead_dates, live_snapshots, verify_rows, verify_tables

POPULATION = PopulationConfig()


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    """A model of the small demo; what it learnt is no matter."""
    tables = small_tables()
    catalogue = build_catalogue(tables, small_config().features, tables.data_until)
    weeks = mondays(tables.leads["created_at"].min(), tables.data_until)[::6]
    snapshots = build_snapshots(tables, catalogue, lead_weeks(tables, POPULATION, weeks))
    encoder = fit_encoder(snapshots, catalogue)
    matrix = encoder.transform(snapshots)
    won = np.random.default_rng(0).random(len(matrix)) < 0.1 + 0.3 * np.isnan(matrix[:, 0])
    parameters = {"objective": "binary", "num_leaves": 15, "verbose": -1, "num_threads": 1,
                  "feature_fraction": 0.3, "deterministic": True, "seed": 0}  # fmt: skip
    booster = lgb.train(parameters, lgb.Dataset(matrix, won.astype(float)), 60)
    forest = Forest.of_text(booster.model_to_string())
    return Scorer(
        forest=forest,
        encoder=encoder,
        catalogue=catalogue,
        calibration=BENT,
        cutoff=Cutoff("capacity", {"mqls_per_week": 10}, 0.12),
        base_rate=0.1,
        horizon_days=91,
        base_raw_score=forest.base_raw_score,
    )


def test_live_is_batch_for_leads_of_the_past(scorer) -> None:
    found = verify_tables(scorer, small_tables(), POPULATION, sample=80)
    assert found.is_passed, found.lines()
    assert (found.lead_dates, found.features) == (80, len(scorer.catalogue.names))
    assert found.lines()[-1] == "0 mismatches: live is batch."
    assert found.as_dict()["mismatches"] == 0 and found.as_dict()["passed"]


def test_a_model_of_one_lead_age_is_verified_at_that_age(scorer) -> None:
    at_age = dataclasses.replace(scorer, facts={"lead_age_days": 14})
    index = lead_dates(at_age, small_tables(), POPULATION, 40)
    created = small_tables().leads.groupby("lead_id")["created_at"].min()
    age = index["as_of"] - created[index["lead_id"]].array
    assert (age == pd.Timedelta(days=14)).all()
    assert verify_tables(at_age, small_tables(), POPULATION, sample=40).is_passed


def test_the_sample_is_the_same_every_time_and_spread_over_the_past(scorer) -> None:
    index = lead_dates(scorer, small_tables(), POPULATION, 500)
    pd.testing.assert_frame_equal(index, lead_dates(scorer, small_tables(), POPULATION, 500))
    assert not index.duplicated(["lead_id", "as_of"]).any()
    assert (index["as_of"].dt.day_of_week == 0).all()
    assert index["as_of"].nunique() > 40 and index["lead_id"].nunique() > 300
    assert len(lead_dates(scorer, small_tables(), POPULATION, 10**6)) > 20_000


class SkewedRows(PastRows):
    """A CRM whose connector does one thing wrong."""

    def at(self, lead_id, as_of):
        tables = super().at(lead_id, as_of)
        events = tables["engagement_events"]
        kept = [
            row
            for row, (occurred, recorded) in enumerate(
                zip(events["occurred_at"], events["recorded_at"], strict=True)
            )
            if recorded <= occurred
        ]
        late_lost = {name: [values[row] for row in kept] for name, values in events.items()}
        return {**tables, "engagement_events": late_lost}


def verified_with(scorer: Scorer, tables: Tables, past: PastRows, index: pd.DataFrame):
    batch = build_snapshots(tables, scorer.catalogue, index)
    expected = batch[["account_id", "is_eligible"]].assign(in_population=True)
    live = live_snapshots(scorer.catalogue, POPULATION, batch, past.at)
    return compare(scorer, batch, expected, live)


def test_a_live_path_without_late_events_is_found_out(scorer) -> None:
    tables = small_tables()
    events = tables.engagement_events
    late = events[events["recorded_at"] > events["occurred_at"]].iloc[:40]
    weeks = mondays(late["recorded_at"].min(), late["recorded_at"].max() + pd.Timedelta(days=7))
    index = lead_weeks(tables, POPULATION, weeks)
    index = index[index["lead_id"].isin(late["lead_id"])]
    index = index.sample(50, random_state=0).sort_values(["as_of", "lead_id"])
    honest = PastRows(tables, "account_id", index["lead_id"])
    assert verified_with(scorer, tables, honest, index).is_passed
    skewed = SkewedRows(tables, "account_id", index["lead_id"])
    found = verified_with(scorer, tables, skewed, index)
    names = {mismatch.name: mismatch for mismatch in found.mismatches}
    assert not found.is_passed
    assert {"any_count_30d", "raw_score", "probability", "reasons"} <= set(names)
    assert not {"lead_age_days", *STANDING} & set(names)
    of_count = names["any_count_30d"]
    assert of_count.first_lead in set(late["lead_id"])
    lines = "\n".join(found.lines())
    assert f"any_count_30d: {of_count.count:,}, the first for lead {of_count.first_lead}" in lines
    assert found.as_dict()["mismatches"] == sum(m.count for m in found.mismatches) > 0


def test_a_table_that_is_not_sent_is_found_out(scorer) -> None:
    tables = small_tables()
    index = lead_dates(scorer, tables, POPULATION, 40)
    known = dataclasses.replace(tables, present=tables.present - {"stage_changes"})
    past = PastRows(known, "account_id", index["lead_id"])
    found = verified_with(scorer, tables, past, index)
    assert {"times_recycled", "is_eligible"} <= {mismatch.name for mismatch in found.mismatches}


def test_no_row_was_recorded_at_or_after_the_instant() -> None:
    tables = small_tables()
    lead, as_of = "L000200", pd.Timestamp("2025-01-06")
    past = PastRows(tables, "account_id", [lead])
    instant = as_of.value // 1000
    rows = past.at(lead, instant)
    everything = past.at(lead, pd.Timestamp("2100-01-01").value // 1000)
    assert set(rows) == set(everything) and "verdicts" not in rows
    cut = 0
    for name in ("leads", "accounts", "engagement_events", "stage_changes"):
        recorded = np.array(everything[name]["recorded_at"], np.int64)
        assert len(rows[name]["recorded_at"]) == (recorded < instant).sum(), name
        cut += (recorded >= instant).sum()
    assert cut > 0 and lead in rows["leads"]["lead_id"]


def test_a_deal_closed_later_is_still_open_and_a_later_one_is_not_there() -> None:
    deals = [
        {"opportunity_id": "o1", "stage": "closed_won", "created_at": 1, "closed_at": 9},
        {"opportunity_id": "o2", "stage": "open", "created_at": 6},
    ]
    deals = [{**deal, "lead_id": "a"} for deal in deals]
    tables = tables_of(leads=[{"lead_id": "a", "created_at": 0}], opportunities=deals)
    past = PastRows(tables, "account_id", ["a"])
    then, later = (past.at("a", day(at).value // 1000)["opportunities"] for at in (5, 9.5))
    assert (then["opportunity_id"], then["stage"], then["closed_at"]) == (["o1"], ["open"], [None])
    assert later["stage"] == ["closed_won", "open"]
    assert "accounts" not in past.at("a", 0)  # the user has none: unknown, not empty


def test_contacts_of_other_companies_come_with_their_deal() -> None:
    tables = tables_of(
        leads=[
            {"lead_id": "a", "created_at": 0, "account_id": "X"},
            {"lead_id": "b", "created_at": 0, "account_id": "Y"},
            {"lead_id": "c", "created_at": 0, "account_id": "Z"},
        ],
        opportunities=[
            {"opportunity_id": "o", "account_id": "X", "stage": "open", "created_at": 1}
        ],
        opportunity_leads=[{"opportunity_id": "o", "lead_id": "b", "recorded_at": 1}],
    )
    rows = PastRows(tables, "account_id", ["a"]).at("a", day(5).value // 1000)
    assert rows["leads"]["lead_id"] == ["a", "b"]


def snapshots_both_ways(tables: Tables, population: PopulationConfig):
    pairs = pd.DataFrame(
        [(lead, day(at)) for at in (3, 8, 12, 12.5, 20, 34) for lead in LEADS],
        columns=["lead_id", "as_of"],
    ).astype({"lead_id": "str", "as_of": "datetime64[us]"})
    index = standing(tables, population, pairs)
    index = index[index.pop("in_population")].reset_index(drop=True)
    config = FeatureConfig(windows_days=(2, 5, 12), half_lives_days=(1, 6), max_event_types=3)
    catalogue = build_catalogue(tables, config, day(1000), population)
    batch = build_snapshots(tables, catalogue, index)
    past = PastRows(tables, catalogue.account_from, LEADS)
    live = list(live_snapshots(catalogue, population, batch, past.at))
    return batch, live


@settings(examples, phases=[Phase.generate])
@given(
    rows=crm(),
    current_state=st.sampled_from([(), ("leads",), ("accounts",)]),
    account_from=st.sampled_from(["account_id", "email_domain"]),
)
def test_live_is_batch_on_odd_tables(rows, current_state, account_from) -> None:
    for owner in current_state:
        key = owner[:-1] + "_id"
        rows[owner] = list({row[key]: row for row in rows[owner]}.values())
    population = PopulationConfig(account_from=account_from, attribution_days=7)
    batch, live = snapshots_both_ways(tables_of(current_state, **rows), population)
    if live:
        rows_alone = pd.concat([row for row, _ in live], ignore_index=True)
        pd.testing.assert_frame_equal(rows_alone, batch, check_exact=True)


def test_rows_of_a_flat_model_score_alone_as_together() -> None:
    found = verify_rows(small_scorer(), small_snapshots(rows=400), sample=120)
    assert found.is_passed and found.lead_dates == 120
    with pytest.raises(InputError, match="no rows"):
        verify_rows(small_scorer(), small_snapshots(rows=400)[:0], sample=120)


def one_by_one(rows: pd.DataFrame) -> Iterator[Live]:
    for row in range(len(rows)):
        one = rows.iloc[[row]].reset_index(drop=True)
        yield one, {**one.iloc[0][["account_id", "is_eligible"]], "in_population": True}


@pytest.mark.parametrize(
    ("column", "value", "counted"),
    [
        ("visit_recency", np.float32(12.000001), {"visit_recency"}),
        ("visit_recency", np.nan, {"visit_recency"}),
        ("industry", None, {"industry"}),
        ("is_eligible", False, {"is_eligible"}),
        ("account_id", "account-x", {"account_id"}),
    ],
)
def test_one_cell_that_differs_is_counted_once(column, value, counted) -> None:
    batch = small_snapshots(rows=30)
    batch.loc[7, ["visit_recency", "industry", "is_eligible"]] = [12.0, "Software", True]
    changed = batch.copy()
    changed.loc[7, column] = value
    expected = batch[["account_id", "is_eligible"]].assign(in_population=True)
    found = compare(small_scorer(), batch, expected, one_by_one(changed))
    names = {mismatch.name for mismatch in found.mismatches}
    assert (
        counted <= names <= counted | {"raw_score", "probability", "reasons", "qualified", "grade"}
    )
    assert all(mismatch.count == 1 for mismatch in found.mismatches)
    assert all(mismatch.first_lead == batch["lead_id"][7] for mismatch in found.mismatches)
    assert compare(small_scorer(), batch, expected, one_by_one(batch)).is_passed


def test_a_flat_model_with_engineered_fit_is_trained_verified_and_scores(
    tmp_path: Path, migrated_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = in_folder(tmp_path / "crm", migrated_store)
    monkeypatch.chdir(folder)
    assert "Train one first" in refused(run("verify"))
    export = pd.read_csv("export.csv")
    number = np.arange(len(export))
    people = {
        "Email": [f"p{n}@{('gmail.com', 'acme.example', 'mit.edu')[n % 3]}" for n in number],
        "Job Title": np.array(["CEO", "VP Sales", "Intern", ""])[number % 4],
        "Employees": np.array(["11-50", "1,000+", "", "unknown"])[number // 3 % 4],
    }
    export.assign(**people).to_csv("export.csv", index=False)
    assert run("train").code in (0, 3)
    ran = run("verify", "--model", "1", "--sample", "50", "--json")
    assert ran.code == 0, ran
    found = json.loads(ran.out)
    assert (found["lead_dates"], found["mismatches"], found["passed"]) == (50, 0, True)
    # visits, industry, the three above, and the four engineered from them
    assert found["features"] == 9
    export.assign(**people).drop(columns="won").to_csv("new.csv", index=False)
    assert run("score", "--model", "1", "--input", "new.csv").code == 0
    assert len(pd.read_csv("scores.csv")) == len(export)
    bundle = next(Path("models").rglob("scorer.json")).read_text()
    assert '"job_seniority"' in bundle and "@" not in bundle


def test_instants_of_a_request_are_those_of_the_table() -> None:
    leads = [{"lead_id": "a", "created_at": 3.25}]
    tables = tables_of(leads=leads, engagement_events=[])
    rows = PastRows(tables, "account_id", ["a"]).at("a", day(9).value // 1000)
    assert rows["leads"]["created_at"] == micros(tables.leads["created_at"]).tolist()
    assert rows["leads"]["merged_into"] == [None] and rows["engagement_events"]["lead_id"] == []


def test_a_row_recorded_at_the_very_instant_is_not_known_yet() -> None:
    leads = [{"lead_id": "a", "created_at": 3}, {"lead_id": "a", "created_at": 3, "recorded_at": 5}]
    past = PastRows(tables_of(leads=leads), "account_id", ["a"])
    counts = [len(past.at("a", day(at).value // 1000)["leads"]["lead_id"]) for at in (3, 4, 5, 6)]
    assert counts == [0, 1, 1, 2]
