"""Requests that wait at the same time: scored together, answered one by one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from served import event_row, key_for, lead_rows, score_body, served

from serving.api.app import create_app
from serving.api.batches import MOST_LEADS, MOST_ROWS, Batches
from serving.live.live_scores import LiveScorer

ONE, OTHER = object(), object()


@dataclass
class Scorer:
    """Tells of each request its leads, and keeps what it was asked."""

    batches: list[list[tuple[str, ...]]]

    def __call__(self, champion: Any, requests: Any) -> list[Any]:
        self.batches.append([tuple(one.lead_ids) for one in requests])
        return [
            ValueError("bad") if "bad" in one.lead_ids else (champion, one.lead_ids)
            for one in requests
        ]


def asking(*leads: str, n_rows: int = 1) -> Any:
    return SimpleNamespace(lead_ids=list(leads), n_rows=n_rows)


def scored_at_once(*asked: Any, scorer: Any = None) -> tuple[list[Any], list[Any]]:
    """Return the outcomes of (champion, request) asked for at once, and the batches."""
    scorer = scorer or Scorer([])

    async def run() -> list[Any]:
        batches: Batches[Any] = Batches(scorer)
        waiting = [batches.score(champion, one) for champion, one in asked]
        return await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 10)

    return asyncio.run(run()), getattr(scorer, "batches", [])


def test_what_waits_at_once_is_one_batch_and_everyone_gets_the_own_outcome() -> None:
    asked = [(ONE, asking(f"L{n}")) for n in range(MOST_LEADS)]
    outcomes, batches = scored_at_once(*asked)
    assert outcomes == [(ONE, [f"L{n}"]) for n in range(MOST_LEADS)]
    assert [len(batch) for batch in batches] == [MOST_LEADS]


def test_a_batch_ends_before_a_lead_that_it_has_another_champion_or_too_many_leads() -> None:
    many = [f"M{n}" for n in range(MOST_LEADS - 1)]
    outcomes, batches = scored_at_once(
        (ONE, asking("a")), (ONE, asking("b", "a")), (ONE, asking("c")), (OTHER, asking("d")),
        (OTHER, asking(*many)), (OTHER, asking("e")), (OTHER, asking(*many, "x", "y")),
    )  # fmt: skip
    assert [outcome[0] for outcome in outcomes] == [ONE] * 3 + [OTHER] * 4
    assert batches == [
        [("a",)], [("b", "a"), ("c",)], [("d",), (*many,)], [("e",)], [(*many, "x", "y")],
    ]  # fmt: skip


def test_a_batch_of_several_has_so_many_rows_and_no_more() -> None:
    sizes = [(f"L{n}", n_rows) for n, n_rows in enumerate((MOST_ROWS + 1, 1, MOST_ROWS - 1, 1, 9))]
    _, batches = scored_at_once(*((ONE, asking(lead, n_rows=n)) for lead, n in sizes))
    assert batches == [[("L0",)], [("L1",), ("L2",)], [("L3",), ("L4",)]]


def test_who_comes_while_others_still_arrive_joins_them() -> None:
    scorer = Scorer([])

    async def run() -> None:
        batches: Batches[Any] = Batches(scorer)

        async def late(lead: str, turns: int) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            await batches.score(ONE, asking(lead))

        await asyncio.wait_for(asyncio.gather(late("a", 0), late("b", 1), late("c", 9)), 10)

    asyncio.run(run())
    assert scorer.batches == [[("a",), ("b",)], [("c",)]]


def test_an_exception_is_its_own_requests_only() -> None:
    outcomes, batches = scored_at_once((ONE, asking("a")), (ONE, asking("bad")), (ONE, asking("c")))
    assert outcomes[0] == (ONE, ["a"]) and outcomes[2] == (ONE, ["c"]) and len(batches) == 1
    assert isinstance(outcomes[1], ValueError)


def test_nobody_waits_for_ever_where_scoring_itself_fails() -> None:
    def broken(champion: Any, requests: Any) -> Any:
        raise ZeroDivisionError

    outcomes, _ = scored_at_once((ONE, asking("a")), (ONE, asking("b")), scorer=broken)
    assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError] * 2


def test_who_has_gone_is_not_scored_and_others_have_their_turn_between_batches() -> None:
    scorer, turns = Scorer([]), []

    async def run() -> list[Any]:
        batches: Batches[Any] = Batches(scorer)
        loop = asyncio.get_running_loop()
        waiting = [
            asyncio.ensure_future(batches.score(ONE, asking(lead))) for lead in ("a", "b", "a", "a")
        ]
        await asyncio.sleep(0)
        waiting[1].cancel()
        for _ in range(4):
            loop.call_soon(lambda: turns.append(len(scorer.batches)))
            await asyncio.sleep(0)
        return await asyncio.gather(*waiting, return_exceptions=True)

    outcomes = asyncio.run(run())
    assert isinstance(outcomes[1], asyncio.CancelledError)
    assert scorer.batches == [[("a",)]] * 3 and len({*turns}) > 2


def bodies(count: int) -> list[dict[str, Any]]:
    return [
        score_body(tables={
            "leads": [lead_rows(f"L-{n}", seats=n)],
            "engagement_events": [event_row(f"L-{n}")] * (n % 4),
        })
        for n in range(count)
    ]  # fmt: skip


def answers(app: Any, key: dict[str, str], sent: list[dict[str, Any]]) -> list[httpx2.Response]:
    """Return the answers to requests that arrive at once."""

    async def run() -> list[httpx2.Response]:
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            asked = [client.post("/v1/scores", json=body, headers=key) for body in sent]
            return await asyncio.gather(*asked)

    return asyncio.run(run())


def seen_batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the size of each batch."""
    sizes: list[int] = []
    score = LiveScorer.score_together

    def noted(self: LiveScorer, requests: Any, *more: Any) -> Any:
        sizes.append(len(requests))
        return score(self, requests, *more)

    monkeypatch.setattr(LiveScorer, "score_together", noted)
    return sizes


def told(answer: httpx2.Response) -> Any:
    [result] = answer.json()["results"]
    return {name: value for name, value in result.items() if name not in ("score_id", "change")}


def test_requests_that_arrive_at_once_get_what_each_gets_alone(tmp_path, monkeypatch) -> None:
    with served(tmp_path) as (service, client):
        app, key = create_app(service), key_for(service, "score", "read")
        sent = bodies(10)
        alone = [client.post("/v1/scores", json=body, headers=key) for body in sent]
        sizes = seen_batches(monkeypatch)
        sent.insert(3, {"tables": {"leads": [{"lead_id": "flat", "seats": 1}]}})
        sent += [{**sent[0], "durable": True}, {**sent[1], "reasons": 1}]
        found = answers(app, key, sent)
        assert [one.status_code for one in found] == [200] * 3 + [422] + [200] * 9
        refused = found.pop(3)
        assert "created_at" in refused.json()["error"]["problems"][0]["where"]
        assert [told(one) for one in found[:10]] == [told(one) for one in alone]
        # the first again, durable: a batch of its own, compared with the one before
        assert sizes == [11, 2] and len(found[11].json()["results"][0]["reasons"]) == 1
        previous = found[10].json()["results"][0]["change"]["previous"]["score_id"]
        assert previous == found[0].json()["results"][0]["score_id"]
        history = client.get("/v1/leads/L-0", headers=key).json()["history"]
        assert len(history) == 3


def test_a_request_that_breaks_the_scoring_breaks_no_other(tmp_path, monkeypatch) -> None:
    with served(tmp_path) as (service, _):
        app, key = create_app(service), key_for(service, "score")
        score = LiveScorer.score_together

        def breaks(self: LiveScorer, requests: Any, *more: Any) -> Any:
            if any("L-2" in one.lead_ids for one in requests):
                raise RuntimeError("a bug")
            return score(self, requests, *more)

        monkeypatch.setattr(LiveScorer, "score_together", breaks)
        found = answers(app, key, bodies(5))
        assert [one.status_code for one in found] == [200, 200, 500, 200, 200]
        assert service.ledger.queued + service.ledger.written == 4


def test_a_full_ledger_turns_away_whom_it_has_no_room_for(tmp_path, monkeypatch) -> None:
    with served(tmp_path) as (service, _):
        app, key = create_app(service), key_for(service, "score")
        monkeypatch.setattr(service.ledger._writer, "_capacity", 3)
        monkeypatch.setattr("serving.ledger.writer.LINGER_SECONDS", 5.0)
        found = answers(app, key, bodies(5))
        assert [one.status_code for one in found] == [200, 200, 200, 503, 503]
