"""What a backtest says, in sentences; what cannot be told is said to be so."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from models.cutoff import Estimate
from training.comparison.telling import counted, direction, has_interval, number, share

if TYPE_CHECKING:
    from training.backtest.ageing import Cadence
    from training.backtest.backtest import Backtest
    from training.backtest.outcomes import Figures

LOSS, FOUND, VALUE = "log_loss_share", "found", "value_per_week"
MUCH_LOSS = 0.01
"Extra log loss, as a share, that is worth retraining for even where no deal is seen to be lost."


def sentences(found: Backtest) -> dict[str, str]:
    """Return what the months say about retraining, ageing, cadence and rules, by topic."""
    told = {
        "retraining": _retraining(found),
        "ageing": _ageing(found),
        "cadence": _cadence(found),
    }
    if found.against_rules:
        told["rules"] = _rules(found)
    no_cutoff = [month["month"] for month in found.months if month["cutoff"] is None]
    if no_cutoff:
        told["no_cutoff"] = (
            f"In {len(no_cutoff)} of {counted(len(found.months), 'month')} the policy found no "
            f"cutoff, so a model made then hands nobody over: {', '.join(no_cutoff[:3])}"
            f"{', ...' * (len(no_cutoff) > 3)}."
        )
    return told


def _retraining(found: Backtest) -> str:
    never = found.cadence(None)
    names = [month["month"] for month in found.months]
    loss, deals = never.scores.get(LOSS), never.equal_volume.get(FOUND)
    start = (
        f"Over {len(names)} months, {names[0]} to {names[-1]}, a model made anew every month is "
        f"compared with the one of {names[0]} kept for good."
    )
    ends = {
        1: f"Never retraining makes the probabilities worse: {_more(loss)}.",
        0: f"Whether the probabilities get worse without retraining cannot be told: {_more(loss)}.",
        -1: f"Here the old model's probabilities were even better: {_more(loss)}.",
    }
    brought = f"At {counted(found.volume, 'lead')} a week never retraining finds {_deals(deals)}"
    unclear = "" if direction(deals) else "; that may be chance"
    return f"{start} {ends[direction(loss)]} {brought}{unclear}.{_value(never.as_set, 'it earns')}"


def _ageing(found: Backtest) -> str:
    worse = [one for one in found.ageing if direction(one.scores.get(LOSS)) > 0]
    oldest = found.ageing[-1]
    if not worse:
        seen = [one for one in found.ageing if one.months >= 3] or found.ageing[:1]
        last = seen[-1]
        return (
            "No ageing can be told: at no age is a model clearly worse than a fresh one. At "
            f"{counted(last.age_months, 'month')} it has {_more(last.scores.get(LOSS))}."
        )
    first = worse[0]
    text = (
        f"A model is clearly worse than a fresh one from an age of "
        f"{counted(first.age_months, 'month')} on: {_more(first.scores.get(LOSS))}"
    )
    between = [one for one in worse if one.months >= 3]
    last = between[-1] if between else worse[-1]
    if last.age_months > first.age_months:
        text += f", and {_more(last.scores.get(LOSS))} at {last.age_months} months"
    later = [one for one in found.ageing if one.age_months > first.age_months]
    if len(worse) - 1 < len(later):
        text += "; not every older age shows it clearly"
    return f"{text}. The oldest, {oldest.age_months} months, was seen in {_months(oldest.months)}."


def _cadence(found: Backtest) -> str:
    rarer = [one for one in found.cadences if one.every_months != 1]
    kept = [one for one in rarer if direction(one.scores.get(LOSS)) <= 0]
    worse = [one for one in rarer if one not in kept]
    costs = [one for one in rarer if _is_costly(one)]
    told = []
    if worse:
        named = "; ".join(f"{one.name}, {_more(one.scores.get(LOSS))}" for one in worse)
        told.append(f"Clearly worse probabilities than with retraining every month: {named}.")
    if kept:
        named = "; ".join(f"{one.name}, {_more(one.scores.get(LOSS))}" for one in kept)
        told.append(f"Not clearly worse: {named}.")
    has_money = any(VALUE in one.as_set for one in rarer)
    # What `_is_costly` looks at.
    judged = (
        "In what is earned after contact costs, with the cutoffs as set,"
        if has_money
        else f"In deals found at {counted(found.volume, 'lead')} a week"
    )
    if costs:
        named = "; ".join(f"{one.name}, {_behind(one)}" for one in costs)
        told.append(f"{judged} clearly behind every month: {named}.")
    else:
        told.append(f"{judged} no cadence is clearly behind every month.")
    told.append(_advice(rarer, worse, costs, has_money))
    return " ".join(told)


def _advice(
    rarer: list[Cadence], worse: list[Cadence], costs: list[Cadence], has_money: bool
) -> str:
    """Return the rarest cadence before the first that is costly, or clearly loses much log loss."""
    fine = "every month"
    for one in rarer:
        loss = one.scores.get(LOSS)
        if one in costs or (one in worse and loss is not None and loss.value >= MUCH_LOSS):
            break
        fine = one.name
    if fine == "never":
        return "So these months give no reason to retrain; a longer history may."
    if fine == "every month":
        return "So retraining every month pays here."
    lost = "less earned" if has_money else "fewer deals"
    return (
        f"So retraining {fine} was enough here, as far as these months can tell: less than "
        f"{MUCH_LOSS:.0%} more log loss, and not clearly {lost}."
    )


def _rules(found: Backtest) -> str:
    equal, as_set = found.against_rules["equal_volume"], found.against_rules["as_set"]
    deals = equal.get(FOUND)
    unclear = "" if direction(deals) else "; that may be chance"
    text = (
        f"At {counted(found.volume, 'lead')} a week the models retrained every month find "
        f"{_deals(deals)} than the rules{unclear}.{_value(as_set, 'they earn')}"
    )
    volume = found.rules_totals.get("mqls_per_week")
    mine = found.cadence(1).totals.get("mqls_per_week")
    precision = as_set.get("precision")
    if volume is None or mine is None or precision is None:
        return text
    return (
        f"{text} As set, the models bring {number(mine.value)} MQLs a week and the rules "
        f"{number(volume.value)}; the share that closes is {_points(precision)}."
    )


def _is_costly(one: Cadence) -> bool:
    """Whether it clearly loses deals at equal volume, or value where money is set."""
    value = one.as_set.get(VALUE)
    return direction(one.equal_volume.get(FOUND) if value is None else value) < 0


def _behind(one: Cadence) -> str:
    value = one.as_set.get(VALUE)
    return _deals(one.equal_volume.get(FOUND)) if value is None else _earned(value)


def _value(as_set: Figures, who: str) -> str:
    """Return what `who` earns more or less as a sentence, empty where no money is set."""
    value = as_set.get(VALUE)
    if value is None:
        return ""
    unclear = "" if direction(value) else "; that may be chance"
    return f" With the cutoffs as set and after contact costs {who} {_earned(value)}{unclear}."


def _earned(value: Estimate) -> str:
    """Return a difference in money a week.

    >>> _earned(Estimate(-1200.0, -2000.0, -300.0))
    '1,200 a week less (90% interval -2,000 to -300)'
    >>> _earned(Estimate(0.04, -0.4, 3.0))
    '0 a week more (90% interval -0.4 to +3.0)'
    """
    text = f"{_money(abs(value.value)).lstrip('+')} a week {'less' if value.value < 0 else 'more'}"
    return f"{text}{_span(value, _money)}"


def _money(value: float) -> str:
    text = number(abs(value))
    return f"{'-' if value < 0 else '+'}{text}" if float(text.replace(",", "")) else "0"


def _deals(gap: Estimate | None) -> str:
    if gap is None:
        return "deals nobody could count"
    word = "fewer" if gap.value < 0 else "more"
    return f"{counted(round(abs(gap.value)), f'{word} won deal')}{_span(gap, _signed)}"


def _more(gap: Estimate | None) -> str:
    """Return a relative difference of log loss.

    >>> _more(Estimate(0.021, 0.01, 0.03))
    '2.1% more log loss (90% interval +1.0% to +3.0%)'
    >>> _more(Estimate(-0.0001, -0.01, 0.01))
    'the same log loss (90% interval -1.0% to +1.0%)'
    """
    if gap is None:
        return "a log loss nobody can tell"
    size = f"{abs(gap.value):.1%} {'less' if gap.value < 0 else 'more'}"
    if abs(gap.value) < 0.0005:
        size = "the same"
    return f"{size} log loss{_span(gap, _percent)}"


def _percent(value: float) -> str:
    text = f"{value:+.1%}"
    return "0%" if text in ("-0.0%", "+0.0%") else text


def _points(gap: Estimate) -> str:
    word = "lower" if gap.value < 0 else "higher"
    span = _span(gap, lambda end: f"{100 * end:+.1f}")
    return f"{abs(100 * gap.value):.1f} percentage points {word} with the models{span}"


def _signed(value: float) -> str:
    return f"{round(value):+,d}" if round(value) else "0"


def _span(gap: Estimate, told: Callable[[float], str]) -> str:
    if gap.low is None or gap.high is None or not has_interval(gap):
        return ""
    return f" (90% interval {told(gap.low)} to {told(gap.high)})"


def _months(count: int) -> str:
    return counted(count, "month")


def summary_lines(found: Backtest) -> list[str]:
    """Return what `closedwon backtest` prints: the sentences, and a table of the cadences."""
    told = sentences(found)
    columns = f"{'retrained':<16}{'log loss':>10}{'MQLs/week':>11}{'close':>7}{'found':>7}"
    table = [f"{columns}{'deals at equal volume':>24}"]
    for one in found.cadences:
        loss, deals = one.scores.get(LOSS), one.equal_volume.get(FOUND)
        volume = one.totals.get("mqls_per_week")
        table.append(
            f"{one.name:<16}"
            f"{'' if loss is None else _percent(loss.value):>10}"
            f"{'-' if volume is None else number(volume.value):>11}"
            f"{share(one.totals.get('precision')):>7}"
            f"{share(one.totals.get('capture')):>7}"
            f"{_short(deals):>24}"
        )
    rules = found.rules_totals
    if rules:
        deals = found.against_rules["equal_volume"].get(FOUND)
        against = None if deals is None else _negated(deals)
        table.append(
            f"{'the rules':<16}{'':>10}{number(rules['mqls_per_week'].value):>11}"
            f"{share(rules.get('precision')):>7}{share(rules.get('capture')):>7}"
            f"{_short(against):>24}"
        )
    return [*told.values(), "", *table]


def _short(gap: Estimate | None) -> str:
    if gap is None:
        return ""
    if gap.low is None or gap.high is None:
        return _signed(gap.value)
    return f"{_signed(gap.value)} ({_signed(gap.low)} to {_signed(gap.high)})"


def _negated(gap: Estimate) -> Estimate:
    if gap.low is None or gap.high is None:
        return Estimate(-gap.value)
    return Estimate(-gap.value, -gap.high, -gap.low)
