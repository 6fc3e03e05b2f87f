"""New champions while requests come in: no failed request, no answer that mixes versions."""

from __future__ import annotations

import http.client
import json
import threading
from pathlib import Path

from served import bundle, key_for, lead_rows, on_a_port, score_body, service_in
from test_champion import DAMAGES, resealed

from serving.api.service import Service

SWAPS = 50


class Clients:
    """Threads that ask for the same score over and over, and keep what they got."""

    def __init__(self, port: int, key: dict[str, str], count: int = 3) -> None:
        self.seen: set[tuple[str, float, float]] = set()
        self.failed: list[object] = []
        self.answers = 0
        self._stop = threading.Event()
        self._port, self._key = port, key
        # Of leads of their own: requests for one lead are never scored together.
        self._threads = [threading.Thread(target=self._ask, args=(f"L-{n}",)) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def _ask(self, lead: str) -> None:
        tables = {"leads": [lead_rows(lead)], "engagement_events": []}
        body = json.dumps(score_body(tables=tables)).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        headers = {**self._key, "content-type": "application/json"}
        while not self._stop.is_set():
            try:
                connection.request("POST", "/v1/scores", body, headers)
                answer = connection.getresponse()
                content = answer.read()
            except OSError as error:
                self.failed.append(error)
                break
            if answer.status != 200:
                self.failed.append((answer.status, content))
                continue
            found = json.loads(content)
            result = found["results"][0]
            self.seen.add(
                (found["model_version"], found["base_probability"], result["probability"])
            )
            self.answers += 1
        connection.close()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_swaps_under_load_fail_no_request_and_mix_no_versions(tmp_path: Path) -> None:
    service: Service = service_in(tmp_path)
    service.is_logging = False
    sound = [bundle(tmp_path / str(version), seed=version) for version in (1, 2)]
    damaged = []
    for number, damage in enumerate(("truncated", "a digit changed", "a child cycle")):
        bundle(tmp_path / f"bad{number}", seed=3)
        DAMAGES[damage](tmp_path / f"bad{number}")
        damaged.append(resealed(tmp_path / f"bad{number}"))
    expected = {}
    service.watch.offer(sound[0])
    key = key_for(service, "score")
    refused = 0
    with on_a_port(service) as port:
        clients = Clients(port, key)
        try:
            for swap in range(SWAPS):
                if swap % 5 == 4:
                    service.watch.offer(damaged[swap // 5 % 3])
                    refused += 1
                else:
                    service.watch.offer(sound[swap % 2])
                champion = service.champion
                assert champion is not None and champion.version in ("1", "2")
                expected[champion.version] = champion.live.lead_scorer.base_probability
        finally:
            clients.stop()
    text = service.metrics.text().decode()
    assert not clients.failed and clients.answers > 50
    assert f'closedwon_champions_total{{outcome="refused"}} {float(refused)}' in text
    assert {version for version, _, _ in clients.seen} == {"1", "2"}
    assert {(version, base) for version, base, _ in clients.seen} == set(expected.items())
    assert len(clients.seen) == 2, "one probability for each version"
