"""Data that do not move on: a watch that looks at the same weeks again and again sees nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from training.monitor.finding import Finding

MOST_DAYS = 14
"Two weeks without a new Monday: an import that fails at a weekend is not meant."
EXPORT = "Is the export still running?"


@dataclass(frozen=True)
class DataAge:
    """How old the data are, as of `now`; instants are UTC without zone."""

    now: pd.Timestamp
    data_until: pd.Timestamp
    is_configured: bool
    "Whether the settings say where the data end; else they end with their newest record."

    @property
    def days(self) -> float | None:
        """Days since the newest record; None where the settings end the data before it."""
        if self.is_configured:
            return None
        return max((self.now - self.data_until) / pd.Timedelta(days=1), 0.0)

    def text(self) -> str | None:
        """Return it for people: `the newest record is 3 days old`."""
        if self.days is None:
            return None
        return f"the newest record is {_days(self.days)} old"


def age_findings(
    age: DataAge, trained_until: pd.Timestamp, monday: str, runs: Sequence[Mapping[str, Any]]
) -> Iterator[Finding]:
    """Yield data that end before the model's own, are old, or stand still since earlier `runs`.

    `monday` is the newest Monday that is looked at, an ISO day. One finding at most.
    """
    # A model's facts tell the day only.
    behind = (trained_until.normalize() - age.data_until.normalize()).days
    since = _still_since(monday, runs, age.now)
    advice = f"{EXPORT} Until newer data are there, nothing else is watched"
    if behind > 0:
        yield Finding(
            "data_age", "behind", True, float(behind),
            f"the data end before the model's: on {str(age.data_until)[:10]}, the model's on "
            f"{str(trained_until)[:10]}",
            "Watch it on the newest data: load all of them, or move [data] data_until on",
        )  # fmt: skip
    elif age.days is not None and age.days >= MOST_DAYS:
        yield Finding(
            "data_age", "newest", True, round(age.days, 1),
            f"{age.text()}: from {str(age.data_until)[:10]}",
            f"{advice}. If they are to end there, say so: data_until in [data]",
        )  # fmt: skip
    elif since is not None:
        days = (age.now - since) / pd.Timedelta(days=1)
        yield Finding(
            "data_age", "newest", True, round(days, 1),
            f"the newest Monday has been {monday} for {_days(days)}: no newer data came",
            f"{advice}. Where [data] data_until is set, move it on" if age.is_configured
            else advice,
        )  # fmt: skip


def _still_since(
    monday: str, runs: Sequence[Mapping[str, Any]], now: pd.Timestamp
) -> pd.Timestamp | None:
    """Return the oldest look, of two weeks ago or before, that had come as far as `monday`."""
    told = [str(run.get("looked_at")) for run in runs if run["data_until"] >= monday]
    looks = pd.to_datetime(
        pd.Series(told, dtype="str"), utc=True, errors="coerce", format="ISO8601"
    )
    before = looks.dt.tz_localize(None)
    before = before[now - before >= pd.Timedelta(days=MOST_DAYS)]
    return None if before.empty else before.min()


def _days(days: float) -> str:
    return f"{days:,.0f} day{'' if round(days) == 1 else 's'}"
