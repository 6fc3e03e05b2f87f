"""Checked tables in parts that fit in memory: whole account components, each part complete.

Small data are one part, in memory. Larger ones lie in parts in `.closedwon/partitions/`, until data
that differ are loaded. Nothing that is computed depends on how many parts there are.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from features.catalogue.contents import Contents, contents_of, merged_contents
from features.config import Config, PopulationConfig
from features.facts.components import account_components
from features.facts.histories import Int64s
from features.facts.identity import know_people
from features.facts.opportunities import outcome_notes, silence_notes, unattributed_wins
from features.facts.records import AccountFrom
from features.loading.load_report import LoadReport, Note
from features.loading.sources import REQUIRED, CheckedSources, checked_sources, fetch_tables
from features.parts.local_folders import Held, folder_aside, remove_unused
from features.parts.part_results import PartResults
from features.parts.placing import EVENT_BYTES, LEAD_BYTES, LEAD_WEEK_BYTES, place_rows
from features.parts.spilling import Manifest, read_part, write_parts
from features.tables import CONTRACT, Tables

FOLDER = "partitions"
PART_SHARE = 0.4
"Share of `data.memory_gb` that a part may need; the rest is the program, and what it computes."


@dataclass(frozen=True)
class Part:
    """Some whole account components: tables that need no row of another part."""

    number: int
    tables: Tables
    lead_codes: Int64s
    "The rank of each of its leads, in the order of their ids, among the leads of all parts."

    def account_components(self, account_from: AccountFrom) -> pd.Series:
        """Return by lead id the component it belongs to: the code of the component's first lead."""
        component = account_components(know_people(self.tables, account_from))
        _, first, of_lead = np.unique(component, return_index=True, return_inverse=True)
        return pd.Series(self.lead_codes[first][of_lead], index=component.index, name="component")


@dataclass(frozen=True)
class Partitions:
    """All parts of the checked tables, to iterate over, and what is known of them together."""

    data_until: pd.Timestamp
    present: frozenset[str]
    current_state: frozenset[str]
    digest: str
    "Of the checked tables, of all settings that the parts depend on, and of the code."
    whole: Tables | None
    "All rows, where they fit in memory."
    held: Held | None
    "The folder of the parts, where they do not."

    @classmethod
    def of(cls, tables: Tables | Partitions) -> Partitions:
        """Return `tables` as a single part, in memory; parts as they are."""
        if isinstance(tables, Partitions):
            return tables
        return cls(tables.data_until, tables.present, tables.current_state, "", tables, None)

    def __len__(self) -> int:
        """Return how many parts there are, at least one."""
        return self.manifest.parts

    def __iter__(self) -> Iterator[Part]:
        """Yield the parts, read one after the other."""
        return (self.part(number) for number in range(len(self)))

    def overview(self) -> Tables:
        """Return all rows but those of events: of these the first part's, a fair sample."""
        first = self.part(0).tables
        if len(self) == 1:
            return first
        parts = [first, *(self.part(number).tables for number in range(1, len(self)))]
        whole = {
            name: pd.concat([getattr(part, name) for part in parts], ignore_index=True)
            for name in CONTRACT
            if name not in ("engagement_events", "campaign_costs")  # the costs are in every part
        }
        return replace(first, **whole)

    def part(self, number: int) -> Part:
        """Return one part."""
        if self.held is None:
            assert self.whole is not None
            return Part(0, self.whole, np.arange(self.whole.leads["lead_id"].nunique()))
        frames, lead_codes = read_part(self.held.path, number)
        tables = Tables(
            **frames,
            data_until=self.data_until,
            present=self.present,
            current_state=self.current_state,
        )
        return Part(number, tables, lead_codes)

    @cached_property
    def manifest(self) -> Manifest:
        """What is known of all parts together."""
        if self.held is not None:
            return Manifest.read(self.held.path)
        assert self.whole is not None
        contents = contents_of(self.whole, self.data_until)
        return Manifest(1, self.whole.leads["created_at"].min(), contents, ())

    def results(self, kind: str, inputs: object) -> PartResults:
        """Return where results of `kind` are kept, which depend on `inputs` and on the parts."""
        folder = None if self.held is None else self.held.path
        return PartResults(folder, kind, f"{self.digest} {inputs!r}")


@dataclass(frozen=True)
class LoadedPartitions:
    """The parts, what was found while loading them, and a digest of each table."""

    partitions: Partitions
    report: LoadReport
    digests: dict[str, str]
    "As of LoadedTables: they do not depend on the parts."


def load_partitions(
    config: Config,
    folder: Path,
    local: Path,
    *,
    required: tuple[str, ...] = REQUIRED,
    now: pd.Timestamp | None = None,
    rejects_folder: Path | None = None,
    least_parts: int = 1,
) -> LoadedPartitions:
    """Return the tables that `load_tables` returns, in parts that fit in `data.memory_gb`.

    Parts on disk are in `local`/partitions, and found there again when the same tables are loaded;
    those of other tables are removed. More than one of `least_parts` puts even small data there.
    """
    with (
        folder_aside(local) as aside,
        checked_sources(
            config, folder, aside, required=required, now=now, rejects_folder=rejects_folder
        ) as checked,
    ):
        if least_parts == 1 and _bytes_needed(checked) <= _part_bytes(config):
            tables = fetch_tables(checked)
            notes = outcome_notes(tables, config.population)
            parts = Partitions.of(tables)
        else:
            parts = spilled(checked, config, local, aside, least_parts)
            notes = list(parts.manifest.notes)
    return LoadedPartitions(parts, checked.report.with_notes(notes), checked.digests)


def code_digest(*packages: str) -> str:
    """Return the sha256 of the source of `packages`: results of other code are not used again."""
    digest = hashlib.sha256()
    for package in packages:
        found = find_spec(package)
        assert found is not None and found.origin is not None
        root = Path(found.origin).parent
        for path in sorted(root.rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _part_bytes(config: Config) -> float:
    return PART_SHARE * config.data.memory_gb * 1e9


def _bytes_needed(checked: CheckedSources) -> float:
    """Return about how many bytes all rows need as a single part."""
    found = checked.connection.execute(
        "select (select count(*) from kept_engagement_events), count(*),"
        f" sum(greatest(0, date_diff('day', created_at, timestamp '{checked.data_until}') // 7))"
        " from kept_leads"
    ).fetchone()
    assert found is not None
    events, leads, weeks = found
    return float(events * EVENT_BYTES + leads * LEAD_BYTES + (weeks or 0) * LEAD_WEEK_BYTES)


def spilled(
    checked: CheckedSources, config: Config, local: Path, aside: Path, least_parts: int
) -> Partitions:
    """Return the parts on disk, in `local`/partitions, written there unless they are there already.

    They are written in the folder `aside`, where the connection may write, and renamed when whole.
    """
    population = config.population
    parts = place_rows(
        checked.connection,
        population.account_from,
        checked.data_until,
        _part_bytes(config),
        least_parts,
    )
    inputs = [
        sorted(checked.digests.items()),
        checked.data_until.isoformat(),
        sorted(checked.current_state),
        population.account_from,
        population.attribution_days,
        parts,
        code_digest("features"),
    ]
    digest = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()
    home = local / FOLDER
    home.mkdir(mode=0o700, exist_ok=True)  # these are people's data
    place = home / digest[:16]
    remove_unused(found for found in home.iterdir() if found != place)

    def opened(folder: Path) -> Partitions:
        return Partitions(
            checked.data_until,
            checked.present,
            checked.current_state,
            digest,
            None,
            Held(folder),
        )

    if not place.exists():
        written = aside / FOLDER
        written.mkdir()
        write_parts(checked.connection, written)
        _survey(opened(written), parts, population).write(written)
        try:
            written.rename(place)
        except OSError:
            if not place.exists():  # else another run on the same tables was first
                raise
    return opened(place)


def _survey(unread: Partitions, parts: int, population: PopulationConfig) -> Manifest:
    """Return what is known of all parts together, from reading each once."""
    contents: list[Contents] = []
    created, closed = [], []
    wins: Counter[str] = Counter()
    for part in (unread.part(number) for number in range(parts)):
        contents.append(contents_of(part.tables, unread.data_until))
        created.append(part.tables.leads["created_at"].min())
        closed.append(part.tables.opportunities["closed_recorded_at"].max())
        for note in unattributed_wins(part.tables, population):
            wins[note.text] += note.count
    notes = [
        Note("unattributed_win", count, text)
        for text, count in sorted(wins.items(), key=lambda each: (-each[1], each[0]))
    ]
    notes += silence_notes(pd.Series(closed).max(), unread.data_until)
    return Manifest(parts, min(created), merged_contents(contents), tuple(notes))
