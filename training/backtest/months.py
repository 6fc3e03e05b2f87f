"""The months of a backtest: a model made at the start of each, deciding from then on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.config import Config
from features.errors import InputError
from training.examples import Examples

WEEK = np.timedelta64(7, "D")
MOST_MONTHS = 12
"""The newest months, unless asked for more or fewer."""
FEWEST_MONTHS = 2
"""With one month no model ever grows old."""


@dataclass(frozen=True)
class Months:
    """Whole calendar months, one after the other; month k is `[starts[k], starts[k + 1])`."""

    starts: np.ndarray
    "datetime64[us], rising."
    end: np.datetime64
    "Exclusive end of the last month."

    def __len__(self) -> int:
        """Return how many months there are."""
        return len(self.starts)

    @property
    def names(self) -> list[str]:
        """The months as people write them, such as 2025-03."""
        return [str(start.astype("datetime64[M]")) for start in self.starts]

    def of(self, as_of: np.ndarray) -> np.ndarray:
        """Return the number of the month of each instant; -1 before the first, -2 after the last.

        >>> starts = np.array(["2025-01-01", "2025-02-01"], dtype="datetime64[us]")
        >>> months = Months(starts, np.datetime64("2025-03-01", "us"))
        >>> asked = ["2024-12-31", "2025-01-01", "2025-02-28", "2025-03-01"]
        >>> months.of(np.array(asked, dtype="datetime64[us]")).tolist()
        [-1, 0, 1, -2]
        """
        instants = as_of.astype("datetime64[us]")
        number = np.searchsorted(self.starts, instants, side="right") - 1
        return np.where(instants >= self.end, -2, number)


def known_at(examples: Examples, origin: np.datetime64, config: Config) -> np.ndarray:
    """Return the mask of the rows whose label was known at `origin`: `as_of + gap <= origin`."""
    return np.asarray(examples.as_of + np.timedelta64(config.gap_days, "D") <= origin)


def months_of(examples: Examples, config: Config, most: int = MOST_MONTHS) -> Months:
    """Return the newest whole months, at most `most`, at whose start a model could be fitted.

    A month is whole when its labels are known to within a week of its end. A model needs
    `training.min_wins` won leads whose label was known then, as in `closedwon train`. Raises
    InputError without dates, or where fewer than two months are left.
    """
    if not examples.is_dated:
        raise InputError(
            "The rows have no dates, so nobody knows what was known in which month and nothing can "
            "be replayed. Name the column with the date of each row in [flat] as_of."
        )
    as_of = examples.as_of
    covered = as_of.max() + WEEK
    first = as_of.min().astype("datetime64[M]")
    starts = np.arange(first, covered.astype("datetime64[M]") + 1).astype("datetime64[us]")
    starts = starts[_next(starts) <= covered]
    is_ready = [_is_ready(examples, origin, config) for origin in starts]
    starts = starts[np.array(is_ready, dtype=bool)][-most:]
    if len(starts) < FEWEST_MONTHS:
        raise InputError(
            f"The history holds {len(starts)} whole months to replay, and {FEWEST_MONTHS} are "
            f"needed. Rows with a known label run from {_day(as_of.min())} to "
            f"{_day(as_of.max())}; a month counts when {config.training.min_wins} leads were known "
            f"to be won {config.gap_days} days before it. Load a longer history, or lower "
            "training.min_wins and expect wide intervals."
        )
    return Months(starts, _next(starts)[-1])


def _is_ready(examples: Examples, origin: np.datetime64, config: Config) -> bool:
    rows = known_at(examples, origin, config)
    has_both = rows.any() and not (examples.won[rows] > 0).all()
    return bool(has_both and examples.won_leads(rows) >= config.training.min_wins)


def _next(starts: np.ndarray) -> np.ndarray:
    return (starts.astype("datetime64[M]") + 1).astype("datetime64[us]")


def _day(instant: np.datetime64) -> str:
    return f"{pd.Timestamp(instant):%Y-%m-%d}"
