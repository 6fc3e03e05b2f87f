"""The comparison of model and rules in sentences, for people who never saw a confusion matrix."""

from __future__ import annotations

from collections.abc import Callable

from models.cutoff import Cutoff, Estimate, cutoff_text
from training.comparison.comparison import (
    AS_SET,
    EQUAL_CAPTURE,
    EQUAL_VOLUME,
    EQUAL_VOLUME_FROM_PAST,
    TUNED_RULES,
    Band,
    Comparison,
)
from training.comparison.figures import Pair
from training.comparison.swap_words import overturn_told, swaps_told, work_told
from training.comparison.swaps import MODEL
from training.comparison.telling import direction, gap, has_interval, mqls, number, share, volume

STRICT, MISSED, LEAST_IN_QUARTER = 0.5, 0.25, 20
"""Too loose: the weakest quarter of the MQLs closes less often than the MQLs do, and cannot be told
from any lead. Too strict: the leads next below close at more than half the rate of the MQLs, and
more than a quarter of the wins are missed. Each only if the 90% interval says so, of at least so
many leads."""


def sentences(comparison: Comparison) -> dict[str, str]:
    """Return what the comparison says: `verdict` first, then a sentence or two a subject."""
    pairs, told = comparison.pairs, {"verdict": _verdict(comparison)}
    if not comparison.is_dated:
        told["undated"] = (
            "The data have no dates, so this is one comparison of all test leads at once: no "
            "weeks, no backlog, and nothing on whether a lead was flagged before its deal opened."
        )
    tellers: dict[str, Callable[[Pair], str]] = {
        EQUAL_VOLUME_FROM_PAST: _from_past,
        EQUAL_CAPTURE: _equal_capture,
        TUNED_RULES: lambda pair: _tuned(pair, comparison),
        AS_SET: lambda pair: _as_set(pair, comparison.cutoff),
    }
    told |= {name: teller(pairs[name]) for name, teller in tellers.items() if name in pairs}
    if AS_SET not in pairs:
        told[AS_SET] = "No cutoff is set for the model, so today it would flag nobody."
    told |= _qualifying(comparison)
    if comparison.swaps is not None:
        told["swaps"] = swaps_told(comparison)
        told["work"] = work_told(comparison)
        told["overturn"] = overturn_told(comparison)
    return {name: sentence for name, sentence in told.items() if sentence}


def _verdict(comparison: Comparison) -> str:
    pair = comparison.pairs.get(EQUAL_VOLUME)
    if pair is None:
        where = "in the test weeks" if comparison.is_dated else "among the test leads"
        return (
            f"At their threshold of {comparison.rules_threshold:g} points the rules would have "
            f"made no MQL {where}, so there is nothing to compare the model with. Lower it: "
            "mql_threshold in the rules."
        )
    if not pair.is_equal:
        return _too_coarse(pair)
    return f"At the same {volume(pair.rules)}, {_who_wins(pair)}"


def _too_coarse(pair: Pair) -> str:
    unit = " a week" if "mqls_per_week" in pair.rules else ""
    way = "few" if mqls(pair.model) > mqls(pair.rules) else "many"
    return (
        f"The model has too few different scores to make as {way} MQLs as the rules: "
        f"{number(mqls(pair.model))} against {number(mqls(pair.rules))}{unit}, so the two cannot "
        "be compared at equal volume."
    )


def _who_wins(pair: Pair) -> str:
    """Return who is better at what, and the figures that say so."""
    nothing = _nothing(pair)
    if nothing:
        return f"nothing tells model and rules apart: {nothing}."
    names = {"precision": "on how many of the MQLs close", "capture": "on the wins found"}
    signs = {
        told: direction(pair.difference[name])
        for name, told in names.items()
        if has_interval(pair.difference.get(name))
    }
    better = [name for name, sign in signs.items() if sign > 0]
    worse = [name for name, sign in signs.items() if sign < 0]
    level = [name for name, sign in signs.items() if sign == 0]
    if len(better) == 2:
        told = "the model beats the rules on both counts"
    elif len(worse) == 2:
        told = "the rules beat the model on both counts"
    elif better and worse:
        told = f"the model is better {better[0]} and the rules {worse[0]}"
    elif better or worse:
        who = "the model beats the rules" if better else "the rules beat the model"
        told = f"{who} {(better or worse)[0]}"
        told += f"; {level[0]} they cannot be told apart" if level else ""
    else:
        among = "on these weeks" if "mqls_per_week" in pair.rules else "on these leads"
        told = f"model and rules cannot be told apart {among}"
    return f"{told}: {_figures(pair)}"


def _nothing(pair: Pair) -> str:
    """Return why there is nothing to tell the two apart by; empty where there is something."""
    silent = _silent(pair)
    if silent:
        return " and ".join(silent)
    closed = any(side["precision"].value > 0 for side in (pair.model, pair.rules))
    if closed or "capture" in pair.rules:
        return ""
    is_dated = "mqls_per_week" in pair.rules
    return "no deal was won in these weeks" if is_dated else "no deal was won"


def _silent(pair: Pair) -> list[str]:
    both = (("the model flags nobody", pair.model), ("the rules flag nobody", pair.rules))
    return [told for told, side in both if not mqls(side)]


def _figures(pair: Pair) -> str:
    nothing, silent = _nothing(pair), _silent(pair)
    in_time = " before their deal opens" if "mqls_per_week" in pair.rules else ""
    if len(silent) == 1:
        whose, they, side = ("rules'", "they find", pair.rules)
        if mqls(pair.model):
            whose, they, side = ("model's", "it finds", pair.model)
        found = f" and {they} {share(side['capture'])} of the wins{in_time}"
        return (
            f"{nothing}; of the {whose} MQLs {share(side.get('precision'))} close"
            f"{found if 'capture' in side else ''}."
        )
    if nothing:
        return f"{nothing}."
    precision, capture = pair.difference.get("precision"), pair.difference.get("capture")
    told = (
        f"of the model's MQLs {share(pair.model.get('precision'))} close, of the rules' "
        f"{share(pair.rules.get('precision'))} ({gap(precision)})"
    )
    if "capture" in pair.rules:
        told += (
            f"; the model finds {share(pair.model.get('capture'))} of the wins{in_time}, the rules "
            f"{share(pair.rules.get('capture'))} ({gap(capture)})"
        )
    intervals = [found for found in (precision, capture) if has_interval(found)]
    return f"{told}.{_excluding([bool(direction(found)) for found in intervals])}"


def _excluding(excludes: list[bool]) -> str:
    """Return which of the intervals there are exclude zero."""
    if not excludes:
        return ""
    if len(excludes) == 1:
        return f" The interval {'excludes' if excludes[0] else 'includes'} zero."
    if excludes[0] == excludes[1]:
        return f" Both intervals {'exclude' if excludes[0] else 'include'} zero."
    return f" Only the {'first' if excludes[0] else 'second'} interval excludes zero."


def _from_past(pair: Pair) -> str:
    start = "Nobody knows the volume of weeks to come."
    if not pair.is_equal:
        return (
            f"{start} On the weeks before, too, the model has too few different scores to make as "
            "many MQLs as the rules, so no cutoff for that volume can be tried."
        )
    return (
        f"{start} With a cutoff found on the weeks before, for as many MQLs as the rules made "
        f"then, the model would have made {volume(pair.model)} and the rules "
        f"{volume(pair.rules)}; {_figures(pair)}"
    )


def _equal_capture(pair: Pair) -> str:
    if not pair.is_equal:
        return (
            "The model has too few different scores to find as many of the wins as the rules: "
            f"{share(pair.model.get('capture'))} against {share(pair.rules.get('capture'))}, so "
            "the two cannot be compared at equal wins found."
        )
    name = "mqls_per_week" if "mqls_per_week" in pair.difference else "mqls"
    difference = pair.difference.get(name)
    sign = direction(difference)
    told = ("which includes no difference", "which is more", "which is fewer")[sign]
    unit = "MQLs a week" if name == "mqls_per_week" else "MQLs"
    return (
        f"To find as many of the wins as the rules, {share(pair.rules.get('capture'))}, "
        f"the model needs {volume(pair.model)} where the rules make {volume(pair.rules)} "
        f"({gap(difference, unit)}), {told}."
    )


def _tuned(pair: Pair, comparison: Comparison) -> str:
    where = "on the weeks before" if comparison.is_dated else "on the leads the model learnt from"
    start = (
        f"With the rules at their best, {comparison.tuned_threshold:g} points (the threshold that "
        f"did best {where}, by {comparison.tuned_for})"
    )
    if not pair.is_equal:
        told = _too_coarse(pair)
        return f"{start}: {told[0].lower()}{told[1:]}"
    return f"{start}, and the model at the same {volume(pair.rules)}, {_who_wins(pair)}"


def _as_set(pair: Pair, cutoff: Cutoff) -> str:
    return (
        f"As both are set today, the model {cutoff_text(cutoff)}, and the rules from "
        f"{pair.rules_threshold:g} points, the model makes {volume(pair.model)} and the rules "
        f"{volume(pair.rules)}; {_figures(pair)}"
    )


def _qualifying(comparison: Comparison) -> dict[str, str]:
    """Return whether each side, as set, lets too many pass or too few."""
    told = {}
    pair = comparison.pairs.get(AS_SET) or comparison.pairs.get(EQUAL_VOLUME)
    for side, band in comparison.bands.items():
        figures = {} if pair is None else (pair.model if side == MODEL else pair.rules)
        told[f"{side}_qualifies"] = _one_side(side, band, figures.get("capture"))
    return told


def _looseness(band: Band, capture: Estimate | None) -> str:
    """Return whether the bar is too loose or too strict, as far as intervals tell."""
    if band.precision <= band.any_lead:
        return "sorts no better than chance"
    if band.quarter < LEAST_IN_QUARTER:
        return "has too few MQLs to be called loose or strict"
    weakest, below = band.weakest, band.next_below
    is_loose = (weakest.low or 0.0) <= band.any_lead and (weakest.high or 1.0) < band.precision
    misses = capture is not None and 1 - capture.value > MISSED
    is_strict = misses and below is not None and (below.low or 0.0) > STRICT * band.precision
    return {
        (True, False): "is too loose",
        (False, True): "is too strict, unless sales has no room for more",
        (True, True): "ranks too poorly to be called loose or strict",
        (False, False): "is not clearly too loose or too strict",
    }[is_loose, is_strict]


def _one_side(side: str, band: Band, capture: Estimate | None) -> str:
    if not band.any_lead > 0:
        return ""  # nobody closed, so no bar sorts them
    who = "The model's cutoff" if side == MODEL else "The rules' threshold"
    does = "its" if side == MODEL else "their"
    word = _looseness(band, capture)
    missed = "" if capture is None else f"; {share(1 - capture.value)} of the wins are missed"
    below = (
        ""
        if band.next_below is None
        else f", the leads next below {does} bar at {share(band.next_below)}"
    )
    return (
        f"{who} {word}: {share(band.precision)} of {does} MQLs close, the weakest quarter of them "
        f"at {share(band.weakest)}{below}, any lead at {share(band.any_lead)}{missed}."
    )
