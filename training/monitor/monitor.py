"""`closedwon monitor`: whether the model is still what it was when it was trained."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
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
from training.monitor.age import DataAge, age_findings
from training.monitor.course import course_of
from training.monitor.expectations import expectations, time_to_win
from training.monitor.finding import Finding
from training.monitor.findings import findings
from training.monitor.history import add_run, read_history, told_before, write_latest
from training.monitor.monitored import Alarm, Monitored
from training.monitor.performance import cohorts, corrected, estimated
from training.monitor.weekly import Weekly, gather_weeks
from training.steps import Steps

LOCAL = Path(".closedwon")
FEWEST_WEEKS = 8
"Of a reference: fewer tell nothing of how restless weeks are."


def monitor(config: Config, folder: Path, root: Path, model: str, steps: Steps) -> Monitored:
    """Return what is different since `model` was trained, and add it to the history.

    `model` is champion, challenger or a version; relative files of `config` lie in `folder`,
    `.closedwon/` in `root`. Only the champion's result becomes the newest one that reports and the
    service show. Raises InputError for a flat export, which has no weeks.
    """
    from models.bundle import open_bundle
    from models.registry import fetch_bundle
    from training.promotion_standing import history

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
    now = pd.Timestamp.now("UTC").tz_localize(None)
    result = watch(partitions, config, scorer, version, read_history(root), steps, now)
    result = replace(result, in_use=history(config, root).champion == version)
    told = result.as_dict()
    kept = {name: content for name, content in told.items() if name not in ("course", "months")}
    add_run(root, {"model": version, "looked_at": now.isoformat(timespec="seconds"), **kept})
    if result.in_use:
        write_latest(root, told)
    return result


def watch(
    partitions: Partitions,
    config: Config,
    scorer: Scorer,
    version: str,
    runs: list[dict[str, Any]],
    steps: Steps,
    now: pd.Timestamp,
) -> Monitored:
    """Return the result without writing any of it; `runs` is the history so far.

    `now` is UTC without zone: only the age of the data hangs on it.
    """
    trained_until = trained_until_of(scorer)
    instants, reference = watched_mondays(partitions, config, trained_until)
    age = DataAge(now, partitions.data_until, config.data.data_until is not None)
    aged = age_findings(age, trained_until, str(instants[-1])[:10], runs)
    with steps("weeks"):
        weekly = gather_weeks(
            partitions, config, scorer, instants, np.arange(len(instants)) < reference
        )
        weekly = weekly.until(len(instants))
    with steps("watch"):
        result = judge_weeks(
            weekly, reference, scorer, version, trained_until, config.monitor.tolerated, runs, aged
        )
    return replace(result, age_days=age.days, age_text=age.text())


def judge_weeks(
    weekly: Weekly,
    reference: int,
    scorer: Scorer,
    version: str,
    trained_until: pd.Timestamp,
    tolerated: float,
    runs: list[dict[str, Any]],
    aged: Iterable[Finding] = (),
) -> Monitored:
    """Return the result at the newest Monday of `weekly`: a function of what was known by then.

    `aged` is what the age of the data gave; `runs` is the history so far.
    """
    horizon_days = scorer.horizon_days
    expected = expectations(weekly, reference, horizon_days, scorer.cutoff, tolerated)
    found = [*aged, *findings(weekly, expected)]
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
        ended = min(trained_until, partitions.data_until)
        whose = "the model's data" if ended == trained_until else "these data"
        raise InputError(
            f"Of the weeks the model was trained on, until {str(trained_until)[:10]}, {reference} "
            f"Mondays lie between the first lead and {str(ended)[:10]}, when {whose} ended; "
            f"{FEWEST_WEEKS} are needed to compare with. Load the data the model was trained on "
            "together with the new."
        )
    return instants, reference
