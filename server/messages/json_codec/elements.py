"""The elements of a batch's list: their texts, their places, and whether their brackets match."""

import re
from collections.abc import Sequence
from typing import Any

from server.messages import refusals
from server.messages.json_codec.places import Place
from server.messages.json_codec.tokens import blank_escapes
from server.messages.json_codec.walk import Budget, Exhausted, Stop, Walker
from server.messages.refusals import FieldViolation, InvalidRequest

_STRINGS = re.compile(rb'"[^"]*+"')
_NO_BRACKETS = bytes(sorted(set(range(256)) - set(b"{}[]")))
_MAX_ROUNDS = 100
_BUDGET = 10_000


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

        Raises:
            InvalidRequest: they do not.
        """
        if self._spans and not _brackets_match(self.texts[index]):
            walker = Walker(self.texts[index].decode("utf-8", "surrogateescape"), place, Budget(_BUDGET))
            description = refusals.describe_malformed(*place, "its brackets do not match")
            try:
                while walker.peek():
                    walker.pass_brackets(None)
            except Stop:
                description = walker.faults[0][1]
            except Exhausted:
                pass
            raise InvalidRequest([FieldViolation(f"{self._list_name}[{index}]", description)])


def _brackets_match(element: bytes) -> bool:
    """Return whether each bracket is closed by one of its kind. Of what nests over 100 levels deep, it is not known."""
    brackets = _STRINGS.sub(b"", blank_escapes(element)).translate(None, _NO_BRACKETS)
    for _ in range(_MAX_ROUNDS):
        if not brackets:
            break
        brackets = brackets.replace(b"{}", b"").replace(b"[]", b"")
    return not brackets
