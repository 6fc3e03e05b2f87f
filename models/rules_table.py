"""`rules.toml`: the points table as marketing keeps it, read and checked."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from features.errors import InputError

DEFAULT_GRADES = (0.75, 0.5, 0.25)
"Share of the most points a section can give from which a lead has each grade but the lowest."


def _in_tenths(points: float) -> float:
    if abs(round(points, 1) - points) > 1e-9:
        raise ValueError("points are counted in tenths; give at most one decimal")
    return round(points, 1)


def _on_one_line(name: str) -> str:
    if not name.isprintable() or not name.strip():
        raise ValueError("a name is one line of text")
    return name.strip()


# Strict, so that neither `points = "15"` nor `points = true` becomes a number in silence.
Number = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-1e9, le=1e9)]
Points = Annotated[Number, AfterValidator(_in_tenths)]
Days = Annotated[int, Field(strict=True, gt=0)]
Name = Annotated[str, Field(strict=True, max_length=100), AfterValidator(_on_one_line)]


class _Entry(BaseModel):
    """A part of the table: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Condition(_Entry):
    """Which leads a line of the table is about. A missing value meets no condition but `missing`.

    An event without `at_least` or `below` asks whether it happened at all in the window.
    """

    name: Name
    "How marketing calls it, e.g. `Viewed pricing`: the start of the reason's text."
    feature: Annotated[str, Field(strict=True)] | None = None
    "A feature of the catalogue, or an attribute as `leads.column` or `accounts.column`."
    event: Annotated[str, Field(strict=True)] | None = None
    "An event type or a group of types, counted in `window_days` or fading by `half_life_days`."
    window_days: Days | None = None
    half_life_days: Days | None = None
    one_of: tuple[Annotated[str, Field(strict=True)], ...] | None = Field(default=None, alias="in")
    "For categories: any of these, exactly as the data write them."
    at_least: Number | None = None
    below: Number | None = None
    "For numbers. Both together: from `at_least` up to, but not, `below`."
    missing: Annotated[bool, Field(strict=True)] = False
    "Whether leads whose value is not known meet it too."

    @property
    def is_any(self) -> bool:
        """Whether nothing is asked of the value."""
        return self.one_of is None and self.at_least is None and self.below is None

    @model_validator(mode="after")
    def _can_be_met(self) -> Condition:
        if (self.feature is None) == (self.event is None):
            raise ValueError("give either feature or event")
        is_counted = (self.window_days is None) != (self.half_life_days is None)
        if self.event is not None and not is_counted:
            raise ValueError("an event is counted: give either window_days or half_life_days")
        if self.feature is not None and (self.window_days or self.half_life_days):
            raise ValueError("window_days and half_life_days belong to event, not to feature")
        if self.event is not None and (self.one_of is not None or self.missing):
            raise ValueError("an event is a count: say at_least or below, not in or missing")
        if self.one_of is not None and (
            not self.one_of or len(set(self.one_of)) < len(self.one_of)
        ):
            raise ValueError("in needs at least one value, and each once")
        if self.one_of is not None and not (self.at_least is None and self.below is None):
            raise ValueError("in is for categories, at_least and below are for numbers: choose")
        if self.at_least is not None and self.below is not None and self.at_least >= self.below:
            raise ValueError(
                f"nothing is at least {self.at_least:g} and below {self.below:g}; change one"
            )
        return self

    def _asks_something(self) -> None:
        if self.feature is not None and self.is_any and not self.missing:
            raise ValueError("a feature needs in, at_least, below or missing = true")
        if self.half_life_days is not None and self.is_any:
            raise ValueError("a fading count never ends: give at_least, or window_days instead")


class Disqualifier(Condition):
    """Who is never an MQL, whatever the points."""

    @model_validator(mode="after")
    def _is_a_question(self) -> Disqualifier:
        self._asks_something()
        return self


class Rule(Condition):
    """Points for each lead that meets the condition, or for each time."""

    points: Points | None = None
    points_each: Points | None = None
    "Per count of the event, or per unit of a number; a value below 0 counts as 0."
    cap: Points | None = None
    "The most that `points_each` can add up to; for negative points the lowest."

    @model_validator(mode="after")
    def _gives_points(self) -> Rule:
        if (self.points is None) == (self.points_each is None):
            raise ValueError("give either points or points_each")
        if not (self.points or self.points_each):
            raise ValueError("0 points change nothing: remove the rule")
        if self.points_each is None:
            self._asks_something()
            if self.cap is not None:
                raise ValueError("a cap belongs to points_each")
        elif not self.is_any or self.missing:
            raise ValueError("points_each counts everything: use points with in, at_least, below")
        elif self.cap is not None and self.cap / self.points_each < 1:
            raise ValueError(
                f"the cap of {self.cap:g} does not leave room for {self.points_each:g} points once"
            )
        return self

    @property
    def limit(self) -> float:
        """The most points, or for a negative rule the lowest, that it can give one lead."""
        if self.points_each is None:
            return self.points or 0.0
        return math.copysign(math.inf, self.points_each) if self.cap is None else self.cap


class Section(_Entry):
    """Rules that share a maximum and a grade."""

    max: Annotated[Points, Field(gt=0)] | None = None
    "Most that the positive points add up to; negative points are then taken off in full."
    grades: dict[str, Points] | None = None
    "Least points of each grade but the lowest; 75%, 50% and 25% of the most unless set."
    rules: tuple[Rule, ...] = ()

    @property
    def reach(self) -> float:
        """The most points a lead can have, were every rule met."""
        most = sum(rule.limit for rule in self.rules if rule.limit > 0)
        return most if self.max is None else min(most, self.max)

    def grade_bounds(self) -> tuple[float, ...]:
        """Return the least points of the three upper grades, best first."""
        if self.grades is not None:
            return tuple(self.grades.values())
        return tuple(share * self.reach for share in DEFAULT_GRADES)


class RulesTable(_Entry):
    """The whole file."""

    mql_threshold: Annotated[Points, Field(gt=0)]
    "Points from which an eligible lead is an MQL."
    fit: Section = Section()
    "Who they are; graded A to D."
    engagement: Section = Section()
    "What they did; graded 1 to 4."
    disqualify: tuple[Disqualifier, ...] = ()

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Every line: of fit, engagement, then the disqualifiers."""
        return (*self.fit.rules, *self.engagement.rules, *self.disqualify)

    @model_validator(mode="after")
    def _is_possible(self) -> RulesTable:
        names = [condition.name for condition in self.conditions]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f'two rules are named "{twice[0]}"; every name must be another')
        _check_grades("fit", self.fit, "ABC")
        _check_grades("engagement", self.engagement, "123")
        reach = self.fit.reach + self.engagement.reach
        if self.mql_threshold > reach:
            raise ValueError(
                f"mql_threshold is {self.mql_threshold:g}, but the sections reach at most"
                f" {reach:g} points: nobody could become an MQL. Lower it, or raise max or points"
            )
        return self


def _check_grades(name: str, section: Section, expected: str) -> None:
    """Raise ValueError for grades that are not a fall from the best to the last but one."""
    if section.grades is None:
        if math.isinf(section.reach):
            raise ValueError(f"{name} has no limit: give it a max, caps, or grades")
        return
    bounds = list(section.grades.values())
    example = ", ".join(
        f"{grade} = {points}" for grade, points in zip(expected, (30, 20, 10), strict=True)
    )
    if "".join(section.grades) != expected:
        raise ValueError(f"{name}.grades must be like {{{example}}}, the best first")
    if not bounds[0] > bounds[1] > bounds[2]:
        raise ValueError(f"{name}.grades must fall from {expected[0]} to {expected[-1]}")
    if bounds[0] > section.reach:
        raise ValueError(
            f"{name}.grades: {expected[0]} starts at {bounds[0]:g} points, but the section reaches"
            f" at most {section.reach:g}"
        )


def read_rules(path: Path) -> RulesTable:
    """Return the points table in the TOML file at `path`; every mistake in it is an InputError."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        return RulesTable.model_validate(content)
    except FileNotFoundError:
        raise InputError(
            f"{path} does not exist. Draft one with: closedwon init --data FOLDER"
        ) from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text, so no TOML. Save it as UTF-8.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not valid TOML: {error}") from None
    except ValidationError as error:
        problems = "; ".join(_problem(found, content) for found in error.errors()[:3])
        raise InputError(f"{path}: {problems}.") from None


def _problem(found: ErrorDetails, content: dict[str, Any]) -> str:
    """Return one mistake as `place: what is wrong`, a rule by its name.

    >>> _problem({"loc": ("fit", "rules", 0, "pts"), "type": "extra_forbidden", "msg": "",
    ...     "input": 5}, {"fit": {"rules": [{"name": "Chief", "pts": 5}]}})[:60]
    'fit rule "Chief": pts is unknown; known: name, feature, even'
    """
    place, rest = "", list(found["loc"])
    kind: type[_Entry] = RulesTable
    entry: Any = content
    while rest and rest[0] in ("fit", "engagement", "disqualify", "rules"):
        part = rest.pop(0)
        entry = entry.get(part) if isinstance(entry, dict) else None
        if not (part in ("rules", "disqualify") and rest and isinstance(rest[0], int)):
            kind, place = Section, str(part)
            continue
        number = rest.pop(0)
        assert isinstance(number, int)
        named = entry[number].get("name") if isinstance(entry, list) else None
        told = f'"{named}"' if isinstance(named, str) else f"number {number + 1}"
        kind = Rule if part == "rules" else Disqualifier
        place = f"{place} rule {told}" if part == "rules" else f"disqualify {told}"
    setting = ".".join(str(part) for part in rest)
    if found["type"] == "extra_forbidden":
        known = [field.alias or name for name, field in kind.model_fields.items()]
        wrong = f"{setting} is unknown; known: {', '.join(known)}"
    else:
        said = found["msg"].removeprefix("Value error, ")
        wrong = f"{setting}: {said}" if setting else said
    return f"{place}: {wrong}" if place else wrong
