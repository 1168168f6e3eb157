"""Where the values in a text end, found by strings and brackets alone, whatever else is wrong with the text.

Every step is a match of at most `_CHUNK_BYTES`, so the caller can do other things in between.
"""

import re
from collections.abc import Generator
from typing import NoReturn

from server.messages import wording
from server.messages.json_codec.places import Places
from server.messages.json_codec.tokens import blank_escapes, show
from server.messages.refusals import FieldViolation, InvalidRequest

_CHUNK_BYTES = 128 << 10

# What nests more than this is an event that is refused, and is passed bracket by bracket.
_MATCHED_LEVELS = 34
# So deep is no object of 16 KiB, which is the limit on the only field that may nest at all.
_MAX_LEVELS = 10_000
_MAX_STEPS = 200_000
_PAUSE_STEPS = 2_000
_MAX_SHOWN_BYTES = 20

Pauses = Generator[None, None, int]
"""Yields between steps, and returns a place."""

# In the text that is matched, all brackets are braces, and no quote is escaped.
_BRACES = bytes.maketrans(b"[]", b"{}")
_STRING = rb'"[^"]*+"'


def _nest(levels: int) -> bytes:
    pattern = rb'(?:[^"{}]++|' + _STRING + rb")*+"
    for _ in range(levels):
        pattern = rb'(?:[^"{}]++|' + _STRING + rb"|\{" + pattern + rb"\})*+"
    return pattern


_SPACE = re.compile(rb"[ \t\n\r]*+")
_NAME = re.compile(_STRING)
_TO_BRACKET = re.compile(_nest(0))
_TO_END = re.compile(rb'(?:[^"{},]++|' + _STRING + rb"|\{" + _nest(_MATCHED_LEVELS) + rb"\})*+")


class EndFinder:
    """The finder of ends in one text. Its methods are given places, and return places."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._text = blank_escapes(body).translate(_BRACES)
        self._steps = 0
        self._paused_at = 0

    def find_end(self, at: int) -> Pauses:
        """Return where the value at `at` ends: before a comma, a closing bracket, or the end of the text."""
        text = self._text
        while True:
            match = _TO_END.match(text, at, at + _CHUNK_BYTES)
            assert match is not None
            at = match.end()
            stopper = text[at : at + 1]
            if stopper == b"{":
                at = yield from self._pass_brackets(at)
            elif stopper == b'"':
                at = self._pass_string(at)
            elif match.end() != match.endpos or not stopper:
                return at
            yield from self.pause(at)

    def find_string_end(self, at: int) -> int:
        """Return where the string at `at` ends. Raise InvalidRequest if there is none."""
        match = _NAME.match(self._text, at)
        if match is None:
            self.refuse(at, wording.NAME)
        return match.end()

    def pass_space(self, at: int) -> int:
        """Return where the white space at `at` ends."""
        match = _SPACE.match(self._body, at)
        assert match is not None
        return match.end()

    def is_next(self, at: int, character: bytes) -> bool:
        """Return whether `character` is at `at`."""
        return self._body[at : at + 1] == character

    def pause(self, at: int) -> Generator[None]:
        """Yield if the place is far from where it was at the last pause."""
        if at - self._paused_at >= _CHUNK_BYTES:
            self._paused_at = at
            yield

    def refuse(self, at: int, expected: str, fault: str = "") -> NoReturn:
        """Raise InvalidRequest for what is at `at`, in place of what is expected, or for a fault."""
        line, column = Places(self._body).find(at)
        if expected:
            found = show(self._body[at : at + _MAX_SHOWN_BYTES].decode("utf-8", "replace"))
            fault = wording.describe_unexpected(expected, found)
        raise InvalidRequest([FieldViolation("", wording.describe_malformed(line, column, fault))])

    def _pass_brackets(self, at: int) -> Pauses:
        text, depth = self._text, 0
        while True:
            match = _TO_BRACKET.match(text, at, at + _CHUNK_BYTES)
            assert match is not None
            at = match.end()
            bracket = text[at : at + 1]
            if bracket == b'"':
                at = self._pass_string(at)
            elif bracket == b"{":
                depth += 1
                at += 1
                if depth > _MAX_LEVELS:
                    self._refuse_deep()
            elif bracket == b"}":
                depth -= 1
                at += 1
                if not depth:
                    return at
            elif not bracket:
                self.refuse(at, wording.MATCHING_BRACKETS)
            self._steps += 1
            if self._steps > _MAX_STEPS:
                self._refuse_deep()
            if self._steps % _PAUSE_STEPS == 0:
                yield
            yield from self.pause(at)

    def _pass_string(self, at: int) -> int:
        end = self._text.find(b'"', at + 1)
        if end < 0:
            self.refuse(at, "", wording.STRING_WITHOUT_END)
        return end + 1

    def _refuse_deep(self) -> NoReturn:
        raise InvalidRequest([FieldViolation("", wording.TOO_DEEP_TO_SPLIT)])
