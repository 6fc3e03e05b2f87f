"""Columns one by one: how much is missing, and which of them can teach nothing, or twice the same.

None of it is read from a column's name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.quality.findings import Finding

FEWEST_ROWS = 50
"Fewer rows cannot tell an id from a category."
MOSTLY = 0.95
"Missing in more rows than this."
ID_SHARE = 0.5
"Of filled rows: more different texts than this are ids, or free text."
FEWEST_SECOND = 5
"Rows off the commonest value that two columns must share to be the same by more than chance."
RUNNING = 0.995
"Rank correlation with the date from which a number of its own in every row is a running number."

SORTS = {
    "empty": "nothing in any row",
    "constant": "one value in every row",
    "mostly_missing": f"missing in more than {MOSTLY:.0%} of the rows",
    "many_values": "most texts occur once or twice: ids or free text; a model can only learn how "
    "rare a value is",
    "numbered_rows": "a whole number of its own in every row: an id?",
    "running_number": "a number that counts the rows up in time: it tells the date, and no new "
    "lead has a number the model has seen. Leave it out under drop",
    "duplicate_column": "says the same as another column",
}
"What each kind of finding about columns means."


@dataclass(frozen=True)
class ColumnQuality:
    """What one column holds, in counts."""

    column: str
    "`table.column`."
    kind: Literal["number", "category", "contract"]
    rows: int
    "One a lead or account, the newest; of other tables all."
    missing_share: float
    distinct: int | None
    "Different values; not counted for columns of the contract."

    def as_dict(self) -> dict[str, Any]:
        """Return the counts for JSON."""
        return asdict(self)


def look_at_attributes(
    table: str, columns: Mapping[str, pd.Series], since: pd.Series | None
) -> tuple[list[ColumnQuality], list[Finding]]:
    """Return the counts and the findings of the attribute `columns` of `table`.

    `since` is the date of each row; without it, or with dates missing, running numbers are not
    looked for.
    """
    counted = []
    findings = []
    partitions: dict[bytes, list[str]] = defaultdict(list)
    for name, column in columns.items():
        codes, distinct_values = pd.factorize(column)
        distinct, missing = len(distinct_values), int((codes < 0).sum())
        kind: Literal["number", "category"] = (
            "number" if pd.api.types.is_numeric_dtype(column) else "category"
        )
        label = f"{table}.{name}"
        share = missing / max(len(column), 1)
        counted.append(ColumnQuality(label, kind, len(column), share, distinct))
        sort = _sort(column, codes, distinct, since)
        if sort is not None:
            count = missing if sort in ("empty", "mostly_missing") else distinct
            severity: Literal["warn", "note"] = "warn" if sort == "running_number" else "note"
            findings.append(Finding(sort, severity, label, count, SORTS[sort], share))
        elif _can_be_twin(codes, distinct):
            partitions[_partition(codes)].append(label)
    findings += [_duplicates(same) for same in partitions.values() if len(same) > 1]
    return counted, findings


def _sort(
    column: pd.Series, codes: npt.NDArray[np.intp], distinct: int, since: pd.Series | None
) -> str | None:
    """Return what is odd about a column alone: a name in `SORTS`, or None."""
    is_filled = codes >= 0
    filled = int(is_filled.sum())
    if filled == 0:
        return "empty" if len(codes) else None
    if distinct == 1 and filled == len(codes):
        return "constant"
    if filled < (1 - MOSTLY) * len(codes):
        return "mostly_missing"
    if filled < FEWEST_ROWS:
        return None
    if not pd.api.types.is_numeric_dtype(column):
        return "many_values" if distinct > ID_SHARE * filled else None
    values = column.to_numpy(float)[is_filled]
    if distinct < filled or not (values == np.floor(values)).all():
        return None
    if since is not None and since.notna().all():
        time = since.to_numpy()[is_filled]
        if abs(_rank_correlation(values, time.astype("int64"))) >= RUNNING:
            return "running_number"
    return "numbered_rows"


def _rank_correlation(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> float:
    """Return Spearman's rank correlation, 0 for a constant."""
    one, other = (pd.Series(values).rank().to_numpy(float) for values in (left, right))
    if min(one.std(), other.std()) == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def _can_be_twin(codes: npt.NDArray[np.intp], distinct: int) -> bool:
    """Return whether values repeat and vary enough for an equal column to be no chance."""
    sizes = np.bincount(codes + 1)  # missing is a value like any other here
    filled = len(codes) - sizes[0]
    return 2 * distinct <= filled and len(codes) - int(sizes.max()) >= FEWEST_SECOND


def _partition(codes: npt.NDArray[np.intp]) -> bytes:
    """Return which rows share a value, whatever the values are called, missing ones too."""
    renamed, _ = pd.factorize(codes)
    return renamed.astype(np.int32).tobytes()


def _duplicates(same: list[str]) -> Finding:
    text = f"says the same as {', '.join(same[1:])}, by other names at most; one is enough"
    return Finding("duplicate_column", "note", same[0], len(same) - 1, text)
