"""The shape of a kept result: what its page needs, checked once when it is read."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import BaseModel, NonNegativeInt, PositiveInt, model_validator

Numbers = list[float | None]


class _Note(BaseModel):
    text: str


class _Alarm(_Note):
    advice: str
    since: str
    is_new: bool


class _Estimated(BaseModel):
    text: str


class _Month(BaseModel):
    month: str
    rows: int
    matured: float
    wins: float
    expected: float
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    log_loss: float | None
    auc: float | None


class _Course(BaseModel):
    mondays: list[date]
    reference: PositiveInt
    mean_probability: Numbers
    mqls: list[float]
    observed_wins: Numbers
    expected_wins: Numbers
    threshold: float
    evidence: dict[str, list[float]]
    events: dict[str, list[float]]
    drifted: dict[str, float]

    @model_validator(mode="after")
    def _is_of_its_weeks(self) -> _Course:
        weeks = len(self.mondays)
        # Wins and evidence are of weeks that have ended.
        at_most = weeks - self.reference
        if (
            self.reference > weeks
            or any(len(levels) != weeks for levels in self.events.values())
            or any(len(values) > at_most for values in self.evidence.values())
            or len(self.observed_wins) != len(self.expected_wins)
            or len({weeks, len(self.mean_probability), len(self.mqls)}) > 1
        ):
            raise ValueError("weeks that do not agree")
        return self


class LatestResult(BaseModel):
    """`Monitored.as_dict`, as far as the page and the report read it; more is no harm."""

    model_version: str
    in_use: Literal[True]
    data_until: str
    data_age: str | None
    trained_until: str
    weeks: NonNegativeInt
    alarms: list[_Alarm]
    notes: list[_Note]
    estimated: _Estimated | None
    months: list[_Month]
    course: _Course
