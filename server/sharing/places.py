"""The places for open streams: each customer has a share, and a silent stream makes room for another."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TypeVar

from server.sharing.shares import Shares

T = TypeVar("T")


class SilentStream(Exception):
    """Nothing has come on a stream for too long."""


class NoPlace(Exception):
    """There are as many streams as there may be, of all customers or of this one."""


# How long a stream from which something has come must have been silent to make room for another.
_ROOM_SECONDS = 1.0


class Place:
    """The place of one stream."""

    def __init__(self, places: "Places", idle_seconds: float) -> None:
        self._places = places
        self._idle_seconds = idle_seconds
        self._customer: str | None = None
        self._waiting: asyncio.Timeout | None = None
        self._was_heard = False
        self._silent_since = time.monotonic()

    async def read(self, requests: AsyncIterator[T]) -> T:
        """Return the stream's next request.

        Raises:
            StopAsyncIteration: there is no other.
            SilentStream: it has not come in time.
        """
        self._silent_since = time.monotonic()
        try:
            async with asyncio.timeout(self._idle_seconds) as self._waiting:
                request = await anext(requests)
                self._was_heard = True
                return request
        except TimeoutError:
            raise SilentStream from None
        finally:
            self._waiting = None
            self._places.move_to_end(self)

    def name(self, customer: str) -> None:
        """Count the stream to this customer's share, unless it is counted to one.

        Raises:
            NoPlace: the customer has its share.
        """
        if self._customer is None:
            self._places.take_share(customer)
            self._customer = customer

    def is_silent(self, *, always: bool) -> bool:
        """Return whether nothing has come from the stream: ever if `always`, otherwise for a while."""
        if self._waiting is None or always == self._was_heard:
            return False
        return always or time.monotonic() - self._silent_since > _ROOM_SECONDS

    def end(self) -> None:
        """End the stream, which is silent."""
        assert self._waiting is not None
        self._waiting.reschedule(0)

    def leave(self) -> None:
        """Take the stream off its customer's share."""
        if self._customer is not None:
            self._places.give_back_share(self._customer)


class Places:
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
        self._open: dict[Place, None] = {}
        """The stream that was heard of last comes last."""

    @property
    def taken(self) -> int:
        """How many streams are open."""
        return len(self._open)

    @contextmanager
    def enter(self) -> Iterator[Place]:
        """Give a stream a place, of which another may be deprived for it.

        Raises:
            NoPlace: no place is free, and no stream is silent.
        """
        if len(self._open) >= self._count and not self._make_room():
            raise NoPlace
        place = Place(self, self._idle_seconds)
        self._open[place] = None
        try:
            yield place
        finally:
            self._open.pop(place, None)
            place.leave()

    def move_to_end(self, place: Place) -> None:
        """Note that a stream was heard of."""
        if place in self._open:
            del self._open[place]
            self._open[place] = None

    def take_share(self, customer: str) -> None:
        """Count a stream to a customer's share, or raise NoPlace."""
        if not self._shares.take(customer):
            raise NoPlace

    def give_back_share(self, customer: str) -> None:
        """Count it no longer."""
        self._shares.give_back(customer)

    def _make_room(self) -> bool:
        """End the stream that is silent longest, before all others one from which nothing has ever come."""
        for always in (True, False):
            for place in self._open:
                if place.is_silent(always=always):
                    del self._open[place]
                    place.end()
                    return True
        return False
