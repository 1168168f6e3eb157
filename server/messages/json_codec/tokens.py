"""The tokens of JSON, and what can be wrong within one."""

import json
import re

from server.messages import wording

# Each matches at every place, if need be nothing.
SPACE = re.compile(r"[ \t\n\r]*+")
SCALAR = re.compile(r"[^ \t\n\r,:\[\]{}\"]*+")
TO_BRACKET = re.compile(r'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)

STRING = re.compile(r'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
"""A string from quote to quote, whatever is in it. The group is what is between."""

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?")
_LITERALS = ("true", "false", "null")
_HEX = "[0-9a-fA-F]"
_GOOD = re.compile(
    rf"""(?: [^"\\\x00-\x1f\ud800-\udfff]++
           | \\["\\/bfnrt]
           | \\u(?: [0-9a-ce-fA-CE-F]{_HEX}{{3}}
                 | [dD][0-7]{_HEX}{{2}}
                 | [dD][89abAB]{_HEX}{{2}} \\u[dD][c-fC-F]{_HEX}{{2}} )
         )*+""",
    re.VERBOSE,
)
_UNICODE_ESCAPE = re.compile(rf"\\u{_HEX}{{4}}")
_MAX_SHOWN = 20


def is_scalar(text: str) -> bool:
    """Return whether `text` is a number, true, false or null."""
    return text in _LITERALS or _NUMBER.fullmatch(text) is not None


def find_string_fault(content: str) -> tuple[int, str] | None:
    """Return the place of the first fault between the quotes of a string, and what it is, or None.

    Args:
        content: the text, in which a byte that is not UTF-8 is half a surrogate pair.
    """
    match = _GOOD.match(content)
    assert match is not None
    at = match.end()
    if at == len(content):
        return None
    character = content[at]
    if "\ud800" <= character <= "\udfff":
        return at, wording.TEXT_NOT_UTF8
    if character != "\\":
        return at, wording.describe_control(character)
    if _UNICODE_ESCAPE.match(content, at):
        return at, wording.describe_half_pair(content[at : at + 6])
    return at, wording.describe_no_escape(show(content[at : at + 2]))


def decode_string(content: str) -> str:
    """Return the text that stands between the quotes of a string without a fault."""
    decoded: str = json.loads(f'"{content}"') if "\\" in content else content
    return decoded


def show(text: str) -> str:
    """Return what a caller sent in printable characters, cut off if it is long."""
    shown = text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"
    return "".join(map(print_character, shown))


def print_character(character: str) -> str:
    """Return a character, or its escape if it is not printable."""
    return character if character.isprintable() else escape(character)


def escape(character: str) -> str:
    r"""Return the escape of a character in JSON: `\ud83d\ude00` for one outside of the Basic Multilingual Plane."""
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def blank_escapes(text: bytes) -> bytes:
    """Return a text of the same length in which every quote begins or ends a string, for none is escaped."""
    return text.replace(b"\\\\", b"__").replace(b'\\"', b"__")
