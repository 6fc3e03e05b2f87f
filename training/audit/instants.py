"""Columns that hold instants after `as_of`: numbers or texts that read as times, written later."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd

from features.config import Config
from features.tables import Tables
from training.audit.figures import column_auc, mask_figures
from training.audit.findings import Evidence, Level
from training.audit.views import Bools, Column, Int64s, View, cut_into_cells, distinct_pairs
from training.examples import Examples

DAY = 86_400_000_000
NAT = np.iinfo(np.int64).min

OLDEST = np.datetime64("1995-01-01", "us").astype(np.int64)
YEARS_AHEAD = 3
"""What reads as instants lies between 1995 and some years after the data: no birthdays."""
READABLE = 0.99
"""Share of the filled cells that must read as instants of one kind."""
LEAST_DISTINCT = 10
MICROS = {"seconds": 1_000_000, "milliseconds": 1000, "microseconds": 1, "nanoseconds": 0.001}

SLACK = DAY
"""`as_of` may be a day without its time."""
LEAST_LATER = 25
LATER_SHARE = 0.02
BEYOND = 0.001
"""A plan reaches beyond the end of the data somewhere; what was written later never does."""
REACH = 0.1
"""Written later: even the oldest rows hold instants up to the end, all but this share of the span.
A plan lies some days ahead of its own row, so that those of old rows are over long before."""
LATER_DIFFERENCE = 0.2
"""... or being later goes with the outcome: share later of the won less that of the others,"""
LATENESS_AUC = 0.65
"""... or how much later does: two standard errors below the AUC of the days after `as_of`."""

FORMATS = ("%d/%m/%Y", "%m/%d/%Y", "%d/%m/%y", "%m/%d/%y", "%d.%m.%Y", "%d-%m-%Y", "%Y/%m/%d")
CLOCKS = ("", " %H:%M", " %H:%M:%S")
LOOKS_DATED = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}")


def end_of_data(examples: Examples, tables: Tables | None, config: Config) -> int | None:
    """Return the instant (microseconds) after which nothing is known, None if nobody says."""
    if tables is not None:
        end = tables.data_until
    elif config.data.data_until is not None:
        end = pd.Timestamp(config.data.data_until)
    elif config.flat is not None and config.flat.labels_known_until is not None:
        end = pd.Timestamp(config.flat.labels_known_until)
    else:
        return None
    return int(np.datetime64(end, "us").astype(np.int64))


def instants_evidence(
    column: Column, examples: Examples, tables: Tables | None, view: View, end: int | None
) -> list[Evidence]:
    """Return the evidence that a column holds instants after its rows' `as_of`."""
    as_of = examples.as_of.view(np.int64)
    last = max(int(as_of.max()), end or 0) + YEARS_AHEAD * 366 * DAY
    instants = read_instants(examples.snapshots[column.feature], last)
    if instants is None:
        return []
    is_read = instants != NAT
    later = is_read & (instants > as_of + SLACK)
    in_view = later[view.rows]
    count = int(distinct_pairs(in_view.astype(np.int64), view.cluster, 2)[1])
    if count < LEAST_LATER or later.sum() < LATER_SHARE * is_read.sum():
        return []
    if end is not None and _reaches_beyond(instants, column, tables, end, last):
        return []
    figures = mask_figures(in_view, view)
    size = abs(figures.difference)
    tells = size >= LATER_DIFFERENCE and size > 4 * figures.error
    tells = tells or _auc_of_lateness(column, instants - as_of, is_read, view) >= LATENESS_AUC
    is_written_later = tells or _reaches_the_end(as_of, instants, is_read, end)
    text = (
        f"reads as instants; {figures.filled_won:.1%} of the leads that {view.outcome} and"
        f" {figures.filled_lost:.1%} of the others hold one after as_of"
        + ("" if end is None else ", none after the end of the data")
    )
    numbers = {
        "later": float(later.sum() / is_read.sum()),
        "later_won": figures.filled_won,
        "later_lost": figures.filled_lost,
    }
    level: Level = "block" if is_written_later else "flag"
    return [Evidence("instants_after_as_of", level, numbers, text)]


def _reaches_the_end(as_of: Int64s, instants: Int64s, is_read: Bools, end: int | None) -> bool:
    """Return whether rows of the oldest third hold instants near the end of all."""
    if end is None:
        end = int(instants[is_read].max())
    first = int(as_of.min())
    old = is_read & (as_of <= np.quantile(as_of, 1 / 3))
    if old.sum() < LEAST_LATER:
        return False
    newest = float(np.quantile(instants[old], 0.99))
    return newest >= end - REACH * (end - first)


def _auc_of_lateness(column: Column, lateness: Int64s, is_read: Bools, view: View) -> float:
    """Return the lower bound of the AUC of instant - as_of, over the rows that have one; 0 if none.

    Instants drift with the calendar, so they may say little by themselves.
    """
    days = pd.Series(np.where(is_read, lateness / DAY, np.nan))
    cells, labels = cut_into_cells(days, is_number=True)
    lag = replace(column, is_number=True, cells=cells, labels=labels)
    low = column_auc(lag, view, filled_only=True).low
    return low if low > 0 else 0.0


def _reaches_beyond(
    instants: Int64s, column: Column, tables: Tables | None, end: int, last: int
) -> bool:
    """Return whether the column holds plans: some instants lie beyond the end of the data.

    Looks at the young leads of the tables too, which no snapshot is matured for.
    """
    every = [instants]
    if tables is not None:
        owner, _, name = column.name.partition(".")
        table = read_instants(getattr(tables, owner)[name], last)
        every += [] if table is None else [table]
    return any((known[known != NAT] > end + SLACK).mean() > BEYOND for known in every)


def read_instants(values: pd.Series, last: int) -> Int64s | None:
    """Return values as microseconds since 1970 (NAT where missing), None if they do not read so.

    >>> days = pd.Series([f"{day}/03/2024 10:00" for day in range(1, 30)], dtype="str")
    >>> read_instants(days, 2**62)[0].view("datetime64[us]")
    np.datetime64('2024-03-01T10:00:00.000000')
    """
    is_number = pd.api.types.is_numeric_dtype(values)
    instants = _of_numbers(values, last) if is_number else _of_texts(values)
    if instants is None:
        return None
    known = instants[instants != NAT]
    return instants if ((known >= OLDEST) & (known <= last)).mean() >= READABLE else None


def _of_numbers(values: pd.Series, last: int) -> Int64s | None:
    """Return numbers as microseconds since 1970, None if they do not read as instants."""
    numbers = values.to_numpy(float)
    is_filled = ~np.isnan(numbers)
    filled = numbers[is_filled]
    if len(filled) < LEAST_DISTINCT or len(np.unique(filled[:100_000])) < LEAST_DISTINCT:
        return None
    readings = [filled * micros for micros in MICROS.values()]
    readings.append(_of_day_numbers(filled))
    for reading in readings:
        if ((reading >= OLDEST) & (reading <= last)).mean() >= READABLE:
            instants = np.full(len(numbers), NAT)
            instants[is_filled] = reading.astype(np.int64)
            return instants
    return None


def _of_day_numbers(numbers: np.ndarray) -> np.ndarray:
    """Return 20240531 as microseconds, 0 where a number is no such day.

    As 32-bit floats days may be one off, so that the 32nd is taken too.
    """
    year, month, day = numbers // 10_000, numbers // 100 % 100, numbers % 100
    is_day = (year >= 1990) & (year < 2100) & (month >= 1) & (month <= 12) & (day <= 32)
    months = np.where(is_day, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    micros = months.astype("datetime64[us]").astype(np.int64) + (day - 1) * DAY
    return np.where(is_day, micros, 0)


def _of_texts(values: pd.Series) -> Int64s | None:
    """Return texts as microseconds since 1970, None if they do not read as instants."""
    codes, distinct = pd.factorize(values)
    if len(distinct) < LEAST_DISTINCT:
        return None
    looks = [bool(LOOKS_DATED.match(text)) for text in distinct[:1000]]
    if np.mean(looks) < READABLE:
        return None
    texts = pd.Series(distinct, dtype="str")
    counts = np.bincount(codes[codes >= 0], minlength=len(texts))
    for pattern in ["ISO8601", *(f"{day}{clock}" for day in FORMATS for clock in CLOCKS)]:
        read = pd.to_datetime(texts, format=pattern, errors="coerce", utc=True)
        if counts[read.notna().to_numpy()].sum() >= READABLE * counts.sum():
            instants = read.dt.tz_localize(None).to_numpy().astype("datetime64[us]").view(np.int64)
            return np.append(instants, NAT)[codes]
    return None
