"""Scores of the leads of a request by one model, with reasons and what changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from features.config import PopulationConfig
from features.live import LiveSnapshots
from models.lead_scores import LeadScorer
from models.scorer import Scorer
from models.track import stage_feature, track_of
from serving.ledger.records import ModelRecord, PreviousScore, ScoreRecord
from serving.live.answers import Answer as Answer
from serving.live.answers import Timelines, new_score_id
from serving.live.changes import changes
from serving.live.crossing import crossing
from serving.live.placing import Placed, Scored, place_at_age, place_flat, place_leads
from serving.live.reads import Reads, Unread, is_of_flat_export
from serving.live.requests import RequestError, ScoreRequest
from serving.live.views import View, flat_rows, population_of, row_of, rows_of

TOLD = 5
"Reasons told of every score in the ledger, however few the caller asked for."


@dataclass(frozen=True)
class LiveScorer:
    """One model, ready to answer requests. Immutable: threads may share it."""

    scorer: Scorer
    version: str
    lead_scorer: LeadScorer
    model_record: ModelRecord
    snapshots: LiveSnapshots
    population: PopulationConfig
    reads: Reads
    is_flat: bool
    stage: str | None
    "The feature that holds the stage of the journey."

    @classmethod
    def of(
        cls, scorer: Scorer, version: str, digest: str, population: PopulationConfig
    ) -> LiveScorer:
        """Return the live scorer of a model; `digest` is its bundle's."""
        lead_scorer, catalogue = LeadScorer.of(scorer), scorer.catalogue
        snapshots = LiveSnapshots.of(catalogue)
        record = ModelRecord.of(lead_scorer, version, digest)
        return cls(
            scorer,
            version,
            lead_scorer,
            record,
            snapshots,
            population_of(catalogue, population),
            Reads.of(catalogue, snapshots.plans.event_columns),
            is_of_flat_export(catalogue),
            stage_feature(catalogue),
        )

    def score(
        self,
        request: ScoreRequest,
        now: int,
        previous: Mapping[str, PreviousScore],
        older: Callable[[str], LiveScorer | None],
    ) -> Answer:
        """Return the scores of the request's leads in the population, and an error for the rest.

        `previous`: the last score of each lead that has one; `older`: the model of a version, None
        if it is not to be had. Without the tables of STANDING no lead is eligible, so none is
        qualified; nor is one as of the past. Raises RequestError for a request of another kind than
        the model's, and for an incomplete one that says it must not be.
        """
        view, unread = self.view(request)
        placed, errors = self._place(request, view)
        if not unread.knows_standing:
            placed = [one._replace(is_eligible=False) for one in placed]
        if request.require_complete:
            _refuse_incomplete(unread, placed)
        compared = {} if request.is_backfill else previous
        # What was known at the last scores is asked for in the same call.
        back = [
            (one.lead_id, compared[one.lead_id].as_of) for one in placed if one.lead_id in compared
        ]
        n_leads = len(placed)
        found = view.features([*((one.lead_id, one.as_of) for one in placed), *back])
        features = rows_of(found, slice(0, n_leads)) if back else found
        may_qualify = [one.is_eligible and not request.is_backfill for one in placed]
        scores = self.lead_scorer.score(*features, may_qualify)
        scored = [Scored(*one, features, row, scores[row]) for row, one in enumerate(placed)]
        changed: dict[str, dict[str, Any]] = {}
        if back:
            then = {lead: row_of(found, n_leads + row) for row, (lead, _) in enumerate(back)}
            again = [(one, compared[one.lead_id]) for one in scored if one.lead_id in compared]
            changed = changes(self, view, request, again, then, older, unread.said)
        crossed: dict[str, dict[str, Any]] = {}
        if request.crossing:
            crossed = {one.lead_id: crossing(self, view, one, request) for one in scored}
        timelines = Timelines(request)
        records = [
            self._record(
                request, now, one, unread,
                {
                    "change": changed.get(one.lead_id),
                    "crossing": crossed.get(one.lead_id),
                    "timeline": timelines.of_lead(one.lead_id, one.as_of),
                    "recycled_at": view.recycled_at(one.lead_id, one.as_of),
                },
            )
            for one in scored
        ]  # fmt: skip
        places = [request.slice.places[one.lead_id] for one in scored]
        errors = sorted(request.slice.errors + errors, key=lambda error: int(error["index"]))
        return Answer(self.model_record, request.as_of, records, places, errors, request.reasons)

    def view(self, request: ScoreRequest) -> tuple[View, Unread]:
        """Return the request as this model sees it, and what it reads and the request lacks."""
        rows, unread = self.reads.rows(request.slice)
        if self.is_flat:
            rows = flat_rows(rows)
        elif request.is_flat:
            raise RequestError.at(
                "tables.leads[0].created_at", "is missing: the model reads when a lead was created"
            )
        return View.of(self.snapshots, rows, self.population), unread

    def _place(
        self, request: ScoreRequest, view: View
    ) -> tuple[list[Placed], list[dict[str, Any]]]:
        age_days = self.scorer.facts.get("lead_age_days")
        if self.is_flat:
            return place_flat(request, view)
        if age_days is not None:
            return place_at_age(request, view, age_days, self.scorer.horizon_days)
        return place_leads(request, view)

    def _record(
        self,
        request: ScoreRequest,
        now: int,
        placed: Scored,
        unread: Unread,
        beside: Mapping[str, Any],
    ) -> ScoreRecord:
        row, score = placed.row, placed.score
        numbers, categories = placed.features
        stage = None if self.stage is None else categories[self.stage][row] or ""
        return ScoreRecord(
            score_id=new_score_id(),
            lead_id=placed.lead_id,
            account_id=placed.account_id,
            as_of=placed.as_of,
            scored_at=now,
            model_version=self.version,
            source="api",
            is_backfill=request.is_backfill,
            is_eligible=placed.is_eligible,
            unknown=unread.of(placed.lead_id, placed.account_id),
            probability=score.probability,
            raw_score=score.raw_score,
            cutoff=score.cutoff,
            grade=score.grade,
            qualified=score.qualified,
            # with sales, for all one knows, is no lead of which nobody knows
            track=track_of(placed.is_eligible or not unread.knows_standing, score.qualified, stage),
            why=score.why(unread.said),
            numbers=np.array(numbers[row]),
            categories=tuple([categories[name][row] for name in self.model_record.categories]),
            log_odds=score.contributions,
            points=score.points,
            reasons=score.reasons(
                None if request.reasons is None else max(request.reasons, TOLD), unread.said
            ),
            **beside,
        )


def _refuse_incomplete(unread: Unread, placed: Sequence[Placed]) -> None:
    lacking = dict.fromkeys(
        name for one in placed for name in unread.of(one.lead_id, one.account_id)
    )
    if lacking:
        problem = "is missing or cannot be read, and the model reads it"
        raise RequestError([{"where": f"tables.{name}", "problem": problem} for name in lacking])
