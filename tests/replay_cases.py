"""Small replays for tests: rows written by hand, or leads drawn in accounts that win together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from training.replay import Replay, build_replay

MONDAY = pd.Timestamp("2025-01-06")
WEEK = pd.Timedelta(days=7)


def scored(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    """Rows of (lead, week, probability, won)."""
    frame = pd.DataFrame(rows, columns=["lead_id", "week", "probability", "won_in_horizon"])
    return frame.assign(
        as_of=(MONDAY + frame.pop("week") * WEEK).astype("datetime64[us]"),
        account=frame["lead_id"].str[0].map(ord),
        days_to_win=np.where(frame["won_in_horizon"] > 0, 30.0, np.nan),
        won_in_horizon=frame["won_in_horizon"].astype(float),
        opportunity_id="deal " + frame["lead_id"].astype("str"),
    ).astype({"lead_id": "str"})


def wins(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    """Rows of (opportunity, lead, day of creation)."""
    frame = pd.DataFrame(rows, columns=["opportunity_id", "lead_id", "day"])
    return frame.astype({"lead_id": "str"}).assign(
        account=0,
        created_at=(MONDAY + pd.to_timedelta(frame.pop("day").astype(float), unit="D")).astype(
            "datetime64[us]"
        ),
    )


NO_WINS = wins([])


def replay_of(
    rows: list[tuple[Any, ...]],
    opportunities: list[tuple[Any, ...]] | None = None,
    start: int = 0,
    weeks: int = 4,
    first_week_is_backlog: bool = False,
) -> Replay:
    made = NO_WINS if opportunities is None else wins(opportunities)
    return build_replay(
        scored(rows), made, MONDAY + start * WEEK, MONDAY + weeks * WEEK, first_week_is_backlog
    )


def drawn_replay(
    random: np.random.Generator,
    accounts: int = 1500,
    weeks: int = 26,
    segments: tuple[str, ...] = ("north", "south"),
    is_dated: bool = True,
) -> Replay:
    """Leads that come one to four an account, are scored once, and win or lose with their account.

    The probability is true: a lead is on its account's deal with a chance of its own. Every deal
    is opened three days after its last lead came.
    """
    size = random.integers(1, 5, accounts)
    account = np.repeat(np.arange(accounts), size)
    chance, listed = random.beta(1, 4, accounts), random.beta(4, 1, len(account))
    is_won = (random.random(accounts) < chance)[account] & (random.random(len(account)) < listed)
    week = random.integers(0, weeks, accounts)[account] if is_dated else np.zeros(len(account), int)
    rows = pd.DataFrame(
        {
            "lead_id": pd.array([f"lead {number}" for number in range(len(account))], dtype="str"),
            "account": account,
            "as_of": (MONDAY + week * WEEK).astype("datetime64[us]"),
            "probability": chance[account] * listed,
            "won_in_horizon": is_won.astype(float),
            "days_to_win": np.where(is_won, 20.0, np.nan),
            "opportunity_id": [f"deal {number}" for number in account],
            "region": pd.array(np.array(segments)[account % len(segments)], dtype="str"),
        }
    )
    deals = rows[is_won].assign(created_at=rows["as_of"] + pd.Timedelta(days=3))
    return build_replay(
        rows,
        deals[["opportunity_id", "lead_id", "account", "created_at"]],
        MONDAY,
        MONDAY + weeks * WEEK,
        first_week_is_backlog=False,
        is_dated=is_dated,
    )
