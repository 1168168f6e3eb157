"""The elements of a batch's list: their texts, their places, and whether their brackets match."""

import re
from collections.abc import Sequence
from typing import Any

from server.messages import refusals
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

    def check_brackets(self, index: int, place: Place, budget: Budget) -> None:
        """Refuse the whole batch if the brackets of an element do not match: nobody knows where it ends.

        Args:
            index: which element.
            place: where it begins in the body.
            budget: what may be spent.

        Raises:
            InvalidRequest: they do not.
        """
        if not self._spans or _brackets_match(self.texts[index], budget):
            return
        walker = Walker(self.texts[index].decode("utf-8", "surrogateescape"), place, Budget(_WORDING_BUDGET))
        description = refusals.describe_malformed(*place, "its brackets do not match")
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
_ROUNDS = 4
_BRACKETS_A_TOKEN = 10
_WORDING_BUDGET = 10_000


def _brackets_match(element: bytes, budget: Budget) -> bool:
    """Return whether each bracket is closed by one of its kind. If the budget is spent before that is known, no."""
    brackets = _STRINGS.sub(b"", blank_escapes(element)).translate(None, _NO_BRACKETS)
    for _ in range(_ROUNDS):
        brackets = brackets.replace(b"{}", b"").replace(b"[]", b"")
    budget.tokens -= len(brackets) // _BRACKETS_A_TOKEN
    if budget.tokens < 0:
        return False
    closing = {ord("{"): ord("}"), ord("["): ord("]")}
    ends = []
    for bracket in brackets:
        if bracket in closing:
            ends.append(closing[bracket])
        elif not ends or ends.pop() != bracket:
            return False
    return not ends
