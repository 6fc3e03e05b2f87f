"""Notes of the audit about labels: rates by month, where young rows may still close."""

from __future__ import annotations

import numpy as np
import pandas as pd

from training.examples import Examples

FALL = 0.8
"""The newest month wins at most this share of the rate before it,"""
ERRORS = 3.0
"""... and this many standard errors less."""
LEAST_MONTHS = 3
SHOWN_MONTHS = 12


def audit_notes(examples: Examples) -> tuple[str, ...]:
    """Return a note on the rate by month where nobody says how long labels take to be known."""
    if not examples.is_dated or examples.is_maturity_known:
        return ()
    months = examples.as_of.astype("datetime64[M]")
    frame = pd.DataFrame({"month": months.astype(str), "won": examples.won})
    by_month = frame.groupby("month")["won"].agg(["mean", "size"])
    if len(by_month) < LEAST_MONTHS:
        return ()
    shown = ", ".join(
        f"{month} {rate:.2%}" for month, rate in by_month["mean"].tail(SHOWN_MONTHS).items()
    )
    newest, before = by_month.iloc[-1], by_month.iloc[:-1]
    usual = float(np.average(before["mean"], weights=before["size"]))
    error = np.sqrt(max(usual * (1 - usual), 1e-12) / newest["size"])
    falls = newest["mean"] < FALL * usual and newest["mean"] < usual - ERRORS * error
    verdict = (
        "the newest month falls off, as it does where young leads may still close: set "
        "labels_known_until in [flat]"
        if falls
        else "no falling tail; set labels_known_until in [flat] if labels take time to be known"
    )
    return (f"win rate by month: {shown}; {verdict}",)
