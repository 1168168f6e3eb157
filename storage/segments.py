"""Segments: for some ten thousand events of a customer, where the values are that lists are filtered by.

A segment has the ids of its events, in their order, and for each filter an index, which is a sequence of entries of
8 bytes each. An entry is a number, whose highest bits are those of a hash of the value, and whose lowest ones are the
place of an event that has it. A value that many of the events have has one entry instead, which only says so. Entries
are sorted. Those whose hash begins with the same byte are a bucket, and a search reads that part of the index only.

What is found is to be checked, since two values may have the same hash, and an event may have been erased.
"""

import sys
from array import array
from bisect import bisect_left

from storage.model import hash_text

MOST = 1_024
"""A value that more events of a segment have has no places."""

BUCKET_SHIFT = 56
BUCKETS = 1 << 64 - BUCKET_SHIFT

ENTRY_BYTES = 8

READ_BYTES = 2 * MOST * ENTRY_BYTES
"""How much of a bucket is read at most. Others of its entries may begin with the same bytes, and come first."""

PLACE_BITS = 20
IS_COMMON = 1 << PLACE_BITS
HASH_SHIFT = PLACE_BITS + 1
"""How far up in an entry the bits of the hash begin: below are the place, and the bit that says "many"."""

_PREFIX_BYTES = (64 - HASH_SHIFT) // 8


def find_bucket(value: str) -> int:
    """Return which bucket the entries of a value are in."""
    return hash_text(value) >> BUCKET_SHIFT


def make_prefix(value: str) -> bytes:
    """Return the bytes with which the entries of a value begin, and hardly any others do."""
    return hash_text(value).to_bytes(8, "big")[:_PREFIX_BYTES]


def find_places(entries: bytes, value: str) -> list[int] | None:
    """Return the places of the events that may have a value.

    Args:
        entries: the entries of its bucket in a segment from the first on that begins as those of the value do, but
            not more than `READ_BYTES`.
        value: the value.

    Returns:
        The places in ascending order, or None if the segment does not tell, because there are more than `MOST`.
    """
    first = hash_text(value) >> HASH_SHIFT << HASH_SHIFT
    low, common = ((first | bits).to_bytes(ENTRY_BYTES, "big") for bits in (0, IS_COMMON))
    start, end = _find(entries, low), _find(entries, common)
    is_cut = end + ENTRY_BYTES > len(entries) >= READ_BYTES
    if is_cut or entries[end : end + ENTRY_BYTES] == common:
        return None
    found = array("Q", entries[start:end])
    if sys.byteorder == "little":
        found.byteswap()
    return [entry - first for entry in found]


def _find(entries: bytes, entry: bytes) -> int:
    """Return how many bytes there are before an entry, or before the place where it would be."""

    def get(at: int) -> bytes:
        return entries[at * ENTRY_BYTES : (at + 1) * ENTRY_BYTES]

    return ENTRY_BYTES * bisect_left(range(len(entries) // ENTRY_BYTES), entry, key=get)
