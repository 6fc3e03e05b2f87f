"""Scores and reasons of a few leads at a time, without pandas: what the API answers from.

The same arrays as in batch: `Scorer.score` and `models.reasons.reasons` give the same raw score and
probability to the last bit, and the same reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.catalogue.feature import Feature
from models.calibration import Floats, sigmoid_of_one
from models.concepts import Concepts
from models.encoding import require_columns
from models.reasons import CALIBRATION_TEXT, point_factor_of_one, why_text
from models.scorer import Scorer
from models.wording import missing_text, tell

Categories = Mapping[str, Sequence[str | None]]
"By feature name, one value a row."
Grading = tuple[float | None, tuple[tuple[float, str], ...]]
"A cutoff, and the lowest probability of each grade, from A down."

_NOTHING: Mapping[str, str] = {}
_MOST_SAID = 20_000


@dataclass(frozen=True, eq=False)
class LeadScorer:
    """A scorer with everything prepared once. It never changes, so threads may share it."""

    scorer: Scorer
    concepts: tuple[str, ...]
    "In catalogue order, the calibration's term last; so the families."
    families: tuple[str, ...]
    base_log_odds: float
    "Calibrated: where the reasons start from."
    base_probability: float
    _concepts: Concepts
    _calibrate: Callable[[float], float]
    _known: Mapping[str, frozenset[str]]
    "Values that the model knows of each category."
    _gradings: Mapping[str | None, Grading]
    "By segment; None: of all others."
    _said: dict[tuple[int, float | str], str] = field(default_factory=dict)
    "Values in words, by feature: most leads have viewed pricing twice, or came from the web."

    @classmethod
    def of(cls, scorer: Scorer) -> LeadScorer:
        """Return `scorer` prepared; the tables of its forest are built here."""
        scorer.forest.tables()
        concepts = Concepts.of(scorer.catalogue)
        calibrate = scorer.calibration.of_one()
        base = calibrate(scorer.base_raw_score)
        vocabularies = scorer.encoder.vocabularies
        cutoffs: dict[str | None, float | None] = {None: scorer.cutoff.value}
        cutoffs.update(scorer.cutoff.segments)
        return cls(
            scorer=scorer,
            concepts=concepts.names,
            families=concepts.families,
            base_log_odds=base,
            base_probability=sigmoid_of_one(base),
            _concepts=concepts,
            _calibrate=calibrate,
            _known={name: frozenset(values) for name, values in vocabularies.items()},
            _gradings={segment: _grading(scorer, value) for segment, value in cutoffs.items()},
        )

    @property
    def number_names(self) -> tuple[str, ...]:
        """The number features in catalogue order: the columns of `numbers`."""
        return self.scorer.encoder.number_columns

    @property
    def category_names(self) -> tuple[str, ...]:
        """The category features in catalogue order."""
        return self.scorer.encoder.category_columns

    def score(
        self,
        numbers: npt.NDArray[np.float32],
        categories: Categories,
        is_eligible: Sequence[bool],
        num_threads: int = 1,
    ) -> list[LeadScore]:
        """Return the score of each row; the threads change no bit of it.

        `numbers`: (rows, number_names), NaN where missing; `categories`: by feature name, None
        where missing, as `LiveSnapshots.features` returns them.
        """
        scorer, forest = self.scorer, self.scorer.forest
        matrix = scorer.encoder.transform_values(numbers, categories)
        raw = forest.raw_scores(matrix, num_threads).tolist()
        contributions = forest.contributions(matrix, num_threads)
        shifts = self._shifts(categories)
        if shifts is not None:
            column = scorer.encoder.columns.index(str(scorer.calibration.segment_by))
            contributions[:, column] += shifts
        log_odds, tellers = self._concepts.sums(contributions)
        segments = categories[scorer.cutoff.segment_by] if scorer.cutoff.segment_by else None
        return [
            self._lead_score(
                raw[row],
                0.0 if shifts is None else float(shifts[row]),
                log_odds[row],
                self._gradings.get(segments[row] if segments else None, self._gradings[None]),
                is_eligible[row],
                _Values(self, tellers[row], matrix[row], categories, row),
            )
            for row in range(len(matrix))
        ]

    def score_snapshots(self, snapshots: pd.DataFrame, num_threads: int = 1) -> list[LeadScore]:
        """Return the score of each of `snapshots`, in its order; InputError as in the encoder."""
        require_columns(snapshots, self.scorer.encoder.columns)
        numbers = snapshots[list(self.number_names)].to_numpy(np.float32)
        categories = {
            name: [value if isinstance(value, str) else None for value in snapshots[name].tolist()]
            for name in self.category_names
        }
        return self.score(numbers, categories, snapshots["is_eligible"].tolist(), num_threads)

    def _shifts(self, categories: Categories) -> Floats | None:
        calibration = self.scorer.calibration
        if calibration.segment_by is None:
            return None
        return calibration.shift(categories[calibration.segment_by])

    def _lead_score(
        self,
        raw: float,
        shift: float,
        contributions: Floats,
        grading: Grading,
        is_eligible: bool,
        values: _Values,
    ) -> LeadScore:
        calibrated = self._calibrate(raw)
        contributions[-1] = (calibrated - raw) - (self.base_log_odds - self.scorer.base_raw_score)
        log_odds = calibrated + shift
        probability = sigmoid_of_one(log_odds)
        cutoff, grades = grading
        return LeadScore(
            raw_score=raw,
            probability=probability,
            log_odds=log_odds,
            grade=next((grade for bound, grade in grades if probability >= bound), "D"),
            qualified=bool(is_eligible) and cutoff is not None and probability >= cutoff,
            cutoff=cutoff,
            contributions=contributions,
            points=contributions * point_factor_of_one(log_odds, self.base_log_odds),
            _values=values,
        )


@dataclass(frozen=True, slots=True)
class _Values:
    """What the reasons of one row are told from."""

    of: LeadScorer
    tellers: npt.NDArray[np.int32]
    "By concept: the feature that tells it."
    line: Floats
    "Of the matrix."
    categories: Categories
    row: int

    def text(self, concept: int, instead: Mapping[str, str]) -> str:
        """Return the reason of one concept in words."""
        column = int(self.tellers[concept])
        if column < 0:
            return CALIBRATION_TEXT
        feature: Feature = self.of.scorer.catalogue.features[column]
        known = self.of._known.get(feature.name)
        value: float | str | None
        if known is not None:
            value = self.categories[feature.name][self.row]
        else:
            number = float(self.line[column])
            value = None if number != number else number
        if value is None:
            return instead.get(feature.name) or missing_text(feature)
        said = self.of._said
        text = said.get((column, value))
        if text is None:
            text = tell(feature, value, known)
            if len(said) >= _MOST_SAID:
                said.clear()
            said[column, value] = text
        return text


@dataclass(slots=True)
class LeadScore:
    """The score of one lead and all its reasons."""

    raw_score: float
    probability: float
    log_odds: float
    "Calibrated."
    grade: str
    qualified: bool
    cutoff: float | None
    "Of the lead's segment; None: nobody qualifies."
    contributions: Floats
    "Log-odds of each concept, the calibration's last: they sum to `log_odds - base_log_odds`."
    points: Floats
    "The same in probability points: they sum to `probability - base_probability`."
    _values: _Values
    _order: list[int] | None = None
    _told: dict[int, str] = field(default_factory=dict)
    "Words of concepts, told with `_told_with`: `why` and `reasons` tell mostly the same."
    _told_with: Mapping[str, str] = field(default_factory=dict)

    def reasons(
        self, top: int | None = None, missing_text: Mapping[str, str] = _NOTHING
    ) -> list[dict[str, Any]]:
        """Return the `top` strongest reasons, strongest first, as JSON; None: all.

        `concept`, `family`, `text`, `points` and `log_odds`, as in `models.reasons.reasons`; the
        calibration's term is the last of all. `missing_text` holds what to say instead of a
        feature's own words for a missing value, by its name.
        """
        places = self._strongest()
        if top is None:
            places = [*places, len(self.points) - 1]
        of = self._values.of
        return [
            {
                "concept": of.concepts[place],
                "family": of.families[place],
                "text": self._text(place, missing_text),
                "points": float(self.points[place]),
                "log_odds": float(self.contributions[place]),
            }
            for place in places[:top]
        ]

    def text(self, concept: int, missing_text: Mapping[str, str] = _NOTHING) -> str:
        """Return the reason of one concept, by its place in `LeadScorer.concepts`, in words."""
        return self._values.text(concept, missing_text)

    def why(self, missing_text: Mapping[str, str] = _NOTHING) -> str:
        """Return the strongest reasons as one text for a CRM field, at most 255 characters.

        Reasons of the same `missing_text` are told once, with their points together.
        """
        places = self._strongest()
        if missing_text:
            return self._why_of_incomplete(places, missing_text)
        return why_text(
            (self._text(place, missing_text) for place in places),
            (float(self.points[place]) for place in places),
        )

    def _why_of_incomplete(self, places: Sequence[int], missing_text: Mapping[str, str]) -> str:
        """Return `why` where features are missing, which all share a few texts."""
        names, tellers = self._values.of.scorer.encoder.columns, self._values.tellers.tolist()
        points, together = self.points.tolist(), dict[str, float]()
        told: list[tuple[int | str, float]] = []
        for place in places:
            text = missing_text.get(names[tellers[place]])
            if text:
                together[text] = together.get(text, 0.0) + points[place]
            else:
                told.append((place, points[place]))
        told = sorted([*told, *together.items()], key=lambda reason: -abs(reason[1]))
        return why_text(
            (one if isinstance(one, str) else self._text(one, missing_text) for one, _ in told),
            (amount for _, amount in told),
        )

    def _text(self, place: int, missing_text: Mapping[str, str]) -> str:
        if missing_text is not self._told_with:
            self._told, self._told_with = {}, missing_text
        text = self._told.get(place)
        if text is None:
            text = self._told[place] = self._values.text(place, missing_text)
        return text

    def _strongest(self) -> list[int]:
        """Return the concepts that say anything, strongest first, ties in catalogue order."""
        if self._order is None:
            order = np.argsort(-np.abs(self.points[:-1]), kind="stable")
            self._order = order[self.contributions[order] != 0].tolist()
        return self._order


def _grading(scorer: Scorer, cutoff: float | None) -> Grading:
    value = np.inf if cutoff is None else cutoff
    bounds = scorer.cutoff.grade_bounds(scorer.base_rate, value)
    return cutoff, tuple((bound, grade) for grade, bound in bounds.items())
