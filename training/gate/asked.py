"""What the champion's own bundle says, of rows whose outcome it did not learn from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from features.catalogue.catalogue import Catalogue
from features.config import Config
from features.snapshots import mondays
from models.cutoff import Cutoff
from models.scorer import Scorer
from training.gate.snapshots import blocked_now, examples_by, lacking, snapshots_by
from training.gate.words import some
from training.retrain.recalibrated import FrozenFit
from training.scored_weeks import weeks_of_test
from training.weekly import ScoredWeeks

if TYPE_CHECKING:
    from training.candidate import Candidate, Prepared

DAY = pd.Timedelta(days=1)


@dataclass(frozen=True)
class Unseen:
    """Rows of the test part whose outcome the champion did not learn from."""

    since: pd.Timestamp
    "They start here."
    rows: np.ndarray
    "Mask of the examples."
    wins: int
    "Won accounts among them."
    told: str
    "Which leads these are, in words."
    leads: frozenset[str] | None = None
    "Only these leads; None: all."


@dataclass(frozen=True)
class Side:
    """What stood for the champion said of the test part."""

    probability: np.ndarray
    "One a row of the test part."
    weeks: ScoredWeeks
    "The test weeks, for its replay."
    cutoff: Cutoff | None
    "None: wherever it brings as many MQLs as the challenger's."


@dataclass(frozen=True)
class _Served:
    scorer: Scorer

    def probability(self, snapshots: pd.DataFrame) -> np.ndarray:
        return self.scorer.score(snapshots)["probability"].to_numpy()


def unseen_by(champion: Scorer, candidate: Candidate, prepared: Prepared) -> list[Unseen]:
    """Return what the champion can be asked about, the best first.

    Everything after its data ended: the strict rule. Else, nearer to its training, the leads that
    came after the newest row it learnt from. It knows older leads: a win of theirs may have told
    it, as the label of an earlier row, and to leave out only those that won would leave too few
    wins. A recalibrated champion's forest is the champion's, so what it may know of earlier rows
    it knows on both sides: all that matured since counts, and nothing else.
    """
    examples = prepared.examples
    if not examples.is_dated:
        return []
    fitted = candidate.evaluation.fitted
    if candidate.kind == "recalibrated" and isinstance(fitted, FrozenFit):
        since = pd.Timestamp(fitted.unseen_since)
        told = f"about leads from {since:%Y-%m-%d} on, whose outcome its trees never saw"
        return [_since(since, told, prepared)]
    found = []
    strict = _unseen_since(champion)
    if strict is not None:
        told = f"about leads from {strict:%Y-%m-%d} on, when its data ended"
        found.append(_since(strict, told, prepared))
    newest = champion.facts.get("window", {}).get("until")
    if newest is not None:
        since = pd.Timestamp(newest) + DAY
        told = f"about leads that came from {since:%Y-%m-%d} on, after the newest it learnt from"
        found.append(_since(since, told, prepared, _came(since, prepared)))
    return found


def _since(
    since: pd.Timestamp, told: str, prepared: Prepared, leads: frozenset[str] | None = None
) -> Unseen:
    examples = prepared.examples
    rows = prepared.split.is_test & (examples.as_of >= since.to_datetime64())
    if leads is not None:
        rows &= examples.snapshots["lead_id"].isin(leads).to_numpy()
    wins = len(np.unique(examples.account[rows & (examples.won > 0)]))
    return Unseen(since, rows, wins, told, leads)


def _came(since: pd.Timestamp, prepared: Prepared) -> frozenset[str]:
    """Return the leads that no row before `since` is of, thinned-out rows included."""
    examples = prepared.examples
    if prepared.tables is not None and examples.is_weekly:
        created = prepared.tables.leads.groupby("lead_id")["created_at"].min()
        return frozenset(created.index[created >= since])
    lead = examples.snapshots["lead_id"]
    return frozenset(lead) - frozenset(lead[examples.as_of < since.to_datetime64()])


def _unseen_since(champion: Scorer) -> pd.Timestamp | None:
    """Return from when on no snapshot was known to the champion, nor an outcome it learnt from.

    Bundles of before `data_until` was kept say when their newest matured snapshot was.
    """
    until = champion.facts.get("data_until")
    if until is not None:
        return pd.Timestamp(until) + pd.Timedelta(days=1)  # the fact names a day, not an instant
    newest = champion.facts.get("window", {}).get("until")
    if newest is None:
        return None
    return pd.Timestamp(newest) + pd.Timedelta(days=champion.horizon_days + 1)


def not_to_be_asked(champion: Scorer, prepared: Prepared) -> str:
    """Return in a sentence why the bundle's scores would say nothing, "" if they do."""
    missing = lacking(champion.catalogue, prepared)
    if missing:
        return f"The champion reads {some(missing)}, which the data no longer have."
    blocked = blocked_now(champion.catalogue, prepared)
    if blocked:
        return (
            f"The champion reads {some(blocked)}, which the leakage audit now blocks: it would "
            "look better on these rows than on new leads."
        )
    if champion.horizon_days != prepared.config.training.horizon_days:
        return "The champion predicts another horizon."
    return ""


def own_scores(champion: Scorer, prepared: Prepared, rows: np.ndarray) -> np.ndarray:
    """Return the champion's probability of the examples where the mask is true."""
    return _Served(champion).probability(snapshots_by(champion.catalogue, prepared, rows))


def asked(champion: Scorer, prepared: Prepared, unseen: Unseen) -> Side:
    """Return what the bundle says of the whole test part; its weeks are the unseen ones."""
    examples = examples_by(champion.catalogue, prepared)
    config = config_of(champion.catalogue, prepared.config, champion.cutoff.segment_by)
    served, split = _Served(champion), prepared.split
    weeks = weeks_of_test(examples, prepared.loaded.partitions, config, split, served, None)
    return Side(
        served.probability(examples.snapshots[split.is_test]),
        unseen_weeks(unseen, weeks, prepared),
        champion.cutoff,
    )


def config_of(catalogue: Catalogue, config: Config, cutoff_by: str | None) -> Config:
    """Return the settings without segments that `catalogue` does not have."""

    def held(name: str | None) -> str | None:
        is_there = any(
            name in (feature.name, feature.stream, feature.stream.partition(".")[2])
            for feature in catalogue.features
            if feature.dtype == "category"
        )
        return name if is_there else None

    return config.model_copy(
        update={
            "compare": config.compare.model_copy(update={"segments": ()}),
            "cutoff": config.cutoff.model_copy(update={"segment_by": held(cutoff_by)}),
            "training": config.training.model_copy(
                update={"calibrate_by": held(config.training.calibrate_by)}
            ),
        }
    )


def unseen_weeks(unseen: Unseen, weeks: ScoredWeeks, prepared: Prepared) -> ScoredWeeks:
    """Return the weeks of which neither model saw anything; those before warm the replay up."""
    since = unseen.since
    if unseen.leads is not None:
        weeks = replace(
            weeks,
            scored=weeks.scored[weeks.scored["lead_id"].isin(unseen.leads)].reset_index(drop=True),
            wins=weeks.wins[weeks.wins["lead_id"].isin(unseen.leads)],
        )
    if not prepared.examples.is_weekly:  # each lead is looked at once, so nothing to warm up
        scored = weeks.scored[weeks.scored["as_of"] >= since].reset_index(drop=True)
        own = weeks.wins[weeks.wins["lead_id"].isin(scored["lead_id"])]
        return replace(weeks, scored=scored, wins=own, start=max(since, weeks.start))
    if since <= weeks.start:
        return weeks
    first = mondays(since, weeks.until)[0]
    return replace(weeks, start=pd.Timestamp(first), first_week_is_backlog=False)
