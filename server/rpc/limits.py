"""How much one server has in flight at once."""

import asyncio
from typing import Any, NamedTuple

from server.messages.refusals import TooManyCalls
from server.sharing.shares import Shares


class Limits(NamedTuple):
    """The limits of one server. Of each that customers share, one customer may hold no more than is left for others."""

    writes: int = 1_000
    """Creates and batches in flight. At full rate, the last of them waits half a second."""
    write_bytes: int = 128 << 20
    """The bytes of their requests."""
    searches: int = 500
    """Searches in flight."""
    search_bytes: int = 32 << 20
    """The bytes of their requests."""
    streams: int = 20
    """Write streams that are open. Each may have an incomplete chunk of 8 MiB in memory."""
    stream_idle_seconds: float = 60.0
    """How long nothing may come on a write stream."""
    chunk_bytes: int = 64 << 20
    """The bytes of chunks that wait for their commit."""
    unread_page_bytes: int = 64 << 20
    """The bytes of large pages that their callers have not read."""
    exports: int = 8
    """Exports that are open. Each takes as much memory as some steps, 10 MiB at most."""
    exports_each: int = 2
    """How many of them may be one customer's."""
    watches: int = 200
    """Watches that are open. Each takes as much memory as a step, about 1 MiB at most."""
    watches_each: int = 20
    """How many of them may be one customer's."""


class CallLimiter:
    """A limiter for the calls of one kind in flight, and for the bytes of their requests. Customers share both."""

    def __init__(self, max_calls: int, max_bytes: int) -> None:
        """Create a limiter with nothing in flight."""
        self._calls = Shares(max_calls)
        self._bytes = Shares(max_bytes)

    def acquire(self, customer: str, byte_size: int) -> None:
        """Count a call of a customer, whose request has `byte_size` bytes.

        Raises:
            TooManyCalls: the limit is reached, or the customer has its share.
        """
        if not self._calls.take(customer):
            raise TooManyCalls
        if not self._bytes.take(customer, byte_size):
            self._calls.give_back(customer)
            raise TooManyCalls

    def acquire_bytes(self, customer: str, byte_size: int) -> None:
        """Count more bytes of a call. Raise TooManyCalls as `acquire` does."""
        if not self._bytes.take(customer, byte_size):
            raise TooManyCalls

    def release(self, customer: str, byte_size: int) -> None:
        """Take off a call that was counted with as many bytes."""
        self._calls.give_back(customer)
        self._bytes.give_back(customer, byte_size)


class Upload:
    """A call in flight whose request arrives in parts. Use it as a context manager."""

    def __init__(self, limiter: CallLimiter) -> None:
        """Count nothing yet."""
        self._limiter = limiter
        self._customer: str | None = None
        self._bytes = 0

    def __enter__(self) -> "Upload":
        return self

    def __exit__(self, *_: object) -> None:
        if self._customer is not None:
            self._limiter.release(self._customer, self._bytes)

    def begin(self, customer: str) -> None:
        """Count the call of a customer, or raise TooManyCalls."""
        self._limiter.acquire(customer, 0)
        self._customer = customer

    def add(self, byte_size: int) -> None:
        """Count a part of the request, or raise TooManyCalls."""
        assert self._customer is not None
        self._limiter.acquire_bytes(self._customer, byte_size)
        self._bytes += byte_size


class UnreadPageLimiter:
    """A limiter for the memory of large pages that their callers have not read, and may never read."""

    def __init__(self, max_bytes: int, *, large_bytes: int = 1 << 20) -> None:
        """Create a limiter with no page counted.

        Args:
            max_bytes: what all large pages may take together.
            large_bytes: the size up to which a page is not counted. If every call in flight had such a page, and no
                caller read any, they would take 1 GiB.
        """
        self.turn = asyncio.Lock()
        """Held while a large page is made."""
        self._large_bytes = large_bytes
        self._free_bytes = max_bytes

    def count(self, byte_size: int, context: Any) -> None:
        """Count a page until its call has ended.

        Args:
            byte_size: the size of the page.
            context: the context of the call.

        Raises:
            TooManyCalls: the limit is reached.
        """
        if byte_size <= self._large_bytes:
            return
        if byte_size > self._free_bytes:
            raise TooManyCalls
        self._free_bytes -= byte_size
        context.add_done_callback(lambda _: self._release(byte_size))

    def _release(self, byte_size: int) -> None:
        self._free_bytes += byte_size
