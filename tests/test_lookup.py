"""The id lookup: exact for any texts, whatever their hashes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.facts import lookup
from features.facts.lookup import codes_in

# Lengths around 8, 16 and 24 bytes, texts that differ in their last byte, NUL against nothing.
TEXTS = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="a\0é", max_size=30),
    st.sampled_from([8, 15, 16, 17, 24, 25]).map(lambda length: "x" * length),
    st.tuples(st.integers(0, 30), st.sampled_from("ab")).map(lambda two: "y" * two[0] + two[1]),
)


@given(st.lists(TEXTS, unique=True, max_size=50), st.lists(TEXTS | st.none(), max_size=80))
@settings(max_examples=200, deadline=None)
def test_a_text_has_the_place_a_dictionary_gives_it(known: list[str], ids: list[str | None]):
    place = {text: number for number, text in enumerate(known)}
    ids += known
    found = codes_in(pd.Series(ids, dtype="str"), pd.Index(known, dtype="str"))
    assert found.tolist() == [-1 if one is None else place.get(one, -1) for one in ids]


def test_texts_with_the_same_hash_are_told_apart(monkeypatch):
    # Uncompiled, so that the hash can be made a bad one: all texts meet in one slot, tags equal.
    for name in ("_hash", "_word", "_are_equal", "_place_of", "table_of", "find_places"):
        monkeypatch.setattr(lookup, name, getattr(lookup, name).py_func)
    monkeypatch.setattr(lookup, "_mixed", lambda bits: np.uint64(0))
    known = [f"lead {number}" for number in range(5)] + ["z" * 20 + "1", "z" * 20 + "2"]
    ids = [*reversed(known), "lead 9", "z" * 20 + "3", "z" * 20]
    with np.errstate(over="ignore"):
        found = codes_in(pd.Series(ids, dtype="str"), known)
    assert found.tolist() == [6, 5, 4, 3, 2, 1, 0, -1, -1, -1]


@pytest.mark.parametrize("chunks", [1, 3, 7])
def test_how_the_column_is_cut_into_chunks_changes_nothing(chunks):
    texts = [f"lead-{number % 37}" if number % 5 else None for number in range(1_000)]
    cut = np.array_split(np.arange(1_000), chunks)
    column = pa.chunked_array([pa.array([texts[row] for row in part]) for part in cut])
    found = codes_in(pd.Series(column, dtype="str")[3:], [f"lead-{n}" for n in range(30)])
    expected = [
        int(text[5:]) if text is not None and int(text[5:]) < 30 else -1 for text in texts[3:]
    ]
    assert found.tolist() == expected


def test_missing_ids_have_no_place_even_if_the_empty_text_is_known():
    assert codes_in(pd.Series([None, ""], dtype="str"), pd.Index([""])).tolist() == [-1, 0]
