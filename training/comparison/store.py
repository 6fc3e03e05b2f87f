"""The evaluation's scored weeks on disk, to compare the model with other rules later.

The shipped model was refitted on all matured rows, so it must not be replayed on the past: only the
evaluation's scores tell how it does on leads it never saw. They are kept with the run.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from features.catalogue.catalogue import INDEX_COLUMNS, Catalogue
from features.config import Config
from features.errors import InputError
from features.loading.flat import load_flat
from features.parts.partitions import Partitions, load_partitions
from features.snapshots import Past
from models.cutoff import Cutoff
from models.registry import connect, store_errors, tracking_uri
from training.comparison.comparison import compare_weeks
from training.comparison.record import comparison_record, rules_digest
from training.examples import examples_from_flat
from training.run_files import run_file
from training.steps import Steps
from training.weekly import ScoredWeeks

if TYPE_CHECKING:
    from models.rules import RulesScorer
    from models.rules_table import RulesTable

EVALUATION = "evaluation"
"Folder of the run's artifacts."
_PERIODS = ("past", "test")
_WEEKS = "weeks.json"


@dataclass(frozen=True)
class StoredWeeks:
    """What an evaluation scored."""

    past: ScoredWeeks
    test: ScoredWeeks
    cutoff: Cutoff
    "The model's, as the evaluation set it."


def write_weeks(stored: StoredWeeks, folder: Path) -> None:
    """Write the scored weeks to `folder`: Parquet files and `weeks.json`. Points are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    about: dict[str, Any] = {"cutoff": TypeAdapter(Cutoff).dump_python(stored.cutoff)}
    for name in _PERIODS:
        weeks: ScoredWeeks = getattr(stored, name)
        rows = weeks.scored.drop(columns="points", errors="ignore")
        rows.to_parquet(folder / f"{name}.parquet", index=False, compression="zstd")
        weeks.wins.to_parquet(folder / f"{name}_wins.parquet", index=False, compression="zstd")
        about[name] = {
            "start": weeks.start.isoformat(),
            "until": weeks.until.isoformat(),
            "first_week_is_backlog": weeks.first_week_is_backlog,
            "is_dated": weeks.is_dated,
            "segments": list(weeks.segments),
        }
    (folder / _WEEKS).write_text(json.dumps(about, sort_keys=True), encoding="utf-8")


def read_weeks(folder: Path) -> StoredWeeks:
    """Return what `write_weeks` wrote."""
    about = json.loads((folder / _WEEKS).read_text(encoding="utf-8"))
    found = {}
    for name in _PERIODS:
        told = about[name]
        found[name] = ScoredWeeks(
            scored=_read(folder / f"{name}.parquet"),
            wins=_read(folder / f"{name}_wins.parquet"),
            start=pd.Timestamp(told["start"]),
            until=pd.Timestamp(told["until"]),
            first_week_is_backlog=told["first_week_is_backlog"],
            is_dated=told["is_dated"],
            segments=tuple(told["segments"]),
        )
    cutoff = TypeAdapter(Cutoff).validate_python(about["cutoff"])
    return StoredWeeks(found["past"], found["test"], cutoff)


def _read(path: Path) -> pd.DataFrame:
    rows = pd.read_parquet(path)
    texts = [name for name in rows if pd.api.types.is_object_dtype(rows[name])]
    instants = {name: "datetime64[us]" for name in ("as_of", "created_at") if name in rows}
    return rows.astype({**dict.fromkeys(texts, "str"), **instants})


def fetch_weeks(version: str, config: Config, root: Path) -> StoredWeeks:
    """Return what the evaluation of a registered version scored, from its run's artifacts.

    Raises InputError for a version whose run kept none.
    """
    client = connect(config.tracking, root)
    with store_errors(tracking_uri(config.tracking, root)):
        run = client.get_model_version(config.tracking.model_name, version).run_id
    with tempfile.TemporaryDirectory(prefix="closedwon-") as aside:
        kept = run_file(run, EVALUATION, config.tracking, root, Path(aside))
        if kept is None:
            raise InputError(
                f"Version {version} of {config.tracking.model_name} kept no scored weeks to "
                "compare other rules on. Train again: closedwon train"
            )
        return read_weeks(kept)


def compare_other_rules(
    version: str,
    catalogue: Catalogue,
    table: RulesTable,
    config: Config,
    folder: Path,
    root: Path,
    steps: Steps,
) -> dict[str, Any]:
    """Return the record of a version's evaluation against other rules, `catalogue` its own.

    Only the rules are computed, on the same leads in the same weeks: snapshots are built again from
    the data in `folder`. Leads that are no longer in the data are left out, and counted as
    `leads_left_out`. Raises InputError where those are more than half.
    """
    from models.rules import RulesScorer

    rules = RulesScorer.of(table, catalogue)
    with steps("weeks"):
        stored = fetch_weeks(version, config, root)
    with steps("load"):
        index = pd.concat([stored.past.scored, stored.test.scored])[["lead_id", "as_of"]]
        if config.flat is not None:
            found = flat_points(config, folder, rules)
        else:
            local = root / ".closedwon"
            partitions = load_partitions(config, folder, local).partitions
            found = weekly_points(partitions, catalogue, index, rules)
    leads = set(index["lead_id"])
    require_leads(len(leads & set(found.points["lead_id"])), len(leads), folder, version)
    with steps("compare"):
        (past, gone), (test, gone_too) = (
            _with_points(weeks, found.points) for weeks in (stored.past, stored.test)
        )
        compared = compare_weeks(past, test, stored.cutoff, rules.threshold, config)
    record = comparison_record(replace(compared, notes=found.notes), rules_digest(table))
    return {**record, "leads_left_out": len(gone | gone_too)}


def require_leads(found: int, leads: int, folder: Path, version: str) -> None:
    """Raise InputError where the data hold too few of the leads that were scored."""
    if 2 * found < leads or not found:
        raise InputError(
            f"The data in {folder} hold {found:,} of the {leads:,} leads that version {version} "
            "was evaluated on; at least half are needed to compare it with other rules. Name the "
            "data of its training with --data."
        )


@dataclass(frozen=True)
class RulesPoints:
    """What rules give the leads of an evaluation, from snapshots built again."""

    points: pd.DataFrame
    "lead_id, as_of, points"
    notes: tuple[str, ...]
    "What may be a slip in the rules, as these snapshots show."


def weekly_points(
    tables: Partitions, catalogue: Catalogue, index: pd.DataFrame, rules: RulesScorer
) -> RulesPoints:
    """Return the points of every row of `index` whose lead is in the tables."""
    parts, witnesses = [index.iloc[:0].assign(points=0.0)], []
    for part in Partitions.of(tables):
        leads = part.tables.leads["lead_id"].unique()
        rows = index[index["lead_id"].isin(leads)].drop_duplicates(["lead_id", "as_of"])
        if rows.empty:
            continue
        rows = rows.sort_values(["as_of", "lead_id"], ignore_index=True)
        rows = rows.assign(account_id=pd.array([None] * len(rows), dtype="str"), is_eligible=True)
        snapshots = Past.of(part.tables, catalogue).snapshots(rows[list(INDEX_COLUMNS)])
        parts.append(snapshots[["lead_id", "as_of"]].assign(points=rules.points(snapshots)))
        witnesses.append(rules.witnesses(snapshots))
    notes = rules.notes(pd.concat(witnesses, ignore_index=True)) if witnesses else ()
    return RulesPoints(pd.concat(parts, ignore_index=True), notes)


def flat_points(config: Config, folder: Path, rules: RulesScorer) -> RulesPoints:
    """Return the points of every lead of a flat export."""
    examples = examples_from_flat(load_flat(config, folder), config)
    snapshots = examples.snapshots
    as_of = snapshots["as_of"].to_numpy() if examples.is_dated else np.datetime64(0, "us")
    points = snapshots[["lead_id"]].assign(as_of=as_of, points=rules.points(snapshots))
    points = points.astype({"as_of": "datetime64[us]"}).drop_duplicates(["lead_id", "as_of"])
    return RulesPoints(points, rules.notes(snapshots))


def _with_points(weeks: ScoredWeeks, points: pd.DataFrame) -> tuple[ScoredWeeks, set[str]]:
    """Return the weeks with points, and the leads that have none and were left out."""
    both = weeks.scored.drop(columns="points", errors="ignore").merge(
        points, on=["lead_id", "as_of"], how="left", validate="many_to_one"
    )
    is_there = both["points"].notna()
    gone = set(both.loc[~is_there, "lead_id"])
    return replace(weeks, scored=both[is_there].reset_index(drop=True)), gone
