"""The events of a batch told apart by strings and brackets alone, so that one bad event costs no other."""

from collections.abc import Generator
from typing import NoReturn

from server.messages import wording
from server.messages.json_codec.ends import EndFinder, Pauses
from server.messages.json_codec.names import print_name
from server.messages.json_codec.strict import Unreadable, decode
from server.messages.json_codec.tokens import SCALAR, decode_string, find_string_fault, is_scalar
from server.messages.refusals import FieldViolation, InvalidRequest

MAX_VALUE_BYTES = 1 << 20
"""The limit on one event, which no event within the limits of its fields reaches but by white space."""

# As many members as the object may have beside the list. One unknown name is enough to be refused.
_MAX_OTHERS = 100

_MAX_OTHER_LEVELS = 100

# Of a longer text that should be an object, it is not looked for whether it is a number.
_MAX_SCALAR_BYTES = 1_000


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
        self._finder = EndFinder(body)
        self._list_name = list_name
        self._max_elements = max_elements
        self._has_list = False
        self.spans: list[tuple[int, int]] = []
        """Where each element begins and ends."""
        self.others: list[tuple[str, bytes]] = []
        """The names and values of the other members of the object."""
        self.violations: list[FieldViolation] = []
        """What is wrong with the list as a whole."""

    def split(self) -> Generator[None]:
        """Find all elements. Yields between steps.

        Raises:
            InvalidRequest: the text is no object, or its brackets do not match.
        """
        at = self._finder.pass_space(0)
        if not self._finder.is_next(at, b"{"):
            self._refuse_other(at)
        at = self._finder.pass_space(at + 1)
        has_members = not self._finder.is_next(at, b"}")
        while has_members:
            at = yield from self._split_member(at)
            if len(self.spans) > self._max_elements or len(self.others) > _MAX_OTHERS:
                return
            has_members = self._finder.is_next(at, b",")
            at = self._finder.pass_space(at + 1) if has_members else at
        if not self._finder.is_next(at, b"}"):
            self._finder.refuse(at, wording.expect_comma_or("}"))
        at = self._finder.pass_space(at + 1)
        if at != len(self._body):
            self._finder.refuse(at, wording.NOTHING)

    def _refuse_other(self, at: int) -> NoReturn:
        """Refuse a text that is no object, with the place if it is not JSON either."""
        first = self._body[at : at + 1]
        scalar = SCALAR.match(self._body[at : at + _MAX_SCALAR_BYTES].decode("utf-8", "replace"))
        if first in (b"", b'"', b"[") or (scalar and is_scalar(scalar[0])):
            raise InvalidRequest([FieldViolation("", wording.NOT_AN_OBJECT)])
        self._finder.refuse(at, wording.OBJECT)

    def _split_member(self, at: int) -> Pauses:
        """Return where the next token after a member is."""
        name, at = self._read_name(at)
        if name != self._list_name:
            end = yield from self._finder.find_end(at)
            self._add_other(name, self._body[at:end])
        elif self._has_list:
            end = yield from self._finder.find_end(at)
            self.violations.append(FieldViolation(name, wording.GIVEN_TWICE))
        elif self._finder.is_next(at, b"["):
            end = yield from self._split_list(at + 1)
        else:
            end = yield from self._finder.find_end(at)
            if self._body[at:end].rstrip(b" \t\n\r") != b"null":
                self.violations.append(FieldViolation(name, wording.NOT_A_LIST))
        self._has_list = self._has_list or name == self._list_name
        return self._finder.pass_space(end)

    def _add_other(self, name: str, value: bytes) -> None:
        if any(name == other for other, _ in self.others):
            self.violations.append(FieldViolation(print_name(name), wording.GIVEN_TWICE))
        self.others.append((name, value))
        if len(self.others) > _MAX_OTHERS:
            self.violations.append(FieldViolation("", wording.TOO_MANY_PARTS))

    def _split_list(self, at: int) -> Pauses:
        at = self._finder.pass_space(at)
        if self._finder.is_next(at, b"]"):
            return at + 1
        while True:
            end = yield from self._finder.find_end(at)
            if end == at:
                self._finder.refuse(end, wording.VALUE)
            self.spans.append((at, end))
            yield from self._finder.pause(end)
            if self._finder.is_next(end, b"]") or len(self.spans) > self._max_elements:
                return end + 1
            if not self._finder.is_next(end, b","):
                self._finder.refuse(end, wording.expect_comma_or("]"))
            at = self._finder.pass_space(end + 1)

    def _read_name(self, at: int) -> tuple[str, int]:
        """Return the name of a member and where its value begins."""
        finder = self._finder
        end = finder.find_string_end(at)
        content = self._body[at + 1 : end - 1].decode("utf-8", "surrogateescape")
        if fault := find_string_fault(content):
            place, what = fault
            finder.refuse(at + 1 + len(content[:place].encode("utf-8", "surrogateescape")), "", what)
        colon = finder.pass_space(end)
        if not finder.is_next(colon, b":"):
            finder.refuse(colon, wording.COLON)
        return decode_string(content), finder.pass_space(colon + 1)


def check_ignored(name: str, value: bytes) -> None:
    """Check that the value of a member that is ignored is JSON, and not large.

    Raises:
        InvalidRequest: it is not.
    """
    if len(value) > MAX_VALUE_BYTES:
        raise InvalidRequest([FieldViolation(print_name(name), wording.TOO_LARGE)])
    try:
        decode(value, _MAX_OTHER_LEVELS)
    except Unreadable:
        raise InvalidRequest([FieldViolation(print_name(name), wording.NOT_JSON)]) from None
