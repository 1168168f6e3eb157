"""Where in a body a fault is: its line and column, counted from 1, the column in characters."""

from typing import NamedTuple


class Place(NamedTuple):
    """A place in a text."""

    line: int
    column: int


class Places:
    """The places of the parts of one body, asked for from first to last, so that no part is looked through twice."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._offset = 0
        self._place = Place(1, 1)

    def find(self, offset: int) -> Place:
        """Return the place of a byte, which is not before the last one that was asked for."""
        passed = self._body[self._offset : offset].decode("utf-8", "surrogateescape")
        self._offset, self._place = offset, advance(self._place, passed)
        return self._place


def advance(place: Place, passed: str) -> Place:
    """Return the place that follows the text `passed`, which begins at `place`."""
    lines = passed.count("\n")
    if lines:
        return Place(place.line + lines, len(passed) - passed.rfind("\n"))
    return Place(place.line, place.column + len(passed))
