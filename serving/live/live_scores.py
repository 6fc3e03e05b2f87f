"""Scores of the leads of a request by one model, with reasons and what changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from features.config import PopulationConfig
from features.live import LiveSnapshots
from features.request_tables import likeness
from models.lead_scores import LeadScorer
from models.scorer import Scorer
from models.track import stage_feature, track_of
from serving.ledger.records import ModelRecord, PreviousScore, ScoreRecord
from serving.live.answers import Answer as Answer
from serving.live.answers import Timelines, new_score_id
from serving.live.changes import changes
from serving.live.crossing import crossing
from serving.live.placing import Asked, Placed, Scored, place_at_age, place_flat, place_leads
from serving.live.reads import Reads, Unread, is_of_flat_export
from serving.live.requests import RequestError, ScoreRequest
from serving.live.views import CommonView, View, flat_rows, population_of, row_of, rows_of

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
        [answer] = self.score_together([request], now, previous, older)
        if isinstance(answer, RequestError):
            raise answer
        return answer

    def score_together(
        self,
        requests: Sequence[ScoreRequest],
        now: int,
        previous: Mapping[str, PreviousScore],
        older: Callable[[str], LiveScorer | None],
    ) -> list[Answer | RequestError]:
        """Return what `score` returns, or raises, of each request: the same bits, in less time.

        No lead may be scored for two of them. Their rows are nobody's but their own request's.
        """
        answers: dict[int, Answer | RequestError] = {}
        alike: dict[Any, list[tuple[int, Asked]]] = {}
        for place, request in enumerate(requests):
            try:
                view, unread = self.view(request)
            except RequestError as error:
                answers[place] = error
            else:
                kind = likeness(view.tables)
                alike.setdefault(kind, []).append((place, Asked(request, view, unread)))
        for group in alike.values():
            found = self._score_alike([asked for _, asked in group], now, previous, older)
            answers |= zip((place for place, _ in group), found, strict=True)
        return [answers[place] for place in range(len(requests))]

    def _score_alike(
        self,
        requests: Sequence[Asked],
        now: int,
        previous: Mapping[str, PreviousScore],
        older: Callable[[str], LiveScorer | None],
    ) -> list[Answer | RequestError]:
        """Do what `score_together` does, of requests whose rows can be put together."""
        view = requests[0].view
        if len(requests) > 1:
            leads = [asked.request.lead_ids for asked in requests]
            view = CommonView([asked.view for asked in requests], leads)
        placed = [
            one if one.asked.unread.knows_standing else one._replace(is_eligible=False)
            for one in self._place(requests, view)
        ]
        if any([asked.request.require_complete for asked in requests]):  # noqa: C419
            _refuse_incomplete(placed)
            placed = [one for one in placed if one.asked.refused is None]
        compared = {
            one.lead_id: previous[one.lead_id]
            for one in placed
            if one.lead_id in previous and not one.asked.request.is_backfill
        }
        # What was known at the last scores is asked for in the same call.
        back = [(lead, before.as_of) for lead, before in compared.items()]
        n_leads = len(placed)
        found = view.features([*((one.lead_id, one.as_of) for one in placed), *back])
        features = rows_of(found, slice(0, n_leads)) if back else found
        may_qualify = [one.is_eligible and not one.asked.request.is_backfill for one in placed]
        scores = self.lead_scorer.score(*features, may_qualify)
        then = {lead: row_of(found, n_leads + row) for row, (lead, _) in enumerate(back)}
        scored: dict[int, list[Scored]] = {id(asked): [] for asked in requests}
        for row, one in enumerate(placed):
            scored[id(one.asked)].append(Scored(*one, features, row, scores[row]))
        answers: list[Answer | RequestError] = []
        for asked in requests:
            own = scored[id(asked)]
            again = [(one, compared[one.lead_id]) for one in own if one.lead_id in compared]
            changed = changes(self, asked, again, then, older) if again else {}
            answers.append(asked.refused or self._answer(asked, own, now, view, changed))
        return answers

    def _answer(
        self,
        asked: Asked,
        scored: Sequence[Scored],
        now: int,
        view: View,
        changed: Mapping[str, dict[str, Any]],
    ) -> Answer:
        """Return the answer to one request; `view`: of all that are scored with it."""
        request = asked.request
        crossed: dict[str, dict[str, Any]] = {}
        if request.crossing:
            crossed = {one.lead_id: crossing(self, asked.view, one, request) for one in scored}
        timelines = Timelines(request)
        records = [
            self._record(
                now, one,
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
        errors = request.slice.errors + asked.errors
        errors = sorted(errors, key=lambda error: int(error["index"])) if errors else errors
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
        return View(self.snapshots, rows, self.population), unread

    def _place(self, requests: Sequence[Asked], view: View) -> list[Placed]:
        age_days = self.scorer.facts.get("lead_age_days")
        if self.is_flat:
            return place_flat(requests, view)
        if age_days is not None:
            return place_at_age(requests, view, age_days, self.scorer.horizon_days)
        return place_leads(requests, view)

    def _record(self, now: int, placed: Scored, beside: Mapping[str, Any]) -> ScoreRecord:
        row, score = placed.row, placed.score
        request, unread = placed.asked.request, placed.asked.unread
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


def _refuse_incomplete(placed: Sequence[Placed]) -> None:
    """Refuse the requests that must be complete and are not."""
    lacking: dict[int, tuple[Asked, dict[str, None]]] = {}
    for one in placed:
        if one.asked.request.require_complete:
            _, names = lacking.setdefault(id(one.asked), (one.asked, {}))
            names |= dict.fromkeys(one.asked.unread.of(one.lead_id, one.account_id))
    problem = "is missing or cannot be read, and the model reads it"
    for asked, names in lacking.values():
        if names:
            asked.refused = RequestError(
                [{"where": f"tables.{name}", "problem": problem} for name in names]
            )
