"""The headers of HTTP/2 requests, as frames."""

from collections.abc import Sequence

from hpack.hpack import encode_integer

from tests.support.http2 import END_HEADERS, END_STREAM, HEADERS, make_frame

CONTINUATION = 9
FRAME_BYTES = 16_384
"""The most that a frame may hold."""

GRPC = ((b"te", b"trailers"), (b"content-type", b"application/grpc"))
"""The headers of every gRPC call."""

Pairs = Sequence[tuple[bytes, bytes]]


def encode_headers(method: bytes, path: bytes, pairs: Pairs) -> bytes:
    """Return the header block of a request, none of it compressed, so that it does not depend on earlier ones."""
    pseudo = [(b":method", method), (b":scheme", b"http"), (b":path", path), (b":authority", b"localhost")]
    return b"".join(b"\0" + _encode(name) + _encode(value) for name, value in (*pseudo, *pairs))


def _encode(text: bytes) -> bytes:
    return bytes(encode_integer(len(text), 7)) + text


def make_header_frames(stream: int, block: bytes, *, ended: bool, complete: bool) -> bytes:
    """Return a header block in as many frames as it needs.

    Args:
        stream: the stream that it opens.
        block: the block.
        ended: whether nothing follows on the stream.
        complete: whether the block ends there.
    """
    first, *more = [block[start : start + FRAME_BYTES] for start in range(0, len(block), FRAME_BYTES)]
    last = END_HEADERS if complete else 0
    frames = make_frame(HEADERS, (END_STREAM if ended else 0) | (0 if more else last), stream, first)
    for number, piece in enumerate(more, 1):
        frames += make_frame(CONTINUATION, last if number == len(more) else 0, stream, piece)
    return frames
