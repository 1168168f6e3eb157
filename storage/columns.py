"""Events as columns: of each text that they have, a number for each event, which stands for one of the different texts.

A million events take a few megabytes in this form, and numpy counts them in a fraction of a second.
"""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from storage.model import hash_text

Numbers = NDArray[np.int64]

_CODES = tuple(np.dtype(name) for name in ("<u1", "<u2", "<u4"))
_HASHES = np.dtype("<u8")
_TIMES = np.dtype("<u4")

ID_BYTES = 16
_PLACES = 256 ** np.arange(6)[::-1]


class Column(NamedTuple):
    """One text of each event."""

    codes: NDArray[Any]
    """Of each event, the place of its text among the different ones."""
    hashes: NDArray[np.uint64]
    """Of each different text, in their order: what is counted of several days is then put together faster."""


class Events(NamedTuple):
    """Events of a customer, in the order of their ids."""

    number: int
    """How many they are."""
    start: int
    """In milliseconds since the epoch."""
    times: NDArray[Any] | None
    """In milliseconds since `start`. None if they are not needed: then all are of the day that starts there."""
    columns: Mapping[str, Column]
    """By the names of the fields."""


class ColumnMaker:
    """Makes a column of texts that come in parts."""

    def __init__(self) -> None:
        """Begin without a text."""
        self._places: dict[str, int] = {}
        self._codes: list[int] = []
        self.size = 0
        """How many characters the different texts have."""

    def add(self, texts: Iterable[str]) -> None:
        """Append the texts of the next events."""
        places = self._places
        before = len(places)
        self._codes += [places.setdefault(text, len(places)) for text in texts]
        self.size += sum(map(len, islice(reversed(places), len(places) - before)))

    def make(self) -> Column:
        """Return the column."""
        hashes = np.fromiter(map(hash_text, self._places), _HASHES, len(self._places))
        order = np.argsort(hashes)
        codes = np.empty(len(hashes), _find_type(len(hashes)))
        codes[order] = np.arange(len(hashes))
        return Column(codes[np.array(self._codes, np.int64)], hashes[order])


def read_column(codes: Any, hashes: Any) -> Column:
    """Return a column from what the database keeps, without a copy."""
    read = np.frombuffer(hashes, _HASHES)
    return Column(np.frombuffer(codes, _find_type(len(read))), read)


def read_times(times: Any) -> NDArray[Any]:
    """Return the times of events from what the database keeps."""
    return np.frombuffer(times, _TIMES)


def read_ids(ids: Any) -> NDArray[np.uint8]:
    """Return the bytes of ids, one id a row."""
    return np.frombuffer(ids, np.uint8).reshape(-1, ID_BYTES)


def find_times(ids: NDArray[np.uint8]) -> Numbers:
    """Return the times in ids, in milliseconds since the epoch."""
    return ids[:, :6].astype(np.int64) @ _PLACES


def make_times(times: Numbers, start: int) -> bytes:
    """Return times as the database keeps them, since `start`."""
    return (times - start).astype(_TIMES).tobytes()


def _find_type(different: int) -> np.dtype[Any]:
    """Return the smallest type of number that can tell so many texts from each other."""
    return next(each for each in _CODES if different <= np.iinfo(each).max + 1)
