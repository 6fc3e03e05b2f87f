"""Skew between two ways to the same snapshots and scores: counted by feature, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.calibration import sigmoid
from models.reasons import reasons
from models.scorer import Scorer

STANDING = ("in_population", "is_eligible", "account_id")
SCORES = ("raw_score", "probability", "grade", "qualified", "reasons")
REASONS_TOLERANCE = 1e-6
"Of the promise that reasons sum to the score (see `models.reasons`)."

Live = tuple[pd.DataFrame, Mapping[str, Any]]
"A snapshot of one row, and the lead's standing."


@dataclass(frozen=True)
class Mismatch:
    """Where live and batch differ: how often, and where to look. No value of anyone's."""

    name: str
    count: int
    first_lead: str
    first_as_of: pd.Timestamp


@dataclass(frozen=True)
class Verification:
    """What was compared, and what differs."""

    lead_dates: int
    leads: int
    features: int
    first: pd.Timestamp | None
    last: pd.Timestamp | None
    mismatches: tuple[Mismatch, ...]
    "By feature, then by part of the score; none is the only pass."
    requests: int = 0
    "Open leads that were scored from a request besides, as the API does."

    @property
    def is_passed(self) -> bool:
        """Whether live and batch are the same in everything."""
        return not self.mismatches

    def lines(self) -> list[str]:
        """Return the result as text."""
        span = f" from {self.first:%Y-%m-%d} to {self.last:%Y-%m-%d}" if self.first else ""
        head = (
            f"{self.lead_dates:,} lead-dates of {self.leads:,} leads{span}, rebuilt live one at a"
            f" time and in batch: {self.features} features and the score."
        )
        if self.requests:
            head += f" {self.requests:,} open leads, scored from requests and in batch."
        if self.is_passed:
            return [head, "0 mismatches: live is batch."]
        total = sum(mismatch.count for mismatch in self.mismatches)
        return [
            head,
            f"{total:,} mismatches. Do not serve this model before they are explained:",
            *(
                f"  {found.name}: {found.count:,}, the first for lead {found.first_lead} as of"
                f" {found.first_as_of}"
                for found in self.mismatches
            ),
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return what `closedwon verify --json` prints, but for the model's version."""
        return {
            "lead_dates": self.lead_dates,
            "leads": self.leads,
            "features": self.features,
            "requests": self.requests,
            "from": None if self.first is None else self.first.isoformat(),
            "until": None if self.last is None else self.last.isoformat(),
            "mismatches": sum(mismatch.count for mismatch in self.mismatches),
            "passed": self.is_passed,
            "mismatches_by_name": {found.name: found.count for found in self.mismatches},
        }


def compare(
    scorer: Scorer,
    batch: pd.DataFrame,
    standing: pd.DataFrame,
    live: Iterator[Live],
) -> Verification:
    """Return where `live`, one by one in the order of `batch`, differs from it, and its scores.

    `standing` has the columns of STANDING. Numbers are the same when their bits are; reasons when
    they name the same concepts with the same points, and sum to the score. Live rows are scored one
    at a time; their reasons, which take longest, are told from all of them at once.
    """
    rows, standings, scores = [], [], []
    for row, found in live:
        rows.append(row)
        standings.append(dict(found))
        scores.append(scorer.score(row))
    found_rows = pd.concat(rows, ignore_index=True)
    found_scores = _with_reasons(scorer, found_rows, pd.concat(scores, ignore_index=True))
    expected_scores = _with_reasons(scorer, batch, scorer.score(batch))
    differs = {name: _differs(found_rows[name], batch[name]) for name in scorer.catalogue.names}
    found_standing = pd.DataFrame(standings)
    differs |= {name: _differs(found_standing[name], standing[name]) for name in STANDING}
    differs |= {name: _differs(found_scores[name], expected_scores[name]) for name in SCORES}
    differs["reasons"] |= ~_adds_up(scorer, found_scores)
    return Verification(
        lead_dates=len(batch),
        leads=batch["lead_id"].nunique(),
        features=len(scorer.catalogue.names),
        first=None if batch["as_of"].isna().any() else batch["as_of"].min(),
        last=None if batch["as_of"].isna().any() else batch["as_of"].max(),
        mismatches=tuple(
            Mismatch(name, int(flags.sum()), *_place(batch, int(np.argmax(flags))))
            for name, flags in differs.items()
            if flags.any()
        ),
    )


def _place(batch: pd.DataFrame, row: int) -> tuple[str, pd.Timestamp]:
    return str(batch["lead_id"].iloc[row]), batch["as_of"].iloc[row]


def _with_reasons(scorer: Scorer, snapshots: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Return the scores with `reasons`, told as one text with all digits, and their `points`."""
    why = reasons(scorer, snapshots)
    starts = np.flatnonzero(why["rank"].to_numpy() == 1)
    ends = [*starts[1:], len(why)]
    told = (why["concept"] + " " + why["points"].map(repr)).tolist()
    points = why["points"].to_numpy()
    return scores.reset_index(drop=True).assign(
        reasons=["; ".join(told[a:b]) for a, b in zip(starts, ends, strict=True)],
        points=[float(points[a:b].sum()) for a, b in zip(starts, ends, strict=True)],
    )


def _adds_up(scorer: Scorer, scores: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Return whether the reasons sum to the probability less that of the base value."""
    base = float(sigmoid(scorer.calibration.apply(scorer.base_raw_score)))
    off = scores["points"] - (scores["probability"] - base)
    return (off.abs() <= REASONS_TOLERANCE).to_numpy()


def _differs(found: pd.Series, expected: pd.Series) -> npt.NDArray[np.bool_]:
    """Return where two columns of one length differ, to the last bit; missing equals missing."""
    if pd.api.types.is_numeric_dtype(expected):
        a, b = found.to_numpy(np.float64), expected.to_numpy(np.float64)
        return np.asarray(~((a == b) | (np.isnan(a) & np.isnan(b))))
    told = (values.astype(object).where(values.notna(), None) for values in (found, expected))
    return np.array([x != y for x, y in zip(*told, strict=True)], bool)
