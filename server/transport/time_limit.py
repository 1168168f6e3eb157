"""A time limit on many things at once, kept by a single timer."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class TimeLimit(Generic[T]):
    """A time limit on one stage of every call. A timer for each call would cost a tenth of a call that does nothing."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, on_late: Callable[[T], None]) -> None:
        """Create the limit, with nothing under it.

        Args:
            loop: the event loop, whose clock counts.
            seconds: how long the stage may take.
            on_late: is called once with each item that takes longer.
        """
        self._loop = loop
        self._seconds = seconds
        self._on_late = on_late
        self._started: dict[T, float] = {}
        """In the order of their start, so that the first is due first."""
        self._timer: asyncio.TimerHandle | None = None

    def start(self, item: T) -> None:
        """Begin to count, unless that has begun already."""
        if item not in self._started:
            self._started[item] = self._loop.time()
            if self._timer is None:
                self._timer = self._loop.call_later(self._seconds, self._check)

    def end(self, item: T) -> None:
        """Count no longer, if it is counted."""
        self._started.pop(item, None)

    def __iter__(self) -> Iterator[T]:
        """Iterate over what is counted, from the one that began first."""
        return iter(self._started)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        self._timer = None
        late = []
        limit = self._loop.time() - self._seconds
        for item, started in self._started.items():
            if started > limit:
                self._timer = self._loop.call_at(started + self._seconds, self._check)
                break
            late.append(item)
        for item in late:
            if self._started.pop(item, None) is not None:
                self._on_late(item)
