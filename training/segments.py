"""Segments: which features make them, and whether the probabilities hold in each."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import binom

from features.catalogue.catalogue import Catalogue
from features.errors import InputError
from training.metrics import LEVEL
from training.reliability import rates_by
from training.weekly import SCORED_COLUMNS

MISSING = "(missing)"
UNLIKELY = 0.05
REPLAY_COLUMNS = (*SCORED_COLUMNS, "previous_best", "best", "is_warm_up", "created_at", "amount")
"Columns that scored weeks and their replay have, or get, themselves."
AS_PREDICTED, TOO_HIGH, TOO_LOW, UNKNOWN = (
    "as predicted",
    "predicted too high",
    "predicted too low",
    "too few wins to say",
)


def category_feature(catalogue: Catalogue, name: str, setting: str) -> str:
    """Return the column of the category feature that `setting` names.

    `name` is an attribute (`leads.region`, `accounts.industry`), its plain column (`region`) or
    the name of a feature (`email_kind`). Raises InputError when there is no such feature, or when
    it is a number.
    """
    found = [feature for feature in catalogue.features if feature.name == name] or [
        feature
        for feature in catalogue.features
        if feature.aggregation == "attribute"
        and name in (feature.stream, feature.stream.partition(".")[2])
    ]
    categories = [feature for feature in catalogue.features if feature.dtype == "category"]
    known = ", ".join(
        feature.stream if feature.aggregation == "attribute" else feature.name
        for feature in categories[:20]
    )
    if not found:
        raise InputError(
            f'{setting} names "{name}", which is no feature of the model. '
            f"Categories it reads: {known or 'none'}."
        )
    if found[0].dtype != "category":
        raise InputError(
            f'{setting} names "{name}", which is a number; segments are made by a category. '
            f"Known: {known or 'none'}."
        )
    return found[0].name


def replay_segment(catalogue: Catalogue, name: str, setting: str) -> str:
    """Return what `category_feature` returns, for segments of scored weeks.

    Raises InputError as that does, and for a column named like one that scored weeks have.
    """
    column = category_feature(catalogue, name, setting)
    if column in REPLAY_COLUMNS:
        stream = next(f.stream for f in catalogue.features if f.name == column)
        table, _, _ = stream.partition(".")
        raise InputError(
            f'{setting} names "{name}", but the replay has a column "{column}" of its own. Give '
            f'yours another name in the query of [tables.{table}], such as "lead_{column}", and '
            "name that one."
        )
    return column


def segment_rates(test: pd.DataFrame, segments: pd.DataFrame) -> pd.DataFrame:
    """Return, for each value of each column of `segments`, whether the probabilities hold there.

    `test`: won, probability, weight, account; `segments`: category columns, row by row with `test`.
    Columns: `attribute` (the column), `value` (missing as "(missing)"), then those of `rates_by`,
    and `verdict` (as predicted, predicted too high, predicted too low, too few wins to say). By
    column, then by falling number of rows.
    """
    tables = [
        rates_by(test, segments[name].astype("str").fillna(MISSING).to_numpy(object))
        .sort_values("rows", ascending=False, kind="stable")
        .rename(columns={"group": "value"})
        .assign(attribute=str(name))
        for name in segments.columns
    ]
    if not tables:
        return rates_by(test[:0], np.empty(0)).assign(attribute="", value="", verdict="")
    rates = pd.concat(tables, ignore_index=True)
    rates = rates[["attribute", "value", *rates.columns.drop(["attribute", "value"])]]
    # NaN compares as false: without an interval the last choice is left
    verdicts = np.select(
        [
            (rates["predicted"] > rates["high"]).to_numpy(),
            (rates["predicted"] < rates["low"]).to_numpy(),
            rates["low"].notna().to_numpy(),
        ],
        [TOO_HIGH, TOO_LOW, AS_PREDICTED],
        default=UNKNOWN,
    )
    return rates.assign(verdict=pd.array(verdicts, dtype="str"))


def segments_sentence(rates: pd.DataFrame) -> str:
    """Return in words whether the probabilities hold in the segments of `segment_rates`.

    >>> rates = pd.DataFrame({"verdict": [AS_PREDICTED] * 8 + [TOO_HIGH] * 2 + [UNKNOWN]})
    >>> segments_sentence(rates)  # doctest: +NORMALIZE_WHITESPACE
    'The mean probability lies inside the 90% interval of the observed win rate in 8 of 10
    segments; by chance alone it would be outside in about 1. 1 more had too few wins to say.'
    >>> "more than chance" in segments_sentence(rates.replace(AS_PREDICTED, TOO_HIGH))
    True
    """
    judged = int((rates["verdict"] != UNKNOWN).sum())
    unknown = len(rates) - judged
    if judged == 0:
        return "No segment had enough wins to tell whether its probabilities hold."
    inside = int((rates["verdict"] == AS_PREDICTED).sum())
    chance = round((1 - LEVEL) * judged)
    text = (
        f"The mean probability lies inside the 90% interval of the observed win rate in {inside} "
        f"of {judged} segments; by chance alone it would be outside in "
        f"{f'about {chance}' if chance else 'less than one'}."
    )
    by_luck = float(binom.sf(judged - inside - 1, judged, 1 - LEVEL))
    text += (
        " That is more than chance: in those listed the probabilities are off."
        if by_luck < UNLIKELY
        else ""
    )
    return f"{text} {unknown} more had too few wins to say." if unknown else text
