"""The comparison by segment: which attributes, and model against rules in each of their values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.config import Config
from models.cutoff import Estimate
from training.comparison.figures import Side, paired
from training.examples import Examples
from training.replay import Replay
from training.segments import REPLAY_COLUMNS, replay_segment
from training.weekly import ScoredWeeks

MOST_SEGMENTS = 4
FEW_VALUES = range(3, 13)
"Fewer are flags, more are no segments."
MOST_VALUES = 8
NOT_KNOWN, OTHER = "(not known)", "(other)"


def segment_columns(examples: Examples, rows: np.ndarray, config: Config) -> tuple[str, ...]:
    """Return the category features to tell the comparison by: `[compare] segments`, else a choice.

    The choice: the source, then attributes of the company, then of the lead, that have 3 to 12
    values in the examples where the mask `rows` is true. At most four. Raises InputError for a
    setting that names no category feature, or one named like a column of the replay.
    """
    catalogue = examples.catalogue
    if config.compare.segments is not None:
        named = (
            replay_segment(catalogue, name, "[compare] segments")
            for name in config.compare.segments
        )
        return tuple(dict.fromkeys(named))  # "source" and "leads.source" are one
    attributes = [
        feature
        for feature in catalogue.features
        if feature.aggregation == "attribute" and feature.dtype == "category"
        and feature.name not in REPLAY_COLUMNS
    ]  # fmt: skip
    snapshots = examples.snapshots[rows]
    ranked = sorted(
        (f for f in attributes if snapshots[f.name].nunique() in FEW_VALUES),
        key=lambda f: (f.stream != "leads.source", not f.stream.startswith("accounts.")),
    )
    return tuple(feature.name for feature in ranked[:MOST_SEGMENTS])


@dataclass(frozen=True)
class Segment:
    """Model and rules among the leads of one value, at the cutoffs of the whole."""

    attribute: str
    value: str
    "`(not known)` where missing, `(other)` for all beyond the most frequent."
    model: dict[str, Estimate]
    rules: dict[str, Estimate]
    difference: dict[str, Estimate]


def compare_segments(
    weeks: ScoredWeeks,
    replays: tuple[Replay, Replay],
    sides: tuple[Side, Side],
    cutoff: float,
    threshold: float,
    bootstraps: int,
    seed: int,
) -> list[Segment]:
    """Return the comparison at `cutoff` and `threshold` by each value of each segment.

    An MQL is in the segment its lead had at that moment, a win in that of its leads' last week
    before it was created. Values by falling number of MQLs, those without any left out.
    """
    segments = []
    of_wins = _segments_of_wins(weeks)
    for attribute in weeks.segments:
        values = [_counted(replay)[attribute].fillna(NOT_KNOWN) for replay in replays]
        scored = replays[0].wins["best_before"].notna()
        ids = replays[0].wins.loc[scored, "opportunity_id"]
        won_values = of_wins[attribute].reindex(ids).fillna(NOT_KNOWN).to_numpy(object)
        crossing = [
            value[(side.previous < limit) & (limit <= side.reached)]
            for value, side, limit in zip(values, sides, (cutoff, threshold), strict=True)
        ]
        frequent = pd.concat(crossing).value_counts(sort=True)
        frequent = frequent.sort_index().sort_values(ascending=False, kind="stable")
        kept = list(frequent.index[:MOST_VALUES])
        grouped = [value.where(value.isin(kept), OTHER).to_numpy(object) for value in values]
        won_grouped = np.where(np.isin(won_values, kept), won_values, OTHER)
        for value in [*kept, OTHER] if len(frequent) > len(kept) else kept:
            model, rules = (
                side.only(group == value, won_grouped == value)
                for side, group in zip(sides, grouped, strict=True)
            )
            pair = paired(model, rules, cutoff, threshold, bootstraps, seed)
            segments.append(Segment(attribute, str(value), pair.model, pair.rules, pair.difference))
    return segments


def _counted(replay: Replay) -> pd.DataFrame:
    return replay.moments[~replay.moments["is_warm_up"]]


def _segments_of_wins(weeks: ScoredWeeks) -> pd.DataFrame:
    """Return the segments of each won opportunity, by its id."""
    columns = list(weeks.segments)
    rows = weeks.scored[["lead_id", "as_of", *columns]]
    found = pd.merge_asof(
        weeks.wins.sort_values("created_at", kind="stable"),
        rows.sort_values("as_of", kind="stable"),
        left_on="created_at",
        right_on="as_of",
        by="lead_id",
    )
    found = found[found["as_of"].notna()].sort_values(["opportunity_id", "lead_id"])
    return found.drop_duplicates("opportunity_id").set_index("opportunity_id")[columns]
