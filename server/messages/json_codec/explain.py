"""What is wrong with the JSON text of a create: every fault, with its path, or with its line and column."""

from typing import NamedTuple

from server.messages import wording
from server.messages.json_codec.names import Path, find_nearest, print_path
from server.messages.json_codec.objects import read_object
from server.messages.json_codec.places import Place
from server.messages.json_codec.strict import Unreadable
from server.messages.json_codec.tokens import is_scalar
from server.messages.json_codec.walk import Budget, Exhausted, Stop, Walker
from server.messages.refusals import FieldViolation
from server.messages.version_info import MAX_DEPTH, MAX_DIGITS, MAX_VERSION_INFO_BYTES, has_too_many_digits

# An object within its limit takes at most three tokens for two bytes: [0,0,0].
_MAX_OBJECT_TOKENS = 2 * MAX_VERSION_INFO_BYTES

# To look for the nearest known name takes as long as so many tokens.
_NEAREST_COST = 100


class Names(NamedTuple):
    """The names of the fields that a text may have."""

    texts: frozenset[str]
    version_info: str
    ignore_unknown: bool
    """Whether another name is no fault."""


class Explanation:
    """The contents of one create, as far as they can be read, and its faults."""

    def __init__(self, text: str, place: Place, names: Names, budget: Budget) -> None:
        """Read a text.

        Args:
            text: the JSON text, in which a byte that is not UTF-8 is half a surrogate pair.
            place: where it begins in its body.
            names: the names that it may have.
            budget: what may be spent. What is spent is taken off.
        """
        self.texts: dict[str, str] = {}
        """The texts of the string fields that were sent and are strings."""
        self.version_info: str | None = None
        self.ignored: list[str] = []
        """The names of the fields that are not known, if that is no fault."""
        self.is_whole = False
        """Whether the text was read to its end, so that a field that is not in `texts` was not sent."""
        self._names = names
        self._known = names.texts | {names.version_info}
        self._walker = Walker(text, place, budget)
        self._in_version_info = False
        try:
            self._read()
        except Stop:
            pass
        except Exhausted:
            if not self._walker.faults:
                self._walker.faults.append((None, wording.TOO_MANY_PARTS))
        self.faults: list[FieldViolation] = []
        """The faults outside of `version_info`."""
        self.version_info_faults: list[FieldViolation] = []
        self.faulty_fields: set[str] = set()
        """The names of the fields that have faults."""
        for path, description in self._walker.faults:
            field = _find_field(path)
            faults = self.version_info_faults if field == names.version_info else self.faults
            faults.append(FieldViolation(print_path(path), description))
            self.faulty_fields.add(field)

    def _read(self) -> None:
        walker = self._walker
        first = walker.peek()
        if first != "{":
            if first and first not in ('"', "[") and not is_scalar(walker.match_scalar()):
                walker.stop(None, wording.OBJECT)
            walker.add(None, wording.NOT_AN_OBJECT)
            return
        for name, path in walker.read_members(None):
            if name in self._names.texts:
                self._read_text(str(name), path)
            elif name == self._names.version_info:
                self._read_version_info(path)
            else:
                if name is not None:
                    self._add_unknown(name, path)
                self._read_value(path, 1)
        self.is_whole = True
        if walker.peek():
            walker.stop(None, wording.NOTHING)

    def _add_unknown(self, name: str, path: Path) -> None:
        if self._names.ignore_unknown:
            self.ignored.append(name)
            return
        budget = self._walker.budget
        nearest = find_nearest(name, self._known) if budget.tokens > _NEAREST_COST else ""
        self._walker.add(path, wording.describe_unknown("field", nearest))
        budget.spend(_NEAREST_COST)

    def _read_text(self, name: str, path: Path) -> None:
        walker = self._walker
        first = walker.peek()
        if first == '"':
            text = walker.read_string(path)
            if text is not None:
                self.texts[name] = text
        elif not self._pass_null():
            if first in ("{", "[") or is_scalar(walker.match_scalar()):
                walker.add(path, wording.NOT_A_STRING)
            self._read_value(path, 1)

    def _read_version_info(self, path: Path) -> None:
        walker = self._walker
        first = walker.peek()
        if first == "{":
            self._read_object(path)
        elif not self._pass_null():
            if first in ('"', "[") or is_scalar(walker.match_scalar()):
                walker.add(path, wording.NOT_AN_OBJECT)
            self._read_value(path, 1)

    def _read_object(self, path: Path) -> None:
        """Read a `version_info` that is an object."""
        walker = self._walker
        budget = walker.budget
        start, faults = walker.at, len(walker.faults)
        budget.least = max(0, budget.tokens - _MAX_OBJECT_TOKENS)
        self._in_version_info = True
        try:
            self._read_value(path, 1)
            if len(walker.faults) == faults:
                self.version_info = read_object(walker.text[start : walker.at].encode())
        except Exhausted:
            if budget.tokens < 0:
                raise
            budget.least = 0
            walker.add(path, wording.limit_json_bytes(MAX_VERSION_INFO_BYTES))
            walker.at = start
            walker.pass_brackets(path)
        except Unreadable:
            # Its size is all that was not looked at yet.
            walker.add(path, wording.limit_json_bytes(MAX_VERSION_INFO_BYTES))
        finally:
            self._in_version_info = False
            budget.least = 0

    def _read_value(self, path: Path, depth: int) -> None:
        """Read any value, of which only the faults matter. `depth` is its own, if it is an object or a list."""
        walker = self._walker
        first = walker.peek()
        if first == '"':
            self._check_text(path, walker.read_string(path) or "")
        elif first not in ("{", "["):
            self._check_scalar(path, walker.read_scalar(path))
        elif depth > MAX_DEPTH:
            walker.add(path, wording.limit_depth(MAX_DEPTH))
            walker.pass_brackets(path)
        elif first == "[":
            for item in walker.read_items(path):
                self._read_value(item, depth + 1)
        else:
            for name, member in walker.read_members(path):
                self._check_text(member, name or "")
                self._read_value(member, depth + 1)

    def _check_text(self, path: Path, text: str) -> None:
        if self._in_version_info and "\0" in text:
            self._walker.add(path, wording.VERSION_INFO_HAS_NUL)

    def _check_scalar(self, path: Path, scalar: str) -> None:
        is_number = scalar[:1].isdigit() or scalar[:1] == "-"
        if self._in_version_info and is_number and has_too_many_digits(scalar):
            self._walker.add(path, wording.limit_digits(MAX_DIGITS))

    def _pass_null(self) -> bool:
        """Pass a null, if it is next, and return whether it was."""
        is_null = self._walker.match_scalar() == "null"
        if is_null:
            self._walker.at += len("null")
        return is_null


def _find_field(path: Path) -> str:
    """Return the name of the field that a path begins with, "" for the whole text."""
    field: str | int = ""
    while path is not None:
        path, field = path
    return str(field)
