"""What Prometheus reads at /metrics. Labels are bound once: a request costs a few microseconds."""

from __future__ import annotations

import json
import time
from collections import Counter as Counted
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

if TYPE_CHECKING:
    from serving.ledger.records import ScoreRecord

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MONITOR = Path(".closedwon") / "monitor" / "latest.json"
"Where `closedwon monitor` leaves its newest result."
_REREAD_SECONDS = 30.0
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """Counters of one server, in a registry of its own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self._latency = Histogram(
            "closedwon_request_seconds",
            "Time to answer, by route and status.",
            ["route", "status"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._scores = Counter(
            "closedwon_scores", "Scores given.", ["grade", "qualified"], registry=registry
        )
        self._eligible = Counter(
            "closedwon_scores_eligible", "Scores of leads that may become an MQL.",
            registry=registry,
        )  # fmt: skip
        self.incomplete = Counter(
            "closedwon_scores_incomplete", "Scores without a table or column that the model reads.",
            registry=registry,
        )  # fmt: skip
        self.backfills = Counter(
            "closedwon_scores_backfill", "Scores as of the past.", registry=registry
        )
        self.lead_errors = Counter(
            "closedwon_lead_errors", "Leads of score requests that got an error instead.",
            registry=registry,
        )  # fmt: skip
        self._unknown_categories = Counter(
            "closedwon_unknown_categories", "Values that training has not seen.", ["feature"],
            registry=registry,
        )  # fmt: skip
        self.unknown_event_types = Counter(
            "closedwon_unknown_event_types", "Events of a type that the model does not know.",
            registry=registry,
        )  # fmt: skip
        self._champions = Counter(
            "closedwon_champions", "Champions that were offered, by what became of them.",
            ["outcome"], registry=registry,
        )  # fmt: skip
        self.lookups_failed = Counter(
            "closedwon_champion_lookups_failed", "Times the champion could not be looked up.",
            registry=registry,
        )  # fmt: skip
        self._model = Gauge(
            "closedwon_model_info", "The champion in use.", ["version", "digest"],
            registry=registry,
        )  # fmt: skip
        self._latency_of: dict[tuple[str, int], Callable[[float], None]] = {}
        self._scores_of: dict[tuple[str, bool], Counter] = {}
        for outcome in ("swapped_in", "refused"):
            self._champions.labels(outcome)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        observe = self._latency_of.get((route, status))
        if observe is None:
            observe = self._latency.labels(route, str(status)).observe
            self._latency_of[route, status] = observe
        observe(seconds)

    def scored(self, records: Iterable[ScoreRecord]) -> None:
        """Count scores. A lead counts each time; MQLs are `closedwon_mqls_opened_total`."""
        for record in records:
            kind = (record.grade, record.qualified)
            counter = self._scores_of.get(kind)
            if counter is None:
                qualified = "true" if record.qualified else "false"
                counter = self._scores_of[kind] = self._scores.labels(record.grade, qualified)
            counter.inc()
            if record.is_eligible:
                self._eligible.inc()
            if record.unknown:
                self.incomplete.inc()
            if record.is_backfill:
                self.backfills.inc()

    def unknown_category(self, feature: str) -> None:
        """Count a value outside the vocabulary of a feature."""
        self._unknown_categories.labels(feature).inc()

    def champion(self, outcome: str) -> None:
        """Count a champion that was `swapped_in` or `refused`."""
        self._champions.labels(outcome).inc()

    def in_use(self, version: str, digest: str) -> None:
        """Tell which model answers."""
        self._model.clear()
        self._model.labels(version, digest[:12]).set(1)

    def watch(self, gauges: Callable[[], dict[str, tuple[str, float]]]) -> None:
        """Read further values whenever the metrics are asked for: name -> (what it is, value).

        Names that end in `_total` are counters, the others gauges.
        """
        self.registry.register(_Watched(gauges))

    def watch_monitor(self, root: Path) -> None:
        """Show the newest result of `closedwon monitor` under `root`, once there is one."""
        self.registry.register(_MonitorGauges(root / MONITOR))

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)


class _Watched:
    """Values that lie elsewhere, such as the length of the ledger's queue."""

    def __init__(self, gauges: Callable[[], dict[str, tuple[str, float]]]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        """Give the values as they are now."""
        for name, (what, value) in self._gauges().items():
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            yield kind(name, what, value=value)


@dataclass(frozen=True)
class _Watch:
    """What the metrics show of a result of the watch."""

    version: str
    alarms: dict[str, int]
    "How many, by kind."
    values: tuple[tuple[str, str, float | None], ...]
    "Name, what it is, value; None where there is none yet."

    @classmethod
    def of(cls, result: Any) -> _Watch:
        """Raise KeyError, TypeError or ValueError for a result of another shape."""
        found = (
            ("needs_person", "1 when anything needs a person.", result["needs_person"]),
            ("observed_expected", "Wins over expected wins since training.", _ratio(result)),
            (
                "log_loss",
                "Estimated log loss of the newest scores.",
                (result["estimated"] or {}).get("expected_log_loss"),
            ),
        )
        return cls(
            str(result["model_version"]),
            dict(Counted(str(alarm["kind"]) for alarm in result["alarms"])),
            tuple((name, what, None if v is None else float(v)) for name, what, v in found),
        )


class _MonitorGauges:
    """What the watch found, read again when asked and 30 seconds have passed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at = -_REREAD_SECONDS
        self._found: tuple[_Watch, float] | None = None

    def collect(self) -> Iterator[Metric]:
        """Give the newest result as gauges, by model version; nothing without one."""
        now = time.monotonic()
        if now - self._read_at >= _REREAD_SECONDS:
            self._read_at, self._found = now, self._read()
        if self._found is None:
            return
        watch, written = self._found
        alarms = GaugeMetricFamily(
            "closedwon_monitor_alarms", "Findings that need a person.", labels=["version", "kind"]
        )
        for kind, count in sorted(watch.alarms.items()):
            alarms.add_metric([watch.version, kind], count)
        yield alarms
        age = max(time.time() - written, 0.0)
        since = "Since the newest result of closedwon monitor was written."
        for name, what, value in (("age_seconds", since, age), *watch.values):
            if value is not None:
                gauge = GaugeMetricFamily(f"closedwon_monitor_{name}", what, labels=["version"])
                gauge.add_metric([watch.version], value)
                yield gauge

    def _read(self) -> tuple[_Watch, float] | None:
        # None yet, replaced this very moment, damaged, or written by another closedwon.
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            return _Watch.of(json.loads(self._path.read_bytes())), self._path.stat().st_mtime
        return None


def _ratio(result: dict[str, Any]) -> float | None:
    """Return observed over expected wins of the weeks since the model's data ended."""
    course = result["course"]
    first = course["reference"]
    pairs = zip(course["observed_wins"][first:], course["expected_wins"][first:], strict=True)
    known = [(o, e) for o, e in pairs if o is not None and e is not None]
    expected = sum(e for _, e in known)
    return sum(o for o, _ in known) / expected if expected else None
