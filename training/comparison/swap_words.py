"""Who swaps in and out, and what sales' own work did to their wins, in sentences."""

from __future__ import annotations

from math import ceil, floor

from models.cutoff import Estimate
from training.comparison.comparison import Comparison
from training.comparison.swaps import MODEL, RULES, SWAP_INS, SWAP_OUTS, Group
from training.comparison.telling import counted, share


def swaps_told(comparison: Comparison) -> str:
    """Return how many leads only one of them flags, and how many of those closed."""
    assert comparison.swaps is not None
    ins, outs = (comparison.swaps.groups[name] for name in (SWAP_INS, SWAP_OUTS))
    known = comparison.swaps.known
    before = (
        f" {known[SWAP_INS]:,} of the first the rules had flagged before these weeks began, and "
        f"{known[SWAP_OUTS]:,} of the second the model."
        if known[SWAP_INS] or known[SWAP_OUTS]
        else ""
    )
    return (
        f"Swapped in, flagged by the model alone: {_closed(ins)}. Swapped out, flagged by the "
        f"rules alone: {_closed(outs)}.{before}"
    )


def _closed(group: Group) -> str:
    if not group.leads:
        return "no lead"
    return (
        f"{counted(group.leads, 'lead')}, of which {group.won:,} closed ({_rate(group.precision)})"
    )


def _rate(found: Estimate | None) -> str:
    if found is None or found.low is None or found.high is None:
        return share(found)
    return f"{share(found)}, {share(found.low)} to {share(found.high)}"


def work_told(comparison: Comparison) -> str:
    """Return whose MQLs sales worked, and between which rates they would have closed without."""
    assert comparison.swaps is not None
    groups = comparison.swaps.groups
    if groups[RULES].worked is None:
        return (
            "Nothing in the data tells which leads sales worked (no change to sal or sql, no "
            "verdicts). If sales worked the rules' MQLs and work helps, part of the rules' wins "
            "was made by it, and what the leads swapped in closed at is a lower bound."
        )
    worked = {name: share(group.worked_share) for name, group in groups.items()}
    swapped = [
        f"{whom} {worked[name]}"
        for name, whom in (
            (SWAP_OUTS, "of the leads swapped out"),
            (SWAP_INS, "of those swapped in"),
        )
        if groups[name].leads
    ]
    text = (
        f"Sales worked {worked[RULES]} of the rules' MQLs and {worked[MODEL]} of the model's"
        f"{'; ' if swapped else ''}{', '.join(swapped)}.{_by_work(groups)}"
    )
    ranges = [groups[name].without_work for name in (SWAP_INS, SWAP_OUTS)]
    if any(found is None or found.low is None for found in ranges):
        return text
    return text + (
        f" Had sales worked nobody, those swapped in would have closed at {_range(ranges[0])}"
        f" and those swapped out at {_range(ranges[1])}: from the wins at accounts that sales did "
        "not work to all wins."
    )


def _by_work(groups: dict[str, Group]) -> str:
    """Return how often the worked and the others among the swapped leads closed."""
    told = []
    for name, whom in ((SWAP_INS, "swapped in"), (SWAP_OUTS, "swapped out")):
        of = {"worked": groups[name].precision_worked, "others": groups[name].precision_unworked}
        rates = [f"{share(rate)} of the {kind}" for kind, rate in of.items() if rate is not None]
        told += [f"of those {whom} {' and '.join(rates)} closed"] if rates else []
    if not told:
        return ""
    text = "; ".join(told)
    return (
        f" {text[0].upper()}{text[1:]}. If work helps, the rate of those not worked is a lower "
        "bound of what they would have closed at with it."
    )


def _range(found: Estimate | None) -> str:
    assert found is not None
    return f"{share(found.low)} to {share(found.high)}"


def overturn_told(comparison: Comparison) -> str:
    """Return what equal work would have to change for the observed order of the swaps to turn.

    Only where that can be said: sales worked both alike, or all swapped out and not all swapped in,
    which is the worst case for the model. Else nothing; `without_work` bounds it.
    """
    assert comparison.swaps is not None
    ins, outs = (comparison.swaps.groups[name] for name in (SWAP_INS, SWAP_OUTS))
    if ins.worked is None or outs.worked is None or not ins.leads or not outs.leads:
        return ""
    worked = (ins.worked / ins.leads, outs.worked / outs.leads)
    if worked in ((0, 0), (1, 1)):
        whom = "all of both" if worked[0] else "none of either"
        return f"Sales worked {whom}, so the comparison of these leads is like with like."
    if worked[1] < 1:
        return ""
    start = "Sales worked all that swap out, so this is the worst case for the model if work helps."
    return f"{start} {_turned(ins, outs)}"


def _turned(ins: Group, outs: Group) -> str:
    """Return which number of wins, more or fewer, among the unworked swap-ins turns the order."""
    assert ins.worked is not None
    unworked = ins.leads - ins.worked
    wins = 0 if ins.precision_unworked is None else round(ins.precision_unworked.value * unworked)
    ahead = (ins.won * outs.leads - outs.won * ins.leads) / outs.leads
    them = counted(unworked, "swap-in") + " that nobody worked"
    if ahead == 0:
        return "Even so those swapped in closed as often as those swapped out."
    if ahead > 0:
        fewer = floor(ahead) + 1
        if fewer > wins:
            return f"Even had none of the {them} won, those swapped in would not be behind."
        return (
            f"To overturn it, working the {them} would have to cost {fewer:,} of their "
            f"{counted(wins, 'win')}."
        )
    more = ceil(-ahead)
    if wins + more > unworked:
        return f"Even had every one of the {them} won, those swapped in would be behind."
    times = f", {(wins + more) / wins:.1f} times what they had" if wins else ""
    return (
        f"For the model to draw level, working the {them} would have to bring "
        f"{counted(more, 'more win')}{times}."
    )
