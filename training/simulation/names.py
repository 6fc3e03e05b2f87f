"""Ids and names of the demo CRM, from row numbers and codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.simulation.funnel import Ints
from training.simulation.people import NEVER

Strings: TypeAlias = pd.api.extensions.ExtensionArray


def lead_ids(count: int) -> Strings:
    """Return `L000001` and so on, in order of creation."""
    return ids("L", count)


def ids(prefix: str, count: int) -> Strings:
    """Return the prefix with 1 to `count`, six digits or more.

    >>> list(ids("O", 2))
    ['O000001', 'O000002']
    """
    return _strings([f"{prefix}{number + 1:06d}" for number in range(count)])


def named(names: Sequence[str], code: Ints) -> Strings:
    """Return the name of each code; -1 is missing.

    >>> list(named(("no", "yes"), np.array([1, -1])))
    ['yes', nan]
    """
    return take(_strings(list(names)), code)


def take(names: Strings, place: Ints) -> Strings:
    """Return the names at these places; -1 is missing."""
    taken: Strings = names.take(place, allow_fill=True)
    return taken


def _strings(names: list[str]) -> Strings:
    strings: Strings = pd.array(names, dtype="str")
    return strings


def instants(microseconds: Ints) -> npt.NDArray[np.datetime64]:
    """Return instants as `datetime64[us]`; NEVER is NaT."""
    moments = microseconds.astype("datetime64[us]")
    moments[microseconds == NEVER] = np.datetime64("NaT")
    return moments
