"""Small score requests that wait at the same time are scored together.

To score a lead takes mostly calls, of Python and into compiled code, which the leads of one batch
share. Nobody waits for a batch to fill: it ends when a turn of the event loop brings no other.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from serving.champion.champion import Champion
from serving.live.requests import ScoreRequest

Outcome = TypeVar("Outcome")
MOST_LEADS = 16
MOST_ROWS = 1_000
"""Of a batch of several requests, during which the event loop does nothing else. In a larger one a
lead would hardly take less time."""


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[Outcome]):
    champion: Champion
    asked: ScoreRequest
    outcome: asyncio.Future[Outcome]


class Batches(Generic[Outcome]):
    """Requests that wait, on one event loop.

    `score` returns the outcome of each request of a batch, or the exception it gets: all of one
    champion, no lead for two of them.
    """

    def __init__(
        self, score: Callable[[Champion, Sequence[ScoreRequest]], Sequence[Outcome | Exception]]
    ) -> None:
        self._score = score
        self._waiting: deque[_Waiting[Outcome]] = deque()
        self._seen = 0
        "How many waited when they were last looked at."

    async def score(self, champion: Champion, asked: ScoreRequest) -> Outcome:
        """Return the outcome of a request, or raise its exception."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Outcome] = loop.create_future()
        self._waiting.append(_Waiting(champion, asked, outcome))
        if len(self._waiting) == 1:
            loop.call_soon(self._run)
        return await outcome

    def _run(self) -> None:
        loop = asyncio.get_running_loop()
        if self._seen < len(self._waiting) < MOST_LEADS:  # while some arrive, others may be at hand
            self._seen = len(self._waiting)
            loop.call_soon(self._run)
            return
        batch = self._take()
        self._seen = 0
        if self._waiting:  # others have their turn first, and what arrives meanwhile may join
            loop.call_soon(self._run)
        if not batch:
            return
        outcomes: Sequence[Outcome | Exception]
        try:
            outcomes = self._score(batch[0].champion, [one.asked for one in batch])
        except Exception as error:  # nobody may wait for ever
            outcomes = [error] * len(batch)
        for one, outcome in zip(batch, outcomes, strict=True):
            if one.outcome.done():  # who asked has gone
                continue
            if isinstance(outcome, Exception):
                one.outcome.set_exception(outcome)
            else:
                one.outcome.set_result(outcome)

    def _take(self) -> list[_Waiting[Outcome]]:
        """Take the next batch from what waits, in its order."""
        batch: list[_Waiting[Outcome]] = []
        leads: set[str] = set()
        n_rows = 0
        while self._waiting:
            one = self._waiting[0]
            if one.outcome.done():
                self._waiting.popleft()
                continue
            own = one.asked.lead_ids
            n_rows += one.asked.n_rows
            if batch and (
                len(leads) + len(own) > MOST_LEADS
                or n_rows > MOST_ROWS
                or one.champion is not batch[0].champion
                or not leads.isdisjoint(own)  # it is compared with the score that comes first
            ):
                break
            batch.append(self._waiting.popleft())
            leads.update(own)
        return batch
