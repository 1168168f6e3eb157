"""What annotations cannot say of `version_info`: the one place for rules that are not in the protos."""

import math
from functools import lru_cache
from typing import Any

import orjson
from google.protobuf.struct_pb2 import Struct, Value

MAX_BYTES = 16 * 1024
"""The limit of CONTRACT.md: the length of the object as compact JSON in UTF-8."""

# Beyond it a double no longer tells neighbouring integers apart, so that printing it as one would pretend precision.
_MAX_INTEGER = 2**53


class InvalidVersionInfo(ValueError):
    """A `version_info` that cannot be stored. The message says why, without quoting it."""


def to_json(struct: Struct) -> str:
    """The object as compact JSON text.

    Raises:
        InvalidVersionInfo: it is over `MAX_BYTES`, or holds U+0000, a number that is not finite, or a value that is
            not set. The last two can only come by native gRPC.
    """
    data = struct.SerializeToString()
    return _remembered(data) if len(data) <= _REMEMBERED_BYTES else _json_of(data)


# The versions of a caller's tools are the same in event after event, and to look one up costs a tenth of making it.
# What is remembered is small, and so is all of it.
_REMEMBERED_BYTES = 512


def _json_of(data: bytes) -> str:
    # No JSON grows eightfold as a message: what is larger than that need not be looked at.
    text = orjson.dumps(_object(Struct.FromString(data))) if len(data) <= 8 * MAX_BYTES else b""
    if not text or len(text) > MAX_BYTES:
        raise InvalidVersionInfo(f"must be at most {MAX_BYTES} bytes as JSON")
    return text.decode()


_remembered = lru_cache(maxsize=1_000)(_json_of)


def _object(struct: Struct) -> dict[str, Any]:
    return {_text(key): _plain(value) for key, value in struct.fields.items()}


def _plain(value: Value) -> Any:
    match value.WhichOneof("kind"):
        case "string_value":
            return _text(value.string_value)
        case "number_value":
            return _number(value.number_value)
        case "bool_value":
            return value.bool_value
        case "null_value":
            return None
        case "struct_value":
            return _object(value.struct_value)
        case "list_value":
            return [_plain(item) for item in value.list_value.values]
        case _:
            raise InvalidVersionInfo("holds a value that is not set")


def _text(text: str) -> str:
    if "\0" in text:
        raise InvalidVersionInfo("holds U+0000, which the database cannot store")
    return text


def _number(number: float) -> float | int:
    if not math.isfinite(number):
        raise InvalidVersionInfo("holds a number that is not finite")
    # As the caller wrote it: {"build": 3}, not {"build": 3.0}.
    if number.is_integer() and abs(number) < _MAX_INTEGER:
        return int(number)
    return number
