"""The cutoff of each model of a backtest, chosen on what was known when its month began."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from features.config import Config
from models.cutoff import Cutoff
from training.backtest.month_models import MonthModel
from training.backtest.months import WEEK
from training.backtest.rows import ScoredRows
from training.cutoffs.cutoff import choose_cutoff
from training.examples import Examples
from training.replay import Replay
from training.scored_weeks import LEAST_RECENT_WEEKS, PAST_WEEKS, WARM_UP_WEEKS, cutoff_policy
from training.weekly import ScoredWeeks


def choose_cutoffs(
    scored: ScoredRows,
    models: Sequence[MonthModel],
    examples: Examples,
    config: Config,
    threshold: float | None,
) -> list[Cutoff]:
    """Return each model's cutoff, by the configured policy; `threshold` is that of the rules.

    As in `closedwon train`: on out-of-fold weeks of the past, and on the volume of the weeks since,
    whose outcomes nobody knew yet. InputError where the policy needs rules and there are none.
    """
    policy = cutoff_policy(examples, config)
    needs_rules = policy.policy == "rules_volume" and threshold is not None
    cutoffs = []
    for number, model in enumerate(models):
        past = past_weeks(scored, number, model)
        recent = recent_weeks(scored, number, model)
        cutoffs.append(
            choose_cutoff(
                past.replay(),
                policy,
                bootstraps=1,  # its evidence is not told here: the months themselves are
                seed=config.training.seed,
                rules=(past.rules_replay(), float(threshold or 0)) if needs_rules else None,
                recent=recent,
            )
        )
    return cutoffs


def past_weeks(scored: ScoredRows, number: int, model: MonthModel) -> ScoredWeeks:
    """Return the weeks whose outcomes were known, each scored by a booster that left it out.

    Of the wins only those that were recorded before the model's month began.
    """
    as_of = scored.rows["as_of"].to_numpy()
    looked_at = np.isfinite(scored.probability[:, number]) & (as_of <= model.newest)
    rows = scored.only(looked_at, number)
    wins = scored.wins[scored.wins["known_at"] < pd.Timestamp(model.origin)]
    instants = np.unique(rows["as_of"].to_numpy())
    if scored.is_weekly:
        start, until = instants[-PAST_WEEKS:][0], instants[-1] + WEEK
        is_cold = not start > instants[0]
    else:
        start, is_cold = instants[0], False
        until = start + ((instants[-1] - start) // WEEK + 1) * WEEK
    return ScoredWeeks(
        rows, wins, pd.Timestamp(start), pd.Timestamp(until), is_cold, True, scored.segments
    )


def recent_weeks(scored: ScoredRows, number: int, model: MonthModel) -> Replay | None:
    """Return the weeks since the newest known outcomes, up to the month; None where too few."""
    if not scored.is_weekly:
        return None
    as_of = scored.rows["as_of"].to_numpy()
    taken = (as_of > model.newest - WARM_UP_WEEKS * WEEK) & (as_of < model.origin)
    rows = scored.only(taken & np.isfinite(scored.probability[:, number]), number)
    instants = np.unique(rows["as_of"].to_numpy())
    later = instants[instants > model.newest]
    if len(later) < LEAST_RECENT_WEEKS:
        return None
    start, until = pd.Timestamp(later[0]), pd.Timestamp(later[-1] + WEEK)
    return ScoredWeeks(rows, scored.wins[:0], start, until, False, True).replay()
