"""Bands of each feature, and of the score, to count leads by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.catalogue.catalogue import Catalogue
from models.scorer import Scorer

SCORE = "probability"
MOST_VALUES = 20
TENTHS = 10
MISSING = 0
"The band of leads without a value."
FREQUENT_ACCOUNTS = 20
"A value of so many accounts would have been known: the encoder asks for half as many."


@dataclass(frozen=True)
class Bands:
    """How values fall into bands: 0 is missing, the last band of a category is unknown values.

    A category has a band for each of the most frequent values of the model's vocabulary, one for
    all further known values and one for those the vocabulary lacks. Numbers have a band for each
    tenth of the reference's leads, fewer where many share a value.
    """

    names: tuple[str, ...]
    "Features in the catalogue's order, then the score."
    families: tuple[str, ...]
    concepts: tuple[str, ...]
    "Features of one concept move together and are told as one."
    bounds: dict[str, npt.NDArray[np.float64]]
    "Of numbers: a band starts at each bound."
    vocabularies: dict[str, tuple[str, ...]]
    catalogue: Catalogue
    base_rate: float | None
    "Share of the training rows that won; None where those are no leads of every Monday."
    unlearnt: dict[str, float]
    """Of categories: share of the reference's leads whose value is unknown, yet frequent there.

    The vocabulary was learnt on those weeks, so such values were others then."""

    @property
    def width(self) -> int:
        """How many bands a feature may have."""
        return max(MOST_VALUES + 3, 2 * TENTHS + 2)

    @property
    def unknown(self) -> int:
        """The band of categories that the vocabulary lacks."""
        return MOST_VALUES + 2

    @classmethod
    def of(cls, snapshots: pd.DataFrame, scorer: Scorer) -> Bands:
        """Return the bands of the reference's `snapshots`."""
        vocabularies = dict(scorer.encoder.vocabularies)
        bounds = {}
        for feature in scorer.catalogue.features:
            if feature.name not in vocabularies:
                bounds[feature.name] = _tenths(snapshots[feature.name].to_numpy(np.float64))
        probability = scorer.score(snapshots)["probability"].to_numpy()
        bounds[SCORE] = _tenths(probability)
        features = scorer.catalogue.features
        families = (*(feature.family for feature in features), "score")
        concepts = (*(feature.concept for feature in features), SCORE)
        is_at_age = scorer.facts.get("lead_age_days") is not None
        return cls(
            (*scorer.catalogue.names, SCORE), families, concepts, bounds, vocabularies,
            scorer.catalogue, None if is_at_age else scorer.base_rate,
            _unlearnt(snapshots, vocabularies, scorer.horizon_days),
        )  # fmt: skip

    def count(
        self,
        snapshots: pd.DataFrame,
        probability: npt.NDArray[np.float64],
        monday: npt.NDArray[np.integer],
        is_new: npt.NDArray[np.bool_],
        counts: npt.NDArray[np.float64],
    ) -> None:
        """Add the rows to `counts`, shape (everybody and new ones, Monday, feature, band)."""
        n_mondays, width = counts.shape[1], self.width
        for place, name in enumerate(self.names):
            values = pd.Series(probability) if name == SCORE else snapshots[name]
            cell = monday * width + self.band(name, values)
            for whom, chosen in enumerate((cell, cell[is_new])):
                found = np.bincount(chosen, minlength=n_mondays * width)
                counts[whom, :, place] += found.reshape(n_mondays, width)

    def band(self, name: str, values: pd.Series) -> npt.NDArray[np.intp]:
        """Return the band of each value of a feature."""
        if name in self.vocabularies:
            known = pd.Index(self.vocabularies[name], dtype="str")
            code = known.get_indexer(pd.Index(values.astype("str")))
            band = np.where(code < 0, self.unknown, np.minimum(code, MOST_VALUES) + 1)
            return np.where(values.isna().to_numpy(), MISSING, band).astype(np.intp)
        numbers = values.to_numpy(np.float64)
        place = np.searchsorted(self.bounds[name], numbers, side="right") + 1
        return np.where(np.isnan(numbers), MISSING, place).astype(np.intp)


def _unlearnt(
    snapshots: pd.DataFrame, vocabularies: dict[str, tuple[str, ...]], horizon_days: float
) -> dict[str, float]:
    """Return the share of leads with a frequent value that the vocabulary lacks, by category.

    Weeks of the last horizon had no labels yet, so their new values were not learnt.
    """
    as_of = snapshots["as_of"]
    labelled = as_of <= as_of.max() - pd.Timedelta(days=horizon_days)
    rows = snapshots[labelled] if labelled.any() else snapshots
    account = rows["account_id"].fillna(rows["lead_id"])
    found = {}
    for name, known in vocabularies.items():
        values = rows[name]
        unknown = values[values.notna() & ~values.isin(known)]
        accounts = account[unknown.index].groupby(unknown).nunique()
        frequent = unknown.isin(accounts.index[accounts >= FREQUENT_ACCOUNTS])
        found[name] = float(frequent.sum() / max(len(rows), 1))
    return found


def _tenths(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the bounds of tenths; a value that a tenth or more share is a band of its own.

    Most counts are 0 for most leads: without that, 0 and 1 would lie in the same band.
    """
    known = numbers[~np.isnan(numbers)]
    if len(known) == 0:
        return np.empty(0)
    inner = np.quantile(known, np.linspace(0, 1, TENTHS + 1)[1:-1])
    values, counts = np.unique(known, return_counts=True)
    common = values[counts * TENTHS >= len(known)]
    return np.unique(np.concatenate([inner, np.nextafter(common, np.inf)]))
