"""When the data end, and which rows came in bulk."""

from __future__ import annotations

import duckdb
import pandas as pd

from features.loading.load_report import Note

# What is recorded of these says how far the data reach; costs may be planned ahead, and the
# attributes of a current-state export carry no time of their own.
DATED = {
    "leads": ("recorded_at",),
    "accounts": ("recorded_at",),
    "engagement_events": ("recorded_at",),
    "opportunities": ("created_recorded_at", "closed_recorded_at"),
    "opportunity_leads": ("recorded_at",),
    "stage_changes": ("recorded_at",),
    "verdicts": ("recorded_at",),
}

# A few rows far after all others are typing errors, not a sign that the data reach so far.
STRAGGLER_GAP = pd.Timedelta(days=60)
MOST_STRAGGLERS = 2
STRAGGLER_SHARE = 0.0001
# In a table of a few rows, the newest ones may well be half of it.
LARGEST_STRAGGLER_SHARE = 0.01

BULK_SHARE = 0.05
BULK_FEWEST = 20
BULK_SPAN = "interval 7 days"


def newest_plausible(counts: pd.Series, now: pd.Timestamp) -> tuple[pd.Timestamp | None, int]:
    """Return the newest time not after `now` that is no straggler, and how many rows are.

    `counts` holds the number of rows by instant (its index). Stragglers are the rows after a gap
    of more than 60 days, if they are at most 2 or 0.01% of all, whichever is more, and less than
    1% of all. Every time after the earliest such gap is left out.

    >>> days = pd.to_datetime(["2024-01-01", "2024-01-08", "2031-05-05"])
    >>> newest_plausible(pd.Series([400, 300, 1], index=days), pd.Timestamp("2035-01-01"))
    (Timestamp('2024-01-08 00:00:00'), 1)
    """
    past = counts[counts.index <= now].sort_index()
    if past.empty:
        return None, 0
    instants = past.index.to_series()
    after = past[::-1].cumsum()[::-1].shift(-1, fill_value=0)
    gap = instants.shift(-1) - instants
    total = past.sum()
    most = min(max(MOST_STRAGGLERS, STRAGGLER_SHARE * total), LARGEST_STRAGGLER_SHARE * total)
    isolated = (gap > STRAGGLER_GAP) & (after <= most)
    if not isolated.any():
        return pd.Timestamp(past.index[-1]), 0
    first_gap = int(isolated.to_numpy().argmax())
    return pd.Timestamp(past.index[first_gap]), int(after.iloc[first_gap])


def find_data_until(
    connection: duckdb.DuckDBPyConnection, now: pd.Timestamp
) -> tuple[pd.Timestamp | None, list[Note]]:
    """Return the newest plausible recorded time of the kept tables; None where none has any."""
    # An account or contact without recorded_at was always known (1900): no evidence.
    newest = " union all ".join(
        f"select {column} as recorded from kept_{table}"
        for table, columns in DATED.items()
        for column in columns
    )
    # By day for speed, each standing for its own newest instant.
    days = connection.execute(
        f"select max(recorded) as instant, count(*) as rows from ({newest})"
        f" where recorded between timestamp '1980-01-01' and timestamp '{now}'"
        " group by date_trunc('day', recorded)"
    ).fetchall()
    counts = pd.Series(
        [row[1] for row in days], index=pd.DatetimeIndex([row[0] for row in days]), dtype="int64"
    )
    found, stragglers = newest_plausible(counts, now)
    if not stragglers or found is None:
        return found, []
    text = f"rows recorded more than 60 days after all others; the data end {found:%Y-%m-%d}"
    return found, [Note("straggler", stragglers, text)]


def bulk_loads(connection: duckdb.DuckDBPyConnection) -> list[Note]:
    """Return a note for each hour in which over 5% of an event type was recorded at once.

    Only where those events occurred over more than a week: a busy hour is no bulk load. Their
    `recorded_at` is the load's, so no snapshot before it knew them.
    """
    rows = connection.execute(
        "select event_type, hour, loaded, total from ("
        " select event_type, date_trunc('hour', recorded_at) as hour, count(*) as loaded,"
        "  max(occurred_at) - min(occurred_at) as span,"
        "  sum(count(*)) over (partition by event_type) as total"
        " from kept_engagement_events group by 1, 2"
        f") where loaded > {BULK_SHARE} * total and loaded >= {BULK_FEWEST}"
        f" and span > {BULK_SPAN} order by loaded desc, event_type, hour"
    ).fetchall()
    return [
        Note(
            "bulk_load",
            loaded,
            f"{loaded / total:.0%} of {event_type} was recorded in the hour from"
            f" {hour:%Y-%m-%d %H:%M}, though it occurred over more than a week",
        )
        for event_type, hour, loaded, total in rows
    ]
