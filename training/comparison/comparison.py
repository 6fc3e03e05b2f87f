"""Model against rules: both decided week by week over the same leads of the same test weeks.

Neither the model nor the cutoffs that a comparison is named after saw how these weeks ended.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from features.config import Config
from models.cutoff import Cutoff, Estimate
from training.clustered import share_interval
from training.comparison.figures import Pair, Side, are_near, everybody, paired, sides
from training.comparison.segments import Segment, compare_segments
from training.comparison.swaps import Swaps, find_swaps
from training.comparison.tuned import tune_threshold
from training.replay import Replay, decided
from training.weekly import ScoredWeeks

EQUAL_VOLUME = "equal_volume"
EQUAL_VOLUME_FROM_PAST = "equal_volume_from_past"
EQUAL_CAPTURE = "equal_capture"
AS_SET = "as_set"
TUNED_RULES = "tuned_rules"
PAIRS = (EQUAL_VOLUME, EQUAL_VOLUME_FROM_PAST, EQUAL_CAPTURE, AS_SET, TUNED_RULES)
CURVE_POINTS = 200


@dataclass(frozen=True)
class Band:
    """MQLs of one side by how far above the bar they were: where it would be moved."""

    precision: float
    "Of all its MQLs as set."
    weakest: Estimate
    "Share won of the weakest quarter of its MQLs, those just above the bar."
    quarter: int
    "How many these are."
    next_below: Estimate | None
    "Share won of as many leads that would come next if the bar were lower; None: there are none."
    any_lead: float
    "Share won of all leads, each looked at when first seen: MQLs of a bar at the bottom."


@dataclass(frozen=True)
class Comparison:
    """What model and rules would have done in the test weeks."""

    is_dated: bool
    weeks: int
    start: pd.Timestamp
    until: pd.Timestamp
    wins: int
    "Won opportunities that could be captured: created in these weeks, a lead scored before."
    wins_unscored: int
    rules_threshold: float
    tuned_threshold: float | None
    "Where the rules did best on the past; None: too few MQLs there to tell."
    tuned_for: str
    cutoff: Cutoff
    "The model's, as set."
    pairs: dict[str, Pair]
    """By name, those that exist. `equal_volume`, the headline: the rules at their threshold, the
    model at the cutoff with as many MQLs on these very weeks. It is found by counting MQLs, without
    looking at outcomes. `equal_volume_from_past`: the model's cutoff brought as many MQLs a week as
    the rules on the past that chose the cutoff. `equal_capture`: as many of the wins as the rules.
    `as_set`: both as they are. `tuned_rules`: the rules at `tuned_threshold`, the model at equal
    volume."""
    swaps: Swaps | None
    "At equal volume; None where there is none, or the model cannot come near it."
    segments: list[Segment]
    "At equal volume."
    by_week: pd.DataFrame
    "At equal volume: week, model_mqls, model_won, rules_mqls, rules_won; empty without dates."
    curves: dict[str, pd.DataFrame]
    """`model` and `rules`: cutoff, mqls_per_week (mqls), precision, capture, lead_time_days of at
    most 200 cutoffs, rising."""
    bands: dict[str, Band]
    "`model` and `rules` as set."
    notes: tuple[str, ...] = ()
    "What may be a slip in the rules, see `RulesScorer.notes`."


def compare_weeks(
    past: ScoredWeeks, test: ScoredWeeks, cutoff: Cutoff, threshold: float,
    config: Config,
) -> Comparison:  # fmt: skip
    """Return the comparison on `test`; `past` tunes, and both must have points.

    `cutoff` is the model's as set, `threshold` the rules'. All but `as_set` compare at one cutoff
    for all leads, even where segments have their own.
    """
    training = config.training
    replays = (test.replay(), test.rules_replay())
    before = (past.replay(), past.rules_replay())
    model, rules = _sides(replays, test, config)
    past_sides = _sides(before, past, config)
    tuned, tuned_for = tune_threshold(before[1], past_sides[1])
    bootstraps, seed = training.bootstraps, training.seed
    pairs = _pairs((model, rules), past_sides, threshold, tuned, bootstraps, seed)
    bands = {} if _is_silent(rules, threshold) else {"rules": _band(rules, threshold)}
    as_set = _as_set(replays, test, cutoff, config)
    if as_set is not None:
        sides_as_set, bar = as_set
        pair = paired(*sides_as_set, bar, threshold, bootstraps, seed)
        pairs[AS_SET] = replace(pair, model_cutoff=cutoff.value)
        if not _is_silent(sides_as_set[0], bar):
            bands["model"] = _band(sides_as_set[0], bar)
    swaps, segments, by_week = None, [], pd.DataFrame()
    equal = pairs.get(EQUAL_VOLUME)
    if equal is not None and equal.is_equal:
        same = equal.model_cutoff
        assert same is not None
        swaps = find_swaps(*replays, same, threshold)
        segments = compare_segments(
            test, replays, (model, rules), same, threshold, bootstraps, seed
        )
        by_week = _by_week(*replays, same, threshold)
    return Comparison(
        is_dated=test.is_dated,
        weeks=replays[0].weeks,
        start=replays[0].start,
        until=test.until,
        wins=len(model.best_before),
        wins_unscored=int(replays[0].wins["best_before"].isna().sum()),
        rules_threshold=threshold,
        tuned_threshold=tuned,
        tuned_for=tuned_for,
        cutoff=cutoff,
        pairs=pairs,
        swaps=swaps,
        segments=segments,
        by_week=by_week,
        curves={"model": _curve(model), "rules": _curve(rules)},
        bands=bands,
    )


def _sides(replays: tuple[Replay, Replay], weeks: ScoredWeeks, config: Config) -> tuple[Side, Side]:
    amounts = weeks.wins.drop_duplicates("opportunity_id").set_index("opportunity_id")["amount"]
    return sides(*replays, amounts, config.cutoff)


def _as_set(
    replays: tuple[Replay, Replay], test: ScoredWeeks, cutoff: Cutoff, config: Config
) -> tuple[tuple[Side, Side], float] | None:
    """Return the sides and the number the model's MQLs cross; None: its cutoff qualifies nobody.

    With cutoffs by segment each lead has its own, so the model's side is another one.
    """
    if cutoff.qualifies_nobody:
        return None
    model, bar = decided(replays[0], cutoff)
    return _sides((model, replays[1]), test, config), bar


def _is_silent(side: Side, bar: float) -> bool:
    return len(side.at(bar).reached) == 0


def _pairs(
    test: tuple[Side, Side],
    past: tuple[Side, Side],
    threshold: float,
    tuned: float | None,
    bootstraps: int,
    seed: int,
) -> dict[str, Pair]:
    model, rules = test
    chosen: dict[str, tuple[float | None, float, bool]] = {}
    if not _is_silent(rules, threshold):
        chosen[EQUAL_VOLUME] = _at_volume_of(rules, threshold, model)
        found = rules.found(threshold)
        if found:
            same = model.capture_cutoff(found / len(rules.best_before), everybody(model))
            chosen[EQUAL_CAPTURE] = (same, threshold, are_near(model.found(same), found))
    if rules.is_dated and not _is_silent(past[1], threshold):
        chosen[EQUAL_VOLUME_FROM_PAST] = _at_volume_of(past[1], threshold, past[0])
    if tuned is not None and not _is_silent(rules, tuned):
        chosen[TUNED_RULES] = _at_volume_of(rules, tuned, model)
    pairs = {}
    for name in PAIRS:
        cutoff, points, is_equal = chosen.get(name, (None, threshold, False))
        if cutoff is not None:
            is_capture = name == EQUAL_CAPTURE
            pair = paired(model, rules, cutoff, points, bootstraps, seed, is_capture)
            pairs[name] = replace(pair, is_equal=is_equal)
    return pairs


def _at_volume_of(rules: Side, threshold: float, model: Side) -> tuple[float | None, float, bool]:
    """Return the model's cutoff of the volume nearest to the rules', and whether it is near."""
    target = len(rules.at(threshold).reached)
    cutoff = model.cutoff_for(target)
    is_equal = cutoff is not None and are_near(len(model.at(cutoff).reached), target)
    return cutoff, threshold, is_equal


def _by_week(model: Replay, rules: Replay, cutoff: float, threshold: float) -> pd.DataFrame:
    if not model.is_dated:
        return pd.DataFrame()
    both = [model.by_week(cutoff), rules.by_week(threshold)]
    return pd.DataFrame(
        {
            "week": both[0]["week"],
            "model_mqls": both[0]["mqls"],
            "model_won": both[0]["won"],
            "rules_mqls": both[1]["mqls"],
            "rules_won": both[1]["won"],
        }
    )


def _curve(side: Side) -> pd.DataFrame:
    """Return what at most 200 cutoffs bring, closer to one another the higher they are."""
    cutoff = np.unique(side.reached)
    if len(cutoff) > CURVE_POINTS:
        # By rank among the leads' best numbers, not by their size.
        ranked = np.sort(side.reached)[::-1]
        places = np.geomspace(1, len(ranked), CURVE_POINTS).astype(int) - 1
        cutoff = np.unique(ranked[places])
    volume = "mqls_per_week" if side.is_dated else "mqls"
    names = [volume, "precision", "capture"] + ["lead_time_days"] * side.is_dated
    figures = [side.figures(float(value), everybody(side)) for value in cutoff]
    return pd.DataFrame(
        {"cutoff": cutoff, **{name: [found[name] for found in figures] for name in names}}
    )


def _share_won(account: np.ndarray, won: np.ndarray) -> Estimate:
    return Estimate(float(won.mean()), *share_interval(account, won))


def _band(side: Side, bar: float) -> Band:
    """Return how the MQLs of `bar` close near it; it makes at least one."""
    mqls = side.at(bar)
    weakest = np.argsort(mqls.reached, kind="stable")[: max(len(mqls.reached) // 4, 1)]
    lower = side.cutoff_for(len(mqls.reached) * 1.25)
    below = side.at(bar if lower is None else min(lower, bar))
    is_new = ~np.isin(below.lead_id, mqls.lead_id)
    everyone = side.at(float(side.reached.min()))
    return Band(
        precision=float(mqls.won.mean()),
        weakest=_share_won(mqls.account[weakest], mqls.won[weakest]),
        quarter=len(weakest),
        next_below=_share_won(below.account[is_new], below.won[is_new]) if is_new.any() else None,
        any_lead=float(everyone.won.mean()),
    )
