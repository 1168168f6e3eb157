"""Page tokens: where in the order of a result the next page begins.

A token grants nothing: what a caller may read is decided by the request that the token comes with. It has a checksum of
itself and of all that the request asks for, so that one that was damaged, or that belongs to another request, is
refused.
"""

import base64
import binascii
import hashlib
import struct
import uuid
from collections.abc import Sequence
from typing import NamedTuple

_BODY = struct.Struct(">16sIII")
_CHECKSUM_BYTES = 8
_MAX_NUMBER = 2**31 - 1


class Position(NamedTuple):
    """What a token says."""

    before_id: str
    """The events of the page sort after this id."""
    page: int = 1
    """The number of the page."""
    offset: int = 0
    """How many events after the id are passed over."""
    total: int = 0
    """The number of events on all pages."""


def make_token(position: Position, asked: Sequence[str]) -> str:
    """Return the token of a position.

    Args:
        position: where the next page begins.
        asked: the texts that the request asks with, and what kind of request it is.
    """
    numbers = [min(number, _MAX_NUMBER) for number in position[1:]]
    return seal(_BODY.pack(uuid.UUID(position.before_id).bytes, *numbers), asked)


def read_token(token: str, asked: Sequence[str]) -> Position | None:
    """Return what a token says, or None if no request that asks the same was answered with it."""
    body = unseal(token, asked)
    if body is None or len(body) != _BODY.size:
        return None
    before_id, page, offset, total = _BODY.unpack(body)
    return Position(str(uuid.UUID(bytes=before_id)), page, offset, total)


def seal(body: bytes, asked: Sequence[str]) -> str:
    """Return a token that says `body`, for requests that ask with these texts."""
    return base64.urlsafe_b64encode(body + _make_checksum(body, asked)).decode()


def unseal(token: str, asked: Sequence[str]) -> bytes | None:
    """Return what a token says, or None if it was not made for requests that ask the same."""
    try:
        data = base64.b64decode(token, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    if base64.urlsafe_b64encode(data).decode() != token:  # In the one form that there is.
        return None
    body, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    return body if checksum == _make_checksum(body, asked) else None


def _make_checksum(body: bytes, asked: Sequence[str]) -> bytes:
    # U+0000 is in no text that a request may have.
    return hashlib.blake2b(body + "\0".join(asked).encode(), digest_size=_CHECKSUM_BYTES).digest()
