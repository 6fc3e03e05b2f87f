"""What the two models said of the same leads: rows to compare, and the MQLs each would make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from models.cutoff import Cutoff
from training.replay import decided
from training.weekly import ScoredWeeks


@dataclass(frozen=True)
class GateRows:
    """Matured snapshots with both models' probabilities. All arrays hold one entry a row."""

    won: np.ndarray
    "1.0 closed-won within the horizon, else 0.0."
    weight: np.ndarray
    "Above 1 for rows that stand for thinned-out ones."
    account: np.ndarray
    "Account component: rows that are no independent evidence of one another."
    champion: np.ndarray
    "The champion's probability."
    challenger: np.ndarray
    segments: Mapping[str, np.ndarray] = field(default_factory=dict)
    "Values of each attribute to compare by, as text."

    def won_accounts(self, rows: np.ndarray | None = None) -> int:
        """Return how many accounts won in the rows where the mask is true, or in all.

        The leads of one deal are one win: accounts are what resamples draw, and what is independent
        evidence. A lead without an account is one of its own.
        """
        is_won = self.won > 0 if rows is None else rows & (self.won > 0)
        return len(np.unique(self.account[is_won]))

    @property
    def is_same(self) -> bool:
        """Whether the two are one model here: every score is the same."""
        return bool(np.array_equal(self.champion, self.challenger))


@dataclass(frozen=True)
class Flags:
    """What one model's cutoff brings; each array holds one entry a row of `MqlRows`."""

    mqls: np.ndarray
    "1.0 where the row is an MQL of this model."
    won: np.ndarray
    "1.0 where it is one and was won within the horizon."
    captured: np.ndarray
    "1.0 where the row is a win that was flagged in time."
    qualifies_nobody: bool = False
    "No cutoff meets what was asked: there are no MQLs, so no precision."


@dataclass(frozen=True)
class MqlRows:
    """MQLs of both models and the wins they could find, in any order: the unit of a promise."""

    account: np.ndarray
    "Codes as in `GateRows.account`."
    wins: np.ndarray
    "1.0 where the row is a win that could be found."
    champion: Flags
    challenger: Flags
    asked_precision: float | None = None
    "What the challenger's cutoff was to bring, where it was chosen by that."

    @property
    def is_same(self) -> bool:
        """Whether the MQLs of both, and the wins they find, are the same in number."""
        pairs = (
            (getattr(self.champion, name).sum(), getattr(self.challenger, name).sum())
            for name in ("mqls", "won", "captured")
        )
        return all(one == other for one, other in pairs)


def mqls_of_rows(
    rows: GateRows,
    is_eligible: np.ndarray,
    champion_cutoff: np.ndarray | float | None,
    challenger_cutoff: np.ndarray | float | None,
) -> MqlRows:
    """Return the MQLs where every lead is looked at once: the eligible rows from the cutoff up.

    A cutoff may differ from row to row (segments); None: nobody qualifies. A row counts as often
    as its weight says.
    """
    weight = rows.weight * is_eligible

    def flags(probability: np.ndarray, cutoff: np.ndarray | float | None) -> Flags:
        mqls = weight * (probability >= (np.inf if cutoff is None else cutoff))
        return Flags(mqls, mqls * rows.won, mqls * rows.won, cutoff is None)

    return MqlRows(
        rows.account,
        weight * rows.won,
        flags(rows.champion, champion_cutoff),
        flags(rows.challenger, challenger_cutoff),
    )


def mqls_of_weeks(
    champion: tuple[ScoredWeeks, Cutoff], challenger: tuple[ScoredWeeks, Cutoff]
) -> MqlRows:
    """Return the MQLs of both replayed over the same weeks, each with its own cutoff.

    A row for every MQL of either, then one for every won opportunity that had an eligible lead
    beforehand.
    """
    sides = [_replayed(*side) for side in (champion, challenger)]
    (champion_mqls, champion_wins), (challenger_mqls, challenger_wins) = sides
    wins = champion_wins.merge(
        challenger_wins, on=["opportunity_id", "account"], how="outer", suffixes=("", "_2")
    ).fillna({"captured": 0.0, "captured_2": 0.0})
    counts = len(champion_mqls), len(challenger_mqls), len(wins)

    def placed(place: int, values: np.ndarray) -> np.ndarray:
        return np.concatenate(
            [values if place == of else np.zeros(count) for of, count in enumerate(counts)]
        )

    def flags(place: int, mqls: pd.DataFrame, captured: str, cutoff: Cutoff) -> Flags:
        return Flags(
            placed(place, np.ones(len(mqls))),
            placed(place, mqls["won_in_horizon"].to_numpy(float)),
            placed(2, wins[captured].to_numpy(float)),
            cutoff.qualifies_nobody,
        )

    account = [found["account"].to_numpy() for found in (champion_mqls, challenger_mqls, wins)]
    return MqlRows(
        np.concatenate(account),
        placed(2, np.ones(len(wins))),
        flags(0, champion_mqls, "captured", champion[1]),
        flags(1, challenger_mqls, "captured_2", challenger[1]),
        challenger[1].parameter.get("target_precision"),
    )


def _replayed(weeks: ScoredWeeks, cutoff: Cutoff) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the MQLs, and the wins that were scored beforehand with `captured` 1.0 or 0.0."""
    replay = weeks.replay()
    if cutoff.qualifies_nobody:
        mqls = replay.moments[:0]
        wins = replay.wins[replay.wins["best_before"].notna()]
        captured = np.zeros(len(wins), dtype=bool)
    else:
        tested, number = decided(replay, cutoff)
        mqls = tested.mqls(number)
        wins = tested.wins[tested.wins["best_before"].notna()]
        captured = (wins["best_before"] >= number).to_numpy()
    return mqls, wins[["opportunity_id", "account"]].assign(captured=captured.astype(float))
