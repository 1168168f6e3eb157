"""A gRPC client of which a test decides each byte, for what a proper client cannot be made to do."""

import socket
import struct
from collections import defaultdict
from collections.abc import Mapping
from types import TracebackType
from typing import NamedTuple, Self

import grpc
from hpack import Decoder

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACKNOWLEDGED = 1, 4, 1
INITIAL_WINDOW_SIZE = 4

_CODES = {code.value[0]: code for code in grpc.StatusCode}


def make_frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def make_headers(path: bytes, *more: tuple[bytes, bytes]) -> bytes:
    """Return the header block of a gRPC call, none of it compressed."""
    headers = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"localhost"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        *more,
    ]
    return b"".join(b"\0" + _make_string(name) + _make_string(value) for name, value in headers)


def _make_string(text: bytes) -> bytes:
    if len(text) < 127:
        return bytes([len(text)]) + text
    rest, length = len(text) - 127, b"\x7f"
    while rest >= 128:
        length += bytes([rest % 128 | 128])
        rest //= 128
    return length + bytes([rest]) + text


def make_message(data: bytes) -> bytes:
    """Return a gRPC message: its prefix and its bytes."""
    return struct.pack(">BI", 0, len(data)) + data


class Reply(NamedTuple):
    """What a server has sent on one stream, up to its end."""

    code: grpc.StatusCode | None
    """None if the stream was reset without a status."""
    details: str
    data: bytes
    headers: Mapping[str, str]
    """The headers and the trailers."""


class Http2Client:
    """A connection. After the server's settings it reads only when it is told to."""

    def __init__(self, port: int, settings: Mapping[int, int] | None = None, *, acknowledges: bool = True) -> None:
        """Connect.

        Args:
            port: of the server, on this machine.
            settings: the HTTP/2 settings to announce.
            acknowledges: whether it acknowledges the server's settings.
        """
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._acknowledges = acknowledges
        self._decoder = Decoder()
        self._received = b""
        self._headers: dict[int, dict[str, str]] = defaultdict(dict)
        self._data: dict[int, bytes] = defaultdict(bytes)
        self.ended: set[int] = set()
        """The streams whose end has been read."""
        self._initial_window = 65_535
        self.windows: dict[int, int] = defaultdict(lambda: self._initial_window, {0: 65_535})
        """How much more each stream may send, and, as stream 0, the connection."""
        self.goaways = 0
        payload = b"".join(struct.pack(">HI", name, value) for name, value in (settings or {}).items())
        self.send(PREFACE + make_frame(SETTINGS, 0, 0, payload))
        self._has_settings = not acknowledges
        while not self._has_settings:
            self.read(20)

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self._socket.sendall(data)

    def call(self, stream: int, path: bytes, *metadata: tuple[bytes, bytes], ended: bool = False) -> None:
        """Send the headers of a call, and with `ended` that nothing follows."""
        flags = END_HEADERS | (END_STREAM if ended else 0)
        self.send(make_frame(HEADERS, flags, stream, make_headers(path, *metadata)))

    def send_data(self, stream: int, data: bytes, *, ended: bool = False) -> None:
        """Send bytes on a stream, in frames of at most 16 KiB, whatever its window."""
        pieces = [data[start : start + 16_384] for start in range(0, len(data), 16_384)] or [b""]
        frames = [make_frame(DATA, 0, stream, piece) for piece in pieces[:-1]]
        self.send(b"".join(frames) + make_frame(DATA, END_STREAM if ended else 0, stream, pieces[-1]))
        self.windows[stream] -= len(data)
        self.windows[0] -= len(data)

    def reset(self, stream: int) -> None:
        """Cancel a call."""
        self.send(make_frame(RESET, 0, stream, struct.pack(">I", 8)))

    def widen(self, stream: int, size: int) -> None:
        """Let the server send so many bytes more on a stream, or with 0 on the connection."""
        self.send(make_frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", size)))

    def read_reply(self, stream: int, seconds: float = 20.0) -> Reply:
        """Read until a stream has ended.

        Raises:
            TimeoutError: it has not within that time.
            ConnectionError: the server closed the connection.
        """
        while stream not in self.ended:
            self.read(seconds)
        headers = self._headers[stream]
        code = _CODES[int(headers["grpc-status"])] if "grpc-status" in headers else None
        return Reply(code, headers.get("grpc-message", ""), self._data[stream], headers)

    def wait_until_closed(self, seconds: float = 20.0) -> None:
        """Read until the server closes the connection."""
        try:
            while True:
                self.read(seconds)
        except ConnectionError:
            return

    def read(self, seconds: float) -> None:
        """Read one frame, waiting for so long at most. For the exceptions see `read_reply`."""
        self._socket.settimeout(seconds)
        header = self._read_bytes(9)
        size = int.from_bytes(header[:3], "big")
        kind, flags, stream = header[3], header[4], int.from_bytes(header[5:9], "big")
        self._handle(kind, flags, stream, self._read_bytes(size))

    def _handle(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == SETTINGS and not flags & ACKNOWLEDGED:
            self._has_settings = True
            for name, value in struct.iter_unpack(">HI", payload):
                if name == INITIAL_WINDOW_SIZE:
                    self._initial_window = value
            if self._acknowledges:
                self.send(make_frame(SETTINGS, ACKNOWLEDGED, 0))
        elif kind == PING and not flags & ACKNOWLEDGED:
            self.send(make_frame(PING, ACKNOWLEDGED, 0, payload))
        elif kind == GOAWAY:
            self.goaways += 1
        elif kind == WINDOW_UPDATE:
            self.windows[stream] += int.from_bytes(payload, "big")
        elif kind == HEADERS:
            self._headers[stream].update((str(name), str(value)) for name, value in self._decoder.decode(payload))
        elif kind == DATA:
            self._data[stream] += payload
        if kind == RESET or (kind in (DATA, HEADERS) and flags & END_STREAM):
            self.ended.add(stream)

    def _read_bytes(self, count: int) -> bytes:
        while len(self._received) < count:
            piece = self._socket.recv(1 << 16)
            if not piece:
                raise ConnectionError("the server closed the connection")
            self._received += piece
        found, self._received = self._received[:count], self._received[count:]
        return found

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()
