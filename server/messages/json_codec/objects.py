"""`version_info` as a body has it: checked, and made compact without a change to its numbers."""

import json
import re
from functools import lru_cache
from typing import Any

import msgspec
import orjson

from server.messages.json_codec.strict import Unreadable, is_deeper, refuse_constant, refuse_duplicates
from server.messages.version_info import MAX_DEPTH, MAX_DIGITS, MAX_VERSION_INFO_BYTES, has_too_many_digits

# An escape is at most six times as long as what it stands for, so what is longer than this need not be parsed.
_MAX_COMPACT_BYTES = 6 * MAX_VERSION_INFO_BYTES

_CACHED_BYTES = 512

# Not a backslash, itself escaped, before "u0000".
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*+\\u0000")


def read_object(text: bytes) -> str | None:
    """Return the object as compact JSON with the digits of its numbers as they were sent, or None for null.

    Args:
        text: the JSON value. Its brackets match.

    Raises:
        Unreadable: it is no object, is not JSON, or breaks a rule of `server.messages.version_info`.
    """
    if text == b"null":
        return None
    return _read_cached(text) if len(text) <= _CACHED_BYTES else _read(text)


def _read(text: bytes) -> str:
    if text[:1] != b"{":
        raise Unreadable
    try:
        compact = msgspec.json.format(text, indent=-1)
        if len(compact) > _MAX_COMPACT_BYTES or is_deeper(compact, MAX_DEPTH):
            raise Unreadable
        # A string with half a surrogate pair, which the decoder accepts, is a TypeError here.
        canonical = orjson.dumps(_decode(compact.decode()))
    except (ValueError, TypeError, msgspec.MsgspecError):
        raise Unreadable from None
    if len(canonical) > MAX_VERSION_INFO_BYTES or (b"\\u0000" in canonical and _NUL.search(canonical)):
        raise Unreadable
    return canonical.decode()


# As in `server.messages.version_info`: a caller sends the same few small objects in event after event.
_read_cached = lru_cache(maxsize=1_000)(_read)


def _keep_number(number: str) -> Any:
    if (len(number) > MAX_DIGITS or "e" in number or "E" in number) and has_too_many_digits(number):
        raise Unreadable
    return orjson.Fragment(number)


_decode = json.JSONDecoder(
    object_pairs_hook=refuse_duplicates,
    parse_constant=refuse_constant,
    parse_float=_keep_number,
    parse_int=_keep_number,
).decode
