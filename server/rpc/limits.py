"""How much one server has in flight at once."""

from typing import Any, NamedTuple

from server.messages.refusals import TooManyCalls


class Limits(NamedTuple):
    """The limits of one server, over all its services. Health checks do not count."""

    calls: int = 1_000
    """Unary calls in flight. At full rate, the last of them waits half a second."""
    call_bytes: int = 256 << 20
    """The bytes of their requests."""
    streams: int = 32
    """Write streams that are open."""
    chunk_bytes: int = 64 << 20
    """The bytes of chunks that wait for their commit. While there are more, no stream reads another chunk."""
    unread_page_bytes: int = 128 << 20
    """The bytes of large pages that their callers have not read."""


class CallLimiter:
    """A limiter for the number of calls in flight, and for the bytes of their requests."""

    def __init__(self, max_calls: int, max_bytes: int) -> None:
        """Create a limiter with nothing in flight."""
        self._free_calls = max_calls
        self._free_bytes = max_bytes

    def acquire(self, byte_size: int) -> None:
        """Count a call whose request has `byte_size` bytes.

        Raises:
            TooManyCalls: the limit is reached.
        """
        if not self._free_calls or byte_size > self._free_bytes:
            raise TooManyCalls
        self._free_calls -= 1
        self._free_bytes -= byte_size

    def release(self, byte_size: int) -> None:
        """Take off a call that was counted with as many bytes."""
        self._free_calls += 1
        self._free_bytes += byte_size


class UnreadPageLimiter:
    """A limiter for the memory of large pages that their callers have not read, and may never read."""

    def __init__(self, max_bytes: int, *, large_bytes: int = 1 << 20) -> None:
        """Create a limiter with no page counted.

        Args:
            max_bytes: what all large pages may take together.
            large_bytes: the size up to which a page is not counted. If every call in flight had such a page, and no
                caller read any, they would take 1 GiB.
        """
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
