"""Hostile requests: never a 500, and nothing of what they hold in the answer or the log."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from served import event_row, key_for, lead_rows, score_body, served

from serving.api.service import Service

MARK = "qqMARKERqq"


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> Iterator[tuple[Service, TestClient]]:
    with served(tmp_path_factory.mktemp("hostile"), max_body_megabytes=2) as both:
        yield both


@pytest.fixture(scope="module")
def key(both) -> dict[str, str]:
    return key_for(both[0], "score", "read", "verdict")


def text_of(body: Any) -> bytes:
    return json.dumps(body).encode()


def changed(table: str, row: dict[str, Any]) -> bytes:
    return text_of(score_body(tables={table: [row]}))


def raw(before: bytes, after: bytes) -> bytes:
    text = text_of(score_body(tables={"leads": [lead_rows(seats=12345)]}))
    assert before in text
    return text.replace(before, after)


NOT_JSON = {
    "nothing": b"",
    "a word": MARK.encode(),
    "half": text_of(score_body())[:-20],
    "NaN": raw(b"12345", b"NaN"),
    "infinity": raw(b"12345", b"-Infinity"),
    "a lone surrogate": raw(b'"web"', b'"\\ud800' + MARK.encode() + b'"'),
    "not UTF-8": raw(b'"web"', b'"\xff\xfe' + MARK.encode() + b'"'),
    "a list": b"[1, 2]",
    "null": b"null",
    "deep lists": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"tables":' * 50_000 + b"1" + b"}" * 50_000,
}
WRONG = {
    "unknown key": text_of({**score_body(), MARK: 1}),
    "unknown table": text_of({"tables": {**score_body()["tables"], MARK: []}}),
    "tables a text": text_of({"tables": MARK}),
    "leads a text": text_of(score_body(tables={"leads": MARK})),
    "no leads": text_of(score_body(tables={"leads": []})),
    "switch a text": text_of(score_body(durable=MARK)),
    "reasons": text_of(score_body(reasons=MARK)),
    "many reasons": text_of(score_body(reasons=10**30)),
    "as_of": text_of(score_body(as_of=MARK)),
    "future as_of": text_of(score_body(as_of="2099-01-01T00:00:00Z")),
    "lead_ids": text_of(score_body(lead_ids=[MARK])),
    "lead_ids nested": text_of(score_body(lead_ids=[[MARK]])),
    "event of nobody": changed("engagement_events", {"event_type": MARK, "occurred_at": 1}),
}
BY_LEAD = {
    "a row of text": text_of(score_body(tables={"leads": [MARK]})),
    "1e999": raw(b"12345", b"1e999"),
    "NUL": changed("leads", lead_rows(source=f"\0{MARK}")),
    "id a list": changed("leads", lead_rows(lead_id=[MARK])),
    "id NUL": changed("leads", lead_rows(lead_id=f"{MARK}\0")),
    "attribute nested": changed("leads", lead_rows(seats={MARK: MARK})),
    "created_at": changed("leads", lead_rows(created_at=MARK)),
    "created in 9999999": changed("leads", lead_rows(created_at="9999999-01-01")),
    "created a number": changed("leads", lead_rows(created_at=10**40)),
    "future event": changed("engagement_events", event_row(occurred_at="2099-01-01T00:00:00Z")),
    "event a list": changed("engagement_events", event_row(event_type=[MARK])),
    "stage": changed("opportunities", {"opportunity_id": "o", "lead_id": "L-1", "stage": MARK,
                                       "created_at": "2026-05-01T00:00:00Z"}),
}  # fmt: skip
MANY = [event_row(event_id=str(number)) for number in range(10_000)]
FINE = {
    "SQL": changed("leads", lead_rows(lead_id="'; drop table scores; --", account_id=None)),
    "HTML": changed("leads", lead_rows(source="<script>alert(1)</script>")),
    "formula": changed("leads", lead_rows(source="=cmd|' /C calc'!A0")),
    "10,000 events": text_of(score_body(tables={"engagement_events": MANY})),
    "right to left": changed("leads", lead_rows(lead_id="\u202eL-1", account_id=None)),
}  # fmt: skip


def post(client, key, body: bytes, **headers: str):
    return client.post("/v1/scores", content=body, headers={**key, **headers})


def quiet(answer, capfd) -> None:
    """Neither answer nor log tell what came in, and nothing failed."""
    log = capfd.readouterr()
    assert MARK not in answer.text and MARK not in log.err + log.out
    assert "failure" not in log.err


@pytest.mark.parametrize("name", [*NOT_JSON, *WRONG])
def test_what_cannot_be_read_is_refused_without_an_echo(both, key, capfd, name) -> None:
    answer = post(both[1], key, {**NOT_JSON, **WRONG}[name])
    assert answer.status_code == 422, answer.text
    error = answer.json()["error"]
    assert error["code"] == "invalid_request" and error["problems"][0]["problem"]
    quiet(answer, capfd)


@pytest.mark.parametrize("name", BY_LEAD)
def test_what_is_wrong_with_a_lead_is_refused_without_an_echo(both, key, capfd, name) -> None:
    answer = post(both[1], key, BY_LEAD[name])
    assert answer.status_code in (200, 422), answer.text
    if answer.status_code == 200:
        assert not answer.json()["results"] and answer.json()["errors"][0]["index"] == 0
    quiet(answer, capfd)


@pytest.mark.parametrize("name", FINE)
def test_odd_but_sound_values_are_scored(both, key, capfd, name) -> None:
    answer = post(both[1], key, FINE[name])
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["results"]) == 1 and not answer.json()["errors"]
    quiet(answer, capfd)


def test_a_repeated_lead_with_other_values_is_an_error_of_the_second(both, key) -> None:
    twice = [lead_rows(), lead_rows(seats=9)]
    answer = post(both[1], key, text_of(score_body(tables={"leads": twice})))
    assert [one["index"] for one in answer.json()["errors"]] == [1]


def test_too_much_is_refused_before_it_is_read(both, key, capfd) -> None:
    _, client = both
    large = (MARK * 240_000).encode()
    assert post(client, key, large).status_code == 413
    unannounced = client.post("/v1/scores", content=iter([large[:900_000]] * 3), headers=key)
    assert unannounced.status_code == 413
    for path in ("/v1/leads/x/verdicts", "/login", "/leads/x/verdict"):
        assert client.post(path, content=b"x" * 70_000, headers=key).status_code == 413
    leads = [lead_rows(f"L-{n}", account_id=None) for n in range(1_001)]
    assert post(client, key, text_of({"tables": {"leads": leads}})).status_code == 422
    quiet(unannounced, capfd)


def test_a_body_that_is_packed_or_no_json_is_refused(both, key) -> None:
    bomb = gzip.compress(b"0" * 10_000_000)
    assert post(both[1], key, bomb, **{"content-encoding": "gzip"}).status_code == 415
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x"):
        refused = post(both[1], key, text_of(score_body()), **{"content-type": kind})
        assert refused.status_code == 415
    kind = {"content-type": "Application/JSON; charset=utf-8"}
    assert post(both[1], key, text_of(score_body()), **kind).status_code == 200


VERDICTS = [b"", b"[]", b"NaN", b'{"verdict": "accepted", "' + MARK.encode() + b'": 1}',
            b'{"verdict": "' + MARK.encode() + b'"}', b'{"verdict": ["accepted"]}',
            b'{"verdict": "accepted", "reason_code": "\\u0000"}',
            b'{"verdict": "accepted", "score_id": "\\ud800"}',
            b'{"verdict": "rejected", "reason_code": "' + b"x" * 200 + b'"}']  # fmt: skip


@pytest.mark.parametrize("body", VERDICTS)
def test_a_verdict_that_is_none_is_refused_without_an_echo(both, key, capfd, body) -> None:
    answer = both[1].post("/v1/leads/L-1/verdicts", content=body, headers=key)
    assert answer.status_code == 422, answer.text
    quiet(answer, capfd)


PATHS = ["/v1/leads/%00", "/v1/leads/%ff%fe", "/v1/leads/" + "x" * 3000, "/v1/leads/..%2f..%2fetc",
         "/v1/leads?limit=1e999", "/v1/leads?limit=0", f"/v1/leads?after={MARK}", "/v1/leads/",
         f"/v1/leads?grade={MARK}", f"/v1/leads?search={'%25' * 100}", "/v1/comparison?cutoff=nan",
         "/v1/leads?search=%00", "/v1/comparison?cutoff=inf", f"/v1/{MARK}", f"/{MARK}",
         f"/v1/leads/{MARK}", "/docs", "/redoc", f"/static/{MARK}", "/static/..%2f..%2fapp.py",
         f"/leads?show={MARK}&after=%00", "/leads/%00"]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_odd_addresses_are_answered(both, key, capfd, path) -> None:
    answer = both[1].get(path, headers=key)
    assert answer.status_code in (200, 404, 422), answer.text
    if path.startswith("/v1"):
        assert answer.status_code == 200 or answer.json()["error"]["message"]
        quiet(answer, capfd)
    assert "failure" not in capfd.readouterr().err


def test_methods_that_are_not_there_get_the_same_shape(both, key) -> None:
    answer = both[1].delete("/v1/scores", headers=key)
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    assert both[1].post("/v1/nothing", headers=key).json()["error"]["code"] == "not_found"


def test_every_answer_has_the_security_headers(both, key) -> None:
    for path in ("/healthz", "/v1/leads", "/v1/nothing", "/leads", "/login"):
        headers = both[1].get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_a_bug_says_only_where_to_look(both, key, capfd, monkeypatch) -> None:
    service, client = both

    def fails(_: object) -> None:
        raise KeyError(MARK)

    broken = copy.copy(service.ledger)
    monkeypatch.setattr(broken, "latest", fails)
    monkeypatch.setattr(service, "ledger", broken)
    answer = post(client, key, text_of(score_body()))
    log = capfd.readouterr().err
    assert answer.status_code == 500 and answer.json()["error"]["code"] == "internal_error"
    assert answer.headers["x-request-id"] in answer.text and MARK not in answer.text + log
    told = json.loads(log.splitlines()[0])
    assert (told["event"], told["error"]) == ("failure", "KeyError")
    assert any("fails" in place for place in told["where"])
