"""A few places for many callers, which customers get in turn."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """A few places. Customers who wait get them one after the other, however many of their calls wait.

    Belongs to one event loop.
    """

    def __init__(self, places: int, *, places_each: int) -> None:
        """Create it with all places free.

        Args:
            places: how many callers may have one at the same time.
            places_each: how many of them may be the same customer's.
        """
        self._free = places
        self._places_each = places_each
        self._held: dict[str, int] = {}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """By customer, the one whose turn is next first."""

    @property
    def held(self) -> int:
        """How many places are taken."""
        return sum(self._held.values())

    @property
    def waiting(self) -> int:
        """How many callers wait for one."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def wait(self, customer: str) -> AsyncIterator[None]:
        """Give the caller a place for the block, as soon as it is the customer's turn."""
        await self.enter(customer)
        try:
            yield
        finally:
            self.leave(customer)

    async def enter(self, customer: str) -> None:
        """Give the caller a place, as soon as it is the customer's turn. Then `leave` must follow."""
        if self._can_enter(customer) and customer not in self._waiting:
            self._enter(customer)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(customer, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # It had just been given a place.
                self.leave(customer)
            raise

    def leave(self, customer: str) -> None:
        """Free a place of the customer's."""
        self._free += 1
        self._held[customer] -= 1
        if not self._held[customer]:
            del self._held[customer]
        if self._waiting:
            self._give_places()

    def _can_enter(self, customer: str) -> bool:
        return self._free > 0 and self._held.get(customer, 0) < self._places_each

    def _enter(self, customer: str) -> None:
        self._free -= 1
        self._held[customer] = self._held.get(customer, 0) + 1

    def _give_places(self) -> None:
        for customer in list(self._waiting):
            while self._can_enter(customer) and (turns := self._waiting.pop(customer, None)):
                turn = turns.popleft()
                if turns:
                    self._waiting[customer] = turns  # Behind the others.
                if not turn.done():
                    self._enter(customer)
                    turn.set_result(None)
                    break
            if not self._free:
                return
