"""Live scores are batch scores, whatever else is in the request."""

from __future__ import annotations

import json
from dataclasses import replace

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from live_requests import (
    DAY,
    MONDAYS,
    POPULATION,
    another_kind,
    body_at,
    drawn,
    live,
    scorer,
    snapshots,
)
from small_crm import small_config, small_tables

from features.catalogue.catalogue import flat_catalogue
from features.config import FeatureConfig
from features.facts.histories import micros
from features.fit.fit_columns import with_fit_columns
from features.snapshots import build_snapshots
from models.cutoff import Cutoff, Estimate
from models.encoding import fit_encoder
from models.forest import Forest
from models.reasons import reasons
from models.track import tracks
from serving.live.live_scores import LiveScorer
from serving.live.requests import RequestError, parse_request
from serving.open_leads import open_index
from serving.past_rows import PastRows
from serving.verify import verify_requests
from serving.verify_requests import request_mismatches


def answer(body, now=None, previous=None, model=None, older=lambda version: None):
    """Return what the model answers to a body sent just when it asks for."""
    content = json.dumps(body).encode()
    now = parse_request(content, 2**52).as_of if now is None else now
    model = live() if model is None else model
    return model.score(parse_request(content, now), now, previous or {}, older)


def test_a_live_score_is_the_batch_score_with_the_same_reasons():
    asked = drawn(25)
    batch = snapshots().set_index(["lead_id", "as_of"])
    batch = batch.loc[[(lead, np.datetime64(at, "us")) for lead, at in asked]].reset_index()
    scores, all_reasons = scorer().score(batch), reasons(scorer(), batch)
    first = [*np.flatnonzero(all_reasons["rank"] == 1), len(all_reasons)]
    for place, (lead, as_of) in enumerate(asked):
        found = answer(body_at(lead, as_of, reasons="all"))
        [record] = found.records
        row, expected = batch.iloc[[place]], scores.iloc[place]
        numbers = row[list(live().model_record.numbers)].to_numpy(np.float32)[0]
        assert np.array_equal(record.numbers, numbers, equal_nan=True)
        texts = row[list(live().model_record.categories)].astype(object).iloc[0]
        assert record.categories == tuple(t if isinstance(t, str) else None for t in texts)
        assert record.probability == expected["probability"]
        assert record.raw_score == expected["raw_score"]
        assert (record.grade, record.qualified) == (expected["grade"], expected["qualified"])
        assert record.is_eligible == row["is_eligible"].iloc[0]
        assert record.account_id == (row["account_id"].astype(object).where(
            row["account_id"].notna(), None).iloc[0])  # fmt: skip
        [track] = tracks(row, np.array([record.qualified]), scorer().catalogue)
        assert record.track == track
        told = all_reasons[first[place] : first[place + 1]]
        assert [r["concept"] for r in record.reasons] == told["concept"].tolist()
        assert [r["text"] for r in record.reasons] == told["text"].tolist()
        assert np.allclose([r["points"] for r in record.reasons], told["points"], atol=1e-12)
        assert record.unknown == () and found.errors == []


def test_a_score_tells_when_the_crm_last_recycled_the_lead():
    row = snapshots()[snapshots()["times_recycled"] > 0].iloc[0]
    changes = small_tables().stage_changes
    of_lead = changes["lead_id"].eq(row["lead_id"]) & changes["stage"].eq("recycled")
    known = changes[of_lead & (changes["recorded_at"] < row["as_of"])]
    [as_of, recycled_at] = micros(pd.Series([row["as_of"], known["changed_at"].max()]))
    [record] = answer(body_at(row["lead_id"], int(as_of))).records
    assert record.recycled_at == recycled_at


def test_a_lead_alone_scores_as_within_a_request_of_many_accounts():
    as_of = int(micros(snapshots()["as_of"]).max())
    leads = [lead for lead, at in drawn(120) if at == as_of]
    bodies = [body_at(lead, as_of) for lead in leads]
    together: dict[str, list] = {}
    for body in bodies:
        for name, rows in body["tables"].items():
            known = {json.dumps(row) for row in together.setdefault(name, [])}
            together[name] += [row for row in rows if json.dumps(row) not in known]
    many = answer({**bodies[0], "lead_ids": leads, "tables": together})
    assert {record.lead_id for record in many.records} == {*leads} and len(leads) > 20
    by_lead = {record.lead_id: record for record in many.records}
    for lead, body in zip(leads, bodies, strict=True):
        [alone] = answer(body).records
        beside = by_lead[lead]
        assert alone.probability == beside.probability
        assert alone.categories == beside.categories and alone.timeline == beside.timeline
        assert np.array_equal(alone.numbers, beside.numbers, equal_nan=True)
        assert np.array_equal(alone.points, beside.points) and alone.reasons == beside.reasons


def small_body(**changed):
    """A request for one lead of which nothing is missing; tables are replaced by name."""
    attributes = {
        name.partition(".")[2]: None
        for name in (f.stream for f in scorer().catalogue.features if f.aggregation == "attribute")
        if name.startswith("leads.")
    }
    tables = {
        "leads": [{**attributes, "lead_id": "a", "created_at": "2026-05-01T09:00:00Z",
                   "account_id": "X", "source": "website"}],
        "accounts": [{"account_id": "X", "industry": "software", "employees": 120,
                      "crm_in_use": None, "country": None, "founded_year": None}],
        "engagement_events": [
            {"lead_id": "a", "event_type": "pricing_view", "occurred_at": "2026-05-03T10:00:00Z",
             "channel": None, "campaign": None, "content": None, "value": None},
            {"lead_id": "a", "event_type": "page_view", "occurred_at": "2026-05-02T10:00:00Z"},
        ],
        "opportunities": [],
        "opportunity_leads": [],
        "stage_changes": [],
    }  # fmt: skip
    tables |= changed
    return {"tables": {name: rows for name, rows in tables.items() if rows is not None}}


NOON = 1_777_896_000_000_000  # 2026-05-04T12:00:00Z


def test_the_answer_adds_up_and_is_complete():
    found = json.loads(answer(small_body(), now=NOON).to_json())
    [result] = found["results"]
    assert found["as_of"] == "2026-05-04T12:00:00Z" and found["errors"] == []
    assert result["complete"] and result["unknown"] == [] and len(result["reasons"]) == 5
    total = sum(r["points"] for r in result["reasons"]) + result["other_reasons"]["points"]
    assert total == pytest.approx(result["probability"] - found["base_probability"], abs=1e-12)
    every = {**small_body(), "reasons": "all"}
    [result] = json.loads(answer(every, now=NOON).to_json())["results"]
    assert result["other_reasons"]["points"] == pytest.approx(0, abs=1e-12)


def test_the_event_that_triggered_the_request_counts():
    body = small_body()
    body["tables"]["engagement_events"].append(
        {"lead_id": "a", "event_type": "demo_request", "occurred_at": "2026-05-04T12:03:00Z"}
    )
    found = answer(body, now=NOON)
    assert found.as_of == NOON + 180_000_001
    assert found.records[0].timeline["event_type"][0] == "demo_request"
    place = live().model_record.numbers.index("explicit_interest_count_7d")
    assert found.records[0].numbers[place] == 2


@pytest.mark.parametrize(
    ("changed", "unknown"),
    [
        ({"opportunities": None}, ["opportunities"]),
        ({"stage_changes": None, "accounts": None}, ["accounts", "stage_changes"]),
        ({"leads": [{"lead_id": "a", "created_at": "2026-05-01"}]}, None),
        ({"accounts": [{"account_id": "X", "industry": "software", "employees": "about 7",
                        "crm_in_use": None, "country": None, "founded_year": None}]},
         ["accounts.employees"]),
        ({"accounts": []}, []),  # an account of which nothing is known
        ({"opportunity_leads": None}, ["opportunity_leads"]),
        ({"engagement_events": [{"lead_id": "a", "event_type": "page_view", "channel": "web",
                                 "occurred_at": "2026-05-02T10:00:00Z"}]},
         ["engagement_events.campaign", "engagement_events.content", "engagement_events.value"]),
        ({"engagement_events": []}, []),
    ],
)  # fmt: skip
def test_what_the_model_reads_and_the_request_lacks_is_unknown(changed, unknown):
    body = small_body(**changed)
    [record] = answer(body, now=NOON).records
    if unknown is None:
        assert {"leads.source", "leads.job_title", "leads.account_id"} <= {*record.unknown}
    else:
        assert list(record.unknown) == unknown
    if record.unknown:
        with pytest.raises(RequestError, match=record.unknown[0]):
            answer({**body, "require_complete": True}, now=NOON)
    else:
        assert len(answer({**body, "require_complete": True}, now=NOON).records) == 1


def test_a_reason_from_an_unknown_table_says_so():
    body = {**small_body(opportunities=None), "reasons": "all"}
    [record] = answer(body, now=NOON).records
    place = live().model_record.numbers.index("open_opportunities")
    assert np.isnan(record.numbers[place])
    texts = [r["text"] for r in record.reasons]
    said = "Opportunities were not in the request"
    assert texts.count(said) > 1
    [record] = answer({**body, "tables": {"leads": body["tables"]["leads"]}}, now=NOON).records
    assert record.why.count("Engagement events were not in the request") == 1


@pytest.mark.parametrize("lacking", ["opportunities", "stage_changes"])
def test_no_lead_qualifies_of_which_nobody_knows_where_it_stands(lacking):
    """Whatever the model reads: what was not sent may say that it is an MQL, or a customer."""
    cutoff = Cutoff("fixed", {"value": 0.0}, 0.0, evidence={"precision": Estimate(0.3)})
    features = tuple(
        f for f in scorer().catalogue.features if f.aggregation in ("count", "attribute")
    )
    plain = replace(scorer().catalogue, features=features)
    batch = snapshots()
    encoder = fit_encoder(batch, plain)
    rows = lgb.Dataset(encoder.transform(batch), np.arange(len(batch)) % 2)
    booster = lgb.train({"objective": "binary", "num_threads": 1, "verbose": -1}, rows, 1)
    forest = Forest.of_text(booster.model_to_string())
    few = replace(scorer(), catalogue=plain, encoder=encoder, cutoff=cutoff, forest=forest,
                  base_raw_score=forest.base_raw_score)  # fmt: skip
    model = LiveScorer.of(few, "1", "digest", POPULATION)
    [known] = answer(small_body(), now=NOON, model=model).records
    assert known.is_eligible and known.qualified and known.unknown == ()
    body = {**small_body(**{lacking: None}), "crossing": True}
    [record] = answer(body, now=NOON, model=model).records
    assert (record.is_eligible, record.qualified, record.unknown) == (False, False, (lacking,))
    assert record.track.startswith("nurture") and record.probability == known.probability
    assert "not in the request" in record.crossing["text"]
    # nor one as of the past
    body = {**small_body(), "as_of": "2026-05-03T11:00:00Z", "crossing": True}
    [record] = answer(body, now=NOON, model=model).records
    assert record.is_eligible and not record.qualified and record.track.startswith("nurture")
    assert "as of the past" in record.crossing["text"]


def deal(stage, **columns):
    return [{"opportunity_id": "o", "lead_id": "a", "created_at": "2026-05-02T00:00:00Z",
             "stage": stage, **columns}]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"opportunities": deal("closed_won", closed_at="2026-05-03")}, "was won"),
        ({"opportunities": deal("Closed Lost", closed_at="2026-05-03")}, "was lost"),
        ({"opportunities": [{**deal("closed_won", closed_at="2026-05-03")[0], "lead_id": None,
                             "account_id": "X", "created_at": "2026-05-01T10:00:00Z"}]},
         "is a customer"),
        ({"stage_changes": [{"lead_id": "a", "stage": "Disqualified",
                             "changed_at": "2026-05-02T08:00:00Z"}]}, "was disqualified"),
        ({"leads": [{"lead_id": "a", "created_at": "2026-05-04"}]}, "was not known yet"),
    ],
)  # fmt: skip
def test_a_lead_outside_the_population_has_an_error_and_no_score(changed, why):
    found = answer(small_body(**changed), now=NOON)
    [error] = found.errors
    assert found.records == [] and error["index"] == 0 and why in error["problem"]
    assert error["where"] == "tables.leads[0]"
    assert json.loads(found.to_json())["results"] == []


def test_a_merged_lead_is_an_error_and_its_survivor_is_scored():
    leads = [
        {"lead_id": "b", "created_at": "2026-05-02T00:00:00Z", "merged_into": "a"},
        *small_body()["tables"]["leads"],
    ]
    events = [
        *small_body()["tables"]["engagement_events"],
        {"lead_id": "b", "event_type": "demo_request", "occurred_at": "2026-05-04T10:00:00Z"},
    ]
    found = answer(small_body(leads=leads, engagement_events=events), now=NOON)
    assert [record.lead_id for record in found.records] == ["a"] and found.places == [1]
    assert found.records[0].timeline["event_type"] == ["demo_request", "pricing_view", "page_view"]
    [error] = found.errors
    assert error["index"] == 0 and "merged" in error["problem"]


def test_an_open_opportunity_leaves_a_lead_with_sales():
    # the expected closing of an open deal is a plan, and may lie ahead
    deals = deal("open", closed_at="2027-01-01", account_id="X")
    [record] = answer(small_body(opportunities=deals), now=NOON).records
    assert (record.is_eligible, record.qualified, record.track) == (False, False, "with sales")


def test_an_instant_of_the_past_is_a_backfill():
    body = {**small_body(), "as_of": "2026-05-03T10:00:00Z"}
    [record] = answer(body, now=NOON).records
    assert (
        record.is_backfill and len(record.timeline["occurred_at"]) == 1
    )  # the later event is not seen
    [record] = answer({**body, "as_of": "2026-05-04T11:56:00Z"}, now=NOON).records
    assert not record.is_backfill


def test_good_leads_are_scored_as_if_the_bad_rows_had_not_been_sent():
    body = small_body()
    bad = {**body["tables"]["leads"][0], "lead_id": "b", "created_at": "yesterday"}
    worse = {**body["tables"]["leads"][0], "lead_id": "c"}
    body["tables"]["leads"] = [bad, *body["tables"]["leads"], worse]
    body["tables"]["engagement_events"] += [
        {"lead_id": "b", "event_type": "demo_request", "occurred_at": "2026-05-03T10:00:00Z"},
        {"lead_id": "c", "event_type": "demo_request", "occurred_at": "2026-05-03T10:00:00Z"},
        {"lead_id": "c", "event_type": "demo_request", "occurred_at": "2027-05-03T10:00:00Z"},
    ]
    found = answer(body, now=NOON)
    [record] = found.records
    good = small_body(
        leads=body["tables"]["leads"][1:],
        engagement_events=body["tables"]["engagement_events"][:-1],
    )
    expected = answer(good, now=NOON).records[0]
    assert record.probability == expected.probability and found.places == [1]
    assert np.array_equal(record.numbers, expected.numbers, equal_nan=True)
    assert record.unknown == ("leads", "engagement_events") and expected.unknown == ()
    assert [(e["index"], e["where"]) for e in found.errors] == [
        (0, "tables.leads[0].created_at"),
        (2, "tables.engagement_events[4].occurred_at"),
    ]


def test_scores_have_sortable_ids_of_their_own():
    ids = [answer(small_body(), now=NOON).records[0].score_id for _ in range(50)]
    assert len({*ids}) == 50 and {len(one) for one in ids} == {26}
    assert [one[:9] for one in ids] == sorted(one[:9] for one in ids)


def test_a_model_of_one_age_scores_a_lead_as_it_was_at_that_age():
    model = LiveScorer.of(another_kind(), "1", "digest", POPULATION)
    found = answer(small_body(), now=NOON, model=model)
    assert found.records == [] and "lies ahead" in found.errors[0]["problem"]
    later = NOON + 20 * DAY
    [record] = answer(small_body(), now=later, model=model).records
    assert record.as_of == 1_777_626_000_000_000 + 14 * DAY
    place = live().model_record.numbers.index("lead_age_days")
    assert record.numbers[place] == 14 and not record.is_backfill
    found = answer(small_body(), now=NOON + 200 * DAY, model=model)
    assert found.records == [] and "too long ago" in found.errors[0]["problem"]


def test_rows_of_a_flat_export_are_no_request_for_a_model_of_tables():
    with pytest.raises(RequestError, match="created_at"):
        answer({"tables": {"leads": [{"lead_id": "a", "source": "website"}]}}, now=NOON)


def test_mondays_are_those_of_the_snapshots():
    assert {*snapshots()["as_of"].unique()} == {*MONDAYS}


def test_open_leads_score_from_requests_as_in_batch_and_a_difference_is_named():
    tables = small_tables()
    index = open_index(tables, scorer(), small_config())
    few = index.iloc[:: len(index) // 30].reset_index(drop=True)
    assert verify_requests(scorer(), tables, POPULATION, few) == ()
    # an account that batch knows and the request does not
    unsent = replace(tables, present=tables.present - {"accounts"})
    batch = build_snapshots(tables, scorer().catalogue, few)
    past = PastRows(unsent, "account_id", few["lead_id"].tolist())
    now = int(micros(few["as_of"]).max())
    found = request_mismatches(scorer(), POPULATION, batch, past, now)
    names = {mismatch.name for mismatch in found}
    assert {"request: account_industry", "request: reasons"} <= names
    assert "request: job_title" not in names


def test_rows_of_a_flat_export_score_as_in_batch():
    generator = np.random.default_rng(0)
    names = [f"L{n}" for n in range(400)]
    rows = pd.DataFrame(
        {
            "lead_id": pd.array(names, dtype="str"),
            "account_id": pd.array([None] * 400, dtype="str"),
            "as_of": np.full(400, np.datetime64("NaT", "us")),
            "is_eligible": True,
            "seats": generator.poisson(5, 400).astype(np.float32),
            "job_title": pd.array(generator.choice(["CEO", "Head of IT", "Clerk"], 400), "str"),
        }
    )
    rows.loc[::7, "seats"] = np.nan
    catalogue = flat_catalogue(rows, FeatureConfig())
    batch = with_fit_columns(rows, catalogue.features)
    encoder = fit_encoder(batch, catalogue)
    matrix = encoder.transform(batch)
    won = np.nan_to_num(matrix).sum(axis=1) + generator.normal(size=400) > 8
    parameters = {"objective": "binary", "num_leaves": 7, "num_threads": 1, "verbose": -1}
    booster = lgb.train(parameters, lgb.Dataset(matrix, won.astype(float)), 10)
    forest = Forest.of_text(booster.model_to_string())
    flat = replace(scorer(), forest=forest, encoder=encoder, catalogue=catalogue,
                   base_raw_score=forest.base_raw_score)  # fmt: skip
    model = LiveScorer.of(flat, "1", "digest", POPULATION)
    sent = [
        {"lead_id": name, "seats": None if np.isnan(seats) else str(seats), "job_title": title}
        for name, seats, title in zip(names, rows["seats"].tolist(), rows["job_title"], strict=True)
    ]
    found = answer({"tables": {"leads": sent}}, now=NOON, model=model)
    expected = flat.score(batch)
    assert [record.probability for record in found.records] == expected["probability"].tolist()
    assert [record.qualified for record in found.records] == expected["qualified"].tolist()
    assert found.errors == [] and {record.unknown for record in found.records} == {()}
    [alone] = answer({"tables": {"leads": sent[:1]}}, now=NOON, model=model).records
    assert alone.probability == found.records[0].probability
