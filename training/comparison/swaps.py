"""The leads that only one of model and rules flags, and what sales' own work did to their wins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.cutoff import Estimate
from training.clustered import share_interval
from training.replay import Replay

MODEL, RULES = "model", "rules"
SWAP_INS, SWAP_OUTS = "swap_ins", "swap_outs"
GROUPS = (MODEL, RULES, SWAP_INS, SWAP_OUTS)


@dataclass(frozen=True)
class Group:
    """Some MQLs: how often they closed, and how that depends on whether sales worked them."""

    leads: int
    won: int
    precision: Estimate | None
    worked: int | None
    "None: nothing tells which leads sales worked."
    worked_share: Estimate | None
    precision_worked: Estimate | None
    precision_unworked: Estimate | None
    without_work: Estimate | None
    """Between which win rates they would have closed had sales worked nobody: the wins at accounts
    that sales did not work (the value) are the least, all wins the most, each as a share of all
    these leads and at its end of the 90% interval. It holds if work never costs a win, whichever
    leads sales chooses (the bounds of Manski 1990 under a monotone response)."""


@dataclass(frozen=True)
class Swaps:
    """Who swaps in and out when the model replaces the rules."""

    leads: pd.DataFrame
    """A row per lead that only one flags: lead_id, account, as_of, by (`model`: swapped in,
    `rules`: swapped out), probability, points, won, worked, account_worked, and is_known, whether
    the other one had flagged it before the window. Sorted by `by`, then by the number of the one
    that flags it, the highest first."""
    groups: dict[str, Group]
    "`model` and `rules`: all of their MQLs; `swap_ins`, `swap_outs`."
    known: dict[str, int]
    "`swap_ins`, `swap_outs`: of these the other one had flagged before the window began."
    difference_without_work: Estimate | None
    """Swap-ins' win rate less swap-outs', had sales worked neither: the whole range that
    `without_work` of both leaves. None where nothing tells which leads sales worked."""


def find_swaps(model: Replay, rules: Replay, cutoff: float, threshold: float) -> Swaps:
    """Return the swaps between the model at `cutoff` and the rules at `threshold`.

    Swap-ins less swap-outs is the model's MQLs less the rules'. Intervals know of accounts.
    """
    mqls = {MODEL: model.mqls(cutoff), RULES: rules.mqls(threshold)}
    ins = ~mqls[MODEL]["lead_id"].isin(mqls[RULES]["lead_id"])
    outs = ~mqls[RULES]["lead_id"].isin(mqls[MODEL]["lead_id"])
    members = {**mqls, SWAP_INS: mqls[MODEL][ins], SWAP_OUTS: mqls[RULES][outs]}
    leads = pd.concat(
        [
            _told(members[SWAP_INS], MODEL, _before(rules, threshold)),
            _told(members[SWAP_OUTS], RULES, _before(model, cutoff)),
        ],
        ignore_index=True,
    )
    known = leads.groupby("by")["is_known"].sum()
    groups = {name: _group(rows) for name, rows in members.items()}
    difference = _difference(groups[SWAP_INS].without_work, groups[SWAP_OUTS].without_work)
    return Swaps(
        leads,
        groups,
        {SWAP_INS: int(known.get(MODEL, 0)), SWAP_OUTS: int(known.get(RULES, 0))},
        difference,
    )


def _before(replay: Replay, cutoff: float) -> pd.Series:
    moments = replay.moments
    return moments.loc[moments["is_warm_up"] & (moments["probability"] >= cutoff), "lead_id"]


def _told(mqls: pd.DataFrame, by: str, known: pd.Series) -> pd.DataFrame:
    """Return the swapped leads; the replay of the rules has the points as its probability."""
    own = mqls["probability"].to_numpy()
    rows = pd.DataFrame(
        {
            "lead_id": mqls["lead_id"],
            "account": mqls["account"],
            "as_of": mqls["as_of"],
            "by": pd.array([by] * len(mqls), dtype="str"),
            "probability": own if by == MODEL else mqls["model_probability"].to_numpy(),
            "points": mqls["points"].to_numpy(),
            "won": mqls["won_in_horizon"].to_numpy(),
            "worked": mqls["worked"].to_numpy(),
            "account_worked": mqls["account_worked"].to_numpy(),
            "is_known": mqls["lead_id"].isin(known).to_numpy(),
        }
    )
    return rows.iloc[np.argsort(-own, kind="stable")]


def _group(rows: pd.DataFrame) -> Group:
    account = rows["account"].to_numpy()
    won, worked = rows["won_in_horizon"].to_numpy(float), rows["worked"].to_numpy(float)

    def rate(of: np.ndarray, members: np.ndarray) -> Estimate | None:
        if not members.any():
            return None
        low, high = share_interval(account[members], of[members])
        return Estimate(float(of[members].mean()), low, high)

    is_told = np.isfinite(worked)
    everybody = rate(won, np.ones(len(rows), bool))
    untouched = rows["account_worked"].to_numpy(float) == 0
    least = rate(won * untouched, np.ones(len(rows), bool)) if is_told.any() else None
    return Group(
        leads=len(rows),
        won=int(won.sum()),
        precision=everybody,
        worked=int((worked == 1).sum()) if is_told.any() else None,
        worked_share=rate(worked, is_told),
        precision_worked=rate(won, worked == 1),
        precision_unworked=rate(won, worked == 0),
        without_work=_spanned(least, everybody),
    )


def _spanned(least: Estimate | None, most: Estimate | None) -> Estimate | None:
    return None if least is None or most is None else Estimate(least.value, least.low, most.high)


def _difference(ins: Estimate | None, outs: Estimate | None) -> Estimate | None:
    """Return the range of `ins` less `outs`, each anywhere between its ends."""
    if ins is None or outs is None:
        return None
    if ins.low is None or ins.high is None or outs.low is None or outs.high is None:
        return None
    return Estimate(ins.value - outs.value, ins.low - outs.high, ins.high - outs.low)
