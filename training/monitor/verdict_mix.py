"""Sales' verdicts of the newest weeks against those before: accepted or not, and why."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from training.monitor.finding import RECENT_WEEKS, Finding
from training.monitor.weekly import Weekly

FEWEST = 20
"Verdicts in the newest weeks, and before, below which nothing is said."
SHARE = 0.15
"Change of the share of a verdict, or of a reason, that is worth a person's time."
LIMIT = 4.0


def verdict_shares(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Return how often each verdict, and each reason of a rejection, was given: Monday, what, n."""
    told = verdicts["verdict"].where(
        (verdicts["verdict"] != "rejected") | (verdicts["reason_code"] == ""),
        "rejected: " + verdicts["reason_code"],
    )
    counted = verdicts.assign(what=told).groupby(["monday", "what"]).size()
    return counted.rename("n").reset_index()


def verdict_findings(weekly: Weekly) -> Iterator[Finding]:
    """Yield verdicts and reasons whose share changed; accounts are the independent rows."""
    verdicts, weeks = weekly.verdicts, len(weekly.mondays)
    if verdicts.empty:
        return
    is_new = (verdicts["monday"] >= weeks - RECENT_WEEKS).to_numpy()
    accounts = [verdicts.loc[rows, "account"].nunique() for rows in (~is_new, is_new)]
    if min(accounts) < FEWEST:
        return
    rows = {
        "accepted": (verdicts["verdict"] == "accepted").to_numpy(),
        **{
            f"rejected: {code}": (
                (verdicts["verdict"] == "rejected") & (verdicts["reason_code"] == code)
            ).to_numpy()
            for code in sorted(verdicts["reason_code"].unique())
            if code
        },
    }
    turns = []
    for what, given in rows.items():
        before, after = float(given[~is_new].mean()), float(given[is_new].mean())
        pooled = (before * accounts[0] + after * accounts[1]) / sum(accounts)
        error = np.sqrt(max(pooled * (1 - pooled), 1e-9) * (1 / accounts[0] + 1 / accounts[1]))
        if abs(after - before) >= SHARE and abs(after - before) > LIMIT * error:
            turns.append((what, before, after))
    if not turns:
        return
    # What is accepted no more is rejected for some reason: one turn, told once.
    told = "; ".join(
        f"{what} {after:.0%} of their verdicts, {before:.0%} before"
        for what, before, after in turns
    )
    yield Finding(
        "verdict_mix", "verdicts", True, round(max(abs(b - a) for _, b, a in turns), 3),
        f"sales judge otherwise in the last {RECENT_WEEKS} weeks: {told}",
        "Ask sales what changed, and look at the leads they reject",
        evidence={what: {"before": round(b, 4), "after": round(a, 4)} for what, b, a in turns},
    )  # fmt: skip
