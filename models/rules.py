"""The points table as a scorer: what marketing would use without a model, judged like one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import TypeAdapter

from features.catalogue.catalogue import Catalogue
from models.calibration import Floats
from models.encoding import require_columns
from models.rules_columns import Column, column_of
from models.rules_table import Condition, Rule, RulesTable, Section
from models.rules_table import read_rules as read_rules
from models.win_rates import WinRates, fit_win_rates

FIT_GRADES = ("A", "B", "C", "D")
ENGAGEMENT_GRADES = ("1", "2", "3", "4")

Bools = npt.NDArray[np.bool_]
_COLUMNS = TypeAdapter(tuple[Column, ...])
_WIN_RATES = TypeAdapter(WinRates | None)


@dataclass(frozen=True)
class RulesScorer:
    """A points table whose lines have found their columns.

    A section's points are its positive ones, up to the section's maximum, less its negative ones,
    which always count in full: so one more positive rule never lowers anyone's points. There is no
    least: few points may be below 0. Points are counted in tenths, so that what is shown adds up.
    """

    table: RulesTable
    columns: tuple[Column, ...]
    "Of each of `table.conditions`."
    win_rates: WinRates | None = None
    "What points are worth as a probability; `score` needs it."

    def __post_init__(self) -> None:
        """Raise ValueError when columns and lines are not as many."""
        if len(self.columns) != len(self.table.conditions):
            raise ValueError("every rule needs its column, and no other has one")

    @classmethod
    def of(cls, table: RulesTable, catalogue: Catalogue) -> RulesScorer:
        """Return the scorer of `table` over the snapshots of `catalogue`.

        Raises InputError for a line that names no feature or event of the catalogue, or asks a
        category for a number or the other way round.
        """
        return cls(table, tuple(column_of(line, catalogue) for line in table.conditions))

    @property
    def threshold(self) -> float:
        """Points from which an eligible lead is an MQL."""
        return self.table.mql_threshold

    def with_threshold(self, threshold: float) -> RulesScorer:
        """Return the same rules with another MQL threshold, in reach or not."""
        return replace(self, table=self.table.model_copy(update={"mql_threshold": threshold}))

    def with_win_rates(self, points: Floats, won: Floats, weight: Floats) -> RulesScorer:
        """Return the same rules with the win rate of their points among these labelled rows.

        Rules learn nothing from the rows they score, so any rows of the past are out of fold.
        """
        rates = fit_win_rates(np.asarray(points), np.asarray(won), np.asarray(weight))
        return replace(self, win_rates=rates)

    def points(self, snapshots: pd.DataFrame) -> Floats:
        """Return the total points of each snapshot, shape (rows,); -inf where disqualified."""
        fit, engagement = self.section_points(snapshots)
        total = np.round(fit + engagement, 1) + 0.0  # no -0
        total[self._is_disqualified(snapshots)] = -np.inf
        return total

    def section_points(self, snapshots: pd.DataFrame) -> tuple[Floats, Floats]:
        """Return the points of fit and of engagement, shape (rows,) each."""
        self._require(snapshots)
        gained, lost = np.zeros((2, len(snapshots))), np.zeros((2, len(snapshots)))
        for section, rule, column in self.rules():
            (gained if rule.limit > 0 else lost)[section] += rule_points(rule, column, snapshots)
        for section, limits in enumerate((self.table.fit, self.table.engagement)):
            if limits.max is not None:
                np.minimum(gained[section], limits.max, out=gained[section])
        total = np.round(gained + lost, 1)
        return total[0], total[1]

    def score(self, snapshots: pd.DataFrame, num_threads: int = 1) -> pd.DataFrame:
        """Return one row per snapshot as `Scorer.score` does, and its `points`.

        `probability` is the win rate that the points had, `raw_score` its log-odds, `grade` the fit
        letter with the engagement number (A1 to D4, D4 for the disqualified), `qualified` whether
        an eligible lead reaches the threshold. `num_threads` changes nothing. Raises InputError
        when a column is absent, ValueError before `with_win_rates`.
        """
        if self.win_rates is None:
            raise ValueError("the rules have no win rates yet: with_win_rates gives them")
        points = self.points(snapshots)
        probability = self.win_rates.probability(points)
        scores = snapshots[["lead_id", "account_id", "as_of"]].copy()
        scores["probability"] = probability
        scores["raw_score"] = np.log(probability) - np.log1p(-probability)
        scores["grade"] = pd.array(self.grades(snapshots), dtype="str")
        is_eligible = snapshots["is_eligible"].to_numpy(np.bool_)
        scores["qualified"] = is_eligible & (points >= self.threshold)
        scores["points"] = points
        return scores

    def grades(self, snapshots: pd.DataFrame) -> npt.NDArray[np.object_]:
        """Return the grade of each snapshot: fit letter and engagement number."""
        fit, engagement = self.section_points(snapshots)
        letter = _graded(fit, self.table.fit, FIT_GRADES)
        number = _graded(engagement, self.table.engagement, ENGAGEMENT_GRADES)
        is_out = self._is_disqualified(snapshots)
        return np.where(is_out, "D4", letter + number).astype(object)

    def reasons(self, snapshots: pd.DataFrame) -> pd.DataFrame:
        """Return a row per snapshot and rule that gave it points, strongest first.

        Columns: `lead_id`, `as_of`, `rank` (1 is the strongest), `concept`, `family` (`fit`,
        `engagement`, `disqualified`), `text` and `points`. Where a section's maximum takes points
        away, a row says so; per snapshot the points sum to its total, -inf for the disqualified.
        """
        from models.rules_reasons import rules_reasons  # it reads this module

        return rules_reasons(self, snapshots)

    def notes(self, snapshots: pd.DataFrame) -> tuple[str, ...]:
        """Return a sentence per line of the table that may be a slip, as these snapshots show.

        Those are lines that nobody meets, and values that none of these snapshots has.
        """
        self._require(snapshots)
        notes = []
        for line, column in zip(self.table.conditions, self.columns, strict=True):
            values = snapshots[column.name]
            unseen = [value for value in line.one_of or () if not (values == value).any()]
            if unseen:
                listed = ", ".join(f'"{value}"' for value in unseen[:3])
                more = f" and {len(unseen) - 3} more" if len(unseen) > 3 else ""
                notes.append(f'Rule "{line.name}": no lead has {column.name} {listed}{more}.')
            elif not is_met(line, column, snapshots).any():
                notes.append(f'Rule "{line.name}": no lead meets it.')
        return tuple(notes)

    def witnesses(self, snapshots: pd.DataFrame) -> pd.DataFrame:
        """Return few of these snapshots that say the same to `notes`, so that parts can be joined.

        The first that meets each line, and the first that has each value a line names.
        """
        rows: set[int] = set()
        for line, column in zip(self.table.conditions, self.columns, strict=True):
            values = snapshots[column.name]
            hits = [(values == value).to_numpy(np.bool_) for value in line.one_of or ()]
            hits.append(is_met(line, column, snapshots))
            rows.update(int(hit.argmax()) for hit in hits if hit.any())
        return snapshots.iloc[sorted(rows)]

    def to_dict(self) -> dict[str, Any]:
        """Return the rules as plain JSON values."""
        return {
            "table": self.table.model_dump(mode="json", by_alias=True, exclude_none=True),
            "columns": _COLUMNS.dump_python(self.columns, mode="json"),
            "win_rates": _WIN_RATES.dump_python(self.win_rates, mode="json"),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RulesScorer:
        """Return the rules that `to_dict` wrote; anything else is a ValueError."""
        if not isinstance(values, dict) or set(values) != {"table", "columns", "win_rates"}:
            raise ValueError("rules: expected exactly the keys columns, table, win_rates")
        return cls(
            RulesTable.model_validate(values["table"]),
            _COLUMNS.validate_python(values["columns"]),
            _WIN_RATES.validate_python(values["win_rates"]),
        )

    def rules(self) -> Iterator[tuple[int, Rule, Column]]:
        """Yield section (0 fit, 1 engagement), rule and column, in the order of the table."""
        fit, engagement = self.table.fit.rules, self.table.engagement.rules
        sections = [0] * len(fit) + [1] * len(engagement)
        yield from zip(sections, (*fit, *engagement), self.columns[: len(sections)], strict=True)

    def disqualifiers(self) -> Iterator[tuple[Condition, Column]]:
        """Yield condition and column of each disqualifier."""
        lines = self.table.disqualify
        yield from zip(lines, self.columns[len(self.columns) - len(lines) :], strict=True)

    def _is_disqualified(self, snapshots: pd.DataFrame) -> Bools:
        is_out = np.zeros(len(snapshots), dtype=np.bool_)
        for condition, column in self.disqualifiers():
            is_out |= is_met(condition, column, snapshots)
        return is_out

    def _require(self, snapshots: pd.DataFrame) -> None:
        require_columns(snapshots, sorted({column.name for column in self.columns}))


def is_met(condition: Condition, column: Column, snapshots: pd.DataFrame) -> Bools:
    """Return which snapshots meet a line, shape (rows,); where it asks nothing, those above 0."""
    values = snapshots[column.name]
    is_missing = values.isna().to_numpy()
    if column.dtype == "category":
        met = values.isin(condition.one_of or ()).to_numpy(np.bool_)
        return np.asarray(np.where(is_missing, condition.missing, met), dtype=np.bool_)
    numbers = _single(values.to_numpy(np.float64, na_value=np.nan))
    if condition.is_any:
        met = (numbers > 0) & (not condition.missing)
    else:
        met = np.ones(len(numbers), dtype=np.bool_)
        if condition.at_least is not None:
            met &= numbers >= _single(condition.at_least)
        if condition.below is not None:
            met &= numbers < _single(condition.below)
    return np.asarray(np.where(is_missing, condition.missing, met), dtype=np.bool_)


def _single(numbers: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return the numbers as snapshots hold them: a bound of 0.7 is their 0.7, not 0.7 exactly."""
    with np.errstate(over="ignore"):  # beyond what they hold: infinity
        return np.asarray(numbers, dtype=np.float64).astype(np.float32)


def rule_points(rule: Rule, column: Column, snapshots: pd.DataFrame) -> Floats:
    """Return the points that one rule gives each snapshot, shape (rows,), in tenths."""
    if rule.points is not None:
        return np.where(is_met(rule, column, snapshots), rule.points, 0.0)
    assert rule.points_each is not None
    numbers = snapshots[column.name].to_numpy(np.float64, na_value=np.nan)
    given = np.round(np.maximum(np.nan_to_num(numbers, nan=0.0), 0.0) * rule.points_each, 1)
    bounds = (0.0, rule.limit) if rule.limit > 0 else (rule.limit, 0.0)
    return np.asarray(np.clip(given, *bounds), dtype=np.float64)


def _graded(points: Floats, section: Section, grades: tuple[str, ...]) -> npt.NDArray[np.object_]:
    """Return the best grade whose bound each number of points reaches."""
    bounds = section.grade_bounds()
    # a section that gives no points tells nothing good of anybody
    reached = [(points >= bound) & (section.reach > 0) for bound in bounds]
    return np.select(reached, list(grades[:-1]), default=grades[-1]).astype(object)
