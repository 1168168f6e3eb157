"""What the fast readers share: the error that they raise, and the checks that no JSON library does alone."""

import json
import re
from functools import cache
from typing import Any, NoReturn


class Unreadable(Exception):
    """Text that a fast reader does not accept. It says nothing of the reason: `explain` finds that."""


_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_BRACES = bytes.maketrans(b"[]", b"{}")
_NO_BRACKETS = bytes(sorted(set(range(256)) - set(b"{}[]")))


def is_deeper(text: bytes, levels: int) -> bool:
    """Return whether the objects and lists of `text`, which is JSON, nest more than `levels` deep.

    In what is not JSON, strings without an end could take the square of its length.
    """
    if text.count(b"{") + text.count(b"[") <= levels:
        return False
    brackets = _STRINGS.sub(b"", text).translate(_BRACES, _NO_BRACKETS)
    return _compile_nest(levels).fullmatch(brackets) is None


@cache
def _compile_nest(levels: int) -> re.Pattern[bytes]:
    pattern = b""
    for _ in range(levels):
        pattern = rb"(?:\{" + pattern + rb"\})*+"
    return re.compile(pattern)


def refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of its members, as the hook of a decoder. Raise Unreadable if a name is there twice."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Unreadable
    return members


def refuse_constant(_: str) -> NoReturn:
    """Raise Unreadable, as the hook of a decoder, for NaN and the infinities, which are no JSON."""
    raise Unreadable


_decode = json.JSONDecoder(
    object_pairs_hook=refuse_duplicates, parse_constant=refuse_constant, parse_float=str, parse_int=str
).decode
_HALF_PAIR = re.compile("[\ud800-\udfff]")


def decode(text: bytes, levels: int) -> Any:
    """Return the value that `text` holds, with its numbers as text. Slow beside the readers of a known type.

    Args:
        text: one JSON value.
        levels: how deep it may nest.

    Raises:
        Unreadable: it is not JSON, has a name twice in one object, or nests too deeply.
    """
    try:
        value = _decode(text.decode())
    except (ValueError, RecursionError):
        raise Unreadable from None
    if is_deeper(text, levels):
        raise Unreadable
    # The decoder accepts the escape of half a surrogate pair, and returns what cannot be encoded.
    if b"\\u" in text and _HALF_PAIR.search(json.dumps(value, ensure_ascii=False)):
        raise Unreadable
    return value
