"""Which place an id has among known ones: an exact hash lookup, made for millions of rows.

It waits for memory, not for the processor: an id may lie anywhere in the table. So a block of rows
is hashed first and looked up then, and no row has to wait for what another one finds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from numba import njit

from features.facts.histories import Int64s
from features.threads import rows_in_threads

if TYPE_CHECKING:
    import pyarrow as pa

# Numba compiles a function for the types it is given, so these carry no annotations.

UInt64s = npt.NDArray[np.uint64]
Ids = pd.Index | Sequence[str]
"Distinct ids, by code."
U64 = np.uint64

_BLOCK = 256
_ROWS_AT_ONCE = 1 << 17
_TAG = U64(0xFFFFFFFF00000000)
_PLACE = U64(0x00000000FFFFFFFF)
_ALL = U64(0xFFFFFFFFFFFFFFFF)


class Texts(NamedTuple):
    """Texts in UTF-8: text i is the bytes `starts[i]` to `starts[i + 1]`."""

    starts: Int64s
    words: UInt64s
    "The bytes, eight to a word, and two words more: reading may go beyond the end."


class Table(NamedTuple):
    """Distinct texts, ready to be found."""

    texts: Texts
    slots: UInt64s
    """At a text's hash or behind it: the upper half of the hash and the text's place + 1, 0 where
    free. A power of two, half of it free."""
    heads: UInt64s
    "Of each text its first 16 bytes and its length, shape (n_texts, 3)."


def codes_in(ids: pd.Series, known: Ids) -> Int64s:
    """Return the position of each id in `known` (distinct), -1 for missing and unknown ids.

    >>> codes_in(pd.Series(["b", None, "c"], dtype="str"), pd.Index(["a", "b"])).tolist()
    [1, -1, -1]
    """
    if not len(ids) or not len(known):
        return np.full(len(ids), -1, np.int64)
    codes = np.empty(len(ids), np.int64)
    table = table_of(texts_of(_arrow(known.array if isinstance(known, pd.Index) else known)))
    wanted = _arrow(ids)

    def look_up(first: int, last: int) -> None:
        for start in range(first, last, _ROWS_AT_ONCE):
            rows = wanted.slice(start, min(_ROWS_AT_ONCE, last - start))
            found = codes[start : start + len(rows)]
            find_places(texts_of(rows), table, found)
            if rows.null_count:
                found[rows.is_null().to_numpy(zero_copy_only=False)] = -1

    rows_in_threads(look_up, len(ids))
    return codes


def _arrow(ids: Any) -> pa.Array | pa.ChunkedArray:
    """Return texts as Arrow's, without a copy where they are already."""
    import pyarrow as pa

    return pa.array(ids, from_pandas=True).cast(pa.large_string())


def texts_of(ids: pa.Array | pa.ChunkedArray) -> Texts:
    """Return the texts of Arrow's large_string; missing ones as any."""
    import pyarrow as pa

    whole = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    _, starts, letters = whole.buffers()
    starts = np.frombuffer(starts, np.int64)[whole.offset : whole.offset + len(whole) + 1]
    n_letters = int(starts[-1] - starts[0])
    words = np.zeros(n_letters // 8 + 3, np.uint64)
    if n_letters:
        own = np.frombuffer(letters, np.uint8)[starts[0] : starts[-1]]
        words.view(np.uint8)[:n_letters] = own
    return Texts(starts - starts[0], words)


@njit(cache=True, nogil=True)
def table_of(texts):  # type: ignore[no-untyped-def]
    """Return the table of distinct `texts`, fewer than 2**32."""
    n_texts, n_slots = len(texts.starts) - 1, 16
    while n_slots < 2 * n_texts:
        n_slots *= 2
    slots, mask = np.zeros(n_slots, np.uint64), U64(n_slots - 1)
    heads = np.zeros((n_texts + 1, 3), np.uint64)
    for place in range(n_texts):
        one, two, hashed = _hash(texts, place)
        heads[place, 0], heads[place, 1] = one, two
        heads[place, 2] = U64(texts.starts[place + 1] - texts.starts[place])
        slot = hashed & mask
        while slots[slot] != 0:
            slot = (slot + U64(1)) & mask
        slots[slot] = (hashed & _TAG) | U64(place + 1)
    return Table(texts, slots, heads)


@njit(cache=True, nogil=True)
def find_places(texts, table, found):  # type: ignore[no-untyped-def]
    """Fill `found` with the place of each of `texts` in the table, -1 for those not there."""
    slots, heads = table.slots, table.heads
    mask = U64(len(slots) - 1)
    one, two = np.empty(_BLOCK, np.uint64), np.empty(_BLOCK, np.uint64)
    hashed, entry = np.empty(_BLOCK, np.uint64), np.empty(_BLOCK, np.uint64)
    for first in range(0, len(found), _BLOCK):
        n_rows = min(_BLOCK, len(found) - first)
        for i in range(n_rows):
            one[i], two[i], hashed[i] = _hash(texts, first + i)
        for i in range(n_rows):
            entry[i] = slots[hashed[i] & mask]
        for i in range(n_rows):
            slot = hashed[i] & mask
            while entry[i] != 0 and (entry[i] ^ hashed[i]) & _TAG != 0:
                slot = (slot + U64(1)) & mask
                entry[i] = slots[slot]
        for i in range(n_rows):
            row = first + i
            length = U64(texts.starts[row + 1] - texts.starts[row])
            place = max(entry[i] & _PLACE, U64(1)) - U64(1)
            differs = (heads[place, 0] ^ one[i]) | (heads[place, 1] ^ two[i])
            differs |= heads[place, 2] ^ length
            found[row] = np.int64(place) if entry[i] != 0 else -1
            if entry[i] != 0 and (differs != 0 or length > U64(16)):
                found[row] = _place_of(texts, row, table, hashed[i] & mask)


@njit(cache=True, nogil=True)
def _place_of(texts, row, table, slot):  # type: ignore[no-untyped-def]
    """Return the place of one text, compared to its end with each from `slot` on."""
    while table.slots[slot] != 0:
        place = np.int64(table.slots[slot] & _PLACE) - 1
        if _are_equal(texts, row, table.texts, place):
            return place
        slot = (slot + U64(1)) & U64(len(table.slots) - 1)
    return -1


@njit(cache=True, nogil=True)
def _are_equal(texts, row, others, other):  # type: ignore[no-untyped-def]
    low, other_low = texts.starts[row], others.starts[other]
    length = texts.starts[row + 1] - low
    if others.starts[other + 1] - other_low != length:
        return False
    for done in range(0, length, 8):
        word = _word(texts.words, low + done, length - done)
        if word != _word(others.words, other_low + done, length - done):
            return False
    return True


@njit(cache=True, nogil=True)
def _hash(texts, row):  # type: ignore[no-untyped-def]
    """Return the first 16 bytes of a text as two numbers, and a hash of all of it."""
    low, words = texts.starts[row], texts.words
    length = texts.starts[row + 1] - low
    one, two = _word(words, low, length), _word(words, low + 8, length - 8)
    hashed = _mixed(_mixed(U64(length) ^ one) ^ two)
    for done in range(16, length, 8):
        hashed = _mixed(hashed ^ _word(words, low + done, length - done))
    return one, two, hashed


@njit(cache=True, nogil=True)
def _word(words, low, length):  # type: ignore[no-untyped-def]
    """Return up to 8 of the `length` bytes from `low` on as one number."""
    if length <= 0:
        return U64(0)
    shift = U64(8 * (low & 7))
    word = words[low >> 3] >> shift
    word |= (words[(low >> 3) + 1] << U64(1)) << (U64(63) - shift)  # a shift by 64 would be none
    return word & (_ALL >> U64(64 - 8 * min(length, 8)))


@njit(cache=True, nogil=True)
def _mixed(bits):  # type: ignore[no-untyped-def]
    """Return bits that each depend on all of `bits` (the finaliser of MurmurHash3)."""
    bits ^= bits >> U64(33)
    bits *= U64(0xFF51AFD7ED558CCD)
    bits ^= bits >> U64(33)
    bits *= U64(0xC4CEB9FE1A85EC53)
    return bits ^ (bits >> U64(33))
