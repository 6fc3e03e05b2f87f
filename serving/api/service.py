"""What all requests of one server share."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from features.config import Config
from serving.api.auth import Sessions
from serving.api.limits import Admission, PlacesByName, TokenBuckets
from serving.api.logs import lines_dropped, write_line
from serving.api.metrics import Metrics
from serving.champion.champion import Champion
from serving.champion.watch import ChampionWatch
from serving.ledger.clock import now_us
from serving.ledger.keys import Keys
from serving.ledger.ledger import Ledger
from serving.live.requests import Limits
from serving.live.retelling import with_all_texts


class Service:
    """Ledger, keys, champion, limits and counters; `start` and `stop` belong to the server."""

    def __init__(
        self,
        config: Config,
        root: Path,
        ledger: Ledger,
        keys: Keys,
        *,
        now: Callable[[], int] = now_us,
        is_logging: bool = True,
    ) -> None:
        settings = config.serving
        self.config = config
        self.ledger = ledger
        self.keys = keys
        self.now = now
        "Microseconds since 1970, UTC."
        self.is_logging = is_logging
        self.limits = Limits.of(settings)
        self.metrics = Metrics()
        self.sessions = Sessions(keys, now)
        self.admission = Admission(settings.max_waiting)
        self.bodies = PlacesByName(settings.max_waiting)
        self.quota = TokenBuckets(settings.requests_per_minute)
        self.watch = ChampionWatch(config, root, self)
        # One thread: more would only take turns, and keep the event loop from its own.
        self.large_requests = ThreadPoolExecutor(1, thread_name_prefix="large-requests")
        self.metrics.watch(self._gauges)
        self.metrics.watch_monitor(root)
        self._amiss_since: float | None = None

    @property
    def champion(self) -> Champion | None:
        """The champion in use; a request takes it once."""
        return self.watch.current

    def lead(self, lead_id: str) -> dict[str, Any] | None:
        """Return all about a lead, its reasons in words where the champion made the score."""
        found, champion = self.ledger.lead(lead_id), self.champion
        if found is None or champion is None:
            return found
        return with_all_texts(found, champion.live)

    def start(self) -> None:
        """Serve the last good champion and begin to look for the registered one."""
        self.watch.start()

    def stop(self) -> None:
        """End child and threads and write out the ledger, once no request is at work."""
        self.watch.stop()
        self.large_requests.shutdown()
        self.ledger.close()

    def swapped_in(self, champion: Champion) -> None:
        """Tell ledger, metrics and log of a new champion."""
        self.ledger.know_model(champion.live.model_record)
        self.metrics.champion("swapped_in")
        self.metrics.in_use(champion.version, champion.digest)
        self._log("champion", model_version=champion.version, digest=champion.digest)

    def refused(self, version: str, problem: str) -> None:
        """Tell metrics and log of a champion that was not taken."""
        self.metrics.champion("refused")
        self._log("champion_refused", level="error", model_version=version, problem=problem)

    def not_looked_up(self, problem: str) -> None:
        """Tell metrics and log that the champion could not be looked up."""
        self.metrics.lookups_failed.inc()
        self._log("champion_not_looked_up", level="warning", problem=problem)

    def ledger_amiss_since(self) -> float | None:
        """Return since when the ledger cannot be written, as far as anybody looked; None: it can.

        Seconds since 1970.
        """
        if self.ledger.healthy:
            self._amiss_since = None
        elif self._amiss_since is None:
            self._amiss_since = time.time()
        return self._amiss_since

    def _log(self, event: str, level: str = "info", **of: Any) -> None:
        if self.is_logging:
            write_line(event, level=level, **of)

    def _gauges(self) -> dict[str, tuple[str, float]]:
        found: dict[str, tuple[str, float]] = {
            "closedwon_requests_at_work": ("Score requests at work.", self.admission.at_work),
            "closedwon_ledger_queue": ("Scores that wait to be written.", self.ledger.queued),
            "closedwon_ledger_healthy": (
                "1 while scores are written.",
                self.ledger_amiss_since() is None,
            ),
            "closedwon_ledger_failed_commits": ("Commits that failed.", self.ledger.failed_commits),
            "closedwon_ledger_lost": ("Scores that were never written.", self.ledger.lost),
            "closedwon_degraded": (
                "1 if the champion may be old.",
                self.watch.degraded() is not None,
            ),
            "closedwon_mqls_opened_total": (
                "MQLs since the start: a lead that is scored again is not counted again.",
                getattr(self.ledger, "mqls_opened", 0),
            ),
            "closedwon_log_lines_dropped_total": (
                "Log lines that nobody took in time.",
                lines_dropped(),
            ),
        }
        champion = self.champion
        until = None if champion is None else trained_until(champion)
        if until is not None:
            age = (self.now() - until) / 86_400e6
            found["closedwon_model_age_days"] = ("Days since the newest training data.", age)
        return found


def trained_until(champion: Champion) -> int | None:
    """Return the end of the training window, microseconds since 1970; None for undated data."""
    until = champion.manifest["facts"].get("window", {}).get("until")
    return None if until is None else int(_midnight(until).timestamp() * 1e6)


def _midnight(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC)
