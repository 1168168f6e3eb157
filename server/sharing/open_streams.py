"""The responses in flight that are streams: how many there may be, and their end when the server stops."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from server.sharing.places import NoPlace
from server.sharing.shares import Shares


class ServerStopping(Exception):
    """A stream ends because the server stops."""


class OpenStreams:
    """The streams of one kind that one server sends. Belongs to one event loop."""

    def __init__(self, count: int, count_each: int) -> None:
        """Create it without a stream.

        Args:
            count: how many streams may be open. Of these, one customer may hold no more than is left for all others.
            count_each: how many of them may be the same customer's at most.
        """
        self._shares = Shares(count, count_each)
        self._open: set[asyncio.Timeout] = set()
        self._is_stopping = False

    @property
    def count(self) -> int:
        """How many are open."""
        return len(self._open)

    @asynccontextmanager
    async def enter(self, customer: str) -> AsyncIterator[None]:
        """Count a stream of a customer for the block, in which it is sent.

        Raises:
            NoPlace: there are as many streams as there may be, or the customer has its share.
            ServerStopping: the server stops. What the block awaits at that time is cancelled.
        """
        if self._is_stopping:
            raise ServerStopping
        if not self._shares.take(customer):
            raise NoPlace
        try:
            async with asyncio.timeout(None) as end:
                self._open.add(end)
                yield
        except TimeoutError:
            if end.expired():
                raise ServerStopping from None
            raise
        finally:
            self._open.discard(end)
            self._shares.give_back(customer)

    def stop(self) -> None:
        """End all streams, and let no other begin."""
        self._is_stopping = True
        while self._open:
            self._open.pop().reschedule(0)
