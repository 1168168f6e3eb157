"""Counting events that come as columns, and their users, by up to two properties."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from storage.columns import Column, Events, Numbers
from storage.errors import SummaryTooLarge
from storage.model import hash_text
from storage.summary import TIMES

MAX_ROWS = 1_200_000
"""They take up to 200 bytes each."""

# With so many numbers that are possible for each that there is, an array of all is faster than a sort.
_DENSE = 8


_Rows = NDArray[np.int32]


class Counted(NamedTuple):
    """One group of events."""

    events: int
    users: int
    source: int
    """Which of the `Events` that were added has the newest event of the group."""
    place: int
    """Where it is there."""


class Counts(NamedTuple):
    """What was counted."""

    groups: list[Counted]
    """Those with the most events first. Among groups with as many, the one with the newest event comes first."""
    events: int
    users: int
    has_more: bool
    """Whether groups are left out."""


class Counter:
    """Counts events that are added in the order of time.

    The events of each addition become rows: one for all that have the same properties and user. The rows of several
    additions are put together when there are many, and in the end.
    """

    def __init__(
        self, by: Sequence[str], filters: Sequence[tuple[str, str]], since: int, until: int, *, most: int = MAX_ROWS
    ) -> None:
        """Begin without an event.

        Args:
            by: up to two of `TIMES` or of the columns.
            filters: the names of columns, and the texts that must stand there.
            since: the first millisecond that counts.
            until: the first one that does not count any more.
            most: how many rows there may be. There are up to half as many more before they are put together, and of
                2 million the keys still fit into 63 bits.
        """
        self._filters = [(name, hash_text(text)) for name, text in filters]
        self._since, self._until = since, until
        # The user comes last, also as one of the two: groups of which it is a property have one user each.
        self._parts = [_Part(name) for name in (*(name for name in by if name != "user_id"), "user_id")]
        self._is_by_user = "user_id" in by
        self._counts: list[_Rows] = []
        self._newest: list[_Rows] = []
        self._row_count = self._merged_count = 0
        self._most = most
        self._starts = [0]

    def add(self, events: Events) -> None:
        """Count events.

        Raises:
            SummaryTooLarge: there are too many different ones.
        """
        start = self._starts[-1]
        self._starts.append(start + events.number)
        wanted = self._select(events)
        number = events.number if wanted is None else len(wanted)
        if not number:
            return
        columns = [_get_column(events, part.name) for part in self._parts]
        different = math.prod(len(hashes) for _, hashes in columns)
        key = np.zeros(number, np.int32 if different < 2**31 else np.int64)
        for codes, hashes in columns:
            np.multiply(key, len(hashes), out=key)
            np.add(key, codes if wanted is None else codes[wanted], out=key, casting="unsafe")
        counts, lasts = _count(key, different)
        newest = lasts if wanted is None else wanted[lasts]
        self._counts.append(counts.astype(np.int32))
        self._newest.append((start + newest).astype(np.int32))
        for part, (codes, hashes) in zip(self._parts, columns, strict=True):
            part.add(codes[newest], hashes)
        self._row_count += len(newest)
        if self._row_count > max(self._most, self._merged_count + self._most // 2):
            self._merge()
            if self._row_count > self._most:
                raise SummaryTooLarge

    def finish(self, top: int) -> Counts:
        """Return the counts of all events, in up to `top` groups."""
        if not self._counts:
            return Counts([], 0, 0, has_more=False)
        key = self._merge()
        ((counts,), (newest,)) = self._counts, self._newest
        # A group has as many users as rows.
        starts = _find_firsts(key // (1 if self._is_by_user else len(self._parts[-1].hashes)))
        group_users = np.diff(np.append(starts, len(key)))
        group_counts = np.add.reduceat(counts, starts, dtype=np.int64)
        group_newest = np.maximum.reduceat(newest, starts).astype(np.int64)
        rank = group_counts << 32 | group_newest
        best = np.argpartition(rank, -top)[-top:] if len(rank) > top else np.arange(len(rank))
        best = best[np.argsort(-rank[best])]
        sources = np.searchsorted(self._starts, group_newest[best], side="right") - 1
        places = group_newest[best] - np.array(self._starts)[sources]
        chosen = (group_counts[best], group_users[best], sources, places)
        groups = [Counted(*group) for group in zip(*[each.tolist() for each in chosen], strict=True)]
        users = len(self._parts[-1].hashes)
        return Counts(groups, int(counts.sum(dtype=np.int64)), users, has_more=len(rank) > top)

    def _merge(self) -> Numbers:
        """Put together the rows that have the same values. Return their keys, in whose order they are then."""
        counts, newest = np.concatenate(self._counts), np.concatenate(self._newest)
        key = np.zeros(len(counts), np.int64)
        for part in self._parts:
            part.merge()
            key *= len(part.hashes)
            key += part.places
        order = np.argsort(key, kind="stable")
        key = key[order]
        firsts = _find_firsts(key)
        self._counts = [np.add.reduceat(counts[order], firsts)]
        self._newest = [np.maximum.reduceat(newest[order], firsts)]
        for part in self._parts:
            part.choose(order[firsts])
        self._row_count = self._merged_count = len(firsts)
        return key[firsts]

    def _select(self, events: Events) -> Numbers | None:
        """Return the places of the events that count, or None if all do."""
        is_wanted: Any = None
        if events.times is not None and events.number:
            first, last = events.start + int(events.times[0]), events.start + int(events.times[-1])
            if first < self._since or last >= self._until:
                times = events.times.astype(np.int64) + events.start
                is_wanted = (times >= self._since) & (times < self._until)
        for name, hashed in self._filters:
            codes, hashes = events.columns[name]
            has_text = np.isin(codes, np.flatnonzero(hashes == hashed))
            is_wanted = has_text if is_wanted is None else is_wanted & has_text
        return None if is_wanted is None else np.flatnonzero(is_wanted)


class _Part:
    """The values of one property in all rows."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._all_places: list[_Rows] = []
        self._all_hashes: list[NDArray[np.uint64]] = []
        self._hash_count = 0

    def add(self, codes: NDArray[Any], hashes: NDArray[np.uint64]) -> None:
        """Append rows. Of their values, only those are kept that occur."""
        used = np.flatnonzero(np.bincount(codes, minlength=len(hashes)))
        places = np.zeros(len(hashes), np.int32)
        places[used] = np.arange(self._hash_count, self._hash_count + len(used))
        self._all_places.append(places[codes])
        self._all_hashes.append(hashes[used])
        self._hash_count += len(used)

    @property
    def hashes(self) -> NDArray[np.uint64]:
        """The different values, after `merge`."""
        (hashes,) = self._all_hashes
        return hashes

    @property
    def places(self) -> _Rows:
        """Which of `hashes` each row has."""
        (places,) = self._all_places
        return places

    def merge(self) -> None:
        """Give the same place to the same value in all rows."""
        hashes = np.concatenate(self._all_hashes)
        order = np.argsort(hashes, kind="stable")  # Which goes by what is sorted already.
        hashes = hashes[order]
        is_first = np.append(True, hashes[1:] != hashes[:-1])
        numbers = np.empty(len(hashes), np.int32)
        numbers[order] = np.cumsum(is_first) - 1
        self._all_places = [numbers[np.concatenate(self._all_places)]]
        self._all_hashes = [hashes[is_first]]
        self._hash_count = len(self._all_hashes[0])

    def choose(self, rows: Numbers) -> None:
        """Keep these rows, among which every value occurs."""
        self._all_places = [self.places[rows]]


def _get_column(events: Events, name: str) -> Column:
    if name not in TIMES:
        return events.columns[name]
    length = TIMES[name]
    if events.times is None:
        numbers = np.full(events.number, events.start // length)
    else:
        numbers = (events.times.astype(np.int64) + events.start) // length
    first, last = int(numbers[0]), int(numbers[-1])
    return Column(numbers - first, np.arange(first, last + 1, dtype=np.uint64))


def _count(key: NDArray[Any], different: int) -> tuple[Numbers, Numbers]:
    """Return how often each number of `key` occurs, of those that do, and where it occurs last."""
    if different <= _DENSE * len(key):
        counts = np.bincount(key, minlength=different)
        lasts = np.zeros(different, np.int64)
        lasts[key] = np.arange(len(key))  # The last one stays.
        occurring = np.flatnonzero(counts)
        return counts[occurring], lasts[occurring]
    order = np.argsort(key, kind="stable")
    ends = np.append(_find_firsts(key[order])[1:], len(key))
    return np.diff(ends, prepend=0), order[ends - 1]


def _find_firsts(sorted_numbers: NDArray[Any]) -> Numbers:
    """Return where a number stands that differs from the one before."""
    is_first = np.append(True, sorted_numbers[1:] != sorted_numbers[:-1])
    return np.flatnonzero(is_first)
