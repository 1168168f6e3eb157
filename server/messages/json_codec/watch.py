"""Watches as server-sent events."""

from collections.abc import Iterator

import msgspec

from server.messages.json_codec.format import make_record
from server.messages.watch_token import TokenMaker
from server.messages.watching import WatchRequest
from storage import Watched, WatchPosition

_encode = msgspec.json.Encoder().encode

# Envoy takes no part of over 1 MiB. A single event has less than that.
_PART_BYTES = 256 << 10


def format_sign(kind: str, request: WatchRequest, position: WatchPosition) -> bytes:
    """Return a `begin` or a `heartbeat`."""
    return _format(kind.encode(), request.make_token(position), b"{}")


def format_watched(request: WatchRequest, watched: Watched) -> Iterator[bytes]:
    """Yield the events of a step, in parts. Each has the token behind it."""
    tokens = TokenMaker(watched.interval, request.asked)
    part = b""
    for event in watched.events:
        text = _format(b"event", tokens.make(event.id), _encode(make_record(event)))
        if part and len(part) + len(text) > _PART_BYTES:
            yield part
            part = b""
        part += text
    yield part


def format_failure(status: bytes) -> bytes:
    """Return the last event of a watch that has failed, given the status."""
    return _format(b"error", "", status)


def _format(kind: bytes, token: str, data: bytes) -> bytes:
    # JSON has no raw line breaks. Without a token, the receiver keeps the one before.
    return b"event: %b\n%bdata: %b\n\n" % (kind, b"id: %b\n" % token.encode() if token else b"", data)
