"""The comparison of model and rules in sentences, for people who never saw a confusion matrix."""

from __future__ import annotations

from models.cutoff import Estimate
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
from training.comparison.swaps import MODEL, RULES, SWAP_INS, SWAP_OUTS, Group

LOOSE, STRICT, MISSED = 2.0, 0.75, 0.25
"""Too loose: the weakest quarter of the MQLs closes at less than twice the rate of any lead. Too
strict: the leads next below close at more than three quarters of the rate of the MQLs, and more
than a quarter of the wins are missed."""


def sentences(comparison: Comparison) -> dict[str, str]:
    """Return what the comparison says: `verdict` first, then a sentence or two a subject."""
    pairs, told = comparison.pairs, {"verdict": _verdict(comparison)}
    if not comparison.is_dated:
        told["undated"] = (
            "The data have no dates, so this is one comparison of all test leads at once: no "
            "weeks, no backlog, and nothing on whether a lead was flagged before its deal opened."
        )
    tellers = {
        EQUAL_VOLUME_FROM_PAST: _from_past,
        EQUAL_CAPTURE: _equal_capture,
        TUNED_RULES: lambda pair: _tuned(pair, comparison),
        AS_SET: _as_set,
    }
    told |= {name: teller(pairs[name]) for name, teller in tellers.items() if name in pairs}
    if AS_SET not in pairs:
        told[AS_SET] = "No cutoff is set for the model, so today it would flag nobody."
    told |= _qualifying(comparison)
    if comparison.swaps is not None:
        told["swaps"] = _swaps(comparison)
        told["work"] = _work(comparison)
        told["overturn"] = _overturn(comparison)
    return {name: sentence for name, sentence in told.items() if sentence}


def direction(difference: Estimate | None) -> int:
    """Return 1 or -1 where the interval lies above or below zero, 0 where it includes it."""
    if difference is None or difference.low is None or difference.high is None:
        return 0
    return int(difference.low > 0) - int(difference.high < 0)


def share(found: Estimate | float | None) -> str:
    """Return a share for people.

    >>> share(Estimate(0.126, 0.1, 0.2)), share(0.004)
    ('13%', '0.4%')
    """
    if found is None:
        return "-"
    value = found if isinstance(found, float | int) else found.value
    return f"{value:.1%}" if 0 < abs(value) < 0.02 else f"{value:.0%}"


def gap(difference: Estimate | None, unit: str = "percentage points") -> str:
    """Return a signed difference with its interval.

    >>> gap(Estimate(0.07, 0.05, 0.091))
    '+7.0 percentage points, 90% interval +5.0 to +9.1'
    """
    if difference is None:
        return "not known"
    scale = 100 if unit == "percentage points" else 1
    text = f"{_signed(difference.value * scale)} {unit}"
    if difference.low is None or difference.high is None:
        return text
    low, high = (_signed(bound * scale) for bound in (difference.low, difference.high))
    return f"{text}, 90% interval {low} to {high}"


def _signed(value: float) -> str:
    """Return a signed number; one that is not 0 is never told as 0.

    >>> _signed(6.21), _signed(-0.02), _signed(0.0)
    ('+6.2', '-0.02', '0')
    """
    if value == 0:
        return "0"
    return f"{value:+.1f}" if abs(value) >= 0.05 else f"{value:+.1g}"


def volume(figures: dict[str, Estimate]) -> str:
    """Return how many MQLs.

    >>> volume({"mqls_per_week": Estimate(19.47)})
    '19 MQLs a week'
    """
    weekly = figures.get("mqls_per_week")
    if weekly is not None:
        return f"{_count(weekly.value)} MQLs a week"
    return f"{_count(figures['mqls'].value)} MQLs"


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _verdict(comparison: Comparison) -> str:
    pair = comparison.pairs.get(EQUAL_VOLUME)
    if pair is None:
        return (
            f"At their threshold of {comparison.rules_threshold:g} points the rules would have "
            "made no MQL in the test weeks, so there is nothing to compare the model with. Lower "
            "it: mql_threshold in the rules."
        )
    return f"At the same {volume(pair.rules)}, {_who_wins(pair)}: {_figures(pair)}"


def _who_wins(pair: Pair) -> str:
    counts = {
        "on how many of the MQLs close": direction(pair.difference.get("precision")),
        "on the wins found": direction(pair.difference.get("capture")),
    }
    better = [name for name, sign in counts.items() if sign > 0]
    worse = [name for name, sign in counts.items() if sign < 0]
    open_counts = [name for name, sign in counts.items() if sign == 0]
    if len(better) == 2:
        return "the model beats the rules on both counts"
    if len(worse) == 2:
        return "the rules beat the model on both counts"
    if better and worse:
        return f"the model is better {better[0]} and the rules {worse[0]}"
    if better or worse:
        who = "the model beats the rules" if better else "the rules beat the model"
        return f"{who} {(better or worse)[0]}; {open_counts[0]} they cannot be told apart"
    return "model and rules cannot be told apart on these weeks"


def _figures(pair: Pair) -> str:
    precision, capture = pair.difference.get("precision"), pair.difference.get("capture")
    signs = [direction(precision), direction(capture)]
    zero = (
        "Both intervals exclude zero."
        if all(signs)
        else "Only the first interval excludes zero."
        if signs[0]
        else "Only the second interval excludes zero."
        if signs[1]
        else "Both intervals include zero."
    )
    in_time = " before their deal opens" if "mqls_per_week" in pair.model else ""
    return (
        f"of the model's MQLs {share(pair.model.get('precision'))} close, of the rules' "
        f"{share(pair.rules.get('precision'))} ({gap(precision)}); the model finds "
        f"{share(pair.model.get('capture'))} of the wins{in_time}, the rules "
        f"{share(pair.rules.get('capture'))} ({gap(capture)}). {zero}"
    )


def _from_past(pair: Pair) -> str:
    return (
        "Nobody knows the volume of weeks to come. With a cutoff found on the weeks before, for as "
        f"many MQLs as the rules made then, the model would have made {volume(pair.model)} and the "
        f"rules {volume(pair.rules)}; {_figures(pair)}"
    )


def _equal_capture(pair: Pair) -> str:
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
    return (
        f"With the rules at their best, {comparison.tuned_threshold:g} points (the threshold that "
        f"did best on the weeks before, by {comparison.tuned_for}), and the model at the "
        f"same {volume(pair.rules)}, {_who_wins(pair)}: {_figures(pair)}"
    )


def _as_set(pair: Pair) -> str:
    return (
        f"As both are set today, the model from a probability of {pair.model_cutoff:.1%} and the "
        f"rules from {pair.rules_threshold:g} points, the model makes {volume(pair.model)} and the "
        f"rules {volume(pair.rules)}; {_figures(pair)}"
    )


def _qualifying(comparison: Comparison) -> dict[str, str]:
    """Return whether each side, as set, lets too many pass or too few."""
    told = {}
    pair = comparison.pairs.get(AS_SET) or comparison.pairs.get(EQUAL_VOLUME)
    for side, band in comparison.bands.items():
        figures = {} if pair is None else (pair.model if side == MODEL else pair.rules)
        told[f"{side}_qualifies"] = _one_side(side, band, figures.get("capture"))
    return told


def _one_side(side: str, band: Band, capture: Estimate | None) -> str:
    is_loose = band.weakest < LOOSE * band.any_lead
    misses = capture is not None and 1 - capture.value > MISSED
    is_strict = misses and band.next_below > STRICT * band.precision
    who = "The model's cutoff" if side == MODEL else "The rules' threshold"
    does = "its" if side == MODEL else "their"
    word = {
        (True, False): "is too loose",
        (False, True): "is too strict, unless sales has no room for more",
        (True, True): "ranks too poorly to be called loose or strict",
        (False, False): "is neither too loose nor too strict",
    }[is_loose, is_strict]
    missed = "" if capture is None else f"; {share(1 - capture.value)} of the wins are missed"
    below = (
        ""
        if band.next_below != band.next_below
        else f", the leads next below {does} bar at {share(band.next_below)}"
    )
    return (
        f"{who} {word}: {share(band.precision)} of {does} MQLs close, the weakest quarter of them "
        f"at {share(band.weakest)}{below}, any lead at {share(band.any_lead)}{missed}."
    )


def _swaps(comparison: Comparison) -> str:
    assert comparison.swaps is not None
    ins, outs = (comparison.swaps.groups[name] for name in (SWAP_INS, SWAP_OUTS))
    known = comparison.swaps.known
    before = (
        f" {known[SWAP_INS]} of the first the rules had flagged before these weeks began, and "
        f"{known[SWAP_OUTS]} of the second the model."
        if known[SWAP_INS] or known[SWAP_OUTS]
        else ""
    )
    return (
        f"{ins.leads:,} leads swap in, flagged by the model alone, and {ins.won:,} of them closed "
        f"({_rate(ins.precision)}). {outs.leads:,} swap out, flagged by the rules alone, and "
        f"{outs.won:,} of them closed ({_rate(outs.precision)}).{before}"
    )


def _rate(found: Estimate | None) -> str:
    if found is None or found.low is None or found.high is None:
        return share(found)
    return f"{share(found)}, {share(found.low)} to {share(found.high)}"


def _work(comparison: Comparison) -> str:
    assert comparison.swaps is not None
    groups = comparison.swaps.groups
    if groups[RULES].worked is None:
        return (
            "Nothing in the data tells which leads sales worked (no change to sal or sql, no "
            "verdicts). If sales worked the rules' MQLs and work helps, part of the rules' wins "
            "was made by it, and what the leads swapped in closed at is a lower bound."
        )
    worked = {name: share(group.worked_share) for name, group in groups.items()}
    text = (
        f"Sales worked {worked[RULES]} of the rules' MQLs and {worked[MODEL]} of the model's; of "
        f"the leads swapped out {worked[SWAP_OUTS]}, of those swapped in {worked[SWAP_INS]}. Among "
        f"the worked, {share(groups[SWAP_INS].precision_worked)} of the swapped in and "
        f"{share(groups[SWAP_OUTS].precision_worked)} of the swapped out closed; among the others "
        f"{share(groups[SWAP_INS].precision_unworked)} and "
        f"{share(groups[SWAP_OUTS].precision_unworked)}. If work helps, the rate of the unworked "
        "is a lower bound of what they would have closed at with it."
    )
    ranges = [groups[name].without_work for name in (SWAP_INS, SWAP_OUTS)]
    if any(found is None or found.low is None for found in ranges):
        return text
    return text + (
        f" Had sales worked nobody, those swapped in would have closed at {_range(ranges[0])}"
        f" and those swapped out at {_range(ranges[1])}: from the wins at accounts that sales did "
        "not work to all wins."
    )


def _range(found: Estimate | None) -> str:
    assert found is not None
    return f"{share(found.low)} to {share(found.high)}"


def _overturn(comparison: Comparison) -> str:
    """Return what the unworked would have to do for the observed order of the swaps to turn."""
    assert comparison.swaps is not None
    ins, outs = (comparison.swaps.groups[name] for name in (SWAP_INS, SWAP_OUTS))
    if ins.worked is None or not ins.leads or not outs.leads:
        return ""
    unworked = ins.leads - ins.worked
    wins = _unworked_wins(ins)
    lead = ins.won - outs.won * ins.leads / outs.leads
    if lead > 0:
        start = (
            "This counts the unworked swap-ins as they were, the worst case for the model if work "
            "helps. "
        )
        if lead > wins:
            return start + ("Even if none of them had won, those swapped in would be ahead.")
        return start + (
            f"To overturn it, working those {unworked:,} leads would have to cost "
            f"{lead:.0f} of their {wins:.0f} wins."
        )
    if not unworked:
        return "Sales worked all that swap in, so the comparison is like with like."
    more = f", {1 - lead / wins:.1f} times what they had" if wins else ""
    return (
        f"For the model to draw level, working the {unworked:,} swap-ins that nobody worked would "
        f"have to bring {-lead:.0f} more wins{more}."
    )


def _unworked_wins(group: Group) -> float:
    if group.precision_unworked is None or group.worked is None:
        return 0.0
    return group.precision_unworked.value * (group.leads - group.worked)
