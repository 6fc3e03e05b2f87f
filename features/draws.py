"""Random draws that depend on a row alone: other rows, their order and their parts change none."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.facts.histories import Int64s

Draws = npt.NDArray[np.uint64]


def draws(lead_ids: pd.Series, numbers: Int64s, seed: int) -> Draws:
    """Return 64 random bits for each (seed, lead, number)."""
    codes, ids = pd.factorize(lead_ids)
    lead_hash = pd.util.hash_array(np.asarray(ids, dtype=object))[codes]
    return _mix(lead_hash ^ _mix(_mix(np.full(len(numbers), seed)) + numbers.astype(np.uint64)))


def shares(drawn: Draws) -> npt.NDArray[np.float64]:
    """Return draws as numbers in [0, 1).

    >>> shares(np.array([0, 2**63], dtype=np.uint64)).tolist()
    [0.0, 0.5]
    """
    return np.asarray((drawn >> np.uint64(11)) * 2.0**-53)


def _mix(values: npt.NDArray[np.generic]) -> Draws:
    """Return scrambled bits: the finalizer of SplitMix64 (Steele, Lea and Flood 2014)."""
    bits = values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(bits ^ (bits >> np.uint64(31)))
