"""A walk through JSON text that names every fault, and goes on after it where the text leaves no doubt of how.

It goes on after a bad value, a bad string, and a comma too many. Elsewhere it stops. Takes about a microsecond a token.
"""

from collections.abc import Iterator
from typing import NoReturn

from server.messages import wording
from server.messages.json_codec.names import Path
from server.messages.json_codec.places import Place, advance
from server.messages.json_codec.tokens import (
    SCALAR,
    SPACE,
    STRING,
    TO_BRACKET,
    decode_string,
    find_string_fault,
    is_scalar,
    show,
)
from server.messages.refusals import MAX_VIOLATIONS


class Stop(Exception):
    """The text cannot be read on, or enough of its faults are found."""


class Exhausted(Exception):
    """The budget is spent."""


class Budget:
    """How much may be spent on explaining the faults of one body, in tokens."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.least = 0
        """Where it is exhausted. More than 0 while a part of the text may have only so much of it."""

    def spend(self, tokens: int) -> None:
        """Take off what is spent. Raise Exhausted if it is too much."""
        self.tokens -= tokens
        if self.tokens < self.least:
            raise Exhausted


class Walker:
    """A place in a text. Each method moves it on, past what its name says."""

    def __init__(self, text: str, place: Place, budget: Budget) -> None:
        """Begin at the beginning.

        Args:
            text: the JSON text, in which a byte that is not UTF-8 is half a surrogate pair.
            place: where it begins in its body.
            budget: what may be spent. What is spent is taken off.
        """
        self.text = text
        self.at = 0
        self.faults: list[tuple[Path, str]] = []
        """The path and the description of each fault."""
        self.budget = budget
        self._place = place

    def peek(self) -> str:
        """Pass white space and return the next character, "" at the end."""
        self.budget.spend(1)
        self.at = SPACE.match(self.text, self.at).end()  # type: ignore[union-attr] # always matches
        return self.text[self.at : self.at + 1]

    def read_members(self, path: Path) -> Iterator[tuple[str | None, Path]]:
        """Yield the name and the path of each member of an object, None for a bad name. The caller reads its value."""
        names: set[str | None] = set()
        self.at += 1
        while not self._pass_end("}", path, is_first=not names):
            if self.peek() != '"':
                self.stop(path, wording.NAME)
            name = self.read_string(path)
            member: Path = (path, "?" if name is None else name)
            if name is not None and name in names:
                self.add(member, wording.GIVEN_TWICE)
            names.add(name)
            if self.peek() != ":":
                self.stop(member, wording.COLON)
            self.at += 1
            yield name, member

    def read_items(self, path: Path) -> Iterator[Path]:
        """Yield the path of each item of a list. The caller reads the item."""
        index = 0
        self.at += 1
        while not self._pass_end("]", path, is_first=index == 0):
            yield path, index
            index += 1

    def read_string(self, path: Path) -> str | None:
        """Return the text of a string, or None if it has a fault."""
        match = STRING.match(self.text, self.at)
        if match is None:
            self.add_malformed(path, wording.STRING_WITHOUT_END)
            raise Stop
        self.at = match.end()
        fault = find_string_fault(match[1])
        if fault is None:
            return decode_string(match[1])
        at, what = fault
        self.add_malformed(path, what, match.start(1) + at)
        return None

    def read_scalar(self, path: Path) -> str:
        """Return a number, true, false or null as it is written, or "" if it is none of these."""
        scalar = self.match_scalar()
        if not scalar:
            self.stop(path, wording.VALUE)
        is_good = is_scalar(scalar)
        if not is_good:
            self.add_malformed(path, wording.describe_no_value(show(scalar)))
        self.at += len(scalar)
        return scalar if is_good else ""

    def match_scalar(self) -> str:
        """Return what stands here in place of a number, true, false or null, without moving on."""
        match = SCALAR.match(self.text, self.at)
        assert match is not None
        return match[0]

    def pass_brackets(self, path: Path) -> None:
        """Pass an object or a list by its brackets alone."""
        ends: list[str] = []
        while True:
            self.budget.spend(1)
            self.at = TO_BRACKET.match(self.text, self.at).end()  # type: ignore[union-attr] # always matches
            bracket = self.text[self.at : self.at + 1]
            if bracket in ("{", "["):
                ends.append("}" if bracket == "{" else "]")
            elif not ends or bracket != ends.pop():
                self.stop(path, wording.MATCHING_BRACKETS)
            self.at += 1
            if not ends:
                return

    def stop(self, path: Path, expected: str) -> NoReturn:
        """Add the fault that something else is expected here. Raise Stop."""
        found = self.match_scalar() or self.text[self.at : self.at + 1]
        self.add_malformed(path, wording.describe_unexpected(expected, show(found)))
        raise Stop

    def add_malformed(self, path: Path, fault: str, at: int | None = None) -> None:
        """Add a fault of syntax, here or at another place."""
        line, column = advance(self._place, self.text[: self.at if at is None else at])
        self.add(path, wording.describe_malformed(line, column, fault))

    def add(self, path: Path, description: str) -> None:
        """Add a fault, if it is another one. Raise Stop if no more are wanted."""
        if (path, description) not in self.faults:
            self.faults.append((path, description))
        if len(self.faults) >= MAX_VIOLATIONS:
            raise Stop

    def _pass_end(self, end: str, path: Path, *, is_first: bool) -> bool:
        """Pass the end of an object or list, if it is next, and return whether it was. Otherwise pass the comma."""
        character = self.peek()
        if character == end:
            self.at += 1
            return True
        if is_first:
            return False
        if character != ",":
            self.stop(path, wording.expect_comma_or(end))
        comma = self.at
        self.at += 1
        if self.peek() != end:
            return False
        self.add_malformed(path, wording.describe_last_comma(end), comma)
        self.at += 1
        return True
