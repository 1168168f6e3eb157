"""An HTTP/1.1 connection on asyncio that sends whatever it is told to, and reads answers only when it is told to."""

import asyncio
import socket
from collections.abc import Sequence
from typing import Self

from tests.abuse.credentials import get_credentials

Pairs = Sequence[tuple[bytes, bytes]]


def make_head(method: str, path: str, size: int, *pairs: tuple[bytes, bytes]) -> bytes:
    """Return the start of a request with JSON of that size."""
    length = b"" if method == "GET" else b"content-type: application/json\r\ncontent-length: %d\r\n" % size
    more = b"".join(b"%s: %s\r\n" % pair for pair in (*get_credentials(), *pairs))
    return f"{method} {path} HTTP/1.1\r\nhost: localhost\r\n".encode() + length + more + b"\r\n"


class Http1:
    """The connection."""

    def __init__(self) -> None:
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def connect(self, connected: socket.socket) -> Self:
        """Begin on a connected socket."""
        self._reader, self._writer = await asyncio.open_connection(sock=connected)
        return self

    async def send(self, data: bytes) -> None:
        """Send bytes, whatever they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def read_status(self) -> str:
        """Read one answer and return its status.

        Raises:
            EOFError: the server closed the connection.
        """
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if b"transfer-encoding: chunked" in head:
            while size := int(await self._reader.readuntil(b"\r\n"), 16):
                await self._reader.readexactly(size + 2)
            await self._reader.readuntil(b"\r\n")
        else:
            await self._reader.readexactly(int(length or b"0"))
        return head.split(b" ", 2)[1].decode()

    async def wait_until_lost(self) -> None:
        """Read and forget until the server closes the connection."""
        while await self._reader.read(1 << 16):
            pass

    def close(self) -> None:
        """Close the connection at once."""
        self._writer.transport.abort()
