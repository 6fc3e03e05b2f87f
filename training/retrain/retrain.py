"""`closedwon retrain`: what has closed since makes a challenger, and the gate judges it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.config import Config
from models.registry import CHAMPION, RETRAIN_KEY_TAG
from training.candidate import Candidate, Loaded, Prepared
from training.facts import is_skilled
from training.promotion import champion_in_use, promote
from training.recipe import REJECTS, judged, load, prepare_loaded, train_candidate
from training.registration import LOCAL, REPORT, register
from training.retrain.choice import Choice, choose_kind
from training.retrain.earlier import (
    Earlier,
    clear_leftovers,
    data_key,
    keep_that_it_stays,
    made_before,
    retrain_key,
    told_before,
)
from training.retrain.recalibrated import champion_choices, recalibrated_candidate
from training.retrain.retraining import CHOICE_FILE, Retraining
from training.retrain.unseen import as_champion_reads
from training.run_lock import RETRAINING, WAIT_SECONDS, run_lock
from training.steps import Steps

if TYPE_CHECKING:
    from models.rules_table import RulesTable
    from training.gate.gate import ChampionInUse


def retrain(
    config: Config,
    folder: Path,
    root: Path,
    steps: Steps,
    rules: RulesTable | None = None,
    may_promote: bool = False,
) -> Retraining:
    """Return what retraining on the data of today came to; with `may_promote` a pass promotes.

    Relative files of `config` lie in `folder`; `.closedwon/` is in `root`. The same data, settings
    and champion make one challenger, or none where the champion is fine as it is, however often
    this runs: another run tells of it again, and finishes what a stopped one left undone. Until
    the promotion nothing touches the champion.
    Raises InputError while another retraining is at work in the folder. A promotion or a rollback
    may come in between: the gate's verdict is then of another champion, and does not count.
    """
    with run_lock(root, "retrain", lock=RETRAINING):
        clear_leftovers(root / LOCAL)
        with steps("champion"):
            champion = champion_in_use(config, root)
        with steps("load"):
            loaded = load(config, folder, root / LOCAL, root / REJECTS)
        key = data_key(loaded, config, rules)
        with run_lock(root, "retrain", WAIT_SECONDS):  # it may set an alias
            earlier = made_before(config, root, key, champion)
        if earlier is None:
            retraining = _made(champion, loaded, config, root, steps, rules, key)
        else:
            retraining = _nothing_new(earlier, champion, config, root, steps)
        # Of a champion that a stopped run promoted, only the record is still to be ended.
        is_champion = retraining.outcome == "nothing_new" and retraining.alias == CHAMPION
        if may_promote and (retraining.may_be_promoted or is_champion):
            with steps("promote"), run_lock(root, "retrain", WAIT_SECONDS):
                return retraining.with_promotion(promote(config, root, retraining.version))
        return retraining


def _made(
    champion: ChampionInUse | None,
    loaded: Loaded,
    config: Config,
    root: Path,
    steps: Steps,
    rules: RulesTable | None,
    key: str,
) -> Retraining:
    """Return the retraining that registers a new challenger, or the first champion."""
    prepared = prepare_loaded(loaded, config, steps)
    candidate, prepared, choice = _candidate(champion, prepared, steps, rules)
    if candidate is None:
        assert champion is not None
        assert choice is not None
        keep_that_it_stays(config, root, key, champion, choice)
        return _stays(champion, choice.as_dict(), steps)
    verdict = judged(champion, candidate, prepared, steps)
    registered, report = register(
        candidate,
        prepared,
        root,
        steps,
        verdict,
        tags={RETRAIN_KEY_TAG: retrain_key(key, champion)},
        run_name="retrain",
        told={} if choice is None else {CHOICE_FILE: choice.as_dict()},
    )
    return Retraining(
        outcome="made",
        version=registered.model_version,
        alias=registered.alias,
        champion=None if champion is None else champion.version,
        choice=None if choice is None else choice.as_dict(),
        decision=None if verdict is None else verdict.decision,
        verdict=None if verdict is None else verdict.as_dict(),
        verdict_lines=() if verdict is None else tuple(verdict.lines()),
        is_skilled=is_skilled(candidate.evaluation),
        warnings=tuple(candidate.scorer.facts["warnings"]),
        report=report,
        seconds=steps.seconds,
    )


def _candidate(
    champion: ChampionInUse | None, prepared: Prepared, steps: Steps, rules: RulesTable | None
) -> tuple[Candidate | None, Prepared, Choice | None]:
    """Return what is offered, what it was made of, and why: new, or the champion recalibrated.

    None where the champion is fine as it is.
    """
    choices = None
    if champion is not None and prepared.config.retrain.search == "champion":
        choices = champion_choices(champion.scorer)
    trained = train_candidate(prepared, steps, rules, choices)
    if champion is None:
        return trained, prepared, None
    with steps("choose"):
        own = as_champion_reads(champion.scorer, prepared, rules)
        choice, unseen = choose_kind(champion.scorer, trained, prepared, own)
    if choice.chosen == "champion":
        return None, prepared, choice
    if choice.chosen == "trained" or unseen is None or isinstance(own, str):
        return trained, prepared, choice
    recalibrated = recalibrated_candidate(champion, trained, unseen, own, steps, rules)
    return recalibrated, own, choice


def _stays(champion: ChampionInUse, choice: dict[str, Any], steps: Steps) -> Retraining:
    """Return that the champion is fine as it is: no version, no verdict, no report."""
    low = champion.scorer.facts.get("skill", {}).get("low")
    return Retraining(
        outcome="champion_stays",
        version=champion.version,
        alias=CHAMPION,
        champion=champion.version,
        choice=choice,
        decision=None,
        verdict=None,
        is_skilled=low is not None and low > 0,
        report=None,
        seconds=steps.seconds,
    )


def _nothing_new(
    earlier: Earlier, champion: ChampionInUse | None, config: Config, root: Path, steps: Steps
) -> Retraining:
    """Return what an earlier run made of the same."""
    if earlier.choice is not None and champion is not None:
        return _stays(champion, earlier.choice, steps)
    choice, verdict = told_before(earlier, config, root)
    report = root / REPORT
    return Retraining(
        outcome="nothing_new",
        version=earlier.version,
        alias=earlier.alias,
        champion=None if champion is None else champion.version,
        choice=choice,
        decision=earlier.decision,
        verdict=verdict,
        is_skilled=earlier.is_skilled,
        was_champion=earlier.was_champion,
        report=report if report.exists() else None,
        seconds=steps.seconds,
    )
