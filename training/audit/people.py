"""People who are in the data twice, under two lead ids that no account links."""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
import pandas as pd

from features.config import Config
from features.errors import InputError
from features.tables import EMAIL_HASH, Tables
from training.audit.findings import Duplicates
from training.audit.views import Bools, Int64s
from training.evaluation import split_examples
from training.examples import Examples

IDENTIFIER = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+|[0-9a-fA-F]{32,128}|\+?[\d ()/-]{7,20}")
"""An e-mail address, a hash, or a phone number written as text."""
IDENTIFIES = 0.9
"""Share of the distinct values that look like one, and of the leads that have their own."""
LEAST_FILLED = 50
LEAST_FIELDS = 6
"""Rows are alike only if this many attributes that vary are filled and equal,"""
CHANCE = 1e-4
"""... and each row would meet fewer than this many equal ones by chance."""
SEED = 0


def find_duplicates(
    examples: Examples, email_hash: pd.Series | None, config: Config
) -> tuple[Duplicates, ...]:
    """Return lead ids that share an identifier or a whole row of attributes.

    `email_hash` is indexed by lead id. Leads of one account component never lie on both sides of a
    split that is grouped, so they do not count; nor does one lead at two instants.
    """
    first = np.flatnonzero(~examples.snapshots["lead_id"].duplicated().to_numpy())
    across = _both_parts(examples, config)
    leads = examples.snapshots.iloc[first]
    features = [
        feature
        for feature in examples.catalogue.features
        if feature.aggregation == "attribute" and feature.stream.startswith("leads.")
    ]
    identifiers = {
        feature.stream: leads[feature.name]
        for feature in features
        if feature.dtype == "category" and _identifies(leads[feature.name])
    }
    if email_hash is not None:
        identifiers[f"leads.{EMAIL_HASH}"] = leads["lead_id"].map(email_hash)
    found = [
        _duplicates(examples, first, _codes(values), "same_identifier", (stream,), across)
        for stream, values in identifiers.items()
    ]
    alike = _alike(leads[[feature.name for feature in features]])
    found.append(_duplicates(examples, first, alike, "identical_row", (), across))
    return tuple(one for one in found if one is not None)


def hashes_of(tables: Tables) -> pd.Series | None:
    """Return the newest e-mail hash by lead id, None where the leads have none."""
    if EMAIL_HASH not in tables.leads:
        return None
    known = tables.leads[tables.leads[EMAIL_HASH].notna()]
    known = known.sort_values("recorded_at", kind="stable").drop_duplicates("lead_id", keep="last")
    hashes: pd.Series = known.set_index("lead_id")[EMAIL_HASH]
    return hashes


def _codes(values: pd.Series) -> Int64s:
    return pd.factorize(values)[0].astype(np.int64)


def _identifies(values: pd.Series) -> bool:
    filled = values.dropna()
    if len(filled) < LEAST_FILLED:
        return False
    distinct = filled.drop_duplicates()
    if len(distinct) < IDENTIFIES * len(filled):
        return False
    looks = [IDENTIFIER.fullmatch(value) is not None for value in distinct.iloc[:1000]]
    return float(np.mean(looks)) >= IDENTIFIES


def _alike(attributes: pd.DataFrame) -> Int64s:
    """Return a number for rows that equal another one in every attribute, -1 for all others.

    Only where equal rows would hardly come about by chance: the chance that two rows agree is
    estimated as that of the columns one by one.
    """
    random = np.random.default_rng(SEED)
    key = np.zeros(len(attributes), np.uint64)
    filled = np.zeros(len(attributes), np.int64)
    chance = float(len(attributes))
    for name in attributes:
        code = pd.factorize(attributes[name])[0]
        counts = np.bincount(code + 1)
        if (counts > 0).sum() > 1:
            marks = random.integers(0, 2**64, len(counts), np.uint64, endpoint=False)
            key += marks[code + 1]  # sums of random marks: equal for equal rows, hardly ever else
            filled += code >= 0
            chance *= float(np.sum((counts / len(code)) ** 2))
    number = pd.factorize(key)[0].astype(np.int64)
    if not len(number) or chance > CHANCE:
        return np.full(len(number), -1, np.int64)
    is_repeated = np.bincount(number)[number] > 1
    return np.where(is_repeated & (filled >= LEAST_FIELDS), number, -1)


def _duplicates(
    examples: Examples,
    first: Int64s,
    twins: Int64s,
    kind: Literal["same_identifier", "identical_row"],
    columns: tuple[str, ...],
    across: tuple[Bools, Bools] | None,
) -> Duplicates | None:
    rows = np.flatnonzero(twins >= 0)
    frame = pd.DataFrame({"twin": twins[rows], "component": examples.account[first[rows]]})
    frame = frame.assign(in_fit=False, in_test=False)
    if across is not None:
        frame = frame.assign(in_fit=across[0][rows], in_test=across[1][rows])
    by_person = frame.groupby("twin").agg(
        leads=("component", "size"),
        components=("component", "nunique"),
        in_fit=("in_fit", "any"),
        in_test=("in_test", "any"),
    )
    people = by_person[by_person["components"] > 1]
    if people.empty:
        return None
    both = None if across is None else int((people["in_fit"] & people["in_test"]).sum())
    return Duplicates(kind, columns, int(people["leads"].sum()), len(people), both)


def _both_parts(examples: Examples, config: Config) -> tuple[Bools, Bools] | None:
    """Return which leads, in order of their first rows, have rows in the fit and the test part.

    None where nothing can be split.
    """
    try:
        split = split_examples(examples, config)
    except InputError:
        return None
    lead = pd.factorize(examples.snapshots["lead_id"])[0]
    in_fit = np.bincount(lead, split.is_fit) > 0
    return in_fit, np.bincount(lead, split.is_test) > 0
