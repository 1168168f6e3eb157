"""The places for open write streams: each customer has a share, and a silent stream makes room for another."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TypeVar

from server.messages.refusals import StreamIdle, TooManyCalls
from server.sharing.shares import Shares

T = TypeVar("T")

# How long a stream must have been silent to make room for another.
_ROOM_SECONDS = 1.0


class StreamPlace:
    """The place of one stream."""

    def __init__(self, places: "StreamPlaces", idle_seconds: float) -> None:
        self._places = places
        self._idle_seconds = idle_seconds
        self._customer: str | None = None
        self._waiting: asyncio.Timeout | None = None
        self._silent_since = time.monotonic()

    async def read(self, requests: AsyncIterator[T]) -> T:
        """Return the stream's next request.

        Raises:
            StopAsyncIteration: there is no other.
            StreamIdle: it has not come in time.
        """
        self._silent_since = time.monotonic()
        try:
            async with asyncio.timeout(self._idle_seconds) as self._waiting:
                return await anext(requests)
        except TimeoutError:
            raise StreamIdle from None
        finally:
            self._waiting = None
            self._places.move_to_end(self)

    def name(self, customer: str) -> None:
        """Count the stream to this customer's share, unless it is counted to one.

        Raises:
            TooManyCalls: the customer has its share.
        """
        if self._customer is None:
            self._places.take_share(customer)
            self._customer = customer

    def end_if_silent(self) -> bool:
        """End the stream if nothing has come from it for a while. Return whether it is ended."""
        if self._waiting is None or time.monotonic() - self._silent_since < _ROOM_SECONDS:
            return False
        self._waiting.reschedule(0)
        return True

    def leave(self) -> None:
        """Take the stream off its customer's share."""
        if self._customer is not None:
            self._places.give_back_share(self._customer)


class StreamPlaces:
    """The places of one server. Belongs to one event loop."""

    def __init__(self, count: int, idle_seconds: float) -> None:
        """Create free places.

        Args:
            count: how many streams may be open.
            idle_seconds: how long nothing may come on one.
        """
        self._count = count
        self._idle_seconds = idle_seconds
        self._shares = Shares(count)
        self._open: dict[StreamPlace, None] = {}
        """The stream that was heard of last comes last."""

    @contextmanager
    def enter(self) -> Iterator[StreamPlace]:
        """Give a stream a place, of which another may be deprived for it.

        Raises:
            TooManyCalls: no place is free, and no stream is silent.
        """
        if len(self._open) >= self._count and not self._make_room():
            raise TooManyCalls
        place = StreamPlace(self, self._idle_seconds)
        self._open[place] = None
        try:
            yield place
        finally:
            self._open.pop(place, None)
            place.leave()

    def move_to_end(self, place: StreamPlace) -> None:
        """Note that a stream was heard of."""
        if place in self._open:
            del self._open[place]
            self._open[place] = None

    def take_share(self, customer: str) -> None:
        """Count a stream to a customer's share, or raise TooManyCalls."""
        if not self._shares.take(customer):
            raise TooManyCalls

    def give_back_share(self, customer: str) -> None:
        """Count it no longer."""
        self._shares.give_back(customer)

    def _make_room(self) -> bool:
        for place in self._open:
            if place.end_if_silent():
                del self._open[place]
                return True
        return False
