"""An HTTP/2 connection on asyncio that sends whatever it is told to, and can leave unread what it is sent."""

import asyncio
import socket
import struct
from collections import defaultdict
from typing import cast

import grpc
from hpack import Decoder, HPACKError

from tests.abuse.credentials import get_credentials
from tests.abuse.headers import FRAME_BYTES, GRPC, encode_headers, make_header_frames
from tests.support.http2 import (
    ACKNOWLEDGED,
    DATA,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    PREFACE,
    RESET,
    SETTINGS,
    WINDOW_UPDATE,
    make_frame,
)

LOST = "connection lost"

_NAMES = {str(code.value[0]): code.name for code in grpc.StatusCode}


class Http2(asyncio.Protocol):
    """The connection. Its streams are numbered as HTTP/2 does."""

    def __init__(self, *, reads: bool = True) -> None:
        """Create it, to be connected by `connect`.

        Args:
            reads: whether it lets the peer send more once it has read something.
        """
        self._reads = reads
        self._received = b""
        self._decoder = Decoder()
        self._next = 1
        self._replies: dict[int, asyncio.Future[str]] = {}
        self._statuses: dict[int, str] = {}
        self._initial_window = 65_535
        self._windows: dict[int, int] = defaultdict(lambda: self._initial_window, {0: 65_535})
        self._moved = asyncio.Event()
        self._paused = False
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost = asyncio.Event()
        """Is set once the connection has ended."""

    async def connect(self, connected: socket.socket) -> "Http2":
        """Begin HTTP/2 on a connected socket, and wait for the peer's settings."""
        await asyncio.get_running_loop().create_connection(lambda: self, sock=connected)
        try:
            await self._ready
        except BaseException:
            self.close()
            raise
        return self

    def open(self, path: str, *pairs: tuple[bytes, bytes], ended: bool = False) -> int:
        """Send the headers of a gRPC call, and with `ended` that nothing follows. Return its stream."""
        return self.open_raw(encode_headers(b"POST", path.encode(), (*GRPC, *get_credentials(), *pairs)), ended=ended)

    def open_raw(self, block: bytes, *, ended: bool, complete: bool = True) -> int:
        """Send a header block, and return its stream. Unless it is `complete`, the peer waits for more of it."""
        stream, self._next = self._next, self._next + 2
        self._replies[stream] = asyncio.get_running_loop().create_future()
        self.write(make_header_frames(stream, block, ended=ended, complete=complete))
        if self.lost.is_set():
            self._end(stream, LOST)
        return stream

    def write(self, data: bytes) -> None:
        """Send bytes, whatever they are."""
        if not self.lost.is_set():
            self._transport.write(data)

    async def send(self, stream: int, data: bytes, *, ended: bool = False) -> None:
        """Send bytes on a stream as its windows allow. Returns early if the stream ends before."""
        rest = memoryview(data)
        while len(rest) and not self._replies[stream].done():
            size = min(len(rest), FRAME_BYTES, self._windows[stream], self._windows[0])
            if size <= 0 or self._paused:
                self._moved.clear()
                await self._moved.wait()
                continue
            self._windows[stream] -= size
            self._windows[0] -= size
            flags = END_STREAM if ended and size == len(rest) else 0
            self.write(make_frame(DATA, flags, stream, bytes(rest[:size])))
            rest = rest[size:]
        if not data and ended:
            self.write(make_frame(DATA, END_STREAM, stream))

    async def send_singly(self, stream: int, byte: bytes, count: int) -> None:
        """Send a byte so many times, each in a frame of its own, as the stream's windows allow."""
        frame = make_frame(DATA, 0, stream, byte)
        while count and not self._replies[stream].done():
            size = min(count, 4_096, self._windows[stream], self._windows[0])
            if size <= 0 or self._paused:
                self._moved.clear()
                await self._moved.wait()
                continue
            self._windows[stream] -= size
            self._windows[0] -= size
            self.write(frame * size)
            count -= size

    async def reply(self, stream: int) -> str:
        """Wait until a stream has ended. Return its gRPC or HTTP status, or how it ended without one."""
        try:
            return await self._replies[stream]
        finally:
            self._replies.pop(stream, None)
            self._windows.pop(stream, None)
            self._statuses.pop(stream, None)

    def is_ended(self, stream: int) -> bool:
        """Return whether a stream has ended whose reply nobody has waited for."""
        return self._replies[stream].done()

    async def call(self, path: str, message: bytes, *pairs: tuple[bytes, bytes]) -> str:
        """Make a unary call with a message that has its prefix already, and return its status."""
        stream = self.open(path, *pairs)
        try:
            await self.send(stream, message, ended=True)
            return await self.reply(stream)
        except asyncio.CancelledError:
            self.reset(stream)
            raise

    def reset(self, stream: int) -> None:
        """Cancel a call, and forget it."""
        self.write(make_frame(RESET, 0, stream, struct.pack(">I", 8)))
        self._replies.pop(stream, None)
        self._windows.pop(stream, None)

    def close(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own is none, though it acts as one.
        windows = struct.pack(">HI", INITIAL_WINDOW_SIZE, 1 << 20) if self._reads else b""
        self._transport.write(PREFACE + make_frame(SETTINGS, 0, 0, windows))

    def connection_lost(self, _: Exception | None) -> None:
        self.lost.set()
        self._moved.set()
        if not self._ready.done():
            self._ready.set_exception(ConnectionResetError("the server closed the connection"))
        for stream in list(self._replies):
            self._end(stream, LOST)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._moved.set()

    def data_received(self, data: bytes) -> None:
        data = self._received + data
        start = 0
        while len(data) - start >= 9:
            end = start + 9 + int.from_bytes(data[start : start + 3], "big")
            if len(data) < end:
                break
            stream = int.from_bytes(data[start + 5 : start + 9], "big")
            self._handle(data[start + 3], data[start + 4], stream, data[start + 9 : end])
            start = end
        self._received = data[start:]

    def _handle(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == SETTINGS and not flags & ACKNOWLEDGED:
            for name, value in struct.iter_unpack(">HI", payload):
                if name == INITIAL_WINDOW_SIZE:
                    for each in self._windows.keys() - {0}:
                        self._windows[each] += value - self._initial_window
                    self._initial_window = value
            self.write(make_frame(SETTINGS, ACKNOWLEDGED, 0))
            if not self._ready.done():
                self._ready.set_result(None)
        elif kind == PING and not flags & ACKNOWLEDGED:
            self.write(make_frame(PING, ACKNOWLEDGED, 0, payload))
        elif kind == WINDOW_UPDATE:
            self._windows[stream] += int.from_bytes(payload, "big")
        elif kind == HEADERS:
            self._note_status(stream, payload)
        elif kind == DATA and payload and self._reads:
            more = struct.pack(">I", len(payload))
            self.write(make_frame(WINDOW_UPDATE, 0, 0, more) + make_frame(WINDOW_UPDATE, 0, stream, more))
        elif kind == GOAWAY:
            self._transport.close()
        elif kind == RESET:
            self._end(stream, "reset")
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            self._end(stream, self._statuses.pop(stream, "no status"))
        self._moved.set()

    def _note_status(self, stream: int, block: bytes) -> None:
        try:
            headers = {str(name): str(value) for name, value in self._decoder.decode(block)}
        except HPACKError:
            self._transport.abort()
            return
        status = headers.get("grpc-status")
        if status is not None:
            self._statuses[stream] = _NAMES.get(status, status)
        elif headers.get(":status", "200") != "200":
            self._statuses[stream] = headers[":status"]

    def _end(self, stream: int, status: str) -> None:
        future = self._replies.get(stream)
        if future is not None and not future.done():
            future.set_result(status)
