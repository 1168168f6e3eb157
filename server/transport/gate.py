"""The limit on how many messages may be arriving at once.

Once C-core is asked to receive a message, it buffers up to the message's full size and reports nothing until the
message is whole. So memory is bounded by how many messages are asked for at once, and by how long an incomplete one may
hold its place while others wait. Connections share the places: none may hold more than is left for all others.
"""

import asyncio
from collections import Counter, OrderedDict
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
        get_connection: Callable[[T], str],
        on_enter: Callable[[T], None],
        on_slow: Callable[[T], None],
    ) -> None:
        """Create a gate with all places free.

        Args:
            loop: the event loop.
            places: how many messages may be arriving at once.
            slow_places: how many of these may be slow.
            get_connection: tells which connection a call has come by. Not asked before half of the places are taken.
            on_enter: called with a call that gets a place.
            on_slow: called with a call that loses its place because it is slow and others wait, or too many are slow.
        """
        self._loop = loop
        self._places = places
        self._slow_places = slow_places
        self._get_connection = get_connection
        self._on_enter = on_enter
        self._on_slow = on_slow
        self._inside: dict[T, int] = {}
        """Each call with the tick at which it entered, the earliest first."""
        self._waiting: OrderedDict[str, dict[T, None]] = OrderedDict()
        """By connection, that whose turn is next last. What came last is let in first: of many calls and connections
        whose messages never come, the next one then does not have to wait for all."""
        self._connections: dict[T, str] = {}
        """Those that have been asked for."""
        self._tick = 0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, call: T) -> None:
        """Give a call a place, now or as soon as one is free."""
        # Nobody who holds less than half of the places holds more than is left.
        if 2 * len(self._inside) < self._places and not self._waiting:
            self._admit(call)
            return
        self._waiting.setdefault(self._find_connection(call), {})[call] = None
        self._admit_waiting()
        if self._waiting:
            self._cut_for_waiting()

    def leave(self, call: T) -> None:
        """Free the place of a call whose message has arrived, or whose caller has gone."""
        was_inside = self._inside.pop(call, None) is not None
        connection = self._connections.pop(call, None)
        if not was_inside and connection is not None:
            self._stop_waiting(call, connection)
        if self._waiting and was_inside:
            self._admit_waiting()

    def drop(self) -> T | None:
        """Return a call that then waits no more, or None if none waits: of the most of one connection, the first."""
        if not self._waiting:
            return None
        connection = max(self._waiting, key=lambda each: len(self._waiting[each]))
        call = next(iter(self._waiting[connection]))
        del self._connections[call]
        self._stop_waiting(call, connection)
        return call

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _find_connection(self, call: T) -> str:
        connection = self._connections.get(call)
        if connection is None:
            connection = self._connections[call] = self._get_connection(call)
        return connection

    def _count_held(self) -> Counter[str]:
        return Counter(map(self._find_connection, self._inside))

    def _admit(self, call: T) -> None:
        self._inside[call] = self._tick
        if self._timer is None:
            self._start_timer()
        self._on_enter(call)

    def _admit_waiting(self) -> None:
        """Give what places there are to the connections that wait, in turn."""
        held = self._count_held()
        goes_on = True
        while goes_on:
            goes_on = False
            for connection in list(reversed(self._waiting)):
                if held[connection] < self._places - len(self._inside):
                    call = self._waiting[connection].popitem()[0]
                    if self._waiting[connection]:
                        self._waiting.move_to_end(connection, last=False)
                    else:
                        del self._waiting[connection]
                    held[connection] += 1
                    self._admit(call)
                    goes_on = True

    def _stop_waiting(self, call: T, connection: str) -> None:
        del self._waiting[connection][call]
        if not self._waiting[connection]:
            del self._waiting[connection]

    def _start_timer(self) -> None:
        self._due = self._loop.time() + _TICK_SECONDS
        self._timer = self._loop.call_at(self._due, self._on_tick)

    def _on_tick(self) -> None:
        if self._loop.time() - self._due < _LATE_SECONDS:
            self._tick += 1
        self._timer = None
        if self._inside:
            self._start_timer()
        self._cut_for_waiting()
        self._cut_beyond_slow_places()

    def _find_slow(self) -> list[T]:
        """Return the slow calls, the slowest first."""
        slow = []
        for call, entered in self._inside.items():
            if entered > self._tick - _SLOW_TICKS:
                break
            slow.append(call)
        return slow

    def _cut_for_waiting(self) -> None:
        """Cut off slow calls for those that wait: of the same connection, or of one that holds fewer places."""
        for call in self._find_slow():
            if not self._waiting:
                return
            held = self._count_held()
            connection = self._find_connection(call)
            least = min(held[each] for each in islice(reversed(self._waiting), self._places))
            if connection in self._waiting or held[connection] > least:
                self._cut(call)
                self._admit_waiting()

    def _cut_beyond_slow_places(self) -> None:
        """Cut off slow calls until there are no more than may be: of the most of one connection, the slowest."""
        slow = self._find_slow()
        while len(slow) > self._slow_places:
            counts = Counter(map(self._find_connection, slow))
            call = max(slow, key=lambda each: counts[self._connections[each]])  # The first of those with the most.
            slow.remove(call)
            self._cut(call)
        if self._waiting:
            self._admit_waiting()

    def _cut(self, call: T) -> None:
        # Removed first, because on_slow may call `leave`.
        del self._inside[call]
        self._connections.pop(call, None)
        self._on_slow(call)
