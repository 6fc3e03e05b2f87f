"""Batch scoring: leads in, a file for the CRM out."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.catalogue.catalogue import Catalogue
from features.errors import InputError
from features.life_config import ExplorationConfig
from features.outputs import check_output, formula_safe
from models.lead_scores import LeadScore, LeadScorer
from models.reasons import CHUNK_ROWS
from models.scorer import Scorer
from models.track import tracks
from serving.batch_records import BatchLedger
from serving.exploration import is_explored


@dataclass(frozen=True)
class ScoreSummary:
    """What a batch did."""

    leads: int
    eligible: int
    qualified: int
    explored: int
    "Below the cutoff, and handed over by lot."
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
    ledger: BatchLedger | None = None,
    exploration: ExplorationConfig | None = None,
) -> ScoreSummary:
    """Write the scores of `snapshots` to `output`, `.csv` or `.parquet`, and return the counts.

    One row per snapshot: `lead_id`, `account_id`, `as_of`, `probability`, `raw_score`, `grade`,
    `qualified`, `track` (see `models.track`), `why` (at most 255 characters), then `reason_1`,
    `points_1` and so on for the `top` strongest reasons. With `reasons_kept="all"` every reason
    goes to `NAME.reasons.csv` or `.parquet` besides, one row each, so that they add up (see
    `models.reasons.reasons`). Files are written aside and renamed. CSV text that a spreadsheet
    would run as a formula gets a `'` in front. With `ledger` each score is kept there too; a batch
    that is stopped leaves no file, but the scores that were kept so far. Where `exploration` has a
    share, `is_exploration` marks leads below the cutoff that go to sales like an MQL, by lot: with
    `ledger` those that it handed over in this run, so each lead once (whom a run handed over that
    left no file is in the ledger's list); without, all that are drawn, in every run again. Raises
    InputError when the output can't be written.
    """
    drawn_by = exploration or ExplorationConfig()
    lead_scorer = LeadScorer.of(scorer)
    reasons_path = _reasons_path(output) if reasons_kept == "all" else None
    counts: list[pd.DataFrame] = []
    explored = 0
    with ExitStack() as files:
        # Files are renamed in reverse: once the leads' file is there, everything is.
        leads_file = files.enter_context(_Output(output))
        reasons_file = files.enter_context(_Output(reasons_path)) if reasons_path else None
        for start in range(0, max(len(snapshots), 1), CHUNK_ROWS):
            chunk = snapshots.iloc[start : start + CHUNK_ROWS]
            found = lead_scorer.score_snapshots(chunk, num_threads)
            scores = _scores(chunk, found, scorer.catalogue)
            is_exploration = _explored(chunk, found, drawn_by)
            if ledger:
                score_ids = ledger.write(chunk, found, scores["track"].tolist())
                is_exploration = _handed_over(is_exploration, score_ids, ledger)
            explored += int(is_exploration.sum())
            if drawn_by.share:
                scores["is_exploration"] = is_exploration
            leads_file.write(pd.concat([scores, _top_reasons(scores, found, top)], axis=1))
            if reasons_file:
                reasons_file.write(_all_reasons(chunk, found))
            counts.append(scores[["grade", "qualified"]])
            progress(len(chunk))
    scored = pd.concat(counts)
    return ScoreSummary(
        leads=len(scored),
        eligible=int(snapshots["is_eligible"].sum()),
        qualified=int(scored["qualified"].sum()),
        explored=explored,
        grades={grade: int((scored["grade"] == grade).sum()) for grade in "ABCD"},
        cutoff=scorer.cutoff.value,
        path=output,
        reasons_path=reasons_path,
    )


def _scores(chunk: pd.DataFrame, found: Sequence[LeadScore], catalogue: Catalogue) -> pd.DataFrame:
    """Return the columns up to `track`, with the index of `chunk`."""
    scores = chunk[["lead_id", "account_id", "as_of"]].copy()
    scores["probability"] = np.array([score.probability for score in found], np.float64)
    scores["raw_score"] = np.array([score.raw_score for score in found], np.float64)
    scores["grade"] = pd.array([score.grade for score in found], dtype="str")
    scores["qualified"] = np.array([score.qualified for score in found], np.bool_)
    scores["track"] = tracks(chunk, scores["qualified"].to_numpy(), catalogue)
    return scores


def _explored(
    chunk: pd.DataFrame, found: Sequence[LeadScore], exploration: ExplorationConfig
) -> np.ndarray:
    """Return which rows are below the cutoff and drawn."""
    accounts = chunk["account_id"].astype(object).where(chunk["account_id"].notna(), None)
    rows = zip(found, chunk["is_eligible"], chunk["lead_id"], accounts, strict=True)
    return np.array([is_explored(exploration, *row) for row in rows], np.bool_)


def _handed_over(drawn: np.ndarray, score_ids: list[str], ledger: BatchLedger) -> np.ndarray:
    """Return which of the drawn rows made their lead an MQL: it was none before."""
    asked = [score_ids[row] for row in np.flatnonzero(drawn)]
    opened = ledger.opened(asked) if asked else ()
    return drawn & np.array([score_id in opened for score_id in score_ids], np.bool_)


def _top_reasons(scores: pd.DataFrame, found: Sequence[LeadScore], top: int) -> pd.DataFrame:
    """Return `why` and the `top` reasons of each row of `scores`, with its index."""
    told = [score.reasons(top) for score in found]
    columns: dict[str, Any] = {"why": pd.Series([score.why() for score in found], dtype="str")}
    for place in range(top):
        reasons = [reasons[place] if place < len(reasons) else {} for reasons in told]
        texts = [reason.get("text") for reason in reasons]
        columns[f"reason_{place + 1}"] = pd.Series(texts, dtype="str")
        points = [reason.get("points", np.nan) for reason in reasons]
        columns[f"points_{place + 1}"] = pd.Series(points, dtype="float64")
    return pd.DataFrame(columns).set_index(scores.index)


def _all_reasons(chunk: pd.DataFrame, found: Sequence[LeadScore]) -> pd.DataFrame:
    """Return the complete reasons, as `models.reasons.reasons` does."""
    told = [score.reasons() for score in found]
    row = np.repeat(np.arange(len(chunk)), [len(reasons) for reasons in told])
    every = [reason for reasons in told for reason in reasons]
    ranks = [rank for reasons in told for rank in range(1, len(reasons) + 1)]
    columns: dict[str, Any] = {
        "lead_id": chunk["lead_id"].take(row).array,
        "as_of": chunk["as_of"].take(row).array,
        "rank": np.array(ranks, np.int64),
    }
    for name in ("concept", "family", "text"):
        columns[name] = pd.array([reason[name] for reason in every], dtype="str")
    for name in ("log_odds", "points"):
        columns[name] = np.array([reason[name] for reason in every], np.float64)
    return pd.DataFrame(columns)


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
