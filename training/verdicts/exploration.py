"""What handing over leads below the cutoff at random says about them, and about all lost labels.

Who was drawn follows from a hash, so drawn and not drawn leads differ by chance alone: what else
differs between them, the handover did. They are compared by intention to treat, whatever became of
them afterwards (Hollis and Campbell 1999).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from features.catalogue.catalogue import Catalogue
from features.config import Config
from features.exploration import REASON_CODE, are_drawn
from features.facts.population import HANDED_OVER
from features.facts.records import account_column
from features.parts.partitions import Partitions
from features.snapshots import lead_weeks, mondays
from features.tables import Tables
from models.cutoff import Cutoff, Estimate
from training.clustered import share_interval
from training.weekly import ProbabilityOf, score_index

LEAST_WORKED = 0.05
"Where sales worked hardly more of the drawn leads, nothing can be said of working them."
DRAWN, HANDED, OTHERWISE = "is_drawn", "is_explored", "is_drawn_otherwise"


@dataclass(frozen=True)
class Arm:
    """The drawn leads, or the others."""

    leads: int
    won: int
    handed_over: int
    "Marked as explored, within the horizon."
    win_rate: Estimate
    worked: float
    "Share whose account sales worked within the horizon; NaN: nobody wrote it down."
    probability: float
    "Mean of what the model gives them, each out of fold."


@dataclass(frozen=True)
class ExplorationEffect:
    """The randomised comparison of leads below the cutoff."""

    start: str
    "Day of the first Monday that is compared, that of the first handover by exploration."
    horizon_days: int
    drawn_otherwise: int
    "Leads left out of both groups, because another account of theirs was drawn."
    drawn: Arm
    others: Arm
    difference: Estimate
    "Win rate of the drawn less that of the others, by intention to treat."
    of_working: Estimate | None
    """What working such a lead adds to its chance: the difference over the additional share that
    sales worked (Bloom 1984). None where sales hardly worked more of the drawn."""

    @property
    def is_clear(self) -> bool:
        """Whether the handover changed the win rate by more than chance explains."""
        low, high = self.difference.low, self.difference.high
        return low is not None and high is not None and not low <= 0 <= high


def exploration_effect(
    source: Tables | Partitions,
    config: Config,
    catalogue: Catalogue,
    cutoff: Cutoff,
    probability_of: ProbabilityOf,
) -> ExplorationEffect | None:
    """Return the effect of the handovers that `config.exploration` drew; None without any.

    `probability_of` tells which leads are below `cutoff` when they enter; it had better not have
    seen them. Leads whose horizon has not passed since they entered are left out.
    """
    if config.exploration.share == 0 or cutoff.qualifies_nobody:
        return None
    entered = entries(source, config, catalogue, cutoff, probability_of)
    if entered is None:
        return None
    return effect_of(entered, config.training.horizon_days)


def entries(
    source: Tables | Partitions,
    config: Config,
    catalogue: Catalogue,
    cutoff: Cutoff,
    probability_of: ProbabilityOf,
) -> pd.DataFrame | None:
    """Return the leads that were below the cutoff when they could first be handed over.

    Each enters once: on its first Monday since the exploration began on which it was, or but for
    the exploration would have been, eligible. Those who were with sales before are left out, drawn
    or not. Columns as in `ScoredWeeks.scored`, and `is_drawn`, `is_explored` and
    `is_drawn_otherwise` (see `_drawn_otherwise`). None: no handover.
    """
    partitions = Partitions.of(source)
    found = [first for part in partitions if (first := _first_handover(part.tables)) is not None]
    if not found:
        return None
    last = partitions.data_until - pd.Timedelta(days=config.training.horizon_days)
    instants = mondays(min(found).normalize() - pd.Timedelta(days=6), last)
    draws: list[pd.DataFrame] = []

    def index_of(tables: Tables) -> pd.DataFrame:
        index = _entering(tables, config, instants)
        is_drawn = are_drawn(config.exploration, index["lead_id"], index["account_id"])
        explored = _explored(tables).groupby("lead_id")["recorded_at"].min()
        waited = explored.reindex(index["lead_id"]).to_numpy() - index["as_of"].to_numpy()
        is_handed = waited < np.timedelta64(config.training.horizon_days, "D")
        otherwise = _drawn_otherwise(tables, config, index)
        draws.append(
            index[["lead_id"]].assign(**{DRAWN: is_drawn, HANDED: is_handed, OTHERWISE: otherwise})
        )
        return index

    segments = () if cutoff.segment_by is None else (cutoff.segment_by,)
    scored = score_index(partitions, config, catalogue, index_of, probability_of, None, segments)
    is_below = ~cutoff.qualifies(scored["probability"], cutoff.values_for(scored))
    below = scored[is_below].merge(pd.concat(draws), on="lead_id", validate="one_to_one")
    return below if len(below) else None


def _first_handover(tables: Tables) -> pd.Timestamp | None:
    explored = _explored(tables)
    return None if explored.empty else pd.Timestamp(explored["changed_at"].min())


def _explored(tables: Tables) -> pd.DataFrame:
    changes = tables.stage_changes
    is_explored = (changes["stage"] == "mql") & (changes["reason_code"] == REASON_CODE)
    return changes[is_explored.fillna(False)]


def _drawn_otherwise(tables: Tables, config: Config, index: pd.DataFrame) -> np.ndarray:
    """Return which leads are drawn by another account than that of their row in `index`.

    A lead that had no account at first, or had another one later, is drawn for anew: it has two
    tries. Who is not drawn at entry may so be handed over by lot all the same.
    """
    account = account_column(tables.leads, config.population.account_from)
    entered = index.set_index("lead_id")["account_id"].reindex(tables.leads["lead_id"])
    is_other = account.fillna("").to_numpy(object) != entered.fillna("").to_numpy(object)
    others = tables.leads.loc[is_other, "lead_id"]
    is_drawn = are_drawn(config.exploration, others, account[is_other])
    return index["lead_id"].isin(others[is_drawn]).to_numpy(bool)


def _entering(tables: Tables, config: Config, instants: np.ndarray) -> pd.DataFrame:
    """Return the index of each lead's first eligible Monday, its exploration thought away.

    What follows the handover would otherwise keep drawn leads out, and them alone.
    """
    changes = tables.stage_changes
    explored = _explored(tables).groupby("lead_id")["recorded_at"].min()
    since = explored.reindex(changes["lead_id"]).to_numpy()
    untouched = changes[~(changes["recorded_at"].to_numpy() >= since)]
    index = lead_weeks(replace(tables, stage_changes=untouched), config.population, instants)
    first = index[index["is_eligible"]].drop_duplicates("lead_id")
    handed = untouched[untouched["stage"].isin(HANDED_OVER)]
    with_sales = handed.groupby("lead_id")["recorded_at"].min().reindex(first["lead_id"])
    return first[~(with_sales.to_numpy() < first["as_of"].to_numpy())].reset_index(drop=True)


def effect_of(entered: pd.DataFrame, horizon_days: int) -> ExplorationEffect:
    """Return the comparison of the rows of `entries` by `is_drawn`.

    Leads that another of their accounts draws are left out of both groups: so those with several
    accounts weigh as much in the one as in the other.
    The interval of the difference puts those of both arms together (Newcombe 1998, method 10),
    which also holds for few wins; each takes the leads of one account together.
    """
    start = f"{entered['as_of'].min():%Y-%m-%d}"
    is_otherwise = entered[OTHERWISE].to_numpy(bool)
    entered = entered[~is_otherwise]
    is_drawn = entered[DRAWN].to_numpy(bool)
    drawn, others = _arm(entered[is_drawn]), _arm(entered[~is_drawn])
    difference = _difference(drawn.win_rate, others.win_rate)
    more_worked = drawn.worked - others.worked
    of_working = None
    if more_worked >= LEAST_WORKED:
        # The share worked is known so much better than the win rates that its own error is left
        # out.
        ends = (difference.value, difference.low, difference.high)
        of_working = Estimate(*(None if end is None else end / more_worked for end in ends))  # type: ignore[arg-type]  # the value is a number
    left_out = int(is_otherwise.sum())
    return ExplorationEffect(start, horizon_days, left_out, drawn, others, difference, of_working)


def _arm(rows: pd.DataFrame) -> Arm:
    won, account = rows["won_in_horizon"].to_numpy(float), rows["account"].to_numpy()
    rate = float(won.mean()) if len(won) else float("nan")
    return Arm(
        leads=len(rows),
        won=int(won.sum()),
        handed_over=int(rows[HANDED].sum()),
        win_rate=Estimate(rate, *share_interval(account, won > 0)),
        worked=float(rows["account_worked"].mean()),
        probability=float(rows["probability"].mean()),
    )


def _difference(one: Estimate, other: Estimate) -> Estimate:
    if not np.isfinite([one.value, other.value]).all():
        return Estimate(float("nan"))
    assert one.low is not None and one.high is not None
    assert other.low is not None and other.high is not None
    value = one.value - other.value
    down = np.hypot(one.value - one.low, other.high - other.value)
    up = np.hypot(one.high - one.value, other.value - other.low)
    return Estimate(value, float(value - down), float(value + up))
