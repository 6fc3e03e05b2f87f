"""What the API answers: scores that add up, leads, verdicts, the model's card."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from served import (
    COMPARISON,
    bundle,
    event_row,
    key_for,
    lead_rows,
    score_body,
    served,
    service_in,
)

from serving.api.app import create_app
from serving.api.logs import Lines
from serving.api.service import Service


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> Iterator[tuple[Service, TestClient]]:
    with served(tmp_path_factory.mktemp("api")) as (service, client):
        client.headers.update(key_for(service, "admin"))
        yield service, client


def scored(client: TestClient, body) -> dict:
    answer = client.post("/v1/scores", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_score_has_all_that_is_promised_and_its_reasons_add_up(both) -> None:
    _, client = both
    answer = scored(client, score_body())
    assert answer["model_version"] == "1" and not answer["errors"]
    assert answer["as_of"].endswith("Z")
    (result,) = answer["results"]
    assert (result["index"], result["lead_id"], result["complete"]) == (0, "L-1", True)
    assert len(result["reasons"]) == 5 and len(result["why"]) <= 255
    told = sum(reason["points"] for reason in result["reasons"])
    total = told + result["other_reasons"]["points"]
    assert total == pytest.approx(result["probability"] - answer["base_probability"], abs=1e-9)


def test_the_number_of_reasons_can_be_chosen(both) -> None:
    _, client = both
    none = scored(client, score_body(reasons=0))["results"][0]
    every = scored(client, score_body(reasons="all"))["results"][0]
    assert none["reasons"] == [] and len(every["reasons"]) > 5
    assert every["other_reasons"]["points"] == pytest.approx(0, abs=1e-12)
    assert every["probability"] == none["probability"]


def test_a_lead_tells_every_reason_in_the_words_of_its_score(both) -> None:
    service, client = both
    [result] = scored(client, score_body(reasons="all", durable=True))["results"]
    scored(client, score_body(durable=True))  # five are kept in words
    kept = service.ledger.lead("L-1")["reasons"]
    lead = client.get("/v1/leads/L-1").json()
    assert None in [reason["text"] for reason in kept]
    told = {reason["concept"]: reason["text"] for reason in lead["reasons"]}
    for reason in result["reasons"]:
        assert told[reason["concept"]] == reason["text"]
    silent = [reason for reason in lead["reasons"] if reason["text"] is None]
    assert all(reason["log_odds"] == 0 for reason in silent)
    assert lead["horizon_days"] == 91


def test_good_leads_are_scored_where_others_are_bad(both) -> None:
    _, client = both
    leads = [lead_rows("L-2"), lead_rows("L-3", created_at="soon"), lead_rows("L-4")]
    events = [event_row("L-2", not_in_the_contract={"ignored": True})]
    answer = scored(client, {"tables": {"leads": leads, "engagement_events": events}})
    assert [one["lead_id"] for one in answer["results"]] == ["L-2", "L-4"]
    assert [one["index"] for one in answer["results"]] == [0, 2]
    assert [one["index"] for one in answer["errors"]] == [1]
    assert "opportunities" in answer["results"][0]["unknown"]
    assert not answer["results"][0]["complete"]


def test_many_leads_at_once_get_what_each_gets_alone(both) -> None:
    _, client = both
    leads = [lead_rows(f"M-{n}", account_id=f"A-{n}", seats=n) for n in range(40)]
    rest = {name: [] for name in ("accounts", "engagement_events", "opportunities",
                                  "opportunity_leads", "stage_changes")}  # fmt: skip
    together = scored(client, {"tables": {"leads": leads, **rest}})["results"]
    assert len(together) == 40
    for place in (0, 17, 39):
        alone = scored(client, {"tables": {"leads": [leads[place]], **rest}})["results"][0]
        assert alone["probability"] == together[place]["probability"]


def test_a_durable_score_is_in_the_ledger_when_it_is_answered(both) -> None:
    _, client = both
    result = scored(client, score_body(tables={"leads": [lead_rows("D-1")],
                                               "engagement_events": []}, durable=True))  # fmt: skip
    lead = client.get("/v1/leads/D-1").json()
    assert lead["score_id"] == result["results"][0]["score_id"]
    assert lead["probability"] == pytest.approx(result["results"][0]["probability"], abs=1e-12)
    assert [one["score_id"] for one in lead["history"]] == [lead["score_id"]]


def test_a_second_score_says_what_changed(both) -> None:
    _, client = both
    first = score_body(tables={"leads": [lead_rows("C-1")], "engagement_events": []}, durable=True)
    before = scored(client, first)["results"][0]
    second = json.loads(json.dumps(first))
    second["tables"]["leads"][0]["seats"] = 90
    after = scored(client, second)["results"][0]
    assert before["change"] is None
    total = sum(part["points"] for part in after["change"]["parts"])
    assert total == pytest.approx(after["probability"] - before["probability"], abs=1e-12)


def test_ids_with_slashes_and_spaces_are_found(both) -> None:
    _, client = both
    odd = "a/b c?d#é/verdicts"
    scored(client, score_body(tables={"leads": [lead_rows(odd)], "engagement_events": []},
                              durable=True))  # fmt: skip
    found = client.get("/v1/leads/a%2Fb%20c%3Fd%23%C3%A9/verdicts")
    assert found.json()["lead_id"] == odd


def qualified_lead(client: TestClient, lead_id: str) -> None:
    for seats in range(0, 60, 3):
        body = score_body(tables={"leads": [lead_rows(lead_id, seats=seats, account_id=None)],
                                  "engagement_events": []}, durable=True)  # fmt: skip
        if scored(client, body)["results"][0]["qualified"]:
            return
    raise AssertionError("the small model qualifies nobody")


def test_sales_answers_an_mql_and_contacts_it(both) -> None:
    _, client = both
    qualified_lead(client, "V-1")
    assert client.get("/v1/leads/V-1").json()["state"] == "mql"
    said = {"verdict": "accepted"}
    assert client.post("/v1/leads/V-1/verdicts", json=said).status_code == 201
    assert client.post("/v1/leads/V-1/contacts").status_code == 201
    assert client.get("/v1/leads/V-1").json()["state"] == "contacted"
    listed = client.get("/v1/leads", params={"state": "contacted"}).json()
    assert [item["lead_id"] for item in listed["items"]] == ["V-1"] and listed["next"] is None


def test_an_answer_to_no_mql_is_refused_and_to_nobody_is_404(both) -> None:
    _, client = both
    leads = [lead_rows("N-1", created_at="2026-05-01T09:00:00Z")]
    body = {"tables": {"leads": leads}, "as_of": "2026-05-02T00:00:00Z", "durable": True}
    assert scored(client, body)["results"][0]["backfill"]
    said = {"verdict": "accepted"}
    assert client.post("/v1/leads/N-1/verdicts", json=said).status_code in (404, 422)
    for path in ("verdicts", "contacts"):
        assert client.post(f"/v1/leads/nobody/{path}", json=said).status_code == 404


def test_pages_of_the_list_go_on_where_the_last_ended(both) -> None:
    _, client = both
    seen, after = [], None
    for _ in range(100):
        page = client.get("/v1/leads", params={"limit": 7, **({"after": after} if after else {})})
        seen += [item["lead_id"] for item in page.json()["items"]]
        after = page.json()["next"]
        if after is None:
            break
    assert len(seen) == len(set(seen)) > 40


def test_the_card_and_the_comparison_are_those_of_the_bundle(both, tmp_path) -> None:
    _, client = both
    card = client.get("/v1/model").json()
    assert (card["model_version"], card["trained_until"]) == ("1", "2026-04-06")
    assert card["cutoff"]["value"] == 0.3 and card["facts"]["wins"] == {"all": 200}
    assert client.get("/v1/comparison").json() == COMPARISON
    near = client.get("/v1/comparison", params={"cutoff": 0.31}).json()
    assert near["model"]["cutoff"] == 0.3 and near["rules"]["cutoff"] == 0.3
    bare = service_in(tmp_path)
    try:
        asked = TestClient(create_app(bare), headers=key_for(bare, "read", "score"))
        assert asked.get("/v1/model").status_code == 503
        assert asked.get("/readyz").status_code == 503
        assert asked.post("/v1/scores", json=score_body()).headers["retry-after"]
        bare.watch.offer(bundle(tmp_path / "2", has_comparison=False))
        assert asked.get("/v1/comparison").status_code == 404
        ready = asked.get("/readyz").json()
        assert (ready["status"], ready["since"], ready["reasons"]) == ("ready", None, [])
        bare.ledger.close()
        amiss = asked.get("/readyz").json()
        assert amiss["reasons"] == ["the ledger cannot be written"]
        assert amiss["status"] == "degraded" and amiss["since"].endswith("Z")
        assert asked.post("/v1/scores", json=score_body(durable=True)).status_code == 503
    finally:
        bare.stop()


def test_the_metrics_count_what_happened(tmp_path) -> None:
    with served(tmp_path) as (service, client):
        client.headers.update(key_for(service, "admin"))
        odd = lead_rows(source="never seen")
        event = {"lead_id": "L-1", "event_type": "fax", "occurred_at": "2026-05-03T10:00:00Z"}
        known = {"opportunities": [], "stage_changes": []}  # else no lead is eligible
        scored(client, {"tables": {"leads": [odd], "engagement_events": [event], **known}})
        text = client.get("/metrics").text
        for line in (
            'closedwon_request_seconds_count{route="/v1/scores",status="200"} 1.0',
            'closedwon_unknown_categories_total{feature="source"} 1.0',
            "closedwon_unknown_event_types_total 1.0",
            "closedwon_scores_incomplete_total 1.0",
            "closedwon_scores_eligible_total 1.0",
            "closedwon_ledger_healthy 1.0",
            "closedwon_requests_at_work 0.0",
            "closedwon_mqls_opened_total ",
            "closedwon_log_lines_dropped_total 0.0",
            'closedwon_champions_total{outcome="swapped_in"} 1.0',
        ):
            assert line in text
        assert 'closedwon_model_info{digest="' in text and 'version="1"} 1.0' in text
        assert 28 < float(text.split("closedwon_model_age_days ")[-1].split()[0]) < 29


def test_a_request_over_the_limit_is_told_to_come_back(tmp_path) -> None:
    with served(tmp_path, max_waiting=1) as (service, client):
        client.headers.update(key_for(service, "score"))
        with service.admission.place():
            refused = client.post("/v1/scores", json=score_body())
            assert client.get("/healthz").status_code == 200
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert client.post("/v1/scores", json=score_body()).status_code == 200


def test_the_log_tells_counts_and_ids_of_ours_only(tmp_path, capfd) -> None:
    with served(tmp_path) as (service, client):
        key = key_for(service, "score")
        capfd.readouterr()
        answer = client.post("/v1/scores", json=score_body(), headers=key)
    line = json.loads(capfd.readouterr().err.splitlines()[0])
    assert set(line) == {"time", "level", "event", "method", "route", "status", "ms", "key_id",
                         "leads", "model_version", "request_id"}  # fmt: skip
    assert (line["route"], line["status"], line["leads"]) == ("/v1/scores", 200, 1)
    assert line["request_id"] == answer.headers["x-request-id"]
    assert "L-1" not in json.dumps(line)


def test_a_reader_of_the_log_who_stalls_holds_nobody_up() -> None:
    reader, writer = os.pipe()
    lines, line = Lines(writer), b"x" * 199 + b"\n"
    for _ in range(1_000):
        lines.write(line)
    read = os.read(reader, 2**20)
    assert lines.dropped == 1_000 - len(read) / 200 > 0
    lines.write(b"x" * 5_000)  # might not fit in one piece
    lines.write(line)
    lines.write(line)
    after = os.read(reader, 2**20).splitlines()
    os.close(reader)
    lines.write(line)
    os.close(writer)
    assert len(after) == 3 and json.loads(after[1])["so_far"] == lines.dropped


def test_a_ledger_that_cannot_be_written_fails_durable_requests_only(tmp_path) -> None:
    with served(tmp_path) as (service, client):
        client.headers.update(key_for(service, "score"))
        writer = service.ledger.engine.raw_connection()
        writer.execute("begin immediate")  # another program holds the database
        answers = []

        def ask(durable: bool) -> None:
            answers.append(client.post("/v1/scores", json=score_body(durable=durable)))

        ask(False)
        assert answers[0].status_code == 200
        waiting = threading.Thread(target=ask, args=(True,))
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive(), "it waits for the commit"
        assert service.admission.at_work == 0, "and keeps nobody else from work"
        writer.execute("rollback")
        waiting.join(10)
        writer.close()
        assert answers[1].status_code == 200
