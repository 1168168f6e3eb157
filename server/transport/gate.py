"""The limit on how many messages may be arriving at once.

Once C-core is asked to receive a message, it buffers up to the message's full size and reports nothing until the
message is whole. So memory is bounded by how many messages are asked for at once, and by how long an incomplete one may
hold its place while others wait.
"""

import asyncio
from collections.abc import Callable
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")

# A message is slow once it has been arriving for five ticks, 0.4 to 0.5 s. Ticks that come late do not count: while the
# event loop is busy, C-core reads nothing from the connections, and that is not the caller's fault.
_TICK_SECONDS = 0.1
_SLOW_TICKS = 5
_LATE_SECONDS = 0.05


class Gate(Generic[T]):
    """The places for calls whose message is arriving."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        places: int,
        slow_places: int,
        on_enter: Callable[[T], None],
        on_slow: Callable[[T], None],
    ) -> None:
        """Create a gate with all places free.

        Args:
            loop: the event loop.
            places: how many messages may be arriving at once.
            slow_places: how many of these may be slow.
            on_enter: called with a call that gets a place.
            on_slow: called with a call that loses its place because it is slow and others wait, or too many are slow.
        """
        self._loop = loop
        self._places = places
        self._slow_places = slow_places
        self._on_enter = on_enter
        self._on_slow = on_slow
        self._inside: dict[T, int] = {}
        """Each call with the tick at which it entered, the earliest first."""
        self._waiting: dict[T, None] = {}
        """In the order of their arrival. The last is let in first: of many whose messages never come, the next caller
        then does not have to wait for all."""
        self._tick = 0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, call: T) -> None:
        """Give a call a place, now or as soon as one is free."""
        if len(self._inside) < self._places:
            self._admit(call)
        else:
            self._waiting[call] = None
            self._cut(1)

    def leave(self, call: T) -> None:
        """Free the place of a call whose message has arrived, or whose caller has gone."""
        if self._inside.pop(call, None) is None:
            self._waiting.pop(call, None)
        elif self._waiting:
            self._admit_next()

    def drop(self) -> T | None:
        """Return the call that has waited longest for a place, which then waits no more, or None if none waits."""
        call = next(iter(self._waiting), None)
        if call is not None:
            del self._waiting[call]
        return call

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _admit(self, call: T) -> None:
        self._inside[call] = self._tick
        if self._timer is None:
            self._start_timer()
        self._on_enter(call)

    def _admit_next(self) -> None:
        while self._waiting and len(self._inside) < self._places:
            self._admit(self._waiting.popitem()[0])

    def _start_timer(self) -> None:
        self._due = self._loop.time() + _TICK_SECONDS
        self._timer = self._loop.call_at(self._due, self._on_tick)

    def _on_tick(self) -> None:
        if self._loop.time() - self._due < _LATE_SECONDS:
            self._tick += 1
        self._timer = None
        if self._inside:
            self._start_timer()
        slow = sum(1 for entered in self._inside.values() if entered <= self._tick - _SLOW_TICKS)
        self._cut(max(slow - self._slow_places, len(self._waiting)))

    def _cut(self, count: int) -> None:
        """Cut off that many of the slow calls, the slowest first."""
        for call, entered in list(islice(self._inside.items(), count)):
            if entered > self._tick - _SLOW_TICKS:
                break
            # Removed first, because on_slow may call `leave`.
            del self._inside[call]
            self._on_slow(call)
        self._admit_next()
