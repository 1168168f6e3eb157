"""The rules of `version_info` that annotations cannot express, and its form as JSON text."""

import math
from functools import lru_cache
from typing import Any

import orjson
from google.protobuf.struct_pb2 import Struct, Value

from server.messages import wording

MAX_VERSION_INFO_BYTES = 16 * 1024
"""The limit on the object as compact JSON in UTF-8."""

MAX_DEPTH = 30
"""The limit on how deep its objects and lists nest, itself included."""

MAX_DIGITS = 100
"""The limit on the digits of a number written without an exponent, as the database writes it."""

# The number of digits in the longest exponent that has to be looked at.
_EXPONENT_DIGITS = 6

# Integers beyond this have neighbours that are the same double, so printing one as an integer would feign precision.
_MAX_INTEGER = 2**53


class InvalidVersionInfo(ValueError):
    """A `version_info` that cannot be stored. The message says why without quoting it."""


def format_version_info(struct: Struct) -> str:
    """Return the object as compact JSON text.

    Raises:
        InvalidVersionInfo: it is over one of the limits, or it holds U+0000, a number that is not finite, or a value
            that is not set. Only messages can have the last two.
    """
    data = struct.SerializeToString()
    return _format_cached(data) if len(data) <= _CACHED_BYTES else _format(data)


# A caller's tools have the same versions in event after event, and a lookup takes a tenth of the time of formatting.
# Only small objects are kept, so the cache stays small too.
_CACHED_BYTES = 512


def _format(data: bytes) -> str:
    # As a message, JSON grows at most eightfold, so a larger message need not be parsed.
    text = orjson.dumps(_to_object(Struct.FromString(data))) if len(data) <= 8 * MAX_VERSION_INFO_BYTES else b""
    if not text or len(text) > MAX_VERSION_INFO_BYTES:
        raise InvalidVersionInfo(wording.limit_json_bytes(MAX_VERSION_INFO_BYTES))
    return text.decode()


_format_cached = lru_cache(maxsize=1_000)(_format)


def _to_object(struct: Struct, depth: int = 1) -> dict[str, Any]:
    _check_depth(depth)
    return {_check_text(key): _to_plain(value, depth) for key, value in struct.fields.items()}


def _to_plain(value: Value, depth: int) -> Any:
    match value.WhichOneof("kind"):
        case "string_value":
            return _check_text(value.string_value)
        case "number_value":
            return _to_number(value.number_value)
        case "bool_value":
            return value.bool_value
        case "null_value":
            return None
        case "struct_value":
            return _to_object(value.struct_value, depth + 1)
        case "list_value":
            _check_depth(depth + 1)
            return [_to_plain(item, depth + 1) for item in value.list_value.values]
        case _:
            raise InvalidVersionInfo(wording.VERSION_INFO_NOT_SET)


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise InvalidVersionInfo(wording.limit_depth(MAX_DEPTH))


def _check_text(text: str) -> str:
    if "\0" in text:
        raise InvalidVersionInfo(wording.VERSION_INFO_HAS_NUL)
    return text


def _to_number(number: float) -> float | int:
    if not math.isfinite(number):
        raise InvalidVersionInfo(wording.VERSION_INFO_NOT_FINITE)
    # As the caller wrote it: {"build": 3}, not {"build": 3.0}.
    if number.is_integer() and abs(number) < _MAX_INTEGER:
        return int(number)
    if has_too_many_digits(repr(number)):
        raise InvalidVersionInfo(wording.limit_digits(MAX_DIGITS))
    return number


def has_too_many_digits(number: str) -> bool:
    """Return whether a number, in the syntax of JSON, has more than `MAX_DIGITS` digits without its exponent."""
    mantissa, _, exponent = number.lower().partition("e")
    size = exponent.lstrip("+-").lstrip("0") or "0"
    if len(size) > _EXPONENT_DIGITS:
        return True
    shift = -int(size) if exponent.startswith("-") else int(size)
    whole, _, fraction = mantissa.removeprefix("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    whole_digits = max(1, len(digits) - len(fraction) + shift) if digits else 1
    return whole_digits + max(0, len(fraction) - shift) > MAX_DIGITS
