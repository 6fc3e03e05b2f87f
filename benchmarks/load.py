"""HTTP load on 127.0.0.1 from one process: as fast as answers come, or at a fixed rate."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import uvloop


@dataclass(frozen=True)
class Load:
    """One kind of request: bodies that are sent in turn."""

    port: int
    path: str
    bodies: Sequence[bytes]
    key: str | None

    def requests(self) -> list[bytes]:
        """Return whole HTTP requests."""
        key = f"Authorization: Bearer {self.key}\r\n" if self.key else ""
        head = f"POST {self.path} HTTP/1.1\r\nHost: localhost\r\n{key}"
        head += "Content-Type: application/json\r\nContent-Length: "
        return [f"{head}{len(body)}\r\n\r\n".encode() + body for body in self.bodies]


class _Connection(asyncio.Protocol):
    """Sends one request at a time; tells of each answer."""

    refused = ""
    "The last answer that was not 200."

    def __init__(self, answered: Callable[[_Connection], None]) -> None:
        self._answered = answered
        self._received = b""
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, content: bytes) -> None:
        self._received += content
        head, gap, body = self._received.partition(b"\r\n\r\n")
        if not gap:
            return
        _, _, rest = head.lower().partition(b"content-length:")
        if len(body) < int(rest.split(b"\r\n", 1)[0]):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self.refused = self._received[:2000].decode(errors="replace")
        self._received = b""
        self._answered(self)


async def _connect(load: Load, answered: Callable[[_Connection], None]) -> _Connection:
    loop = asyncio.get_running_loop()
    _, made = await loop.create_connection(lambda: _Connection(answered), "127.0.0.1", load.port)
    return made


def _end(connections: Sequence[_Connection]) -> None:
    """Close them; SystemExit if any got another answer than 200, for that is no speed."""
    for connection in connections:
        connection.transport.close()
        if connection.refused:
            raise SystemExit(connection.refused)


def closed_loop(load: Load, connections: int, seconds: float) -> float:
    """Return answers a second; every connection sends its next request when it got its answer."""
    requests = itertools.cycle(load.requests())

    async def run() -> float:
        count, is_over = 0, False

        def answered(connection: _Connection) -> None:
            nonlocal count
            count += 1
            if not is_over:
                connection.transport.write(next(requests))

        open_ones = [await _connect(load, answered) for _ in range(connections)]
        start = time.perf_counter()
        for connection in open_ones:
            connection.transport.write(next(requests))
        await asyncio.sleep(seconds)
        rate = count / (time.perf_counter() - start)
        is_over = True
        await asyncio.sleep(0.5)  # what is at work is answered
        _end(open_ones)
        return rate

    return uvloop.run(run())


def open_loop(load: Load, per_second: int, seconds: float) -> list[float]:
    """Return sorted milliseconds from when each request was due until its answer was there."""
    requests = itertools.cycle(load.requests())

    async def run() -> list[float]:
        taken: list[float] = []
        due_at: dict[_Connection, float] = {}
        free: deque[_Connection] = deque()
        waiting: deque[float] = deque()

        def send(connection: _Connection, due: float) -> None:
            due_at[connection] = due
            connection.transport.write(next(requests))

        def answered(connection: _Connection) -> None:
            taken.append(1e3 * (time.perf_counter() - due_at[connection]))
            if waiting:
                send(connection, waiting.popleft())
            else:
                free.append(connection)

        open_ones = [await _connect(load, answered) for _ in range(64)]
        free.extend(open_ones)
        total, start = int(per_second * seconds), time.perf_counter() + 0.1
        for number in range(total):
            due = start + number / per_second
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            if free:
                send(free.popleft(), due)
            else:
                waiting.append(due)
        while len(taken) < total:
            await asyncio.sleep(0.05)
        _end(open_ones)
        return sorted(taken)

    return uvloop.run(run())
