"""The limit on how many messages may be arriving at once.

Once C-core is asked to receive a message, it buffers up to the message's full size and reports nothing until the
message is whole. So memory is bounded by how many messages are asked for at once, and by how long an incomplete one may
hold its place while others wait. Addresses share the places: none may hold more than is left for all others, and most
places are for those whose last message was small. A caller has as many connections as it likes, but few addresses.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")

# A message is slow once it has been arriving for five ticks, 0.4 to 0.5 s. Ticks that come late do not count: while the
# event loop is busy, C-core reads nothing from its connections, and that is not the caller's fault.
_TICK_SECONDS = 0.1
_SLOW_TICKS = 5
_LATE_SECONDS = 0.05

_SMALL_BYTES = 64 << 10
_MAX_REMEMBERED = 1_000


class Gate(Generic[T]):
    """The places for calls whose message is arriving."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        places: int,
        large_places: int,
        slow_places: int,
        get_address: Callable[[T], str],
        on_enter: Callable[[T], None],
        on_slow: Callable[[T], None],
    ) -> None:
        """Create a gate with all places free.

        Args:
            loop: the event loop.
            places: how many messages may be arriving at once.
            large_places: how many of these may be from addresses whose last message was not known to be small.
            slow_places: how many may be slow.
            get_address: tells from which address a call has come. Not asked while there are few calls. "" stands for
                one whose messages come whole, so that they need no place.
            on_enter: called with a call that gets a place.
            on_slow: called with a call that loses its place because it is slow and others wait, or too many are slow.
        """
        self._loop = loop
        self._places = places
        self._large_places = large_places
        self._slow_places = slow_places
        self._get_address = get_address
        self._on_enter = on_enter
        self._on_slow = on_slow
        self._inside: dict[T, int] = {}
        """Each call with the tick at which it entered, the earliest first."""
        self._unknown: dict[T, None] = {}
        """Those inside whose addresses have not been asked for."""
        self._addresses: dict[T, str] = {}
        """The addresses of the others, and of those that wait."""
        self._held: Counter[str] = Counter()
        """How many are inside, by address."""
        self._small: OrderedDict[str, None] = OrderedDict()
        """The addresses whose last message was small, as far as they are remembered."""
        self._small_inside: set[T] = set()
        """The calls from such an address when they entered."""
        self._waiting: OrderedDict[str, dict[T, None]] = OrderedDict()
        """By address, that whose turn is next last. What came last is let in first: of many calls whose messages never
        come, the next one then does not have to wait for all."""
        self._tick = 0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, call: T) -> None:
        """Give a call a place, now or as soon as one is free."""
        # Nobody who holds less than half of the places holds more than is left.
        if not self._waiting and 2 * len(self._inside) < min(self._places, self._large_places):
            self._unknown[call] = None
            self._admit(call)
            return
        address = self._get_address(call)
        if not address:
            self._on_enter(call)
            return
        self._addresses[call] = address
        # A call that waits may not enter yet: otherwise it would be in already.
        if self._may_enter(address):
            self._admit_known(call, address)
            return
        self._waiting.setdefault(address, {})[call] = None
        self._cut_for_waiting(1)

    def leave(self, call: T, byte_size: int | None = None) -> None:
        """Free the place of a call whose message has arrived, or whose caller has gone.

        Args:
            call: the call.
            byte_size: the size of its message, if it has arrived.
        """
        if call not in self._inside:
            address = self._addresses.pop(call, None)
            if address is not None:
                self._stop_waiting(call, address)
            return
        if byte_size is not None and (self._waiting or 2 * len(self._inside) >= self._large_places):
            self._remember(self._addresses.get(call) or self._get_address(call), byte_size)
        self._remove(call)
        if self._waiting:
            self._admit_waiting()

    def drop(self) -> T | None:
        """Return a call that then waits no more, or None if none waits: of the most from one address, the first."""
        if not self._waiting:
            return None
        address = max(self._waiting, key=lambda each: len(self._waiting[each]))
        call = next(iter(self._waiting[address]))
        del self._addresses[call]
        self._stop_waiting(call, address)
        return call

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _count_large(self) -> int:
        return len(self._inside) - len(self._small_inside)

    def _may_enter(self, address: str) -> bool:
        self._learn_addresses()
        free = self._places - len(self._inside)
        if address not in self._small:
            free = min(free, self._large_places - self._count_large())
        return self._held[address] < free

    def _learn_addresses(self) -> None:
        """Ask for the addresses of the calls that entered while there were few."""
        for call in self._unknown:
            address = self._get_address(call)
            if address:
                self._addresses[call] = address
                self._held[address] += 1
            else:
                del self._inside[call]
        self._unknown.clear()

    def _remember(self, address: str, byte_size: int) -> None:
        """Remember whether the last message from an address was small."""
        self._small.pop(address, None)
        if address and byte_size <= _SMALL_BYTES:
            self._small[address] = None
            if len(self._small) > _MAX_REMEMBERED:
                self._small.popitem(last=False)

    def _admit(self, call: T) -> None:
        self._inside[call] = self._tick
        if self._timer is None:
            self._start_timer()
        self._on_enter(call)

    def _admit_known(self, call: T, address: str) -> None:
        self._held[address] += 1
        if address in self._small:
            self._small_inside.add(call)
        self._admit(call)

    def _admit_waiting(self) -> None:
        """Give what places there are to the addresses that wait, in turn."""
        goes_on = True
        while goes_on:
            goes_on = False
            for address in list(reversed(self._waiting)):
                if len(self._inside) >= self._places:
                    return
                if self._may_enter(address):
                    call = self._waiting[address].popitem()[0]
                    if self._waiting[address]:
                        self._waiting.move_to_end(address, last=False)
                    else:
                        del self._waiting[address]
                    self._admit_known(call, address)
                    goes_on = True

    def _stop_waiting(self, call: T, address: str) -> None:
        del self._waiting[address][call]
        if not self._waiting[address]:
            del self._waiting[address]

    def _remove(self, call: T) -> None:
        """Take a call off those inside."""
        del self._inside[call]
        self._unknown.pop(call, None)
        self._small_inside.discard(call)
        address = self._addresses.pop(call, None)
        if address is not None:
            self._held[address] -= 1
            if not self._held[address]:
                del self._held[address]

    def _start_timer(self) -> None:
        self._due = self._loop.time() + _TICK_SECONDS
        self._timer = self._loop.call_at(self._due, self._on_tick)

    def _on_tick(self) -> None:
        if self._loop.time() - self._due < _LATE_SECONDS:
            self._tick += 1
        self._timer = None
        if self._inside:
            self._start_timer()
        # Not all at once: those that take their places would all be slow at the same time, and no place free till then.
        self._cut_for_waiting(max(1, self._places // _SLOW_TICKS))
        self._cut_beyond_slow_places()

    def _find_slow(self) -> list[T]:
        """Return the slow calls, the slowest first."""
        slow = []
        for call, entered in self._inside.items():
            if entered > self._tick - _SLOW_TICKS:
                break
            slow.append(call)
        return slow

    def _cut_for_waiting(self, most: int) -> None:
        """Cut off slow calls for those that wait: from the same address, or from one that holds fewer places."""
        if not self._waiting:
            return
        self._learn_addresses()
        for call in self._find_slow():
            if not self._waiting or not most:
                return
            address = self._addresses[call]
            least = min(self._held[each] for each in islice(reversed(self._waiting), self._places))
            if address in self._waiting or self._held[address] > least:
                self._cut(call)
                self._admit_waiting()
                most -= 1

    def _cut_beyond_slow_places(self) -> None:
        """Cut off slow calls until there are no more than may be: of the most from one address, the slowest."""
        slow = self._find_slow()
        if len(slow) <= self._slow_places:
            return
        self._learn_addresses()
        slow = self._find_slow()
        while len(slow) > self._slow_places:
            counts = Counter(map(self._addresses.__getitem__, slow))
            call = max(slow, key=lambda each: counts[self._addresses[each]])  # The first of those with the most.
            slow.remove(call)
            self._cut(call)
        if self._waiting:
            self._admit_waiting()

    def _cut(self, call: T) -> None:
        # Removed first, because on_slow may call `leave`.
        self._remove(call)
        self._on_slow(call)
