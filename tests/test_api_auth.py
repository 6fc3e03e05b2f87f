"""Who may ask what: generated from the OpenAPI document, so that no route is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from served import key_for, score_body, served

from features.config import ServingConfig, read_config
from features.errors import InputError
from serving.api.app import OPENAPI_PATH, create_app
from serving.api.auth import COOKIE, Sessions
from serving.api.run import settings_of
from serving.api.service import Service
from serving.ledger.clock import now_us

HOUR = 3_600_000_000
OPEN = {"/healthz", "/readyz"}
SCOPE = {"/v1/scores": "score", "/v1/leads/{lead_id}/verdicts": "verdict",
         "/v1/leads/{lead_id}/contacts": "verdict"}  # fmt: skip


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> Iterator[tuple[Service, TestClient]]:
    with served(tmp_path_factory.mktemp("auth")) as both:
        yield both


def routes(client: TestClient) -> list[tuple[str, str]]:
    document = client.get(OPENAPI_PATH).json()
    found = [(method, path) for path, methods in document["paths"].items() for method in methods]
    assert len(found) == 10
    return [(method, path) for method, path in found if path not in OPEN]


def ask(client: TestClient, method: str, path: str, headers: dict[str, str]) -> Any:
    body = score_body() if path == "/v1/scores" else {"verdict": "accepted"}
    address = path.replace("{lead_id}", "L-1")
    content = {"json": body} if method == "post" else {}
    return client.request(method, address, headers=headers, **content)


def test_every_route_wants_a_key_that_is_valid_and_has_the_scope(both) -> None:
    service, client = both
    right = key_for(service, "admin")["Authorization"]
    wrong = [{}, {"Authorization": "Bearer cw_1_x"}, {"X-API-Key": "nonsense"},
             {"Authorization": "Basic YTpi"}, {"Authorization": right[:-1]},
             {"Authorization": right + "x"}]  # fmt: skip
    scopes = {"read", "score", "verdict"}
    for method, path in routes(client):
        for headers in wrong:
            refused = ask(client, method, path, headers)
            assert refused.status_code == 401, (method, path, headers)
            assert refused.json()["error"]["code"] == "unauthorized"
            assert refused.headers["www-authenticate"] == "Bearer"
        needed = SCOPE.get(path, "read")
        others = key_for(service, *sorted(scopes - {needed}))
        assert ask(client, method, path, others).status_code == 403, (method, path)
        for allowed in (key_for(service, needed), key_for(service, "admin")):
            assert ask(client, method, path, allowed).status_code in (200, 201, 404, 422)


def test_an_expired_or_revoked_key_opens_no_route(both, monkeypatch) -> None:
    service, client = both
    ends_at = now_us() + HOUR
    _, expired = service.keys.create(("admin",), "old", ends_at)
    key, revoked = service.keys.create(("admin",), "given back")
    service.keys.revoke(key.key_id)
    monkeypatch.setattr(service, "now", lambda: ends_at)
    for method, path in routes(client):
        for secret in (expired, revoked):
            headers = {"Authorization": f"Bearer {secret}"}
            assert ask(client, method, path, headers).status_code == 401, (method, path)


def test_health_and_the_openapi_document_need_no_key(both) -> None:
    _, client = both
    for path in (*OPEN, OPENAPI_PATH):
        assert client.get(path).status_code == 200


def test_a_key_works_in_either_header(both) -> None:
    service, client = both
    secret = key_for(service, "read")["Authorization"].removeprefix("Bearer ")
    for headers in ({"X-API-Key": secret}, {"Authorization": f"bearer {secret}"}):
        assert client.get("/v1/leads", headers=headers).status_code == 200


def test_the_document_says_which_routes_need_a_key(both) -> None:
    _, client = both
    document = client.get(OPENAPI_PATH).json()
    for method, path in routes(client):
        assert document["paths"][path][method]["security"] == [{"bearer": []}, {"api_key": []}]
    assert set(document["components"]["securitySchemes"]) == {"bearer", "api_key"}


def test_a_quota_is_of_one_key_and_says_when_to_come_back(tmp_path) -> None:
    with served(tmp_path, requests_per_minute=3) as (service, client):
        busy, other = key_for(service, "read"), key_for(service, "read")
        codes = [client.get("/v1/leads", headers=busy).status_code for _ in range(5)]
        assert codes == [200, 200, 200, 429, 429]
        assert int(client.get("/v1/leads", headers=busy).headers["retry-after"]) in range(1, 22)
        assert client.get("/v1/leads", headers=other).status_code == 200
        assert client.get("/healthz").status_code == 200


def test_a_session_ends_with_its_key_with_time_and_with_logging_out(both) -> None:
    service, _ = both
    start = now_us()
    clock = [start]
    sessions = Sessions(service.keys, lambda: clock[0])

    def opened(*scopes: str, expires_at: int | None = None) -> tuple[str, str]:
        key, secret = service.keys.create(scopes, "sales", expires_at)
        found = sessions.open(secret, "host")
        assert found is not None
        assert found[1].can("read") and not found[1].can("verdict")
        assert sessions.find(found[0]) == found[1]
        return key.key_id, found[0]

    _, by_time = opened("read")
    assert sessions.find("") is None and sessions.find(by_time[:-1]) is None
    clock[0] = start + 8 * HOUR
    assert sessions.find(by_time) is None
    clock[0] = start
    assert sessions.find(by_time) is None, "an ended session does not come back"

    _, by_leaving = opened("read")
    sessions.close(by_leaving)
    assert sessions.find(by_leaving) is None

    key_id, by_revoking = opened("read")
    service.keys.revoke(key_id)
    assert sessions.find(by_revoking) is None

    _, by_expiry = opened("read", expires_at=start + HOUR)
    clock[0] = start + HOUR
    assert sessions.find(by_expiry) is None


def test_wrong_keys_are_limited_by_address(both) -> None:
    service, _ = both
    secret = key_for(service, "read")["Authorization"].removeprefix("Bearer ")
    for _ in range(12):
        assert service.sessions.open(secret, "10.0.0.9") is not None
    client = TestClient(create_app(service), client=("10.0.0.9", 1))
    codes = [client.post("/login", data={"key": "cw_a_b"}).status_code for _ in range(12)]
    assert codes == [401] * 10 + [429] * 2


def test_the_session_cookie_is_kept_from_scripts_and_other_sites(both) -> None:
    service, _ = both
    secret = key_for(service, "read")["Authorization"].removeprefix("Bearer ")
    for base, is_secure in (("http://testserver", False), ("https://testserver", True)):
        client = TestClient(create_app(service), base_url=base, client=("10.0.0.8", 1))
        answer = client.post("/login", data={"key": secret}, follow_redirects=False)
        cookie = answer.headers["set-cookie"].lower()
        assert cookie.startswith(f"{COOKIE}=") and "httponly" in cookie
        assert "samesite=strict" in cookie and ("secure" in cookie) == is_secure
        assert client.get("/leads").status_code == 200


def test_only_a_trusted_proxy_tells_address_and_scheme(both, tmp_path) -> None:
    service, _ = both
    secret = key_for(service, "read")["Authorization"].removeprefix("Bearer ")
    told = {"x-forwarded-proto": "https", "x-forwarded-for": "10.0.0.6"}
    for proxies, is_believed in (((), False), (("10.9.0.0/16",), True)):
        config = ServingConfig.model_validate({"trusted_proxies": proxies})
        settings = settings_of(create_app(service), config)
        settings.load()
        client = TestClient(settings.loaded_app, client=("10.9.8.7", 1))
        answer = client.post("/login", data={"key": secret}, headers=told, follow_redirects=False)
        assert ("secure" in answer.headers["set-cookie"].lower()) == is_believed
    (tmp_path / "closedwon.toml").write_text('[serving]\ntrusted_proxies = ["10.9.0.300"]')
    with pytest.raises(InputError, match=r"serving\.trusted_proxies"):
        read_config(tmp_path / "closedwon.toml")


def test_a_form_of_another_site_changes_nothing(both) -> None:
    service, _ = both
    secret = key_for(service, "read", "verdict")["Authorization"].removeprefix("Bearer ")
    client = TestClient(create_app(service), client=("10.0.0.7", 1))
    client.post("/login", data={"key": secret})
    forms = [{}, {"csrf_token": ""}, {"csrf_token": "é"}, {"csrf_token": "guess"}]
    for form in forms:
        answer = client.post("/leads/L-1/verdict", data={"verdict": "accepted", **form})
        assert answer.status_code == 403
    elsewhere = {"sec-fetch-site": "cross-site"}
    assert client.post("/login", data={"key": secret}, headers=elsewhere).status_code == 403
