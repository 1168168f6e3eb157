"""What waits to be written, in bounds, and what is taken out of it at once."""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from storage.copier import Outcome
from storage.errors import QueueFull
from storage.rows import Row

T_co = TypeVar("T_co", covariant=True)


class Work(Protocol[T_co]):
    """What one caller gives to be written.

    It is read when its turn has come, and answered when it is committed, each in one pass over all of a batch: the same
    few functions for one caller after another cost a third of what they cost in between other things.
    """

    @property
    def count(self) -> int:
        """How many events it holds at most."""

    @property
    def size(self) -> int:
        """How many bytes it keeps in memory, about."""

    def take(self) -> list[Row]:
        """The rows to write, of new events. Called once. What it raises, its caller gets."""

    def answer(self, outcomes: Sequence[Outcome]) -> T_co:
        """What to tell the caller, when of each of the rows the outcome is known. What it raises, its caller gets."""


class Waiting(NamedTuple):
    """A caller in the queue, who gets the answer."""

    work: Work[Any]
    rows: int
    size: int
    answer: "asyncio.Future[Any]"


class Batch:
    """What is given to the database at once."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.callers: list[tuple[Waiting, int]] = []
        """Each with the number of its rows."""

    def add(self, waiting: Waiting, rows: list[Row]) -> None:
        """Adds the rows of a caller."""
        self.rows += rows
        self.callers.append((waiting, len(rows)))

    def answer(self, outcomes: Sequence[Outcome]) -> None:
        """Tells each caller, save those who have gone, how it went with its rows."""
        start = 0
        for waiting, rows in self.callers:
            end = start + rows
            if not waiting.answer.done():
                try:
                    waiting.answer.set_result(waiting.work.answer(outcomes[start:end]))
                except Exception as error:  # noqa: BLE001 - it is the caller's, who handles it
                    waiting.answer.set_exception(error)
            start = end


class Queue:
    """Work in the order in which it came. Belongs to one event loop."""

    def __init__(self, *, max_events: int, max_bytes: int, max_batch_events: int, max_batch_bytes: int) -> None:
        """Makes an empty queue; for the bounds see `server.ingest.group_commit.Writer`."""
        self.callers: list[Waiting] = []
        self.events = 0
        """How many events wait, at most."""
        self._bytes = 0
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._max_batch_events = max_batch_events
        self._max_batch_bytes = max_batch_bytes
        self._loop = asyncio.get_running_loop()

    def put(self, work: Work[Any]) -> "asyncio.Future[Any]":
        """Takes in `work` and returns where its answer will be. Raises QueueFull."""
        count, size = work.count, work.size
        if self.events + count > self._max_events or self._bytes + size > self._max_bytes:
            raise QueueFull
        answer: asyncio.Future[Any] = self._loop.create_future()
        self.callers.append(Waiting(work, count, size, answer))
        self.events += count
        self._bytes += size
        return answer

    def batches(self) -> int:
        """How many full batches there are."""
        return self.events // self._max_batch_events + self._bytes // self._max_batch_bytes

    def take(self) -> Batch:
        """Takes out a batch, up to its limits; those who have gone are passed over."""
        batch = Batch()
        count = size = taken = 0
        for waiting in self.callers:
            if count and (count + waiting.rows > self._max_batch_events or size >= self._max_batch_bytes):
                break
            taken += 1
            self.events -= waiting.rows
            self._bytes -= waiting.size
            if waiting.answer.done():
                continue
            try:
                batch.add(waiting, waiting.work.take())
            except Exception as error:  # noqa: BLE001 - it is the caller's, who handles it
                waiting.answer.set_exception(error)
                continue
            count += waiting.rows
            size += waiting.size
        del self.callers[:taken]
        return batch

    def clear(self) -> list[Waiting]:
        """Takes out all."""
        callers, self.callers = self.callers, []
        self.events = self._bytes = 0
        return callers
