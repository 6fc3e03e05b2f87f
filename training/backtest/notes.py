"""What a reader of a backtest must know."""

from __future__ import annotations

from features.config import Config
from training.examples import Examples


def notes_of(examples: Examples, config: Config, is_weekly: bool) -> tuple[str, ...]:
    """Return what a reader must know: what was not as it would have been, and what is counted."""
    gap = config.gap_days
    used = config.verdicts.use != "report"
    notes = [
        f"A model of a month learned from rows at least {gap} days older, as in closedwon train. "
        "An older model also learned from fewer leads; in use it would too, so this counts as "
        "ageing.",
        "Parameters were chosen once, before the first month, and serve all models.",
        "Features are exact as of each instant. Known only from the whole history: which columns "
        "the leakage audit leaves out, which event types and attributes there are, and the labels "
        "as recorded by the end of the data.",
        "Columns of one row per lead or account without recorded_at show today's value at every "
        "instant.",
        "Clearly means that the 90% interval leaves out zero. Of many such figures some do so by "
        "chance alone: one in ten where nothing differs.",
        "Leads were worked as they were in the past, whoever would have been handed over; nobody "
        "knows what sales would have made of the others.",
    ]
    if gap < config.training.horizon_days and examples.is_dated:
        notes.append(
            f"The gap of {gap} days is shorter than the horizon, so models knew outcomes"
            f"{' and verdicts' * used} that nobody could have known: the figures are optimistic."
        )
    if not examples.is_maturity_known:
        notes.append(
            "Nobody said until when the labels are known, so the newest months may look worse "
            "than they were. Set flat.labels_known_until."
        )
    if is_weekly:
        notes.append(
            "Scores are judged on every eligible lead on every Monday of a month; an MQL is the "
            "first crossing of a lead in the whole backtest, changes of the model included."
        )
    else:
        notes.append("Each lead is looked at once, so nobody crosses a cutoff later.")
    return tuple(notes)
