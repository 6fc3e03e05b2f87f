"""`closedwon monitor`: whether the model is still what it was when it was trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.config import Config
from features.errors import InputError
from features.parts.partitions import Partitions, load_partitions
from features.snapshots import mondays
from models.scorer import Scorer
from training.monitor.evidence import THRESHOLD
from training.monitor.expectations import Expectations, expectations, time_to_win
from training.monitor.finding import Finding
from training.monitor.findings import findings
from training.monitor.history import add_run, read_history, told_before, write_latest
from training.monitor.performance import Cohort, Estimated, cohorts, corrected, estimated
from training.monitor.promises import partings
from training.monitor.verdict_mix import verdict_shares
from training.monitor.weekly import ALL, Weekly, gather_weeks
from training.steps import Steps

LOCAL = Path(".closedwon")
PAGE = LOCAL / "monitor.html"
FEWEST_WEEKS = 8
"Of a reference: fewer tell nothing of how restless weeks are."
TYPES_TOLD = 12
NOTES_TOLD = 3


@dataclass(frozen=True)
class Alarm:
    """A finding that needs a person, and since when it has been told."""

    finding: Finding
    since: str
    is_new: bool
    "Not told in the run before, on older data."

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            **finding_dict(self.finding),
            "key": self.finding.key,
            "since": self.since,
            "is_new": self.is_new,
        }


@dataclass(frozen=True)
class Monitored:
    """One look at a model at work."""

    model: str
    data_until: str
    "The newest Monday that was looked at."
    trained_until: str
    weeks: int
    "That passed since the champion's data ended."
    is_again: bool
    "The same data were looked at before."
    alarms: tuple[Alarm, ...]
    notes: tuple[Finding, ...]
    estimate: Estimated | None
    months: tuple[Cohort, ...]
    course: dict[str, Any]
    "Figures by week, for pictures."

    @property
    def needs_person(self) -> bool:
        """Whether anything does."""
        return bool(self.alarms)

    def as_dict(self) -> dict[str, Any]:
        """Return what `closedwon monitor --json` prints; NaN is null."""
        found: dict[str, Any] = {
            "model_version": self.model,
            "data_until": self.data_until,
            "trained_until": self.trained_until,
            "weeks": self.weeks,
            "seen_before": self.is_again,
            "needs_person": self.needs_person,
            "alarms": [alarm.as_dict() for alarm in self.alarms],
            "notes": [finding_dict(note) for note in self.notes],
            "estimated": None if self.estimate is None else self.estimate.as_dict(),
            "months": [month.as_dict() for month in self.months],
            "course": self.course,
        }
        plain: dict[str, Any] = finite(found)
        return plain

    def lines(self) -> list[str]:
        """Return the result for people, shortest first."""
        passed = f"{self.weeks} weeks after the data of version {self.model} ended"
        if not self.weeks:
            return [
                f"Calm so far: no week has passed since the data of version {self.model} ended."
            ]
        told = [f"Up to {self.data_until}, {passed} ({self.trained_until}):"]
        if not self.alarms:
            told.append("Calm: nothing needs a person.")
        advised = set[str]()
        for alarm in self.alarms:
            since = "new" if alarm.is_new else f"since {alarm.since}"
            advice = alarm.finding.advice
            told.append(
                f"- {alarm.finding.text} ({since})." + f" {advice}." * (advice not in advised)
            )
            advised.add(advice)
        if self.notes:
            noted = "; ".join(note.text for note in self.notes[:NOTES_TOLD])
            left = len(self.notes) - NOTES_TOLD
            told.append(f"Worth a look, no more: {noted}{f'; and {left} more' * (left > 0)}.")
        if self.estimate is not None:
            told.append(self.estimate.text())
        return told


def finding_dict(finding: Finding) -> dict[str, Any]:
    """Return a finding for JSON."""
    return {
        "kind": finding.kind,
        "subject": finding.subject,
        "size": finding.size,
        "text": finding.text,
        "advice": finding.advice,
        "week": None if finding.week is None else str(finding.week)[:10],
        "evidence": finding.evidence,
    }


def monitor(config: Config, folder: Path, root: Path, model: str, steps: Steps) -> Monitored:
    """Return what is different since `model` was trained, and add it to the history.

    `model` is champion, challenger or a version; relative files of `config` lie in `folder`,
    `.closedwon/` in `root`. Raises InputError for a flat export, which has no weeks.
    """
    from models.bundle import open_bundle
    from models.registry import fetch_bundle

    if config.flat is not None:
        raise InputError(
            "A flat export cannot be watched: it has one row a lead, hence no weeks to compare, no "
            "events and no verdicts. Where its rows have dates, the report of closedwon train "
            "shows how the newest differ from the older. To watch scores, feeds and wins, map the "
            "tables of the CRM in [tables], see closedwon init, and train on them."
        )
    with steps("model"):
        bundle, version = fetch_bundle(model, config.tracking, root)
        scorer = open_bundle(bundle)
    with steps("load"):
        partitions = load_partitions(config, folder, root / LOCAL).partitions
    result = watch(partitions, config, scorer, version, read_history(root), steps)
    told = result.as_dict()
    kept = {name: content for name, content in told.items() if name not in ("course", "months")}
    add_run(root, {"model": version, **kept})
    write_latest(root, told)
    return result


def watch(
    partitions: Partitions,
    config: Config,
    scorer: Scorer,
    version: str,
    runs: list[dict[str, Any]],
    steps: Steps,
) -> Monitored:
    """Return the result without writing any of it; `runs` is the history so far."""
    trained_until = trained_until_of(scorer)
    instants, reference = watched_mondays(partitions, config, trained_until)
    with steps("weeks"):
        weekly = gather_weeks(
            partitions, config, scorer, instants, np.arange(len(instants)) < reference
        )
        weekly = weekly.until(len(instants))
    with steps("watch"):
        return judge_weeks(
            weekly, reference, scorer, version, trained_until, config.monitor.tolerated, runs
        )


def judge_weeks(
    weekly: Weekly,
    reference: int,
    scorer: Scorer,
    version: str,
    trained_until: pd.Timestamp,
    tolerated: float,
    runs: list[dict[str, Any]],
) -> Monitored:
    """Return the result at the newest Monday of `weekly`: a function of what was known by then."""
    horizon_days = scorer.horizon_days
    expected = expectations(weekly, reference, horizon_days, scorer.cutoff, tolerated)
    found = findings(weekly, expected)
    timing = time_to_win(weekly.rows, reference, horizon_days, np.ceil(horizon_days / 7))
    estimate = None
    if len(weekly.mondays) > reference:
        newer = corrected(weekly, scorer.calibration, timing, horizon_days)
        estimate = estimated(weekly, scorer.calibration, newer)
    newest = str(weekly.mondays[-1])[:10]
    told, is_again = told_before(runs, version, newest)
    alarms = [
        Alarm(each, told.get(each.key, newest), each.key not in told)
        for each in found
        if each.needs_person
    ]
    return Monitored(
        model=version,
        data_until=newest,
        trained_until=str(trained_until)[:10],
        weeks=len(weekly.mondays) - reference,
        is_again=is_again,
        alarms=tuple(alarms),
        notes=tuple(each for each in found if not each.needs_person),
        estimate=estimate,
        months=tuple(cohorts(weekly, timing, horizon_days)),
        course=course_of(weekly, expected, found),
    )


def trained_until_of(scorer: Scorer) -> pd.Timestamp:
    """Return until when the model's data reached: its labels were known until then."""
    told = scorer.facts.get("data_until")
    if told is not None:
        return pd.Timestamp(str(told))
    newest = scorer.facts.get("window", {}).get("until")
    if newest is None:
        raise InputError(
            "The model does not say until when it was trained, so nothing can be told to have "
            "changed since. Train another: closedwon train"
        )
    return pd.Timestamp(str(newest)) + pd.Timedelta(days=scorer.horizon_days)


def watched_mondays(
    partitions: Partitions, config: Config, trained_until: pd.Timestamp
) -> tuple[npt.NDArray[np.datetime64], int]:
    """Return the Mondays of reference and watch, and how many are the reference's."""
    first = trained_until - pd.Timedelta(weeks=config.monitor.reference_weeks)
    begun = partitions.manifest.first_created + pd.Timedelta(weeks=1)
    instants = mondays(max(first, begun), partitions.data_until)
    reference = int((instants <= np.datetime64(trained_until, "us")).sum())
    if reference < FEWEST_WEEKS:
        raise InputError(
            f"Only {reference} Mondays lie between the first lead and {str(trained_until)[:10]}, "
            f"when the model's data ended; {FEWEST_WEEKS} are needed to compare with. Load the "
            "data the model was trained on together with the new."
        )
    return instants, reference


def course_of(weekly: Weekly, expected: Expectations, found: list[Finding]) -> dict[str, Any]:
    """Return the figures by week that the page shows."""
    rows = weekly.rows.groupby("monday")["probability"]
    n = len(weekly.mondays)
    events = weekly.events.sum().sort_values(ascending=False, kind="stable").index[:TYPES_TOLD]
    return {
        "mondays": [str(monday)[:10] for monday in weekly.mondays],
        "reference": expected.reference,
        "scored": weekly.counts[ALL, :, -1].sum(axis=1).tolist(),
        "arrivals": weekly.arrivals.tolist(),
        "mean_probability": rows.mean().reindex(range(n)).tolist(),
        "mqls": expected.mqls.tolist(),
        "observed_wins": expected.wins.observed.tolist(),
        "expected_wins": expected.wins.expected.tolist(),
        "threshold": THRESHOLD,
        "evidence": {
            f"{subject}, {part.direction}": part.e_values.tolist()
            for subject, part in partings(expected, n)
        },
        "events": {str(name): weekly.events[name].tolist() for name in events},
        "verdicts": verdict_shares(weekly.verdicts).to_dict("list"),
        "drifted": {
            each.subject: each.size
            for each in found
            if each.kind in ("feature_drift", "score_drift")
        },
    }


def finite(content: Any) -> Any:
    """Return JSON content with null for NaN and infinities, and plain numbers for NumPy's."""
    if isinstance(content, dict):
        return {str(name): finite(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    if isinstance(content, np.generic):
        content = content.item()
    return None if isinstance(content, float) and not math.isfinite(content) else content
