"""A champion ready to answer, opened from its bundle, and the note of the last good one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from features.config import PopulationConfig
from features.errors import InputError
from features.outputs import written_aside
from models.bundle import bundle_digest, open_bundle, read_manifest
from models.lead_scores import LeadScorer
from serving.ledger.records import ScoreRecord
from serving.live.live_scores import LiveScorer
from serving.live.requests import RequestError, parse_request

# A sum in another order may differ in the last digits, a wrong model by far more.
_TOLERANCE = 1e-9
_WARM_UP_AT = 1_700_000_000_000_000
_WARM_UP = b"""{"tables": {
 "leads": [{"lead_id": "1", "created_at": "2023-01-02", "account_id": "2"}],
 "accounts": [{"account_id": "2"}],
 "engagement_events": [{"lead_id": "1", "event_type": "visit", "occurred_at": "2023-01-03"}],
 "opportunities": [], "opportunity_leads": [], "stage_changes": []}}"""


@dataclass(frozen=True)
class Champion:
    """One model version with all that the API tells of it; never changed, only replaced."""

    version: str
    digest: str
    "sha256 of the bundle's manifest."
    folder: Path
    live: LiveScorer
    manifest: dict[str, Any]
    comparison: dict[str, Any] | None
    "Model and rules at every cutoff; None for a bundle without."

    @classmethod
    def open(
        cls, folder: Path, version: str, digest: str, population: PopulationConfig
    ) -> Champion:
        """Return the champion in `folder` after checking digests and golden rows, warmed up.

        Raises InputError for a bundle that is damaged or not the one with this digest, and any
        other error for one that was sealed damaged.
        """
        manifest = read_manifest(folder)
        if bundle_digest(folder) != digest:
            raise InputError(f"The bundle {folder} is not the one that was checked.")
        live = LiveScorer.of(open_bundle(folder), version, digest, population)
        rescore(live.lead_scorer, _read(folder / "golden.json"))
        _warm_up(live)
        kept = folder / "comparison.json"
        comparison = _read(kept) if kept.is_file() else None
        return cls(version, digest, folder, live, manifest, comparison)

    @cached_property
    def _vocabularies(self) -> tuple[tuple[str, frozenset[str]], ...]:
        vocabularies = self.live.scorer.encoder.vocabularies
        names = self.live.lead_scorer.category_names
        return tuple((name, frozenset(vocabularies[name])) for name in names)

    @cached_property
    def event_types(self) -> frozenset[str]:
        """The event types that the model tells apart from others, or knew from the start."""
        catalogue = self.live.scorer.catalogue
        grouped = (name for group in catalogue.groups for name in group.event_types)
        return frozenset((*catalogue.own_types, *catalogue.other_types, *grouped))

    def unknown_categories(self, records: Sequence[ScoreRecord]) -> list[str]:
        """Return the feature of each value that training has not seen."""
        return [
            name
            for record in records
            for value, (name, known) in zip(record.categories, self._vocabularies, strict=True)
            if value is not None and value not in known
        ]


def rescore(lead_scorer: LeadScorer, golden: dict[str, Any]) -> None:
    """Score a bundle's golden rows as requests are; InputError unless they come out as expected."""
    columns, expected = golden["columns"], golden["expected"]
    numbers = np.array(
        [
            [np.nan if value is None else value for value in columns[name]]
            for name in lead_scorer.number_names
        ],
        dtype=np.float32,
    ).T
    categories = {name: columns[name] for name in lead_scorer.category_names}
    scores = lead_scorer.score(numbers, categories, golden["is_eligible"])
    raw = [score.raw_score for score in scores]
    grades = [score.grade for score in scores]
    is_close = np.allclose(raw, expected["raw_score"], rtol=_TOLERANCE, atol=_TOLERANCE)
    if not is_close or grades != expected["grade"]:
        raise InputError("The model does not give its golden rows the expected scores.")


def _warm_up(live: LiveScorer) -> None:
    """Answer a made-up request, so that the first real one finds every kernel loaded."""
    with suppress(RequestError):  # a model of a flat export reads other columns
        asked = parse_request(_WARM_UP, _WARM_UP_AT)
        live.score(asked, _WARM_UP_AT, {}, lambda _: None).to_json()


def remember(champion: Champion, model_name: str, path: Path) -> None:
    """Note the champion as the last good one, to be served at once by the next start."""
    note = {"model_name": model_name, "version": champion.version, "digest": champion.digest,
            "folder": str(champion.folder)}  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as aside:
        aside.write_text(json.dumps(note), encoding="utf-8")


def last_good(model_name: str, path: Path) -> dict[str, str] | None:
    """Return version, digest and folder of the last good champion of this name, if any is noted."""
    try:
        note = _read(path)
        if note["model_name"] != model_name:
            return None
        return {name: str(note[name]) for name in ("version", "digest", "folder")}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
