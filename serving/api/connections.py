"""One connection: how long a request's head may be, and how long head and body may take."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.api.errors import error_response

HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 15.0
"From the open connection, or the first byte of a later request, to the end of its headers."
BODY_SECONDS = 10.0
"From the headers to the end of the body. Not longer than a stop waits for requests at work."


class Connection(HttpToolsProtocol):
    """Refuses what uvicorn takes without end: long heads (431), slow heads and slow bodies (408).

    Counted is all that is no body: so chunks of nothing and endless trailers are refused as well.
    Between requests uvicorn's own limit for idle connections holds. A request that comes in one
    piece, as nearly all do, starts no timer.
    """

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._requests = 0
        self._is_in_body = False
        self._overhead = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._start_timer(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in some of a request."""
        before = self._requests
        self._overhead += len(data)
        super().data_received(data)
        if self._overhead > HEAD_BYTES:
            self._refuse(431, "The headers are longer than this server takes.")
        elif self._timer is None and self._is_in_body:
            self._start_timer(BODY_SECONDS)
        elif self._timer is None and self._requests == before:
            self._start_timer(HEAD_SECONDS)

    def on_headers_complete(self) -> None:
        """Begin to answer."""
        self._requests += 1
        self._is_in_body = True
        self._overhead = 0
        self._stop_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take in a part of the body; what wraps it may be as long as it is."""
        self._overhead = max(0, self._overhead - 2 * len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for the next request."""
        self._is_in_body = False
        self._overhead = 0
        self._stop_timer()
        super().on_message_complete()

    def _start_timer(self, seconds: float) -> None:
        if not self.transport.is_closing():
            self._timer = self.loop.call_later(seconds, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self.flow.read_paused:  # it is us who do not read
            self._start_timer(BODY_SECONDS)
        elif self._is_in_body:
            said = f"The body did not arrive within {BODY_SECONDS:g} seconds. Send less at a time."
            self._refuse(408, said)
        elif self._overhead:
            self._refuse(408, "The headers did not arrive in time.")
        else:
            self.transport.close()

    def _refuse(self, status: int, message: str) -> None:
        """Close the connection, with an answer unless another is under way."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if self._is_in_body:
            is_free = not (cycle.response_started or self.pipeline)
            # The app stops waiting for the rest, and nothing it says is sent any more.
            cycle.scope["refused"] = status  # type: ignore[typeddict-unknown-key]
            cycle.disconnected = True
            cycle.message_event.set()
        else:
            is_free = cycle is None or cycle.response_complete
        if is_free:
            answer = error_response(status, message, headers={"connection": "close"})
            lines = [name + b": " + value + b"\r\n" for name, value in answer.raw_headers]
            head = b"".join([STATUS_LINE[status], *lines, b"\r\n"])
            self.transport.write(head + bytes(answer.body))
        self.transport.close()
