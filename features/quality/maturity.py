"""Until when outcomes are known: leads by month of creation, and how many of the old enough won."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from features.config import Config
from features.facts.opportunities import attribute
from features.loading.flat import FlatExport
from features.quality.findings import Finding
from features.tables import Tables

STRAY_SHARE = 0.01
FEWEST_WINS_MISSED = 12.0
"Wins to be expected of a month that had none. Chance: 6 in a million for leads on their own."


@dataclass(frozen=True)
class Month:
    """The leads created in one month."""

    month: str
    "2025-03."
    leads: int
    matured: int
    "Old enough: one horizon has passed in the data since they were created."
    won: int
    "Of the matured ones, won within one horizon of their creation."

    @property
    def win_rate(self) -> float | None:
        """Won of the matured, None where none is."""
        return self.won / self.matured if self.matured else None


@dataclass(frozen=True)
class Maturity:
    """Months in order, without gaps."""

    months: tuple[Month, ...]
    horizon_days: int | None
    "None: a label that says won, some day."
    is_known: bool = True
    "False: nobody said until when the labels are known, so all count as matured."

    def as_dict(self) -> dict[str, Any]:
        """Return the months for JSON."""
        months = [asdict(month) | {"win_rate": month.win_rate} for month in self.months]
        return {"horizon_days": self.horizon_days, "is_known": self.is_known, "months": months}

    def findings(self) -> list[Finding]:
        """Return months whose wins seem to be missing, and how many leads are too young."""
        findings = []
        matured = sum(month.matured for month in self.months)
        won = sum(month.won for month in self.months)
        rate = won / max(matured, 1)
        barren = [
            month
            for month in self.months
            if month.won == 0 and month.matured * rate >= FEWEST_WINS_MISSED
        ]
        if barren:
            leads = sum(month.matured for month in barren)
            span = barren[0].month
            if len(barren) > 1:
                span = f"{len(barren)} months from {span} to {barren[-1].month}"
            text = (
                f"none of the {leads:,} leads of {span} was won, where about {leads * rate:,.0f}"
                " were to be expected: were outcomes recorded then? Leave such months out, their"
                " leads would count as lost"
            )
            findings.append(Finding("month_without_wins", "warn", "outcomes", leads, text))
        young = sum(month.leads for month in self.months) - matured
        if young and self.is_known and self.horizon_days is not None:
            text = (
                f"{young:,} of {young + matured:,} leads were created less than {self.horizon_days}"
                " days before the data end: what becomes of them is not known yet"
            )
            share = young / (young + matured)
            findings.append(Finding("not_matured", "note", "outcomes", young, text, share))
        return findings


def maturity_of(tables: Tables, config: Config) -> Maturity:
    """Return the leads by month of creation; merged-away leads count with their survivor."""
    newest = tables.leads.drop_duplicates("lead_id", keep="last")
    leads = newest.loc[newest["merged_into"].isna(), ["lead_id", "created_at"]]
    horizon_days = config.training.horizon_days
    horizon = pd.Timedelta(days=horizon_days)
    population = config.population
    deals = attribute(tables, population.attribution_days, population.account_from)
    wins = deals.loc[deals["stage"] == "closed_won", ["lead_id", "closed_at"]]
    both = wins.merge(leads, on="lead_id")
    days = both["closed_at"] - both["created_at"]
    in_time = both.loc[(days >= pd.Timedelta(0)) & (days < horizon), "lead_id"]
    is_matured = (leads["created_at"] + horizon <= tables.data_until).to_numpy()
    is_won = leads["lead_id"].isin(in_time).to_numpy()
    return Maturity(_by_month(leads["created_at"], is_matured, is_won), horizon_days)


def maturity_of_flat(export: FlatExport, config: Config) -> Maturity | None:
    """Return the rows by month of `as_of`; None without dates or without outcomes."""
    rows = export.rows
    if rows["as_of"].isna().any() or rows.empty:
        return None
    horizon_days = config.training.horizon_days
    horizon = pd.Timedelta(days=horizon_days)
    if "won" in rows:
        is_won = (rows["won"] > 0).to_numpy()
        is_labelled = rows["won"].notna().to_numpy()
        until = export.labels_known_until
    elif "won_at" in rows:
        is_won = (rows["won_at"] - rows["as_of"] < horizon).to_numpy(bool)
        is_labelled = np.ones(len(rows), dtype=bool)
        until = export.data_until
    else:
        return None
    is_old = (
        np.ones(len(rows), dtype=bool)
        if until is None
        else (rows["as_of"] + horizon <= until).to_numpy()
    )
    months = _by_month(rows["as_of"], is_labelled & is_old, is_won)
    return Maturity(months, None if "won" in rows else horizon_days, until is not None)


def _by_month(created: pd.Series, is_matured: np.ndarray, is_won: np.ndarray) -> tuple[Month, ...]:
    month = created.to_numpy("datetime64[us]").astype("datetime64[M]").astype(np.int64)
    if not len(month):
        return ()
    first, width = int(month.min()), int(month.max() - month.min()) + 1
    counts = np.zeros((3, width), np.int64)
    for row, mask in enumerate((np.ones(len(month), bool), is_matured, is_matured & is_won)):
        counts[row] = np.bincount(month[mask] - first, minlength=width)
    return tuple(
        Month(str(np.datetime64(first + place, "M")), *(int(count) for count in counts[:, place]))
        for place in range(_start(counts[0]), width)
    )


def _start(leads: np.ndarray) -> int:
    """Return the first month that counts: a few leads, then a year without any, are stray dates.

    >>> _start(np.array([1, *[0] * 480, 250, 300]))
    481
    """
    months = np.flatnonzero(leads)
    until = np.cumsum(leads[months])
    strays = np.flatnonzero((np.diff(months) > 12) & (until[:-1] <= STRAY_SHARE * until[-1]))
    return int(months[strays[-1] + 1]) if len(strays) else 0
