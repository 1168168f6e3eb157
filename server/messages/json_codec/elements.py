"""The elements of a batch's list: their texts, their places, and whether their brackets match."""

import re
from collections.abc import Sequence
from typing import Any

from server.messages import wording
from server.messages.json_codec.places import Place
from server.messages.json_codec.tokens import blank_escapes
from server.messages.json_codec.walk import Budget, Exhausted, Stop, Walker
from server.messages.refusals import FieldViolation, InvalidRequest


class Elements:
    """The elements of a batch's list."""

    def __init__(
        self, body: bytes, list_name: str, texts: Sequence[Any], spans: Sequence[tuple[int, int]] = ()
    ) -> None:
        """Take the elements.

        Args:
            body: the whole body.
            list_name: the name of the list.
            texts: the text of each, as bytes or the like.
            spans: where each is, if they were found by their brackets. Otherwise each is JSON.
        """
        self.texts = texts
        self._list_name = list_name
        self._body = body
        self._spans = spans
        self._brackets_left = _MAX_BRACKETS
        self._index = 0
        self._end = body.find(b"[") + 1

    def find_start(self, index: int) -> int:
        """Return where an element begins that is not before the last one that was asked for."""
        if self._spans:
            return self._spans[index][0]
        # Between two elements are only a comma and white space, with which none begins, so what is found is right.
        while True:
            text = bytes(self.texts[self._index])
            start = self._body.find(text, self._end)
            if self._index == index:
                return start
            self._index += 1
            self._end = start + len(text)

    def check_brackets(self, index: int, place: Place) -> None:
        """Refuse the whole batch if the brackets of an element do not match: nobody knows where it ends.

        Args:
            index: which element.
            place: where it begins in the body.

        Raises:
            InvalidRequest: they do not, or to find out has taken too long.
        """
        if not self._spans:
            return
        brackets = _reduce_brackets(self.texts[index])
        self._brackets_left -= len(brackets)
        if self._brackets_left < 0:
            raise InvalidRequest([FieldViolation("", wording.TOO_DEEP_TO_SPLIT)])
        if _brackets_match(brackets):
            return
        walker = Walker(self.texts[index].decode("utf-8", "surrogateescape"), place, Budget(_WORDING_BUDGET))
        description = wording.describe_malformed(*place, wording.UNMATCHED_BRACKETS)
        try:
            while walker.peek():
                walker.pass_brackets(None)
        except Stop:
            description = walker.faults[0][1]
        except Exhausted:
            pass
        raise InvalidRequest([FieldViolation(f"{self._list_name}[{index}]", description)])


_STRINGS = re.compile(rb'"[^"]*+"')
_NO_BRACKETS = bytes(sorted(set(range(256)) - set(b"{}[]")))
# Events of ordinary depth have no brackets left after so many rounds.
_ROUNDS = 4
_MAX_BRACKETS = 1_000_000
_WORDING_BUDGET = 10_000
_CLOSING = {ord("{"): ord("}"), ord("["): ord("]")}


def _reduce_brackets(element: bytes) -> bytes:
    """Return the brackets of an element, without most of those that match."""
    brackets = _STRINGS.sub(b"", blank_escapes(element)).translate(None, _NO_BRACKETS)
    for _ in range(_ROUNDS):
        brackets = brackets.replace(b"{}", b"").replace(b"[]", b"")
    return brackets


def _brackets_match(brackets: bytes) -> bool:
    """Return whether each bracket is closed by one of its kind."""
    ends = []
    for bracket in brackets:
        if bracket in _CLOSING:
            ends.append(_CLOSING[bracket])
        elif not ends or ends.pop() != bracket:
            return False
    return not ends
