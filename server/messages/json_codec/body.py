"""The body of a request without its content-encoding, unpacked within a bound."""

import zlib

from server.messages.refusals import InvalidRequest, MessageTooLarge, UnsupportedEncoding
from server.messages.wording import NOT_COMPRESSED

ENCODINGS = ("gzip", "deflate")
"""The content-encodings that are taken, for the `accept-encoding` of a 415."""

_GZIP = 16 + zlib.MAX_WBITS
_ZLIB = zlib.MAX_WBITS
_RAW = -zlib.MAX_WBITS


def unpack(data: bytes, encoding: str, max_bytes: int) -> bytes:
    """Return a body as it was before it was compressed.

    Args:
        data: the body as it was sent.
        encoding: the value of its `content-encoding` header, or "".
        max_bytes: the limit on its size, sent and unpacked. No more than that is unpacked.

    Raises:
        UnsupportedEncoding: it is compressed in another way, or more than once.
        MessageTooLarge: it is over the limit.
        InvalidRequest: it is cut off, or something follows it, or it is damaged.
    """
    if len(data) > max_bytes:
        raise MessageTooLarge
    window_bits = _find_window_bits(data, encoding)
    return data if window_bits is None else _inflate(data, window_bits, max_bytes)


def unpack_beginning(data: bytes, encoding: str, size: int) -> bytes:
    """Return the beginning of a body as it was before it was compressed, as far as that can be told.

    Args:
        data: the body as it was sent, or its beginning.
        encoding: the value of its `content-encoding` header, or "".
        size: how much is unpacked at the most, in bytes.
    """
    window_bits = _find_window_bits(data, encoding)
    if window_bits is None:
        return data
    try:
        return zlib.decompressobj(window_bits).decompress(data, size)
    except zlib.error:
        return b""


def _find_window_bits(data: bytes, encoding: str) -> int | None:
    """Return what zlib needs to know to unpack a body, or None if it is not compressed.

    Raises:
        UnsupportedEncoding: it is compressed in another way, or more than once.
    """
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip":
            return _GZIP
        case "deflate":
            # By the standard this is zlib's format, but some callers send what is inside of it alone.
            return _ZLIB if _has_zlib_header(data) else _RAW
        case _:
            raise UnsupportedEncoding


def _inflate(data: bytes, window_bits: int, max_bytes: int) -> bytes:
    stream = zlib.decompressobj(window_bits)
    try:
        body = stream.decompress(data, max_bytes + 1)
    except zlib.error:
        raise InvalidRequest([NOT_COMPRESSED]) from None
    if len(body) > max_bytes:
        raise MessageTooLarge
    if not stream.eof or stream.unused_data:
        raise InvalidRequest([NOT_COMPRESSED])
    return body


def _has_zlib_header(data: bytes) -> bool:
    return len(data) >= 2 and data[0] & 15 == zlib.DEFLATED and int.from_bytes(data[:2], "big") % 31 == 0
