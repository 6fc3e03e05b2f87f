"""The two sides of the comparison, and the rows that both are judged on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from features.catalogue.catalogue import Catalogue
from features.config import Config
from features.snapshots import mondays
from models.cutoff import Cutoff
from models.scorer import Scorer
from training.audit.audit import reads
from training.cutoffs.cutoff import choose_cutoff
from training.examples import Examples
from training.fitting.fit import Choices, Fitted, fit_model
from training.gate.rows import GateRows, MqlRows, mqls_of_weeks
from training.gate.snapshots import examples_by, lacking, read_alike
from training.replay import decided
from training.scored_weeks import cutoff_policy, weeks_of_gap, weeks_of_past, weeks_of_test
from training.segments import MISSING
from training.weekly import ScoredWeeks

if TYPE_CHECKING:
    from training.candidate import Candidate, Prepared

Baseline = Literal["champion", "recipe"]
HALVINGS = 40


@dataclass(frozen=True)
class Side:
    """What stood for the champion said of the test part."""

    probability: np.ndarray
    "One a row of the test part."
    weeks: ScoredWeeks
    "The test weeks, for its replay."
    cutoff: Cutoff | None
    "None: wherever it brings as many MQLs as the challenger's."


@dataclass(frozen=True)
class Compared:
    """The rows both are judged on, and who stood for the champion."""

    baseline: Baseline
    why: str
    "Who stood for the champion, and why."
    rows: GateRows
    mqls: MqlRows


@dataclass(frozen=True)
class _Served:
    scorer: Scorer

    def probability(self, snapshots: pd.DataFrame) -> np.ndarray:
        return self.scorer.score(snapshots)["probability"].to_numpy()


def compared(champion: Scorer, candidate: Candidate, prepared: Prepared) -> Compared:
    """Return the rows to judge by: of the champion's bundle, or of its recipe fitted anew.

    The bundle is asked about snapshots from the day on that its data ended: it may have learnt
    from the outcome of any earlier one. Where they hold too few wins, its recipe, fitted on the
    challenger's fit rows, is asked about the whole test part.
    """
    evaluation, is_test = candidate.evaluation, prepared.split.is_test
    since = _unseen_since(champion) if prepared.examples.is_dated else None
    unseen = np.zeros(len(is_test), dtype=bool)
    if since is not None:
        unseen = is_test & (prepared.examples.as_of >= since.to_datetime64())
    wins = prepared.examples.won_leads(unseen)
    reason = _not_to_be_asked(champion, prepared) or _too_few(since, wins, prepared.config)
    challenger, cutoff = evaluation.test_weeks, evaluation.cutoff
    if reason or since is None:
        side, rows = _recipe(champion, candidate, prepared), is_test
        baseline: Baseline = "recipe"
        why = f"{reason} So the champion's recipe, fitted on the challenger's fit rows, stood in."
        if side.weeks is challenger:
            why += " It is the challenger's own recipe, so their scores are the same."
        is_unlike = side.cutoff is None
    else:
        side, rows = _bundle(champion, prepared), unseen
        baseline = "champion"
        why = (
            f"The champion itself was asked, about leads from {since:%Y-%m-%d} on, when its data "
            f"ended: neither model saw how these went, and {wins} of them won."
        )
        challenger = _from(since, challenger, prepared)
        side = replace(side, weeks=_from(since, side.weeks, prepared))
        is_unlike = _asks_otherwise(champion.cutoff, cutoff)
        if is_unlike:
            why += (
                " The cutoffs follow different settings, so the champion's was moved to where it "
                "brings as many MQLs as the challenger's."
            )
    own = side.cutoff
    if own is None or is_unlike:
        own = _at_equal_volume(side.weeks, (challenger, cutoff))
    scores = evaluation.test["probability"].to_numpy()
    return Compared(
        baseline,
        why,
        _rows(candidate, prepared, side.probability, scores, rows),
        mqls_of_weeks((side.weeks, own), (challenger, cutoff)),
    )


def _unseen_since(champion: Scorer) -> pd.Timestamp | None:
    """Return from when on no snapshot was known to the champion, nor an outcome it learnt from.

    Bundles of before `data_until` was kept say when their newest matured snapshot was.
    """
    until = champion.facts.get("data_until")
    if until is not None:
        return pd.Timestamp(until) + pd.Timedelta(days=1)  # the fact names a day, not an instant
    newest = champion.facts.get("window", {}).get("until")
    if newest is None:
        return None
    return pd.Timestamp(newest) + pd.Timedelta(days=champion.horizon_days + 1)


def _not_to_be_asked(champion: Scorer, prepared: Prepared) -> str:
    """Return in a sentence why the bundle's scores would say nothing, "" if they do."""
    missing = lacking(champion.catalogue, prepared)
    if missing:
        return f"The champion reads {_some(missing)}, which the data no longer have."
    blocked = [
        column
        for column in prepared.audit.blocked()
        if any(reads(feature, column) for feature in champion.catalogue.features)
    ]
    if blocked:
        return (
            f"The champion reads {_some(blocked)}, which the leakage audit now blocks: it would "
            "look better on these rows than on new leads."
        )
    if champion.horizon_days != prepared.config.training.horizon_days:
        return "The champion predicts another horizon."
    return ""


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + ", ..." * (len(names) > 3)


def _too_few(since: pd.Timestamp | None, wins: int, config: Config) -> str:
    least = config.gate.min_wins
    if since is None:
        return "Nobody can tell which rows the champion has not seen."
    if wins >= least:
        return ""
    return (
        f"Of the leads that neither model saw (from {since:%Y-%m-%d} on, when the champion's data "
        f"ended) {wins} won; {least} are needed to compare on them."
    )


def _bundle(champion: Scorer, prepared: Prepared) -> Side:
    examples = examples_by(champion.catalogue, prepared)
    config = config_of(champion.catalogue, prepared.config, champion.cutoff.segment_by)
    served, split = _Served(champion), prepared.split
    weeks = weeks_of_test(examples, prepared.loaded.partitions, config, split, served, None)
    return Side(served.probability(examples.snapshots[split.is_test]), weeks, champion.cutoff)


def _recipe(champion: Scorer, candidate: Candidate, prepared: Prepared) -> Side:
    """Return the champion's parameters and features, fitted on the challenger's fit rows.

    Without features that the data no longer have, or that the audit blocks.
    """
    blocked, missing = prepared.audit.blocked(), lacking(champion.catalogue, prepared)
    features = tuple(
        feature
        for feature in champion.catalogue.features
        if not any(reads(feature, column) for column in (*blocked, *missing))
    )
    examples = examples_by(replace(champion.catalogue, features=features), prepared)
    config = config_of(examples.catalogue, prepared.config, prepared.config.cutoff.segment_by)
    tables, split = prepared.loaded.partitions, prepared.split
    choices = Choices(dict(champion.facts["parameters"]), champion.facts["half_life_days"])
    own = candidate.evaluation
    is_own = candidate.kind == "trained" and own.choices == choices
    is_own = is_own and features == prepared.examples.catalogue.features
    if is_own and read_alike(examples.catalogue, prepared.examples):
        return Side(own.test["probability"].to_numpy(), own.test_weeks, own.cutoff)
    fitted = fit_model(examples, split.is_fit, choices, config)
    weeks = weeks_of_test(examples, tables, config, split, fitted, None)
    return Side(
        fitted.probability(examples.snapshots[split.is_test]),
        weeks,
        _cutoff_anew(examples, prepared, config, fitted),
    )


def _cutoff_anew(
    examples: Examples, prepared: Prepared, config: Config, fitted: Fitted
) -> Cutoff | None:
    """Return the cutoff that the settings ask for, as `evaluate_recipe` chooses it.

    None where it goes by the volume of the rules.
    """
    if config.cutoff.policy == "rules_volume":
        return None
    tables, split, training = prepared.loaded.partitions, prepared.split, config.training
    past = weeks_of_past(examples, tables, config, split, fitted, None)
    recent = weeks_of_gap(examples, tables, config, split, fitted, past.wins)
    return choose_cutoff(
        past.replay(),
        cutoff_policy(examples, config),
        training.bootstraps,
        training.seed,
        recent=None if recent is None else recent.replay(),
    )


def config_of(catalogue: Catalogue, config: Config, cutoff_by: str | None) -> Config:
    """Return the settings without segments that `catalogue` does not have."""

    def held(name: str | None) -> str | None:
        is_there = any(
            name in (feature.name, feature.stream, feature.stream.partition(".")[2])
            for feature in catalogue.features
            if feature.dtype == "category"
        )
        return name if is_there else None

    return config.model_copy(
        update={
            "compare": config.compare.model_copy(update={"segments": ()}),
            "cutoff": config.cutoff.model_copy(update={"segment_by": held(cutoff_by)}),
            "training": config.training.model_copy(
                update={"calibrate_by": held(config.training.calibrate_by)}
            ),
        }
    )


def _rows(
    candidate: Candidate,
    prepared: Prepared,
    champion: np.ndarray,
    challenger: np.ndarray,
    rows: np.ndarray,
) -> GateRows:
    """Return the examples where the mask `rows`, within the test part, is true."""
    is_test, evaluation = prepared.split.is_test, candidate.evaluation
    taken, test = rows[is_test], evaluation.test
    segments = evaluation.test_segments[taken]
    return GateRows(
        test["won"].to_numpy()[taken],
        test["weight"].to_numpy()[taken],
        test["account"].to_numpy()[taken],
        prepared.examples.snapshots["lead_id"].to_numpy(object)[rows],
        champion[taken],
        challenger[taken],
        {
            str(name): segments[name].astype("str").fillna(MISSING).to_numpy(object)
            for name in segments.columns
        },
    )


def _from(since: pd.Timestamp, weeks: ScoredWeeks, prepared: Prepared) -> ScoredWeeks:
    """Return the weeks of which neither model saw anything; those before warm the replay up."""
    if not prepared.examples.is_weekly:  # each lead is looked at once, so nothing to warm up
        scored = weeks.scored[weeks.scored["as_of"] >= since].reset_index(drop=True)
        own = weeks.wins[weeks.wins["lead_id"].isin(scored["lead_id"])]
        return replace(weeks, scored=scored, wins=own, start=max(since, weeks.start))
    if since <= weeks.start:
        return weeks
    first = mondays(since, weeks.until)[0]
    return replace(weeks, start=pd.Timestamp(first), first_week_is_backlog=False)


def _asks_otherwise(one: Cutoff, other: Cutoff) -> bool:
    return (one.policy, one.parameter, one.segment_by) != (
        other.policy,
        other.parameter,
        other.segment_by,
    )


def _at_equal_volume(weeks: ScoredWeeks, challenger: tuple[ScoredWeeks, Cutoff]) -> Cutoff:
    """Return the one cutoff that makes as many MQLs of `weeks` as the challenger's of its own."""
    cutoff = challenger[1]
    asked = replace(cutoff, evidence={}, forecast=None, segment_by=None, segments={})
    if cutoff.qualifies_nobody:
        return replace(asked, value=None)
    tested, number = decided(challenger[0].replay(), cutoff)
    wanted, replay = len(tested.mqls(number)), weeks.replay()
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if len(replay.mqls(middle)) > wanted else (low, middle)
    return replace(asked, value=high)
