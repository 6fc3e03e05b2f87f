"""Passes through the funnel: from an MQL to what became of it."""

from __future__ import annotations

import pandas as pd

from features.config import Config
from features.parts.partitions import Part
from training.funnel.people import latest

SALES_STAGES = ("sal", "sql")
STEPS = (*SALES_STAGES, "opportunity", "won")
"What an MQL may become, in order."
HANDED = ("mql", *SALES_STAGES)


def passes_of(
    part: Part,
    config: Config,
    survivor: pd.Series,
    people: pd.DataFrame,
    dealt: pd.DataFrame,
    touched: pd.DataFrame,
) -> pd.DataFrame:
    """Return one row per pass: an MQL and what was recorded of it until the pass ended.

    A pass starts at the first `mql` of a lead and ends when the lead is recycled; an `mql` after
    that starts another. One more `mql` in between is the same pass, unless `requalify_after_days`
    went by without any change to mql, sal or sql, as in the population.

    Columns: lead_id, account, source, campaign (first touch), last_campaign (last touch before the
    MQL), mql_at, ended_at and STEPS with `_at`, NaT where it did not happen in the pass. An
    opportunity belongs to the pass in which it was created, and so does its win, whenever it
    closed; `opportunity_id` is the won one's, `is_lost` says that the newest was lost. A time
    before the MQL's, on the same day, is a date without a time: it counts as the MQL's own.
    """
    changes = _changes(part, config, survivor)
    starts = changes[changes["is_start"]]
    passes = pd.DataFrame(
        {
            "lead_id": starts["lead_id"],
            "pass": starts["pass"],
            "mql_at": starts["changed_at"],
            "ended_at": starts["ended_at"],
        }
    ).reset_index(drop=True)
    for stage in SALES_STAGES:
        reached = changes[(changes["stage"] == stage) & (changes["pass"] > 0)]
        first = reached.drop_duplicates(["lead_id", "pass"])[["lead_id", "pass", "changed_at"]]
        first = first.rename(columns={"changed_at": f"{stage}_at"})
        passes = passes.merge(first, on=["lead_id", "pass"], how="left")
    passes = _with_deals(passes, dealt)
    for name in ("account", "source", "campaign"):
        passes[name] = people[name].loc[passes["lead_id"]].array
    return _with_last_touch(passes, touched).drop(columns="pass")


def _changes(part: Part, config: Config, survivor: pd.Series) -> pd.DataFrame:
    """Return the changes that make passes, with `pass` (0: none runs), `is_start`, `ended_at`."""
    changes = part.tables.stage_changes
    is_used = changes["stage"].isin([*HANDED, "recycled"]) & changes["lead_id"].isin(survivor.index)
    changes = changes.loc[is_used, ["lead_id", "stage", "changed_at"]]
    changes = changes.assign(
        lead_id=survivor.loc[changes["lead_id"]].array, is_recycled=changes["stage"] == "recycled"
    )
    # At one instant the furthest comes last: a lead handed over and recycled at once is recycled.
    order = changes["stage"].map({stage: n for n, stage in enumerate((*HANDED, "recycled"))})
    # What follows an MQL on a day without a time of day came after it.
    at = changes["changed_at"].where(changes["stage"] == "mql", latest(changes["changed_at"]))
    changes = changes.assign(order=order, at=at)
    changes = changes.sort_values(["lead_id", "at", "order"], ignore_index=True)
    recycled = changes.groupby("lead_id")["is_recycled"].cumsum()
    changes["round"] = recycled - changes["is_recycled"]  # a recycling ends its own round
    in_round = changes.groupby(["lead_id", "round"])
    is_mql = changes["stage"] == "mql"
    is_start = is_mql & (is_mql.groupby([changes["lead_id"], changes["round"]]).cumsum() == 1)
    if config.population.requalify_after_days is not None:
        rest = pd.Timedelta(days=config.population.requalify_after_days)
        is_start |= is_mql & (changes["changed_at"] - in_round["changed_at"].shift() >= rest)
    changes["is_start"] = is_start
    started = is_start.groupby([changes["lead_id"], changes["round"]]).cumsum()
    passes_before = is_start.groupby(changes["lead_id"]).cumsum()
    changes["pass"] = passes_before.where((started > 0) & ~changes["is_recycled"], 0)
    # The round ends with its recycling, the last change in it, or with the next pass.
    ending = changes["changed_at"].where(changes["is_recycled"])
    ending = ending.groupby([changes["lead_id"], changes["round"]]).transform("last")
    next_start = changes["changed_at"].where(is_start).groupby(changes["lead_id"]).shift(-1)
    next_start = next_start.groupby(changes["lead_id"]).bfill()
    ended = ending.fillna(next_start).where(~(next_start < ending), next_start)
    return changes.assign(ended_at=ended)


def ways_of_wins(passes: pd.DataFrame, dealt: pd.DataFrame) -> dict[str, int]:
    """Return how many won opportunities were created in a pass, after one ended, without an MQL.

    Each counts once, in the first of the three that holds for any of its leads.
    """
    won = dealt[dealt["stage"] == "closed_won"]
    pairs = won.merge(passes[["lead_id", "mql_at", "ended_at"]], how="left", on="lead_id")
    is_after = (latest(pairs["created_at"]) >= pairs["mql_at"]).to_numpy()
    is_within = is_after & ~(pairs["created_at"] >= pairs["ended_at"]).to_numpy()
    best = pd.Series(is_after.astype(int) + is_within).groupby(pairs["opportunity_id"]).max()
    return {
        "in_pass": int((best == 2).sum()),
        "after_pass": int((best == 1).sum()),
        "without_mql": int((best == 0).sum()),
    }


def _with_deals(passes: pd.DataFrame, dealt: pd.DataFrame) -> pd.DataFrame:
    """Return `passes` with the first opportunity created in each, its first win, is_lost."""
    pairs = passes[["lead_id", "pass", "mql_at", "ended_at"]].merge(dealt, on="lead_id")
    created = latest(pairs["created_at"])
    is_within = (created >= pairs["mql_at"]) & ~(pairs["created_at"] >= pairs["ended_at"])
    # Of two passes on one day the earlier takes a deal without a time of day.
    pairs = pairs[is_within].sort_values(["pass", "created_at", "opportunity_id"])
    pairs = pairs.drop_duplicates(["lead_id", "opportunity_id"])
    keys = ["lead_id", "pass"]
    first = pairs.drop_duplicates(keys)[[*keys, "created_at"]]
    won = pairs[pairs["stage"] == "closed_won"].sort_values(["closed_at", "opportunity_id"])
    won = won.drop_duplicates(keys)[[*keys, "closed_at", "opportunity_id"]]
    newest = pairs.drop_duplicates(keys, keep="last")[[*keys, "stage"]]
    passes = passes.merge(first.rename(columns={"created_at": "opportunity_at"}), "left", on=keys)
    passes = passes.merge(won.rename(columns={"closed_at": "won_at"}), "left", on=keys)
    passes = passes.merge(newest.rename(columns={"stage": "newest"}), "left", on=keys)
    for name in ("opportunity_at", "won_at"):
        passes[name] = passes[name].astype("datetime64[us]")
    is_lost = (passes["newest"] == "closed_lost") & passes["won_at"].isna()
    return passes.assign(is_lost=is_lost).drop(columns="newest")


def _with_last_touch(passes: pd.DataFrame, touched: pd.DataFrame) -> pd.DataFrame:
    """Return `passes` with the campaign of the last touch before the MQL, missing without one."""
    rows = passes[["lead_id", "mql_at"]].rename_axis("row").reset_index()
    found = pd.merge_asof(
        rows.sort_values("mql_at", kind="stable"),
        touched.rename(columns={"campaign": "last_campaign"}),
        left_on="mql_at",
        right_on="occurred_at",
        by="lead_id",
    )
    last = found.set_index("row").sort_index()["last_campaign"]
    return passes.assign(last_campaign=last.array)
