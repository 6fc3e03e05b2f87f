"""Batch scoring: leads in, a file for the CRM out."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import InputError
from features.outputs import check_output, formula_safe
from models.reasons import CHUNK_ROWS, reasons, why_text
from models.scorer import Scorer
from models.track import tracks

WHY_LIMIT = 255
"Characters: the length of a short text field in the common CRMs."


@dataclass(frozen=True)
class ScoreSummary:
    """What a batch did."""

    leads: int
    eligible: int
    qualified: int
    grades: dict[str, int]
    cutoff: float | None
    path: Path
    reasons_path: Path | None

    def as_dict(self) -> dict[str, Any]:
        """Return what `closedwon score --json` prints, but for the model's version."""
        counts = asdict(self)
        path, reasons_path = counts.pop("path"), counts.pop("reasons_path")
        written = None if reasons_path is None else str(reasons_path)
        return {**counts, "output": str(path), "reasons_output": written}


def score_leads(
    scorer: Scorer,
    snapshots: pd.DataFrame,
    output: Path,
    reasons_kept: Literal["top", "all"] = "top",
    top: int = 3,
    num_threads: int = 2,
    progress: Callable[[int], None] = lambda rows: None,
) -> ScoreSummary:
    """Write the scores of `snapshots` to `output`, `.csv` or `.parquet`, and return the counts.

    One row per snapshot: `lead_id`, `account_id`, `as_of`, `probability`, `raw_score`, `grade`,
    `qualified`, `track` (see `models.track`), `why` (at most 255 characters), then `reason_1`,
    `points_1` and so on for the `top` strongest reasons. With `reasons_kept="all"` every reason
    goes to `NAME.reasons.csv` or `.parquet` besides, one row each, so that they add up (see
    `models.reasons.reasons`). Files are written aside and renamed. CSV text that a spreadsheet
    would run as a formula gets a `'` in front. Raises InputError when the output can't be written.
    """
    reasons_path = _reasons_path(output) if reasons_kept == "all" else None
    counts: list[pd.DataFrame] = []
    with ExitStack() as files:
        # Files are renamed in reverse: once the leads' file is there, everything is.
        leads_file = files.enter_context(_Output(output))
        reasons_file = files.enter_context(_Output(reasons_path)) if reasons_path else None
        for start in range(0, max(len(snapshots), 1), CHUNK_ROWS):
            chunk = snapshots.iloc[start : start + CHUNK_ROWS]
            scores = scorer.score(chunk, num_threads)
            track = tracks(chunk, scores["qualified"].to_numpy(), scorer.catalogue)
            scores.insert(list(scores.columns).index("qualified") + 1, "track", track)
            explained = reasons(scorer, chunk, num_threads)
            leads_file.write(pd.concat([scores, _top_reasons(scores, explained, top)], axis=1))
            if reasons_file:
                reasons_file.write(explained)
            counts.append(scores[["grade", "qualified"]])
            progress(len(chunk))
    scored = pd.concat(counts)
    return ScoreSummary(
        leads=len(scored),
        eligible=int(snapshots["is_eligible"].sum()),
        qualified=int(scored["qualified"].sum()),
        grades={grade: int((scored["grade"] == grade).sum()) for grade in "ABCD"},
        cutoff=scorer.cutoff.value,
        path=output,
        reasons_path=reasons_path,
    )


def _top_reasons(scores: pd.DataFrame, explained: pd.DataFrame, top: int) -> pd.DataFrame:
    """Return `why` and the `top` reasons of each row of `scores`, with its index."""
    # `reasons` keeps the order of the snapshots; rank 1 begins the next one. The last row of each
    # is the calibration's term, no reason a salesperson could use.
    starts = np.flatnonzero(explained["rank"].to_numpy() == 1)
    ends = np.append(starts, len(explained))[1:] - 1
    texts = explained["text"].tolist()
    points = explained["points"].tolist()
    told = [
        why_text(texts[start:end], points[start:end], WHY_LIMIT)
        for start, end in zip(starts, ends, strict=True)
    ]
    columns: dict[str, Any] = {"why": pd.Series(told, dtype="str")}
    for place in range(top):
        is_there = starts + place < ends
        picked = np.where(is_there, starts + place, 0)
        columns[f"reason_{place + 1}"] = (
            explained["text"].take(picked).reset_index(drop=True).where(is_there)
        )
        columns[f"points_{place + 1}"] = (
            explained["points"].take(picked).reset_index(drop=True).where(is_there)
        )
    return pd.DataFrame(columns).set_index(scores.index)


def _reasons_path(output: Path) -> Path:
    return output.with_name(f"{output.stem}.reasons{output.suffix}")


class _Output:
    """A CSV or Parquet file that appears whole or not at all."""

    def __init__(self, path: Path) -> None:
        check_output(path, (".csv", ".parquet"))
        self.path = path
        self._aside = path.with_name(f".{path.name}.{os.getpid()}.partial")
        self._file: IO[bytes]
        self._parquet: pq.ParquetWriter | None = None
        self._has_header = False

    def __enter__(self) -> _Output:
        try:
            self._file = self._aside.open("wb")
        except OSError as error:
            raise self._cannot_write(error) from None
        return self

    def write(self, rows: pd.DataFrame) -> None:
        """Append `rows`; all calls have the same columns."""
        try:
            if self.path.suffix == ".csv":
                # RFC 4180 ends lines so; with \n alone, a \r inside a cell would not be quoted.
                text = csv_safe(rows).to_csv(
                    index=False, header=not self._has_header, lineterminator="\r\n"
                )
                self._file.write(text.encode())
            else:
                table = pa.Table.from_pandas(rows, preserve_index=False)
                if self._parquet is None:
                    self._parquet = pq.ParquetWriter(self._file, table.schema)
                self._parquet.write_table(table.cast(self._parquet.schema))
        except OSError as error:
            raise self._cannot_write(error) from None
        self._has_header = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._parquet is not None:
                self._parquet.close()
            self._file.close()
            if kind is None:
                self._aside.replace(self.path)
        except OSError as failure:
            # While another error is on its way, that one is the cause to tell.
            if kind is None:
                raise self._cannot_write(failure) from None
        finally:
            self._aside.unlink(missing_ok=True)

    def _cannot_write(self, error: OSError) -> InputError:
        cause = {
            errno.ENOENT: f"the folder {self.path.parent} does not exist",
            errno.ENOSPC: "the disk is full",
            errno.EACCES: "no permission",
        }.get(error.errno or 0, error.strerror or str(error))
        return InputError(f"{self.path} cannot be written: {cause}. Choose another --output.")


def csv_safe(rows: pd.DataFrame) -> pd.DataFrame:
    r"""Return `rows` with text that no spreadsheet runs as a formula, and instants as ISO 8601.

    >>> csv_safe(pd.DataFrame({"campaign": ["=1+1", "Spring"]}))["campaign"].tolist()
    ["'=1+1", 'Spring']
    """
    safe = formula_safe(rows)
    for column in rows.columns:
        values = rows[column]
        if pd.api.types.is_datetime64_dtype(values):
            safe[column] = values.dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ").str.replace(".000000Z", "Z")
    return safe
