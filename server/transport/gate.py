"""How many messages may be on their way in at once.

C-core takes in as much of a message as it may be large once it is asked to receive it, and nothing is known of it until
it is whole. So what bounds the memory is how many are asked for at once, and how long one that is not whole may hold
its place while others wait.
"""

import asyncio
from collections.abc import Callable
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")

# Slow is what has been on its way over three ticks, 0.2 to 0.3 s. By ticks and not by time: when the event loop was
# held up, messages wait in the completion queue, and between two ticks it has had a turn to read them.
_TICK_SECONDS = 0.1
_SLOW_TICKS = 3


class Gate(Generic[T]):
    """The places for calls whose message is on its way in."""

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
            places: how many messages may be on their way at once.
            slow_places: how many of these may be slow.
            on_enter: is called with a call that has got a place.
            on_slow: is called with a call that has lost its place, because it is slow and others wait, or because too
                many are slow.
        """
        self._loop = loop
        self._places = places
        self._slow_places = slow_places
        self._on_enter = on_enter
        self._on_slow = on_slow
        self._inside: dict[T, int] = {}
        """Each with the tick at which it entered, so that the first has been inside for longest."""
        self._waiting: dict[T, None] = {}
        """In the order of their arrival. The last is let in first: of many whose messages never come, the next caller
        then does not have to wait for all."""
        self._tick = 0
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, call: T) -> None:
        """Give a call a place, at once or as soon as there is one."""
        if len(self._inside) < self._places:
            self._admit(call)
        else:
            self._waiting[call] = None
            self._cut(1)

    def leave(self, call: T) -> None:
        """Take back the place of a call whose message has come, or that has gone."""
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
            self._timer = self._loop.call_later(_TICK_SECONDS, self._on_tick)
        self._on_enter(call)

    def _admit_next(self) -> None:
        while self._waiting and len(self._inside) < self._places:
            self._admit(self._waiting.popitem()[0])

    def _on_tick(self) -> None:
        self._tick += 1
        self._timer = self._loop.call_later(_TICK_SECONDS, self._on_tick) if self._inside else None
        slow = sum(1 for entered in self._inside.values() if entered <= self._tick - _SLOW_TICKS)
        self._cut(max(slow - self._slow_places, len(self._waiting)))

    def _cut(self, count: int) -> None:
        """Cut off that many of the slow calls, the slowest first."""
        for call, entered in list(islice(self._inside.items(), count)):
            if entered > self._tick - _SLOW_TICKS:
                break
            # Neither it nor another that on_slow calls for may be in the way of the one that is admitted.
            del self._inside[call]
            self._on_slow(call)
        self._admit_next()
