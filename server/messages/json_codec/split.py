"""Where the events of a batch begin and end, found by strings and brackets alone, so that one bad event costs no other.

Every step is a match of at most `_CHUNK_BYTES`, so the caller can do other things in between.
"""

import re
from collections.abc import Generator
from typing import NoReturn

from server.messages import refusals
from server.messages.json_codec.names import print_name
from server.messages.json_codec.places import Places
from server.messages.json_codec.strict import Unreadable, decode
from server.messages.json_codec.tokens import blank_escapes, decode_string, find_string_fault, show
from server.messages.refusals import FieldViolation, InvalidRequest

MAX_VALUE_BYTES = 1 << 20
"""The limit on one event, which no event within the limits of its fields reaches but by white space."""

_CHUNK_BYTES = 128 << 10

# As many members as the object may have beside the list. One unknown name is enough to be refused.
_MAX_OTHERS = 100

# What nests more than this is an event that is refused, and is passed bracket by bracket.
_MATCHED_LEVELS = 34
_MAX_LEVELS = 1_000
_MAX_OTHER_LEVELS = 100
_MAX_STEPS = 200_000
_PAUSE_STEPS = 2_000

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


class Splitter:
    """The splitter of one body into the elements of its list."""

    def __init__(self, body: bytes, list_name: str, max_elements: int) -> None:
        """Begin at the beginning.

        Args:
            body: an object with a list, or what should be one.
            list_name: the name of the list.
            max_elements: how many elements are looked for. One more is enough to refuse the body.
        """
        self._body = body
        self._text = blank_escapes(body).translate(_BRACES)
        self._list_name = list_name
        self._max_elements = max_elements
        self._steps = 0
        self._paused_at = 0
        self.spans: list[tuple[int, int]] = []
        """Where each element begins and ends."""
        self.others: dict[str, bytes] = {}
        """The other members of the object."""
        self.violations: list[FieldViolation] = []
        """What is wrong with the list as a whole."""

    def split(self) -> Generator[None]:
        """Find all elements. Yields between steps.

        Raises:
            InvalidRequest: the text is no object, or its brackets do not match.
        """
        at = self._pass_space(0)
        if self._body[at : at + 1] != b"{":
            raise InvalidRequest([FieldViolation("", refusals.NOT_AN_OBJECT)])
        at = self._pass_space(at + 1)
        is_first, has_list = True, False
        while not (is_first and self._body[at : at + 1] == b"}"):
            name, at = self._read_name(at)
            if name != self._list_name:
                end = yield from self._find_end(at)
                if name in self.others:
                    self.violations.append(FieldViolation(print_name(name), refusals.GIVEN_TWICE))
                self.others[name] = self._body[at:end]
                if len(self.others) + len(self.violations) > _MAX_OTHERS:
                    self.violations.append(FieldViolation("", refusals.TOO_MANY_PARTS))
                    return
            elif self._body[at : at + 1] == b"[" and not has_list:
                end = yield from self._split_list(at + 1)
                if len(self.spans) > self._max_elements:
                    return
            else:
                end = yield from self._find_end(at)
                if not has_list and self._body[at:end].rstrip(b" \t\n\r") != b"null":
                    self.violations.append(FieldViolation(name, refusals.NOT_A_LIST))
            if name == self._list_name:
                if has_list:
                    self.violations.append(FieldViolation(name, refusals.GIVEN_TWICE))
                has_list = True
            at = self._pass_space(end)
            if self._body[at : at + 1] != b",":
                break
            is_first = False
            at = self._pass_space(at + 1)
        if self._body[at : at + 1] != b"}":
            self._refuse(at, "a comma or }")
        at = self._pass_space(at + 1)
        if at != len(self._body):
            self._refuse(at, "nothing after the object")

    def check_other(self, name: str) -> None:
        """Check that the value of another member is JSON, and not large.

        Raises:
            InvalidRequest: it is not.
        """
        if len(self.others[name]) > MAX_VALUE_BYTES:
            raise InvalidRequest([FieldViolation(print_name(name), refusals.TOO_LARGE)])
        try:
            decode(self.others[name], _MAX_OTHER_LEVELS)
        except Unreadable:
            raise InvalidRequest([FieldViolation(print_name(name), refusals.NOT_JSON)]) from None

    def _split_list(self, at: int) -> Pauses:
        at = self._pass_space(at)
        if self._body[at : at + 1] == b"]":
            return at + 1
        while True:
            end = yield from self._find_end(at)
            if end == at:
                self._refuse(end, "a value")
            self.spans.append((at, end))
            yield from self._pause(end)
            after = self._body[end : end + 1]
            if after == b"]" or (after == b"," and len(self.spans) > self._max_elements):
                return end + 1
            if after != b",":
                self._refuse(end, "a comma or ]")
            at = self._pass_space(end + 1)

    def _read_name(self, at: int) -> tuple[str, int]:
        """Return the name of a member and where its value begins."""
        match = _NAME.match(self._text, at)
        if match is None:
            self._refuse(at, "a name in double quotes")
        content = self._body[at + 1 : match.end() - 1].decode("utf-8", "surrogateescape")
        if fault := find_string_fault(content):
            self._refuse(at + 1 + len(content[: fault[0]].encode("utf-8", "surrogateescape")), "", fault[1])
        colon = self._pass_space(match.end())
        if self._body[colon : colon + 1] != b":":
            self._refuse(colon, "a colon")
        return decode_string(content), self._pass_space(colon + 1)

    def _find_end(self, at: int) -> Pauses:
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
            yield from self._pause(at)

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
                self._refuse(at, "brackets that match")
            self._steps += 1
            if self._steps > _MAX_STEPS:
                self._refuse_deep()
            if self._steps % _PAUSE_STEPS == 0:
                yield
            yield from self._pause(at)

    def _pass_string(self, at: int) -> int:
        end = self._text.find(b'"', at + 1)
        if end < 0:
            self._refuse(at, "", "the string has no end")
        return end + 1

    def _pass_space(self, at: int) -> int:
        match = _SPACE.match(self._body, at)
        assert match is not None
        return match.end()

    def _pause(self, at: int) -> Generator[None]:
        """Yield if the place is far from where it was at the last pause."""
        if at - self._paused_at >= _CHUNK_BYTES:
            self._paused_at = at
            yield

    def _refuse_deep(self) -> NoReturn:
        raise InvalidRequest([FieldViolation(self._list_name, refusals.TOO_DEEP_TO_SPLIT)])

    def _refuse(self, at: int, expected: str, fault: str = "") -> NoReturn:
        line, column = Places(self._body).find(at)
        if expected:
            found = show(self._body[at : at + 20].decode("utf-8", "replace")) or "the end"
            fault = f"expected {expected}, found {found}"
        raise InvalidRequest([FieldViolation("", refusals.describe_malformed(line, column, fault))])
