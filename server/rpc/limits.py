"""How much a server has in hand at once: calls, and the bytes that they brought."""

import asyncio
from typing import Any

from server.rpc.errors import TooManyCalls

MAX_CALLS = 1_000
"""How many unary calls a server works on at once. At its full rate, the last of them waits half a second."""

MAX_CALL_BYTES = 256 << 20
"""How many bytes these may have brought."""

MAX_STREAMS = 32
"""How many streams it has open."""

MAX_CHUNK_BYTES = 64 << 20
"""At how many bytes of chunks that wait for their commit no stream reads another one."""


class Places:
    """Room for so many calls and so many bytes, over all services of a server. Health checks take none."""

    def __init__(self, calls: int, size: int) -> None:
        """Makes the places, all of them free."""
        self._calls = calls
        self._size = size

    def take(self, size: int) -> None:
        """Takes a place for a call of `size` bytes. Raises TooManyCalls if there is none."""
        if not self._calls or size > self._size:
            raise TooManyCalls
        self._calls -= 1
        self._size -= size

    def give(self, size: int) -> None:
        """Gives a place back that was taken for as many bytes."""
        self._calls += 1
        self._size += size


class Chunks:
    """The bytes of the chunks of all streams that wait for their commit. Belongs to one event loop."""

    def __init__(self, most: int = MAX_CHUNK_BYTES) -> None:
        """Has none yet."""
        self._size = 0
        self._most = most
        self._room = asyncio.Event()
        self._room.set()

    async def room(self) -> None:
        """Waits until it is well to read another one."""
        await self._room.wait()

    def add(self, size: int) -> None:
        """Counts a chunk; with a negative size, one that is written."""
        self._size += size
        if self._size > self._most:
            self._room.clear()
        else:
            self._room.set()


class UnreadPages:
    """Bounds what large pages take in memory until their callers have read them, which may be never."""

    def __init__(self, *, large: int = 1 << 20, most: int = 128 << 20) -> None:
        """Counts none yet.

        Args:
            large: in bytes, what need not be counted. All calls that may be under way take a gigabyte with such pages,
                and only if nobody reads.
            most: in bytes, what the others may take together.
        """
        self._large = large
        self._free = most

    def count(self, size: int, context: Any) -> None:
        """Counts a page until the call of `context` has ended. Raises TooManyCalls if it would be too much.

        Args:
            size: of the page, in bytes.
            context: of the RPC that it answers.
        """
        if size <= self._large:
            return
        if size > self._free:
            raise TooManyCalls
        self._free -= size
        context.add_done_callback(lambda _: self._forget(size))

    def _forget(self, size: int) -> None:
        self._free += size
