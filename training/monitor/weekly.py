"""What was known on each Monday of the leads, their scores and the events: exact, and counted once.

A snapshot reads only what was recorded before its instant, so a Monday's counts never change as
time goes on; only outcomes are added, each with the instant from which it was known. What a monitor
says at any instant is therefore a function of the rows before it (`training.monitor.findings`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.catalogue.catalogue import INDEX_COLUMNS
from features.config import Config
from features.parts.partitions import Part, Partitions
from features.snapshots import Past, lead_weeks
from features.tables import Tables
from models.scorer import Scorer
from training.labels import SECONDS_A_DAY, label_snapshots, nearest_win
from training.monitor.absent import absent_sources
from training.monitor.bands import Bands
from training.part_examples import ROWS_AT_ONCE, attributed

Floats = npt.NDArray[np.float64]
WEEK = np.timedelta64(7, "D")
ALL, NEW = 0, 1
"Whom band counts are of: everybody scored, and those created in the week before."
BOUNDS_ROWS = 50_000


@dataclass(frozen=True)
class Weekly:
    """Counts by Monday; `mondays` is the axis of all of them."""

    mondays: npt.NDArray[np.datetime64]
    bands: Bands
    counts: Floats
    "Leads by (whom: everybody, new ones; Monday; feature; band); the last feature is the score."
    accounts: Floats
    "How many accounts they belong to: (whom, Monday)."
    rows: pd.DataFrame
    """A row per lead scored and Monday: `lead` and `account` (codes), `monday` (its number),
    `raw_score`, `probability`, `qualified`, `is_new`, `days_to_win` (NaN: no win in the horizon,
    so far), `known_after` (days from the Monday until that win was recorded), `gone_after` (days
    until it was recorded that the lead had won before the Monday; NaN: it had not, or nobody knows)
    and, where the calibration has segments, `segment`."""
    events: pd.DataFrame
    "Events recorded in the week before each Monday: a column a type."
    arrivals: Floats
    "Leads recorded in the week before each Monday."
    verdicts: pd.DataFrame
    "`monday` by which it was known, `account`, `verdict`, `reason_code`; a row each."
    absent: tuple[str, ...] = ()
    "Tables, columns and event types that the model reads and the data do not hold."

    def until(self, count: int) -> Weekly:
        """Return the first `count` Mondays, with the wins recorded before the last of them."""
        rows = self.rows[self.rows["monday"] < count].copy()
        elapsed = 7.0 * (count - 1 - rows["monday"])
        is_unknown = ~(rows["known_after"] < elapsed)
        rows.loc[is_unknown, ["days_to_win", "known_after"]] = np.nan
        if "gone_after" in rows:
            rows.loc[~(rows["gone_after"] < elapsed), "gone_after"] = np.nan
        return Weekly(
            self.mondays[:count],
            self.bands,
            self.counts[:, :count],
            self.accounts[:, :count],
            rows,
            self.events.iloc[:count],
            self.arrivals[:count],
            self.verdicts[self.verdicts["monday"] < count],
            self.absent,
        )

    def open_rows(self) -> pd.DataFrame:
        """Return `rows` without leads that are known to have won before the Monday.

        Training leaves them out as well: they are neither a success nor a failure to predict.
        """
        if "gone_after" not in self.rows:
            return self.rows
        return self.rows[self.rows["gone_after"].isna()].reset_index(drop=True)


def gather_weeks(
    source: Tables | Partitions,
    config: Config,
    scorer: Scorer,
    mondays: npt.NDArray[np.datetime64],
    is_reference: npt.NDArray[np.bool_],
) -> Weekly:
    """Return the weekly counts of the population on each of `mondays`, scored by `scorer`.

    Bands of numbers are tenths of the leads on the Mondays marked by `is_reference`.
    """
    partitions = Partitions.of(source)
    bands = _bands(partitions.part(0), config, scorer, mondays[is_reference])
    shape = (2, len(mondays))
    counts = np.zeros((*shape, len(bands.names), bands.width))
    accounts, arrivals = np.zeros(shape), np.zeros(len(mondays))
    rows, events, verdicts = [], [], []
    for part in partitions:
        component = part.account_components(config.population.account_from)
        created = part.tables.leads.groupby("lead_id")["created_at"].min()
        codes = pd.Series(part.lead_codes, index=component.index)
        for index, scored in _scored(part, config, scorer, bands, mondays, created, counts):
            lead_id = index["lead_id"]
            found = scored.assign(
                lead=codes.loc[lead_id].to_numpy(), account=component.loc[lead_id].to_numpy()
            )
            rows.append(found)
        arrivals += _by_week(created, mondays)
        events.append(_event_counts(part.tables, mondays))
        verdicts.append(_verdicts(part.tables, component, mondays))
    everything = pd.concat(rows, ignore_index=True)
    for whom, chosen in ((ALL, everything), (NEW, everything[everything["is_new"]])):
        pairs = chosen[["monday", "account"]].drop_duplicates()
        accounts[whom] = np.bincount(pairs["monday"], minlength=len(mondays))
    totals = pd.concat(events).groupby(level=0).sum().reindex(range(len(mondays)), fill_value=0.0)
    return Weekly(
        mondays, bands, counts, accounts, everything, totals, arrivals,
        pd.concat(verdicts, ignore_index=True),
        absent_sources(scorer.catalogue, partitions.manifest.contents),
    )  # fmt: skip


def _bands(
    part: Part, config: Config, scorer: Scorer, mondays: npt.NDArray[np.datetime64]
) -> Bands:
    """Return the bands of a sample of the reference: some Mondays of the first part's leads."""
    index = lead_weeks(part.tables, config.population, mondays[:: max(len(mondays) // 8, 1)])
    drawn = np.random.default_rng(0).permutation(len(index))[:BOUNDS_ROWS]
    index = index.iloc[np.sort(drawn)].reset_index(drop=True)
    snapshots = Past.of(part.tables, scorer.catalogue).snapshots(index)
    return Bands.of(snapshots, scorer)


def _scored(
    part: Part,
    config: Config,
    scorer: Scorer,
    bands: Bands,
    mondays: npt.NDArray[np.datetime64],
    created: pd.Series,
    counts: Floats,
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Yield the index and the scored rows of a part, piece by piece, and add to `counts`."""
    index = lead_weeks(part.tables, config.population, mondays)
    wins = _wins(part, index, config, scorer.horizon_days)
    past = Past.of(part.tables, scorer.catalogue)
    for first in range(0, max(len(index), 1), ROWS_AT_ONCE):
        piece = index.iloc[first : first + ROWS_AT_ONCE].reset_index(drop=True)
        if piece.empty:
            continue
        snapshots = past.snapshots(piece.loc[:, list(INDEX_COLUMNS)])
        scored = scorer.score(snapshots)
        monday = np.searchsorted(mondays, piece["as_of"].to_numpy("datetime64[us]"))
        age = piece["as_of"].to_numpy() - created.loc[piece["lead_id"]].to_numpy()
        is_new = age <= WEEK
        segments = scorer.calibration.segments_of(snapshots)
        bands.count(snapshots, scored["probability"].to_numpy(), monday, is_new, counts)
        columns: dict[str, npt.NDArray[Any]] = {
            "monday": monday.astype(np.int32),
            **{name: scored[name].to_numpy() for name in ("raw_score", "probability", "qualified")},
            "is_new": is_new,
            **{
                name: wins[name].to_numpy()[first : first + len(piece)]
                for name in ("days_to_win", "known_after", "gone_after")
            },
        }
        if segments is not None:
            columns["segment"] = segments.to_numpy(object)
        yield piece, pd.DataFrame(columns)


def _wins(part: Part, index: pd.DataFrame, config: Config, horizon_days: int) -> pd.DataFrame:
    """Return `days_to_win`, `known_after` and `gone_after` of each row of `index`."""
    attribution = attributed(part.tables, config)
    until = part.tables.data_until
    # As if all were matured: which part of a horizon is over is asked later, instant by instant.
    labelled = label_snapshots(
        index, attribution, horizon_days, until + pd.Timedelta(days=2 * horizon_days)
    )
    recorded = attribution.drop_duplicates("opportunity_id").set_index("opportunity_id")
    known = labelled["opportunity_id"].map(recorded["closed_recorded_at"])
    known_after = (known - labelled["as_of"]).dt.total_seconds() / SECONDS_A_DAY
    days = labelled["days_to_win"]
    is_known = days.notna() & (labelled["as_of"] + pd.to_timedelta(days, unit="D") < until)
    return pd.DataFrame(
        {
            "days_to_win": np.where(is_known, days, np.nan),
            "known_after": np.where(is_known, np.maximum(known_after, days), np.nan),
            "gone_after": _gone_after(index, attribution),
        }
    )


def _gone_after(index: pd.DataFrame, attribution: pd.DataFrame) -> Floats:
    """Return the days until a win before `as_of` was recorded, NaN without such a win."""
    last_win = nearest_win(index, attribution, "backward", allow_exact_matches=False)
    late = (last_win["closed_recorded_at"] - index["as_of"]).dt.total_seconds() / SECONDS_A_DAY
    return np.asarray(late.where(late >= 0), dtype=np.float64)


def _by_week(instants: pd.Series, mondays: npt.NDArray[np.datetime64]) -> Floats:
    """Return how many instants lie in the week before each Monday, the week's start included."""
    number = _week_of(instants, mondays)
    inside = number[number >= 0]
    return np.bincount(inside, minlength=len(mondays)).astype(np.float64)


def _week_of(instants: pd.Series, mondays: npt.NDArray[np.datetime64]) -> npt.NDArray[np.int64]:
    """Return the number of the Monday that ends the week of each instant, -1 for none."""
    at = instants.to_numpy("datetime64[us]")
    number = np.searchsorted(mondays, at, side="right")
    is_inside = (number < len(mondays)) & (at >= mondays[0] - WEEK) & ~np.isnat(at)
    return np.where(is_inside, number, -1)


def _event_counts(tables: Tables, mondays: npt.NDArray[np.datetime64]) -> pd.DataFrame:
    events = tables.engagement_events
    number = _week_of(events["recorded_at"], mondays)
    kept = number >= 0
    names = events["event_type"].to_numpy(object)[kept]
    return pd.crosstab(number[kept], names).astype(np.float64)


def _verdicts(
    tables: Tables, component: pd.Series, mondays: npt.NDArray[np.datetime64]
) -> pd.DataFrame:
    verdicts = tables.verdicts
    number = _week_of(verdicts["recorded_at"], mondays)
    kept = (number >= 0) & verdicts["lead_id"].isin(component.index).to_numpy()
    rows = verdicts[kept]
    codes = rows["reason_code"] if "reason_code" in rows else pd.Series("", index=rows.index)
    return pd.DataFrame(
        {
            "monday": number[kept],
            "account": component.reindex(rows["lead_id"]).to_numpy(),
            "verdict": rows["verdict"].astype("str").to_numpy(),
            "reason_code": codes.astype("str").fillna("").to_numpy(),
        }
    )
