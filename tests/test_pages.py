"""The pages' routes: who may see and do what, and what the ledger holds afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import small_ledger
from fastapi.testclient import TestClient
from small_ledger import DAY, HOUR, MONDAY

from features.config import Config
from serving.api.app import create_app
from serving.api.service import Service
from serving.ledger.keys import Keys

NOW = MONDAY + 30 * HOUR
ODD = "EU/00 1?#<b>\u202eé"
PAGES = [("GET", "/leads"), ("GET", "/leads/waits"), ("GET", "/leads/a%2Fb"),
         ("POST", "/leads/waits/verdict")]  # fmt: skip


def service_in(folder: Path) -> Service:
    """A service whose clock stands still at NOW, with an empty ledger and no champion."""
    config = Config()
    ledger = small_ledger.open_ledger(folder, clock=lambda: NOW)
    keys = Keys(ledger.engine)
    return Service(config, folder, ledger, keys, now=lambda: NOW, is_logging=False)


def fill(service: Service) -> None:
    """One lead that is late, one that is not, one below the cutoff, one with an odd id."""
    small_ledger.write(
        service.ledger,
        small_ledger.record("waits", MONDAY),
        small_ledger.record("new", MONDAY + 29 * HOUR, probability=0.5, grade="A"),
        small_ledger.record("below", MONDAY, probability=0.1),
        small_ledger.record(ODD, MONDAY - DAY),
    )


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = service_in(tmp_path)
    yield service
    service.stop()


def visit(service: Service) -> TestClient:
    """Someone who has not logged in."""
    return TestClient(create_app(service), base_url="http://127.0.0.1", follow_redirects=False)


def log_in(service: Service, *scopes: str) -> TestClient:
    """Someone who has, with a key of these scopes."""
    client = visit(service)
    _, secret = service.keys.create(scopes, "Sam", None)
    answer = client.post("/login", data={"key": f" {secret} "})
    assert (answer.status_code, answer.headers["location"]) == (303, "/leads")
    return client


def token_in(page: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found is not None
    return found[1]


def answer(client: TestClient, lead: str = "waits", **fields: str) -> Any:
    """Send the form of a lead's page."""
    page = client.get(f"/leads/{lead}").text
    return client.post(f"/leads/{lead}/verdict", data={"csrf_token": token_in(page)} | fields)


@pytest.mark.parametrize(("method", "address"), PAGES)
def test_without_a_session_every_page_is_the_login_form(service, method, address) -> None:
    fill(service)
    shown = visit(service).request(method, address)
    assert shown.status_code == 401
    assert 'action="/login"' in shown.text and "waits" not in shown.text.replace(address, "")


@pytest.mark.parametrize(("method", "address"), PAGES)
def test_a_key_without_the_scope_sees_no_page(service, method, address) -> None:
    client = log_in(service, "score")
    refused = client.request(method, address)
    assert refused.status_code == 403 and "Your key has no scope" in refused.text


def test_logging_in_leads_on_to_the_page_that_was_asked_for(service) -> None:
    fill(service)
    client = visit(service)
    _, secret = service.keys.create(("read",), "Sam", None)
    form = client.get("/leads/EU%2F00%201%3F%23%3Cb%3E%E2%80%AE%C3%A9").text
    target = re.search(r'name="next" value="([^"]+)"', form)
    assert target is not None
    answer = client.post("/login", data={"key": secret, "next": target[1]})
    assert client.get(answer.headers["location"]).status_code == 200
    for foreign in (
        "https://elsewhere.example/",
        "//elsewhere.example",
        "/leads/\r\nSet-Cookie: x",
    ):
        answer = client.post("/login", data={"key": secret, "next": foreign})
        assert answer.headers["location"] == "/leads"


def test_a_wrong_key_is_refused_and_never_repeated(service) -> None:
    client = visit(service)
    refused = client.post("/login", data={"key": "cw_marker_marker"})
    assert refused.status_code == 401 and 'role="alert"' in refused.text
    assert "marker" not in refused.text and "set-cookie" not in refused.headers
    for _ in range(12):
        refused = client.post("/login", data={"key": "cw_marker_marker"})
    assert refused.status_code == 429 and "Too many attempts" in refused.text
    assert int(refused.headers["retry-after"]) >= 1


def test_a_login_form_of_another_site_is_refused(service) -> None:
    _, secret = service.keys.create(("read",), "Sam", None)
    headers = {"sec-fetch-site": "cross-site"}
    assert visit(service).post("/login", data={"key": secret}, headers=headers).status_code == 403


def test_logging_out_ends_the_session(service) -> None:
    client = log_in(service, "read")
    token = token_in(client.get("/leads").text)
    assert client.get("/login").headers["location"] == "/leads"
    assert client.post("/logout", data={"csrf_token": "wrong"}).status_code == 403
    assert client.get("/leads").status_code == 200
    assert client.post("/logout", data={"csrf_token": token}).status_code == 303
    assert client.get("/leads").status_code == 401


def test_a_key_in_a_header_opens_the_pages_too(service) -> None:
    fill(service)
    _, secret = service.keys.create(("read", "verdict"), "script", None)
    client, headers = visit(service), {"x-api-key": secret}
    assert "Log out" not in client.get("/leads", headers=headers).text
    sent = client.post("/leads/waits/verdict", data={"verdict": "accepted"}, headers=headers)
    assert sent.status_code == 303


def test_the_list_is_ranked_and_each_tab_shows_its_leads(service) -> None:
    fill(service)
    client = log_in(service, "read")

    def leads(query: str) -> list[str]:
        page = client.get(f"/leads{query}")
        assert page.status_code == 200
        return re.findall(r'<a href="/leads/([^"]+)"><bdi>', page.text)

    odd = "EU%2F00%201%3F%23%3Cb%3E%E2%80%AE%C3%A9"
    assert leads("") == ["new", odd, "waits"]
    assert leads("?show=all") == ["new", odd, "waits", "below"]
    assert leads("?show=overdue") == [odd, "waits"]
    assert leads("?show=accepted") == []
    assert leads("?show=nonsense&grade=Z") == ["new", odd, "waits"]
    assert leads("?show=all&grade=D") == ["below"]
    assert leads("?search=%20WAI%00") == ["waits"]
    page = client.get("/leads").text
    assert "Answer overdue by 6 hours" in page and "Answer due in 23 hours" in page


def test_a_long_list_has_pages(service) -> None:
    records = [small_ledger.record(f"L-{place:03}", MONDAY) for place in range(120)]
    small_ledger.write(service.ledger, *records)
    client, address, seen = log_in(service, "read"), "/leads", []
    while address and len(seen) <= len(records):
        page = client.get(address).text
        seen += re.findall(r"<bdi>(L-\d+)</bdi>", page)
        following = re.search(r'<a href="([^"]+)" rel="next"', page)
        address = following[1].replace("&amp;", "&") if following else ""
    assert seen == [record.lead_id for record in records]
    wrong = client.get("/leads?after=%00nonsense")
    assert wrong.status_code == 422 and 'role="alert"' in wrong.text
    assert "nonsense" not in wrong.text


def test_an_empty_list_says_what_to_do_next(service) -> None:
    client = log_in(service, "read")
    assert "closedwon score" in client.get("/leads").text
    small_ledger.write(service.ledger, small_ledger.record("below", probability=0.1))
    assert "No MQL waits for sales" in client.get("/leads").text
    assert "No lead matches these filters" in client.get("/leads?search=nobody").text
    assert "None here" in client.get("/leads?show=rejected").text


@pytest.mark.parametrize(
    ("fields", "state", "told"),
    [
        ({"verdict": "accepted"}, "accepted", "Recorded: accepted, 5 May 2026, 06:00 UTC."),
        ({"verdict": "contacted"}, "contacted", "Recorded: first contact, 5 May 2026"),
        ({"verdict": "rejected", "reason_code": "no_budget"}, "rejected", "rejected (No budget)"),
        ({"verdict": "recycled", "reason_code": "bad_timing"}, "recycled", "(Bad timing)"),
    ],
)
def test_an_answer_is_recorded_and_confirmed(service, fields, state, told) -> None:
    fill(service)
    client = log_in(service, "read", "verdict")
    sent = answer(client, **fields)
    assert sent.status_code == 303
    found = service.ledger.lead("waits")
    assert found is not None and found["state"] == state
    if found["verdicts"]:
        assert found["verdicts"][0]["reason_code"] == fields.get("reason_code")
    page = client.get(sent.headers["location"]).text
    assert told in page and 'role="status"' in page
    assert "Recorded" not in client.get("/leads/new?recorded=accepted").text


@pytest.mark.parametrize(
    "fields",
    [
        {"verdict": "rejected"},
        {"verdict": "rejected", "reason_code": "because"},
        {"verdict": "recycled", "reason_code": ""},
        {"verdict": "won"},
        {},
        {"verdict": "accepted", "score_id": "of another lead"},
        {"verdict": "accepted", "score_id": "\0"},
    ],
)
def test_an_answer_that_is_none_changes_nothing_and_is_told(service, fields) -> None:
    fill(service)
    sent = answer(log_in(service, "read", "verdict"), **fields)
    assert sent.status_code == 422 and 'role="alert"' in sent.text
    found = service.ledger.lead("waits")
    assert found is not None and (found["state"], found["verdicts"]) == ("mql", [])


def test_an_answer_needs_the_sessions_own_form(service) -> None:
    fill(service)
    client, other = log_in(service, "read", "verdict"), log_in(service, "read", "verdict")
    stolen = token_in(other.get("/leads").text)
    own = token_in(client.get("/leads").text)
    for token, headers in (("", {}), (stolen, {}), (own, {"sec-fetch-site": "cross-site"})):
        fields = {"verdict": "accepted", "csrf_token": token}
        sent = client.post("/leads/waits/verdict", data=fields, headers=headers)
        assert sent.status_code == 403 and "out of date" in sent.text
    found = service.ledger.lead("waits")
    assert found is not None and found["state"] == "mql"


def test_a_lead_below_the_cutoff_has_nothing_to_answer(service) -> None:
    fill(service)
    client = log_in(service, "read", "verdict")
    sent = answer(client, "below", verdict="accepted")
    assert sent.status_code == 422 and "never an MQL" in sent.text


def test_unknown_leads_and_hostile_forms_are_answered_with_a_page(service) -> None:
    client = log_in(service, "read", "verdict")
    token = token_in(client.get("/leads").text)
    for address in ("/leads/nobody", "/leads/%00", "/leads/%ED%A0%80", "/leads/", "/leads/a%2F"):
        assert client.get(address).status_code == 404, address
        fields = {"csrf_token": token, "verdict": "accepted"}
        assert client.post(f"{address}/verdict", data=fields).status_code == 404, address
    for body in (b"\xff\xfe=%zz&&&", b"a=1&" * 1000, b'{"json": NaN}', b""):
        assert client.post("/leads/nobody/verdict", content=body).status_code == 403
        assert client.post("/login", content=body).status_code in (401, 429)


def test_static_files_may_be_kept_and_no_page_is(service) -> None:
    client = visit(service)
    page = client.get("/login")
    assert page.headers["cache-control"] == "no-store"
    addresses = re.findall(r'href="(/static/[^"]+)"', page.text)
    assert len(addresses) == 2
    for address in addresses:
        file = client.get(address)
        assert file.status_code == 200 and "immutable" in file.headers["cache-control"]
        assert client.get(address.partition("?")[0]).headers["cache-control"] == "no-cache"
    for name in ("nothing.css", "..%2Fpages.py", "%2e%2e/pages.py"):
        assert client.get(f"/static/{name}").status_code == 404
    assert client.get("/").headers["location"] == "/leads"
