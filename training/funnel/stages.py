"""Conversion from MQL to win, stage by stage, for all, by month, by source and by campaign."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.cutoff import Estimate
from training.funnel.passes import STEPS
from training.funnel.rates import estimates, tallies, with_rates

LEAST_MQLS = 20
"Groups with fewer matured MQLs get counts, but no rates."
MOST_GROUPS = 12
OTHERS = "all others"
Quartiles = tuple[float, float, float]


@dataclass(frozen=True)
class Step:
    """One stage after the MQL, over the matured passes. All within the horizon of the MQL."""

    stage: str
    reached: int
    "Passes that got here or further: an opportunity without SAL and SQL went past both."
    skipped: int
    "Of them, those without a record of this stage."
    of_previous: Estimate | None
    "Share of those that reached the stage before; None where nobody did."
    of_mqls: Estimate
    days_from_previous: Quartiles | None
    "25%, 50% and 75% of the days, where both stages are recorded in this order."
    days_from_mql: Quartiles | None


@dataclass(frozen=True)
class Group:
    """The passes of a month, source or campaign."""

    name: str
    mqls: int
    matured: int
    reached: dict[str, int]
    "By stage, of all its passes, within the horizon and so far."
    rates: dict[str, Estimate] | None
    "By stage, share of the matured; None where it may not be said."
    why_no_rates: str = ""


@dataclass(frozen=True)
class Conversion:
    """What became of the MQLs."""

    horizon_days: int
    mqls: int
    matured: int
    leads: int
    "Distinct leads; a lead that is an MQL again after it was recycled makes another pass."
    came_again: int
    "Passes that are not the lead's first."
    won_later: int
    "Matured passes that won after the horizon."
    wins: dict[str, int]
    "Won opportunities: `in_pass`, `after_pass`, `without_mql`."
    steps: tuple[Step, ...]
    months: tuple[Group, ...]
    sources: tuple[Group, ...]
    campaigns: tuple[Group, ...]
    "First touch."


def conversion_of(
    passes: pd.DataFrame, wins: dict[str, int], horizon_days: int, data_until: pd.Timestamp
) -> Conversion:
    """Return the conversion of `passes` (see `passes_of`).

    One clock for every stage: what happened in `[mql_at, mql_at + horizon)`. A pass is *matured*
    once that has passed at `data_until`. Rates are of matured passes only, whatever the others
    became so far: their wins come early, and their losses are not known.
    """
    reached = _reached(passes, horizon_days)
    is_matured = passes["mql_at"] + pd.Timedelta(days=horizon_days) <= data_until
    tables = passes.assign(**reached, is_matured=is_matured)
    matured = tables[is_matured]
    return Conversion(
        horizon_days=horizon_days,
        mqls=len(passes),
        matured=len(matured),
        leads=passes["lead_id"].nunique(),
        came_again=len(passes) - passes["lead_id"].nunique(),
        won_later=int((matured["won_at"].notna() & ~matured["won"]).sum()),
        wins=wins,
        steps=_steps(matured, horizon_days),
        months=_months(tables),
        sources=_groups(tables, "source"),
        campaigns=_groups(tables, "campaign"),
    )


def _reached(passes: pd.DataFrame, horizon_days: int) -> dict[str, np.ndarray]:
    """Return by stage which passes got there or further within the horizon."""
    reached: dict[str, np.ndarray] = {}
    further = np.zeros(len(passes), dtype=bool)
    for stage in reversed(STEPS):
        further = further | _in_time(passes, stage, horizon_days)
        reached[stage] = further
    return {stage: reached[stage] for stage in STEPS}


def _in_time(passes: pd.DataFrame, stage: str, horizon_days: int) -> np.ndarray:
    days = passes[f"{stage}_at"] - passes["mql_at"]
    return (days < pd.Timedelta(days=horizon_days)).to_numpy(bool)


def _steps(matured: pd.DataFrame, horizon_days: int) -> tuple[Step, ...]:
    steps = []
    before, before_at = np.ones(len(matured), dtype=bool), "mql_at"
    for stage in STEPS:
        reached = matured[stage].to_numpy(bool)
        recorded = _in_time(matured, stage, horizon_days)
        at = f"{stage}_at"
        is_in_order = recorded & (matured[at].dt.ceil("D") >= matured[before_at]).to_numpy(bool)
        steps.append(
            Step(
                stage=stage,
                reached=int(reached.sum()),
                skipped=int((reached & ~recorded).sum()),
                of_previous=_rate(matured[before], stage),
                of_mqls=_rate(matured, stage) or Estimate(float("nan")),
                days_from_previous=_quartiles(matured[is_in_order], before_at, at),
                days_from_mql=_quartiles(matured[recorded], "mql_at", at),
            )
        )
        before, before_at = reached, at
    return tuple(steps)


def _rate(passes: pd.DataFrame, stage: str) -> Estimate | None:
    if passes.empty:
        return None
    everybody = pd.Series("all", index=passes.index)
    tallied = tallies(everybody, passes["account"].to_numpy(), passes[stage].to_numpy(float))
    return estimates(with_rates(tallied))["all"]


def _quartiles(passes: pd.DataFrame, start: str, end: str) -> Quartiles | None:
    days = (passes[end] - passes[start]).dt.total_seconds().to_numpy() / 86_400
    days = np.maximum(days[np.isfinite(days)], 0.0)  # a date without a time lies at 00:00
    if not len(days):
        return None
    low, middle, high = np.quantile(days, [0.25, 0.5, 0.75])
    return float(low), float(middle), float(high)


def _months(passes: pd.DataFrame) -> tuple[Group, ...]:
    """Return the cohorts by month of the MQL; rates only where every pass is matured."""
    month = passes["mql_at"].dt.strftime("%Y-%m")
    groups = _grouped(passes, month)
    return tuple(
        group
        if group.matured == group.mqls
        else Group(group.name, group.mqls, group.matured, group.reached, None, "too young to tell")
        for group in groups
    )


def _groups(passes: pd.DataFrame, column: str) -> tuple[Group, ...]:
    """Return the values of `column`, those with most MQLs first, the rare ones together."""
    names = passes[column]
    counts = names.value_counts()
    most = sorted(counts.index, key=lambda name: (-counts[name], name))
    if len(most) > MOST_GROUPS:
        most = most[: MOST_GROUPS - 1]
    groups = {
        group.name: group for group in _grouped(passes, names.where(names.isin(most), OTHERS))
    }
    return tuple(groups[name] for name in [*most, OTHERS] if name in groups)


def _grouped(passes: pd.DataFrame, names: pd.Series) -> list[Group]:
    is_matured = passes["is_matured"].to_numpy(bool)
    account = passes["account"].to_numpy()
    rates = {
        stage: estimates(
            with_rates(
                tallies(
                    names[is_matured],
                    account[is_matured],
                    passes[stage].to_numpy(float)[is_matured],
                )
            )
        )
        for stage in STEPS
    }
    groups = []
    for name, own in passes.groupby(names):
        matured = int(own["is_matured"].sum())
        reached = {stage: int(own[stage].sum()) for stage in STEPS}
        is_enough = matured >= LEAST_MQLS
        told = {stage: rates[stage][str(name)] for stage in STEPS} if is_enough else None
        why = "" if is_enough else f"fewer than {LEAST_MQLS} MQLs old enough"
        groups.append(Group(str(name), len(own), matured, reached, told, why))
    return groups
