"""How segments are made: of events that are read, or of smaller segments. See `storage.segments`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from storage.columns import ID_BYTES, ColumnMaker
from storage.event_columns import add_texts, find_next_id
from storage.segments import BUCKETS, ENTRY_BYTES, HASH_SHIFT, IS_COMMON, MOST

Entries = NDArray[np.uint64]

_ENTRY = np.dtype(">u8")
_HASH_BITS = np.uint64((1 << 64) - (1 << HASH_SHIFT))


class Index(NamedTuple):
    """Where in a segment the values of one filter are."""

    starts: list[int]
    """The byte at which each bucket begins, and behind them the number of bytes of all."""
    entries: bytes


class SegmentMaker:
    """A segment that is being made of events."""

    def __init__(self, filters: int) -> None:
        """Begin without an event.

        Args:
            filters: the number of columns.
        """
        self._ids: list[bytes] = []
        self._columns = [ColumnMaker() for _ in range(filters)]
        self.events = 0
        self.size = 0
        """In characters: the different texts."""

    def add(self, ids: bytes, lists: Sequence[str]) -> str:
        """Append events as `storage.event_columns.make_read` returns them. Return the id at which to go on."""
        self._ids.append(ids)
        self.events += len(ids) // ID_BYTES
        add_texts(self._columns, lists)
        self.size = sum(column.size for column in self._columns)
        return find_next_id(ids)

    def make(self) -> tuple[bytes, list[Index]]:
        """Return the ids and, for each filter, the index."""
        columns = [column.make() for column in self._columns]
        places = np.arange(self.events, dtype=np.uint64)
        return b"".join(self._ids), [
            _make_index(column.hashes[column.codes] & _HASH_BITS | places) if self.events else _make_index(places)
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
    buckets = np.arange(BUCKETS, dtype=np.uint64) << np.uint64(64 - BUCKETS.bit_length() + 1)
    starts: Any = np.searchsorted(kept, buckets) * ENTRY_BYTES
    return Index([*starts.tolist(), len(kept) * ENTRY_BYTES], kept.astype(_ENTRY).tobytes())
