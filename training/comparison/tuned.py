"""The threshold at which the rules did best on the past."""

from __future__ import annotations

import numpy as np

from training.comparison.figures import Side, everybody
from training.cutoffs.cutoff import cutoff_curve
from training.replay import Replay

LEAST_MQLS = 20
"On the past; a threshold judged by fewer would be luck."


def tune_threshold(rules: Replay, side: Side) -> tuple[float | None, str]:
    """Return the threshold at which the rules did best on `rules`, a replay of the past, and how.

    The most profit where money is known, else the best balance of precision and capture (their
    harmonic mean, F1), both of the MQLs that count: a win that was flagged before the replay began
    is none of theirs. Thresholds with fewer than 20 MQLs don't count.
    """
    curve = cutoff_curve(rules)
    candidates = curve.cutoff[curve.mqls >= LEAST_MQLS]
    figures = [side.figures(float(threshold), everybody(side)) for threshold in candidates]
    has_money = side.opportunity_value is not None and side.contact_cost is not None
    name = "profit_per_week" if side.is_dated else "profit"
    if has_money:
        told, worth = "profit", np.array([found[name] for found in figures])
    else:
        told = "the balance of precision and capture"
        precision = np.array([found["precision"] for found in figures])
        capture = _captures(rules, candidates)
        total = precision + capture
        worth = np.divide(2 * precision * capture, total, out=np.zeros(len(total)), where=total > 0)
    if not len(worth) or not np.isfinite(worth).any():
        return None, told
    return float(candidates[np.nanargmax(worth)]), told


def _captures(rules: Replay, thresholds: np.ndarray) -> np.ndarray:
    """Return, of each threshold, the share of the wins of which a counted MQL was a lead.

    Of the wins that were scored beforehand; the MQL came before the deal was created.
    """
    scored = rules.wins.loc[rules.wins["best_before"].notna(), "opportunity_id"]
    deals = rules.opportunities[rules.opportunities["opportunity_id"].isin(scored)]
    moments = rules.moments[~rules.moments["is_warm_up"]]
    both = deals[["opportunity_id", "lead_id", "created_at"]].merge(
        moments[["lead_id", "as_of", "previous_best", "probability"]], on="lead_id"
    )
    both = both[both["as_of"] <= both["created_at"]]
    deal = both["opportunity_id"].to_numpy(object)
    before, reached = (both[name].to_numpy() for name in ("previous_best", "probability"))
    found = [len(set(deal[(before < at) & (at <= reached)])) for at in thresholds]
    return np.array(found, dtype=float) / max(len(scored), 1)
