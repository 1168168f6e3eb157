"""How segments are made: of events that are read, or of smaller segments. See `storage.segments`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from storage.event_columns import ReadEvents
from storage.segments import BUCKET_SHIFT, BUCKETS, ENTRY_BYTES, HASH_SHIFT, IS_COMMON, MOST

Entries = NDArray[np.uint64]

_ENTRY = np.dtype(">u8")
_HASH_BITS = np.uint64((1 << 64) - (1 << HASH_SHIFT))


class Index(NamedTuple):
    """Where in a segment the values of one filter are."""

    starts: list[int]
    """The byte at which each bucket begins, and behind them the number of bytes of all."""
    entries: bytes


def make(read: ReadEvents) -> list[Index]:
    """Return the index of each column of a segment of events."""
    columns = [column.make() for column in read.columns]
    places = np.arange(read.number, dtype=np.uint64)
    return [
        _make_index(column.hashes[column.codes] & _HASH_BITS | places) if len(places) else _make_index(places)
        for column in columns
    ]


def merge(parts: Sequence[tuple[int, bytes]]) -> Index:
    """Return the index of segments that are put together, one behind the other.

    Args:
        parts: of each, the number of its events, and the entries.
    """
    moved = []
    before = 0
    for events, packed in parts:
        entries = np.frombuffer(packed, _ENTRY).astype(np.uint64)
        moved.append(np.where(entries & np.uint64(IS_COMMON), entries, entries + np.uint64(before)))
        before += events
    return _make_index(np.concatenate(moved))


def _make_index(entries: Entries) -> Index:
    entries = np.sort(entries)
    hashes = entries & _HASH_BITS
    firsts = np.flatnonzero(np.diff(hashes, prepend=~hashes[:1]))
    counts = np.diff(firsts, append=len(entries))
    is_common = counts > MOST
    is_common |= np.maximum.reduceat(entries & np.uint64(IS_COMMON), firsts) > 0 if len(entries) else False
    places = entries[np.repeat(~is_common, counts)]
    kept = np.sort(np.concatenate([places, hashes[firsts[is_common]] | np.uint64(IS_COMMON)]))
    buckets = np.arange(BUCKETS, dtype=np.uint64) << np.uint64(BUCKET_SHIFT)
    starts: Any = np.searchsorted(kept, buckets) * ENTRY_BYTES
    return Index([*starts.tolist(), len(kept) * ENTRY_BYTES], kept.astype(_ENTRY).tobytes())
