"""Connections that send too much, too slowly or nothing at all hold nobody else up."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from served import bundle, key_for, on_a_port, score_body, service_in

from serving.api import connections

SECONDS = 0.4
BODY = json.dumps(score_body()).encode()


@pytest.fixture
def port_and_keys(tmp_path: Path, monkeypatch) -> Iterator[tuple[int, str, str]]:
    """A server with two places, and two keys."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", SECONDS)
    monkeypatch.setattr(connections, "BODY_SECONDS", SECONDS)
    service = service_in(tmp_path, max_waiting=2)
    service.watch.offer(bundle(tmp_path / "1"))
    keys = [key_for(service, "score")["Authorization"] for _ in range(2)]
    with on_a_port(service) as port:
        yield port, keys[0], keys[1]


def sent(port: int, content: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    connection.sendall(content)
    return connection


def told(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


def post(key: str, more: bytes = b"Connection: close\r\n") -> bytes:
    return (
        b"POST /v1/scores HTTP/1.1\r\nHost: x\r\nAuthorization: " + key.encode() + b"\r\n" + more
        + b"Content-Length: %d\r\n\r\n" % len(BODY)
    )  # fmt: skip


def test_slow_bodies_keep_only_their_own_key_from_scores_and_end(port_and_keys) -> None:
    port, slow, other = port_and_keys
    start = time.monotonic()
    halves = [sent(port, post(slow) + BODY[:50]) for _ in range(2)]
    assert told(sent(port, post(other) + BODY)).startswith(b"HTTP/1.1 200 ")
    assert told(sent(port, post(slow) + BODY)).startswith(b"HTTP/1.1 429 ")
    for half in halves:
        answer = told(half)
        assert answer.startswith(b"HTTP/1.1 408 ") and b'"code":"too_slow"' in answer
    assert SECONDS <= time.monotonic() - start < 10 * SECONDS
    assert told(sent(port, post(slow) + BODY)).startswith(b"HTTP/1.1 200 ")
    refused = told(sent(port, post("Bearer cw_none", b"") + BODY[:50]))
    assert refused.startswith(b"HTTP/1.1 401 "), "its rest is not waited for either"


def test_endless_heads_and_trailers_are_refused(port_and_keys) -> None:
    port, key, _ = port_and_keys
    endless = sent(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: ")
    endless.sendall(b"x" * 100_000)
    assert told(endless).startswith(b"HTTP/1.1 431 ")
    chunked = post(key).replace(b"Content-Length: %d" % len(BODY), b"Transfer-Encoding: chunked")
    trailers = sent(port, chunked + b"1\r\n{\r\n0\r\nX-A: ")
    time.sleep(0.05)
    trailers.sendall(b"x" * 100_000)
    assert told(trailers).startswith(b"HTTP/1.1 431 ")


def test_connections_that_send_nothing_or_half_a_head_are_closed(port_and_keys) -> None:
    port, key, _ = port_and_keys
    silent, half = sent(port, b""), sent(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-")
    used = sent(port, post(key, b"") + BODY)
    assert used.recv(65536).startswith(b"HTTP/1.1 200 ")
    used.sendall(b"GET /hea")
    assert told(silent) == b""
    assert told(half).startswith(b"HTTP/1.1 408 ")
    assert told(used).endswith(b'"message":"The headers did not arrive in time."}}')
